//! The ceiling of the store: a thread that inserts the same rows into a database of the same shape.
//!
//! As many producers as there are clients hand it rows and wait; it takes what has come together, inserts it in one
//! transaction, commits, and answers. No session is read, nothing is decided, no gRPC.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use crate::load::{Lane, Rate, Span, closed_loop};
use crate::{child, rows};

/// Rows of one transaction at most.
const BATCH_ROWS_MAX: usize = 1_024;

/// The tables of the store that an append writes to, with their indexes.
const SCHEMA: &str = "
PRAGMA synchronous = FULL;
PRAGMA cache_size = -65536;
PRAGMA journal_mode = WAL;
PRAGMA wal_autocheckpoint = 16384;
CREATE TABLE entries (
    log BLOB NOT NULL, seq INTEGER NOT NULL, entry_id TEXT NOT NULL, kind INTEGER NOT NULL, flags INTEGER NOT NULL,
    create_time INTEGER NOT NULL, preview TEXT, tally BLOB NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (log, seq)
) STRICT;
CREATE INDEX entries_by_id ON entries (log, entry_id);";

/// A row on its way, and who waits for it.
struct Job {
    session: usize,
    entry_id: String,
    body: Arc<[u8]>,
    stored: oneshot::Sender<()>,
}

/// A client that has one row on its way.
struct Producer {
    session: usize,
    body: Arc<[u8]>,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Lane for Producer {
    async fn call(&mut self) -> Result<()> {
        let (stored, done) = oneshot::channel();
        let job = Job {
            session: self.session,
            entry_id: rows::fresh_id(),
            body: self.body.clone(),
            stored,
        };
        self.jobs.send(job).ok().context("the writer ended")?;
        Ok(done.await?)
    }
}

/// The rate at which so many producers get their rows stored, over so many sessions.
pub(crate) async fn measure(producers: usize, sessions: usize, span: Span) -> Result<Rate> {
    let folder = child::folder()?;
    let connection = Connection::open(folder.path().join("bare.db"))?;
    connection.execute_batch(SCHEMA)?;
    connection.set_prepared_statement_cache_capacity(16);
    let (jobs, queue) = mpsc::unbounded_channel();
    let writer: JoinHandle<Result<()>> = std::thread::spawn(move || write(connection, queue, sessions));
    let body: Arc<[u8]> = prost::Message::encode_to_vec(&rows::message(0)).into();
    let lanes = (0..producers).map(|producer| Producer {
        session: producer % sessions,
        body: body.clone(),
        jobs: jobs.clone(),
    });
    let rate = closed_loop(lanes.collect(), span).await;
    drop(jobs);
    let ended = tokio::task::spawn_blocking(|| writer.join()).await?;
    ensure!(ended.is_ok_and(|ended| ended.is_ok()), "the writer failed");
    rate
}

fn write(mut connection: Connection, mut queue: mpsc::UnboundedReceiver<Job>, sessions: usize) -> Result<()> {
    let logs: Vec<uuid::Uuid> = (0..sessions).map(|_| uuid::Uuid::now_v7()).collect();
    let mut seqs = vec![0_i64; sessions];
    let mut batch = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH_ROWS_MAX {
            let Ok(next) = queue.try_recv() else { break };
            batch.push(next);
        }
        let transaction = connection.transaction()?;
        for job in &batch {
            let seq = &mut seqs[job.session];
            *seq += 1;
            let insert = "INSERT INTO entries VALUES (?, ?, ?, 1, 17, ?, NULL, ?, ?, ?)";
            transaction.prepare_cached(insert)?.execute(params![
                logs[job.session].as_bytes(),
                *seq,
                job.entry_id,
                1_700_000_000_000_000_000_i64,
                [0_u8; 24],
                [0_u8; 16],
                &job.body[..],
            ])?;
        }
        transaction.commit()?;
        for job in batch.drain(..) {
            // A producer that does not wait any longer has what it wanted.
            let _ = job.stored.send(());
        }
    }
    Ok(())
}
