//! What ten times as many clients and ten times as many rows change on PostgreSQL.

use anyhow::Result;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sessiond::pb::client as pb;

use super::bare::{Bare, Insert};
use super::cluster::Cluster;
use super::reads::Reader;
use super::{MESSAGES, Replicas, WITHOUT_INDEX, appends};
use crate::client::{self, Sessions};
use crate::fork::thousands;
use crate::list::Getter;
use crate::load::{Lane, Latencies, median_rate, median_ratio, one_by_one};
use crate::report::{Table, count, ms, ratio};
use crate::{Plan, rows};

/// Clients at first and then, each with a session of its own.
const CLIENTS: [usize; 2] = [64, 640];

/// Rows of entries at first and then.
const ROWS: [usize; 2] = [20_000, 200_000];

/// Sessions that are written at once to get there.
const FILLING: usize = 4;

/// For so many other calls one read of a whole session.
const READS_PER: usize = 10;

/// Appends over three replicas by ten times as many clients.
pub(super) async fn clients(plan: Plan, bare: &Bare, three: &Replicas) -> Result<Table> {
    let most = CLIENTS[CLIENTS.len() - 1];
    let session_ids = client::create_sessions(&three.client(0), most).await?;
    // What is said first in a session names it, too: that is not measured.
    let first = session_ids.iter().map(|session_id| {
        let mut client = three.client(0);
        async move { client::append(&mut client, session_id.clone(), vec![rows::entry(0)]).await }
    });
    stream::iter(first)
        .buffer_unordered(FILLING)
        .try_collect::<Vec<_>>()
        .await?;
    let mut measured = CLIENTS.map(|_| (Vec::new(), Vec::new()));
    for repetition in 0..plan.repetitions() {
        for (clients, (rates, ceilings)) in CLIENTS.into_iter().zip(&mut measured) {
            eprintln!("postgres, repetition {}: {clients} clients", repetition + 1);
            ceilings.push(bare.inserts(Insert::Batches, plan.span()).await?);
            let load = appends::load(clients, clients);
            rates.push(appends::rate(plan, three, &session_ids, load).await?);
            appends::settled(three).await?;
        }
    }
    let mut table = Table::new(
        "Ten times as many clients of three replicas on PostgreSQL (fsync on)",
        &[
            "in flight",
            "appends/s",
            "p50",
            "p99",
            "bare batched rows/s",
            "ratio",
        ],
    );
    for (clients, (rates, ceilings)) in CLIENTS.into_iter().zip(&measured) {
        let rate = median_rate(rates);
        table.row(vec![
            clients.to_string(),
            count(rate.per_second),
            ms(rate.p50),
            ms(rate.p99),
            count(median_rate(ceilings).per_second),
            ratio(median_ratio(rates, ceilings)),
        ]);
    }
    Ok(table)
}

/// Appends one entry a call to sessions in turn.
struct Appender {
    client: Sessions,
    session_ids: Vec<String>,
    next: usize,
}

impl Lane for Appender {
    async fn call(&mut self) -> Result<()> {
        self.next += 1;
        let request = pb::AppendEntriesRequest {
            session_id: self.session_ids[self.next % self.session_ids.len()].clone(),
            entries: vec![rows::entry(self.next)],
            ..Default::default()
        };
        self.client.append_entries(request).await?;
        Ok(())
    }
}

/// Appends and reads, one call after another, with ten times as many rows in the table.
pub(super) async fn rows(plan: Plan, cluster: &Cluster) -> Result<Table> {
    let replicas = Replicas::start(plan, cluster, "growing", 1, WITHOUT_INDEX).await?;
    let mut table = Table::new(
        "Ten times as many rows on PostgreSQL (fsync on), one replica without a search index, one call after another",
        &[
            "rows of entries",
            "database",
            "append, median",
            "p99",
            "GetSession, median",
            "ReadMessages of 1,000, median",
        ],
    );
    let mut filled = vec![replicas.filled.clone()];
    for rows in ROWS {
        let missing = rows / MESSAGES - filled.len();
        eprintln!("postgres: writing {missing} sessions of {MESSAGES} messages");
        let made = stream::iter(0..missing).map(|_| {
            let mut client = replicas.client(0);
            async move { client::filled_session(&mut client, MESSAGES).await }
        });
        filled.extend(made.buffer_unordered(FILLING).try_collect::<Vec<_>>().await?);
        let bytes = Cluster::stored_bytes(&replicas.url).await?;
        let mut standings = Vec::new();
        for _ in 0..plan.repetitions() {
            standings.push(Standing::taken(plan, &replicas, &filled).await?);
        }
        let median = |part: fn(&Standing) -> &Latencies, share| {
            ms(Latencies::median_of(standings.iter().map(part), share))
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        table.row(vec![
            thousands(rows),
            format!("{} MB", count(bytes as f64 / 1e6)),
            median(|standing| &standing.append, 0.5),
            median(|standing| &standing.append, 0.99),
            median(|standing| &standing.get, 0.5),
            median(|standing| &standing.read, 0.5),
        ]);
    }
    Ok(table)
}

/// What is measured on one number of rows.
struct Standing {
    append: Latencies,
    get: Latencies,
    read: Latencies,
}

impl Standing {
    async fn taken(plan: Plan, replicas: &Replicas, filled: &[String]) -> Result<Self> {
        let mut appender = Appender {
            client: replicas.client(0),
            session_ids: replicas.session_ids.clone(),
            next: 0,
        };
        let mut getter = Getter {
            client: replicas.client(0),
            namespace: String::new(),
            session_ids: filled.to_vec(),
            next: 0,
        };
        let mut reader = Reader {
            client: replicas.client(0),
            session_ids: filled.to_vec(),
            next: 0,
        };
        Ok(Self {
            append: Latencies::new(one_by_one(&mut appender, plan.calls()).await?)?,
            get: Latencies::new(one_by_one(&mut getter, plan.calls()).await?)?,
            read: Latencies::new(one_by_one(&mut reader, plan.calls() / READS_PER).await?)?,
        })
    }
}
