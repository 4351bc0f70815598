//! What a decision changes. A store applies these and nothing else; a new verb adds none.

use std::sync::Arc;

use super::engine::Engine;
use super::entry::Entry;
use super::id::{
    EngineId, LogId, Namespace, ReplicaId, RequestId, Revision, Seq, SessionId, ThreadId, TurnId,
};
use super::outcome::Receipt;
use super::past_head::PastHead;
use super::path::{Log, Span};
use super::replica::Replica;
use super::resume::Resume;
use super::session::Session;
use super::thread::Thread;
use super::time::Time;
use super::turn::{Item, Status, Turn};

/// One change of stored rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Keep the record of a request_id.
    PutReceipt(Namespace, RequestId, Receipt),
    /// Forget at most `SWEEP_ROWS_MAX` receipts of all namespaces made before a time.
    DropReceipts {
        /// The time.
        before: Time,
    },
    /// Write a session whole.
    PutSession(Arc<Session>),
    /// Write what an append changes of a session: all but the profile.
    MoveHead(Arc<Session>),
    /// Remove a session's row.
    RemoveSession(Namespace, SessionId),
    /// Make a log; the parts of its path name other logs from now on.
    OpenLog(Arc<Log>),
    /// Note that the entries of a log are copies, and where they were first; the note goes with the log.
    PutCopy(LogId, Vec<Span>),
    /// Add entries at the end of their log.
    Append(Arc<[Entry]>),
    /// Remove a log's entries, or a journal's turns and items, after `after`: at most `SWEEP_ROWS_MAX`
    /// rows and `SWEEP_BYTES_MAX` bytes of each, the last first.
    DropRows {
        /// The log or journal.
        log: LogId,
        /// Exclusive.
        after: Seq,
    },
    /// Remove a log that has no rows; its path names nothing any more.
    RemoveLog(LogId),
    /// The path of a log that nobody names keeps nothing any more: who reads the log's entries has what comes before
    /// them in a path of its own.
    ReleasePath(LogId),
    /// Note that a log or journal may be named by nobody since a time; upkeep will look.
    Loosen(LogId, Time),
    /// Take that note back.
    Fasten(LogId),
    /// Write a thread whole.
    PutThread(Arc<Thread>),
    /// Remove a thread's row; turns and items go with the sweep of its journal.
    RemoveThread(Namespace, ThreadId),
    /// Keep the head that a session leaves; its log is named from now on.
    PutPastHead(Arc<PastHead>),
    /// Forget the heads that a session left, all or one, and loosen their logs.
    DropPastHeads {
        /// Where the session is.
        namespace: Namespace,
        /// The session.
        session: SessionId,
        /// One; `None`: all.
        revision: Option<Revision>,
        /// When.
        time: Time,
    },
    /// Write the last epoch that a namespace gave.
    PutEpoch(Namespace, u64),
    /// Write an engine.
    PutEngine(Arc<Engine>),
    /// Remove an engine.
    RemoveEngine(Namespace, EngineId),
    /// Write a replica.
    PutReplica(Arc<Replica>),
    /// Remove a replica: its lease is over.
    RemoveReplica(ReplicaId),
    /// Write a resume.
    PutResume(Arc<Resume>),
    /// Forget at most `SWEEP_ROWS_MAX` resumes of all namespaces that ended before a time.
    DropResumes {
        /// The time.
        before: Time,
    },
    /// Write a turn.
    PutTurn(Arc<Turn>),
    /// Write items, those with a known seq over what is there.
    PutItems(Vec<Item>),
    /// Give a turn's queued and running items an end.
    EndItems {
        /// The journal.
        journal: LogId,
        /// The turn.
        turn: TurnId,
        /// The end state.
        status: Status,
        /// When.
        time: Time,
        /// The thread's change number.
        change: u64,
    },
}
