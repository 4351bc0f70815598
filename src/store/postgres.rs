//! The store for many replicas: tables in a PostgreSQL database.
//!
//! It answers the same needs and applies the same effects as every other backend. A few *lanes* write: each
//! takes what has piled up, decides it on what it reads under the locks that `postgres/keys.rs` describes, and
//! stores it in one transaction. Leases have a lane of their own. A pool of connections reads. Nothing is kept in
//! memory from one transaction to the next, so that any number of replicas may write to one database.
//!
//! A commit that fails says that it is not known whether it was stored; the lane then connects anew and takes
//! nothing meanwhile. What was acknowledged is on the database's disk: `synchronous_commit` is on, whatever the
//! server says.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::query::{self, Bound, Page, Range, ResumeKey, SessionKey, ThreadKey};
use crate::domain::search::{self, Found, Indexed, Place};
use crate::domain::{
    Engine, EngineId, Entry, EntryId, Item, Log, LogId, Namespace, Outcome, PastHead, Proposal, Receipt,
    RequestId, Resume, ResumeId, Revision, Seq, Session, SessionId, Source, Thread, ThreadId, Time, Tip,
    Turn, TurnId,
};
use crate::store::survey::{Key, Stretch, Survey};
use crate::store::{Child, Chore, Committed, Error, Lack, Members, Observer, Observers, Store};

mod answers;
mod chores;
mod columns;
mod conn;
mod copies;
mod effects;
mod engines;
mod entries;
mod fault;
mod index;
mod items;
mod keys;
mod lane;
mod logs;
mod look;
mod moving;
mod news;
mod open;
mod order;
mod past_heads;
mod pool;
mod receipts;
mod replicas;
mod resumes;
mod schema;
mod sessions;
mod survey;
#[cfg(test)]
mod tests;
mod threads;
mod tls;
mod url;
mod walk;

pub use look::{Look, Server};
pub use moving::{Archive, Filling};
pub use open::{Migrate, OpenError, Options};
pub use schema::Schema;
pub use url::{Url, UrlError};

use conn::Conn;
use index::Index;
use keys::Salt;
use lane::{Lanes, Shared};
use news::News;
use pool::{Plans, Pool};
use tls::Connector;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a store that closes waits for what it writes.
const LANES_END_WITHIN: Duration = Duration::from_secs(30);

/// How long a store that closes tells others of its last commits.
const TELLS_FOR: Duration = Duration::from_secs(2);

/// Sessions and threads in a PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    lanes: Lanes,
    pool: Arc<Pool>,
    index: Index,
    observers: Arc<Observers>,
    ended: Mutex<mpsc::Receiver<Infallible>>,
    shared: Arc<Shared>,
    telling: Mutex<Option<JoinHandle<()>>>,
}

/// What every lane holds while it runs.
type Alive = mpsc::Sender<Infallible>;

/// The store was closed.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
struct Closed;

impl Postgres {
    /// Opens the store in a database, making its tables where they are missing.
    pub async fn open(url: &Url, options: &Options) -> Result<Self, OpenError> {
        let application = format!("sessiond/{}", options.replica);
        let connector = Connector::new(url, application).map_err(OpenError::of)?;
        let mut client = open::first(url, &connector).await?;
        open::prepared(&mut client, options.migrate).await?;
        moving::check_whole(&client).await?;
        let failed = |error| OpenError::of(fault::failed("reading the store's identity")(error));
        let row = client.query_one(open::IDENTITY, &[]).await.map_err(failed)?;
        let identity = open::identity(&row);
        drop(client);

        let observers = Arc::<Observers>::default();
        let (news, untold) = News::new();
        let shared = Arc::new(Shared {
            url: url.clone(),
            connector: connector.clone(),
            settings: options.writing(),
            statement_timeout: options.statement_timeout,
            indexing: options.indexing(),
            salt: Salt::of(identity),
            observers: observers.clone(),
            hints: Arc::default(),
            order: order::Order::default(),
            news,
        });
        let mut conns = Vec::new();
        // One more for leases.
        for _ in 0..=options.lanes.max(1) {
            let conn = Conn::connect(url, &connector, &shared.settings).await;
            conns.push(conn.map_err(OpenError::of)?);
        }
        let (alive, ended) = mpsc::channel(1);
        let lanes = Lanes::start(conns, &shared, &alive);
        let pool = Pool::new(url.clone(), connector, options.reading(), options.readers);
        let pool = Arc::new(pool);
        let telling = tokio::spawn(untold.run(shared.clone(), pool.clone()));
        Ok(Self {
            lanes,
            index: Index::new(shared.clone(), pool.clone()),
            pool,
            observers,
            ended: Mutex::new(ended),
            shared,
            telling: Mutex::new(Some(telling)),
        })
    }

    /// Has the database at `url` go through the steps it lacks; `Migrate::No`: says which it lacks. Returns what it was.
    pub async fn migrate(url: &Url, migrate: Migrate) -> Result<Schema, OpenError> {
        let connector = Connector::new(url, "sessiond/migrate".to_owned()).map_err(OpenError::of)?;
        let mut client = open::first(url, &connector).await?;
        match migrate {
            Migrate::Yes => schema::migrate(&mut client).await,
            Migrate::No => schema::look(&client).await,
        }
    }
}

/// Reads by one statement.
macro_rules! one {
    ($store:expr, $operation:literal, $read:path $(, $value:expr)*) => {{
        let reading = $store.pool.one($operation).await?;
        let read = $read(&reading $(, $value)*).instrument(reading.span()).await;
        reading.end(read).await
    }};
}

/// Reads by several statements that see one state.
macro_rules! state {
    ($store:expr, $operation:literal, $read:path $(, $value:expr)*) => {{
        let reading = $store.pool.state($operation, Plans::Kept).await?;
        let read = $read(&reading $(, $value)*).instrument(reading.span()).await;
        reading.end(read).await
    }};
}

/// The same, by statements whose values say which index is the best.
macro_rules! walk {
    ($store:expr, $operation:literal, $read:path $(, $value:expr)*) => {{
        let reading = $store.pool.state($operation, Plans::Own).await?;
        let read = $read(&reading $(, $value)*).instrument(reading.span()).await;
        reading.end(read).await
    }};
}

impl Drop for Postgres {
    /// Ends what listens; the lanes end when they have finished what was taken.
    fn drop(&mut self) {
        self.pool.close();
    }
}

#[async_trait]
impl Survey for Postgres {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        walk!(self, "surveying", survey::survey, after, bound)
    }
}

#[async_trait]
impl Store for Postgres {
    async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        self.lanes.commit(proposal, now).await
    }

    async fn consider(&self, proposal: Proposal, now: Time) -> Result<Outcome, Error> {
        state!(self, "considering", answers::consider, &proposal, now)
    }

    fn observe(&self, observer: &Arc<dyn Observer>) {
        self.observers.add(observer);
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn receipt(&self, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error> {
        one!(self, "reading a receipt", receipts::receipt, ns, id)
    }

    async fn session(&self, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Session>>, Error> {
        one!(self, "reading a session", sessions::session, ns, id)
    }

    async fn imported(&self, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error> {
        one!(
            self,
            "looking for the sessions of a source",
            sessions::imported,
            ns,
            source
        )
    }

    async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error> {
        walk!(self, "listing sessions", walk::sessions, query, after, bound)
    }

    async fn namespaces(&self, after: Option<&Namespace>, rows: usize) -> Result<Vec<Namespace>, Error> {
        one!(self, "listing namespaces", sessions::namespaces, after, rows)
    }

    async fn entries(&self, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error> {
        state!(self, "reading entries", entries::page, log, range, bound)
    }

    async fn log(&self, id: LogId) -> Result<Option<Arc<Log>>, Error> {
        one!(self, "reading a log", logs::log, id)
    }

    async fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Result<Vec<Child>, Error> {
        one!(self, "reading a tree", sessions::children, ns, id, after, rows)
    }

    async fn entry_meta(&self, log: &Log, seq: Seq) -> Result<Option<EntryMeta>, Error> {
        one!(self, "reading an entry", entries::meta, log.holder(seq), seq)
    }

    async fn entry_by_id(&self, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error> {
        state!(self, "reading an entry", entries::by_id, tip, id)
    }

    async fn known_entries(&self, tip: &Tip, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
        let places = one!(
            self,
            "looking for entries",
            entries::places,
            &tip.log,
            tip.seq(),
            ids
        );
        Ok(places?.into_keys().collect())
    }

    async fn seek(&self, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error> {
        state!(self, "seeking an entry", entries::seek, tip, count, number)
    }

    async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error> {
        one!(self, "reading a thread", threads::thread, ns, id)
    }

    async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
        walk!(self, "listing threads", walk::threads, query, after, bound)
    }

    async fn turn(&self, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error> {
        one!(self, "reading a turn", items::turn, journal, id)
    }

    async fn turns(&self, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error> {
        one!(self, "reading turns", items::turns, journal, ids)
    }

    async fn items(&self, journal: LogId, query: &query::Items, bound: Bound) -> Result<Vec<Item>, Error> {
        one!(self, "reading items", items::page, journal, query, bound)
    }

    async fn engine(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
        one!(self, "reading an engine", engines::engine, ns, id)
    }

    async fn engines(
        &self,
        after: Option<&(Namespace, EngineId)>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        walk!(self, "listing engines", engines::engines, after, rows)
    }

    async fn attached(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        one!(
            self,
            "listing attached engines",
            engines::attached,
            ns,
            after,
            rows
        )
    }

    async fn members(&self, now: Time) -> Result<Members, Error> {
        let (replicas, clock) = one!(self, "listing replicas", replicas::replicas)?;
        Ok(Members {
            replicas,
            clock: clock.unwrap_or(now),
        })
    }

    async fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> Result<u64, Error> {
        one!(
            self,
            "counting an engine's threads",
            engines::threads_held,
            ns,
            engine,
            epoch
        )
    }

    async fn resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
        one!(self, "reading a resume", resumes::resume, ns, id)
    }

    async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
        walk!(self, "listing resumes", walk::resumes, query, after, bound)
    }

    async fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Result<Option<Arc<PastHead>>, Error> {
        one!(
            self,
            "reading a past head",
            past_heads::past_head,
            ns,
            session,
            revision
        )
    }

    async fn past_heads(
        &self,
        ns: &Namespace,
        session: &SessionId,
        before: Option<Revision>,
        rows: usize,
    ) -> Result<Vec<Arc<PastHead>>, Error> {
        one!(
            self,
            "listing past heads",
            past_heads::past_heads,
            ns,
            session,
            before,
            rows
        )
    }

    async fn changed_turns(&self, journal: LogId, after: u64, rows: usize) -> Result<Vec<Turn>, Error> {
        one!(
            self,
            "reading changed turns",
            items::changed_turns,
            journal,
            after,
            rows
        )
    }

    async fn changed_items(
        &self,
        journal: LogId,
        query: &query::ChangedItems,
        bound: Bound,
    ) -> Result<Vec<Item>, Error> {
        one!(
            self,
            "reading changed items",
            items::changed,
            journal,
            query,
            bound
        )
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
        self.index.search(query, after, bound).await
    }

    async fn chores(&self, now: Time, rows: usize) -> Result<Vec<Chore>, Error> {
        walk!(self, "looking for chores", chores::chores, now, rows)
    }

    async fn check(&self) -> Result<(), Error> {
        self.lanes.check()
    }

    async fn close(&self) {
        self.index.close().await;
        self.lanes.close();
        // Nothing is ever sent: it ends when the last lane has dropped its end. What takes longer has not been answered.
        if timeout(LANES_END_WITHIN, async { self.ended.lock().await.recv().await })
            .await
            .is_err()
        {
            tracing::warn!("some writes have not come to their end");
        }
        self.shared.news.close();
        if let Some(telling) = self.telling.lock().await.take() {
            // What is not told by then others find by themselves.
            let _ = timeout(TELLS_FOR, telling).await;
        }
        self.pool.close();
    }
}
