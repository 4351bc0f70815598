//! What watchers cost that have nothing to do, and readers that stop reading: memory of the server.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sessiond::pb::client as pb;
use sessiond::pb::client::attach_request::Frame as Up;
use sessiond::pb::client::engine_service_client::EngineServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::child::Child;
use crate::client::{self, Sessions};
use crate::report::{Table, count};
use crate::{Plan, resume};

/// Watchers of one resume that does not go on.
const WATCHERS: usize = 10_000;

/// Readers that take one response of many and no more.
const STALLED: usize = 500;

/// Messages of the session that they read.
const MESSAGES: usize = 10_000;

/// Connections that streams are spread over.
const CONNECTIONS: usize = 10;

/// How long the server may take to settle before its memory is looked at.
const SETTLING_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    // The engine never acknowledges anything: that is the point.
    let server = Child::sessiond_with(plan.workers, &[("SESSIOND_ENGINES_SEED_SILENCE_S", "3600")])?;
    let mut clients = Vec::new();
    for channel in client::connect(server.address(), CONNECTIONS).await? {
        clients.push(Sessions::new(channel));
    }
    let session_id = client::filled_session(&mut clients[0], MESSAGES).await?;
    let silent = attach(server.address()).await?;
    let mut progress = resume::resume(&mut clients[0], session_id.clone(), Some("silent".to_owned())).await?;
    let first = progress.message().await?.context("a first progress")?;
    let resume_id = first.progress.context("a progress")?.resume_id;

    let mut table = Table::new(
        "Memory of the server",
        &["streams", "resident before", "after", "bytes a stream"],
    );
    let mut row = |what: &str, streams: usize, before: u64, after: u64| -> Result<()> {
        let streams = u32::try_from(streams)?;
        let mib = |bytes: u64| format!("{} MiB", bytes / (1 << 20));
        let each = after.saturating_sub(before) / u64::from(streams);
        table.row(vec![
            format!("{} {what}", count(streams.into())),
            mib(before),
            mib(after),
            count(f64::from(u32::try_from(each)?)),
        ]);
        Ok(())
    };

    let before = settled(&server).await?;
    let mut watchers = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        let request = pb::WatchResumeRequest {
            target: Some(pb::watch_resume_request::Target::ResumeId(resume_id.clone())),
            ..Default::default()
        };
        let mut stream = clients[number % CONNECTIONS]
            .watch_resume(request)
            .await?
            .into_inner();
        stream.message().await?.context("what stands")?;
        watchers.push(stream);
    }
    let after = settled(&server).await?;
    row("idle WatchResume streams", WATCHERS, before, after)?;

    // A reader that stops holds up its whole connection: each has one of its own.
    let mut stalled = Vec::with_capacity(STALLED);
    for channel in client::connect(server.address(), STALLED).await? {
        let request = pb::ReadMessagesRequest {
            session_id: session_id.clone(),
            view: pb::MessageView::Visible.into(),
            ..Default::default()
        };
        let mut stream = Sessions::new(channel).read_messages(request).await?.into_inner();
        stream.message().await?.context("a first response")?;
        stalled.push(stream);
    }
    let with_stalled = settled(&server).await?;
    row(
        "ReadMessages streams that nobody reads on",
        STALLED,
        after,
        with_stalled,
    )?;
    drop((stalled, watchers, progress, silent));
    Ok(vec![table])
}

async fn settled(server: &Child) -> Result<u64> {
    tokio::time::sleep(SETTLING_TIME).await;
    server.resident_bytes()
}

/// An engine that takes frames and says nothing but that it is alive.
async fn attach(address: &str) -> Result<tokio::task::JoinHandle<()>> {
    let channel = client::connect(address, 1)
        .await?
        .pop()
        .context("one connection")?;
    let (up, frames) = mpsc::channel(16);
    let hello = pb::Hello {
        engine_id: "silent".to_owned(),
        accepts_resume: true,
        ..Default::default()
    };
    up.send(frame(Up::Hello(hello))).await?;
    let mut down = EngineServiceClient::new(channel)
        .attach(ReceiverStream::new(frames))
        .await?
        .into_inner();
    down.message().await?.context("a welcome")?;
    Ok(tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                frame = down.message() => if !matches!(frame, Ok(Some(_))) { return },
                _ = beat.tick() => drop(up.try_send(self::frame(Up::Heartbeat(pb::Heartbeat {})))),
            }
        }
    }))
}

fn frame(frame: Up) -> pb::AttachRequest {
    pb::AttachRequest { frame: Some(frame) }
}
