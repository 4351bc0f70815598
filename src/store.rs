//! What keeps the rows: one trait, its contract, and the backends that hold to it.
//!
//! # Contract
//!
//! - [`Store::commit`] is the only way to change anything but the index. It answers the proposal's needs, decides,
//!   applies the effects in one transaction, and returns only when that is durable. A refusal has written
//!   nothing. Proposals are decided in some serial order; a backend may commit many in one transaction.
//! - A read that starts after a commit has returned sees it. A read sees one state, never half a commit.
//! - What a search finds comes from an index, which is derived: [`Store::index`] writes it, behind the writes and never
//!   in their way, and how far it is with each log is stored with its rows. It is whole again after a crash, and what
//!   goes wrong with it fails searches alone.
//! - A failed write fails every proposal of its transaction with [`Error::Unavailable`]; the backend
//!   then refuses writes until it has reopened itself, and never acknowledges what may be lost.
//! - A row that cannot be read is [`Error::Corrupt`] to who names it; lists leave it out and log it.
//!   Nothing is ever removed because it could not be read.
//! - A future that is dropped may or may not have taken effect, never half. A commit that its caller has left before it was
//!   begun is not begun.
//! - A proposal's fence is looked at in the transaction that writes: once the end of a replica's lease is committed,
//!   nothing that carries its fence is. Leases are judged by one clock, the store's own where it has one.
//! - Bodies come back byte for byte.
//! - What a store has can be read whole, and put into an empty one: [`survey`] says how.
//!
//! `store/conformance.rs` stamps one suite of tests on every backend.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::outcome::More;
use crate::domain::query::{self, Bound, Page, Range, ResumeKey, SessionKey, ThreadKey};
use crate::domain::search::{self, Found, Indexed, Place, Unindexed};
use crate::domain::{
    Engine, EngineId, Entry, EntryId, Fence, Item, Log, LogId, Namespace, Outcome, PastHead, Proposal,
    Receipt, Refusal, Replica, RequestId, Resume, ResumeId, Revision, Seq, Session, SessionId, Source,
    Thread, ThreadId, Time, Tip, Turn, TurnId,
};

pub mod batch;
#[cfg(test)]
pub(crate) mod conformance;
pub mod copy;
pub mod deadline;
mod hints;
pub mod memory;
mod observers;
pub mod place;
pub mod postgres;
mod record;
mod room;
pub mod sqlite;
mod stored;
pub mod survey;

pub use observers::{Observer, Observers};
pub use survey::{Fill, Survey};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The storage did not take or give it now; whether a commit took effect is unknown.
    #[error("{operation} failed")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Why it failed; not for clients.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored row is damaged.
    #[error("{row} is damaged: {reason}")]
    Corrupt {
        /// Which row, by its ids alone.
        row: String,
        /// What is wrong; not for clients.
        reason: String,
    },
}

impl Error {
    /// The storage failed at `operation`.
    pub fn unavailable(
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            operation,
            source: source.into(),
        }
    }

    /// The row `row` is damaged.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "errors and literals alike come by value"
    )]
    pub fn corrupt(row: impl Into<String>, reason: impl ToString) -> Self {
        Self::Corrupt {
            row: row.into(),
            reason: reason.to_string(),
        }
    }
}

/// What a commit did, with the resources it touched as they stand right after it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What it did, or what the first call under the same request_id did.
    pub outcome: Outcome,
    /// Whether a receipt answered.
    pub replayed: bool,
    /// The session of the outcome, if it is there.
    pub session: Option<Arc<Session>>,
    /// The thread of the outcome, if it is there.
    pub thread: Option<Arc<Thread>>,
    /// The turn of the outcome, if the proposal read it.
    pub turn: Option<Arc<Turn>>,
    /// The resume of the outcome, if it is there.
    pub resume: Option<Arc<Resume>>,
    /// All that it changed, for those who watch.
    pub changes: Changes,
}

/// What a commit changed of what can be watched.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Sessions: a deletion changes a whole family.
    pub sessions: Vec<Arc<Session>>,
    /// Sessions that are gone.
    pub removed_sessions: Vec<(Namespace, SessionId)>,
    /// Entries at the ends of logs.
    pub entries: Vec<Arc<[Entry]>>,
    /// Threads.
    pub threads: Vec<Arc<Thread>>,
    /// Threads that are gone.
    pub removed_threads: Vec<(Namespace, ThreadId)>,
    /// Resumes: a deletion ends those of its sessions.
    pub resumes: Vec<Arc<Resume>>,
}

/// A session right below another one.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its id.
    pub id: SessionId,
    /// The session; `None`: it cannot be read.
    pub session: Option<Arc<Session>>,
    /// Whether others are below it in turn.
    pub has_children: bool,
}

/// Those who serve a store, and the time by its clock.
#[derive(Clone, Debug)]
pub struct Members {
    /// Every replica that has joined and neither left nor been expired, by name.
    pub replicas: Vec<Arc<Replica>>,
    /// When that was.
    pub clock: Time,
}

impl Members {
    /// The replica that a fence names, if its lease runs.
    pub fn living(&self, fence: &Fence) -> Option<&Arc<Replica>> {
        let mut replicas = self.replicas.iter();
        replicas.find(|replica| replica.is(fence) && replica.lives(self.clock))
    }
}

/// Work that upkeep finds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chore {
    /// A deleted session whose time has come.
    Purge(Namespace, SessionId),
    /// A session whose path has too many parts.
    Compact(Namespace, SessionId),
    /// A log or journal that may be named by nobody.
    Sweep(LogId),
    /// There are receipts made before the time asked for.
    ExpireReceipts,
    /// There are resumes that ended `RESUME_LIFE` ago.
    ExpireResumes,
    /// A head that a session left `PAST_HEAD_LIFE` ago.
    ExpireHead(Namespace, SessionId, Revision),
    /// An engine that left `ENGINE_LIFE` ago and owns no thread.
    ForgetEngine(Namespace, EngineId),
}

/// What the search index lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Messages, a stretch of a log each.
    pub logs: Vec<Unindexed>,
    /// Whether there may be more.
    pub more: More,
}

/// A place for rows. The module's page is its contract.
#[async_trait]
pub trait Store: Survey {
    /// Decides and applies `proposal` at `now`, durably.
    async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error>;

    /// What a commit of `proposal` would do, were it made now: it is decided on what is stored, and nothing is written.
    async fn consider(&self, proposal: Proposal, now: Time) -> Result<Outcome, Error>;

    /// Tells `observer` of every commit from now on.
    fn observe(&self, observer: &Arc<dyn Observer>);

    /// Whether processes beside this one may serve what is stored: then replicas need leases and find each other, and
    /// an observer may miss what others have committed.
    fn is_shared(&self) -> bool {
        false
    }

    /// The record of a request_id.
    async fn receipt(&self, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error>;

    /// A session, deleted ones included.
    async fn session(&self, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Session>>, Error>;

    /// The sessions that were imported from a source, by id, at most `IMPORT_BRANCHES_MAX` + 1.
    async fn imported(&self, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error>;

    /// A page of sessions after `after`, in the query's order. It may be short, with a key, after
    /// `SCAN_ROWS_MAX` rows that the filters turned away.
    async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error>;

    /// At most `rows` namespaces after `after` that have sessions, by name.
    async fn namespaces(&self, after: Option<&Namespace>, rows: usize) -> Result<Vec<Namespace>, Error>;

    /// Entries of a log, inherited ones included, in ascending order, as many as the bound lets.
    async fn entries(&self, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error>;

    /// A log.
    async fn log(&self, id: LogId) -> Result<Option<Arc<Log>>, Error>;

    /// At most `rows` sessions right below another one, deleted ones included, by id after `after`: its forks, and
    /// its sub-sessions. Their large texts are left empty. One that cannot be read is told by its id: what is below it
    /// is not lost for that.
    async fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Result<Vec<Child>, Error>;

    /// One entry of a log without its body.
    async fn entry_meta(&self, log: &Log, seq: Seq) -> Result<Option<EntryMeta>, Error>;

    /// One entry of those up to a tip, by its id.
    async fn entry_by_id(&self, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error>;

    /// Which of these ids are among the entries up to a tip.
    async fn known_entries(&self, tip: &Tip, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error>;

    /// The entry with which `count` passes `number`: its message has that index in what is counted.
    async fn seek(&self, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error>;

    /// A thread.
    async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error>;

    /// A page of threads after `after`, the last changed first.
    async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error>;

    /// A turn of a journal.
    async fn turn(&self, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error>;

    /// The turns of a journal among `ids`, by number.
    async fn turns(&self, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error>;

    /// Items of a journal in ascending order, as many as the bound lets.
    async fn items(&self, journal: LogId, query: &query::Items, bound: Bound) -> Result<Vec<Item>, Error>;

    /// An engine that is or was attached.
    async fn engine(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error>;

    /// At most `rows` engines of all namespaces after `after`, by namespace and id.
    async fn engines(
        &self,
        after: Option<&(Namespace, EngineId)>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error>;

    /// At most `rows` engines of a namespace that are attached, by id after `after`.
    async fn attached(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error>;

    /// Every replica; `now` is the time where the store has no clock of its own.
    async fn members(&self, now: Time) -> Result<Members, Error>;

    /// How many threads an engine has claimed under an epoch.
    async fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> Result<u64, Error>;

    /// A resume.
    async fn resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error>;

    /// A page of resumes after `after`, the newest first.
    async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error>;

    /// A head that a session has left.
    async fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Result<Option<Arc<PastHead>>, Error>;

    /// At most `rows` heads that a session has left, those before a revision, the newest first.
    async fn past_heads(
        &self,
        ns: &Namespace,
        session: &SessionId,
        before: Option<Revision>,
        rows: usize,
    ) -> Result<Vec<Arc<PastHead>>, Error>;

    /// Turns of a journal that changed after `after`, in the order of their changes.
    async fn changed_turns(&self, journal: LogId, after: u64, rows: usize) -> Result<Vec<Turn>, Error>;

    /// Items of a journal in the order of their changes, as many as the bound lets.
    async fn changed_items(
        &self,
        journal: LogId,
        query: &query::ChangedItems,
        bound: Bound,
    ) -> Result<Vec<Item>, Error>;

    /// What the search index lacks of the messages that sessions show: as much as the bound lets, or less. It is found
    /// again until it was put in.
    async fn lack(&self, bound: Bound) -> Result<Lack, Error>;

    /// Puts rows into the search index; those of a log that is not where they begin are left out. `through`: the index
    /// holds every write before this time then.
    async fn index(&self, batch: Vec<Indexed>, through: Option<Time>) -> Result<(), Error>;

    /// Moves when there may be something to index.
    fn index_news(&self) -> watch::Receiver<u64>;

    /// A page of messages after `after`, the newest first, each in the oldest session that shows it. It may be short,
    /// with a place, after `SCAN_ROWS_MAX` rows that were turned away.
    async fn search(&self, query: &search::Query, after: Option<Place>, bound: Bound)
    -> Result<Found, Error>;

    /// At most `rows` pieces of work for upkeep, as of `now`.
    async fn chores(&self, now: Time, rows: usize) -> Result<Vec<Chore>, Error>;

    /// Whether writes are taken.
    async fn check(&self) -> Result<(), Error>;

    /// Finishes what was taken and closes; everything after it is `Unavailable`.
    async fn close(&self);
}
