//! Where a text holds what is looked for, and how well it fits.

use std::collections::VecDeque;

use super::{Phrase, Query, each};

/// Places that are kept of one text; all are counted.
const PLACES_MAX: usize = 1_000;

/// Terms of a message of common length.
const COMMON_TERMS: f64 = 200.0;

/// How soon a word that is said again counts for less.
const SATURATION: f64 = 1.2;

/// How much a long text counts for less.
const LENGTH_WEIGHT: f64 = 0.75;

/// What a score of one is as a whole number.
const SCORE_UNIT: f64 = 1e6;

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The first places, in the order of their ends.
    pub(super) places: Vec<Place>,
    /// How often each phrase is there.
    counts: Vec<u64>,
    /// Terms of the text.
    terms: u64,
}

/// A phrase that stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number in the query.
    pub(super) phrase: usize,
    /// Its first byte.
    pub(super) from: usize,
    /// The first byte after it.
    pub(super) to: usize,
}

impl Query {
    /// Where `text` holds the phrases.
    pub fn matches(&self, text: &str) -> Matches {
        let mut reading = Reading::of(self);
        each(text, |term, from, to| reading.take(term, from, to));
        reading.matches
    }

    /// Whether a text that was taken apart by [`folded`](super::folded) holds all phrases.
    pub fn accepts(&self, folded: &str) -> bool {
        let mut reading = Reading::of(self);
        folded.split(' ').for_each(|term| reading.take(term, 0, 0));
        reading.matches.counts.iter().all(|count| *count > 0)
    }
}

impl Matches {
    /// How well the text fits: more for words that are said often, less for long texts, as in BM25. All phrases are in
    /// every text that is compared, so how rare each is makes no difference and is left out: nothing but the text
    /// counts.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a bounded text, and a score that is positive and small"
    )]
    pub fn score(&self) -> u64 {
        let length = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * self.terms as f64 / COMMON_TERMS;
        let of_count = |count: &u64| {
            let count = *count as f64;
            count * (SATURATION + 1.0) / (count + SATURATION * length)
        };
        (self.counts.iter().map(of_count).sum::<f64>() * SCORE_UNIT) as u64
    }
}

/// A text while it is read, term by term.
struct Reading<'a> {
    phrases: &'a [Phrase],
    /// For each phrase, whether the text so far ends with its first so many terms.
    begun: Vec<Vec<bool>>,
    /// Where the last terms began.
    starts: VecDeque<usize>,
    longest: usize,
    matches: Matches,
}

impl<'a> Reading<'a> {
    fn of(query: &'a Query) -> Self {
        let phrases = query.phrases();
        let begun = phrases.iter().map(|phrase| vec![false; phrase.terms.len()]);
        Self {
            phrases,
            begun: begun.collect(),
            starts: VecDeque::new(),
            longest: phrases.iter().map(|phrase| phrase.terms.len()).max().unwrap_or(1),
            matches: Matches {
                counts: vec![0; phrases.len()],
                ..Matches::default()
            },
        }
    }

    fn take(&mut self, term: &str, from: usize, to: usize) {
        self.matches.terms += 1;
        if self.starts.len() == self.longest {
            self.starts.pop_front();
        }
        self.starts.push_back(from);
        for (number, (phrase, begun)) in self.phrases.iter().zip(&mut self.begun).enumerate() {
            for at in (0..begun.len()).rev() {
                begun[at] = (at == 0 || begun[at - 1]) && phrase.accepts(at, term);
            }
            if begun.last() != Some(&true) {
                continue;
            }
            self.matches.counts[number] += 1;
            if self.matches.places.len() < PLACES_MAX {
                let from = self.starts[self.starts.len() - begun.len()];
                self.matches.places.push(Place {
                    phrase: number,
                    from,
                    to,
                });
            }
        }
    }
}
