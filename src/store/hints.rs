//! What the writer tells the index, once a batch: sessions that may have new entries, and logs that have lost some.
//!
//! Hints only save a look at everything. They are not stored: when the index is opened, and when there are too many of
//! them, every session is looked at.

use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::search::Reach;
use crate::domain::{LogId, Namespace, SessionId, Time};

/// Hints of one kind that are kept; with more it is cheaper to look at everything.
pub(super) const HINTS_MAX: usize = 65_536;

/// A session's name.
pub(in crate::store) type Name = (Namespace, SessionId);

/// Hints that nobody has taken yet.
#[derive(Debug)]
pub(in crate::store) struct Hints {
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    taken: Taken,
    /// The time of the oldest write among them.
    oldest: Option<Time>,
    /// The same of those that were taken, and may not be indexed yet.
    underway: Option<Time>,
    /// Somebody takes them: else nothing but that there is something is kept, once everything has to be looked at.
    are_taken: bool,
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(in crate::store) struct Taken {
    pub(in crate::store) sessions: HashSet<Name>,
    pub(in crate::store) logs: HashSet<LogId>,
    /// Everything has to be.
    pub(in crate::store) all: bool,
}

impl Taken {
    fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }
}

impl Default for Hints {
    /// Nothing is known of an index that is not open: everything has to be looked at.
    fn default() -> Self {
        let taken = Taken::everything();
        Self {
            state: Mutex::new(State {
                taken,
                oldest: None,
                underway: Some(Time(0)),
                are_taken: false,
            }),
            news: watch::Sender::new(0),
        }
    }
}

impl Hints {
    /// Notes what a batch has written, the oldest of it at `time`.
    pub(in crate::store) fn note<'a>(
        &self,
        sessions: impl IntoIterator<Item = &'a Name>,
        logs: impl IntoIterator<Item = LogId>,
        time: Time,
    ) {
        {
            let mut state = self.state();
            if !state.taken.all || state.are_taken {
                state.taken.sessions.extend(sessions.into_iter().cloned());
                state.taken.logs.extend(logs);
            }
            if !state.taken.all && state.taken.sessions.is_empty() && state.taken.logs.is_empty() {
                return;
            }
            if state.taken.sessions.len().max(state.taken.logs.len()) > HINTS_MAX {
                state.taken = Taken::everything();
            }
            state.oldest = Some(state.oldest.map_or(time, |oldest| oldest.min(time)));
        }
        self.wake();
    }

    /// Everything has to be looked at, what was just written first; what was written up to `through` was indexed once.
    pub(in crate::store) fn everything(&self, through: Time) {
        let mut state = self.state();
        state.taken.all = true;
        state.underway = Some(through);
    }

    /// Something was written of which nothing is known.
    pub(in crate::store) fn miss(&self) {
        let mut state = self.state();
        state.taken.all = true;
        state.oldest = Some(Time(0));
    }

    /// Lets whoever waits look.
    pub(in crate::store) fn wake(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    /// Moves when there are hints.
    pub(in crate::store) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Takes all there are.
    pub(in crate::store) fn take(&self) -> Taken {
        let mut state = self.state();
        state.are_taken = true;
        let oldest = state.oldest.take();
        state.underway = match (state.underway, oldest) {
            (Some(underway), Some(oldest)) => Some(underway.min(oldest)),
            (underway, oldest) => underway.or(oldest),
        };
        mem::take(&mut state.taken)
    }

    /// All that was taken is indexed.
    pub(in crate::store) fn settle(&self) {
        self.state().underway = None;
    }

    /// What the index holds.
    pub(in crate::store) fn reach(&self) -> Reach {
        let state = self.state();
        let oldest = state.oldest.into_iter().chain(state.underway).min();
        oldest.map_or(Reach::All, |oldest| {
            Reach::Until(Time(oldest.0.saturating_sub(1)))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Sets and times are whole after any panic that could happen under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;

    #[test]
    fn what_is_missed_while_all_is_looked_at_is_not_settled_with_it() {
        let hints = Hints::default();
        hints.everything(Time(5));
        assert!(matches!(hints.reach(), Reach::Until(Time(4))));
        assert!(hints.take().all);
        hints.miss();
        hints.settle();
        assert!(matches!(hints.reach(), Reach::Until(time) if time < Time(4)));
        assert!(hints.take().all);
        hints.settle();
        assert!(matches!(hints.reach(), Reach::All));
    }

    #[test]
    fn what_is_written_is_named_though_all_is_to_be_looked_at() {
        let name = |id: &str| (f::namespace(), f::session(id));
        let hints = Hints::default();
        hints.note([&name("early")], [], Time(1));
        assert!(hints.take().sessions.is_empty(), "nobody took them");
        hints.note([&name("before")], [], Time(2));
        hints.miss();
        hints.note([&name("after")], [], Time(3));
        let taken = hints.take();
        assert!(taken.all);
        assert_eq!(taken.sessions, HashSet::from([name("before"), name("after")]));
    }
}
