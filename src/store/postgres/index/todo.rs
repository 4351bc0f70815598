//! What the keeper of the index is still to look at, and whose turn it is.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::lack;
use crate::domain::LogId;
use crate::store::hints::{HINTS_MAX, Name, Taken};
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;

/// Sessions of which is asked at once whether the index lacks anything of them.
const NAMES_AT_ONCE: usize = 100;

/// How often that is asked for one turn in one call: whoever keeps the index has to say so in between, and may be
/// stopped.
const STEPS_MAX: usize = 3;

/// What is still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// Sessions that have just been written to.
    fresh: Queue,
    /// Others.
    others: Queue,
    /// Who has the first half of the next call.
    first: Turn,
    /// Sessions whose entries were given out; they are looked at again unless these are put in.
    given_out: Vec<Name>,
    /// Logs that may have lost entries.
    pub(super) logs: VecDeque<LogId>,
    /// How far a look at everything is.
    pub(super) all: Look,
    /// How long its statements have taken; `None`: that was told.
    spent: Option<Duration>,
    /// When it is over, another one begins.
    looks_again: bool,
}

/// A look at everything.
#[derive(Debug, Default)]
pub(super) enum Look {
    /// There is none, or it is over.
    #[default]
    Over,
    /// At the logs of the index after this one: whether their entries are still there.
    Logs(Option<LogId>),
    /// At the sessions after this one.
    Sessions(Option<Name>),
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// That of sessions that have just been written to.
    Fresh,
    /// That of all others.
    #[default]
    Others,
}

impl Turn {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Fresh => Self::Others,
            Self::Others => Self::Fresh,
        }
    }
}

/// Sessions in the order in which they are looked at.
#[derive(Debug, Default)]
struct Queue {
    /// The index lacks something of these.
    lacking: VecDeque<Name>,
    /// Of these that is not known yet. They come after them.
    names: VecDeque<Name>,
    /// The same ones: each waits once.
    waiting: HashSet<Name>,
    /// How often it was asked in this call.
    steps: usize,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.lacking.is_empty() && self.names.is_empty()
    }

    /// A session that is to be looked at, unless it is anyway.
    fn push(&mut self, name: Name) {
        if self.waiting.insert(name.clone()) {
            self.names.push_back(name);
        }
    }

    /// The next names of which nothing is known.
    fn unknown(&mut self) -> Vec<Name> {
        let count = self.names.len().min(NAMES_AT_ONCE);
        let names: Vec<Name> = self.names.drain(..count).collect();
        for name in &names {
            self.waiting.remove(name);
        }
        names
    }
}

impl Todo {
    /// Takes hints. What does not fit is found by a look at everything.
    pub(super) fn take(&mut self, taken: Taken) {
        self.looks_again |= taken.all;
        for name in taken.sessions {
            if self.fresh.names.len() < HINTS_MAX {
                self.fresh.push(name);
            } else {
                self.looks_again |= !self.fresh.waiting.contains(&name);
            }
        }
        let room = HINTS_MAX.saturating_sub(self.logs.len());
        self.looks_again |= taken.logs.len() > room;
        self.logs.extend(taken.logs.into_iter().take(room));
        for name in self.given_out.drain(..) {
            self.others.push(name);
        }
        // A look that has begun goes on to its end: begun anew whenever one is asked for, it might have none.
        if self.looks_again && !self.is_looking() {
            (self.all, self.looks_again) = (Look::Logs(None), false);
            self.spent = Some(Duration::ZERO);
        }
    }

    /// Whether a look at everything is under way.
    pub(super) fn is_looking(&self) -> bool {
        !matches!(self.all, Look::Over)
    }

    /// A statement of a look at everything took so long.
    pub(super) fn spend(&mut self, took: Duration) {
        if let Some(spent) = &mut self.spent {
            *spent += took;
        }
    }

    /// How long a look that is over took; told once.
    pub(super) fn spent(&mut self) -> Option<Duration> {
        if self.is_looking() {
            None
        } else {
            self.spent.take()
        }
    }

    /// A session whose entries are given out.
    pub(super) fn give_out(&mut self, name: Name) {
        self.given_out.push(name);
    }

    /// What was given out is indexed.
    pub(super) fn was_put_in(&mut self) {
        self.given_out.clear();
    }

    /// A look at everything has found that the index lacks something of these.
    pub(super) fn found(&mut self, lacking: impl IntoIterator<Item = Name>) {
        for name in lacking {
            self.others.push(name);
        }
    }

    /// A session is not through: the others come first, for a long one must not keep the short ones waiting.
    pub(super) fn again(&mut self, name: Name) {
        self.others.push(name);
    }

    /// There was no room for anything of a session: it comes first.
    pub(super) fn put_back(&mut self, name: Name, turn: Turn) {
        self.queue(turn).lacking.push_front(name);
    }

    /// A call begins: whoever had the second half of the last one has the first half of this one.
    pub(super) fn begin(&mut self) -> Turn {
        (self.fresh.steps, self.others.steps) = (0, 0);
        let first = self.first;
        self.first = first.other();
        first
    }

    /// The next session of which the index lacks something, and whose turn that is: the asked one's, as long as there
    /// are any. `None`: there is none, or as much was asked as one call may.
    pub(super) async fn next(&mut self, conn: &Conn, turn: Turn) -> Result<Option<(Name, Turn)>, Fault> {
        for turn in [turn, turn.other()] {
            if let Some(name) = self.next_of(conn, turn).await? {
                return Ok(Some((name, turn)));
            }
        }
        Ok(None)
    }

    async fn next_of(&mut self, conn: &Conn, turn: Turn) -> Result<Option<Name>, Fault> {
        loop {
            let queue = self.queue(turn);
            if let Some(name) = queue.lacking.pop_front() {
                return Ok(Some(name));
            }
            if queue.steps == STEPS_MAX {
                return Ok(None);
            }
            queue.steps += 1;
            let names = queue.unknown();
            if !names.is_empty() {
                let lacking = lack::lacking(conn, names).await?;
                self.queue(turn).lacking.extend(lacking);
            } else if turn == Turn::Others && matches!(self.all, Look::Sessions(_)) {
                lack::look_further(conn, self).await?;
            } else {
                return Ok(None);
            }
        }
    }

    fn queue(&mut self, turn: Turn) -> &mut Queue {
        match turn {
            Turn::Fresh => &mut self.fresh,
            Turn::Others => &mut self.others,
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        let names = self.fresh.is_empty() && self.others.is_empty() && self.logs.is_empty();
        names && !self.looks_again && !self.is_looking()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;

    fn everything() -> Taken {
        Taken {
            all: true,
            ..Taken::default()
        }
    }

    fn written(ids: impl IntoIterator<Item = usize>) -> Taken {
        let name = |id| (f::namespace(), f::session(&format!("s-{id}")));
        Taken {
            sessions: ids.into_iter().map(name).collect(),
            ..Taken::default()
        }
    }

    #[test]
    fn a_look_goes_on_to_its_end_and_another_one_follows() {
        let mut todo = Todo::default();
        todo.take(everything());
        assert!(matches!(todo.all, Look::Logs(None)));
        todo.all = Look::Sessions(None);
        todo.spend(Duration::from_secs(3));
        todo.take(everything());
        assert!(matches!(todo.all, Look::Sessions(None)), "it is not begun anew");
        assert_eq!(todo.spent(), None);
        todo.all = Look::Over;
        assert_eq!(todo.spent(), Some(Duration::from_secs(3)));
        assert_eq!(todo.spent(), None);
        todo.take(Taken::default());
        assert!(matches!(todo.all, Look::Logs(None)));
        todo.all = Look::Over;
        todo.take(Taken::default());
        assert!(!todo.is_looking(), "nobody has asked for a third");
    }

    #[test]
    fn what_is_written_again_and_again_waits_once_and_what_does_not_fit_is_looked_for() {
        let mut todo = Todo::default();
        for _ in 0..3 {
            todo.take(written(0..HINTS_MAX));
        }
        assert_eq!(todo.fresh.names.len(), HINTS_MAX);
        assert!(!todo.is_looking());
        todo.take(written([HINTS_MAX]));
        assert_eq!(todo.fresh.names.len(), HINTS_MAX);
        assert!(todo.is_looking());
        let long = (f::namespace(), f::session("long"));
        todo.again(long.clone());
        todo.again(long);
        assert_eq!(todo.others.names.len(), 1);
    }
}
