//! Markdown, for readers: the title, a few facts, then a section a message.
//!
//! Texts stand as they were written, for most of them are Markdown; what a text leaves open ends with it (see `prose`).
//! What tools were given and gave stands in fences longer than any in it. Events are left out, and control
//! characters are shown, not sent: a transcript may be read on a terminal.

use std::fmt::Write as _;

use prost::{DecodeError, Message as _};

use crate::body::value;
use crate::domain::{Entry, Kind, Session, Time};
use crate::pb::client as pb;
use crate::pb::client::content_block::Block;
use crate::pb::client::{document_block, image_block};

mod prose;

/// The shortest fence.
const FENCE: &str = "```";

/// What comes before the messages.
pub(super) fn head(session: &Session) -> String {
    let (profile, setting) = (&session.profile, &session.profile.setting);
    let mut out = format!("# {}\n\n", visible(&profile.title));
    let _ = writeln!(out, "- Session: `{}`", session.id);
    let _ = writeln!(
        out,
        "- Created: {}, updated: {}",
        time(profile.create_time),
        time(session.update_time)
    );
    let served = [&setting.provider, &setting.endpoint, &setting.model].map(|part| one_line(part));
    let served: Vec<String> = served.into_iter().filter(|part| !part.is_empty()).collect();
    if !served.is_empty() {
        let _ = writeln!(out, "- Model: {}", served.join(" / "));
    }
    if !setting.workspace.is_empty() {
        let _ = writeln!(out, "- Workspace: {}", one_line(&setting.workspace));
    }
    let _ = writeln!(out, "- Messages: {}", session.tip.tally.visible);
    out
}

/// An entry; empty for an event.
pub(super) fn entry(entry: &Entry) -> Result<String, DecodeError> {
    match entry.meta.mark.kind {
        Kind::Message => Ok(message(&pb::Message::decode(entry.body.clone())?)),
        Kind::Checkpoint => {
            let checkpoint = pb::Checkpoint::decode(entry.body.clone())?;
            Ok(format!("\n---\n\n*{}*\n", turning_point(&checkpoint)))
        }
        Kind::Event => Ok(String::new()),
    }
}

fn turning_point(checkpoint: &pb::Checkpoint) -> String {
    let count = checkpoint.context.len();
    let of = match (count, checkpoint.summary_message_id.is_empty()) {
        (0, true) => String::from("the context starts anew here, empty"),
        (0, false) => format!(
            "the context starts anew here, from message {}",
            one_line(&checkpoint.summary_message_id)
        ),
        (1, _) => String::from("the context starts anew here, with 1 message"),
        (count, _) => format!("the context starts anew here, with {count} messages"),
    };
    format!("Checkpoint: {of}")
}

fn message(message: &pb::Message) -> String {
    let speaker = match message.role() {
        pb::Role::User => "User",
        pb::Role::Assistant => "Assistant",
        pb::Role::System => "System",
        pb::Role::Tool => "Tool",
        pb::Role::Unspecified => "Message",
    };
    let mut out = format!("\n## {speaker}");
    if !message.agent_path.is_empty() {
        let _ = write!(out, " ({})", one_line(&message.agent_path));
    }
    out.push('\n');
    let said = message.create_time.as_ref();
    if let Some(at) = said.and_then(|at| value::time(at, "create_time").ok()) {
        let _ = write!(out, "\n*{}*\n", time(at));
    }
    message.content.iter().for_each(|part| block(&mut out, part));
    out
}

fn block(out: &mut String, block: &pb::ContentBlock) {
    match &block.block {
        Some(Block::Text(text)) => prose(out, &text.text),
        Some(Block::Thinking(thinking)) => quote(out, &thinking.thinking),
        Some(Block::ToolUse(call)) => {
            let _ = write!(out, "\n**Tool call** {}\n", named(&call.name, &call.tool_use_id));
            fence(out, "json", &call.input_json);
        }
        Some(Block::ToolResult(result)) => {
            let error = if result.is_error { " (error)" } else { "" };
            let _ = write!(out, "\n**Tool result{error}** {}\n", code(&result.tool_use_id));
            result.content.iter().for_each(|part| answer(out, part));
        }
        Some(Block::Image(image)) => {
            let at = match &image.source {
                Some(image_block::Source::Data(data)) => format!("{} bytes", data.len()),
                Some(image_block::Source::Uri(uri)) => one_line(uri),
                None => String::from("empty"),
            };
            let _ = write!(out, "\n*Image {}, {at}*\n", one_line(&image.media_type));
        }
        Some(Block::Document(document)) => {
            let at = match &document.source {
                Some(document_block::Source::Data(data)) => format!("{} bytes", data.len()),
                Some(document_block::Source::Uri(uri)) => one_line(uri),
                None => String::from("empty"),
            };
            let (name, kind) = (one_line(&document.name), one_line(&document.media_type));
            let _ = write!(out, "\n*Document {name} {kind}, {at}*\n");
        }
        Some(Block::Opaque(opaque)) => {
            let _ = write!(out, "\n**{}**\n", one_line(&opaque.r#type));
            fence(out, "json", &opaque.json);
        }
        None => out.push_str("\n*A block of a kind that this version does not know*\n"),
    }
}

/// A block of a tool's answer: its texts are no prose.
fn answer(out: &mut String, part: &pb::ContentBlock) {
    match &part.block {
        Some(Block::Text(text)) => fence(out, "", &text.text),
        Some(
            Block::Thinking(_)
            | Block::ToolUse(_)
            | Block::ToolResult(_)
            | Block::Image(_)
            | Block::Document(_)
            | Block::Opaque(_),
        )
        | None => block(out, part),
    }
}

fn named(name: &str, id: &str) -> String {
    if id.is_empty() {
        code(name)
    } else {
        format!("{} {}", code(name), code(id))
    }
}

/// Text as it was written, but that it stays within its section.
fn prose(out: &mut String, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    out.push('\n');
    out.push_str(&prose::contained(&visible(text)));
}

fn quote(out: &mut String, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    out.push('\n');
    for line in visible(text).trim_end().lines() {
        let _ = writeln!(out, "> {line}");
    }
}

/// Text in a fence that nothing in it can close.
fn fence(out: &mut String, language: &str, text: &str) {
    let text = visible(text);
    let longest = text
        .split(|char| char != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(FENCE.len()));
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = write!(out, "\n{fence}{language}\n{text}{end}{fence}\n");
}

/// A short text as code within a line.
fn code(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() {
        return text;
    }
    if text.contains('`') {
        let longest = text
            .split(|char| char != '`')
            .map(str::len)
            .max()
            .unwrap_or_default();
        let tick = "`".repeat(longest + 1);
        return format!("{tick} {text} {tick}");
    }
    format!("`{text}`")
}

fn time(time: Time) -> String {
    value::timestamp(time).to_string()
}

/// A text in one line.
fn one_line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with its control characters shown, but for line ends and tabs.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' | '\t' => out.push(char),
            '\r' if chars.peek() == Some(&'\n') => {}
            // The pictures of the control characters stand in their order.
            '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + u32::from(char))),
            '\x7f' => out.push('␡'),
            char if char.is_control() => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fenced(text: &str) -> String {
        let mut out = String::new();
        fence(&mut out, "json", text);
        out
    }

    #[test]
    fn fences_are_longer_than_what_is_in_them() {
        assert_eq!(fenced("{}"), "\n```json\n{}\n```\n");
        assert_eq!(fenced(""), "\n```json\n```\n");
        assert_eq!(fenced("a\n```\nb\n"), "\n````json\na\n```\nb\n````\n");
        assert_eq!(fenced("`````"), "\n``````json\n`````\n``````\n");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\x1b[31m\r\nb\tc\u{9b}"), "a␛[31m\nb\tc\\u{9b}");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(one_line(" a\n b "), "a b");
    }
}
