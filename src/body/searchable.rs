//! The part of a message that is searched: its text, tool inputs and tool outputs, the first 256 KiB of them.
//!
//! What a model thought, images, documents and blocks that only a provider understands are left out. Tool inputs are
//! JSON that is never parsed; only what is escaped in its strings is read as what it stands for, so that a word after a
//! line end is that word.

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use super::message::Envelope;
use super::value;
use crate::domain::Time;
use crate::domain::limits::SEARCHED_BYTES_MAX;
use crate::pb;
use crate::pb::content_block::Block;

/// How long a last word may be that is left out because the text goes on; a longer one is cut.
const LAST_WORD_BYTES_MAX: usize = 1_024;

/// What is searched of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searchable {
    /// Texts, inputs and outputs, a line end between two; at most `SEARCHED_BYTES_MAX` bytes.
    pub text: String,
    /// When it was said, if the message says so.
    pub time: Option<Time>,
}

/// Reads a stored message.
pub fn searchable(body: &Bytes) -> Result<Searchable, DecodeError> {
    let envelope = Envelope::decode(body.clone())?;
    let said = value::optional_time(envelope.create_time.as_ref(), "create_time");
    let mut text = Text::default();
    for block in envelope.content {
        if text.is_full() {
            break;
        }
        text.add_block(&pb::ContentBlock::decode(block)?);
    }
    Ok(Searchable {
        text: text.whole(),
        time: said.ok().flatten(),
    })
}

/// A text while it grows, a little beyond its bound at most by one part.
#[derive(Default)]
struct Text(String);

impl Text {
    fn add_block(&mut self, block: &pb::ContentBlock) {
        match &block.block {
            Some(Block::Text(text)) => self.add(|all, room| all.push_str(within(&text.text, room))),
            Some(Block::ToolUse(call)) => self.add(|all, room| unescape(&call.input_json, room, all)),
            Some(Block::ToolResult(result)) => result.content.iter().for_each(|inner| self.add_block(inner)),
            Some(Block::Thinking(_) | Block::Image(_) | Block::Document(_) | Block::Opaque(_)) | None => {}
        }
    }

    /// Adds a part of its own, of which no more than the room that is left is needed.
    fn add(&mut self, part: impl FnOnce(&mut String, usize)) {
        if self.is_full() {
            return;
        }
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        // One more than fits, so that it shows that something was cut.
        let room = SEARCHED_BYTES_MAX + 4 - self.0.len().min(SEARCHED_BYTES_MAX);
        part(&mut self.0, room);
    }

    fn is_full(&self) -> bool {
        self.0.len() > SEARCHED_BYTES_MAX
    }

    /// What there is room for. Where the text goes on, its last word may not be whole, and is left out.
    fn whole(mut self) -> String {
        if self.is_full() {
            let cut = within(&self.0, SEARCHED_BYTES_MAX);
            let last = within(cut, cut.len().saturating_sub(LAST_WORD_BYTES_MAX)).len();
            let end = cut[last..]
                .rfind(char::is_whitespace)
                .map_or(cut.len(), |at| last + at);
            self.0.truncate(end);
        }
        self.0
    }
}

/// The beginning of a text, of at most so many bytes.
fn within(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Adds JSON, or what was meant to be JSON, with the escapes within its strings read; at most about `bytes_max` bytes.
fn unescape(json: &str, bytes_max: usize, text: &mut String) {
    let end = text.len() + bytes_max;
    let mut in_string = false;
    let mut chars = json.chars();
    while let Some(char) = chars.next() {
        if text.len() >= end {
            break;
        }
        match char {
            '\\' if in_string => {
                let rest = chars.as_str();
                match escaped(rest) {
                    Some((char, taken)) => {
                        text.push(char);
                        chars = rest[taken..].chars();
                    }
                    None => text.push('\\'),
                }
            }
            '"' => {
                in_string = !in_string;
                text.push('"');
            }
            char => text.push(char),
        }
    }
}

/// What stands after a backslash stands for, and its bytes.
fn escaped(rest: &str) -> Option<(char, usize)> {
    let char = match rest.bytes().next()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' | b'f' => ' ',
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'u' => return coded(rest),
        _ => return None,
    };
    Some((char, 1))
}

/// The character that `u` and four digits stand for, or two of these with a backslash between.
fn coded(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u16::from_str_radix(rest.get(at..at + 4)?, 16).ok();
    let first = unit(1)?;
    let second = (rest.get(5..7) == Some("\\u")).then(|| unit(7)).flatten();
    let units = [first, second.unwrap_or(0)];
    match char::decode_utf16(units).next()? {
        Ok(char) => Some((char, if char.len_utf16() == 2 { 11 } else { 5 })),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 5)),
    }
}

#[cfg(test)]
mod tests;
