//! The last entries that were appended, for readers who keep up.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{Entry, Seq, Tip};

/// The most entries that are kept.
const ENTRIES_MAX: usize = 64;

/// The most bytes of bodies that are kept.
const BYTES_MAX: usize = 64 * 1024;

/// What the last commits appended, oldest first. It never changes: a longer one is made of it.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    commits: Arc<[Arc<[Entry]>]>,
}

impl Tail {
    /// The tail with one more commit's entries, the oldest left out where it would grow too large.
    #[must_use]
    pub fn with(&self, entries: &Arc<[Entry]>) -> Self {
        if entries.len() > ENTRIES_MAX || bytes_of(entries) > BYTES_MAX {
            return Self::default();
        }
        let mut commits: Vec<Arc<[Entry]>> = self.commits.to_vec();
        commits.push(entries.iter().map(detached).collect());
        let (mut count, mut bytes) = (0, 0);
        let kept = commits.iter().rev().take_while(|commit| {
            count += commit.len();
            bytes += bytes_of(commit);
            count <= ENTRIES_MAX && bytes <= BYTES_MAX
        });
        let left_out = commits.len() - kept.count();
        Self {
            commits: commits.split_off(left_out).into(),
        }
    }

    /// The entries up to a tip that follow `seq` without a gap; empty where the tail does not reach back so far.
    pub fn after(&self, seq: Seq, tip: &Tip) -> Vec<Entry> {
        let is_of = |entry: &Entry| entry.meta.log == tip.log.holder(entry.meta.seq);
        let mut next = seq.next();
        let start = self.commits.iter().rposition(|commit| {
            commit
                .first()
                .is_some_and(|entry| entry.meta.seq <= next && is_of(entry))
        });
        let Some(start) = start else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for entry in self.commits[start..].iter().flat_map(|commit| commit.iter()) {
            if entry.meta.seq == next && next <= tip.seq() && is_of(entry) {
                entries.push(entry.clone());
                next = next.next();
            }
        }
        entries
    }
}

fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.body.len()).sum()
}

/// The same entry with a body of its own: that which came may be a slice of the whole request, and would keep it.
fn detached(entry: &Entry) -> Entry {
    Entry {
        meta: entry.meta.clone(),
        body: Bytes::copy_from_slice(&entry.body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;
    use crate::domain::{Log, LogId, Tally};
    use uuid::Uuid;

    fn log(name: u128) -> LogId {
        LogId(Uuid::from_u128(name))
    }

    /// `count` entries after a tally, and the tally after them.
    fn appended(log: LogId, before: &Tally, count: usize) -> (Arc<[Entry]>, Tally) {
        let mut tally = before.clone();
        let entries = (0..count).map(|at| {
            let new = f::user(&format!("m{}-{at}", before.entries), "hello");
            let entry = Entry::following(&tally, log, &new);
            tally = entry.meta.tally.clone();
            entry
        });
        let entries: Vec<Entry> = entries.collect();
        (entries.into(), tally)
    }

    fn seqs(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.meta.seq.0).collect()
    }

    #[test]
    fn follows_without_a_gap() {
        let id = log(1);
        let (first, tally) = appended(id, &Tally::default(), 3);
        let (second, tally) = appended(id, &tally, 2);
        let tail = Tail::default().with(&first).with(&second);
        let tip = Tip {
            log: Arc::new(Log::root(id)),
            tally,
        };
        assert_eq!(seqs(&tail.after(Seq(0), &tip)), [1, 2, 3, 4, 5]);
        assert_eq!(seqs(&tail.after(Seq(1), &tip)), [2, 3, 4, 5]);
        assert_eq!(seqs(&tail.after(Seq(4), &tip)), [5]);
        assert!(tail.after(Seq(5), &tip).is_empty());
        let late = Tail::default().with(&second);
        assert!(late.after(Seq(2), &tip).is_empty(), "entry 3 is not there");
        assert_eq!(seqs(&late.after(Seq(3), &tip)), [4, 5]);
        let ahead = Tip {
            tally: first[2].meta.tally.clone(),
            ..tip
        };
        assert_eq!(seqs(&tail.after(Seq(2), &ahead)), [3], "never past the head");
    }

    #[test]
    fn entries_that_a_rewind_left_are_not_shown() {
        let (old, new) = (log(1), log(2));
        let (first, tally) = appended(old, &Tally::default(), 3);
        let kept = first[0].meta.tally.clone();
        let branch = Arc::new(Log::root(old).child(new, &kept));
        let (second, after) = appended(new, &kept, 3);
        assert_ne!(tally, after);
        let tail = Tail::default().with(&first).with(&second);
        let tip = Tip {
            log: branch,
            tally: after,
        };
        let shown = tail.after(Seq(1), &tip);
        assert_eq!(seqs(&shown), [2, 3, 4]);
        assert!(shown.iter().all(|entry| entry.meta.log == new));
    }

    #[test]
    fn is_bounded() {
        let id = log(1);
        let (mut tail, mut tally) = (Tail::default(), Tally::default());
        for _ in 0..600 {
            let (entries, after) = appended(id, &tally, 1);
            tail = tail.with(&entries);
            tally = after;
        }
        assert_eq!(tail.commits.len(), ENTRIES_MAX);
        let (large, after) = appended(id, &tally, ENTRIES_MAX + 1);
        tail = tail.with(&large);
        assert!(tail.commits.is_empty());
        let tip = Tip {
            log: Arc::new(Log::root(id)),
            tally: after,
        };
        assert!(tail.after(Seq(600), &tip).is_empty());
    }
}
