//! Colours and other orders to a terminal, which stand in the middle of what tools print: a text is read as it is seen,
//! without them, and what is found in it is hidden where it stands.
//!
//! Known are CSI sequences and choices of a character set, raw or as JSON and shells write them: `\u001b[32m`, `\x1b[K`,
//! `\033[0m`, `\e(B`.

use std::borrow::Cow;

use super::run;

/// How the escape character is written behind a backslash.
const WRITTEN: [&[u8]; 5] = [b"u001b", b"u001B", b"x1b", b"x1B", b"033"];

const ESCAPE: u8 = 0x1b;

/// A text as it is seen.
pub(super) struct Seen<'a> {
    /// What is seen.
    pub(super) text: Cow<'a, str>,
    /// Where something was left out, in order.
    cuts: Vec<Cut>,
}

/// A place of what is seen before which something is left out.
struct Cut {
    at: usize,
    /// Bytes left out so far, these included.
    left_out: usize,
}

impl<'a> Seen<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let (mut seen, mut cuts) = (String::new(), Vec::<Cut>::new());
        let (mut at, mut copied, mut left_out) = (0, 0, 0);
        while let Some(found) = bytes[at..]
            .iter()
            .position(|byte| matches!(*byte, ESCAPE | b'\\'))
        {
            let start = at + found;
            let (is_escape, behind) = introduced(bytes, start);
            let Some(end) = order(bytes, behind).filter(|_| is_escape) else {
                at = behind;
                continue;
            };
            seen.push_str(&text[copied..start]);
            left_out += end - start;
            match cuts.last_mut().filter(|cut| cut.at == seen.len()) {
                Some(cut) => cut.left_out = left_out,
                None => cuts.push(Cut {
                    at: seen.len(),
                    left_out,
                }),
            }
            (at, copied) = (end, end);
        }
        if cuts.is_empty() {
            return Self {
                text: Cow::Borrowed(text),
                cuts,
            };
        }
        seen.push_str(&text[copied..]);
        Self {
            text: Cow::Owned(seen),
            cuts,
        }
    }

    /// Whether something was left out before this place.
    pub(super) fn is_cut(&self, at: usize) -> bool {
        self.cuts.binary_search_by_key(&at, |cut| cut.at).is_ok()
    }

    /// Where what is seen from `start` to `end` stands in the text; what is left out at the edges is not in it.
    pub(super) fn place(&self, start: usize, end: usize) -> (usize, usize) {
        let left_out = |cuts: usize| cuts.checked_sub(1).map_or(0, |last| self.cuts[last].left_out);
        let before_start = self.cuts.partition_point(|cut| cut.at <= start);
        let before_end = self.cuts.partition_point(|cut| cut.at < end);
        (start + left_out(before_start), end + left_out(before_end))
    }
}

/// Whether a backslash or an escape character begins an escape, and where to go on.
fn introduced(bytes: &[u8], at: usize) -> (bool, usize) {
    if bytes[at] == ESCAPE {
        return (true, at + 1);
    }
    // Text in text has more backslashes.
    let behind = run(bytes, at, |byte| byte == b'\\');
    let rest = &bytes[behind..];
    if let Some(written) = WRITTEN.iter().find(|written| rest.starts_with(written)) {
        return (true, behind + written.len());
    }
    let is_short = matches!(rest, [b'e', b'[' | b'(', ..]);
    (is_short, behind + usize::from(is_short))
}

/// The end of the order that an escape before `at` begins.
fn order(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let (last, is_last): (usize, fn(u8) -> bool) = match rest.first()? {
        b'[' => {
            let parameters = run(bytes, at + 1, |byte| matches!(byte, 0x30..=0x3f));
            let last = run(bytes, parameters, |byte| matches!(byte, 0x20..=0x2f));
            (last, |byte| {
                byte.is_ascii_alphabetic() || matches!(byte, b'@' | b'~')
            })
        }
        b'(' | b')' | b'*' | b'+' => (at + 1, |byte| byte.is_ascii_alphanumeric()),
        _ => return None,
    };
    bytes
        .get(last)
        .is_some_and(|byte| is_last(*byte))
        .then_some(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_has_no_orders_in_it() {
        for (text, seen) in [
            ("\u{1b}[1;32mgreen\u{1b}[0m", "green"),
            (r"\u001b[32mgreen\u001B[m", "green"),
            (r"\\u001b[Kx\x1b[?25hy\033[0mz\e[1m", "xyz"),
            ("a\u{1b}(B\u{1b}[mb", "ab"),
            ("\u{1b}] \u{1b}[ \u{1b}", "\u{1b}] \u{1b}[ \u{1b}"),
            (r"\n\u001c\\ \e", r"\n\u001c\\ \e"),
            ("\u{1b}[32é", "\u{1b}[32é"),
        ] {
            assert_eq!(Seen::of(text).text, seen, "{text:?}");
        }
    }
}
