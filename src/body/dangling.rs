//! Tool calls that never got an answer, and the answers that are made up for them.
//!
//! A model is not sent a tool call without a result. What is stored stays as it is; a session that is seeded into an
//! engine gets a message with `is_error` and the text `interrupted` where a result is missing.

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use crate::domain::id::ID_CHARS_MAX;
use crate::pb;
use crate::pb::content_block::Block;

use super::digest;
use super::message::Envelope;

/// What a made-up result says.
const INTERRUPTED: &str = "interrupted";

/// Calls of the messages so far that wait for a result.
#[derive(Clone, Debug, Default)]
pub struct Dangling {
    open: Vec<String>,
    /// The message that made the last of them.
    caller: String,
}

impl Dangling {
    /// Takes the next message; the one that has to go before it, if calls are left that it does not answer.
    pub fn before(&mut self, body: &Bytes) -> Result<Option<Bytes>, DecodeError> {
        let envelope = Envelope::decode(body.clone())?;
        if envelope.role == i32::from(pb::Role::System) {
            return Ok(None);
        }
        let (mut calls, mut speaks) = (Vec::new(), envelope.role == i32::from(pb::Role::Assistant));
        for block in &envelope.content {
            match pb::ContentBlock::decode(block.clone())?.block {
                Some(Block::ToolResult(result)) => {
                    let answered = |open: &mut Vec<String>| {
                        let at = open.iter().position(|call| *call == result.tool_use_id);
                        at.map(|at| open.remove(at)).is_some()
                    };
                    let _ = answered(&mut self.open) || answered(&mut calls);
                }
                Some(Block::ToolUse(call)) => {
                    speaks = true;
                    calls.push(call.tool_use_id);
                }
                Some(
                    Block::Text(_)
                    | Block::Thinking(_)
                    | Block::Image(_)
                    | Block::Document(_)
                    | Block::Opaque(_),
                )
                | None => speaks = true,
            }
        }
        let missing = if speaks { self.answered() } else { None };
        if !calls.is_empty() {
            self.open.extend(calls);
            self.caller = envelope.message_id;
        }
        Ok(missing)
    }

    /// The message that has to go last, if calls are left.
    pub fn at_end(&mut self) -> Option<Bytes> {
        self.answered()
    }

    /// One result for each open call. The id follows from the caller's, so that it is the same each time.
    fn answered(&mut self) -> Option<Bytes> {
        if self.open.is_empty() {
            return None;
        }
        let results = std::mem::take(&mut self.open).into_iter().map(|tool_use_id| {
            let text = pb::TextBlock {
                text: INTERRUPTED.to_owned(),
            };
            let result = pb::ToolResultBlock {
                tool_use_id,
                content: vec![block(Block::Text(text))],
                is_error: true,
            };
            block(Block::ToolResult(result)).encode_to_vec().into()
        });
        let message = Envelope {
            message_id: id_after(&self.caller),
            role: pb::Role::User.into(),
            content: results.collect(),
            ..Envelope::default()
        };
        Some(message.encode_to_vec().into())
    }
}

fn block(block: Block) -> pb::ContentBlock {
    pb::ContentBlock {
        block: Some(block),
        ..pb::ContentBlock::default()
    }
}

fn id_after(caller: &str) -> String {
    let id = format!("{caller}.{INTERRUPTED}");
    if !caller.is_empty() && id.len() <= ID_CHARS_MAX {
        return id;
    }
    let digest = u128::from_be_bytes(digest(caller.as_bytes()).0);
    format!("{digest:032x}.{INTERRUPTED}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, role: pb::Role, blocks: Vec<Block>) -> Bytes {
        let envelope = Envelope {
            message_id: id.into(),
            role: role.into(),
            content: blocks
                .into_iter()
                .map(|b| block(b).encode_to_vec().into())
                .collect(),
            ..Envelope::default()
        };
        envelope.encode_to_vec().into()
    }

    fn text() -> Block {
        Block::Text(pb::TextBlock { text: "hi".into() })
    }

    fn call(id: &str) -> Block {
        Block::ToolUse(pb::ToolUseBlock {
            tool_use_id: id.into(),
            ..Default::default()
        })
    }

    fn result(id: &str) -> Block {
        Block::ToolResult(pb::ToolResultBlock {
            tool_use_id: id.into(),
            ..Default::default()
        })
    }

    /// The ids of what an engine is sent, and the calls that made-up messages answer.
    fn sent(messages: &[Bytes]) -> Vec<String> {
        let mut dangling = Dangling::default();
        let mut sent = Vec::new();
        let name = |body: &Bytes| {
            let envelope = Envelope::decode(body.clone()).unwrap();
            let answers = envelope.content.iter().filter_map(|b| {
                match pb::ContentBlock::decode(b.clone()).unwrap().block {
                    Some(Block::ToolResult(result)) if result.is_error => Some(result.tool_use_id),
                    _ => None,
                }
            });
            let answers: Vec<_> = answers.collect();
            format!("{}{}", envelope.message_id, answers.join("+"))
        };
        for body in messages {
            sent.extend(dangling.before(body).unwrap().iter().map(name));
            sent.push(name(body));
        }
        sent.extend(dangling.at_end().iter().map(name));
        sent
    }

    #[test]
    fn answered_calls_need_nothing() {
        use pb::Role::{Assistant, Tool, User};
        let messages = [
            message("u", User, vec![text()]),
            message("a", Assistant, vec![call("1"), call("2")]),
            message("r", Tool, vec![result("2")]),
            message("s", User, vec![result("1")]),
            message("b", Assistant, vec![text()]),
        ];
        assert_eq!(sent(&messages), ["u", "a", "r", "s", "b"]);
    }

    #[test]
    fn missing_results_come_before_whoever_speaks_next() {
        use pb::Role::{Assistant, System, User};
        let messages = [
            message("a", Assistant, vec![call("1"), call("2")]),
            message("r", User, vec![result("1")]),
            message("s", System, vec![text()]),
            message("u", User, vec![text()]),
            message("b", Assistant, vec![text(), call("3")]),
        ];
        let expected = ["a", "r", "s", "a.interrupted2", "u", "b", "b.interrupted3"];
        assert_eq!(sent(&messages), expected);
    }

    #[test]
    fn equal_ids_are_answered_one_by_one() {
        use pb::Role::{Assistant, User};
        let messages = [
            message("a", Assistant, vec![call("1"), call("1")]),
            message("r", User, vec![result("1")]),
        ];
        assert_eq!(sent(&messages), ["a", "r", "a.interrupted1"]);
    }

    #[test]
    fn made_up_ids_are_ids() {
        assert_eq!(id_after("m"), "m.interrupted");
        assert_eq!(id_after(&"m".repeat(128)).len(), 44);
        assert_eq!(id_after("").len(), 44);
    }
}
