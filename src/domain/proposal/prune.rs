//! Pruning: what was found on a reader, to be looked at again when it is done.

use crate::domain::id::SessionId;
use crate::domain::retention::Rule;
use crate::domain::session::Etag;

/// Archives or deletes those of the sessions found that are still as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Which sessions may be taken.
    pub rule: Rule,
    /// Those that a reader found.
    pub found: Vec<Found>,
}

/// A session that a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: SessionId,
    /// How it was then; one that has changed since is left alone.
    pub etag: Etag,
}
