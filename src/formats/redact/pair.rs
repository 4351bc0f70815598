//! Values of pairs whose name says that they are secret: `NAME=value`, `name: value`, `"name": "value"`.
//!
//! A tight `name=value` is always taken at its word, and so is a value in quotes. Where blanks or a colon leave it
//! open whether this is a sentence or code, a name that only holds `key` or `token` needs a value that looks like a
//! secret, while `password`, `client_secret` or `api_key` need no more.

use super::{MASK, Stretch, run};

/// What a name holds that has a secret for its value.
const SECRET: [&str; 8] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
];

/// What a name holds that leaves no doubt; dashes, dots and underscores are left out.
const CERTAIN: [&str; 10] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "accesstoken",
    "authtoken",
    "refreshtoken",
];

/// Words before the secret itself: `Authorization: Basic …`.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];

/// Words before the secret in an `Authorization` header alone.
const HEADER_SCHEMES: [&str; 3] = ["token", "apikey", "negotiate"];

/// Values that hide nothing.
const LITERALS: [&str; 6] = ["true", "false", "null", "nil", "none", "undefined"];

/// A value that looks like a secret has at least so many characters.
const LOOKS_CHARS_MIN: usize = 8;

/// The longest type between a name and its value.
const TYPE_CHARS_MAX: usize = 96;

/// The value of the pair whose name is the word from `start` to `end`, if there is one to hide.
pub(super) fn value(text: &str, start: usize, end: usize) -> Option<Stretch<'_>> {
    let bytes = text.as_bytes();
    let quote = Quote::at(bytes, end);
    let named = quote.as_ref().map_or(end, |quote| quote.after);
    // The name may be a place in something: `environ["PASSWORD"] = `.
    let placed = run(bytes, named, |byte| matches!(byte, b']' | b')'));
    let blanks = run(bytes, placed, is_blank);
    let joined = run(bytes, blanks, |byte| matches!(byte, b'=' | b':' | b'>'));
    let sign = bytes[blanks..joined].first();
    let is_call = bytes[named..placed].contains(&b')');
    if !matches!((sign, is_call), (Some(b'='), _) | (Some(b':'), false)) || !is_secret(&text[start..end]) {
        return None;
    }
    let quote = quote.filter(|_| placed == named);
    let mut pair = Pair {
        text,
        name: &text[start..end],
        quote: quote.map_or("", |quote| &text[quote.start..quote.after]),
        at: run(bytes, joined, is_blank),
    };
    if &text[blanks..joined] == ":"
        && let Some(at) = pair.behind_type()
    {
        pair.at = at;
    }
    match Quote::at(bytes, pair.at) {
        Some(opening) => pair.quoted(&opening),
        None if sign == Some(&b'=') && blanks == placed && pair.at == joined => pair.tight(),
        None => pair.loose(),
    }
}

/// A secret name and where its value begins.
struct Pair<'a> {
    text: &'a str,
    name: &'a str,
    /// The quote behind the name.
    quote: &'a str,
    at: usize,
}

impl<'a> Pair<'a> {
    /// What lies between quotes, or up to the end of the line.
    fn quoted(&self, opening: &Quote) -> Option<Stretch<'a>> {
        let end = opening.end(self.text);
        let start = self.behind_scheme(opening.after).min(end);
        self.stretch(start, end, "")
    }

    /// `name=value` is taken at its word.
    fn tight(&self) -> Option<Stretch<'a>> {
        let start = self.behind_scheme(self.at);
        self.bare(start, self.bare_end(start))
    }

    /// Where there is a colon, or blanks, the name or the value has to say that this is a secret.
    fn loose(&self) -> Option<Stretch<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.behind_scheme(self.at);
        if matches!(bytes.get(start), None | Some(b'[' | b'{' | b'(')) {
            return None;
        }
        let header = start > self.at && is_header(self.name);
        if !header && !is_certain(self.name) {
            // What looks like a secret has no colon in it, so a row of names is not read again and again.
            let end = run(bytes, start, is_secret_like);
            let said = self.text[start..end].trim_end_matches('.');
            return looks_secret(said)
                .then(|| self.bare(start, start + said.len()))
                .flatten();
        }
        let end = self.bare_end(start);
        let said = &self.text[start..end];
        let literal = LITERALS.iter().any(|word| said.eq_ignore_ascii_case(word));
        (!literal).then(|| self.bare(start, end)).flatten()
    }

    /// A value without quotes. In JSON only numbers stand there so, and a mask is none; what a scheme stands before is none
    /// either.
    fn bare(&self, start: usize, end: usize) -> Option<Stretch<'a>> {
        let quote = if start == self.at { self.quote } else { "" };
        self.stretch(start, end, quote)
    }

    /// Where a type comes first: the value behind the next sign, as in `key: string = "…"`.
    fn behind_type(&self) -> Option<usize> {
        let bytes = &self.text.as_bytes()[..self.text.len().min(self.at + TYPE_CHARS_MAX)];
        let sign = run(bytes, self.at, is_type);
        let at = run(bytes, sign + 1, is_blank);
        let is_plain = Quote::at(bytes, self.at).is_none()
            && self.behind_scheme(self.at) == self.at
            && !self.text[self.at..].starts_with(MASK);
        let is_apart = sign > self.at && (is_blank(bytes[sign - 1]) || Quote::at(bytes, at).is_some());
        let is_sign = bytes.get(sign) == Some(&b'=') && !matches!(bytes.get(sign + 1), Some(b'=' | b'>'));
        (is_plain && is_apart && is_sign).then_some(at)
    }

    /// What is to be hidden, if it is not yet.
    fn stretch(&self, start: usize, end: usize, quote: &'a str) -> Option<Stretch<'a>> {
        let mut rest = &self.text[start..];
        let mut masks = 0;
        while let Some(behind) = rest.strip_prefix(MASK) {
            rest = behind;
            masks += MASK.len();
        }
        // A bracket of the mask itself may have been taken for the punctuation around it.
        let hidden = start + masks >= end;
        (!hidden).then_some(Stretch { start, end, quote })
    }

    /// The place behind a scheme that stands before the secret.
    fn behind_scheme(&self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let word = run(bytes, at, |byte| byte.is_ascii_alphanumeric());
        let is = |name: &&str| self.text[at..word].eq_ignore_ascii_case(name);
        let scheme = SCHEMES.iter().any(is) || (is_header(self.name) && HEADER_SCHEMES.iter().any(is));
        let next = run(bytes, word, |byte| byte == b' ');
        let goes_on = bytes
            .get(next)
            .is_some_and(|byte| !byte.is_ascii_whitespace() && !is_quote(*byte) && *byte != b'\\');
        if scheme && next > word && goes_on {
            next
        } else {
            at
        }
    }

    /// The end of a value without quotes, the punctuation of what surrounds it left out.
    fn bare_end(&self, start: usize) -> usize {
        let end = bare_end(self.text, start);
        start
            + self.text[start..end]
                .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}'])
                .len()
    }
}

/// The end of a value without quotes: a blank, a quote, or what parts the pairs of a URL or of tags.
fn bare_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' {
            let behind = run(bytes, at, |byte| byte == b'\\');
            if bytes.get(behind).is_none_or(|byte| is_quote(*byte)) {
                return at;
            }
            at = behind;
        } else if byte.is_ascii_whitespace() || is_quote(byte) || matches!(byte, b'&' | b'<') || byte < b' ' {
            return at;
        } else {
            at += 1;
        }
    }
    at
}

pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

fn is_header(name: &str) -> bool {
    name.to_ascii_lowercase().contains("authorization")
}

fn is_certain(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['_', '-', '.'], "");
    CERTAIN.iter().any(|word| name.contains(word))
}

fn looks_secret(value: &str) -> bool {
    let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    let digits = value.bytes().any(|byte| byte.is_ascii_digit());
    value.len() >= LOOKS_CHARS_MIN && letters && digits
}

fn is_secret_like(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./+=~".contains(&byte)
}

/// What the name of a type is written in. Digits are not: they may be a secret's.
fn is_type(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || b"_.:,&|?<>[]' ".contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// A quote with the backslashes before it: of JSON inside a JSON string the quotes have some.
struct Quote {
    start: usize,
    after: usize,
    mark: u8,
    depth: usize,
}

impl Quote {
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let at = run(bytes, start, |byte| byte == b'\\');
        let mark = *bytes.get(at)?;
        is_quote(mark).then_some(Self {
            start,
            after: at + 1,
            mark,
            depth: at - start,
        })
    }

    /// The end of what this one opens: the same quote, or the end of the line or of the text around it.
    fn end(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let mut backslashes = 0;
        for (at, byte) in bytes.iter().enumerate().skip(self.after) {
            match byte {
                b'\\' => backslashes += 1,
                b'\n' | b'\r' => return at,
                mark if *mark == self.mark || (*mark == b'"' && self.depth > 0) => {
                    // Inside, a backslash is written as twice as many as the quote has, and two more.
                    let own = backslashes % (2 * (self.depth + 1));
                    if own <= self.depth {
                        return at - own;
                    }
                    backslashes = 0;
                }
                _ => backslashes = 0,
            }
        }
        bytes.len()
    }
}
