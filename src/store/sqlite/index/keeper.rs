//! The thread that keeps the index: its connections, and what it has still to look at.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::{Fault, Shared, file, is_damage, lack, prune, write};
use crate::domain::outcome::More;
use crate::domain::query::Bound;
use crate::domain::search::Indexed;
use crate::domain::{LogId, Time};
use crate::store::hints::Name;
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
    /// Failures since something worked.
    failures: Cell<u32>,
    shared: Arc<Shared>,
}

/// What is still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// Sessions that have just been written to, the next first.
    fresh: VecDeque<Name>,
    /// Others.
    others: VecDeque<Name>,
    /// Whether one of the others was last.
    fresh_is_next: bool,
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

impl Todo {
    /// The next session. Those that have just been written to and all others take turns: neither waits long for the
    /// other.
    pub(super) fn next(&mut self) -> Option<Name> {
        self.fresh_is_next = !self.fresh_is_next;
        if self.fresh_is_next {
            self.fresh.pop_front().or_else(|| self.others.pop_front())
        } else {
            self.others.pop_front().or_else(|| self.fresh.pop_front())
        }
    }

    /// A session that is to be looked at once more.
    pub(super) fn again(&mut self, name: Name) {
        self.others.push_back(name);
    }

    /// A session whose entries are given out.
    pub(super) fn give_out(&mut self, name: Name) {
        self.given_out.push(name);
    }

    /// Whether no session is left.
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.others.is_empty()
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
            failures: Cell::default(),
            shared,
        }
    }

    /// Opens the index, if it is not.
    pub(super) fn open(&self) -> Result<(), Error> {
        self.run("opening the search index", |_, _| Ok(()))
    }

    /// What the index lacks, as much of it as the bound lets.
    pub(super) fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        self.run("looking what is not indexed", |index, todo| {
            let taken = self.shared.hints.take();
            todo.fresh.extend(taken.sessions);
            todo.logs.extend(taken.logs);
            todo.others.extend(std::mem::take(&mut todo.given_out));
            if taken.all {
                todo.all = Look::Logs(0);
            }
            prune::prune(&self.main, index, todo)?;
            let lack = lack::lack(&self.main, index, todo, bound)?;
            if lack.logs.is_empty() && lack.more == More::Done {
                self.shared.hints.settle();
            }
            Ok(lack)
        })
    }

    /// Puts rows in.
    pub(super) fn put(&self, batch: &[Indexed], through: Option<Time>) -> Result<(), Error> {
        self.run("indexing", |index, todo| {
            write::put(index, batch, through)?;
            todo.given_out.clear();
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
