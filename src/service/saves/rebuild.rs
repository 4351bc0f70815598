//! Messages from items, in item order. Pure.
//!
//! Each user item is a user message of its own; agent text, reasoning and tool calls are blocks of one
//! assistant message, tool results blocks of one user message, each until another group begins or the
//! turn ends, or it would pass the size of a message. A turn's usage stands on its last message.

use bytes::Bytes;

use crate::body::Composed;
use crate::domain::turn::ItemKind;
use crate::domain::{EntryId, Item, Role, TurnId, Usage};

/// Items that share a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// A person's words.
    User,
    /// What the model says and calls.
    Assistant,
    /// What tools answer.
    Results,
}

impl Group {
    /// The group of a kind; `None`: the kind is left out of messages.
    fn of(kind: ItemKind) -> Option<Self> {
        match kind {
            ItemKind::UserMessage => Some(Self::User),
            ItemKind::AgentMessage | ItemKind::AgentReasoning | ItemKind::ToolCall => Some(Self::Assistant),
            ItemKind::ToolResult => Some(Self::Results),
            ItemKind::FileChange
            | ItemKind::CommandExecution
            | ItemKind::ContextCompaction
            | ItemKind::Status
            | ItemKind::Error => None,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::User | Self::Results => Role::User,
            Self::Assistant => Role::Assistant,
        }
    }
}

/// Messages under construction.
#[derive(Debug)]
pub(super) struct Rebuild {
    model: String,
    /// A message takes no more blocks past this; a single item may be larger.
    bytes_max: usize,
    turn: Option<(TurnId, Option<Usage>)>,
    /// The message that takes blocks; closed once its group ends.
    open: Option<(Group, Composed)>,
    /// The turn's last whole message: it waits, as it may turn out to be the one that carries the usage.
    whole: Option<Composed>,
}

impl Rebuild {
    /// Nothing yet; assistant messages will name `model`.
    pub(super) fn new(model: String, bytes_max: usize) -> Self {
        Self {
            model,
            bytes_max,
            turn: None,
            open: None,
            whole: None,
        }
    }

    /// Takes the next item with its blocks and its turn's usage; the messages that are whole with it.
    pub(super) fn push(&mut self, item: &Item, blocks: Vec<Bytes>, usage: Option<Usage>) -> Vec<Composed> {
        let mut done = Vec::new();
        if self.turn.as_ref().is_none_or(|(turn, _)| *turn != item.turn) {
            done.extend(self.end_turn());
            self.turn = Some((item.turn.clone(), usage));
        }
        let Some(group) = Group::of(item.kind) else {
            return done;
        };
        let continues = group != Group::User && self.continues(group, &blocks);
        if blocks.is_empty() && group != Group::User {
            return done;
        }
        if !continues {
            done.extend(self.close());
        }
        if blocks.is_empty() {
            return done;
        }
        match &mut self.open {
            Some((_, message)) => message.blocks.extend(blocks),
            None => self.open = Some((group, self.begin(item, group, blocks))),
        }
        done
    }

    /// The last messages.
    pub(super) fn finish(mut self) -> Vec<Composed> {
        self.end_turn()
    }

    /// Whether the open message takes these blocks too: its group goes on, and it stays within bounds.
    fn continues(&self, group: Group, blocks: &[Bytes]) -> bool {
        let Some((open, message)) = &self.open else {
            return false;
        };
        let bytes: usize = message.blocks.iter().chain(blocks).map(Bytes::len).sum();
        *open == group && bytes <= self.bytes_max
    }

    fn begin(&self, item: &Item, group: Group, blocks: Vec<Bytes>) -> Composed {
        Composed {
            id: EntryId::from(&item.id),
            role: group.role(),
            blocks,
            turn: item.turn.clone(),
            model: if group == Group::Assistant {
                self.model.clone()
            } else {
                String::new()
            },
            usage: None,
            create_time: item.create_time,
        }
    }

    /// Closes the open message; the one before it was not the turn's last.
    fn close(&mut self) -> Option<Composed> {
        let (_, message) = self.open.take()?;
        self.whole.replace(message)
    }

    fn end_turn(&mut self) -> Vec<Composed> {
        let before = self.close();
        let usage = self.turn.take().and_then(|(_, usage)| usage);
        let last = self.whole.take().map(|message| Composed { usage, ..message });
        before.into_iter().chain(last).collect()
    }
}
