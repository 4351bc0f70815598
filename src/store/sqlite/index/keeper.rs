//! The thread that keeps the index: its connections, and what it has still to look at.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::{Fault, Shared, file, is_damage, lack, prune, write};
use crate::domain::outcome::More;
use crate::domain::query;
use crate::domain::search::Indexed;
use crate::domain::{LogId, Time};
use crate::store::hints::{HINTS_MAX, Name};
use crate::store::sqlite::open::checkpoint;
use crate::store::sqlite::readers::Source;
use crate::store::{Error, Lack};

/// Failures one after another before the index is opened again.
const FAILURES_MAX: u32 = 30;

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The database, read only.
    main: Connection,
    /// The index; `None` until it is needed, and after it failed.
    index: RefCell<Option<Connection>>,
    todo: RefCell<Todo>,
    /// The index that was looked at last, by its generation.
    lacked: Cell<u64>,
    /// Failures since something worked.
    failures: Cell<u32>,
    shared: Arc<Shared>,
}

/// What is still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// Sessions that have just been written to.
    fresh: BTreeSet<Name>,
    /// Others, the next first.
    others: VecDeque<Name>,
    /// The one of the fresh that was last: they come round in the order of their names.
    last: Option<Name>,
    /// There were more than are kept: when a look at everything is over, another one begins.
    looks_again: bool,
    /// Sessions whose entries were given out; they are looked at again unless these are put in.
    given_out: Vec<Name>,
    /// Logs that may have lost entries.
    pub(super) logs: VecDeque<LogId>,
    /// How far a look at everything is.
    pub(super) all: Look,
}

/// A look at everything.
#[derive(Debug, Default)]
pub(super) enum Look {
    /// There is none, or it is over.
    #[default]
    Over,
    /// At the logs of the index after this one: whether their entries are still there.
    Logs(i64),
    /// At the sessions after this one.
    Sessions(Option<Name>),
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// That of sessions that have just been written to.
    Fresh,
    /// That of all others.
    Others,
}

impl Todo {
    /// Sessions that have been written to; those that do not fit are found by a look at everything.
    fn add(&mut self, sessions: impl IntoIterator<Item = Name>) {
        for name in sessions {
            if self.fresh.len() < HINTS_MAX {
                self.fresh.insert(name);
            } else {
                self.looks_again |= !self.fresh.contains(&name);
            }
        }
    }

    /// The next session, if there is one.
    pub(super) fn next(&mut self, turn: Turn) -> Option<Name> {
        match turn {
            Turn::Fresh => self.next_fresh().or_else(|| self.others.pop_front()),
            Turn::Others => self.others.pop_front().or_else(|| self.next_fresh()),
        }
    }

    fn next_fresh(&mut self) -> Option<Name> {
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.fresh.range((after, Bound::Unbounded)).next();
        let next = next.or_else(|| self.fresh.first()).cloned()?;
        self.fresh.remove(&next);
        self.last = Some(next.clone());
        Some(next)
    }

    /// A session that is to be looked at once more.
    pub(super) fn again(&mut self, name: Name) {
        self.others.push_back(name);
    }

    /// A session whose entries are given out.
    pub(super) fn give_out(&mut self, name: Name) {
        self.given_out.push(name);
    }

    /// Whether a look at everything may go on.
    pub(super) fn others_are_done(&self) -> bool {
        self.others.is_empty()
    }

    /// A look at everything has come this far.
    pub(super) fn looked_at(&mut self, all: Look) {
        let again = matches!(all, Look::Over) && std::mem::take(&mut self.looks_again);
        self.all = if again { Look::Sessions(None) } else { all };
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        let names = self.fresh.is_empty() && self.others.is_empty() && self.logs.is_empty();
        names && !self.looks_again && matches!(self.all, Look::Over)
    }
}

impl Source for Keeper {
    fn begin(&self) -> Result<(), rusqlite::Error> {
        self.main.begin()
    }

    fn end(&self) {
        self.main.end();
        if let Some(index) = &*self.index.borrow() {
            index.end();
        }
    }
}

impl Drop for Keeper {
    /// Leaves the index whole in its file. What stays in the write-ahead log is found there, too.
    fn drop(&mut self) {
        if let Some(index) = self.index.get_mut()
            && let Err(error) = checkpoint(index)
        {
            tracing::warn!(%error, "the search index keeps its write-ahead log");
        }
    }
}

impl Keeper {
    pub(super) fn new(main: Connection, shared: Arc<Shared>) -> Self {
        Self {
            main,
            index: RefCell::default(),
            todo: RefCell::default(),
            lacked: Cell::default(),
            failures: Cell::default(),
            shared,
        }
    }

    /// Opens the index, if it is not.
    pub(super) fn open(&self) -> Result<(), Error> {
        self.run("opening the search index", |_, _| Ok(()))
    }

    /// What the index lacks, as much of it as the bound lets.
    pub(super) fn lack(&self, bound: query::Bound) -> Result<Lack, Error> {
        self.run("looking what is not indexed", |index, todo| {
            let taken = self.shared.hints.take();
            todo.add(taken.sessions);
            todo.logs.extend(taken.logs);
            todo.others.extend(std::mem::take(&mut todo.given_out));
            if taken.all {
                todo.all = Look::Logs(0);
                todo.looks_again = false;
            }
            prune::prune(&self.main, index, todo)?;
            let lack = lack::lack(&self.main, index, todo, bound)?;
            self.lacked.set(self.shared.generation.load(Ordering::Acquire));
            if lack.logs.is_empty() && lack.more == More::Done {
                self.shared.hints.settle();
            }
            Ok(lack)
        })
    }

    /// Puts rows in. What was found lacking in an index that has been made anew since is left out: in this one more may
    /// be lacking before it.
    pub(super) fn put(&self, batch: &[Indexed], through: Option<Time>) -> Result<(), Error> {
        self.run("indexing", |index, todo| {
            if self.lacked.get() == self.shared.generation.load(Ordering::Acquire) {
                write::put(index, batch, through)?;
                todo.given_out.clear();
            }
            Ok(())
        })
    }

    /// Does something to the index. Where it is damaged, or has failed for long, it is opened again and looked at as a
    /// whole.
    fn run<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection, &mut Todo) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut todo = self.todo.borrow_mut();
        let mut index = self.index.borrow_mut();
        if self.shared.damaged.swap(false, Ordering::AcqRel) {
            *index = None;
            file::remove(&self.shared.file).map_err(|error| Error::unavailable(operation, error))?;
        }
        let opened = self.opened(&mut index, &mut todo);
        let done = opened.and_then(|index| job(index, &mut todo));
        match done {
            Ok(done) => {
                self.failures.set(0);
                Ok(done)
            }
            Err(fault) => {
                let failures = self.failures.get().saturating_add(1);
                self.failures.set(failures);
                if failures.is_multiple_of(FAILURES_MAX)
                    || matches!(&fault, Fault::Index(error) if is_damage(error))
                {
                    *index = None;
                } else if let Some(index) = &*index
                    && !index.is_autocommit()
                {
                    // Nothing of what failed stays; what was to be done is found again.
                    let _ = index.execute_batch("ROLLBACK");
                }
                Err(self.shared.error(operation, fault))
            }
        }
    }

    fn opened<'a>(
        &self,
        index: &'a mut RefMut<'_, Option<Connection>>,
        todo: &mut Todo,
    ) -> Result<&'a Connection, Fault> {
        if index.is_none() {
            let conn = file::keeper(&self.shared.file)?;
            self.shared.hints.everything(file::through(&conn)?);
            self.shared.generation.fetch_add(1, Ordering::AcqRel);
            *todo = Todo::default();
            **index = Some(conn);
        }
        index.as_ref().ok_or(Fault::Index(rusqlite::Error::InvalidQuery))
    }
}
