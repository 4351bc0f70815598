//! Pruning.

use std::time::Duration;

use super::count;
use crate::domain::Invalid;
use crate::pb;
use crate::service::retention::{Deed, Mode, Wanted};

/// What PruneSessions asks for.
pub(in crate::api) fn prune(request: &pb::PruneSessionsRequest) -> Result<Wanted, Invalid> {
    let older_than = request.older_than.as_ref().map(age).transpose()?;
    let keep = request.keep_per_workspace;
    let keep_per_workspace = keep.map(|keep| count(keep, "keep_per_workspace")).transpose()?;
    if older_than.is_none() && keep_per_workspace.is_none() {
        return Err(Invalid::new(
            "older_than",
            "older_than or keep_per_workspace must be given",
        ));
    }
    let action = match pb::PruneAction::try_from(request.action) {
        Ok(pb::PruneAction::Archive) => Deed::Archive,
        Ok(pb::PruneAction::Delete) => Deed::Delete,
        Ok(pb::PruneAction::Unspecified) | Err(_) => {
            return Err(Invalid::new("action", "must be ARCHIVE or DELETE"));
        }
    };
    Ok(Wanted {
        action,
        older_than,
        keep_per_workspace,
        include_starred: request.include_starred,
        include_archived: request.include_archived,
        mode: if request.dry_run { Mode::Tell } else { Mode::Act },
    })
}

fn age(given: &prost_types::Duration) -> Result<Duration, Invalid> {
    Duration::try_from(*given).map_err(|_| Invalid::new("older_than", "must not be negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seconds: Option<i64>, keep_per_workspace: Option<i64>) -> pb::PruneSessionsRequest {
        pb::PruneSessionsRequest {
            older_than: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            keep_per_workspace,
            action: pb::PruneAction::Archive.into(),
            ..Default::default()
        }
    }

    #[test]
    fn something_must_be_asked_for() {
        for (seconds, keep, field) in [
            (None, None, Some("older_than")),
            (Some(-1), None, Some("older_than")),
            (None, Some(-1), Some("keep_per_workspace")),
            (Some(0), None, None),
            (Some(i64::MAX), Some(0), None),
            (None, Some(i64::MAX), None),
        ] {
            let wanted = prune(&request(seconds, keep));
            assert_eq!(
                wanted.err().map(|invalid| invalid.field),
                field.map(Into::into),
                "{seconds:?} {keep:?}"
            );
        }
        for action in [0, 3, -1] {
            let wanted = prune(&pb::PruneSessionsRequest {
                action,
                ..request(Some(1), None)
            });
            assert_eq!(wanted.expect_err("refused").field, "action");
        }
    }
}
