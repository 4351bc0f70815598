//! Secrets that show by themselves: keys with a known beginning, JWTs, and what follows `Bearer`.

use super::escapes::Seen;
use super::{Stretch, run};

/// How the keys of a provider begin, and how many characters follow at least.
const KEYS: [(&str, usize); 26] = [
    ("github_pat_", 8),
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("rk_test_", 8),
    ("whsec_", 8),
    ("sk-", 8),
    ("ghp_", 8),
    ("gho_", 8),
    ("ghu_", 8),
    ("ghs_", 8),
    ("ghr_", 8),
    ("glpat-", 8),
    ("gsk_", 16),
    ("xai-", 16),
    ("hf_", 16),
    ("npm_", 16),
    ("pypi-", 16),
    ("dop_v1_", 16),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("xoxa-", 8),
    ("xoxr-", 8),
    ("xoxs-", 8),
    ("xapp-", 8),
    ("AIza", 30),
];

/// How the ids of AWS keys begin; capitals and digits follow.
const AWS: [&str; 6] = ["AKIA", "ASIA", "AROA", "AIDA", "ABIA", "ACCA"];
const AWS_CHARS_MIN: usize = 12;
const AWS_CHARS_MAX: usize = 128;

/// A bearer token has at least so many characters.
const BEARER_CHARS_MIN: usize = 6;

/// What may follow `bearer` in a sentence.
const NO_TOKENS: [&str; 8] = [
    "authentication",
    "authorization",
    "credential",
    "credentials",
    "header",
    "headers",
    "scheme",
    "tokens",
];

/// A secret without the beginning that says what it is.
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tokens inside a word, in order.
pub(super) struct Tokens<'a> {
    seen: &'a Seen<'a>,
    bytes: &'a [u8],
    word: usize,
    at: usize,
    end: usize,
    /// No JWT begins before this.
    no_jwt_to: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(seen: &'a Seen<'a>, start: usize, end: usize) -> Self {
        Self {
            seen,
            bytes: seen.text.as_bytes(),
            word: start,
            at: start,
            end,
            no_jwt_to: 0,
        }
    }

    /// Whether a token may begin here: not in the middle of a word, unless that changes its colour.
    fn is_boundary(&self, at: usize) -> bool {
        !self.bytes[..at].last().is_some_and(u8::is_ascii_alphanumeric) || self.is_start(at)
    }

    fn is_start(&self, at: usize) -> bool {
        at == self.word || self.is_behind_escape(at) || self.seen.is_cut(at)
    }

    /// Whether what the word has before this is the rest of an escape, such as the `n` of `\n`.
    fn is_behind_escape(&self, at: usize) -> bool {
        if self.word == 0 || self.bytes[self.word - 1] != b'\\' {
            return false;
        }
        match &self.bytes[self.word..at] {
            [b'n' | b'r' | b't' | b'b' | b'f'] => true,
            [b'u', hex @ ..] => hex.len() == 4 && hex.iter().all(u8::is_ascii_hexdigit),
            _ => false,
        }
    }

    fn token(&mut self, at: usize) -> Option<Token> {
        let word = &self.bytes[at..self.end];
        let key = KEYS
            .iter()
            .find(|(prefix, _)| word.starts_with(prefix.as_bytes()));
        if let Some((prefix, chars_min)) = key {
            let start = at + prefix.len();
            let end = run(&self.bytes[..self.end], start, is_base64url);
            return (end - start >= *chars_min).then_some(Token { start, end });
        }
        if AWS.iter().any(|prefix| word.starts_with(prefix.as_bytes())) {
            let start = at + 4;
            // A row of beginnings that change colour must not be read again and again.
            let last = self.end.min(start + AWS_CHARS_MAX);
            let end = run(&self.bytes[..last], start, |byte| byte.is_ascii_alphanumeric());
            let has_small = self.bytes[start..end].iter().any(u8::is_ascii_lowercase);
            let is_key = end - start >= AWS_CHARS_MIN && !has_small;
            return is_key.then(|| Token {
                start,
                end: run(&self.bytes[..self.end], end, |byte| byte.is_ascii_alphanumeric()),
            });
        }
        // Where dashes begin one too, a row of beginnings would be read again and again.
        let begins = at >= self.no_jwt_to
            && (!self.bytes[..at].last().is_some_and(|byte| is_base64url(*byte)) || self.is_start(at));
        (begins && word.starts_with(b"eyJ"))
            .then(|| self.jwt(at))
            .flatten()
    }

    /// Three parts with dots between them; of an unsigned one the last is empty.
    fn jwt(&mut self, at: usize) -> Option<Token> {
        let bytes = &self.bytes[..self.end];
        let header = run(bytes, at, is_base64url);
        let payload = run(bytes, header + 1, is_base64url);
        self.no_jwt_to = header;
        if bytes.get(header) != Some(&b'.') || payload == header + 1 || bytes.get(payload) != Some(&b'.') {
            return None;
        }
        Some(Token {
            start: at + 3,
            end: run(bytes, payload + 1, is_base64url),
        })
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while self.at < self.end {
            let at = self.at;
            if self.is_boundary(at)
                && let Some(token) = self.token(at)
            {
                self.at = token.end;
                return Some(token);
            }
            self.at += 1;
        }
        None
    }
}

/// What follows the word `Bearer`.
pub(super) fn bearer(text: &str, start: usize, end: usize) -> Option<Stretch<'_>> {
    let bytes = text.as_bytes();
    let word = &bytes[start..end];
    let scheme = &word[word.len().saturating_sub(6)..];
    let blanks = run(bytes, end, |byte| matches!(byte, b' ' | b'\t'));
    if !scheme.eq_ignore_ascii_case(b"bearer") || blanks == end {
        return None;
    }
    let token = run(bytes, blanks, |byte| {
        is_base64url(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
    });
    let token = blanks + text[blanks..token].trim_end_matches('.').len();
    let said = &text[blanks..token];
    let is_word = NO_TOKENS.iter().any(|word| said.eq_ignore_ascii_case(word));
    (said.len() >= BEARER_CHARS_MIN && !is_word).then_some(Stretch {
        start: blanks,
        end: token,
        quote: "",
    })
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
