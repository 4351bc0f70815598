//! A conversation as a person reads it: who speaks, what is said, and tools in one line each.

use std::io::{self, Write};

use console::Style;

use super::message::is_tool_result;
use super::term::{Look, clean, line};
use super::when;
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, Role};

/// Characters of a tool's input or output that are shown unless everything is asked for.
const TOOL_TEXT_CHARS: usize = 400;
/// How deep blocks may stand in each other and still be shown.
const DEPTH_MAX: usize = 8;

/// How a conversation is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transcript {
    look: Look,
    detail: Detail,
}

/// How much of tool inputs and outputs is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Their beginning.
    Cut,
    /// All of it.
    Whole,
}

impl Detail {
    /// All of it if that is asked for.
    pub(crate) fn asked(full: bool) -> Self {
        if full { Self::Whole } else { Self::Cut }
    }
}

impl Transcript {
    /// Prints as `look` says.
    pub(crate) fn new(look: Look, detail: Detail) -> Self {
        Self { look, detail }
    }

    /// Prints a message; `note` stands beside who speaks.
    pub(crate) fn message(self, out: &mut dyn Write, message: &pb::Message, note: &str) -> io::Result<()> {
        let (name, style) = match message.role() {
            Role::User if is_tool_result(message) => ("tool", Style::new().yellow()),
            Role::User => ("user", Style::new().cyan().bold()),
            Role::Assistant => ("assistant", Style::new().green().bold()),
            Role::System => ("system", Style::new().magenta().bold()),
            Role::Tool => ("tool", Style::new().yellow()),
            Role::Unspecified => ("?", Style::new().red()),
        };
        let mut beside = vec![line(note), line(&message.agent_path), line(&message.model)];
        beside.push(when::exact(message.create_time.as_ref()));
        beside.retain(|part| !part.is_empty());
        let name = self.look.style(style).apply_to(name);
        writeln!(out, "{name}  {}", self.look.dim(&beside.join("  ")))?;
        for block in &message.content {
            self.block(out, block, 1)?;
        }
        writeln!(out)
    }

    /// Prints a block, so deep inside others.
    pub(crate) fn block(self, out: &mut dyn Write, block: &pb::ContentBlock, depth: usize) -> io::Result<()> {
        let look = self.look;
        match &block.block {
            Some(Block::Text(text)) if depth > 1 => {
                self.lines(out, &self.cut(&text.text), depth, &Style::new().dim())
            }
            Some(Block::Text(text)) => self.lines(out, &text.text, depth, &Style::new()),
            Some(Block::Thinking(thought)) if thought.thinking.is_empty() => {
                self.line(out, &look.dim("(a thought that is withheld)"), depth)
            }
            Some(Block::Thinking(thought)) => {
                self.lines(out, &thought.thinking, depth, &Style::new().dim().italic())
            }
            Some(Block::ToolUse(call)) => {
                let name = look
                    .style(Style::new().yellow().bold())
                    .apply_to(line(&call.name))
                    .to_string();
                let input = line(&self.cut(&compact(&call.input_json)));
                self.line(out, &format!("→ {name} {input}"), depth)
            }
            Some(Block::ToolResult(result)) => self.result(out, result, depth),
            Some(Block::Image(image)) => {
                let source = match &image.source {
                    Some(pb::image_block::Source::Data(data)) => size(data.len()),
                    Some(pb::image_block::Source::Uri(uri)) => line(uri),
                    None => String::new(),
                };
                self.placeholder(out, &["image", &image.media_type, &source], depth)
            }
            Some(Block::Document(document)) => {
                let source = match &document.source {
                    Some(pb::document_block::Source::Data(data)) => size(data.len()),
                    Some(pb::document_block::Source::Uri(uri)) => line(uri),
                    None => String::new(),
                };
                self.placeholder(
                    out,
                    &["document", &document.name, &document.media_type, &source],
                    depth,
                )
            }
            Some(Block::Opaque(opaque)) => {
                self.placeholder(out, &["opaque", &opaque.r#type, &size(opaque.json.len())], depth)
            }
            None => self.placeholder(out, &["a block of a kind that this version does not know"], depth),
        }
    }

    fn result(self, out: &mut dyn Write, result: &pb::ToolResultBlock, depth: usize) -> io::Result<()> {
        let head = if result.is_error { "← error" } else { "←" };
        let color = if result.is_error {
            Style::new().red().bold()
        } else {
            Style::new().dim()
        };
        let head = self.look.style(color).apply_to(head);
        if depth >= DEPTH_MAX {
            return self.placeholder(out, &["more, too deep to show"], depth);
        }
        match result.content.as_slice() {
            [] => self.line(out, &format!("{head} {}", self.look.dim("(nothing)")), depth),
            // By far the most common: one text, which begins beside the arrow.
            [
                pb::ContentBlock {
                    block: Some(Block::Text(text)),
                    ..
                },
            ] => {
                let text = clean(&self.cut(&text.text));
                let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
                self.line(out, format!("{head} {}", self.look.dim(first)).trim_end(), depth)?;
                self.lines(out, rest, depth + 1, &Style::new().dim())
            }
            blocks => {
                self.line(out, &head.to_string(), depth)?;
                blocks
                    .iter()
                    .try_for_each(|block| self.block(out, block, depth + 1))
            }
        }
    }

    fn lines(self, out: &mut dyn Write, text: &str, depth: usize, style: &Style) -> io::Result<()> {
        let style = self.look.style(style.clone());
        clean(text).lines().try_for_each(|text| match text {
            "" => writeln!(out),
            text => self.line(out, &style.apply_to(text).to_string(), depth),
        })
    }

    fn line(self, out: &mut dyn Write, text: &str, depth: usize) -> io::Result<()> {
        writeln!(out, "{:1$}{text}", "", depth * 2)
    }

    fn placeholder(self, out: &mut dyn Write, parts: &[&str], depth: usize) -> io::Result<()> {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| line(part))
            .filter(|part| !part.is_empty())
            .collect();
        self.line(out, &self.look.dim(&format!("[{}]", parts.join(" "))), depth)
    }

    fn cut(self, text: &str) -> String {
        match text.char_indices().nth(TOOL_TEXT_CHARS) {
            Some((at, _)) if self.detail == Detail::Cut => {
                format!(
                    "{}… ({} more characters: --full)",
                    &text[..at],
                    text[at..].chars().count()
                )
            }
            Some(_) | None => text.to_owned(),
        }
    }
}

/// JSON text without the blanks between its tokens; anything else comes out nearly as it went in. Values are not read,
/// so that numbers stay as they are.
fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for char in json.chars() {
        if inside || !char.is_ascii_whitespace() {
            compact.push(char);
        }
        inside ^= char == '"' && !escaped;
        escaped = inside && char == '\\' && !escaped;
    }
    compact
}

fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes < 1 << 10 => format!("{bytes} B"),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::play;

    fn printed(message: &pb::Message, detail: Detail) -> String {
        let mut out = Vec::new();
        Transcript::new(Look::PLAIN, detail)
            .message(&mut out, message, "#0")
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    fn message(role: Role, blocks: Vec<Block>) -> pb::Message {
        pb::Message {
            role: role.into(),
            content: blocks.into_iter().map(play::block).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_conversation_reads_as_one() {
        let call = pb::ToolUseBlock {
            tool_use_id: "x".into(),
            name: "find".into(),
            input_json: "{ \"q\": \"a  b\",\n \"n\": 1e400 }".into(),
        };
        let told = message(
            Role::Assistant,
            vec![play::text("Let me look.\n\nNow:"), Block::ToolUse(call)],
        );
        assert_eq!(
            printed(&told, Detail::Cut),
            "assistant  #0\n  Let me look.\n\n  Now:\n  → find {\"q\":\"a b\",\"n\":1e400}\n\n"
        );
        let result = pb::ToolResultBlock {
            tool_use_id: "x".into(),
            content: vec![play::block(play::text("no\x1b[2J"))],
            is_error: true,
        };
        assert_eq!(
            printed(&message(Role::User, vec![Block::ToolResult(result)]), Detail::Cut),
            "tool  #0\n  ← error no␛[2J\n\n"
        );
    }

    #[test]
    fn what_cannot_be_shown_is_named() {
        let image = pb::ImageBlock {
            media_type: "image/png".into(),
            source: Some(pb::image_block::Source::Data(vec![0; 2048])),
        };
        let opaque = pb::OpaqueBlock {
            r#type: "next".into(),
            json: "{}".into(),
        };
        let told = message(Role::User, vec![Block::Image(image), Block::Opaque(opaque)]);
        assert_eq!(
            printed(&told, Detail::Cut),
            "user  #0\n  [image image/png 2 KiB]\n  [opaque next 2 B]\n\n"
        );
    }

    #[test]
    fn long_tool_texts_are_cut_unless_asked_for() {
        let result = pb::ToolResultBlock {
            content: vec![play::block(play::text("é".repeat(500)))],
            ..Default::default()
        };
        let told = message(Role::User, vec![Block::ToolResult(result)]);
        assert!(printed(&told, Detail::Cut).contains("… (100 more characters: --full)"));
        assert!(printed(&told, Detail::Whole).contains(&"é".repeat(500)));
    }

    #[test]
    fn blanks_inside_strings_stay() {
        assert_eq!(
            compact(r#"{ "a" : "x \" y" , "b" : [ 1 , 2 ] }"#),
            r#"{"a":"x \" y","b":[1,2]}"#
        );
        assert_eq!(compact(r#"{"a": "\\" , "b": 1}"#), r#"{"a":"\\","b":1}"#);
    }
}
