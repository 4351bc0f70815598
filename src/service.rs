//! The use cases: what a call does between its wire form and the store.
//!
//! What grows with the length of a conversation (finding a message, rebuilding messages from items) is
//! done here, on readers, at a state that the commit checks; the rules themselves are in `domain`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{
    Command, Fence, Invalid, Limits, LogId, Namespace, Outcome, Proposal, Refusal, Replica, Request,
    RequestId, Seq, Session, SessionId, Time, Tip,
};
use crate::engine;
use crate::store::{self, Committed, Store};

use live::Live;
use peers::Nobody;
use telling::Telling;

pub use crate::store::Error as StoreError;
pub use live::EngineTerms;
pub use peers::Peers;
pub use replicas::ReplicaTerms;

mod context;
mod live;
mod look_again;
mod places;
#[cfg(test)]
mod played;
mod staging;
mod standing;
mod telling;

pub mod engines;
pub mod entries;
pub mod forks;
pub mod history;
pub mod items;
pub mod peers;
pub mod replicas;
pub mod resumes;
pub mod retention;
pub mod saves;
pub mod search;
pub mod sessions;
pub mod snapshots;
pub mod threads;
pub mod transfer;
pub mod trees;
pub mod watches;

/// Where the service reads the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now.
    fn now(&self) -> Time;
}

/// Where the service gets new names.
pub trait Ids: Send + Sync + std::fmt::Debug {
    /// A name that was never given before; later ones sort after earlier ones.
    fn fresh(&self) -> Uuid;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// UUIDv7.
#[derive(Debug, Default)]
pub struct TimeOrderedIds;

impl Ids for TimeOrderedIds {
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule said no, or the storage failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An engine did not do what it was asked.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The engine that it needs is attached to another replica.
    #[error("the engine is attached to replica {}", .0.id)]
    Elsewhere(Arc<Replica>),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Store(store::Error::Refused(refusal))
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Refusal::from(invalid).into()
    }
}

/// What every mutation begins with.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where its names are unique.
    pub namespace: Namespace,
    /// The caller's name for it, if any.
    pub request: Option<Request>,
}

/// All use cases, over one store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    limits: Arc<Limits>,
    live: Arc<Live>,
    peers: Arc<dyn Peers>,
    searches: bool,
}

impl Service {
    /// A service over `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, limits: Limits) -> Self {
        let telling = Telling::of(&*store);
        let live = Live::new(EngineTerms::default(), CancellationToken::new(), telling);
        Self {
            store,
            clock,
            ids,
            limits: Arc::new(limits),
            live: Arc::new(live),
            peers: Arc::new(Nobody),
            searches: true,
        }
    }

    /// The same service under these terms for engines and resumes, which `drain` asks to leave.
    #[must_use]
    pub fn with_engines(mut self, terms: EngineTerms, drain: CancellationToken) -> Self {
        self.live = Arc::new(Live::new(terms, drain, self.live.telling.clone()));
        self
    }

    /// The same service, which tells other replicas what concerns them through `peers`.
    #[must_use]
    pub fn with_peers(mut self, peers: Arc<dyn Peers>) -> Self {
        self.peers = peers;
        self
    }

    /// The same service without search: nobody keeps the index.
    #[must_use]
    pub fn without_search(mut self) -> Self {
        self.searches = false;
        self
    }

    /// Whether messages can be searched.
    pub fn searches(&self) -> bool {
        self.searches
    }

    /// Lets the clock of heartbeats run until the service is about to stop; by it, what is watched is looked at again
    /// where others may change it unheard.
    pub async fn tick(&self) {
        let clock = self.live.watchers.tick(self.live.drain.clone());
        let looks = self.live.drain.run_until_cancelled(self.look_again());
        tokio::join!(clock, looks);
    }

    /// Waits until what has to finish before the store closes has finished.
    pub async fn finish(&self) {
        self.live.tasks.close();
        self.live.tasks.wait().await;
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Now, by the service's clock.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// A new name.
    pub fn fresh_id(&self) -> Uuid {
        self.ids.fresh()
    }

    /// Whether the request_id was used for another request.
    pub async fn reused(&self, ns: &Namespace, request: &Request) -> Result<bool, Error> {
        let receipt = self.store.receipt(ns, &request.id).await?;
        Ok(receipt.is_some_and(|receipt| receipt.fingerprint != request.fingerprint))
    }

    /// Whether the request_id was used at all.
    pub async fn is_used(&self, ns: &Namespace, id: &RequestId) -> Result<bool, Error> {
        Ok(self.store.receipt(ns, id).await?.is_some())
    }

    fn fresh_log(&self) -> LogId {
        LogId(self.ids.fresh())
    }

    async fn commit(&self, call: Call, command: Command) -> Result<Committed, Error> {
        self.commit_as(call, None, command).await
    }

    /// Commits what this replica does for an engine or a resume; refused once its lease is over.
    async fn commit_as(
        &self,
        call: Call,
        fence: Option<Fence>,
        command: Command,
    ) -> Result<Committed, Error> {
        let proposal = Proposal {
            namespace: call.namespace,
            request: call.request,
            fence,
            command,
        };
        let committed = self.store.commit(proposal, self.clock.now()).await;
        if let Err(store::Error::Refused(Refusal::ReplicaFenced { replica, incarnation })) = &committed {
            // Before whoever was refused undoes anything: engines are left as they are to whoever comes next.
            self.live.standing.lost(&Fence {
                replica: replica.clone(),
                incarnation: *incarnation,
            });
        }
        Ok(committed?)
    }

    /// What an earlier call under the same request_id did: for use cases that read much before they
    /// commit, as the receipt is looked up before every other check.
    async fn replayed(&self, call: &Call) -> Result<Option<Outcome>, Error> {
        let Some(request) = &call.request else {
            return Ok(None);
        };
        match self.store.receipt(&call.namespace, &request.id).await? {
            Some(receipt) if receipt.fingerprint != request.fingerprint => {
                Err(Refusal::RequestIdReused.into())
            }
            Some(receipt) => Ok(Some(receipt.outcome)),
            None => Ok(None),
        }
    }

    async fn found(&self, ns: &Namespace, id: &SessionId) -> Result<Arc<Session>, Error> {
        let session = self.store.session(ns, id).await?;
        session.ok_or_else(|| Refusal::no_session(id).into())
    }

    /// The fold of everything up to `seq`, which `tip` reaches.
    async fn tally_at(&self, tip: &Tip, seq: Seq) -> Result<crate::domain::Tally, Error> {
        if seq == Seq::ZERO {
            return Ok(crate::domain::Tally::default());
        }
        if seq == tip.seq() {
            return Ok(tip.tally.clone());
        }
        let meta = self.store.entry_meta(&tip.log, seq).await?;
        let meta = meta
            .ok_or_else(|| store::Error::corrupt(format!("entry {seq} of log {}", tip.log.id), "missing"))?;
        Ok(meta.tally)
    }
}

/// A receipt or a commit that answers for another verb: only a damaged store does that.
fn mismatched(outcome: &Outcome) -> Error {
    store::Error::corrupt("a receipt", format!("it records {outcome:?} for another verb")).into()
}
