//! A resume into an engine: how soon its own replica says something, how soon another one does, and how much later that
//! one hears of the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sessiond::pb::client as pb;
use sessiond::pb::client::watch_resume_request::Target;
use tonic::Streaming;

use super::Replicas;
use crate::Plan;
use crate::client::{self, Sessions};
use crate::load::Latencies;
use crate::report::{Table, ms};
use crate::resume::{self, ENGINE, Engine};

/// Messages of the session that is resumed.
const SEEDED: usize = 10;

/// Where a resume is looked at, and what was seen there.
#[derive(Default)]
struct Seen {
    /// From the call to its first response.
    first: Vec<Duration>,
    /// From the engine's last acknowledgement to READY.
    ready: Vec<Duration>,
}

impl Seen {
    fn note(&mut self, first: Duration, ready: Duration) {
        self.first.push(first);
        self.ready.push(ready);
    }
}

/// Replicas with an engine at the first one, and what was seen of its resumes.
struct Stage {
    engine: Engine,
    session_id: String,
    own: Sessions,
    other: Option<Sessions>,
    resumed: Seen,
    watched: Seen,
    watched_elsewhere: Seen,
}

impl Stage {
    async fn new(replicas: &Replicas) -> Result<Self> {
        let mut own = replicas.client(0);
        Ok(Self {
            engine: Engine::attach(replicas.address(0)).await?,
            session_id: client::filled_session(&mut own, SEEDED).await?,
            own,
            other: (replicas.count() > 1).then(|| replicas.client(1)),
            resumed: Seen::default(),
            watched: Seen::default(),
            watched_elsewhere: Seen::default(),
        })
    }

    /// One resume from its beginning to its end.
    async fn resume(&mut self) -> Result<()> {
        let fork = resume::fork(&mut self.own, &self.session_id).await?;
        let start = Instant::now();
        let mut resumed = resume::resume(&mut self.own, fork, Some(ENGINE.to_owned())).await?;
        let first = resumed.message().await?.context("a first progress")?;
        let resumed_first = start.elapsed();
        let id = first.progress.context("a progress")?.resume_id;
        // Now it waits for the engine's acknowledgement: what stands is the same everywhere.
        let ack = self.engine.short_seed().await?;
        let (mut watched, watched_first) = watch(&mut self.own, &id).await?;
        let mut elsewhere = match &mut self.other {
            Some(other) => Some(watch(other, &id).await?),
            None => None,
        };
        let start = Instant::now();
        let (committed, resumed_ready, watched_ready, elsewhere_ready) = tokio::join!(
            self.engine.acknowledge(ack),
            ready(&mut resumed, start),
            ready(&mut watched, start),
            async {
                match &mut elsewhere {
                    Some((stream, first)) => Ok(Some((*first, ready(stream, start).await?))),
                    None => anyhow::Ok(None),
                }
            }
        );
        committed?;
        self.resumed.note(resumed_first, resumed_ready?);
        self.watched.note(watched_first, watched_ready?);
        if let Some((first, ready)) = elsewhere_ready? {
            self.watched_elsewhere.note(first, ready);
        }
        Ok(())
    }
}

/// Watches a resume; how soon the first response was there.
async fn watch(client: &mut Sessions, id: &str) -> Result<(Streaming<pb::WatchResumeResponse>, Duration)> {
    let request = pb::WatchResumeRequest {
        target: Some(Target::ResumeId(id.to_owned())),
        ..Default::default()
    };
    let start = Instant::now();
    let mut stream = client.watch_resume(request).await?.into_inner();
    stream.message().await?.context("what stands")?;
    Ok((stream, start.elapsed()))
}

/// What both streams are made of.
trait Told {
    fn progress(self) -> Option<pb::ResumeProgress>;
}

impl Told for pb::ResumeResponse {
    fn progress(self) -> Option<pb::ResumeProgress> {
        self.progress
    }
}

impl Told for pb::WatchResumeResponse {
    fn progress(self) -> Option<pb::ResumeProgress> {
        self.progress
    }
}

/// Reads on until the resume is READY; how long after `start` that was heard of.
async fn ready(stream: &mut Streaming<impl Told>, start: Instant) -> Result<Duration> {
    loop {
        let told = stream.message().await?.context("it ended before it was ready")?;
        let state = told.progress().context("a progress")?.state();
        match state {
            pb::ResumeState::Ready => return Ok(start.elapsed()),
            pb::ResumeState::Failed | pb::ResumeState::Canceled => {
                anyhow::bail!("the resume ended as {state:?}")
            }
            pb::ResumeState::Unspecified | pb::ResumeState::Queued | pb::ResumeState::Seeding => {}
        }
    }
}

pub(super) async fn measure(plan: Plan, one: &Replicas, three: &Replicas) -> Result<Table> {
    let mut stages = [Stage::new(one).await?, Stage::new(three).await?];
    for _ in 0..plan.calls() {
        for stage in &mut stages {
            stage.resume().await?;
        }
    }
    let mut table = Table::new(
        "Resume of 10 messages into an engine, one after another, on PostgreSQL (fsync on)",
        &[
            "seen by",
            "first response, median",
            "p99",
            "READY after the engine's acknowledgement, median",
            "p99",
        ],
    );
    let [alone, three] = stages;
    let rows = [
        ("Resume on the only replica", alone.resumed),
        ("WatchResume on the only replica", alone.watched),
        ("Resume on the engine's replica of three", three.resumed),
        ("WatchResume on the engine's replica of three", three.watched),
        ("WatchResume on another one of three", three.watched_elsewhere),
    ];
    for (by, seen) in rows {
        ensure!(!seen.first.is_empty(), "nothing was seen");
        let (first, ready) = (Latencies::new(seen.first)?, Latencies::new(seen.ready)?);
        table.row(vec![
            by.to_owned(),
            ms(first.quantile(0.5)),
            ms(first.quantile(0.99)),
            ms(ready.quantile(0.5)),
            ms(ready.quantile(0.99)),
        ]);
    }
    Ok(table)
}
