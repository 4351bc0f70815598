//! Private keys in PEM, on many lines or on one with `\n` in it.

use std::borrow::Cow;

use super::{Copy, MASK, run};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const NAME: &str = "PRIVATE KEY";
const DASHES: &[u8] = b"-----";

/// The longest name between the dashes of a first or last line: `ENCRYPTED PRIVATE KEY` and the like.
const NAME_BYTES_MAX: usize = 64;

/// The text without its private keys.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let mut copy = Copy::of(text);
    let mut at = 0;
    let mut ends_follow = true;
    while let Some(found) = text[at..].find(BEGIN) {
        let start = at + found;
        at = start + BEGIN.len();
        let Some(line) = marker(text, at) else {
            continue;
        };
        let end = if ends_follow { last_line(text, line) } else { None };
        ends_follow = end.is_some();
        at = end.unwrap_or_else(|| torn(text, line));
        copy.put(start, at, MASK);
    }
    copy.finish()
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
    let closed = line[name..].starts_with(DASHES);
    (closed && text[at..at + name].contains(NAME)).then_some(at + name + DASHES.len())
}

/// Where a key without a last line ends: before the first thing that cannot be part of one.
fn torn(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = from;
    while let Some(&byte) = bytes.get(end) {
        let escaped_break = byte == b'\\' && matches!(bytes.get(end + 1), Some(b'n' | b'r' | b't'));
        let material = byte.is_ascii_alphanumeric()
            || byte.is_ascii_whitespace()
            || matches!(byte, b'+' | b'/' | b'=' | b'-' | b':' | b',');
        if !escaped_break && !material {
            break;
        }
        end += 1;
    }
    end
}
