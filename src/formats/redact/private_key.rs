//! Private keys in PEM, on many lines or on one with `\\n` in it, and what is left of those that were torn.

use super::escapes::Seen;
use super::{Copy, MASK, run};

const DASHES: &str = "-----";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const NAME: &str = "PRIVATE KEY";

/// The longest name between the dashes of a first or last line: `ENCRYPTED PRIVATE KEY` and the like.
const NAME_BYTES_MAX: usize = 64;

/// A line that ends in so much of it has key material.
const LINE_CHARS_MIN: usize = 40;

/// What may stand before key material on each line: a number, a quote, a mark of a change.
const PREFIX_BYTES_MAX: usize = 32;

/// Blanks at the end of a line that are looked behind.
const BLANKS_MAX: usize = 8;

/// Hides private keys.
pub(super) fn hide(seen: &Seen<'_>, copy: &mut Copy<'_, '_>) {
    let text = &*seen.text;
    let mut torn = Torn { text, line_end: 0 };
    let (mut at, mut hidden_to, mut ends_follow) = (0, 0, true);
    while let Some(found) = text[at..].find(DASHES) {
        let start = at + found;
        let rest = &text[start..];
        if let Some(line) = rest
            .strip_prefix(BEGIN)
            .and_then(|_| marker(text, start + BEGIN.len()))
        {
            let end = if ends_follow { last_line(text, line) } else { None };
            ends_follow = end.is_some();
            at = end.unwrap_or_else(|| torn.end(line));
            copy.put(start, at, MASK);
            hidden_to = at;
        } else if let Some(end) = rest
            .strip_prefix(END)
            .and_then(|_| marker(text, start + END.len()))
        {
            let first = first_line(text.as_bytes(), hidden_to, start);
            if first < start {
                copy.put(first, end, MASK);
                hidden_to = end;
            }
            at = end;
        } else {
            // Of more dashes the last ones begin a line.
            let behind = run(text.as_bytes(), start, |byte| byte == b'-');
            let last = behind - DASHES.len();
            at = if last > start { last } else { behind };
        }
    }
}

/// The end of the next last line.
fn last_line(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = text[at..].find(END) {
        at += found + END.len();
        if let Some(end) = marker(text, at) {
            return Some(end);
        }
    }
    None
}

/// The end of a marker line whose name begins at `at`, if it is a private key's.
fn marker(text: &str, at: usize) -> Option<usize> {
    let line = &text.as_bytes()[at..];
    let line = &line[..line.len().min(NAME_BYTES_MAX + DASHES.len())];
    let name = run(line, 0, |byte| byte.is_ascii_alphanumeric() || byte == b' ');
    let closed = line[name..].starts_with(DASHES.as_bytes());
    (closed && text[at..at + name].contains(NAME)).then_some(at + name + DASHES.len())
}

/// Keys without a last line.
struct Torn<'a> {
    text: &'a str,
    /// The end of the line that was looked at last.
    line_end: usize,
}

impl Torn<'_> {
    /// The end of the key whose first line ends at `from`: before the first thing that cannot be part of one. Lines that
    /// something stands before are, as long as they end in much that is.
    fn end(&mut self, from: usize) -> usize {
        let mut end = material(self.text, from);
        let mut is_prefixed = false;
        loop {
            let line_end = self.line_end(end);
            let line = &self.text.as_bytes()[end..line_end];
            if trailing(line, LINE_CHARS_MIN) < LINE_CHARS_MIN {
                // The last line may have been cut.
                let cut = line.iter().position(u8::is_ascii_alphanumeric);
                let is_cut = is_prefixed && cut.is_some_and(|at| line[at..].iter().copied().all(is_base64));
                return if is_cut { line_end } else { end };
            }
            is_prefixed = true;
            end = material(self.text, line_end);
        }
    }

    /// The end of the line that goes on at `at`, a quote or a backslash for one. Places come in order.
    fn line_end(&mut self, at: usize) -> usize {
        if at >= self.line_end {
            let ends = |byte: u8| matches!(byte, b'\n' | b'\r' | b'\\' | b'"' | b'\'' | b'`');
            self.line_end = run(self.text.as_bytes(), at, |byte| !ends(byte));
        }
        self.line_end
    }
}

/// The end of what can be key material, line breaks included.
fn material(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = from;
    while let Some(&byte) = bytes.get(end) {
        let escaped_break = byte == b'\\' && matches!(bytes.get(end + 1), Some(b'n' | b'r' | b't'));
        let is_material = is_base64(byte) || byte.is_ascii_whitespace() || matches!(byte, b'-' | b':' | b',');
        if !escaped_break && !is_material {
            break;
        }
        end += 1;
    }
    end
}

/// The beginning of the key material before a last line that has no first one; the last line itself where there is none.
fn first_line(bytes: &[u8], from: usize, last_line: usize) -> usize {
    let (mut start, mut line_end) = (last_line, last_line);
    // The line itself has nothing but what stands before each, and the one above it may be short.
    let mut others = 2;
    loop {
        let blanks = bytes[from..line_end].iter().rev().take(BLANKS_MAX);
        let end = line_end - blanks.take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let mut run = end - trailing(&bytes[from..end], usize::MAX);
        // The letter of an escape is no material.
        let is_escaped = run < end && is_escape(bytes, from, run + 1);
        run += usize::from(is_escaped);
        let is_whole =
            is_escaped || run == from || matches!(bytes[run - 1], b'\n' | b'\r' | b'"' | b'\'' | b'`');
        if end - run >= LINE_CHARS_MIN || (is_whole && run < end && others > 0) {
            (start, others) = (run, others.min(1));
        } else if others == 0 {
            return start;
        } else {
            others -= 1;
        }
        match line_before(bytes, from, run) {
            Some(before) => line_end = before,
            None => return start,
        }
    }
}

/// The end of the line before the one that `at` is on, if that one begins nearby.
fn line_before(bytes: &[u8], from: usize, at: usize) -> Option<usize> {
    let nearest = from.max(at.saturating_sub(PREFIX_BYTES_MAX));
    let mut end = (nearest..at)
        .rev()
        .find(|&at| bytes[at] == b'\n' || is_break(bytes, from, at + 1))?;
    loop {
        // Back over the backslashes, and over `\r` before `\n`.
        while end > from && bytes[end - 1] == b'\\' {
            end -= 1;
        }
        if end > from && bytes[end - 1] == b'\r' {
            end -= 1;
        } else if end > from && bytes[end - 1] == b'r' && is_break(bytes, from, end) {
            end -= 1;
            continue;
        }
        return Some(end);
    }
}

/// Whether what ends at `end` is the letter of a blank that is written as an escape.
fn is_escape(bytes: &[u8], from: usize, end: usize) -> bool {
    is_break(bytes, from, end) || matches!(bytes[from..end], [.., b'\\', b't'])
}

/// Whether it is that of a line break.
fn is_break(bytes: &[u8], from: usize, end: usize) -> bool {
    matches!(bytes[from..end], [.., b'\\', b'n' | b'r'])
}

/// How much of it a line ends in, counted up to `max`; blanks behind it are not looked at.
fn trailing(line: &[u8], max: usize) -> usize {
    let blanks = line
        .iter()
        .rev()
        .take(BLANKS_MAX)
        .take_while(|byte| matches!(byte, b' ' | b'\t'));
    let line = &line[..line.len() - blanks.count()];
    line.iter()
        .rev()
        .take(max)
        .take_while(|byte| is_base64(**byte))
        .count()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
