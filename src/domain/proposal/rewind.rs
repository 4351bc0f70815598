//! A rewind, its place looked up on a reader.

use super::Cut;
use crate::domain::id::{LogId, Revision, SessionId};
use crate::domain::path::Tip;

/// A session that goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewind {
    /// The session.
    pub session: SessionId,
    /// The end of its log when the place was looked up.
    pub from: Tip,
    /// The past head that it returns to; `None`: its own log is cut.
    pub to: Option<Revision>,
    /// What is kept of that head, or of its own log.
    pub cut: Cut,
    /// What the caller last saw, if it matters.
    pub expected: Option<Revision>,
    /// Its new log, freshly named.
    pub log: LogId,
}
