//! Where a log's entries lie. A log starts at a cut in another one, and what comes before the cut is
//! shared: that is why a fork is free. Nothing here ever changes once written.

use std::sync::Arc;

use super::id::{LogId, Seq};
use super::tally::Tally;

/// More parts than this, and upkeep copies the shortest neighbours together.
pub const PARTS_SOFT_MAX: usize = 64;

/// A fork or staged save that would need more parts than this is refused until upkeep has caught up.
pub const PARTS_HARD_MAX: usize = 1_024;

/// A stretch of a path: the entries of `log` after the part before, up to and with `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The log the entries lie in.
    pub log: LogId,
    /// The last seq taken from it.
    pub to: Seq,
    /// The tally at that seq.
    pub tally: Tally,
}

/// The inherited part of a log: parts with strictly ascending `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Arc<[Part]>);

impl Path {
    /// A path of these parts, which ascend strictly and hold at least one entry each.
    pub fn new(parts: Vec<Part>) -> Option<Self> {
        let starts = std::iter::once(Seq::ZERO).chain(parts.iter().map(|part| part.to));
        let ascends = starts
            .zip(&parts)
            .all(|(start, part)| start < part.to && part.tally.entries == part.to.0);
        ascends.then(|| Self(parts.into()))
    }

    /// The parts, oldest first.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The last inherited seq; 0 where nothing is inherited.
    pub fn end(&self) -> Seq {
        self.0.last().map_or(Seq::ZERO, |part| part.to)
    }
}

/// A log: its own entries follow its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its name.
    pub id: LogId,
    /// What it inherits.
    pub path: Path,
}

/// A stretch of entries in one log: after `after`, up to and with `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where they lie.
    pub log: LogId,
    /// Exclusive.
    pub after: Seq,
    /// Inclusive.
    pub to: Seq,
}

impl Log {
    /// A log that inherits nothing.
    pub fn root(id: LogId) -> Self {
        Self {
            id,
            path: Path::default(),
        }
    }

    /// The log that has the entry `seq`, if this log reaches that far.
    pub fn holder(&self, seq: Seq) -> LogId {
        self.path
            .parts()
            .iter()
            .find(|part| seq <= part.to)
            .map_or(self.id, |part| part.log)
    }

    /// The stretches that hold the entries after `after` up to and with `to`, oldest first.
    pub fn spans(&self, after: Seq, to: Seq) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut start = Seq::ZERO;
        let own = (self.id, to.max(self.path.end()));
        let parts = self
            .path
            .parts()
            .iter()
            .map(|part| (part.log, part.to))
            .chain([own]);
        for (log, end) in parts {
            let (from, until) = (start.max(after), end.min(to));
            if from < until {
                spans.push(Span {
                    log,
                    after: from,
                    to: until,
                });
            }
            start = end;
        }
        spans
    }

    /// The parts of another log's path that lie in logs this one does not read.
    pub fn strange_parts<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Part> {
        let reads = |log: LogId| log == self.id || self.path.parts().iter().any(|part| part.log == log);
        other.path.parts().iter().filter(move |part| !reads(part.log))
    }

    /// The stretches of this log that the path of another one, with the same entries, has as copies: each copy with
    /// what it is of, oldest first.
    pub fn copied(&self, other: &Self) -> Vec<(LogId, Vec<Span>)> {
        let strange: Vec<LogId> = self.strange_parts(other).map(|part| part.log).collect();
        let starts = std::iter::once(Seq::ZERO).chain(other.path.parts().iter().map(|part| part.to));
        let parts = starts.zip(other.path.parts());
        let copies = parts.filter(|(_, part)| strange.contains(&part.log));
        copies
            .map(|(start, part)| (part.log, self.spans(start, part.to)))
            .collect()
    }

    /// The tally at the end of what is inherited.
    pub fn inherited(&self) -> Tally {
        self.path
            .parts()
            .last()
            .map_or_else(Tally::default, |part| part.tally.clone())
    }

    /// A new log that starts at a cut in this one: `at` is the tally there, its `entries` the seq.
    pub fn child(&self, id: LogId, at: &Tally) -> Self {
        let cut = Seq(at.entries);
        let mut parts: Vec<Part> = self
            .path
            .parts()
            .iter()
            .filter(|part| part.to < cut)
            .cloned()
            .collect();
        let start = parts.last().map_or(Seq::ZERO, |part| part.to);
        if start < cut {
            parts.push(Part {
                log: self.holder(cut),
                to: cut,
                tally: at.clone(),
            });
        }
        Self {
            id,
            path: Path(parts.into()),
        }
    }
}

/// Where the entries of a stretch were first, `of_copy` being where those of its log were: nothing if they are no copies.
pub fn originals(stretch: Span, of_copy: &[Span]) -> Vec<Span> {
    if of_copy.is_empty() {
        return vec![stretch];
    }
    let overlaps = of_copy.iter().map(|first| Span {
        log: first.log,
        after: first.after.max(stretch.after),
        to: first.to.min(stretch.to),
    });
    overlaps.filter(|span| span.after < span.to).collect()
}

/// A place in a log and the fold up to it: the end of a session, the base of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The log.
    pub log: Arc<Log>,
    /// The fold of everything up to the place.
    pub tally: Tally,
}

impl Tip {
    /// The end of an empty log.
    pub fn start_of(log: Arc<Log>) -> Self {
        let tally = log.inherited();
        Self { log, tally }
    }

    /// The last seq.
    pub fn seq(&self) -> Seq {
        Seq(self.tally.entries)
    }

    /// Whether everything up to `other` is part of this, entry for entry.
    pub fn covers(&self, log: LogId, seq: Seq) -> bool {
        seq == Seq::ZERO || (seq <= self.seq() && self.log.holder(seq) == log)
    }
}

/// How many entries two tips have in common, counted from the first.
pub fn common(a: &Tip, b: &Tip) -> Seq {
    shared((&a.log, a.seq()), (&b.log, b.seq()))
}

/// How many entries two logs have in common up to a seq of each, counted from the first.
pub fn shared((a, a_to): (&Log, Seq), (b, b_to): (&Log, Seq)) -> Seq {
    let (of_a, of_b) = (a.spans(Seq::ZERO, a_to), b.spans(Seq::ZERO, b_to));
    let mut shared = Seq::ZERO;
    for (x, y) in of_a.iter().zip(&of_b) {
        if x.log != y.log {
            break;
        }
        shared = x.to.min(y.to);
        if x.to != y.to {
            break;
        }
    }
    shared
}

#[cfg(test)]
mod tests;
