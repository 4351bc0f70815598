//! Blocks, messages, entries and items, made in a word each.

use prost_types::Timestamp;
use sessiond::pb::client::content_block::Block;
use sessiond::pb::client::entry::Payload;
use sessiond::pb::client::{
    Checkpoint, ContentBlock, Entry, Event, Item, ItemKind, Message, OpaqueBlock, Role, TextBlock,
    ThinkingBlock, ToolResultBlock, ToolUseBlock, TurnStatus, Usage,
};

/// A block of any kind.
pub(crate) fn block(block: Block) -> ContentBlock {
    ContentBlock {
        block: Some(block),
        cache_control_json: String::new(),
    }
}

/// A text block.
pub(crate) fn text(text: &str) -> ContentBlock {
    block(Block::Text(TextBlock { text: text.into() }))
}

/// A thinking block.
pub(crate) fn thinking(thinking: &str) -> ContentBlock {
    block(Block::Thinking(ThinkingBlock {
        thinking: thinking.into(),
        ..Default::default()
    }))
}

/// A tool call.
pub(crate) fn call(id: &str, input_json: &str) -> ContentBlock {
    let call = ToolUseBlock {
        tool_use_id: id.into(),
        name: "tool".into(),
        input_json: input_json.into(),
    };
    block(Block::ToolUse(call))
}

/// What a tool answered to a call.
pub(crate) fn answer(id: &str, said: &str) -> ContentBlock {
    let content = if said.is_empty() { vec![] } else { vec![text(said)] };
    block(Block::ToolResult(ToolResultBlock {
        tool_use_id: id.into(),
        content,
        is_error: false,
    }))
}

/// A block that only its provider understands.
pub(crate) fn opaque(json: &str) -> ContentBlock {
    block(Block::Opaque(OpaqueBlock {
        r#type: "strange".into(),
        json: json.into(),
    }))
}

/// A message without an id.
pub(crate) fn message(role: Role, content: Vec<ContentBlock>) -> Message {
    Message {
        role: role.into(),
        content,
        ..Default::default()
    }
}

/// What a user says.
pub(crate) fn user(said: &str) -> Message {
    message(Role::User, vec![text(said)])
}

/// What the model says.
pub(crate) fn assistant(said: &str) -> Message {
    message(Role::Assistant, vec![text(said)])
}

/// What the model is told.
pub(crate) fn system(said: &str) -> Message {
    message(Role::System, vec![text(said)])
}

/// A message under an id of its own.
pub(crate) fn named(id: &str, message: Message) -> Message {
    Message {
        message_id: id.into(),
        ..message
    }
}

/// The same, said by a sub-agent.
pub(crate) fn by(agent_path: &str, message: Message) -> Message {
    Message {
        agent_path: agent_path.into(),
        ..message
    }
}

/// An entry that holds a message.
pub(crate) fn entry(message: Message) -> Entry {
    Entry {
        payload: Some(Payload::Message(message)),
        ..Default::default()
    }
}

/// Entries that hold messages.
pub(crate) fn entries(messages: impl IntoIterator<Item = Message>) -> Vec<Entry> {
    messages.into_iter().map(entry).collect()
}

/// A checkpoint that stands for everything before it.
pub(crate) fn checkpoint(context: Vec<Message>) -> Entry {
    let checkpoint = Checkpoint {
        context,
        ..Default::default()
    };
    Entry {
        payload: Some(Payload::Checkpoint(checkpoint)),
        ..Default::default()
    }
}

/// A checkpoint that points at messages.
pub(crate) fn pointer(summary: &str, last: &str) -> Entry {
    let checkpoint = Checkpoint {
        summary_message_id: summary.into(),
        last_message_id: last.into(),
        ..Default::default()
    };
    Entry {
        payload: Some(Payload::Checkpoint(checkpoint)),
        ..Default::default()
    }
}

/// An event.
pub(crate) fn event(data_json: &str) -> Entry {
    let event = Event {
        event_id: "event".into(),
        stream_id: "stream".into(),
        r#type: "kind".into(),
        data_json: data_json.into(),
    };
    Entry {
        payload: Some(Payload::Event(event)),
        ..Default::default()
    }
}

/// An item that is complete.
pub(crate) fn item(kind: ItemKind, content: Vec<ContentBlock>) -> Item {
    Item {
        kind: kind.into(),
        status: TurnStatus::Completed.into(),
        content,
        ..Default::default()
    }
}

/// An item in which a user says something.
pub(crate) fn asks(said: &str) -> Item {
    item(ItemKind::UserMessage, vec![text(said)])
}

/// An item in which the agent says something.
pub(crate) fn says(said: &str) -> Item {
    item(ItemKind::AgentMessage, vec![text(said)])
}

/// An item in which the agent thinks.
pub(crate) fn thinks(thought: &str) -> Item {
    item(ItemKind::AgentReasoning, vec![thinking(thought)])
}

/// An item in which the agent calls a tool.
pub(crate) fn calls(id: &str, input_json: &str) -> Item {
    item(ItemKind::ToolCall, vec![call(id, input_json)])
}

/// An item in which a tool answers.
pub(crate) fn answers(id: &str, said: &str) -> Item {
    item(ItemKind::ToolResult, vec![answer(id, said)])
}

/// Usage, each figure a multiple of one number.
pub(crate) fn usage(n: u64) -> Usage {
    Usage {
        input_tokens: n,
        output_tokens: 2 * n,
        cache_read_tokens: 3 * n,
        cache_write_tokens: 4 * n,
        reasoning_tokens: 5 * n,
        cost_micros: 6 * n,
    }
}

/// A time, in seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// All text of a message, a blank between blocks.
pub(crate) fn said(message: &Message) -> String {
    let texts = message.content.iter().map(|block| match &block.block {
        Some(Block::Text(text)) => text.text.clone(),
        Some(Block::Thinking(thought)) => format!("({})", thought.thinking),
        Some(Block::ToolUse(call)) => format!("call {}", call.tool_use_id),
        Some(Block::ToolResult(result)) => format!("result {}", result.tool_use_id),
        Some(other) => format!("{other:?}"),
        None => "nothing known".into(),
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// Role and text of each message, as `user: hello`.
pub(crate) fn talk(messages: &[Message]) -> Vec<String> {
    let line = |message: &Message| {
        let who = match message.role() {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
            Role::Tool => "tool",
            Role::Unspecified => "nobody",
        };
        format!("{who}: {}", said(message))
    };
    messages.iter().map(line).collect()
}
