//! The thread that writes: decides what has piled up, stores it in one transaction, answers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::answers::Asked;
use super::open::{self, OpenError};
use super::stored::Stored;
use super::{Alive, Closed, effects};
use crate::domain::proposal::{Command, Proposal, SessionCommand, ThreadCommand, UpkeepCommand, Written};
use crate::domain::{Effect, Facts, Time};
use crate::store::batch::{Verdict, judge};
use crate::store::{Committed, Error};

/// Proposals that wait for the writer before more wait in line.
const QUEUE_MAX: usize = 1_024;

/// Proposals of one batch.
const BATCH_MAX: usize = 512;

/// Bytes of bodies of one batch, unless one proposal alone has more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Recent sessions, threads, turns and logs that are kept in memory.
const FACTS_MAX: usize = 20_000;

/// How often the file is opened anew after a failed write.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Committed, Error>>;

/// The writer, as the rest of the store holds it.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    broken: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread is asked to do.
enum Job {
    Commit(Pending),
    /// A test does something to the connection.
    #[cfg(test)]
    Run(Box<dyn FnOnce(&Connection) + Send>),
}

/// A proposal that waits for its answer.
struct Pending {
    proposal: Proposal,
    now: Time,
    reply: Reply,
}

/// A batch could not be stored, or the writer has not recovered from that.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum NotWritten {
    #[error("its batch could not be written")]
    Failed,
    #[error("writes are refused until the database is open again")]
    Refusing,
}

impl Writer {
    /// Opens the database `file` and starts the thread.
    pub(super) fn start(file: &Path, alive: Alive) -> Result<Self, OpenError> {
        let conn = open::writer(file)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let broken = Arc::new(AtomicBool::new(false));
        let state = State {
            file: file.to_owned(),
            conn: Some(conn),
            queue,
            broken: broken.clone(),
            facts: Facts::default(),
            stored: Stored::default(),
            _alive: alive,
        };
        let thread = thread::Builder::new().name("sessiond-writer".to_owned());
        let thread = thread
            .spawn(move || state.run())
            .map_err(|source| OpenError::Io {
                operation: "starting the writer of",
                path: file.to_owned(),
                source,
            })?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            broken,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Decides and stores a proposal.
    pub(super) async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        self.takes_writes()?;
        let (reply, answer) = oneshot::channel();
        self.send(Job::Commit(Pending { proposal, now, reply })).await?;
        // Without an answer the thread has panicked over this batch, and taken it back.
        answer
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("committing", NotWritten::Failed)))
    }

    /// Whether writes are taken.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.takes_writes()?;
        self.queue().map(drop)
    }

    /// Lets a test do something to the connection.
    #[cfg(test)]
    pub(super) async fn run(&self, job: impl FnOnce(&Connection) + Send + 'static) {
        self.send(Job::Run(Box::new(job))).await.unwrap();
    }

    /// Takes no more; the thread ends when it has finished what was taken.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits for the thread to end.
    pub(super) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer thread has panicked");
        }
    }

    fn takes_writes(&self) -> Result<(), Error> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Error::unavailable("committing", NotWritten::Refusing));
        }
        Ok(())
    }

    fn queue(&self) -> Result<mpsc::Sender<Job>, Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or_else(|| Error::unavailable("committing", Closed))
    }

    async fn send(&self, job: Job) -> Result<(), Error> {
        let sent = self.queue()?.send(job).await;
        sent.map_err(|_| Error::unavailable("committing", Closed))
    }
}

/// What the thread owns.
struct State {
    file: PathBuf,
    /// `None` after a failed write, until it is open again.
    conn: Option<Connection>,
    queue: mpsc::Receiver<Job>,
    broken: Arc<AtomicBool>,
    facts: Facts,
    stored: Stored,
    _alive: Alive,
}

/// Proposals judged on top of each other, whose effects are to be stored together.
#[derive(Default)]
struct Round {
    effects: Vec<Effect>,
    answers: Vec<(Reply, Result<Committed, Error>)>,
}

impl State {
    fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            let stored = catch_unwind(AssertUnwindSafe(|| {
                let batch = self.batch(job);
                self.store(batch)
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
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        batch
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
                Ok(heads) => heads.settle(&mut self.stored),
                Err(error) => {
                    self.broken.store(true, Ordering::Release);
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
                Ok(None) => tracing::warn!("the database is not open again: it is in use"),
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
    /// disk, so nothing is built on it: it is copied back and synced first.
    fn reopened(&self) -> Result<Option<Connection>, OpenError> {
        let conn = open::writer(&self.file)?;
        let failed = |source| OpenError::Sqlite {
            operation: "trying to write",
            source,
        };
        let copied = open::checkpoint(&conn).map_err(failed)?;
        open::rewrite_version(&conn).map_err(failed)?;
        Ok(copied.then_some(conn))
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

fn refuse(reply: Reply, why: NotWritten) {
    // Who asked may have left meanwhile.
    let _ = reply.send(Err(Error::unavailable("committing", why)));
}

/// Bytes of the bodies of a proposal.
fn weight(proposal: &Proposal) -> usize {
    match &proposal.command {
        Command::Session(command) => match command {
            SessionCommand::Append { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
            SessionCommand::Save(save) => match &save.written {
                Written::Inline { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
                Written::Staged { .. } => 0,
            },
            SessionCommand::Create { .. }
            | SessionCommand::Update { .. }
            | SessionCommand::Delete { .. }
            | SessionCommand::Undelete { .. }
            | SessionCommand::Fork(_) => 0,
        },
        Command::Thread(command) => match command {
            ThreadCommand::AppendItems { items, .. } => items.iter().map(|item| item.body.len()).sum(),
            ThreadCommand::Create { .. }
            | ThreadCommand::Update { .. }
            | ThreadCommand::Delete { .. }
            | ThreadCommand::StartTurn { .. }
            | ThreadCommand::FinishTurn { .. } => 0,
        },
        Command::Upkeep(command) => match command {
            UpkeepCommand::Stage { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
            UpkeepCommand::ExpireReceipts { .. }
            | UpkeepCommand::Purge { .. }
            | UpkeepCommand::Compact { .. }
            | UpkeepCommand::Sweep { .. } => 0,
        },
    }
}
