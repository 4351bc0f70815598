//! What a reader must find after a thread was played and saved, told from the items alone: a second reading of the
//! contract, so that a test does not ask the service what is right.

use super::PlayedTurn;
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, ItemKind, Role};

/// The messages that a turn becomes; `model` is the thread's.
///
/// Each user item is a message of its own; agent text, reasoning and tool calls are blocks of one assistant message and
/// tool results blocks of one user message, until the other kind comes or the turn ends. Wholly blank text and reasoning
/// is left out as if it had not been said; an item without content counts as its summary. The turn's usage stands on its
/// last message.
pub fn messages(turn: &PlayedTurn, model: &str) -> Vec<pb::Message> {
    let mut messages: Vec<pb::Message> = Vec::new();
    let mut open = None;
    for item in &turn.items {
        let Some(group) = Group::of(item.kind()) else {
            continue;
        };
        let content: Vec<_> = blocks(item)
            .into_iter()
            .filter(|block| !is_blank(block))
            .collect();
        if group == Group::User {
            open = None;
        }
        match messages.last_mut().filter(|_| open == Some(group)) {
            _ if content.is_empty() => continue,
            Some(message) => message.content.extend(content),
            None => messages.push(pb::Message {
                role: group.role().into(),
                content,
                turn_id: turn.turn.turn_id.clone(),
                model: if group == Group::Agent {
                    model.to_owned()
                } else {
                    String::new()
                },
                ..Default::default()
            }),
        }
        open = Some(group).filter(|group| *group != Group::User);
    }
    if let Some(last) = messages.last_mut() {
        last.usage = turn.turn.usage;
    }
    messages
}

/// Where what was read differs from what was expected, one line each; empty when it does not. Ids must be there and
/// differ from each other; times must be there.
pub fn differences(expected: &[pb::Message], read: &[pb::Message]) -> Vec<String> {
    let mut found = Vec::new();
    if expected.len() != read.len() {
        found.push(format!(
            "{} messages expected, {} read",
            expected.len(),
            read.len()
        ));
    }
    let mut ids = std::collections::HashSet::new();
    for (index, (expected, read)) in expected.iter().zip(read).enumerate() {
        if read.message_id.is_empty() || !ids.insert(&read.message_id) {
            found.push(format!(
                "message {index}: id {:?} is empty or not its own",
                read.message_id
            ));
        }
        if read.create_time.is_none() {
            found.push(format!("message {index}: no create_time"));
        }
        let as_read = pb::Message {
            message_id: read.message_id.clone(),
            create_time: read.create_time,
            ..expected.clone()
        };
        if as_read != *read {
            found.push(format!("message {index}: expected {as_read:?}, read {read:?}"));
        }
    }
    found
}

/// Items that go into one message with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    User,
    Agent,
    Results,
}

impl Group {
    fn of(kind: ItemKind) -> Option<Self> {
        match kind {
            ItemKind::UserMessage => Some(Self::User),
            ItemKind::AgentMessage | ItemKind::AgentReasoning | ItemKind::ToolCall => Some(Self::Agent),
            ItemKind::ToolResult => Some(Self::Results),
            ItemKind::Unspecified
            | ItemKind::FileChange
            | ItemKind::CommandExecution
            | ItemKind::ContextCompaction
            | ItemKind::Status
            | ItemKind::Error => None,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::User | Self::Results => Role::User,
            Self::Agent => Role::Assistant,
        }
    }
}

fn blocks(item: &pb::Item) -> Vec<pb::ContentBlock> {
    if item.content.is_empty() {
        return vec![super::block(super::text(&item.summary))];
    }
    item.content.clone()
}

fn is_blank(block: &pb::ContentBlock) -> bool {
    match &block.block {
        Some(Block::Text(text)) => text.text.trim().is_empty(),
        Some(Block::Thinking(thought)) => {
            thought.thinking.trim().is_empty()
                && thought.signature.is_empty()
                && thought.state_json.is_empty()
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{item, text};
    use super::*;

    fn played(items: Vec<pb::Item>) -> PlayedTurn {
        PlayedTurn {
            turn: pb::Turn {
                turn_id: "t".into(),
                ..Default::default()
            },
            items,
        }
    }

    fn call(id: &str) -> pb::Item {
        let call = pb::ToolUseBlock {
            tool_use_id: id.into(),
            name: "f".into(),
            input_json: "{}".into(),
        };
        item(ItemKind::ToolCall, Block::ToolUse(call))
    }

    fn result(id: &str) -> pb::Item {
        let result = pb::ToolResultBlock {
            tool_use_id: id.into(),
            content: vec![],
            is_error: false,
        };
        item(ItemKind::ToolResult, Block::ToolResult(result))
    }

    #[test]
    fn items_of_a_kind_merge_until_the_other_kind_comes() {
        let found = messages(
            &played(vec![
                item(ItemKind::UserMessage, text("a")),
                item(ItemKind::UserMessage, text("b")),
                item(ItemKind::AgentMessage, text("c")),
                call("1"),
                item(ItemKind::Status, text("left out")),
                call("1"),
                result("1"),
                result("1"),
                item(ItemKind::AgentMessage, text("d")),
            ]),
            "m",
        );
        let shape: Vec<_> = found
            .iter()
            .map(|message| (message.role(), message.content.len()))
            .collect();
        assert_eq!(
            shape,
            [
                (Role::User, 1),
                (Role::User, 1),
                (Role::Assistant, 3),
                (Role::User, 2),
                (Role::Assistant, 1)
            ]
        );
        assert!(found.iter().all(|message| message.turn_id == "t"));
    }

    #[test]
    fn blank_text_goes_and_a_blank_tool_result_stays() {
        let found = messages(
            &played(vec![
                item(ItemKind::UserMessage, text(" \n")),
                item(ItemKind::AgentMessage, text("")),
                call("1"),
                result("1"),
            ]),
            "m",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].content.len(), 1);
    }

    #[test]
    fn differences_are_told_apart_from_ids_and_times() {
        let expected = messages(&played(vec![item(ItemKind::UserMessage, text("a"))]), "m");
        let mut read = expected.clone();
        read[0].message_id = "m".into();
        read[0].create_time = Some(prost_types::Timestamp::default());
        assert_eq!(differences(&expected, &read), Vec::<String>::new());
        read[0].turn_id = "another".into();
        assert_eq!(differences(&expected, &read).len(), 1);
        assert_eq!(differences(&expected, &[]).len(), 1);
    }
}
