//! Words: how a text is taken apart for search, and how what somebody looks for is read.
//!
//! Every backend indexes the terms that [`folded`] makes and nothing else, so that all of them find the same. A *term* is
//! a run of letters and digits without its case and without the accents of Latin, Greek and Cyrillic; of Chinese,
//! Japanese and Korean text each character is a term of its own. Everything else parts terms. Of a term the first
//! [`TERM_CHARS_MAX`] characters count.
//!
//! What somebody looks for is plain text: no sign in it is an operator but the `*` right after a word and a pair of `"`.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

mod matches;
mod query;
mod snippet;

pub use matches::Matches;
pub use query::{Phrase, Query};
pub use snippet::{SNIPPET_CHARS_MAX, Snippet};

/// Grows when the same text makes other terms: an index that another version made is made anew.
pub const VERSION: u32 = 1;

/// Characters of a term that count; the rest of a longer one is as if it were not there.
pub const TERM_CHARS_MAX: usize = 64;

/// The terms of a text, parted by single blanks.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    each(text, |term, _, _| {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(term);
    });
    folded
}

/// Calls `take` with each term of a text and the bytes that it stands in, from and to.
pub(super) fn each(text: &str, mut take: impl FnMut(&str, usize, usize)) {
    let mut open = Open::default();
    for (at, char) in text.char_indices() {
        let end = at + char.len_utf8();
        match Class::of(char) {
            Class::Letter => {
                if open.is_whole {
                    open.end(&mut take);
                }
                open.add(char, at, end);
            }
            Class::Whole => {
                open.end(&mut take);
                open.add(char, at, end);
                open.is_whole = true;
            }
            Class::Mark if !open.term.is_empty() => open.add(char, at, end),
            Class::Mark | Class::Nothing => {}
            Class::Gap => open.end(&mut take),
        }
    }
    open.end(&mut take);
}

/// A term while it is read.
#[derive(Default)]
struct Open {
    term: String,
    from: usize,
    to: usize,
    /// It takes no more letters.
    is_whole: bool,
}

impl Open {
    fn add(&mut self, char: char, from: usize, to: usize) {
        if self.term.is_empty() {
            self.from = from;
        }
        self.to = to;
        fold(char, &mut self.term);
    }

    fn end(&mut self, take: &mut impl FnMut(&str, usize, usize)) {
        if !self.term.is_empty() {
            take(counted(&self.term), self.from, self.to);
            self.term.clear();
        }
        self.is_whole = false;
    }
}

/// What of a term counts.
fn counted(term: &str) -> &str {
    // A character has a byte at least, so most terms need not be counted.
    if term.len() <= TERM_CHARS_MAX {
        return term;
    }
    let end = term.char_indices().nth(TERM_CHARS_MAX);
    end.map_or(term, |(end, _)| &term[..end])
}

/// What a character is to a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Part of a term.
    Letter,
    /// The beginning of a term that has no other letter.
    Whole,
    /// Belongs to the letter before it.
    Mark,
    /// Not there.
    Nothing,
    /// Between two terms.
    Gap,
}

impl Class {
    fn of(char: char) -> Self {
        match char {
            '\0'..='\x7f' => {
                if char.is_ascii_alphanumeric() {
                    Self::Letter
                } else {
                    Self::Gap
                }
            }
            // Soft hyphens, joiners and their opposites, variation selectors.
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' => {
                Self::Nothing
            }
            // The vowels and finals of decomposed Korean, and the voicing marks of halfwidth Japanese.
            '\u{1160}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7ff}' | '\u{ff9e}' | '\u{ff9f}' => Self::Mark,
            char if is_cjk(char) => Self::Whole,
            char if is_combining_mark(char) => Self::Mark,
            char if char.is_alphanumeric() => Self::Letter,
            _ => Self::Gap,
        }
    }
}

/// Letters that are written without blanks between words: Han, Kana, Bopomofo, Hangul.
fn is_cjk(char: char) -> bool {
    matches!(char,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{3035}'
        | '\u{3041}'..='\u{3096}'
        | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}'
        | '\u{3105}'..='\u{318e}'
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{a960}'..='\u{a97c}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9d}'
        | '\u{ffa0}'..='\u{ffdc}'
        | '\u{1aff0}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Adds a character without its case, its accents and the form it is written in.
fn fold(char: char, term: &mut String) {
    if char.is_ascii() {
        term.push(char.to_ascii_lowercase());
        return;
    }
    decompose_compatible(char, |part| {
        // There and back: sharp s is `ss`, and every sigma is one.
        let folded = part
            .to_lowercase()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase);
        term.extend(folded.filter(|char| stays(*char)));
    });
}

/// Whether what a character was taken apart into is part of a term: not the accents of Latin, Greek and Cyrillic.
fn stays(char: char) -> bool {
    !('\u{300}'..='\u{36f}').contains(&char) && (char.is_alphanumeric() || is_combining_mark(char))
}

#[cfg(test)]
mod tests;
