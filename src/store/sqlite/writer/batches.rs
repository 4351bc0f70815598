//! The thread itself: it owns the connection that writes, and what is known of its rows.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::{Job, NotWritten, Pending, Reply, Told};
use crate::domain::{Effect, Facts, LogId, Time};
use crate::store::batch::{Verdict, judge, weight};
use crate::store::sqlite::answers::Asked;
use crate::store::sqlite::index::Hints;
use crate::store::sqlite::open::{self, OpenError};
use crate::store::sqlite::{Alive, effects};
use crate::store::stored::Stored;
use crate::store::{Committed, Error, Observers};

/// Proposals of one batch.
const BATCH_MAX: usize = 512;

/// Bytes of bodies of one batch, unless one proposal alone has more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Of the time the last batch took, the part that may be spent on filling the next.
const LINGER_PART: u32 = 8;

/// Recent sessions, threads, turns and logs that are kept in memory.
const FACTS_MAX: usize = 20_000;

/// How often the file is opened anew after a failed write.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// What the thread owns.
pub(super) struct Batches {
    file: PathBuf,
    /// `None` after a failed write, until it is open again.
    conn: Option<Connection>,
    queue: mpsc::Receiver<Job>,
    broken: Arc<AtomicBool>,
    facts: Facts,
    stored: Stored,
    /// What is to be indexed.
    hints: Arc<Hints>,
    observers: Arc<Observers>,
    last: Last,
    /// Whether the write-ahead log may hold what is not on disk: the last write failed by more than a lack of room.
    log_is_doubted: bool,
    _alive: Alive,
}

/// How the last batch went: what is to be expected of the next.
#[derive(Clone, Copy, Default)]
struct Last {
    proposals: usize,
    took: Duration,
}

/// Proposals judged on top of each other, whose effects are to be stored together.
#[derive(Default)]
struct Round {
    effects: Vec<Effect>,
    answers: Vec<(Reply, Result<Committed, Error>)>,
    /// The time of the oldest that was decided.
    oldest: Option<Time>,
}

impl Batches {
    pub(super) fn new(
        file: PathBuf,
        conn: Connection,
        queue: mpsc::Receiver<Job>,
        broken: Arc<AtomicBool>,
        (alive, (hints, observers)): (Alive, Told),
    ) -> Self {
        let (facts, stored) = (Facts::default(), Stored::default());
        Self {
            file,
            conn: Some(conn),
            queue,
            broken,
            facts,
            stored,
            hints,
            observers,
            last: Last::default(),
            log_is_doubted: true,
            _alive: alive,
        }
    }

    /// Takes, decides, stores and answers until nobody can send any more.
    pub(super) fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            self.log_is_doubted = true;
            let stored = catch_unwind(AssertUnwindSafe(|| {
                let batch = self.batch(job);
                let (proposals, began) = (batch.len(), Instant::now());
                let stored = self.store(batch);
                let took = began.elapsed();
                self.last = Last { proposals, took };
                stored
            }));
            let stored = stored.unwrap_or_else(|_| {
                tracing::error!("a batch has panicked");
                Err(NotWritten::Failed)
            });
            if stored.is_err() {
                self.recover();
            }
        }
        self.finish();
    }

    /// What has piled up, `first` first.
    fn batch(&mut self, first: Job) -> VecDeque<Pending> {
        let mut batch = VecDeque::new();
        let mut bytes = 0;
        let mut next = Some(first);
        let until = Instant::now() + self.last.took / LINGER_PART;
        while let Some(job) = next {
            match job {
                Job::Commit(pending) => {
                    bytes += weight(&pending.proposal);
                    batch.push_back(pending);
                }
                #[cfg(test)]
                Job::Run(job) => job(self.conn.as_ref().unwrap()),
            }
            let full = batch.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX;
            next = if full { None } else { self.next(batch.len(), until) };
        }
        batch
    }

    /// One more for a batch of `taken`. Who was answered just now is likely to come back at once: without
    /// a short wait for them, small and large batches take turns, and each waits for the disk as long.
    fn next(&mut self, taken: usize, until: Instant) -> Option<Job> {
        loop {
            match self.queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Empty) if taken < self.last.proposals && Instant::now() < until => {
                    thread::yield_now();
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// Judges and stores a batch; in several rounds where a proposal asks for what only the store knows.
    fn store(&mut self, mut batch: VecDeque<Pending>) -> Result<(), NotWritten> {
        while !batch.is_empty() {
            let round = self.judge(&mut batch);
            if let Err(failure) = self.write(round) {
                batch
                    .into_iter()
                    .for_each(|pending| refuse(pending.reply, failure));
                return Err(failure);
            }
        }
        Ok(())
    }

    fn judge(&mut self, batch: &mut VecDeque<Pending>) -> Round {
        let mut round = Round::default();
        let Some(conn) = &self.conn else {
            // Nothing reaches this while the connection is gone; if it did, it is refused.
            batch
                .drain(..)
                .for_each(|pending| refuse(pending.reply, NotWritten::Refusing));
            return round;
        };
        let mut asked = Asked {
            conn,
            stored: &mut self.stored,
        };
        while let Some(pending) = batch.pop_front() {
            if pending.reply.is_closed() {
                continue;
            }
            let answer = match judge(&mut self.facts, &mut asked, &pending.proposal, pending.now) {
                Ok(Verdict::Decided(effects, committed)) => {
                    round.effects.extend(effects);
                    round.oldest = round.oldest.into_iter().chain([pending.now]).min();
                    Ok(committed)
                }
                Ok(Verdict::Refused(refusal)) => Err(refusal.into()),
                Ok(Verdict::StoreFirst) => {
                    batch.push_front(pending);
                    break;
                }
                Err(error) => Err(error),
            };
            round.answers.push((pending.reply, answer));
        }
        round
    }

    /// Stores a round and answers it: refusals too, for they were decided on what is stored with it.
    fn write(&mut self, round: Round) -> Result<(), NotWritten> {
        let Some(conn) = &self.conn else {
            return Err(NotWritten::Refusing);
        };
        if !round.effects.is_empty() {
            match effects::write(conn, &round.effects, &self.stored) {
                Ok(heads) => {
                    if let Some(oldest) = round.oldest {
                        // Before anybody is answered: who knows of a write may ask whether it is indexed.
                        self.hints.note(heads.sessions(), lost(&round.effects), oldest);
                    }
                    heads.settle(&mut self.stored);
                }
                Err(error) => {
                    self.broken.store(true, Ordering::Release);
                    // It is said when a page is written, before anything is synced.
                    self.log_is_doubted = error.sqlite_error_code() != Some(ErrorCode::DiskFull);
                    tracing::error!(%error, proposals = round.answers.len(), "a batch could not be written");
                    round
                        .answers
                        .into_iter()
                        .for_each(|(reply, _)| refuse(reply, NotWritten::Failed));
                    return Err(NotWritten::Failed);
                }
            }
        }
        if self.stored.is_full(FACTS_MAX) {
            self.forget();
        } else {
            self.facts.settle(FACTS_MAX);
        }
        for (_, answer) in &round.answers {
            if let Ok(committed) = answer {
                self.observers.tell(&committed.changes);
            }
        }
        for (reply, answer) in round.answers {
            // Who asked may have left meanwhile.
            let _ = reply.send(answer);
        }
        Ok(())
    }

    /// Opens the file anew, and refuses whatever comes until that has worked out or the store is closed.
    fn recover(&mut self) {
        self.broken.store(true, Ordering::Release);
        self.forget();
        self.conn = None;
        loop {
            match self.reopened() {
                Ok(Some(conn)) => {
                    tracing::info!("the database is open again");
                    self.conn = Some(conn);
                    self.broken.store(false, Ordering::Release);
                    return;
                }
                Ok(None) => {
                    tracing::warn!(
                        "the database is not open again: a reader, a backup for one, is in the way"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the database is not open again"
                    );
                }
            }
            loop {
                match self.queue.try_recv() {
                    Ok(Job::Commit(pending)) => refuse(pending.reply, NotWritten::Refusing),
                    #[cfg(test)]
                    Ok(Job::Run(_)) => {}
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            thread::sleep(REOPEN_EVERY);
        }
    }

    /// A connection that can write. What the write-ahead log holds after a failed sync may not be on
    /// disk, so nothing is built on it: it is copied back and synced first, for which readers have to let go of it. Where
    /// there was no room for a page, everything that was committed is on disk, and nobody has to be waited for.
    fn reopened(&self) -> Result<Option<Connection>, OpenError> {
        let conn = open::writer(&self.file)?;
        let failed = |source| OpenError::Sqlite {
            operation: "trying to write",
            source,
        };
        let may_go_on = !self.log_is_doubted || open::checkpoint(&conn).map_err(failed)?;
        open::rewrite_version(&conn).map_err(failed)?;
        Ok(may_go_on.then_some(conn))
    }

    fn forget(&mut self) {
        self.facts = Facts::default();
        self.stored = Stored::default();
    }

    fn finish(self) {
        let Some(conn) = self.conn else { return };
        match open::checkpoint(&conn) {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the write-ahead log stays: a reader is in the way"),
            Err(error) => tracing::warn!(%error, "the write-ahead log stays"),
        }
        if let Err((_, error)) = conn.close() {
            tracing::warn!(%error, "the database could not be closed");
        }
    }
}

/// Logs that have lost entries.
fn lost(effects: &[Effect]) -> impl Iterator<Item = LogId> {
    effects.iter().filter_map(|effect| {
        if let Effect::DropRows { log, .. } | Effect::RemoveLog(log) = effect {
            Some(*log)
        } else {
            None
        }
    })
}

fn refuse(reply: Reply, why: NotWritten) {
    // Who asked may have left meanwhile.
    let _ = reply.send(Err(Error::unavailable("committing", why)));
}
