//! Search: what an index holds of a message, in what order, and what it is asked.
//!
//! An index is derived from the log and can be made again from it at any time. What it holds of a message is where it
//! lies, who said it, when, and its words; who shows the message is found out when it is asked for, so that forks,
//! deletions and rewinds change nothing in it.

use super::entry::Entry;
use super::id::{LogId, Namespace, Seq, SessionId};
use super::message::Role;
use super::path::Tip;
use super::query::Page;
use super::time::Time;
use super::words;

/// Nanoseconds that one place stands for.
const PLACE_NS: i64 = 1_000;

/// How often a free place is looked for, each time twice as far away.
const PROBES_MAX: u32 = 40;

/// Where a message stands among all of an index, the newest last: its time in microseconds, or the next place that was
/// free. No two messages share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub i64);

impl Place {
    /// The place that a time asks for.
    pub fn wanted(time: Time) -> Self {
        Self(time.0.div_euclid(PLACE_NS))
    }

    /// A free place for a message of this time, after `last` if that is the place of one before it that was put in
    /// just now. `None`: there is none near enough.
    pub fn free<E>(
        time: Time,
        last: Option<Self>,
        mut is_taken: impl FnMut(Self) -> Result<bool, E>,
    ) -> Result<Option<Self>, E> {
        let wanted = Self::wanted(time);
        let first = last.map_or(wanted, |last| wanted.max(Self(last.0.saturating_add(1))));
        // 0, 1, 3, 7, …, and from there back to one that follows a taken one: many messages of one time cost no more
        // than a few steps, and lie close together.
        let mut taken = first.0.saturating_sub(1);
        for probe in 0..PROBES_MAX {
            let mut free = first.0.saturating_add((1 << probe) - 1);
            if is_taken(Self(free))? {
                taken = free;
                continue;
            }
            while free.saturating_sub(taken) > 1 {
                let middle = taken + (free - taken) / 2;
                if is_taken(Self(middle))? {
                    taken = middle;
                } else {
                    free = middle;
                }
            }
            return Ok(Some(Self(free)));
        }
        Ok(None)
    }
}

/// What an index holds of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its seq.
    pub seq: Seq,
    /// Who said it.
    pub role: Role,
    /// When.
    pub time: Time,
    /// Its words, as [`words::folded`] gives them.
    pub words: String,
}

/// Rows for the messages of one log after `after`, up to and with `to`. Who made them saw all of these entries; those
/// that have no row here have no words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Where the log is.
    pub namespace: Namespace,
    /// The log.
    pub log: LogId,
    /// How far the index was when the entries were read.
    pub after: Seq,
    /// How far it is with these rows.
    pub to: Seq,
    /// In order.
    pub rows: Vec<Row>,
}

/// Messages of one log that an index lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unindexed {
    /// Where the log is.
    pub namespace: Namespace,
    /// The log.
    pub log: LogId,
    /// How far the index is.
    pub after: Seq,
    /// How far it is with these entries.
    pub to: Seq,
    /// The messages among them that can be read, in order.
    pub messages: Vec<Entry>,
}

/// Which messages; the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of this namespace.
    pub namespace: Namespace,
    /// With these words.
    pub words: words::Query,
    /// Shown by this session; `None`: by any that is neither deleted nor purged.
    pub session: Option<Within>,
    /// Shown by a session of this workspace.
    pub workspace: Option<String>,
    /// Of any of these roles; empty means any.
    pub roles: Vec<Role>,
    /// Said after this time.
    pub after: Option<Time>,
    /// Said before this time.
    pub before: Option<Time>,
}

/// A session that is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// Its id.
    pub id: SessionId,
    /// Its title.
    pub title: String,
    /// Where it ends.
    pub tip: Tip,
}

impl Query {
    /// Whether the time lies between the bounds.
    pub fn admits(&self, time: Time) -> bool {
        self.after.is_none_or(|after| time > after) && self.before.is_none_or(|before| time < before)
    }
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The session that shows it.
    pub session: SessionId,
    /// The title of that session.
    pub title: String,
    /// The message.
    pub entry: Entry,
    /// When it was said.
    pub time: Time,
    /// Where it stands.
    pub place: Place,
}

/// A page of what was found, and how far the index was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest first.
    pub page: Page<Hit, Place>,
    /// What the index holds.
    pub reach: Reach,
}

/// Which writes an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All that were acknowledged.
    All,
    /// Those before a time.
    Until(Time),
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn free(time: i64, last: Option<i64>, taken: &[i64]) -> i64 {
        let is_taken = |place: Place| Ok::<_, Infallible>(taken.contains(&place.0));
        let place = Place::free(Time(time), last.map(Place), is_taken);
        place.expect("it cannot fail").expect("near enough").0
    }

    #[test]
    fn a_place_is_its_microsecond_or_the_next_that_is_free() {
        assert_eq!(free(5_999, None, &[]), 5);
        assert_eq!(free(-1, None, &[]), -1);
        assert_eq!(free(5_000, None, &[5, 6]), 7);
        assert_eq!(free(5_000, None, &[5, 6, 8]), 9);
        assert_eq!(free(5_000, Some(5), &[5]), 6);
        assert_eq!(free(5_000, Some(3), &[]), 5);
        assert_eq!(free(i64::MAX, None, &[]), i64::MAX / 1_000);
    }

    #[test]
    fn a_crowd_that_comes_one_by_one_lies_close_together() {
        let mut taken = std::collections::BTreeSet::new();
        for expected in 0..200 {
            let place = Place::free(Time(0), None, |place| {
                Ok::<_, Infallible>(taken.contains(&place.0))
            });
            assert_eq!(place.expect("it cannot fail"), Some(Place(expected)));
            taken.insert(expected);
        }
    }

    #[test]
    fn a_crowd_of_one_time_costs_a_few_steps() {
        let mut steps = 0;
        let place = Place::free(Time(0), None, |place| {
            steps += 1;
            Ok::<_, Infallible>(place.0 < 1_000_000)
        });
        assert_eq!(place.expect("it cannot fail"), Some(Place(1_000_000)));
        assert!(steps <= 41, "{steps} steps");
    }
}
