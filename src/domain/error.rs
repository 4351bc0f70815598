//! Why the rules say no. `api/status.rs` turns each into its code, reason and details.

use super::id::{EngineId, ItemId, ReplicaId, ResumeId, Revision, SessionId, ThreadId, TurnId};
use super::session::Etag;

/// A value that cannot be: which field, and what it should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The request's field, as a path: `entries[3].message.role`.
    pub field: String,
    /// What the field must be.
    pub rule: String,
    /// Set where a limit was passed: its name and value.
    pub limit: Option<(&'static str, u64)>,
}

impl Invalid {
    /// A field that breaks a rule.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
            limit: None,
        }
    }

    /// A field that passes a limit.
    pub fn limit(field: impl Into<String>, name: &'static str, max: u64) -> Self {
        Self {
            field: field.into(),
            rule: format!("at most {max} ({name})"),
            limit: Some((name, max)),
        }
    }

    /// The same, its field inside `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

/// What can be missing or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noun {
    /// A session.
    Session,
    /// A revision of a session, named `session@revision`.
    Revision,
    /// A thread.
    Thread,
    /// A turn.
    Turn,
    /// A message.
    Message,
    /// An engine.
    Engine,
    /// A resume.
    Resume,
}

/// A rule said no; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value that cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is none of that name.
    #[error("{noun:?} {id} not found")]
    NotFound {
        /// What.
        noun: Noun,
        /// Which.
        id: String,
    },
    /// The name is taken.
    #[error("{noun:?} {id} already exists")]
    AlreadyExists {
        /// What.
        noun: Noun,
        /// Which.
        id: String,
    },
    /// The request_id was used for another request.
    #[error("request_id was used for another request")]
    RequestIdReused,
    /// The log has changed; `current` is 0 where the session does not exist.
    #[error("session {session} is at revision {current}")]
    RevisionMismatch {
        /// Which.
        session: SessionId,
        /// Its revision.
        current: u64,
    },
    /// The resource has changed.
    #[error("session {session} has another etag")]
    EtagMismatch {
        /// Which.
        session: SessionId,
        /// Its etag.
        current: Etag,
    },
    /// The epoch is not that of the thread's owner.
    #[error("thread {thread} is at epoch {current}")]
    StaleEpoch {
        /// Which.
        thread: ThreadId,
        /// The owner's epoch.
        current: u64,
    },
    /// The session was deleted and only waits for its purge.
    #[error("session {session} is deleted")]
    SessionDeleted {
        /// Which.
        session: SessionId,
    },
    /// The session has messages its thread neither seeded nor saved.
    #[error("session {session} has messages that thread {thread} does not know")]
    SessionDiverged {
        /// Which.
        session: SessionId,
        /// The thread that wants to write.
        thread: ThreadId,
    },
    /// The session belongs to another thread.
    #[error("session {session} belongs to thread {owner}")]
    SessionOwned {
        /// Which.
        session: SessionId,
        /// Its thread.
        owner: ThreadId,
    },
    /// The thread belongs to an attached engine.
    #[error("thread {thread} belongs to engine {owner}")]
    ThreadOwned {
        /// Which.
        thread: ThreadId,
        /// Its engine.
        owner: EngineId,
    },
    /// The engine attached again, or has left.
    #[error("engine {engine} is not attached under this epoch")]
    EngineSuperseded {
        /// Which.
        engine: EngineId,
        /// The epoch of its last attachment.
        current: u64,
    },
    /// No engine holds the thread.
    #[error("no engine holds thread {thread}")]
    EngineNotAttached {
        /// Which.
        thread: ThreadId,
    },
    /// No attached engine holds any thread.
    #[error("no attached engine holds a thread")]
    NoLiveThread,
    /// No engine is there that was asked for.
    #[error("no engine that was asked for is attached")]
    NoEngine,
    /// The thread is not any more what a resume or snapshot was made for.
    #[error("thread {thread} was written to or seeded meanwhile")]
    ThreadMoved {
        /// Which.
        thread: ThreadId,
    },
    /// The resume has ended.
    #[error("resume {resume} has ended")]
    ResumeEnded {
        /// Which.
        resume: ResumeId,
    },
    /// Another replica drives the resume.
    #[error("resume {resume} is driven by another replica")]
    ResumeDriven {
        /// Which.
        resume: ResumeId,
    },
    /// The replica's lease has run out, or another process has its name.
    #[error("replica {replica} has lost its lease")]
    ReplicaFenced {
        /// Which.
        replica: ReplicaId,
        /// The incarnation that is over.
        incarnation: u64,
    },
    /// A replica of that name lives.
    #[error("another replica {replica} lives")]
    ReplicaTaken {
        /// Which.
        replica: ReplicaId,
    },
    /// The thread takes no turns.
    #[error("thread {thread} is closed")]
    ThreadClosed {
        /// Which.
        thread: ThreadId,
    },
    /// The thread has no message.
    #[error("thread {thread} has no message")]
    ThreadEmpty {
        /// Which.
        thread: ThreadId,
    },
    /// A turn or an item is not finished.
    #[error("thread {thread} has an unfinished turn or item")]
    TurnInProgress {
        /// Which.
        thread: ThreadId,
        /// Its turn, if known.
        turn: Option<TurnId>,
    },
    /// The turn has ended.
    #[error("turn {turn} has ended")]
    TurnFinished {
        /// Which.
        turn: TurnId,
    },
    /// The item has ended.
    #[error("item {item} has ended")]
    ItemFinished {
        /// Which.
        item: ItemId,
    },
    /// The fork point names something else than a user message.
    #[error("the fork point is not a user message")]
    ForkPointNotUserMessage,
    /// The fork point keeps something else than an assistant message.
    #[error("the fork point is not an assistant message")]
    ForkPointNotAssistantMessage,
    /// The fork point leaves a tool call unanswered.
    #[error("a tool call before the fork point has no result")]
    ForkPointOpenToolCall,
    /// The fork point lies in a sub-agent's part.
    #[error("the fork point lies inside a sub-agent's part")]
    ForkPointInSubSession,
    /// The fork point names a message there is not.
    #[error("the fork point is out of range: there are {count}")]
    ForkPointOutOfRange {
        /// How many there are of what was counted.
        count: u64,
    },
    /// An index past the end of what it counts in.
    #[error("the index is out of range: there are {count}")]
    IndexOutOfRange {
        /// How many there are.
        count: u64,
    },
    /// The log that a cursor stands in is gone.
    #[error("the cursor's log is not kept any more")]
    CursorExpired,
    /// What a request was computed on has changed meanwhile, each time it was tried.
    #[error("session {session} kept changing")]
    Moved {
        /// Which.
        session: SessionId,
    },
    /// A staged log was swept before it was published.
    #[error("the staged log is gone")]
    StagingLost,
}

impl Refusal {
    /// A missing session.
    pub fn no_session(id: &SessionId) -> Self {
        Self::NotFound {
            noun: Noun::Session,
            id: id.to_string(),
        }
    }

    /// A missing thread.
    pub fn no_thread(id: &ThreadId) -> Self {
        Self::NotFound {
            noun: Noun::Thread,
            id: id.to_string(),
        }
    }

    /// A missing resume.
    pub fn no_resume(id: &ResumeId) -> Self {
        Self::NotFound {
            noun: Noun::Resume,
            id: id.to_string(),
        }
    }

    /// A head that a session never left, or that is not kept any more.
    pub fn no_revision(session: &SessionId, revision: Revision) -> Self {
        Self::NotFound {
            noun: Noun::Revision,
            id: format!("{session}@{revision}"),
        }
    }

    /// A session at another revision than expected.
    pub fn revision(session: &SessionId, current: Revision) -> Self {
        Self::RevisionMismatch {
            session: session.clone(),
            current: current.0,
        }
    }
}
