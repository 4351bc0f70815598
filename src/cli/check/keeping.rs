//! How long sessions are kept: what the policies would take away as soon as they are used.

use std::path::Path;

use super::{Findings, with_causes};
use crate::config::Retention;
use crate::domain::Namespace;
use crate::domain::retention::{Policies, Policy};
use crate::service::{Clock as _, SystemClock};
use crate::store;
use crate::store::sqlite::Look;

const KEY: &str = "retention";

/// Looks what the sessions in a data folder have to expect.
pub(super) fn look(folder: &Path, retention: &Retention, found: &mut Findings) {
    // What is no policy was told of already.
    let Ok(policies) = retention.policies() else {
        return;
    };
    if policies.are_off() {
        return;
    }
    let Ok(look) = Look::at(folder) else { return };
    if let Err(error) = all(&look, &policies, found) {
        found.error(KEY, with_causes(&error));
    }
}

fn all(look: &Look, policies: &Policies, found: &mut Findings) -> Result<(), store::Error> {
    let namespaces = look.namespaces()?;
    for ns in policies.namespaces.keys().filter(|ns| !namespaces.contains(ns)) {
        found.warning(
            KEY,
            format!("there is a policy for namespace {ns}, which has no sessions"),
        );
    }
    for ns in &namespaces {
        one(look, ns, policies.of(ns), found)?;
    }
    Ok(())
}

fn one(look: &Look, ns: &Namespace, policy: &Policy, found: &mut Findings) -> Result<(), store::Error> {
    let now = SystemClock.now();
    let (active, archived) = look.due(ns, policy, now)?;
    let happens = if policy.archive_first {
        "archived"
    } else {
        "deleted"
    };
    if active > 0 {
        let text = format!("up to {active} active sessions of namespace {ns} would be {happens} at once");
        found.warning(KEY, text);
    }
    if archived > 0 {
        let text = format!("up to {archived} archived sessions of namespace {ns} would be deleted at once");
        found.warning(KEY, text);
    }
    Ok(())
}
