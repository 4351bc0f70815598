//! The fold of a log up to an entry, kept with every entry, so that a cut reads one row.

use super::entry::Payload;
use super::id::Seq;
use super::message::{CallKey, MessageFacts, Role};
use super::usage::Usage;

/// The most unanswered tool calls that are remembered; past that the oldest are taken as abandoned.
pub const OPEN_CALLS_MAX: usize = 256;

/// Counts over all entries up to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries: the seq of the last.
    pub entries: u64,
    /// Messages of every role.
    pub messages: u64,
    /// Messages of the visible list.
    pub visible: u64,
    /// User messages, those of sub-agents included.
    pub users: u64,
    /// User messages of the main agent.
    pub main_users: u64,
    /// Items these messages are in a thread.
    pub items: u64,
    /// Turns these messages are in a thread.
    pub turns: u64,
    /// The saturating sum over messages.
    pub usage: Usage,
    /// Of the newest checkpoint; 0 where there is none.
    pub checkpoint: Seq,
    /// Of the last user message of the main agent that has a text; 0 where there is none.
    pub last_user_text: Seq,
    /// Messages of the main agent, of every role: the context view, but for checkpoints.
    pub main: u64,
    /// Of the last message of the main agent; 0 where there is none.
    pub last_main: Seq,
    /// Tool calls of the main agent without a result, oldest first.
    pub open_calls: Vec<CallKey>,
}

impl Tally {
    /// The tally with one more entry.
    #[must_use]
    pub fn with(&self, payload: &Payload) -> Self {
        let mut next = self.clone();
        next.entries += 1;
        match payload {
            Payload::Message(facts) => next.count_message(facts),
            Payload::Checkpoint => next.checkpoint = Seq(next.entries),
            Payload::Event => {}
        }
        next
    }

    /// Whether a person has said anything: a user message of the main agent with a text.
    pub fn has_user_interaction(&self) -> bool {
        self.last_user_text > Seq::ZERO
    }

    fn count_message(&mut self, facts: &MessageFacts) {
        self.messages += 1;
        self.visible += u64::from(facts.is_visible());
        self.users += u64::from(facts.is_user_message());
        self.usage = self.usage.plus(facts.usage);
        if !facts.in_sub_session {
            self.count_main_message(facts);
        }
    }

    /// A result answers the oldest open call of its id, which may be one of the same message.
    fn count_calls(&mut self, facts: &MessageFacts) {
        self.open_calls.extend(&facts.tool_uses);
        for call in &facts.tool_results {
            if let Some(at) = self.open_calls.iter().position(|open| open == call) {
                self.open_calls.remove(at);
            }
        }
        let excess = self.open_calls.len().saturating_sub(OPEN_CALLS_MAX);
        self.open_calls.drain(..excess);
    }

    fn count_main_message(&mut self, facts: &MessageFacts) {
        self.main += 1;
        self.last_main = Seq(self.entries);
        self.main_users += u64::from(facts.is_user_message());
        self.count_calls(facts);
        if facts.is_user_message() && facts.opening.is_some() {
            self.last_user_text = Seq(self.entries);
        }
        if facts.role == Role::System {
            return;
        }
        self.items += u64::from(facts.items);
        if facts.is_user_message() || self.turns == 0 {
            self.turns += 1;
        }
    }
}

#[cfg(test)]
mod tests;
