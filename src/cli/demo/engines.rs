//! The part of the demo that is about live engines: one is asked what it holds, in mid-turn and at the boundary; a fork
//! is resumed into another, while a second client watches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Streaming;

use super::super::error::Error;
use super::story::Story;
use super::{is_user, messages};
use crate::client::engine::{Engine, Memory, Profile};
use crate::client::play::Script;
use crate::client::play::live::Live;
use crate::client::{Client, Failure, request_id};
use crate::pb::client::fork_session_request::Point;
use crate::pb::client::{self as pb, MessageView, ResumeState, SnapshotConsistency};

/// The names of the two engines.
const NAMES: [&str; 2] = ["demo-first", "demo-second"];

/// The user message that the fork is cut before, if there are so many.
const FORKED_BEFORE: usize = 2;

/// How long an engine may take to hear of a thread that is its own.
const SEATED_TIME_MAX: Duration = Duration::from_secs(10);

/// Tells the part with a script that has been played as a thread before.
pub(super) async fn tell(story: &mut Story<'_>, client: &Client, script: Script) -> Result<(), Error> {
    let [first, second] = NAMES.map(|name| {
        let memory = Arc::new(Memory::default());
        (
            Engine::attach(client, Profile::named(name), memory.clone()),
            memory,
        )
    });
    first.0.attached().await?;
    second.0.attached().await?;
    story.engine(NAMES[0])?;
    let Some(session) = live(story, client, &first, script.clone()).await? else {
        return Ok(());
    };
    let fork = fork(client, &session).await?;
    resume(story, client, &fork, &second, script).await?;
    first.0.leave().await;
    second.0.leave().await;
    Ok(())
}

/// Plays the script in an engine's memory and takes snapshots of it.
async fn live(
    story: &mut Story<'_>,
    client: &Client,
    (engine, memory): &(Engine, Arc<Memory>),
    script: Script,
) -> Result<Option<pb::Session>, Error> {
    let mut live = Live::open(engine, memory, script).await;
    opened(client, live.thread_id()).await?;
    let mut within = false;
    let mut saved = None;
    while live.begin().await {
        if !within && live.until_tool_call() {
            within = true;
            let answer = snapshot(client, &live, SnapshotConsistency::Immediate).await?;
            story.snapshot("in the middle of a turn, a tool call unanswered", &answer)?;
            live.end().await;
            let answer = snapshot(client, &live, SnapshotConsistency::TurnBoundary).await?;
            story.snapshot("at the end of that turn", &answer)?;
        }
    }
    if !live.messages().is_empty() {
        let answer = snapshot(client, &live, SnapshotConsistency::TurnBoundary).await?;
        story.snapshot("at the end", &answer)?;
        let session = answer.session.unwrap_or_default();
        let read = messages(client, &session, MessageView::Context).await?;
        same(&live.messages(), &read)?;
        story.snapshot_by_hand(live.thread_id(), read.len())?;
        saved = Some(session);
    }
    Ok(saved)
}

/// Waits until the service has heard of a thread.
async fn opened(client: &Client, thread_id: &str) -> Result<(), Error> {
    let request = pb::GetThreadRequest {
        namespace: client.namespace(),
        thread_id: thread_id.to_owned(),
    };
    let deadline = Instant::now() + SEATED_TIME_MAX;
    loop {
        match client
            .threads()
            .get_thread(request.clone())
            .await
            .map_err(Failure::from)
        {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is("THREAD_NOT_FOUND") && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

async fn snapshot(
    client: &Client,
    live: &Live,
    consistency: SnapshotConsistency,
) -> Result<pb::SnapshotFromEngineResponse, Error> {
    let request = pb::SnapshotFromEngineRequest {
        namespace: client.namespace(),
        thread_id: Some(live.thread_id().to_owned()),
        consistency: consistency.into(),
        request_id: request_id(),
        ..Default::default()
    };
    Ok(client
        .sessions()
        .snapshot_from_engine(request)
        .await?
        .into_inner())
}

/// Forks before the third user message, or the last there is.
async fn fork(client: &Client, session: &pb::Session) -> Result<pb::Session, Error> {
    let read = messages(client, session, MessageView::Visible).await?;
    let users = read.iter().filter(|message| is_user(message)).count();
    let number = FORKED_BEFORE.min(users.saturating_sub(1));
    let request = pb::ForkSessionRequest {
        namespace: client.namespace(),
        session_id: session.session_id.clone(),
        point: Some(Point::UserMessageIndex(i64::try_from(number).unwrap_or_default())),
        request_id: request_id(),
        ..Default::default()
    };
    let answer = client.sessions().fork_session(request).await?.into_inner();
    Ok(answer.session.unwrap_or_default())
}

/// Resumes the fork into the second engine, which goes on with it, while somebody else watches.
async fn resume(
    story: &mut Story<'_>,
    client: &Client,
    fork: &pb::Session,
    (engine, memory): &(Engine, Arc<Memory>),
    script: Script,
) -> Result<(), Error> {
    story.resuming(fork, NAMES[1])?;
    let request = pb::ResumeRequest {
        namespace: client.namespace(),
        session_id: fork.session_id.clone(),
        engine_id: Some(NAMES[1].to_owned()),
        request_id: request_id(),
        ..Default::default()
    };
    let mut resumed = client.sessions().resume(request).await?.into_inner();
    let first = next(&mut resumed)
        .await?
        .and_then(|response| response.progress)
        .unwrap_or_default();
    let request = pb::WatchResumeRequest {
        namespace: client.namespace(),
        target: Some(pb::watch_resume_request::Target::ResumeId(
            first.resume_id.clone(),
        )),
    };
    let watched = client.sessions().watch_resume(request).await?.into_inner();
    let (asked, watched) = tokio::try_join!(
        until_the_end(resumed, |response| response.progress),
        until_the_end(watched, |response| response.progress),
    )?;
    let end = asked.last().cloned().unwrap_or(first);
    for progress in &watched {
        story.progress(progress)?;
    }
    if end.state() != ResumeState::Ready || watched.last() != Some(&end) {
        return Err(Error::Answer(
            "the fork was not resumed, or not as its watcher saw".into(),
        ));
    }
    let mut arrivals = memory.resumed();
    let seated = arrivals.wait_for(|_| memory.holds(&end.thread_id));
    let seated = tokio::time::timeout(SEATED_TIME_MAX, seated)
        .await
        .is_ok_and(|seated| seated.is_ok());
    let read = messages(client, fork, MessageView::Context).await?;
    if !seated {
        return Err(Error::Answer(
            "the second engine did not hear of its thread".into(),
        ));
    }
    same(&memory.messages(&end.thread_id), &read)?;
    let mut live = Live::resumed(engine, memory, script, &end.thread_id);
    live.turn().await;
    let answer = snapshot(client, &live, SnapshotConsistency::TurnBoundary).await?;
    story.resumed(fork, &end, &answer)
}

async fn next<R>(stream: &mut Streaming<R>) -> Result<Option<R>, Error> {
    Ok(stream.message().await.map_err(Failure::from)?)
}

async fn until_the_end<R>(
    mut stream: Streaming<R>,
    progress: impl Fn(R) -> Option<pb::ResumeProgress>,
) -> Result<Vec<pb::ResumeProgress>, Error> {
    let mut seen = Vec::new();
    while let Some(response) = next(&mut stream).await? {
        seen.extend(progress(response));
    }
    Ok(seen)
}

/// What an engine holds is what the service keeps, field by field.
fn same(held: &[pb::Message], read: &[pb::Message]) -> Result<(), Error> {
    if held == read {
        return Ok(());
    }
    Err(Error::Answer(format!(
        "the engine holds {} messages, and {} came back that are not the same",
        held.len(),
        read.len()
    )))
}
