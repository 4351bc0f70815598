//! Titles: cleaned, derived from what was said, and numbered for forks.

use std::borrow::Cow;

use super::error::Invalid;
use super::limits::TITLE_CHARS_MAX;

/// The title of a session in which nobody said anything that could be one.
pub const FALLBACK: &str = "New Session";

const DERIVED_CHARS_MAX: usize = 50;
const PREVIEW_CHARS_MAX: usize = 120;
/// A title less the longest ` (fork N)`: a base that has as many characters may have been shortened.
pub const KEY_CHARS_MAX: usize = TITLE_CHARS_MAX - " (fork 18446744073709551615)".len();
/// A larger number is part of the title: stored columns are signed, and there is room for one more.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;
const TURN_META: (&str, &str) = ("<turn_meta>", "</turn_meta>");

/// Who a title comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TitleSource {
    /// From the first user text, or not there yet.
    #[default]
    Derived,
    /// From a request; never overwritten by a derived one.
    User,
    /// From the live thread or its engine.
    Engine,
}

/// A title that somebody gave: cleaned, not blank, at most 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// Strips control characters and bidi overrides, trims, and refuses what is empty then or too long.
    pub fn parse(value: &str, field: &str, chars_max: usize) -> Result<Self, Invalid> {
        let title = clean(value);
        if title.is_empty() {
            return Err(Invalid::new(
                field,
                "nothing is left of the title without control characters and spaces",
            ));
        }
        if title.chars().count() > chars_max {
            return Err(Invalid::limit(field, "title_chars_max", chars_max as u64));
        }
        Ok(Self(title))
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A title's number among the forks of its base; (namespace, key, number) is how forks are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForkName {
    /// The title without a trailing ` (fork N)`.
    pub base: String,
    /// N, or 0 for the base itself.
    pub number: u64,
}

impl ForkName {
    /// Takes a title apart.
    pub fn of(title: &str) -> Self {
        let whole = || Self {
            base: title.to_owned(),
            number: 0,
        };
        let Some(open) = title
            .strip_suffix(')')
            .and_then(|rest| rest.rfind("(fork ").map(|at| (rest, at)))
        else {
            return whole();
        };
        let digits = &open.0[open.1 + "(fork ".len()..];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return whole();
        }
        match digits.parse() {
            Ok(number) if number <= NUMBER_MAX => Self {
                base: title[..open.1].trim_end_matches([' ', '\t']).to_owned(),
                number,
            },
            Ok(_) | Err(_) => whole(),
        }
    }

    /// What forks of this base are counted under: so much of the base as every fork's title keeps.
    pub fn key(&self) -> &str {
        first_chars(&self.base, KEY_CHARS_MAX).trim_end()
    }

    /// The title of a fork: the base, shortened to fit, and the number.
    pub fn title(&self) -> String {
        self.title_within(TITLE_CHARS_MAX)
    }

    /// The same of at most so many characters, which the number alone may pass.
    pub fn title_within(&self, chars_max: usize) -> String {
        let suffix = format!("(fork {})", self.number);
        let room = chars_max.saturating_sub(suffix.len() + 1);
        let base = first_chars(&self.base, room).trim_end();
        if base.is_empty() {
            suffix
        } else {
            format!("{base} {suffix}")
        }
    }
}

/// The title that `text` gives a session: its first line without `<turn_meta>`, at most 50 characters.
/// `None` where nothing is left. No more of a line is looked at than that takes.
pub fn derived(text: &str) -> Option<String> {
    let text = without_turn_meta(text);
    let start = |line| clean_start(line, DERIVED_CHARS_MAX);
    let (line, is_whole) = text.lines().map(start).find(|(line, _)| !line.is_empty())?;
    if is_whole {
        return Some(line);
    }
    Some(format!("{}...", first_chars(&line, DERIVED_CHARS_MAX - 3)))
}

/// What lists show of a text: its first 120 characters, on one line.
pub fn preview(text: &str) -> String {
    first_chars(text.trim(), PREVIEW_CHARS_MAX).to_owned()
}

/// Without control characters and bidi overrides, trimmed. Joiners stay: emoji and scripts need them.
fn clean(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control() && !is_bidi_control(*c))
        .collect();
    kept.trim().to_owned()
}

/// The first characters of what [`clean`] leaves, and whether that is all of it.
fn clean_start(text: &str, chars_max: usize) -> (String, bool) {
    let (mut kept, mut count, mut blanks) = (String::new(), 0, String::new());
    for c in text.chars().filter(|c| !c.is_control() && !is_bidi_control(*c)) {
        if c.is_whitespace() {
            // Blanks count once something follows them; before the first character they never do.
            if count > 0 && blanks.len() < chars_max * 4 {
                blanks.push(c);
            }
            continue;
        }
        for c in std::mem::take(&mut blanks).chars().chain([c]) {
            if count == chars_max {
                return (kept, false);
            }
            kept.push(c);
            count += 1;
        }
    }
    (kept, true)
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn without_turn_meta(text: &str) -> Cow<'_, str> {
    if !text.contains(TURN_META.0) {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(TURN_META.0) {
        let Some(close) = rest[open..].find(TURN_META.1) else {
            break;
        };
        kept.push_str(&rest[..open]);
        rest = &rest[open + close + TURN_META.1.len()..];
    }
    kept.push_str(rest);
    kept.into()
}

/// The first characters of a text.
pub fn first_chars(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_the_start_of_the_whole() {
        let whole = |text: &str| {
            let line = clean(text);
            let is_whole = line.chars().count() <= 5;
            (first_chars(&line, 5).to_owned(), is_whole)
        };
        for text in [
            "",
            "  ",
            "abcde",
            "abcdef",
            " a b ",
            "abcd  ",
            "abcd  e",
            "a\u{7}b\u{202e}c",
            "ab       ",
            "ab                         c",
            "\u{3000}日本語の題名",
            "abcde \u{7} ",
        ] {
            assert_eq!(clean_start(text, 5), whole(text), "{text:?}");
        }
    }

    #[test]
    fn fork_names() {
        let name = |title: &str| {
            let name = ForkName::of(title);
            (name.base, name.number)
        };
        assert_eq!(name("My Session"), ("My Session".into(), 0));
        assert_eq!(name("My Session (fork 1)"), ("My Session".into(), 1));
        assert_eq!(name("My Session \t(fork 99)"), ("My Session".into(), 99));
        assert_eq!(name("My Session (branched)"), ("My Session (branched)".into(), 0));
        assert_eq!(name("A (fork 2) B"), ("A (fork 2) B".into(), 0));
        assert_eq!(name("A (fork 2) "), ("A (fork 2) ".into(), 0));
        assert_eq!(name("A (fork )"), ("A (fork )".into(), 0));
        assert_eq!(name("A (fork 1) (fork 2)"), ("A (fork 1)".into(), 2));
    }

    #[test]
    fn the_base_is_shortened_to_fit() {
        let title = ForkName {
            base: "é".repeat(200),
            number: 12,
        }
        .title();
        assert_eq!(title.chars().count(), 200);
        assert!(title.ends_with("é (fork 12)"));
    }

    #[test]
    fn a_shortened_base_is_counted_with_its_own() {
        for base in ["é".repeat(200), format!("{}{}x", "a".repeat(160), " ".repeat(35))] {
            let name = ForkName { base, number: 7 };
            let fork = ForkName::of(&name.title());
            assert_eq!((fork.key(), fork.number), (name.key(), 7));
        }
    }

    #[test]
    fn derived_titles() {
        assert_eq!(derived("Line 1\nLine 2").as_deref(), Some("Line 1"));
        assert_eq!(derived(&"é".repeat(50)), Some("é".repeat(50)));
        assert_eq!(derived(&"é".repeat(51)), Some(format!("{}...", "é".repeat(47))));
        assert_eq!(
            derived("<turn_meta>a\nb</turn_meta>\n\n Ask \nmore").as_deref(),
            Some("Ask")
        );
        assert_eq!(derived("<turn_meta>all</turn_meta> \n"), None);
        assert_eq!(derived("<turn_meta>open").as_deref(), Some("<turn_meta>open"));
        assert_eq!(derived("  \n\t"), None);
    }

    #[test]
    fn sanitised_titles() {
        let clean = |text: &str| Title::parse(text, "title", 200).map(|title| title.as_str().to_owned());
        assert_eq!(
            clean("Ev\x1b]0;PWNED\x07il\u{202e}RZ").as_deref(),
            Ok("Ev]0;PWNEDilRZ")
        );
        assert_eq!(clean(" 👩\u{200d}👧 ").as_deref(), Ok("👩\u{200d}👧"));
        assert!(clean("\x1b\u{202e} ").is_err());
        assert!(clean(&"é".repeat(200)).is_ok());
        assert!(clean(&"é".repeat(201)).is_err());
    }
}
