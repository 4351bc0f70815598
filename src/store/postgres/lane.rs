//! Lanes: tasks that write, each over a connection of its own. A proposal goes to the lane of its main name, so that
//! calls on one session meet in one batch.
//!
//! A lane takes what has piled up, and decides and stores it in one transaction (see [`transaction`]). What cannot have
//! its keys now is the first of the next batch, where it waits for them; if it has waited in vain, a batch in which nobody
//! waits comes next. A batch that the database refuses is tried again, each proposal alone, so that none fails for another.
//! One whose connection was lost before its commit begins again, once, on another. Nothing is kept from one batch to the
//! next: another replica may have written.
//!
//! A proposal whose caller has left before its batch begins is dropped. The statements of a batch may take as long as the
//! most patient of its callers waits: one who is hasty ends nothing for the others.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::conn::Conn;
use super::fault::{Fault, Said};
use super::index::Hints;
use super::keys::{self, Key, Salt};
use super::news::News;
use super::order::Order;
use super::tls::Connector;
use super::url::Url;
use super::{Alive, Closed};
use crate::domain::{Proposal, Time};
use crate::store::batch::weight;
use crate::store::deadline::deadline;
use crate::store::{Committed, Error, Observers};

mod name;
mod patience;
pub(super) mod recovery;
mod transaction;

use name::{lane_of, name_of};
use patience::patience;
use recovery::closed;
use transaction::{First, Stop, Stored};

/// Proposals that wait for a lane before more wait in line.
const QUEUE_MAX: usize = 1_024;

/// Proposals of one batch: each has some keys, and the database room for so many.
const BATCH_MAX: usize = 128;

/// Bytes of bodies of one batch, unless one proposal alone has more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How often a transaction is tried again that the database has taken back, or that learned of further keys.
const RETRIES_MAX: u32 = 16;

/// The longest wait before such a try: two that stood in each other's way must not meet again.
const RETRY_AFTER_MAX: Duration = Duration::from_millis(8);

/// How often a proposal begins again whose connection was lost before the commit.
const LOST_MAX: u32 = 1;

/// How often a proposal waits in vain for its keys before it is refused.
const LOCKED_OUT_MAX: u32 = 3;

type Reply = oneshot::Sender<Result<Committed, Error>>;

/// The lanes, as the rest of the store holds them.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    closes: CancellationToken,
}

#[derive(Debug)]
struct Lane {
    jobs: Mutex<Option<mpsc::Sender<Pending>>>,
    broken: Arc<AtomicBool>,
}

/// What all lanes know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: Url,
    pub(super) connector: Connector,
    pub(super) settings: String,
    /// How long a statement may take, whoever waits.
    pub(super) statement_timeout: Duration,
    /// What the connection that keeps the search index is set to.
    pub(super) indexing: String,
    pub(super) salt: Salt,
    pub(super) observers: Arc<Observers>,
    pub(super) hints: Arc<Hints>,
    pub(super) order: Order,
    pub(super) news: News,
}

/// A proposal that waits for its answer.
#[derive(Debug)]
struct Pending {
    proposal: Proposal,
    now: Time,
    reply: Reply,
    /// Until when its caller waits; `None`: for as long as it takes.
    deadline: Option<time::Instant>,
    /// Keys that it is known to need, beside those of its first needs.
    keys: BTreeSet<Key>,
    locked_out: u32,
    /// How often its connection was lost.
    lost: u32,
    since: Instant,
}

/// A batch could not be stored, or a lane has not recovered from that.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum NotWritten {
    #[error("its batch could not be written")]
    Failed,
    #[error("writes are refused until the database can be reached again")]
    Refusing,
    #[error("what it needs was held by others for too long")]
    LockedOut,
    #[error("it took longer than anybody waited")]
    Late,
}

impl Lanes {
    /// Starts a lane over each connection.
    pub(super) fn start(conns: Vec<Conn>, shared: &Arc<Shared>, alive: &Alive) -> Self {
        let closes = CancellationToken::new();
        let lane = |(number, conn)| {
            let (jobs, queue) = mpsc::channel(QUEUE_MAX);
            let broken = Arc::new(AtomicBool::new(false));
            let worker = Worker {
                number,
                conn: Some(conn),
                queue,
                back: VecDeque::new(),
                broken: broken.clone(),
                shared: shared.clone(),
                alone: 0,
                first: First::Waits,
                closes: closes.clone(),
                _alive: alive.clone(),
            };
            tokio::spawn(worker.run());
            Lane {
                jobs: Mutex::new(Some(jobs)),
                broken,
            }
        };
        Self {
            lanes: conns.into_iter().enumerate().map(lane).collect(),
            closes,
        }
    }

    /// Decides and stores a proposal.
    pub(super) async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        let lane = &self.lanes[lane_of(&proposal, self.lanes.len())];
        let jobs = lane.takes_writes()?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            proposal,
            now,
            reply,
            deadline: deadline(),
            keys: BTreeSet::new(),
            locked_out: 0,
            lost: 0,
            since: Instant::now(),
        };
        let sent = jobs.send(pending).await;
        sent.map_err(|_| Error::unavailable("committing", Closed))?;
        // Without an answer the lane has panicked over this batch, and its connection has taken it back.
        answer
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("committing", NotWritten::Failed)))
    }

    /// Whether writes are taken.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.lanes
            .iter()
            .try_for_each(|lane| lane.takes_writes().map(drop))
    }

    /// Takes no more; the lanes end when they have finished what was taken. They do not wait for callers who wait to be
    /// taken and may never look again.
    pub(super) fn close(&self) {
        self.closes.cancel();
        for lane in &self.lanes {
            drop(lane.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl Lane {
    fn takes_writes(&self) -> Result<mpsc::Sender<Pending>, Error> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Error::unavailable("committing", NotWritten::Refusing));
        }
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or_else(|| Error::unavailable("committing", Closed))
    }
}

/// What the task owns.
struct Worker {
    /// Which lane it is.
    number: usize,
    /// `None` after a failure, until there is another one.
    conn: Option<Conn>,
    queue: mpsc::Receiver<Pending>,
    /// What was taken and is not decided yet; it comes before the queue.
    back: VecDeque<Pending>,
    broken: Arc<AtomicBool>,
    shared: Arc<Shared>,
    /// So many proposals are tried alone.
    alone: usize,
    /// How the first of the next batch takes its keys.
    first: First,
    /// The queue takes no more.
    closes: CancellationToken,
    _alive: Alive,
}

impl Worker {
    /// Takes, decides, stores and answers until the queue takes no more and is empty.
    async fn run(mut self) {
        loop {
            if self.conn.as_ref().is_none_or(Conn::is_closed) && !self.recover().await {
                return;
            }
            if self.back.is_empty() {
                tokio::select! {
                    next = self.queue.recv() => {
                        let Some(pending) = next else { return };
                        self.back.push_back(pending);
                    }
                    () = closed(self.conn.as_ref()) => continue,
                    () = self.closes.cancelled(), if !self.queue.is_closed() => {
                        self.queue.close();
                        continue;
                    }
                }
            }
            let batch = self.batch();
            let Some(first) = batch.front() else { continue };
            let span = tracing::debug_span!(
                "transaction",
                name = name_of(&first.proposal.command),
                lane = self.number,
                proposals = batch.len(),
            );
            let stored = AssertUnwindSafe(self.store(batch)).catch_unwind();
            if stored.instrument(span).await.is_err() {
                // Who is dropped with it hears that it is not known; its connection takes back what was not committed.
                tracing::error!("a batch has panicked");
                self.conn = None;
            }
        }
    }

    /// What has piled up.
    fn batch(&mut self) -> VecDeque<Pending> {
        let max = if self.alone > 0 { 1 } else { BATCH_MAX };
        self.alone = self.alone.saturating_sub(1);
        let (mut batch, mut bytes) = (VecDeque::new(), 0);
        while batch.len() < max && bytes < BATCH_BYTES_MAX {
            let next = self.back.pop_front().or_else(|| self.queue.try_recv().ok());
            let Some(pending) = next else { break };
            // It is dropped before its batch begins, and does not count.
            if pending.reply.is_closed() {
                continue;
            }
            bytes += weight(&pending.proposal);
            batch.push_back(pending);
        }
        batch
    }

    /// Decides and stores a batch, and answers those that were decided; the others go back.
    async fn store(&mut self, mut batch: VecDeque<Pending>) {
        let Some(first) = batch.front() else { return };
        let (began, waited) = (Instant::now(), first.since.elapsed());
        let name = name_of(&first.proposal.command);
        let first = std::mem::replace(&mut self.first, First::Waits);
        for attempt in 0..=RETRIES_MAX {
            batch.retain(|pending| !pending.reply.is_closed());
            if batch.is_empty() {
                return;
            }
            let Some(conn) = self.conn.as_ref() else {
                return self.lost(batch);
            };
            let deadlines = batch.iter().map(|pending| pending.deadline);
            let patience = patience(deadlines, time::Instant::now(), self.shared.statement_timeout);
            let stored = transaction::store(conn, &self.shared, batch.make_contiguous(), (first, patience));
            let stop = match stored.await {
                Ok(stored) => {
                    tracing::debug!(
                        retries = attempt,
                        waited_ms = waited.as_millis(),
                        took_ms = began.elapsed().as_millis(),
                        "stored"
                    );
                    return self.answer(batch, stored);
                }
                Err(stop) => stop,
            };
            if conn.batch("taking a transaction back", "ROLLBACK").await.is_err() {
                self.conn = None;
            }
            if let Stop::Fault(fault) = &stop
                && fault.is_of_connection()
            {
                self.conn = None;
            }
            match stop {
                Stop::Keys(keys) => {
                    if let Some(first) = batch.front_mut() {
                        first.keys.extend(keys);
                    }
                }
                Stop::Fault(fault) if self.conn.is_none() => {
                    let error = Error::from(fault);
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        transaction = name,
                        "the connection was lost before the commit"
                    );
                    return self.lost(batch);
                }
                Stop::Fault(fault) if fault.is_passing() => {
                    tracing::warn!(transaction = name, attempt, "the database has taken a batch back");
                    time::sleep(RETRY_AFTER_MAX.mul_f64(rand::random())).await;
                }
                Stop::Fault(fault) if fault.is_locked_out() => {
                    tracing::warn!(transaction = name, "a batch has waited in vain for what it needs");
                    return self.locked_out(batch, &fault);
                }
                Stop::Fault(fault) if patience.is_some() && fault.is_out_of_time() => {
                    let proposals = batch.len();
                    tracing::warn!(
                        transaction = name,
                        proposals,
                        "a batch took longer than any of its callers waited"
                    );
                    return refuse_all(batch, NotWritten::Late);
                }
                Stop::Fault(fault) if batch.len() > 1 => {
                    log(fault, batch.len());
                    self.alone = batch.len();
                    return self.put_back(batch);
                }
                Stop::Fault(fault) => {
                    log(fault, batch.len());
                    return refuse_all(batch, NotWritten::Failed);
                }
                Stop::Commit(fault) => {
                    // Whether it is stored nobody knows; the connection is no more.
                    self.conn = None;
                    log(fault, batch.len());
                    return refuse_all(batch, NotWritten::Failed);
                }
            }
        }
        let said = Said::of("it was tried too often");
        let operation = "committing";
        log(Fault::Database { operation, said }, batch.len());
        if batch.len() > 1 {
            self.alone = batch.len();
            return self.put_back(batch);
        }
        refuse_all(batch, NotWritten::Failed);
    }

    /// The connection was lost before the commit: nothing is stored, and each begins again on another, if it may.
    fn lost(&mut self, batch: VecDeque<Pending>) {
        let mut back = VecDeque::new();
        for mut pending in batch {
            pending.lost += 1;
            if pending.lost > LOST_MAX {
                refuse(pending.reply, NotWritten::Failed);
            } else {
                back.push_back(pending);
            }
        }
        self.put_back(back);
    }

    /// Somebody has waited in vain. For keys it was the first: whoever waits by now need not wait for it, and goes before it,
    /// in a batch in which nobody waits. Else it was for a table or row that others have locked: whoever it was is found when
    /// each is tried alone.
    fn locked_out(&mut self, mut batch: VecDeque<Pending>, fault: &Fault) {
        let is_for_keys = fault.is_at(keys::WAITING);
        if batch.len() > 1 && !is_for_keys {
            self.alone = batch.len();
            return self.put_back(batch);
        }
        if is_for_keys {
            self.first = First::Tries;
        }
        let first = batch.pop_front();
        self.put_back(batch);
        let Some(mut first) = first else { return };
        first.locked_out += 1;
        if first.locked_out >= LOCKED_OUT_MAX {
            return refuse(first.reply, NotWritten::LockedOut);
        }
        while self.back.len() < BATCH_MAX
            && let Ok(pending) = self.queue.try_recv()
        {
            self.back.push_back(pending);
        }
        if !is_for_keys {
            // It is not tried together with them again.
            self.alone = self.back.len() + 1;
        }
        self.back.push_back(first);
    }

    fn put_back(&mut self, batch: VecDeque<Pending>) {
        batch
            .into_iter()
            .rev()
            .for_each(|pending| self.back.push_front(pending));
    }

    fn answer(&mut self, batch: VecDeque<Pending>, stored: Stored) {
        let mut back = VecDeque::new();
        for (pending, answer) in batch.into_iter().zip(stored.answers) {
            match answer {
                // Who asked may have left meanwhile.
                Some(answer) => {
                    let _ = pending.reply.send(answer);
                }
                None => back.push_back(pending),
            }
        }
        self.put_back(back);
    }
}

fn log(fault: Fault, proposals: usize) {
    let error = Error::from(fault);
    let error: &dyn std::error::Error = &error;
    tracing::error!(error, proposals, "a batch could not be written");
}

fn refuse_all(batch: VecDeque<Pending>, why: NotWritten) {
    batch.into_iter().for_each(|pending| refuse(pending.reply, why));
}

fn refuse(reply: Reply, why: NotWritten) {
    // Who asked may have left meanwhile.
    let _ = reply.send(Err(Error::unavailable("committing", why)));
}
