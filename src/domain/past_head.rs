//! Where a session stood before a rewind or a divergence: readable under its revision until it is purged.

use super::id::{Namespace, Revision, SessionId};
use super::path::Tip;
use super::time::Time;

/// A head that a session has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastHead {
    /// Where the session's id is unique.
    pub namespace: Namespace,
    /// The session.
    pub session: SessionId,
    /// Its revision then.
    pub revision: Revision,
    /// The end of its log then.
    pub tip: Tip,
    /// Whether the last snapshot then was taken in mid-turn.
    pub incomplete_turn: bool,
    /// When it was left.
    pub time: Time,
}
