//! What somebody looks for.

use super::each;
use crate::domain::Invalid;
use crate::domain::limits::{QUERY_CHARS_MAX, QUERY_PHRASES_MAX};

/// Phrases that a text must hold, all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    phrases: Vec<Phrase>,
}

/// Terms that stand one after another; most often there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// In order; never empty.
    pub terms: Vec<String>,
    /// Whether the last one is the beginning of a term.
    pub is_prefix: bool,
}

impl Query {
    /// Reads plain text. What stands between blanks is a phrase, most often of one word; so is what stands between two
    /// `"`, the last of which may be missing. A `*` right after a word makes a prefix of it, outside of `"`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > QUERY_CHARS_MAX && text.chars().count() > QUERY_CHARS_MAX {
            return Err(Invalid::limit("query", "query_chars_max", QUERY_CHARS_MAX as u64));
        }
        let mut phrases: Vec<Phrase> = Vec::new();
        for (number, part) in text.split('"').enumerate() {
            if number % 2 == 1 {
                add(&mut phrases, phrase(part));
            } else {
                part.split_whitespace()
                    .for_each(|words| add(&mut phrases, phrase_or_prefix(words)));
            }
        }
        if phrases.is_empty() {
            return Err(Invalid::new("query", "must hold a word to look for"));
        }
        if phrases.len() > QUERY_PHRASES_MAX {
            return Err(Invalid::limit(
                "query",
                "query_phrases_max",
                QUERY_PHRASES_MAX as u64,
            ));
        }
        Ok(Self { phrases })
    }

    /// The phrases, each one once, in the order of their first.
    pub fn phrases(&self) -> &[Phrase] {
        &self.phrases
    }
}

impl Phrase {
    /// Whether its term with this number stands for `term`.
    pub(super) fn accepts(&self, number: usize, term: &str) -> bool {
        let wanted = &self.terms[number];
        if self.is_prefix && number + 1 == self.terms.len() {
            term.starts_with(wanted.as_str())
        } else {
            term == wanted
        }
    }
}

/// Adds a phrase, unless it has no word or is there already.
fn add(phrases: &mut Vec<Phrase>, phrase: Phrase) {
    if !phrase.terms.is_empty() && !phrases.contains(&phrase) {
        phrases.push(phrase);
    }
}

fn phrase(text: &str) -> Phrase {
    let mut terms = Vec::new();
    each(text, |term, _, _| terms.push(term.to_owned()));
    Phrase {
        terms,
        is_prefix: false,
    }
}

fn phrase_or_prefix(text: &str) -> Phrase {
    let mut end = 0;
    each(text, |_, _, to| end = to);
    Phrase {
        is_prefix: text[end..].starts_with('*'),
        ..phrase(text)
    }
}
