//! Threads that read: each has a connection of its own, and takes a whole transaction at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::open::OpenError;
use super::{Alive, Closed, failed};
use crate::store::Error;

/// Reads that wait for a thread before more wait in line.
const QUEUE_MAX: usize = 1_024;

type Job<S> = Box<dyn FnOnce(&S) + Send>;

/// What one thread reads from.
pub(super) trait Source: Send + 'static {
    /// Begins a transaction.
    fn begin(&self) -> Result<(), rusqlite::Error>;

    /// Ends the transaction; one that an error has ended already is no trouble.
    fn end(&self);
}

impl Source for Connection {
    fn begin(&self) -> Result<(), rusqlite::Error> {
        self.prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute(()))
            .map(drop)
    }

    fn end(&self) {
        if !self.is_autocommit() {
            let _ = self
                .prepare_cached("COMMIT")
                .and_then(|mut commit| commit.execute(()));
        }
    }
}

/// The readers, as the rest of the store holds them.
#[derive(Debug)]
pub(super) struct Readers<S = Connection> {
    jobs: Mutex<Option<mpsc::Sender<Job<S>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<S: Source> Readers<S> {
    /// Starts a thread for each source; `file` is what they read.
    pub(super) fn start(
        name: &str,
        file: &Path,
        sources: impl IntoIterator<Item = Result<S, OpenError>>,
        alive: &Alive,
    ) -> Result<Self, OpenError> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            let (source, queue, alive) = (source?, queue.clone(), alive.clone());
            let thread = thread::Builder::new().name(format!("sessiond-{name}-{number}"));
            let thread = thread.spawn(move || {
                serve(&source, &queue);
                // What it has to put away is put away before it counts as ended.
                drop((source, alive));
            });
            threads.push(thread.map_err(|source| OpenError::Io {
                operation: "starting a reader of",
                path: file.to_owned(),
                source,
            })?);
        }
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            threads: Mutex::new(threads),
        })
    }

    /// Runs `job` in one transaction that reads.
    pub(super) async fn read<T, F>(&self, operation: &'static str, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&S) -> Result<T, Error> + Send + 'static,
    {
        let closed = || Error::unavailable(operation, Closed);
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let in_transaction: Job<S> = Box::new(move |source| {
            if !reply.is_closed() {
                // Who asked may have left meanwhile.
                let _ = reply.send(transaction(source, operation, job));
            }
        });
        jobs.ok_or_else(closed)?
            .send(in_transaction)
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Takes no more; the threads end when they have finished what was taken.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits for the threads to end.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a reader thread has panicked");
            }
        }
    }
}

/// Takes jobs until nobody can send any more. One thread waits at the queue, the others for its lock.
fn serve<S: Source>(source: &S, queue: &Mutex<mpsc::Receiver<Job<S>>>) {
    loop {
        let job = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(job) = job else { return };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(source)));
        if outcome.is_err() {
            tracing::error!("a read has panicked");
            source.end();
        }
    }
}

fn transaction<S: Source, T>(
    source: &S,
    operation: &'static str,
    job: impl FnOnce(&S) -> Result<T, Error>,
) -> Result<T, Error> {
    source.begin().map_err(failed(operation))?;
    let outcome = job(source);
    source.end();
    outcome
}
