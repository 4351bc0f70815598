//! Reads a message: checks it and counts what the rules need.

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::message::Opening;
use crate::domain::title;
use crate::domain::turn::ItemKind;
use crate::domain::{CallKey, Invalid, Limits, MessageFacts, Role, TurnId, Usage};
use crate::pb;
use crate::pb::content_block::Block;

use super::{json, value};

/// Tool results within tool results. A client may refuse to read what is nested a hundred messages deep, and every
/// client has to be able to read what is stored.
const BLOCK_DEPTH_MAX: usize = 32;

/// A Message whose blocks stay bytes: for reading the rest of it, for writing one around blocks that are bytes
/// already, and for fields to append.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(string, tag = "1")]
    pub(super) message_id: String,
    #[prost(enumeration = "pb::Role", tag = "2")]
    pub(super) role: i32,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(super) content: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(super) turn_id: String,
    #[prost(string, tag = "5")]
    pub(super) agent_path: String,
    #[prost(string, tag = "6")]
    pub(super) model: String,
    #[prost(message, optional, tag = "7")]
    pub(super) usage: Option<pb::Usage>,
    #[prost(string, tag = "8")]
    pub(super) metadata_json: String,
    #[prost(message, optional, tag = "9")]
    pub(super) create_time: Option<Timestamp>,
}

/// Decodes and checks everything of a message but its id and time. `field` is where it stands in the request.
pub(super) fn read(body: &Bytes, field: &str, limits: &Limits) -> Result<(Envelope, MessageFacts), Invalid> {
    let envelope =
        Envelope::decode(body.clone()).map_err(|_| Invalid::new(field, "the bytes are not a Message"))?;
    let Some(role) = value::role(envelope.role) else {
        return Err(Invalid::new(
            format!("{field}.role"),
            "must be USER, ASSISTANT, SYSTEM or TOOL",
        ));
    };
    let mut blocks = Vec::with_capacity(envelope.content.len());
    for (at, bytes) in envelope.content.iter().enumerate() {
        blocks.push(block(bytes).map_err(|rule| Invalid::new(format!("{field}.content[{at}]"), rule))?);
    }
    if !envelope.turn_id.is_empty() {
        TurnId::parse(&envelope.turn_id, &format!("{field}.turn_id"))?;
    }
    json::well_formed(
        &envelope.metadata_json,
        &format!("{field}.metadata_json"),
        limits.text_bytes_max,
    )?;
    let facts = facts(role, &envelope, &blocks);
    Ok((envelope, facts))
}

/// Decodes a block, or says what is wrong with it.
pub(super) fn block(bytes: &Bytes) -> Result<pb::ContentBlock, &'static str> {
    let Ok(block) = pb::ContentBlock::decode(bytes.clone()) else {
        return Err("the bytes are not a ContentBlock, or it is nested too deep");
    };
    if depth_within(&block, BLOCK_DEPTH_MAX) {
        Ok(block)
    } else {
        Err("tool results are nested at most 32 deep")
    }
}

/// What the rules need of a message.
pub(super) fn facts(role: Role, envelope: &Envelope, blocks: &[pb::ContentBlock]) -> MessageFacts {
    let mut facts = MessageFacts {
        role,
        in_sub_session: !envelope.agent_path.is_empty(),
        speaks: false,
        opening: None,
        tool_uses: Vec::new(),
        tool_results: Vec::new(),
        items: 0,
        usage: envelope.usage.as_ref().map_or_else(Usage::default, value::usage),
    };
    let mut run = None;
    for block in blocks {
        facts.items += u32::from(role != Role::System && starts_item(&mut run, role, block));
        match &block.block {
            Some(Block::ToolResult(result)) => {
                facts.tool_results.push(call_key(&result.tool_use_id));
                continue;
            }
            Some(Block::ToolUse(call)) => facts.tool_uses.push(call_key(&call.tool_use_id)),
            Some(Block::Text(text)) if role == Role::User => open(&mut facts.opening, &text.text),
            Some(
                Block::Text(_) | Block::Thinking(_) | Block::Image(_) | Block::Document(_) | Block::Opaque(_),
            )
            | None => {}
        }
        facts.speaks = true;
    }
    facts
}

/// Whether a block begins a new item of a thread: every tool call and tool result does, of others the first of a run
/// of one kind. `run` is the kind of the run that the blocks before it left open.
pub(super) fn starts_item(run: &mut Option<ItemKind>, role: Role, block: &pb::ContentBlock) -> bool {
    let kind = match &block.block {
        Some(Block::ToolUse(_) | Block::ToolResult(_)) => None,
        Some(
            Block::Text(_) | Block::Thinking(_) | Block::Image(_) | Block::Document(_) | Block::Opaque(_),
        )
        | None => Some(item_kind(role, block)),
    };
    let goes_on = kind.is_some() && *run == kind;
    *run = kind;
    !goes_on
}

/// What a block of a message of this role is in a thread.
pub(super) fn item_kind(role: Role, block: &pb::ContentBlock) -> ItemKind {
    match &block.block {
        Some(Block::ToolUse(_)) => ItemKind::ToolCall,
        Some(Block::ToolResult(_)) => ItemKind::ToolResult,
        Some(Block::Thinking(_)) if role == Role::Assistant => ItemKind::AgentReasoning,
        Some(
            Block::Text(_) | Block::Thinking(_) | Block::Image(_) | Block::Document(_) | Block::Opaque(_),
        )
        | None => match role {
            Role::User => ItemKind::UserMessage,
            Role::Assistant | Role::System => ItemKind::AgentMessage,
            Role::Tool => ItemKind::ToolResult,
        },
    }
}

/// The first text that is not blank is the preview; the title comes from the first that leaves one.
fn open(opening: &mut Option<Opening>, text: &str) {
    if text.trim().is_empty() || opening.as_ref().is_some_and(|opening| !opening.title.is_empty()) {
        return;
    }
    let title = title::derived(text).unwrap_or_default();
    match opening {
        Some(opening) => opening.title = title,
        None => {
            *opening = Some(Opening {
                preview: title::preview(text),
                title,
            })
        }
    }
}

fn call_key(tool_use_id: &str) -> CallKey {
    CallKey(xxh3_64(tool_use_id.as_bytes()))
}

fn depth_within(block: &pb::ContentBlock, depth: usize) -> bool {
    let Some(Block::ToolResult(result)) = &block.block else {
        return true;
    };
    depth > 0 && result.content.iter().all(|inner| depth_within(inner, depth - 1))
}
