//! The search index: a second file beside the database, derived from it and never in the way of a write.
//!
//! It has a thread of its own, the *keeper*, that reads what the index lacks and writes into it, and a few threads that
//! search. The database's writer does no more for it than to note, once a batch, which sessions have new entries. How
//! far each log is indexed is stored in the transaction of its rows, so that the index goes on after a crash where it
//! was; it is not synced at every commit, for what it loses is read again. A file that is damaged, or of another
//! version, is removed and made anew from the log. What fails here fails searches alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::ErrorCode;
use tokio::sync::watch;

use super::Alive;
use super::open::{self, OpenError};
use super::readers::Readers;
use crate::domain::Time;
use crate::domain::query::Bound;
use crate::domain::search::{Found, Indexed, Place, Query};
use crate::store::{Error, Lack};

mod file;
mod keeper;
mod lack;
mod prune;
mod search;
mod sharers;
mod terms;
mod write;

pub(super) use crate::store::hints::Hints;
pub(super) use file::remove;
#[cfg(test)]
pub(super) use sharers::READERS;

use keeper::Keeper;
use search::Searcher;

/// Threads that search.
const SEARCHERS: usize = 2;

/// The index, as the rest of the store holds it.
#[derive(Debug)]
pub(super) struct Index {
    shared: Arc<Shared>,
    keeper: Readers<Keeper>,
    searchers: Readers<Searcher>,
}

/// What all threads of the index know.
#[derive(Debug)]
struct Shared {
    file: PathBuf,
    hints: Arc<Hints>,
    /// Grows when the file is made anew: who has an older one open has a file that is no more.
    generation: AtomicU64,
    /// Somebody found the file damaged.
    damaged: AtomicBool,
}

/// Stops a search when it is dropped.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What failed: the index, or the database that it is of.
#[derive(Debug)]
enum Fault {
    Index(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Index {
    /// Starts the threads of the index in `file` over the database `main`. The file itself is opened when it is
    /// needed: one that cannot be had does not keep the database from being opened.
    pub(super) fn start(
        main: &Path,
        file: PathBuf,
        hints: Arc<Hints>,
        alive: &Alive,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared {
            file,
            hints,
            generation: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        });
        let keeper = open::reader(main).map(|conn| Keeper::new(conn, shared.clone()));
        let keeper = Readers::start("keeper", main, [keeper], alive)?;
        let searcher = |_| open::reader(main).map(|conn| Searcher::new(conn, shared.clone()));
        let searchers = Readers::start("searcher", main, (0..SEARCHERS).map(searcher), alive)?;
        Ok(Self {
            shared,
            keeper,
            searchers,
        })
    }

    /// Moves when there may be something to index.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.shared.hints.news()
    }

    /// What the index lacks.
    pub(super) async fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        let job = move |keeper: &Keeper| keeper.lack(bound);
        self.keeper.read("looking what is not indexed", job).await
    }

    /// Puts rows into it.
    pub(super) async fn put(&self, batch: Vec<Indexed>, through: Option<Time>) -> Result<(), Error> {
        let job = move |keeper: &Keeper| keeper.put(&batch, through);
        self.keeper.read("indexing", job).await
    }

    /// A page of what is found.
    pub(super) async fn search(
        &self,
        query: Query,
        after: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        if self.shared.generation.load(Ordering::Acquire) == 0 {
            // Nobody has opened it yet.
            self.keeper.read("opening the search index", Keeper::open).await?;
        }
        // Whoever waits for it may leave; a search for what nearly every message has would go on for long.
        let stop = Arc::new(AtomicBool::new(false));
        let _left = Left(stop.clone());
        let job = move |searcher: &Searcher| searcher.search(&query, after, bound, &stop);
        self.searchers.read("searching", job).await
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.keeper.close();
        self.searchers.close();
    }

    /// Waits for the threads to end.
    pub(super) fn join(&self) {
        self.keeper.join();
        self.searchers.join();
    }
}

impl Shared {
    /// What a fault of a searcher is, whose index is the one of a generation. A file that is gone is made anew, too.
    fn searcher_error(&self, of: Option<u64>, fault: Fault) -> Error {
        let is_old = of.is_some_and(|of| of != self.generation.load(Ordering::Acquire));
        match fault {
            Fault::Index(error) if is_old => Error::unavailable("searching", error),
            Fault::Index(error) if is_missing(&error) && !self.damaged.swap(true, Ordering::AcqRel) => {
                tracing::error!(%error, "the search index is gone, and will be made anew");
                self.hints.wake();
                Error::unavailable("searching", error)
            }
            fault => self.error("searching", fault),
        }
    }

    /// What a fault is to who asked. A damaged index is made anew as soon as the keeper looks.
    fn error(&self, operation: &'static str, fault: Fault) -> Error {
        match fault {
            Fault::Store(error) => error,
            Fault::Index(error) => {
                if is_damage(&error) && !self.damaged.swap(true, Ordering::AcqRel) {
                    tracing::error!(%error, operation, "the search index is damaged, and will be made anew");
                    self.hints.wake();
                }
                Error::unavailable(operation, error)
            }
        }
    }
}

fn is_missing(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
