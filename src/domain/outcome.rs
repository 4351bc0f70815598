//! What a commit did, small enough to be kept as a receipt for its retries.

use super::entry::Digest;
use super::id::{EngineId, ReplicaId, ResumeId, Revision, Seq, SessionId, ThreadId, TurnId};
use super::replica::Fence;
use super::session::Removed;
use super::time::Time;

/// What a commit did: ids, seqs, counts and flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A session was made, changed, deleted or restored.
    Session {
        /// Which.
        session: SessionId,
    },
    /// Entries were appended.
    Appended {
        /// To which session.
        session: SessionId,
        /// The lowest seq of the given entries, known ones included.
        first: Seq,
        /// The highest.
        last: Seq,
        /// How many were new.
        added: u64,
    },
    /// A thread was saved.
    Saved {
        /// To which session.
        session: SessionId,
        /// Visible messages in it then.
        message_count: u64,
        /// Whether the save made it.
        created: bool,
    },
    /// What an engine holds was saved.
    Snapshot {
        /// To which session.
        session: SessionId,
        /// Visible messages in it then.
        message_count: u64,
        /// Whether the snapshot made it.
        created: bool,
        /// Whether the engine answered with the rest only.
        delta: bool,
    },
    /// A session was forked.
    Forked {
        /// The fork.
        session: SessionId,
        /// The session it comes from.
        source: SessionId,
        /// The message that was cut off.
        removed: Option<Removed>,
    },
    /// A session went back.
    Rewound {
        /// Which.
        session: SessionId,
        /// The revision that it left.
        left: Revision,
        /// The last entry that both heads have.
        kept: Seq,
        /// How many entries came after it.
        removed: u64,
    },
    /// Sessions were archived or deleted because they were old or many.
    Pruned {
        /// Which; of a whole prune, at most `PRUNED_IDS_MAX`.
        sessions: Vec<SessionId>,
        /// How many.
        count: u64,
        /// Those that the commit did not come to: what it had looked at was enough.
        left: Vec<SessionId>,
    },
    /// A transcript was imported.
    Imported(Imports),
    /// A thread was made, changed or deleted.
    Thread {
        /// Which.
        thread: ThreadId,
    },
    /// A turn was started or ended.
    Turn {
        /// In which thread.
        thread: ThreadId,
        /// Which.
        turn: TurnId,
    },
    /// Items were written.
    Items {
        /// In which thread.
        thread: ThreadId,
        /// The lowest seq of the given items, replaced ones included.
        first: Seq,
        /// The highest.
        last: Seq,
    },
    /// An engine attached or left.
    Engine {
        /// Which.
        engine: EngineId,
        /// Of the attachment.
        epoch: u64,
        /// The replica that it was attached to until it attached; no receipt keeps it.
        before: Option<Fence>,
    },
    /// A replica joined or lives on.
    Replica {
        /// Which.
        replica: ReplicaId,
        /// Which start of it.
        incarnation: u64,
    },
    /// A resume was made, found, or went on.
    Resume {
        /// Which.
        resume: ResumeId,
    },
    /// The service did something for itself; how many rows are left to do.
    Kept {
        /// Whether the same command would do more.
        more: More,
    },
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// The sessions that the transcript is kept in, in its order.
    pub sessions: Vec<SessionId>,
    /// Entries that were new.
    pub added: u64,
    /// Entries that were there.
    pub skipped: u64,
    /// What was left out, in order.
    pub problems: Vec<Problem>,
}

/// A line of a transcript that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// Why; never what it said.
    pub reason: String,
}

/// Whether work is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// It is done.
    Done,
    /// The same command would do more.
    Left,
}

impl Outcome {
    /// What a receipt keeps of it.
    pub fn for_receipt(&self) -> Self {
        match self {
            Self::Engine { engine, epoch, .. } => Self::Engine {
                engine: engine.clone(),
                epoch: *epoch,
                before: None,
            },
            Self::Session { .. }
            | Self::Appended { .. }
            | Self::Saved { .. }
            | Self::Snapshot { .. }
            | Self::Rewound { .. }
            | Self::Forked { .. }
            | Self::Pruned { .. }
            | Self::Imported(_)
            | Self::Thread { .. }
            | Self::Turn { .. }
            | Self::Items { .. }
            | Self::Replica { .. }
            | Self::Resume { .. }
            | Self::Kept { .. } => self.clone(),
        }
    }
}

/// The record of a request_id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Of the request.
    pub fingerprint: Digest,
    /// What it did.
    pub outcome: Outcome,
    /// When.
    pub time: Time,
}
