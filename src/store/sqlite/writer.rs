//! The thread that writes: decides what has piled up, stores it in one transaction, answers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

#[cfg(test)]
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::index::Hints;
use super::open::{self, OpenError};
use super::{Alive, Closed};
use crate::domain::{Proposal, Time};
use crate::store::{Committed, Error, Observers};

mod batches;

use batches::Batches;

/// Proposals that wait for the writer before more wait in line.
const QUEUE_MAX: usize = 1_024;

/// Who is told of what was written, before it is answered.
type Told = (Arc<Hints>, Arc<Observers>);

type Reply = oneshot::Sender<Result<Committed, Error>>;

/// The writer, as the rest of the store holds it.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    broken: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread is asked to do.
#[cfg_attr(
    test,
    expect(clippy::large_enum_variant, reason = "outside of tests there is one variant")
)]
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
    pub(super) fn start(file: &Path, alive: Alive, told: Told) -> Result<Self, OpenError> {
        let conn = open::writer(file)?;
        open::check_whole(&conn, file)?;
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let broken = Arc::new(AtomicBool::new(false));
        let batches = Batches::new(file.to_owned(), conn, queue, broken.clone(), (alive, told));
        let thread = thread::Builder::new().name("sessiond-writer".to_owned());
        let thread = thread
            .spawn(move || batches.run())
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
