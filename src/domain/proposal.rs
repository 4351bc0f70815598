//! What a caller wants changed: validated, complete, and not yet decided.
//!
//! Ids, times of validity and random parts are in the command already: deciding adds nothing but the
//! clock's time.

use std::time::Duration;

use super::entry::{Digest, Entry, NewEntry};
use super::id::{LogId, Namespace, RequestId, Revision, Seq, SessionId, ThreadId, TurnId};
use super::path::{Log, Tip};
use super::replica::Fence;
use super::session::{self, Etag};
use super::thread;
use super::time::Time;
use super::title::Title;
use super::turn::{NewItem, Status};
use super::usage::Usage;

mod engine;
mod import;
mod prune;
mod replica;
mod resume;
mod rewind;
mod snapshot;

pub use engine::EngineCommand;
pub use import::{Import, Imported, Place, Restored, Used};
pub use prune::{Found, Prune};
pub use replica::{Over, ReplicaCommand};
pub use resume::{Offer, Open, ResumeCommand, Seat, Seed, Start};
pub use rewind::Rewind;
pub use snapshot::{Cut, Said, Snapshot};

/// One mutation.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Where its names are unique.
    pub namespace: Namespace,
    /// The caller's name for it, if any; a retry under it changes nothing.
    pub request: Option<Request>,
    /// The replica that proposes it, where it is for an engine or a resume: it counts only while that one's lease
    /// runs.
    pub fence: Option<Fence>,
    /// What is to be done.
    pub command: Command,
}

/// The caller's name for a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name.
    pub id: RequestId,
    /// Of the request without its request_id, maps sorted.
    pub fingerprint: Digest,
}

/// What is to be done, by noun.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// To a session.
    Session(SessionCommand),
    /// To a thread.
    Thread(ThreadCommand),
    /// To an engine, and to the threads it runs.
    Engine(EngineCommand),
    /// To a resume.
    Resume(ResumeCommand),
    /// To a replica of the service.
    Replica(ReplicaCommand),
    /// By the service for itself.
    Upkeep(UpkeepCommand),
}

/// What is to be done to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionCommand {
    /// Make one with an empty log.
    Create {
        /// Its id.
        id: SessionId,
        /// Its log, freshly named.
        log: LogId,
        /// Its facts.
        draft: Box<session::Draft>,
    },
    /// Set facts.
    Update {
        /// Which.
        id: SessionId,
        /// What is set.
        change: Box<session::Change>,
        /// What the caller last saw, if it matters.
        etag: Option<Etag>,
    },
    /// Delete it and its sub-sessions.
    Delete {
        /// Which.
        id: SessionId,
        /// Softly or at once.
        mode: Deletion,
        /// What the caller last saw, if it matters.
        etag: Option<Etag>,
    },
    /// Restore it and what the same deletion took.
    Undelete {
        /// Which.
        id: SessionId,
    },
    /// Add to its log, all or nothing.
    Append {
        /// Which.
        id: SessionId,
        /// In order.
        entries: Vec<NewEntry>,
        /// What the caller last saw, if it matters.
        expected: Option<Revision>,
    },
    /// Write a thread's new messages to it.
    Save(Box<Save>),
    /// Write what its engine holds of a thread to it.
    Snapshot(Box<Snapshot>),
    /// Make a session that starts at a cut in another one.
    Fork(Box<Fork>),
    /// Drop entries from its end, or return to a head that it has left.
    Rewind(Box<Rewind>),
    /// Put sessions away that a prune found.
    Prune(Box<Prune>),
    /// Write down what a prune has done in all, for its retries.
    Pruned {
        /// Some of the sessions.
        sessions: Vec<SessionId>,
        /// How many there were.
        count: u64,
    },
    /// Make the sessions of a transcript visible.
    Import(Box<Import>),
}

/// How a session is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Purged after this long.
    Soft {
        /// The wait.
        purge_after: Duration,
    },
    /// Purged at once.
    Force,
}

/// A save, computed on a reader from what the thread was then.
#[derive(Clone, Debug, PartialEq)]
pub struct Save {
    /// The thread.
    pub thread: ThreadId,
    /// Its journal then: a thread that was deleted and made again has another.
    pub journal: LogId,
    /// Its change number then; if it has another now, the save is computed again.
    pub change: u64,
    /// The session that the request names, if it names one.
    pub requested: Option<SessionId>,
    /// The id of a session that has to be made and is not named by the request.
    pub fresh: SessionId,
    /// The title that the request gives.
    pub title: Option<Title>,
    /// What the caller last saw, if it matters.
    pub expected: Option<Revision>,
    /// The end of the session then, which the writing goes on from; `None`: there was no session.
    pub from: Option<Tip>,
    /// Where the session goes back to first: a snapshot in mid-turn left messages that are written anew.
    pub cut: Option<Cut>,
    /// What is written.
    pub written: Written,
}

/// Entries that a save or snapshot adds.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// Few: they come with the command. `log` is the name for a log that has to be made.
    Inline {
        /// A fresh name.
        log: LogId,
        /// In order.
        entries: Vec<NewEntry>,
    },
    /// Many: they are staged already, in a log that nobody names yet.
    Staged {
        /// The end of that log.
        tip: Tip,
        /// The preview of the last user text in them.
        preview: Option<String>,
        /// The title derived from them.
        title: Option<String>,
    },
}

/// A fork, its point resolved on a reader.
#[derive(Clone, Debug, PartialEq)]
pub struct Fork {
    /// The session that is forked.
    pub source: SessionId,
    /// The head it is forked at, if that is a past one.
    pub revision: Option<Revision>,
    /// The log that head named then; if it names another now, the point is resolved again.
    pub source_log: LogId,
    /// The fold of everything the fork keeps.
    pub cut: super::tally::Tally,
    /// The preview at the cut.
    pub preview: String,
    /// The message just after the cut, if the point names it.
    pub removed: Option<session::Removed>,
    /// The title that the request gives.
    pub title: Option<Title>,
    /// The id of the fork.
    pub id: SessionId,
    /// Its log, freshly named.
    pub log: LogId,
}

/// What is to be done to a thread. `epoch` is the writer's, if it says one.
#[derive(Clone, Debug, PartialEq)]
pub enum ThreadCommand {
    /// Make one.
    Create {
        /// Its id.
        id: ThreadId,
        /// Its journal, freshly named.
        journal: LogId,
        /// Its facts.
        draft: Box<thread::Draft>,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
    /// Set facts.
    Update {
        /// Which.
        id: ThreadId,
        /// What is set.
        change: Box<thread::Change>,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
    /// Delete it with its turns and items.
    Delete {
        /// Which.
        id: ThreadId,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
    /// Start a turn.
    StartTurn {
        /// Which thread.
        id: ThreadId,
        /// The turn's id.
        turn: TurnId,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
    /// Add or replace items of a turn.
    AppendItems {
        /// Which thread.
        id: ThreadId,
        /// Which turn.
        turn: TurnId,
        /// In order.
        items: Vec<NewItem>,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
    /// End a turn.
    FinishTurn {
        /// Which thread.
        id: ThreadId,
        /// Which turn.
        turn: TurnId,
        /// An end state.
        status: Status,
        /// What it used.
        usage: Option<Usage>,
        /// Why it failed; empty otherwise.
        error: String,
        /// The writer's epoch.
        epoch: Option<u64>,
    },
}

/// What the service does for itself.
#[derive(Clone, Debug, PartialEq)]
pub enum UpkeepCommand {
    /// Forget receipts made before a time.
    ExpireReceipts {
        /// The time.
        before: Time,
    },
    /// Forget resumes that ended before a time.
    ExpireResumes {
        /// The time.
        before: Time,
    },
    /// Forget a head that a session left long ago.
    ExpireHead {
        /// Of which session.
        session: SessionId,
        /// Which.
        revision: Revision,
    },
    /// Remove a deleted session whose time has come.
    Purge {
        /// Which.
        session: SessionId,
    },
    /// Write entries into a log that nobody names yet.
    Stage {
        /// The log; opened by the first such command.
        log: std::sync::Arc<Log>,
        /// The last seq staged so far.
        after: Seq,
        /// In order.
        entries: Vec<Entry>,
    },
    /// Give a session a shorter path that holds the same entries.
    Compact {
        /// Which.
        session: SessionId,
        /// The log its head named then.
        from: LogId,
        /// The log it is to name.
        to: std::sync::Arc<Log>,
    },
    /// Remove or trim a log, if nobody names it.
    Sweep {
        /// Which.
        log: LogId,
    },
}
