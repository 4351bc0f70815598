//! What surrounds a match, short enough for a list.

use super::Matches;
use super::matches::Place;

/// The longest snippet, in characters.
pub const SNIPPET_CHARS_MAX: usize = 200;

/// Of what is left beside the matches, the part that stands before them.
const BEFORE_PART: usize = 3;

/// Characters that are left out rather than to show half a word.
const HALF_WORD_MAX: usize = 24;

/// A part of a text, and where the words stand in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// At most [`SNIPPET_CHARS_MAX`] characters, as they stand in the text.
    pub text: String,
    /// Characters from and to, ascending, without overlap.
    pub marks: Vec<(u32, u32)>,
}

/// A place in characters.
struct Stretch {
    phrase: usize,
    from: usize,
    to: usize,
}

impl Matches {
    /// The part of `text`, in which these were found, that shows most of the phrases; the beginning where none was.
    pub fn snippet(&self, text: &str) -> Snippet {
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        let stretches = self.stretches(&chars);
        let (from, to) = window(&chars, &stretches);
        let mut marks: Vec<(u32, u32)> = Vec::new();
        for stretch in &stretches {
            let (start, end) = (stretch.from.max(from), stretch.to.min(to));
            if start >= end {
                continue;
            }
            let (start, end) = (number(start - from), number(end - from));
            match marks.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                Some(_) | None => marks.push((start, end)),
            }
        }
        let text = chars[from..to].iter().map(|(_, char)| char).collect();
        Snippet { text, marks }
    }

    /// The places by characters, in the order of their beginnings.
    fn stretches(&self, chars: &[(usize, char)]) -> Vec<Stretch> {
        let at = |byte: usize| chars.partition_point(|(start, _)| *start < byte);
        let stretch = |place: &Place| Stretch {
            phrase: place.phrase,
            from: at(place.from),
            to: at(place.to),
        };
        let mut stretches: Vec<Stretch> = self.places.iter().map(stretch).collect();
        stretches.sort_by_key(|stretch| (stretch.from, stretch.to));
        stretches
    }
}

/// The characters that are shown, from and to.
fn window(chars: &[(usize, char)], stretches: &[Stretch]) -> (usize, usize) {
    let (first, last) = best(stretches).unwrap_or_else(|| {
        let word = chars.iter().position(|(_, char)| !char.is_whitespace());
        (word.unwrap_or(0), word.unwrap_or(0))
    });
    let beside = SNIPPET_CHARS_MAX.saturating_sub(last - first);
    let mut from = first.saturating_sub(beside / BEFORE_PART);
    if from > 0 {
        let near = first.min(from + HALF_WORD_MAX);
        let blank = chars[from..near]
            .iter()
            .position(|(_, char)| char.is_whitespace());
        from += blank.unwrap_or(0);
    }
    while from < first && chars[from].1.is_whitespace() {
        from += 1;
    }
    let mut to = chars.len().min(from + SNIPPET_CHARS_MAX);
    if to < chars.len() && !chars[to].1.is_whitespace() {
        let near = last.clamp(from, to).max(to.saturating_sub(HALF_WORD_MAX));
        let blank = chars[near..to].iter().rposition(|(_, char)| char.is_whitespace());
        to = blank.map_or(to, |blank| near + blank);
    }
    while to > last.max(from) && chars[to - 1].1.is_whitespace() {
        to -= 1;
    }
    (from, to)
}

/// Where the matches begin and end that stand close enough to be shown together, as many phrases as can be.
fn best(stretches: &[Stretch]) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize, usize)> = None;
    for (at, first) in stretches.iter().enumerate() {
        let (mut phrases, mut end) = (Vec::new(), first.to);
        let close = stretches[at..]
            .iter()
            .take_while(|stretch| stretch.from < first.from + SNIPPET_CHARS_MAX)
            .filter(|stretch| stretch.to <= first.from + SNIPPET_CHARS_MAX || stretch.from == first.from);
        for stretch in close {
            if !phrases.contains(&stretch.phrase) {
                phrases.push(stretch.phrase);
                end = end.max(stretch.to);
            }
        }
        if best.is_none_or(|(count, _, _)| phrases.len() > count) {
            best = Some((phrases.len(), first.from, end));
        }
    }
    best.map(|(_, from, to)| (from, to))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
