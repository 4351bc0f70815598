//! Reads conversations in OpenAI's chat form, one `{id, model, messages}` a line, as scripts to play.
//!
//! A user message starts a turn; a leading assistant message gets its own. What a model or a tool said is kept as it
//! came: arguments verbatim, ids that repeat, contents that are empty. System messages become the system prompt.

use serde::Deserialize;

use super::{Script, ScriptTurn, block, item, text};
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, ItemKind};

/// Longest line that is read.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// A line that is not a conversation.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is no conversation in OpenAI's chat form")]
pub struct Invalid {
    /// Number of the line, from 1.
    pub line: usize,
    #[source]
    source: serde_json::Error,
}

#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    messages: Vec<ChatMessage>,
}

#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum ChatMessage {
    #[serde(alias = "developer")]
    System {
        content: Content,
    },
    User {
        content: Content,
    },
    Assistant {
        #[serde(default)]
        content: Option<Content>,
        #[serde(default)]
        tool_calls: Option<Vec<ToolCall>>,
    },
    Tool {
        tool_call_id: String,
        #[serde(default)]
        content: Option<Content>,
    },
}

/// A text, or the parts of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Deserialize)]
struct ImageUrl {
    url: String,
}

#[derive(Deserialize)]
struct ToolCall {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// Reads every conversation of a file's text; blank lines are passed over.
pub fn scripts(text: &str) -> impl Iterator<Item = Result<Script, Invalid>> + '_ {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| {
        script(line).map_err(|source| Invalid {
            line: index + 1,
            source,
        })
    })
}

fn script(line: &str) -> Result<Script, serde_json::Error> {
    if line.len() > LINE_BYTES_MAX {
        return Err(serde::de::Error::custom("the line is too long"));
    }
    let conversation: Conversation = serde_json::from_str(line)?;
    let mut script = Script {
        id: conversation.id,
        model: conversation.model,
        system_prompt: String::new(),
        turns: Vec::new(),
    };
    for message in conversation.messages {
        let step = match message {
            ChatMessage::System { content } => {
                if !script.system_prompt.is_empty() {
                    script.system_prompt.push_str("\n\n");
                }
                script.system_prompt.push_str(&content.into_text());
                continue;
            }
            ChatMessage::User { content } => {
                script.turns.push(ScriptTurn::default());
                vec![pb::Item {
                    content: content.into_blocks(),
                    ..item(ItemKind::UserMessage, text(""))
                }]
            }
            ChatMessage::Assistant { content, tool_calls } => {
                agent_step(content, tool_calls.unwrap_or_default())
            }
            ChatMessage::Tool {
                tool_call_id,
                content,
            } => vec![result_item(tool_call_id, content)],
        };
        if script.turns.is_empty() {
            script.turns.push(ScriptTurn::default());
        }
        if let Some(turn) = script.turns.last_mut().filter(|_| !step.is_empty()) {
            turn.steps.push(step);
        }
    }
    Ok(script)
}

fn agent_step(content: Option<Content>, calls: Vec<ToolCall>) -> Vec<pb::Item> {
    let said = content.map(|content| pb::Item {
        content: content.into_blocks(),
        ..item(ItemKind::AgentMessage, text(""))
    });
    let calls = calls.into_iter().map(|call| {
        let call = pb::ToolUseBlock {
            tool_use_id: call.id,
            name: call.function.name,
            input_json: call.function.arguments,
        };
        item(ItemKind::ToolCall, Block::ToolUse(call))
    });
    said.into_iter().chain(calls).collect()
}

fn result_item(tool_use_id: String, content: Option<Content>) -> pb::Item {
    let result = pb::ToolResultBlock {
        tool_use_id,
        content: content.map(Content::into_blocks).unwrap_or_default(),
        is_error: false,
    };
    item(ItemKind::ToolResult, Block::ToolResult(result))
}

impl Content {
    fn into_blocks(self) -> Vec<pb::ContentBlock> {
        match self {
            Self::Text(said) => vec![block(text(said))],
            Self::Parts(parts) => parts.into_iter().map(|part| block(part.into_block())).collect(),
        }
    }

    fn into_text(self) -> String {
        let said = self
            .into_blocks()
            .into_iter()
            .filter_map(|block| match block.block {
                Some(Block::Text(text)) => Some(text.text),
                Some(_) | None => None,
            });
        said.collect::<Vec<_>>().join("\n\n")
    }
}

impl Part {
    fn into_block(self) -> Block {
        match self {
            Self::Text { text: said } => text(said),
            Self::ImageUrl { image_url } => Block::Image(pb::ImageBlock {
                media_type: String::new(),
                source: Some(pb::image_block::Source::Uri(image_url.url)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &str) -> Script {
        script(&format!(r#"{{"id":"c","model":"m","messages":[{messages}]}}"#)).unwrap()
    }

    fn kinds(script: &Script) -> Vec<Vec<ItemKind>> {
        script
            .turns
            .iter()
            .map(|turn| turn.items().map(pb::Item::kind).collect())
            .collect()
    }

    #[test]
    fn user_messages_start_turns_and_system_messages_are_instructions() {
        let script = read(
            r#"{"role":"system","content":"be kind"},{"role":"assistant","content":"hello"},
               {"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}"#,
        );
        assert_eq!((script.id.as_str(), script.model.as_str()), ("c", "m"));
        assert_eq!(script.system_prompt, "be kind");
        assert_eq!(
            kinds(&script),
            [
                vec![ItemKind::AgentMessage],
                vec![ItemKind::UserMessage, ItemKind::AgentMessage],
                vec![ItemKind::UserMessage]
            ]
        );
    }

    #[test]
    fn calls_and_results_are_kept_verbatim_with_repeated_ids_and_blank_results() {
        let script = read(
            r#"{"role":"user","content":"a"},
               {"role":"assistant","content":null,"tool_calls":[
                 {"id":"x","type":"function","function":{"name":"f","arguments":"{\"n\": 1e400 }"}},
                 {"id":"x","type":"function","function":{"name":"g","arguments":""}}]},
               {"role":"tool","tool_call_id":"x","name":"f","content":""},
               {"role":"tool","tool_call_id":"x","name":"g","content":" \n"}"#,
        );
        let items: Vec<_> = script.turns[0]
            .items()
            .skip(1)
            .map(|item| item.content[0].block.clone())
            .collect();
        let [
            Some(Block::ToolUse(first)),
            Some(Block::ToolUse(second)),
            Some(Block::ToolResult(empty)),
            Some(Block::ToolResult(blank)),
        ] = items.as_slice()
        else {
            panic!("{items:?}");
        };
        assert_eq!(first.input_json, r#"{"n": 1e400 }"#);
        assert_eq!(
            (second.tool_use_id.as_str(), second.input_json.as_str()),
            ("x", "")
        );
        assert_eq!(empty.content, [block(text(""))]);
        assert_eq!(blank.content, [block(text(" \n"))]);
        assert_eq!(script.turns[0].steps.len(), 4);
    }

    #[test]
    fn text_comes_before_the_calls_of_the_same_message() {
        let call = r#"{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}"#;
        let script = read(&format!(
            r#"{{"role":"assistant","content":"hm","tool_calls":[{call}]}}"#
        ));
        assert_eq!(kinds(&script), [vec![ItemKind::AgentMessage, ItemKind::ToolCall]]);
    }

    #[test]
    fn parts_become_blocks() {
        let script = read(
            r#"{"role":"user","content":[{"type":"text","text":"see"},
                 {"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}"#,
        );
        assert_eq!(script.turns[0].steps[0][0].content.len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        let lines = "{\"messages\":[]}\n\nnonsense\n";
        let found: Vec<_> = scripts(lines).collect();
        assert!(found[0].is_ok());
        assert_eq!(found[1].as_ref().unwrap_err().line, 3);
    }
}
