//! Watches of sessions and threads: what came after a cursor, then whatever comes, without a gap, a duplicate or
//! another order.
//!
//! A watch is an inline stream: no task, no timer of its own. It first listens, then reads. Each step looks at the
//! newest head that is known and at the cursor, and sends what lies between; how many changes that were does not
//! matter. Whoever keeps up gets the entries that the commit brought, whoever is behind reads the store, a page a step.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::domain::{Cursor, Entry, Item, Seq, Session, Thread, ThreadCursor, Turn};

use super::Error;

mod session;
mod thread;

/// What one who watches a session is told.
#[derive(Clone, Debug)]
pub struct SessionChange {
    /// New entries, ascending.
    pub entries: Vec<Entry>,
    /// The session as it stands; `None`: it is gone.
    pub session: Option<Arc<Session>>,
    /// Forget every entry above this one first.
    pub rewound_to: Option<Seq>,
    /// Whether it was deleted; nothing more comes.
    pub deleted: bool,
    /// Where the reader is now.
    pub cursor: Cursor,
}

/// What one who watches a thread is told.
#[derive(Clone, Debug)]
pub struct ThreadChange {
    /// New and replaced items: those that the thread shares with a session, then own ones in the order of their changes.
    pub items: Vec<Item>,
    /// New and changed turns.
    pub turns: Vec<Turn>,
    /// The thread as it stands; `None`: it is gone.
    pub thread: Option<Arc<Thread>>,
    /// Forget every item above this one first.
    pub rewound_to: Option<Seq>,
    /// Whether it was deleted; nothing more comes.
    pub deleted: bool,
    /// Where the reader is now.
    pub cursor: ThreadCursor,
}

/// What a session's watchers are told, in order.
pub type SessionChanges = BoxStream<'static, Result<SessionChange, Error>>;

/// What a thread's watchers are told, in order.
pub type ThreadChanges = BoxStream<'static, Result<ThreadChange, Error>>;

#[cfg(test)]
mod tests;
