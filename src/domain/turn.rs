//! Turns and the items they are made of.

use bytes::Bytes;

use super::id::{ItemId, LogId, Seq, TurnId};
use super::time::Time;
use super::usage::Usage;

/// How far a turn or an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits.
    Queued,
    /// Runs.
    InProgress,
    /// Done.
    Completed,
    /// Ended by an error.
    Failed,
    /// Its engine went away.
    Interrupted,
    /// Ended by a person.
    Canceled,
}

impl Status {
    /// Whether nothing more will come.
    pub fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::InProgress => false,
            Self::Completed | Self::Failed | Self::Interrupted | Self::Canceled => true,
        }
    }
}

/// What an item is; the kinds from `FileChange` on are left out of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemKind {
    /// A person's words.
    UserMessage,
    /// The agent's words.
    AgentMessage,
    /// The agent's reasoning.
    AgentReasoning,
    /// A tool called.
    ToolCall,
    /// A tool's answer.
    ToolResult,
    /// A file written.
    FileChange,
    /// A command run.
    CommandExecution,
    /// The context shortened.
    ContextCompaction,
    /// A note on progress.
    Status,
    /// A note on a failure.
    Error,
}

/// One round of a thread: what a user said and all that followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The journal it lies in.
    pub journal: LogId,
    /// Its id.
    pub id: TurnId,
    /// Its place among the journal's turns, from 1.
    pub number: u64,
    /// How far it is.
    pub status: Status,
    /// What it used.
    pub usage: Option<Usage>,
    /// Why it failed; empty otherwise.
    pub error: String,
    /// When it started.
    pub start_time: Time,
    /// When it ended.
    pub end_time: Option<Time>,
    /// Items of it that are queued or in progress.
    pub open_items: u64,
    /// Of the engine's attachment that last spoke of it; 0 where no engine did.
    pub epoch: u64,
    /// The thread's change number when it last changed.
    pub change: u64,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The journal it lies in.
    pub journal: LogId,
    /// The turn it belongs to.
    pub turn: TurnId,
    /// Its id.
    pub id: ItemId,
    /// Its place in the thread, from 1.
    pub seq: Seq,
    /// What it is.
    pub kind: ItemKind,
    /// How far it is.
    pub status: Status,
    /// When it was made.
    pub create_time: Time,
    /// When it ended.
    pub end_time: Option<Time>,
    /// The thread's change number when it last changed.
    pub change: u64,
    /// Wire bytes of an Item that has summary, content and metadata alone.
    pub body: Bytes,
}

/// An item that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// Its id; one the turn already has is replaced.
    pub id: ItemId,
    /// What it is.
    pub kind: ItemKind,
    /// How far it is.
    pub status: Status,
    /// When it was made, if the client says so.
    pub create_time: Option<Time>,
    /// When it ended, if the client says so.
    pub end_time: Option<Time>,
    /// Wire bytes of an Item that has summary, content and metadata alone.
    pub body: Bytes,
}

/// What the rules need of an item that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemMark {
    /// Its place in the thread.
    pub seq: Seq,
    /// How far it is.
    pub status: Status,
    /// When it was made.
    pub create_time: Time,
}
