//! What the rules know of a message. Its body stays as it came and is never looked into again.

use super::usage::Usage;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A person, or whoever stands in for one.
    User,
    /// The model.
    Assistant,
    /// Instructions; kept, but never in the visible list.
    System,
    /// A tool's result, where a client does not put it in a user message.
    Tool,
}

/// A tool call's id as 8 bytes: ids are content, of any length and not unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub u64);

/// Facts read from a message body once, when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// Who speaks.
    pub role: Role,
    /// Said by a sub-agent: agent_path is not empty.
    pub in_sub_session: bool,
    /// Has at least one block that is not a tool_result.
    pub speaks: bool,
    /// Of a user message: the text that is not blank, as preview and title; else `None`.
    pub opening: Option<Opening>,
    /// Tool calls made, in order.
    pub tool_uses: Vec<CallKey>,
    /// Tool calls answered, in order.
    pub tool_results: Vec<CallKey>,
    /// How many items this message is in a thread.
    pub items: u32,
    /// What it used.
    pub usage: Usage,
}

/// What lists show of a message with text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its first 120 characters.
    pub preview: String,
    /// The title a session gets from it; empty where nothing is left.
    pub title: String,
}

impl MessageFacts {
    /// A user message: role USER, with a block that is not a tool_result. Only those are cut before.
    pub fn is_user_message(&self) -> bool {
        self.role == Role::User && self.speaks
    }

    /// In the visible list: all but system messages.
    pub fn is_visible(&self) -> bool {
        self.role != Role::System
    }
}
