//! The embedded store: one SQLite file in a directory that one process has.
//!
//! One thread writes. It takes what has piled up, decides it proposal by proposal on the facts in
//! memory, writes all effects in one transaction and answers once that is on disk: the batches fill
//! themselves while the disk syncs. A few threads read, each a whole transaction at a time. The file is
//! an ordinary database that any SQLite tool can open; bodies are in it as they came.
//!
//! A failed write takes its whole batch back; then the writer takes nothing until it has opened the file
//! anew and copied back what the write-ahead log holds, which it tries every second. Reads go on.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::ErrorCode;
use tokio::sync::{Mutex, mpsc, watch};

use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::query::{self, Bound, Page, Range, ResumeKey, SessionKey, ThreadKey};
use crate::domain::search::{self, Found, Indexed, Place};
use crate::domain::{
    Engine, EngineId, Entry, EntryId, Item, Log, LogId, Namespace, Outcome, PastHead, Proposal, Receipt,
    RequestId, Resume, ResumeId, Revision, Seq, Session, SessionId, Source, Thread, ThreadId, Time, Tip,
    Turn, TurnId,
};
use crate::store::room::Room;
use crate::store::survey::{Key, Stretch, Survey};
use crate::store::{Child, Chore, Committed, Error, Lack, Members, Observer, Observers, Store};

mod answers;
mod backup;
mod chores;
mod columns;
mod copies;
mod effects;
mod engines;
mod entries;
mod index;
mod items;
mod logs;
mod look;
mod moving;
mod open;
mod past_heads;
mod readers;
mod receipts;
mod replicas;
mod resumes;
mod schema;
mod sessions;
mod survey;
#[cfg(test)]
mod tests;
mod threads;
mod verify;
mod walk;
mod writer;

pub use backup::{BackedUp, BackupError, Existing, backup};
pub use look::Look;
pub use moving::{Archive, Filling};
pub use open::OpenError;
pub use verify::{Opener, Problem, Report, verify};

use index::Index;
use open::Directory;
use readers::Readers;
use writer::Writer;

/// Reader threads, unless told otherwise.
pub const READERS_DEFAULT: usize = 4;

/// Sessions and threads in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    index: Index,
    observers: Arc<Observers>,
    ended: Mutex<mpsc::Receiver<Infallible>>,
    _directory: Directory,
}

/// What every thread holds while it runs.
type Alive = mpsc::Sender<Infallible>;

/// The store was closed.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
struct Closed;

impl Sqlite {
    /// Opens the store in `dir`, making it where it is missing. Blocks; takes milliseconds, also after a
    /// crash.
    pub fn open(dir: &Path, readers: usize) -> Result<Self, OpenError> {
        Self::over(Directory::take(dir)?, readers)
    }

    /// Whether there is a store in `dir`.
    pub fn is_in(dir: &Path) -> bool {
        open::database(dir).exists()
    }

    /// The same, the search index removed: it is made anew from the log.
    pub fn open_without_index(dir: &Path, readers: usize) -> Result<Self, OpenError> {
        let directory = Directory::take(dir)?;
        index::remove(&directory.index).map_err(|source| OpenError::Io {
            operation: "removing",
            path: directory.index.clone(),
            source,
        })?;
        Self::over(directory, readers)
    }

    fn over(directory: Directory, readers: usize) -> Result<Self, OpenError> {
        let (alive, ended) = mpsc::channel(1);
        let database = &directory.database;
        let (hints, observers) = (Arc::default(), Arc::<Observers>::default());
        let told = (Arc::clone(&hints), observers.clone());
        let writer = Writer::start(database, alive.clone(), told)?;
        let index = Index::start(database, directory.index.clone(), hints, &alive)?;
        let connections = (0..readers.max(1)).map(|_| open::reader(database));
        let readers = Readers::start("reader", database, connections, &alive)?;
        Ok(Self {
            writer,
            readers,
            index,
            observers,
            ended: Mutex::new(ended),
            _directory: directory,
        })
    }
}

impl Drop for Sqlite {
    /// Finishes like [`Store::close`], which waits without blocking its caller.
    fn drop(&mut self) {
        self.readers.close();
        self.index.close();
        self.writer.close();
        self.index.join();
        self.readers.join();
        self.writer.join();
    }
}

#[async_trait]
impl Survey for Sqlite {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        let after = after.cloned();
        let job = move |conn: &_| survey::survey(conn, after.as_ref(), bound);
        self.readers.read("surveying", job).await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        self.writer.commit(proposal, now).await
    }

    async fn consider(&self, proposal: Proposal, now: Time) -> Result<Outcome, Error> {
        let job = move |conn: &_| answers::consider(conn, &proposal, now);
        self.readers.read("considering", job).await
    }

    fn observe(&self, observer: &Arc<dyn Observer>) {
        self.observers.add(observer);
    }

    async fn receipt(&self, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error> {
        let (ns, id) = (ns.clone(), id.clone());
        self.readers
            .read("reading a receipt", move |conn| receipts::receipt(conn, &ns, &id))
            .await
    }

    async fn session(&self, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Session>>, Error> {
        let (ns, id) = (ns.clone(), id.clone());
        self.readers
            .read("reading a session", move |conn| sessions::session(conn, &ns, &id))
            .await
    }

    async fn imported(&self, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error> {
        let (ns, source) = (ns.clone(), source.clone());
        self.readers
            .read("looking for the sessions of a source", move |conn| {
                sessions::imported(conn, &ns, &source)
            })
            .await
    }

    async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error> {
        let (query, after) = (query.clone(), after.cloned());
        let job = move |conn: &_| walk::sessions(conn, &query, after.as_ref(), bound);
        self.readers.read("listing sessions", job).await
    }

    async fn namespaces(&self, after: Option<&Namespace>, rows: usize) -> Result<Vec<Namespace>, Error> {
        let after = after.cloned();
        let job = move |conn: &_| sessions::namespaces(conn, after.as_ref(), rows);
        self.readers.read("listing namespaces", job).await
    }

    async fn entries(&self, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error> {
        let log = log.clone();
        self.readers
            .read("reading entries", move |conn| {
                entries::page(conn, &log, range, bound)
            })
            .await
    }

    async fn log(&self, id: LogId) -> Result<Option<Arc<Log>>, Error> {
        self.readers
            .read("reading a log", move |conn| logs::log(conn, id))
            .await
    }

    async fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Result<Vec<Child>, Error> {
        let (ns, id, after) = (ns.clone(), id.clone(), after.cloned());
        let job = move |conn: &_| sessions::children(conn, &ns, &id, after.as_ref(), rows);
        self.readers.read("reading a tree", job).await
    }

    async fn entry_meta(&self, log: &Log, seq: Seq) -> Result<Option<EntryMeta>, Error> {
        let holder = log.holder(seq);
        self.readers
            .read("reading an entry", move |conn| entries::meta(conn, holder, seq))
            .await
    }

    async fn entry_by_id(&self, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error> {
        let (tip, id) = (tip.clone(), id.clone());
        self.readers
            .read("reading an entry", move |conn| entries::by_id(conn, &tip, &id))
            .await
    }

    async fn known_entries(&self, tip: &Tip, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
        let (tip, ids) = (tip.clone(), ids.to_vec());
        let job = move |conn: &_| entries::places(conn, &tip.log, tip.seq(), &ids);
        let places = self.readers.read("looking for entries", job).await?;
        Ok(places.into_keys().collect())
    }

    async fn seek(&self, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error> {
        let tip = tip.clone();
        self.readers
            .read("seeking an entry", move |conn| {
                entries::seek(conn, &tip, count, number)
            })
            .await
    }

    async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error> {
        let (ns, id) = (ns.clone(), id.clone());
        self.readers
            .read("reading a thread", move |conn| threads::thread(conn, &ns, &id))
            .await
    }

    async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
        let (query, after) = (query.clone(), after.cloned());
        let job = move |conn: &_| walk::threads(conn, &query, after.as_ref(), bound);
        self.readers.read("listing threads", job).await
    }

    async fn turn(&self, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error> {
        let id = id.clone();
        self.readers
            .read("reading a turn", move |conn| items::turn(conn, journal, &id))
            .await
    }

    async fn turns(&self, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error> {
        let ids = ids.to_vec();
        self.readers
            .read("reading turns", move |conn| items::turns(conn, journal, &ids))
            .await
    }

    async fn items(&self, journal: LogId, query: &query::Items, bound: Bound) -> Result<Vec<Item>, Error> {
        let query = query.clone();
        self.readers
            .read("reading items", move |conn| {
                items::page(conn, journal, &query, bound)
            })
            .await
    }

    async fn engine(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
        let (ns, id) = (ns.clone(), id.clone());
        self.readers
            .read("reading an engine", move |conn| engines::engine(conn, &ns, &id))
            .await
    }

    async fn engines(
        &self,
        after: Option<&(Namespace, EngineId)>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        let after = after.cloned();
        let job = move |conn: &_| engines::engines(conn, after.as_ref(), rows);
        self.readers.read("listing engines", job).await
    }

    async fn attached(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        let (ns, after) = (ns.clone(), after.cloned());
        let job = move |conn: &_| engines::attached(conn, &ns, after.as_ref(), rows);
        self.readers.read("listing attached engines", job).await
    }

    async fn members(&self, now: Time) -> Result<Members, Error> {
        let replicas = self.readers.read("listing replicas", replicas::replicas).await?;
        Ok(Members { replicas, clock: now })
    }

    async fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> Result<u64, Error> {
        let (ns, engine) = (ns.clone(), engine.clone());
        let job = move |conn: &_| engines::threads_held(conn, &ns, &engine, epoch);
        self.readers.read("counting an engine's threads", job).await
    }

    async fn resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
        let (ns, id) = (ns.clone(), id.clone());
        self.readers
            .read("reading a resume", move |conn| resumes::resume(conn, &ns, &id))
            .await
    }

    async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
        let (query, after) = (query.clone(), after.cloned());
        let job = move |conn: &_| walk::resumes(conn, &query, after.as_ref(), bound);
        self.readers.read("listing resumes", job).await
    }

    async fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Result<Option<Arc<PastHead>>, Error> {
        let (ns, session) = (ns.clone(), session.clone());
        let job = move |conn: &_| past_heads::past_head(conn, &ns, &session, revision);
        self.readers.read("reading a past head", job).await
    }

    async fn past_heads(
        &self,
        ns: &Namespace,
        session: &SessionId,
        before: Option<Revision>,
        rows: usize,
    ) -> Result<Vec<Arc<PastHead>>, Error> {
        let (ns, session) = (ns.clone(), session.clone());
        let job = move |conn: &_| past_heads::past_heads(conn, &ns, &session, before, rows);
        self.readers.read("listing past heads", job).await
    }

    async fn changed_turns(&self, journal: LogId, after: u64, rows: usize) -> Result<Vec<Turn>, Error> {
        let job = move |conn: &_| items::changed_turns(conn, journal, after, rows);
        self.readers.read("reading changed turns", job).await
    }

    async fn changed_items(
        &self,
        journal: LogId,
        query: &query::ChangedItems,
        bound: Bound,
    ) -> Result<Vec<Item>, Error> {
        let query = *query;
        let job = move |conn: &_| items::changed(conn, journal, &query, bound);
        self.readers.read("reading changed items", job).await
    }

    async fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        self.index.lack(bound).await
    }

    async fn index(&self, batch: Vec<Indexed>, through: Option<Time>) -> Result<(), Error> {
        self.index.put(batch, through).await
    }

    fn index_news(&self) -> watch::Receiver<u64> {
        self.index.news()
    }

    async fn search(
        &self,
        query: &search::Query,
        after: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        self.index.search(query.clone(), after, bound).await
    }

    async fn chores(&self, now: Time, rows: usize) -> Result<Vec<Chore>, Error> {
        self.readers
            .read("looking for chores", move |conn| chores::chores(conn, now, rows))
            .await
    }

    async fn check(&self) -> Result<(), Error> {
        self.writer.check()
    }

    async fn close(&self) {
        self.readers.close();
        self.index.close();
        self.writer.close();
        // Nothing is ever sent: it ends when the last thread has dropped its end.
        let _ = self.ended.lock().await.recv().await;
    }
}

/// Turns what SQLite says at `operation` into what the store says.
fn failed(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::corrupt(format!("the database, {operation},"), error)
        }
        Some(_) | None => Error::unavailable(operation, error),
    }
}
