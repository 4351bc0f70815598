//! How long sessions are kept: what the policies would take away as soon as they are used.

use super::{Findings, with_causes};
use crate::config::Retention;
use crate::domain::Namespace;
use crate::domain::retention::{Policies, Policy};
use crate::service::{Clock as _, SystemClock};
use crate::store::{self, postgres, sqlite};

const KEY: &str = "retention";

/// Where sessions are kept, open to be looked at.
#[derive(Debug)]
pub(super) enum Kept {
    Folder(sqlite::Look),
    Database(postgres::Look),
}

impl Kept {
    async fn namespaces(&self) -> Result<Vec<Namespace>, store::Error> {
        match self {
            Self::Folder(look) => look.namespaces(),
            Self::Database(look) => look.namespaces().await,
        }
    }

    /// How many sessions a policy would take: active ones, and archived ones.
    async fn due(&self, ns: &Namespace, policy: &Policy) -> Result<(u64, u64), store::Error> {
        let now = SystemClock.now();
        match self {
            Self::Folder(look) => look.due(ns, policy, now),
            Self::Database(look) => look.due(ns, policy, now).await,
        }
    }
}

/// Looks what the sessions that are kept there have to expect.
pub(super) async fn look(kept: &Kept, retention: &Retention, found: &mut Findings) {
    // What is no policy was told of already.
    let Ok(policies) = retention.policies() else {
        return;
    };
    if policies.are_off() {
        return;
    }
    if let Err(error) = all(kept, &policies, found).await {
        found.error(KEY, with_causes(&error));
    }
}

async fn all(kept: &Kept, policies: &Policies, found: &mut Findings) -> Result<(), store::Error> {
    let namespaces = kept.namespaces().await?;
    for ns in policies.namespaces.keys().filter(|ns| !namespaces.contains(ns)) {
        found.warning(
            KEY,
            format!("there is a policy for namespace {ns}, which has no sessions"),
        );
    }
    for ns in &namespaces {
        one(kept, ns, policies.of(ns), found).await?;
    }
    Ok(())
}

async fn one(kept: &Kept, ns: &Namespace, policy: &Policy, found: &mut Findings) -> Result<(), store::Error> {
    let (active, archived) = kept.due(ns, policy).await?;
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
