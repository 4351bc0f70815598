//! The ceilings: the database alone, asked by a plain client for the rows that the store writes and reads.
//!
//! An insert is one statement, and so one commit; nothing is read and nothing decided. The rows are those of a session
//! that the store has written, under other keys, and the table is empty at first.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::cluster::{self, Cluster};
use super::{LANES, READERS, Replicas, SESSIONS};
use crate::load::{Lane, Rate, Span, closed_loop};
use crate::rows;

/// Rows of one commit, as many as a lane of the store takes at most.
pub(super) const BATCH_ROWS: usize = 128;

/// Batches on their way on one connection: the next one is there when the last one ends.
const PIPELINED: usize = 2;

/// The store's table of entries, with its key alone and with its second index as well.
const TABLES: &str = "
CREATE TABLE entries (
    log bytea NOT NULL, seq bigint NOT NULL, entry_id text COLLATE \"C\" NOT NULL, kind bigint NOT NULL,
    flags bigint NOT NULL, create_time bigint NOT NULL, preview bytea, tally bytea NOT NULL,
    digest bytea NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE TABLE indexed (LIKE entries INCLUDING ALL);
CREATE INDEX indexed_by_id ON indexed (log, entry_id);";

/// How rows are inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insert {
    /// One a commit, one commit after another.
    Single,
    /// A batch a commit, on as many connections as a replica has lanes.
    Batches,
    /// The same into a table that has the store's second index.
    IndexedBatches,
}

impl Insert {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Single, Self::Batches, Self::IndexedBatches];

    fn table(self) -> &'static str {
        match self {
            Self::Single | Self::Batches => "entries",
            Self::IndexedBatches => "indexed",
        }
    }

    /// Rows of a commit, connections, and commits on their way on each.
    pub(super) fn shape(self) -> (usize, usize, usize) {
        match self {
            Self::Single => (1, 1, 1),
            Self::Batches | Self::IndexedBatches => (BATCH_ROWS, LANES, PIPELINED),
        }
    }
}

/// What is inserted beside a row's key.
struct Row {
    kind: i64,
    flags: i64,
    create_time: i64,
    preview: Option<Vec<u8>>,
    tally: Vec<u8>,
    digest: Vec<u8>,
    body: Vec<u8>,
}

/// A database that has the tables and nothing else.
pub(super) struct Bare {
    clients: Vec<Arc<Client>>,
    rows: Arc<[Row]>,
}

impl Bare {
    /// One in `cluster`, and the rows of a session of `replicas`.
    pub(super) async fn new(cluster: &Cluster, replicas: &Replicas) -> Result<Self> {
        let store = cluster::connect(&replicas.url).await?;
        let sql = "SELECT e.kind, e.flags, e.create_time, e.preview, e.tally, e.digest, e.body \
            FROM sessions AS s JOIN entries AS e ON e.log = s.log WHERE s.session_id = $1 ORDER BY e.seq";
        let found = store.query(sql, &[&replicas.filled]).await?;
        ensure!(!found.is_empty(), "the session has no rows");
        let row = |row: &tokio_postgres::Row| Row {
            kind: row.get(0),
            flags: row.get(1),
            create_time: row.get(2),
            preview: row.get(3),
            tally: row.get(4),
            digest: row.get(5),
            body: row.get(6),
        };
        let url = cluster.create("bare").await?;
        let mut clients = Vec::new();
        for _ in 0..LANES {
            clients.push(Arc::new(cluster::connect(&url).await?));
        }
        clients[0].batch_execute(TABLES).await?;
        Ok(Self {
            clients,
            rows: found.iter().map(row).collect(),
        })
    }

    /// The rate at which rows get in; latencies are those of a commit.
    pub(super) async fn inserts(&self, insert: Insert, span: Span) -> Result<Rate> {
        let (batch_rows, connections, pipelined) = insert.shape();
        let sql = format!(
            "INSERT INTO {} SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], \
                $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[])",
            insert.table()
        );
        let logs_each = SESSIONS.div_ceil(connections * pipelined);
        let mut lanes = Vec::new();
        for client in &self.clients[..connections] {
            let statement = client.prepare(&sql).await?;
            for _ in 0..pipelined {
                lanes.push(Inserter {
                    client: client.clone(),
                    statement: statement.clone(),
                    rows: self.rows.clone(),
                    batch_rows,
                    logs: (0..logs_each).map(|_| (Uuid::now_v7(), 0)).collect(),
                    next: 0,
                });
            }
        }
        let rate = closed_loop(lanes, span).await?;
        // What is gone need not come to the disk later, when others are measured.
        let truncate = format!("TRUNCATE {}", insert.table());
        self.clients[0].batch_execute(&truncate).await?;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        Ok(Rate {
            per_second: rate.per_second * batch_rows as f64,
            ..rate
        })
    }
}

/// A client that has one commit on its way.
struct Inserter {
    client: Arc<Client>,
    statement: Statement,
    rows: Arc<[Row]>,
    batch_rows: usize,
    /// Logs that it writes to in turn, and how far.
    logs: Vec<(Uuid, i64)>,
    next: usize,
}

impl Lane for Inserter {
    async fn call(&mut self) -> Result<()> {
        let (mut logs, mut seqs, mut ids, mut rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.batch_rows {
            let place = self.next % self.logs.len();
            let (log, seq) = &mut self.logs[place];
            *seq += 1;
            logs.push(log.as_bytes().to_vec());
            seqs.push(*seq);
            ids.push(rows::fresh_id());
            rows.push(&self.rows[self.next % self.rows.len()]);
            self.next += 1;
        }
        self.client
            .execute(
                &self.statement,
                &[
                    &logs,
                    &seqs,
                    &ids,
                    &rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
                    &rows.iter().map(|row| row.flags).collect::<Vec<_>>(),
                    &rows.iter().map(|row| row.create_time).collect::<Vec<_>>(),
                    &rows.iter().map(|row| row.preview.as_deref()).collect::<Vec<_>>(),
                    &rows.iter().map(|row| &row.tally[..]).collect::<Vec<_>>(),
                    &rows.iter().map(|row| &row.digest[..]).collect::<Vec<_>>(),
                    &rows.iter().map(|row| &row.body[..]).collect::<Vec<_>>(),
                ],
            )
            .await?;
        Ok(())
    }
}

/// A read that a client can make of the store's tables by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    /// The entries of a session's log, all columns.
    Entries,
    /// A session's row, with its path and its texts.
    Session,
}

impl Select {
    fn sql(self) -> &'static str {
        match self {
            Self::Entries => "SELECT * FROM entries WHERE log = decode($1, 'hex') AND seq > 0 ORDER BY seq",
            Self::Session => {
                "SELECT * FROM sessions AS s LEFT JOIN logs AS l ON l.log = s.log LEFT JOIN session_texts AS t \
                    ON t.namespace = s.namespace AND t.session_id = s.session_id \
                    WHERE s.namespace = $1 AND s.session_id = $2"
            }
        }
    }

    /// What finds the rows of a session: its log; or its namespace and id.
    fn keys_sql(self) -> &'static str {
        match self {
            Self::Entries => "SELECT encode(log, 'hex') FROM sessions WHERE session_id = $1",
            Self::Session => "SELECT namespace, session_id FROM sessions WHERE session_id = $1",
        }
    }
}

/// The rate of `select` for these sessions, on as many connections as the replicas have for reading, if so many are
/// used. Each read must bring so many rows.
pub(super) async fn selects(
    replicas: &Replicas,
    select: Select,
    (session_ids, rows): (&[String], usize),
    in_flight: usize,
    span: Span,
) -> Result<Rate> {
    let mut ends = Vec::new();
    for _ in 0..in_flight.min(READERS * replicas.count()) {
        let client = Arc::new(cluster::connect(&replicas.url).await?);
        let statement = client.prepare(select.sql()).await?;
        ends.push((client, statement));
    }
    let mut keys: Vec<Vec<String>> = Vec::new();
    for session_id in session_ids {
        let row = ends[0].0.query_one(select.keys_sql(), &[session_id]).await?;
        keys.push((0..row.len()).map(|column| row.get(column)).collect());
    }
    let lanes = (0..in_flight).map(|number| {
        let (client, statement) = ends[number % ends.len()].clone();
        Selector {
            client,
            statement,
            keys: keys.clone(),
            rows,
            next: number,
        }
    });
    closed_loop(lanes.collect(), span).await
}

/// A client that has one read on its way.
struct Selector {
    client: Arc<Client>,
    statement: Statement,
    keys: Vec<Vec<String>>,
    rows: usize,
    next: usize,
}

impl Lane for Selector {
    async fn call(&mut self) -> Result<()> {
        self.next = (self.next + 1) % self.keys.len();
        let keys = self.keys[self.next].iter();
        let keys: Vec<&(dyn ToSql + Sync)> = keys.map(|key| key as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&self.statement, &keys).await?;
        ensure!(rows.len() == self.rows, "{} rows", rows.len());
        Ok(())
    }
}
