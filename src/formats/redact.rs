//! Masks what nobody should read: keys, bearer tokens, JWTs, private keys, passwords in URLs, and the values of pairs
//! whose name says that they are secret.
//!
//! Two passes in linear time: one over private keys, which may span lines, and one over *words*, runs of
//! `[A-Za-z0-9_.-]`. What is hidden becomes [`MASK`]; what it was stays to be seen where something stands before it:
//! `sk-[redacted]`, `Bearer [redacted]`, `password=[redacted]`. Masking masked text changes nothing.
//!
//! Where it has to guess it hides. It reads text as a person would: JSON, JSON inside a JSON string, shell, YAML and
//! prose, so a line break may be written `\n`, and quotes may have backslashes before them; colours are not seen. A secret
//! with blanks in it and no quotes around it is hidden up to the first blank.

use std::borrow::Cow;

use serde::de::IgnoredAny;

mod content;
mod escapes;
mod login;
mod pair;
mod private_key;
mod token;

pub use content::{body, session};
use escapes::Seen;

/// What stands for a secret.
pub const MASK: &str = "[redacted]";

/// The text with its secrets masked; the text itself where it has none.
pub fn masked(text: &str) -> Cow<'_, str> {
    match hidden(text, private_key::hide) {
        Cow::Borrowed(text) => hidden(text, words),
        Cow::Owned(text) => Cow::Owned(hidden(&text, words).into_owned()),
    }
}

/// JSON text with its secrets masked. What is JSON stays JSON: where hiding would have broken it, all of it is hidden.
pub fn masked_json(text: &str) -> Cow<'_, str> {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    match masked(text) {
        Cow::Owned(hidden) if is_json(text) && !is_json(&hidden) => Cow::Owned(format!("\"{MASK}\"")),
        hidden => hidden,
    }
}

/// The text without what a pass finds in what is seen of it.
fn hidden<'t>(text: &'t str, pass: impl FnOnce(&Seen<'t>, &mut Copy<'t, '_>)) -> Cow<'t, str> {
    let seen = Seen::of(text);
    let mut copy = Copy::of(text, &seen);
    pass(&seen, &mut copy);
    copy.finish()
}

fn words(seen: &Seen<'_>, copy: &mut Copy<'_, '_>) {
    let text = &*seen.text;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let (start, end) = (at, run(bytes, at, is_word));
        tokens(seen, start, end, copy);
        at = end;
        let value = login::password(text, end).or_else(|| pair::value(text, start, end));
        if let Some(value) = value.or_else(|| token::bearer(text, start, end)) {
            tokens(seen, end, value.start, copy);
            copy.put(
                value.start,
                value.end,
                &format!("{}{MASK}{}", value.quote, value.quote),
            );
            at = value.end;
        }
    }
}

/// Hides the tokens of a stretch.
fn tokens(seen: &Seen<'_>, start: usize, end: usize, copy: &mut Copy<'_, '_>) {
    for found in token::Tokens::new(seen, start, end) {
        copy.put(found.start, found.end, MASK);
    }
}

/// A stretch to hide. It is not empty, and neither are its bounds inside a character.
struct Stretch<'a> {
    start: usize,
    end: usize,
    /// What goes around the mask, where a value has no quotes and needs some to stay JSON.
    quote: &'a str,
}

/// A text on its way out, of which stretches are replaced from left to right.
struct Copy<'t, 's> {
    text: &'t str,
    seen: &'s Seen<'t>,
    out: String,
    /// What lies before this is in `out`.
    copied: usize,
}

impl<'t, 's> Copy<'t, 's> {
    fn of(text: &'t str, seen: &'s Seen<'t>) -> Self {
        Self {
            text,
            seen,
            out: String::new(),
            copied: 0,
        }
    }

    /// Puts `text` in the place of a stretch of what is seen.
    fn put(&mut self, start: usize, end: usize, text: &str) {
        let (start, end) = self.seen.place(start, end);
        self.out.push_str(&self.text[self.copied..start]);
        self.out.push_str(text);
        self.copied = end;
    }

    fn finish(mut self) -> Cow<'t, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(&self.text[self.copied..]);
        Cow::Owned(self.out)
    }
}

/// What names, words and most tokens are written in.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// The end of the run that starts at `at`.
fn run(bytes: &[u8], at: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
