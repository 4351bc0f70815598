//! SnapshotFromEngine with one new message, on the replica that holds the engine and on another one: the difference is
//! the hop, held against a call that is only echoed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use sessiond::client::engine::{Engine, Memory};
use sessiond::pb::client as pb;

use super::{MESSAGES, Replicas};
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{Latencies, median};
use crate::report::{Table, ms, ratio};
use crate::snapshot::{self, THREAD};
use crate::{Plan, rows};

/// An engine that answers at once, and a client of one of the replicas.
struct Asker {
    memory: Arc<Memory>,
    client: Sessions,
    taken: Vec<Duration>,
}

impl Asker {
    /// Takes a snapshot that has one message more.
    async fn ask(&mut self) -> Result<()> {
        self.memory.say(THREAD, rows::message(self.taken.len()));
        let start = Instant::now();
        snapshot::snapshot(&mut self.client, None).await?;
        self.taken.push(start.elapsed());
        Ok(())
    }
}

/// An engine with a thread that was saved, attached to the first replica.
async fn engine(replicas: &Replicas) -> Result<(Engine, Arc<Memory>)> {
    let (engine, memory) = snapshot::holding(replicas.address(0), MESSAGES).await?;
    snapshot::snapshot(&mut replicas.client(0), None).await?;
    Ok((engine, memory))
}

pub(super) async fn measure(plan: Plan, one: &Replicas, three: &Replicas) -> Result<Table> {
    let bare = Child::bare(plan.workers)?;
    let mut echo = client::sessions(bare.address()).await?;
    let (engine_of_one, memory_of_one) = engine(one).await?;
    let (engine_of_three, memory_of_three) = engine(three).await?;
    let asker = |memory: &Arc<Memory>, client| Asker {
        memory: memory.clone(),
        client,
        taken: Vec::new(),
    };
    let mut askers = [
        asker(&memory_of_one, one.client(0)),
        asker(&memory_of_three, three.client(0)),
        asker(&memory_of_three, three.client(1)),
    ];
    let mut echoes = Vec::new();
    // The first round opens what stays open.
    for round in 0..=plan.calls() {
        for asker in &mut askers {
            asker.ask().await?;
        }
        let start = Instant::now();
        echo.append_entries(pb::AppendEntriesRequest::default()).await?;
        echoes.push(start.elapsed());
        if round == 0 {
            askers.iter_mut().for_each(|asker| asker.taken.clear());
            echoes.clear();
        }
    }
    engine_of_one.leave().await;
    engine_of_three.leave().await;

    let [alone, here, elsewhere] = askers.map(|asker| asker.taken);
    let seconds = |taken: &Duration| taken.as_secs_f64();
    let hops = here
        .iter()
        .zip(&elsewhere)
        .map(|(here, there)| seconds(there) - seconds(here));
    let hop = median(hops);
    let in_echoes = hop / median(echoes.iter().map(seconds));
    let mut table = Table::new(
        "SnapshotFromEngine of one new message, one call after another, on PostgreSQL (fsync on)",
        &["called", "median", "p99", "the hop, median", "in echoes"],
    );
    let mut row = |called: &str, taken: Vec<Duration>, hop: Option<(f64, f64)>| -> Result<()> {
        let taken = Latencies::new(taken)?;
        let (hop, in_echoes) = match hop {
            Some((hop, in_echoes)) => (format!("{:.2} ms", hop * 1e3), ratio(in_echoes)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        table.row(vec![
            called.to_owned(),
            ms(taken.quantile(0.5)),
            ms(taken.quantile(0.99)),
            hop,
            in_echoes,
        ]);
        Ok(())
    };
    row("the only replica", alone, None)?;
    row("the engine's replica of three", here, None)?;
    row("another one of three", elsewhere, Some((hop, in_echoes)))?;
    row("a bare echo", echoes, None)?;
    Ok(table)
}
