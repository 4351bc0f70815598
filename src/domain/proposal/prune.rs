//! Pruning: what was found on a reader, to be looked at again when it is done.

use std::cmp::Reverse;

use crate::domain::id::SessionId;
use crate::domain::limits::PRUNE_MEMBERS_MAX;
use crate::domain::retention::{Action, Rule};
use crate::domain::session::Etag;

/// Archives or deletes those of the sessions found that are still as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Which sessions may be taken.
    pub rule: Rule,
    /// Those that a reader found.
    pub found: Vec<Found>,
}

impl Prune {
    /// Those that one commit looks at, and those that it leaves to the next. `members` says how many sub-sessions go
    /// with one. The more it has, the sooner it comes: it comes before its own, so that one that goes takes them along,
    /// and all come back with it.
    pub fn reach(&self, members: impl Fn(&SessionId) -> usize) -> (Vec<&Found>, Vec<&Found>) {
        let mut found: Vec<&Found> = self.found.iter().collect();
        match self.rule.action {
            Action::Archive => return (found, Vec::new()),
            Action::Delete { .. } => found.sort_by_key(|one| Reverse(members(&one.id))),
        }
        let mut looked_at = 0_usize;
        let within = found.iter().position(|one| {
            let is_first = looked_at == 0;
            looked_at = looked_at.saturating_add(members(&one.id).max(1));
            !is_first && looked_at > PRUNE_MEMBERS_MAX
        });
        let left = found.split_off(within.unwrap_or(found.len()));
        (found, left)
    }
}

/// A session that a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: SessionId,
    /// How it was then; one that has changed since is left alone.
    pub etag: Etag,
}
