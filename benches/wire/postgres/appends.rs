//! Appends through one replica and through three, beside the database's own inserts.

use anyhow::Result;

use super::bare::{BATCH_ROWS, Bare, Insert};
use super::cluster::Cluster;
use super::{CONNECTIONS, Replicas, SESSIONS, WITHOUT_INDEX};
use crate::Plan;
use crate::append::{self, Load};
use crate::load::{Rate, median_rate, median_ratio};
use crate::report::{Table, count, ms, ratio};
use crate::search;

/// The replicas that are appended through.
struct Ends<'a> {
    one: &'a Replicas,
    three: &'a Replicas,
    /// One replica without a search index.
    plain: &'a Replicas,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    One,
    Three,
    Plain,
}

impl Through {
    fn of<'a>(self, ends: &Ends<'a>) -> &'a Replicas {
        match self {
            Self::One => ends.one,
            Self::Three => ends.three,
            Self::Plain => ends.plain,
        }
    }
}

const CASES: [(Through, Load); 7] = [
    (Through::One, load(1, 1)),
    (Through::Three, load(1, 1)),
    (Through::One, load(64, SESSIONS)),
    (Through::Plain, load(64, SESSIONS)),
    (Through::Three, load(64, SESSIONS)),
    (Through::One, load(64, 1)),
    (Through::Three, load(64, 1)),
];

/// A load over connections that are spread evenly.
pub(super) const fn load(in_flight: usize, sessions: usize) -> Load {
    Load {
        in_flight,
        connections: CONNECTIONS,
        sessions,
        request_id: false,
    }
}

/// The rate of appends under `load`, through all replicas in turn.
pub(super) async fn rate(
    plan: Plan,
    replicas: &Replicas,
    session_ids: &[String],
    load: Load,
) -> Result<Rate> {
    append::rate(&replicas.channels, session_ids, load, plan.span()).await
}

/// Waits until the index holds what was written, so that the next load is not charged with it.
pub(super) async fn settled(replicas: &Replicas) -> Result<()> {
    search::caught_up(&mut replicas.client(0)).await?;
    Ok(())
}

pub(super) async fn measure(
    plan: Plan,
    bare: &Bare,
    cluster: &Cluster,
    one: &Replicas,
    three: &Replicas,
) -> Result<[Table; 2]> {
    let plain = &Replicas::start(plan, cluster, "plain", 1, WITHOUT_INDEX).await?;
    let ends = &Ends { one, three, plain };
    let mut inserts = Insert::ALL.map(|_| Vec::new());
    let mut rates = CASES.map(|_| Vec::new());
    for repetition in 0..plan.repetitions() {
        for (insert, inserts) in Insert::ALL.into_iter().zip(&mut inserts) {
            eprintln!("postgres, repetition {}: {insert:?}", repetition + 1);
            inserts.push(bare.inserts(insert, plan.span()).await?);
        }
        for ((through, load), rates) in CASES.into_iter().zip(&mut rates) {
            eprintln!("postgres, repetition {}: {through:?}, {load:?}", repetition + 1);
            let replicas = through.of(ends);
            rates.push(rate(plan, replicas, &replicas.session_ids, load).await?);
            if through != Through::Plain {
                settled(replicas).await?;
            }
        }
    }
    Ok([ceilings(&inserts), appends(ends, &inserts, &rates)])
}

fn ceilings(inserts: &[Vec<Rate>; 3]) -> Table {
    let mut table = Table::new(
        "Durable inserts of the same rows into the bare database (fsync on, synchronous commits)",
        &[
            "rows a commit",
            "connections",
            "commits on their way on each",
            "second index",
            "rows/s",
            "a commit, p50",
            "p99",
        ],
    );
    for (insert, inserts) in Insert::ALL.into_iter().zip(inserts) {
        let (rows, connections, pipelined) = insert.shape();
        let rate = median_rate(inserts);
        table.row(vec![
            rows.to_string(),
            connections.to_string(),
            pipelined.to_string(),
            if insert == Insert::IndexedBatches {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            count(rate.per_second),
            ms(rate.p50),
            ms(rate.p99),
        ]);
    }
    table
}

fn appends(ends: &Ends<'_>, inserts: &[Vec<Rate>; 3], rates: &[Vec<Rate>; 7]) -> Table {
    let [single, batches, _] = inserts;
    let batched = format!("ratio to {BATCH_ROWS} rows a commit");
    let mut table = Table::new(
        "Durable appends of 1 KB on PostgreSQL, one a call (fsync on, synchronous commits)",
        &[
            "replicas",
            "in flight",
            "sessions",
            "search index",
            "appends/s",
            "p50",
            "p99",
            "ratio to one row a commit",
            &batched,
        ],
    );
    for ((through, load), rates) in CASES.into_iter().zip(rates) {
        let rate = median_rate(rates);
        table.row(vec![
            through.of(ends).count().to_string(),
            load.in_flight.to_string(),
            load.sessions.to_string(),
            if through == Through::Plain { "no" } else { "yes" }.to_owned(),
            count(rate.per_second),
            ms(rate.p50),
            ms(rate.p99),
            ratio(median_ratio(rates, single)),
            ratio(median_ratio(rates, batches)),
        ]);
    }
    table
}
