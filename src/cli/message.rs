//! What a message is: who speaks in it, and what is said.

use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, Role};

/// Whether a message holds nothing but tool results.
pub(crate) fn is_tool_result(message: &pb::Message) -> bool {
    message
        .content
        .iter()
        .all(|block| matches!(block.block, Some(Block::ToolResult(_))))
}

/// Whether a message is one that `fork --before` may name.
pub(crate) fn is_user(message: &pb::Message) -> bool {
    message.role() == Role::User && !is_tool_result(message)
}

/// The text of a message, without anything else.
pub(crate) fn text(message: &pb::Message) -> String {
    let texts = message.content.iter().filter_map(|block| match &block.block {
        Some(Block::Text(text)) => Some(text.text.as_str()),
        Some(_) | None => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
