//! Lanes: tasks that write, each over a connection of its own. A proposal goes to the lane of its main name, so that
//! calls on one session meet in one batch.
//!
//! A lane takes what has piled up, and decides and stores it in one transaction (see [`transaction`]). What cannot have
//! its keys now is the first of the next batch, where it waits for them. A batch that the database refuses is tried
//! again, each proposal alone, so that none fails for another. Nothing is kept from one batch to the next: another
//! replica may have written.
//!
//! A proposal whose caller has left before its batch begins is dropped. The statements of a batch may take as long as the
//! most patient of its callers waits: one who is hasty ends nothing for the others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time;

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

mod choice;
mod transaction;

use choice::lane_of;
use transaction::{Stop, Stored};

/// Proposals that wait for a lane before more wait in line.
const QUEUE_MAX: usize = 1_024;

/// Proposals of one batch: each has some keys, and the database room for so many.
const BATCH_MAX: usize = 128;

/// Bytes of bodies of one batch, unless one proposal alone has more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How often a transaction is tried again that the database has taken back, or that learned of further keys.
const RETRIES_MAX: u32 = 16;

/// How often a proposal waits in vain for its keys before it is refused.
const LOCKED_OUT_MAX: u32 = 3;

/// How long a statement may take beyond the deadlines of all who wait: each call is to end by its own deadline, not by an
/// answer of the database.
const BEYOND_DEADLINES: Duration = Duration::from_millis(50);

/// How long after a failure the first attempt to connect again is made; each further one waits twice as long.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);

/// The longest of these waits.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Committed, Error>>;

/// The lanes, as the rest of the store holds them.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
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
        let lane = |conn| {
            let (jobs, queue) = mpsc::channel(QUEUE_MAX);
            let broken = Arc::new(AtomicBool::new(false));
            let worker = Worker {
                conn: Some(conn),
                queue,
                back: VecDeque::new(),
                broken: broken.clone(),
                shared: shared.clone(),
                alone: 0,
                _alive: alive.clone(),
            };
            tokio::spawn(worker.run());
            Lane {
                jobs: Mutex::new(Some(jobs)),
                broken,
            }
        };
        Self {
            lanes: conns.into_iter().map(lane).collect(),
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

    /// Takes no more; the lanes end when they have finished what was taken.
    pub(super) fn close(&self) {
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
    /// `None` after a failure, until there is another one.
    conn: Option<Conn>,
    queue: mpsc::Receiver<Pending>,
    /// What was taken and is not decided yet; it comes before the queue.
    back: VecDeque<Pending>,
    broken: Arc<AtomicBool>,
    shared: Arc<Shared>,
    /// So many proposals are tried alone.
    alone: usize,
    _alive: Alive,
}

impl Worker {
    /// Takes, decides, stores and answers until nobody can send any more.
    async fn run(mut self) {
        loop {
            if self.back.is_empty() {
                let Some(pending) = self.queue.recv().await else {
                    return;
                };
                self.back.push_back(pending);
            }
            let batch = self.batch();
            self.store(batch).await;
            if self.conn.as_ref().is_none_or(Conn::is_closed) {
                self.recover().await;
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
        let began = Instant::now();
        for attempt in 0..=RETRIES_MAX {
            batch.retain(|pending| !pending.reply.is_closed());
            if batch.is_empty() {
                return;
            }
            let Some(conn) = self.conn.as_ref() else {
                return refuse_all(batch, NotWritten::Refusing);
            };
            let deadlines = batch.iter().map(|pending| pending.deadline);
            let patience = patience(deadlines, time::Instant::now(), self.shared.statement_timeout);
            let stored = transaction::store(conn, &self.shared, batch.make_contiguous(), patience).await;
            let stop = match stored {
                Ok(stored) => {
                    tracing::debug!(
                        transaction = "commit",
                        proposals = batch.len(),
                        retries = attempt,
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
            match stop {
                Stop::Keys(keys) => {
                    if let Some(first) = batch.front_mut() {
                        first.keys.extend(keys);
                    }
                }
                Stop::Fault(fault) if self.conn.is_some() && fault.is_passing() => {}
                Stop::Fault(fault) if self.conn.is_some() && fault.is_locked_out() => {
                    return self.locked_out(batch, &fault);
                }
                Stop::Fault(fault) if patience.is_some() && fault.is_out_of_time() => {
                    let proposals = batch.len();
                    tracing::warn!(proposals, "a batch took longer than any of its callers waited");
                    return refuse_all(batch, NotWritten::Late);
                }
                Stop::Fault(fault) if self.conn.is_some() && batch.len() > 1 => {
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
        refuse_all(batch, NotWritten::Failed);
    }

    /// Somebody has waited in vain. For keys it was the first: whoever waits by now need not wait for it, and goes before it.
    /// Else it was for a table or row that others have locked: whoever it was is found when each is tried alone.
    fn locked_out(&mut self, mut batch: VecDeque<Pending>, fault: &Fault) {
        if batch.len() > 1 && !fault.is_at(keys::WAITING) {
            self.alone = batch.len();
            return self.put_back(batch);
        }
        let first = batch.pop_front();
        self.put_back(batch);
        let Some(mut first) = first else { return };
        first.locked_out += 1;
        if first.locked_out >= LOCKED_OUT_MAX {
            tracing::warn!("a proposal has waited in vain for what it needs");
            return refuse(first.reply, NotWritten::LockedOut);
        }
        while self.back.len() < BATCH_MAX
            && let Ok(pending) = self.queue.try_recv()
        {
            self.back.push_back(pending);
        }
        if !fault.is_at(keys::WAITING) {
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

    /// Connects anew, and refuses whatever comes until that has worked out or the store is closed.
    async fn recover(&mut self) {
        self.broken.store(true, Ordering::Release);
        self.conn = None;
        let mut wait = RECONNECT_AFTER;
        loop {
            let shared = &self.shared;
            match Conn::connect(&shared.url, &shared.connector, &shared.settings).await {
                Ok(conn) => {
                    tracing::info!("the database can be written to again");
                    self.conn = Some(conn);
                    self.broken.store(false, Ordering::Release);
                    return;
                }
                Err(fault) => {
                    let error = Error::from(fault);
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the database cannot be written to");
                }
            }
            refuse_all(std::mem::take(&mut self.back), NotWritten::Refusing);
            loop {
                match self.queue.try_recv() {
                    Ok(pending) => refuse(pending.reply, NotWritten::Refusing),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RECONNECT_AFTER_MAX);
        }
    }
}

/// How long a statement may take for callers who wait until then; `None`: as long as any may.
fn patience(
    deadlines: impl IntoIterator<Item = Option<time::Instant>>,
    now: time::Instant,
    statement_timeout: Duration,
) -> Option<Duration> {
    let mut last = now;
    for deadline in deadlines {
        last = last.max(deadline?);
    }
    let patience = last.duration_since(now) + BEYOND_DEADLINES;
    (patience < statement_timeout).then_some(patience)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_patient_says_how_long_a_batch_may_take() {
        let now = time::Instant::now();
        let within = |millis: &[u64]| {
            let deadlines = millis.iter().map(|millis| match millis {
                0 => None,
                millis => Some(now + Duration::from_millis(*millis)),
            });
            let found = patience(deadlines.collect::<Vec<_>>(), now, Duration::from_secs(30));
            found.map(|patience| (patience - BEYOND_DEADLINES).as_millis())
        };
        assert_eq!(within(&[20, 700, 100]), Some(700));
        assert_eq!(within(&[20, 0]), None, "somebody waits for as long as it takes");
        assert_eq!(within(&[20, 40_000]), None, "no longer than any statement");
    }
}
