//! Resume: how soon it says something, and how fast an engine is seeded beside a bare stream under the same window.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sessiond::pb::client as pb;
use sessiond::pb::client::attach_request::Frame as Up;
use sessiond::pb::client::attach_response::Frame as Down;
use sessiond::pb::client::engine_service_client::EngineServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Plan;
use crate::bare::SEED_MESSAGES;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{Latencies, median};
use crate::report::{Table, count, ms, ratio};

/// Lengths of the sessions that are resumed.
const LENGTHS: [usize; 2] = [10, SEED_MESSAGES];

/// The name of the engine.
pub(crate) const ENGINE: &str = "bench";

/// Seeds of a figure.
const SEEDS: usize = 3;

/// An engine that takes seeds and does nothing with them.
pub(crate) struct Engine {
    up: mpsc::Sender<pb::AttachRequest>,
    down: Streaming<pb::AttachResponse>,
}

impl Engine {
    pub(crate) async fn attach(address: &str) -> Result<Self> {
        let channel = client::connect(address, 1)
            .await?
            .pop()
            .context("one connection")?;
        let (up, frames) = mpsc::channel(256);
        let hello = pb::Hello {
            engine_id: ENGINE.to_owned(),
            accepts_resume: true,
            ..Default::default()
        };
        up.send(frame(Up::Hello(hello))).await?;
        let answer = EngineServiceClient::new(channel)
            .attach(ReceiverStream::new(frames))
            .await?;
        let mut engine = Self {
            up,
            down: answer.into_inner(),
        };
        match engine.next().await? {
            Down::Welcome(_) => Ok(engine),
            other => bail!("the first frame is {other:?}"),
        }
    }

    async fn next(&mut self) -> Result<Down> {
        let frame = self.down.message().await?.context("the stream ended")?;
        frame.frame.context("a frame of a known kind")
    }

    /// Takes one seed; from its begin to its commit.
    async fn seeded(&mut self) -> Result<Duration> {
        let (mut start, mut held) = (Instant::now(), 0);
        loop {
            match self.next().await? {
                Down::SeedBegin(_) => start = Instant::now(),
                Down::SeedBatch(batch) => {
                    held += batch.messages.len() as u64;
                    let ack = pb::SeedAck {
                        seed_id: batch.seed_id,
                        items: held,
                    };
                    self.up.send(frame(Up::SeedAck(ack))).await?;
                }
                Down::SeedCommit(_) => return Ok(start.elapsed()),
                other => bail!("no part of a seed: {other:?}"),
            }
        }
    }

    /// Takes a seed of one batch; what acknowledges it.
    pub(crate) async fn short_seed(&mut self) -> Result<pb::SeedAck> {
        loop {
            match self.next().await? {
                Down::SeedBegin(_) => {}
                Down::SeedBatch(batch) => {
                    return Ok(pb::SeedAck {
                        seed_id: batch.seed_id,
                        items: batch.messages.len() as u64,
                    });
                }
                other => bail!("no part of a seed: {other:?}"),
            }
        }
    }

    /// Acknowledges a seed as a whole, and waits for its commit.
    pub(crate) async fn acknowledge(&mut self, ack: pb::SeedAck) -> Result<()> {
        self.up.send(frame(Up::SeedAck(ack))).await?;
        match self.next().await? {
            Down::SeedCommit(_) => Ok(()),
            other => bail!("no end of a seed: {other:?}"),
        }
    }
}

fn frame(frame: Up) -> pb::AttachRequest {
    pb::AttachRequest { frame: Some(frame) }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let mut client = client::sessions(server.address()).await?;
    let mut filled = Vec::new();
    for length in LENGTHS {
        eprintln!("resume: writing {length} messages");
        filled.push(client::filled_session(&mut client, length).await?);
    }
    let soon = first_progress(plan, &mut client, &filled).await?;
    let fast = seeding(plan, &server, &mut client, &filled[1]).await?;
    Ok(vec![soon, fast])
}

async fn first_progress(plan: Plan, client: &mut Sessions, filled: &[String]) -> Result<Table> {
    let mut table = Table::new(
        "Resume of a fork into the journal, one call after another",
        &[
            "messages",
            "first progress, median",
            "p99",
            "ready, median",
            "p99",
        ],
    );
    for (length, session_id) in LENGTHS.iter().zip(filled) {
        let (mut first, mut ready) = (Vec::new(), Vec::new());
        for _ in 0..plan.calls() {
            let fork = fork(client, session_id).await?;
            let start = Instant::now();
            let mut progress = resume(client, fork, None).await?;
            progress.message().await?.context("a first progress")?;
            first.push(start.elapsed());
            while progress.message().await?.is_some() {}
            ready.push(start.elapsed());
        }
        let (first, ready) = (Latencies::new(first)?, Latencies::new(ready)?);
        table.row(vec![
            count(u32::try_from(*length)?.into()),
            ms(first.quantile(0.5)),
            ms(first.quantile(0.99)),
            ms(ready.quantile(0.5)),
            ms(ready.quantile(0.99)),
        ]);
    }
    Ok(table)
}

async fn seeding(plan: Plan, server: &Child, client: &mut Sessions, session_id: &str) -> Result<Table> {
    let bare = Child::bare(plan.workers)?;
    let mut engine = Engine::attach(server.address()).await?;
    let (mut seeds, mut ceilings) = (Vec::new(), Vec::new());
    let rate =
        |taken: Duration| f64::from(u32::try_from(SEED_MESSAGES).unwrap_or(u32::MAX)) / taken.as_secs_f64();
    for _ in 0..SEEDS.min(plan.repetitions() * SEEDS) {
        ceilings.push(rate(Engine::attach(bare.address()).await?.seeded().await?));
        let fork = fork(client, session_id).await?;
        let progress = resume(client, fork, Some(ENGINE.to_owned())).await?;
        seeds.push(rate(engine.seeded().await?));
        drop(progress);
    }
    let ratios = seeds.iter().zip(&ceilings).map(|(seed, ceiling)| seed / ceiling);
    let mut table = Table::new(
        "Seeding an engine with 100,000 messages of 1 KB, 1,000 on their way at most",
        &["source", "messages/s", "ratio to the bare stream"],
    );
    let ratios = median(ratios);
    table.row(vec![
        "a bare bidi stream".to_owned(),
        count(median(ceilings)),
        ratio(1.0),
    ]);
    table.row(vec!["Resume".to_owned(), count(median(seeds)), ratio(ratios)]);
    Ok(table)
}

/// A session that shares everything but the last user message, and has no thread.
pub(crate) async fn fork(client: &mut Sessions, session_id: &str) -> Result<String> {
    let request = pb::ForkSessionRequest {
        session_id: session_id.to_owned(),
        point: Some(pb::fork_session_request::Point::TurnsFromEnd(0)),
        ..Default::default()
    };
    let fork = client.fork_session(request).await?.into_inner().session;
    Ok(fork.context("a fork")?.session_id)
}

pub(crate) async fn resume(
    client: &mut Sessions,
    session_id: String,
    engine_id: Option<String>,
) -> Result<Streaming<pb::ResumeResponse>> {
    let request = pb::ResumeRequest {
        session_id,
        engine_id,
        ..Default::default()
    };
    Ok(client.resume(request).await?.into_inner())
}
