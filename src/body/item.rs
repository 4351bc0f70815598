//! Reads items of a thread, when they are written and when messages are made of them.

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use uuid::Uuid;

use crate::domain::turn::{ItemKind, NewItem};
use crate::domain::{Invalid, Item, ItemId, Limits};
use crate::pb;
use crate::pb::content_block::Block;

use super::{json, message, value};

/// Checks an item and keeps summary, content and metadata as its body. An id that is missing comes from `fresh`.
pub fn item(item: pb::Item, fresh: impl FnOnce() -> Uuid, limits: &Limits) -> Result<NewItem, Invalid> {
    let Some(kind) = value::item_kind(item.kind) else {
        return Err(Invalid::new(
            "kind",
            "must be set to a kind of item, from USER_MESSAGE to ERROR",
        ));
    };
    let Some(status) = value::status(item.status) else {
        return Err(Invalid::new(
            "status",
            "must be set to a status, from QUEUED to CANCELED",
        ));
    };
    for (at, block) in item.content.iter().enumerate() {
        message::block(block).map_err(|rule| Invalid::new(format!("content[{at}]"), rule))?;
    }
    json::well_formed(&item.metadata_json, "metadata_json", limits.text_bytes_max)?;
    let create_time = value::optional_time(item.create_time.as_ref(), "create_time")?;
    let end_time = value::optional_time(item.end_time.as_ref(), "end_time")?;
    let id = if item.item_id.is_empty() {
        ItemId::from_uuid(fresh())
    } else {
        ItemId::parse(&item.item_id, "item_id")?
    };
    let pb::Item {
        summary,
        content,
        metadata_json,
        ..
    } = item;
    let body = pb::Item {
        summary,
        content,
        metadata_json,
        ..pb::Item::default()
    };
    let max = limits.message_bytes_max;
    if body.encoded_len() > max {
        return Err(Invalid::limit("content", "message_bytes_max", max as u64));
    }
    Ok(NewItem {
        id,
        kind,
        status,
        create_time,
        end_time,
        body: body.encode_to_vec().into(),
    })
}

/// A stored item, for the wire.
pub fn item_to_pb(item: &Item) -> Result<pb::Item, DecodeError> {
    let pb::Item {
        summary,
        content,
        metadata_json,
        ..
    } = pb::Item::decode(item.body.clone())?;
    Ok(pb::Item {
        item_id: item.id.to_string(),
        turn_id: item.turn.to_string(),
        seq: item.seq.0,
        kind: value::item_kind_to_pb(item.kind).into(),
        status: value::status_to_pb(item.status).into(),
        summary,
        content,
        metadata_json,
        create_time: Some(value::timestamp(item.create_time)),
        end_time: item.end_time.map(value::timestamp),
    })
}

/// The ContentBlocks that an item gives a message, in order and as they came.
///
/// Only wholly blank text and thinking blocks are left out; thinking that carries a provider's signature or state
/// stays. An item without content counts as its summary. What a TOOL_RESULT item holds always ends up in a tool
/// result, blank or not: if its content has no ToolResultBlock, one is put around it.
pub fn item_blocks(body: &Bytes, kind: ItemKind) -> Result<Vec<Bytes>, DecodeError> {
    let pb::Item { summary, content, .. } = pb::Item::decode(body.clone())?;
    if content.is_empty() {
        return Ok(summary_block(summary, kind).into_iter().collect());
    }
    let mut blocks = Vec::with_capacity(content.len());
    let mut has_result = false;
    for bytes in &content {
        let block = pb::ContentBlock::decode(bytes.clone())?.block;
        has_result |= matches!(block, Some(Block::ToolResult(_)));
        if !block.as_ref().is_some_and(is_blank) {
            blocks.push(bytes.clone());
        }
    }
    if kind == ItemKind::ToolResult && !has_result {
        return Ok(vec![around(content)]);
    }
    Ok(blocks)
}

fn is_blank(block: &Block) -> bool {
    match block {
        Block::Text(text) => text.text.trim().is_empty(),
        Block::Thinking(thinking) => {
            thinking.thinking.trim().is_empty()
                && thinking.signature.is_empty()
                && thinking.state_json.is_empty()
        }
        Block::ToolUse(_)
        | Block::ToolResult(_)
        | Block::Image(_)
        | Block::Document(_)
        | Block::Opaque(_) => false,
    }
}

fn summary_block(summary: String, kind: ItemKind) -> Option<Bytes> {
    if kind == ItemKind::ToolResult {
        let text = (!summary.is_empty()).then(|| {
            encoded(Block::Text(pb::TextBlock {
                text: summary.clone(),
            }))
        });
        return Some(around(text.into_iter().collect()));
    }
    if summary.trim().is_empty() {
        return None;
    }
    Some(encoded(match kind {
        ItemKind::AgentReasoning => Block::Thinking(pb::ThinkingBlock {
            thinking: summary,
            ..pb::ThinkingBlock::default()
        }),
        ItemKind::ToolCall => Block::ToolUse(pb::ToolUseBlock {
            name: summary,
            ..pb::ToolUseBlock::default()
        }),
        ItemKind::UserMessage
        | ItemKind::AgentMessage
        | ItemKind::ToolResult
        | ItemKind::FileChange
        | ItemKind::CommandExecution
        | ItemKind::ContextCompaction
        | ItemKind::Status
        | ItemKind::Error => Block::Text(pb::TextBlock { text: summary }),
    }))
}

fn encoded(block: Block) -> Bytes {
    pb::ContentBlock {
        block: Some(block),
        ..pb::ContentBlock::default()
    }
    .encode_to_vec()
    .into()
}

/// A tool result of no known call that holds blocks as they came.
fn around(content: Vec<Bytes>) -> Bytes {
    ResultOfBytes {
        tool_result: Some(Answer { content }),
    }
    .encode_to_vec()
    .into()
}

/// A ContentBlock that is a ToolResultBlock whose blocks are bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct ResultOfBytes {
    #[prost(message, optional, tag = "4")]
    tool_result: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    content: Vec<Bytes>,
}

#[cfg(test)]
mod tests;
