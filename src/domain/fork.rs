//! Where a session may be cut. A reader finds the message a point names; these rules say whether the
//! cut is allowed there.

use super::entry::{EntryMeta, Kind};
use super::error::Refusal;
use super::id::EntryId;
use super::message::Role;
use super::tally::Tally;

/// Where a caller wants to cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the message with this place in the visible list.
    MessageIndex(i64),
    /// Before the user message with this place among user messages.
    UserMessageIndex(i64),
    /// Before this message.
    BeforeMessage(EntryId),
    /// Before the user message of the main agent that so many others follow.
    TurnsFromEnd(i64),
    /// After this message.
    ThroughMessage(EntryId),
}

/// What a reader looks for: the entry with which a count passes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// Visible messages.
    Visible,
    /// User messages.
    Users,
    /// User messages of the main agent.
    MainUsers,
    /// Items of a thread that is seeded with the session.
    Items,
    /// Turns of such a thread.
    Turns,
}

impl Count {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] = [
        Self::Visible,
        Self::Users,
        Self::MainUsers,
        Self::Items,
        Self::Turns,
    ];

    /// What a tally says of this count.
    pub fn of(self, tally: &Tally) -> u64 {
        match self {
            Self::Visible => tally.visible,
            Self::Users => tally.users,
            Self::MainUsers => tally.main_users,
            Self::Items => tally.items,
            Self::Turns => tally.turns,
        }
    }

    /// The number an index stands for, or that it is out of range of what `end` counts.
    pub fn number(self, index: i64, end: &Tally) -> Result<u64, Refusal> {
        let count = self.of(end);
        let out_of_range = Refusal::ForkPointOutOfRange { count };
        let index = u64::try_from(index).map_err(|_| out_of_range.clone())?;
        if index < count {
            Ok(index)
        } else {
            Err(out_of_range)
        }
    }
}

/// Whether a session may be cut just before `message`.
pub fn before(message: &EntryMeta) -> Result<(), Refusal> {
    if message.mark.in_sub_session {
        return Err(Refusal::ForkPointInSubSession);
    }
    if !message.mark.is_user_message() {
        return Err(Refusal::ForkPointNotUserMessage);
    }
    Ok(())
}

/// Whether a session may be cut just after `message`.
pub fn after(message: &EntryMeta) -> Result<(), Refusal> {
    if message.mark.in_sub_session {
        return Err(Refusal::ForkPointInSubSession);
    }
    if message.mark.kind != Kind::Message || message.mark.role != Some(Role::Assistant) {
        return Err(Refusal::ForkPointNotAssistantMessage);
    }
    if !message.tally.open_calls.is_empty() {
        return Err(Refusal::ForkPointOpenToolCall);
    }
    Ok(())
}
