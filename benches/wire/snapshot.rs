//! SnapshotFromEngine of a thread of 1,000 messages: what is new alone, the whole, and with appends beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sessiond::client::engine::{Engine, Memory, Profile};
use sessiond::client::{Address, Client};
use sessiond::pb::client as pb;
use tokio::task::JoinSet;

use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::Latencies;
use crate::report::{Table, ms};
use crate::{Plan, rows};

/// Messages of the thread at first.
const MESSAGES: usize = 1_000;

/// Messages that are new each time.
const NEW: usize = 10;

/// Appends beside the snapshots.
const IN_FLIGHT: usize = 64;

/// The thread that is asked for.
pub(crate) const THREAD: &str = "bench";

/// An engine in this process that answers at once, with the thread, which has so many messages.
pub(crate) async fn holding(address: &str, messages: usize) -> Result<(Engine, Arc<Memory>)> {
    let address: Address = address.parse()?;
    let client = Client::connect(&address, "").await?;
    let memory = Arc::new(Memory::default());
    let engine = Engine::attach(&client, Profile::named("bench"), memory.clone());
    engine.attached().await?;
    memory.add(pb::Thread {
        thread_id: THREAD.to_owned(),
        ..Default::default()
    });
    (0..messages).for_each(|number| memory.say(THREAD, rows::message(number)));
    engine.changed(THREAD).await;
    until_open(&client).await?;
    Ok((engine, memory))
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let (engine, memory) = holding(server.address(), MESSAGES).await?;
    let mut sessions = client::sessions(server.address()).await?;
    snapshot(&mut sessions, None).await?;

    let mut table = Table::new(
        "SnapshotFromEngine of a thread of 1,000 messages of 1 KB, one call after another",
        &["what the engine sends", "beside it", "median", "p99"],
    );
    let mut row = |what: &str, beside: &str, taken: &Latencies| {
        table.row(vec![
            what.to_owned(),
            beside.to_owned(),
            ms(taken.quantile(0.5)),
            ms(taken.quantile(0.99)),
        ]);
    };
    let taken = deltas(plan, &memory, &mut sessions).await?;
    row("10 new messages", "nothing", &taken);
    let mut whole = Vec::new();
    for number in 0..plan.calls() / 4 {
        let start = Instant::now();
        snapshot(&mut sessions, Some(format!("whole-{number}"))).await?;
        whole.push(start.elapsed());
        forget(&mut sessions, &format!("whole-{number}")).await?;
    }
    row(
        "all of them, for a new session",
        "nothing",
        &Latencies::new(whole)?,
    );
    let stop = Arc::new(AtomicBool::new(false));
    let mut appends = appending(&sessions, &stop).await?;
    // The session of the thread is the one it was saved to last.
    snapshot(&mut sessions, Some("bench".to_owned())).await?;
    let taken = deltas(plan, &memory, &mut sessions).await?;
    stop.store(true, Ordering::Relaxed);
    while let Some(lane) = appends.join_next().await {
        lane??;
    }
    row("10 new messages", "64 appends in flight", &taken);
    engine.leave().await;
    Ok(vec![table])
}

/// Snapshots with a few new messages each.
async fn deltas(plan: Plan, memory: &Memory, sessions: &mut Sessions) -> Result<Latencies> {
    let mut taken = Vec::new();
    for _ in 0..plan.calls() {
        (0..NEW).for_each(|number| memory.say(THREAD, rows::message(number)));
        let start = Instant::now();
        snapshot(sessions, None).await?;
        taken.push(start.elapsed());
    }
    Latencies::new(taken)
}

/// Takes a snapshot of the thread.
pub(crate) async fn snapshot(sessions: &mut Sessions, session_id: Option<String>) -> Result<()> {
    let request = pb::SnapshotFromEngineRequest {
        thread_id: Some(THREAD.to_owned()),
        session_id,
        ..Default::default()
    };
    sessions.snapshot_from_engine(request).await?;
    Ok(())
}

/// A thread is saved to a handful of sessions at most.
async fn forget(sessions: &mut Sessions, session_id: &str) -> Result<()> {
    let request = pb::DeleteSessionRequest {
        session_id: session_id.to_owned(),
        force: true,
        ..Default::default()
    };
    sessions.delete_session(request).await?;
    Ok(())
}

/// Waits until the service has heard of the thread.
async fn until_open(client: &Client) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let request = pb::GetThreadRequest {
            thread_id: THREAD.to_owned(),
            ..Default::default()
        };
        match client.threads().get_thread(request).await {
            Ok(_) => return Ok(()),
            Err(status) if Instant::now() > deadline => return Err(status).context("the thread"),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Appends to sessions of their own until told to stop.
async fn appending(sessions: &Sessions, stop: &Arc<AtomicBool>) -> Result<JoinSet<Result<()>>> {
    let mut lanes = JoinSet::new();
    for session_id in client::create_sessions(sessions, IN_FLIGHT).await? {
        let (mut client, stop) = (sessions.clone(), stop.clone());
        lanes.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                client::append(&mut client, session_id.clone(), vec![rows::entry(number)]).await?;
                number += 1;
            }
            Ok(())
        });
    }
    Ok(lanes)
}
