//! What passes over an attachment, in the words of the domain. The wire's own frames are the api's to read and write.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::thread::Draft;
use crate::domain::{Thread, ThreadId, Time, TurnId, Usage};

/// From the engine.
#[derive(Clone, Debug)]
pub enum Up {
    /// It runs a thread.
    Opened(Box<Claim>),
    /// It has let go of a thread.
    Closed(ThreadId),
    /// A part of an answer; facts count in the last.
    Part {
        /// What it answers.
        ask: String,
        /// The part.
        part: Box<Snapshot>,
        /// Whether it is the last.
        last: bool,
    },
    /// It cannot answer.
    Declined {
        /// What.
        ask: String,
        /// Why.
        why: Declined,
    },
    /// Messages it has taken over.
    SeedAck {
        /// Of which seed.
        seed: String,
        /// Since the seed began.
        messages: u64,
    },
    /// It gives a seed up.
    SeedFailed {
        /// Which.
        seed: String,
        /// Why.
        why: Declined,
    },
    /// It is alive.
    Heartbeat,
    /// It leaves on purpose.
    Goodbye,
    /// A frame that this version does not know; a heartbeat like any other.
    Unknown,
}

/// A thread that an engine says it runs.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which; made if there is none.
    pub thread: ThreadId,
    /// The facts of one that has to be made.
    pub draft: Draft,
    /// The turn that the engine works on.
    pub active_turn: Option<TurnId>,
}

/// Why an engine does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The wire bytes of its google.rpc.Status.
    pub status: Bytes,
}

/// To the engine.
#[derive(Clone, Debug)]
pub enum Down {
    /// A snapshot is wanted.
    SnapshotRequest(SnapshotRequest),
    /// A session is about to be seeded.
    SeedBegin {
        /// The seed.
        seed: String,
        /// The thread that the engine will run.
        thread: Arc<Thread>,
        /// Messages that follow in all.
        total: u64,
    },
    /// Messages to seed.
    SeedBatch {
        /// The seed.
        seed: String,
        /// The place of the first among all.
        first: u64,
        /// Wire bytes of Messages.
        messages: Vec<Bytes>,
    },
    /// The thread is the engine's.
    SeedCommit {
        /// The seed.
        seed: String,
    },
    /// The seed is off.
    SeedCancel {
        /// The seed.
        seed: String,
    },
    /// The service is about to go away.
    Drain,
}

/// When an engine answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Between two turns.
    #[default]
    TurnBoundary,
    /// At once.
    Immediate,
}

/// How much of a conversation the service has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Messages of the context view.
    pub messages: u64,
    /// The id of the last of them; empty where there is none, or it has none.
    pub last_id: String,
}

/// A snapshot that is wanted.
#[derive(Clone, Debug)]
pub struct SnapshotRequest {
    /// The name of the answer.
    pub ask: String,
    /// The thread.
    pub thread: ThreadId,
    /// When to answer.
    pub consistency: Consistency,
    /// What the service has.
    pub known: Known,
    /// When nobody waits any more.
    pub deadline: Time,
}

/// What an engine holds of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Wire bytes of Messages, in order; with `delta` only those that the service lacks.
    pub messages: Vec<Bytes>,
    /// Whether the messages go on from what the service has.
    pub delta: bool,
    /// Whether the engine has compacted its context.
    pub compacted: bool,
    /// Whether a turn was running.
    pub incomplete_turn: bool,
    /// Totals of the conversation.
    pub usage: Option<Usage>,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The mode.
    pub mode: String,
    /// The workspace.
    pub workspace: String,
    /// What the model is told first.
    pub system_prompt: String,
    /// Rails and preferences as JSON.
    pub settings_json: String,
    /// A title.
    pub title: String,
}
