//! The same conversation through engines: saved by snapshots at every boundary of a turn and once within one, resumed
//! from a fork into a second engine, and saved from there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sessiond::client::engine::{Engine, Memory, Profile};
use sessiond::client::play::Script;
use sessiond::client::play::live::Live;
use sessiond::client::{Client, Failure, request_id};
use sessiond::pb::client::fork_session_request::Point;
use sessiond::pb::client::{self as pb, MessageView, ResumeState, SnapshotConsistency};

use crate::{Count, messages, user_messages};

/// How long an engine may take to hear of a thread that is its own.
const SEATED_TIME_MAX: Duration = Duration::from_secs(30);

/// Two engines, for all conversations.
pub(crate) struct Engines {
    client: Client,
    first: (Engine, Arc<Memory>),
    second: (Engine, Arc<Memory>),
}

impl Engines {
    /// Attaches both.
    pub(crate) async fn attach(client: &Client) -> anyhow::Result<Self> {
        let engine = |name: &str| {
            let memory = Arc::new(Memory::default());
            let engine = Engine::attach(client, Profile::named(name), memory.clone());
            (engine, memory)
        };
        let (first, second) = (engine("first"), engine("second"));
        first.0.attached().await?;
        second.0.attached().await?;
        Ok(Self {
            client: client.clone(),
            first,
            second,
        })
    }

    /// Plays a conversation in the first engine, and goes on with a fork of it in the second.
    pub(crate) async fn play(&self, script: Script, count: &mut Count) -> anyhow::Result<()> {
        let id = format!("{} live", script.id);
        let mut live = Live::open(&self.first.0, &self.first.1, script.clone()).await;
        self.opened(&live).await?;
        let mut session: Option<pb::Session> = None;
        let mut within = false;
        loop {
            // What the service knows of; of a turn that it caught running, it asks for the whole again.
            let known = live.messages().len();
            if !live.begin().await {
                break;
            }
            if !within && live.until_tool_call() {
                within = true;
                let answer = self
                    .snapshot(&live, SnapshotConsistency::Immediate, count)
                    .await?;
                let name = format!("{id} in mid-turn");
                let saved = self.same(&name, &live, (&session, known), answer, count).await?;
                count.same(&id, "incomplete_turn", &true, &saved.incomplete_turn);
                session = Some(saved);
            }
            live.end().await;
            if live.messages().is_empty() {
                continue;
            }
            let answer = self
                .snapshot(&live, SnapshotConsistency::TurnBoundary, count)
                .await?;
            let saved = self.same(&id, &live, (&session, known), answer, count).await?;
            count.same(&id, "incomplete_turn", &false, &saved.incomplete_turn);
            session = Some(saved);
        }
        let session = session.with_context(|| format!("{id}: nothing to save"))?;
        let questions = user_messages(&live.messages());
        if let Some(number) = questions.len().checked_sub(1) {
            let number = number.div_ceil(2);
            self.go_on(&session, number, questions[number], script, count)
                .await
                .with_context(|| format!("{id}: fork {number}"))?;
        }
        self.forget(&self.first, live.thread_id()).await;
        Ok(())
    }

    /// Forks before a user message, resumes the fork into the second engine, and plays a turn there.
    async fn go_on(
        &self,
        session: &pb::Session,
        number: usize,
        at: usize,
        script: Script,
        count: &mut Count,
    ) -> anyhow::Result<()> {
        let request = pb::ForkSessionRequest {
            namespace: self.client.namespace(),
            session_id: session.session_id.clone(),
            point: Some(Point::UserMessageIndex(i64::try_from(number)?)),
            request_id: request_id(),
            ..Default::default()
        };
        let answer = self
            .client
            .sessions()
            .fork_session(request)
            .await
            .map_err(Failure::from)?;
        let fork = answer.into_inner().session.context("a fork without a session")?;
        let name = format!("{} resumed", fork.session_id);
        let read = messages(&self.client, &fork.session_id, MessageView::Context).await?;
        count.same(&name, "message_count", &(at as u64), &(read.len() as u64));
        let progress = self.resume(&fork).await?;
        count.resumes += 1;
        count.same(&name, "state", &ResumeState::Ready, &progress.state());
        count.same(
            &name,
            "items_written",
            &(read.len() as u64),
            &progress.items_written,
        );
        let (engine, memory) = &self.second;
        let mut resumed = memory.resumed();
        let seated = resumed.wait_for(|_| memory.holds(&progress.thread_id));
        tokio::time::timeout(SEATED_TIME_MAX, seated).await??;
        count.same(
            &name,
            "in the engine",
            &read,
            &memory.messages(&progress.thread_id),
        );
        let mut live = Live::resumed(engine, memory, script, &progress.thread_id);
        let before = Some(fork);
        // At once: nothing is new, and the ids are those that the first engine gave.
        let answer = self
            .snapshot(&live, SnapshotConsistency::TurnBoundary, count)
            .await;
        if read.is_empty() {
            ensure!(answer.is_err(), "{name}: a snapshot of nothing");
        } else {
            self.same(&name, &live, (&before, read.len()), answer?, count)
                .await?;
        }
        live.turn().await;
        let answer = self
            .snapshot(&live, SnapshotConsistency::TurnBoundary, count)
            .await?;
        self.same(&name, &live, (&before, read.len()), answer, count)
            .await?;
        self.forget(&self.second, live.thread_id()).await;
        Ok(())
    }

    async fn snapshot(
        &self,
        live: &Live,
        consistency: SnapshotConsistency,
        count: &mut Count,
    ) -> anyhow::Result<pb::SnapshotFromEngineResponse> {
        let request = pb::SnapshotFromEngineRequest {
            namespace: self.client.namespace(),
            thread_id: Some(live.thread_id().to_owned()),
            consistency: consistency.into(),
            request_id: request_id(),
            ..Default::default()
        };
        count.snapshots += 1;
        let answer = self.client.sessions().snapshot_from_engine(request).await;
        Ok(answer.map_err(Failure::from)?.into_inner())
    }

    /// What was saved is what the engine holds, in both views, ids and times included. Of what was there `before`, so
    /// many messages were `known` and not asked for again.
    async fn same(
        &self,
        of: &str,
        live: &Live,
        (before, known): (&Option<pb::Session>, usize),
        answer: pb::SnapshotFromEngineResponse,
        count: &mut Count,
    ) -> anyhow::Result<pb::Session> {
        let held = live.messages();
        let session = answer.session.context("a snapshot without a session")?;
        count.same(of, "created", &before.is_none(), &answer.created);
        count.same(of, "delta", &(known > 0), &answer.delta);
        count.same(of, "message_count", &(held.len() as u64), &answer.message_count);
        if let Some(before) = before {
            count.same(of, "session_id", &before.session_id, &session.session_id);
        }
        for view in [MessageView::Visible, MessageView::Context] {
            let read = messages(&self.client, &session.session_id, view).await?;
            count.same(of, view.as_str_name(), &held, &read);
        }
        Ok(session)
    }

    /// The last that is told of a resume into the second engine.
    async fn resume(&self, fork: &pb::Session) -> anyhow::Result<pb::ResumeProgress> {
        let request = pb::ResumeRequest {
            namespace: self.client.namespace(),
            session_id: fork.session_id.clone(),
            engine_id: Some("second".to_owned()),
            request_id: request_id(),
            ..Default::default()
        };
        let answer = self
            .client
            .sessions()
            .resume(request)
            .await
            .map_err(Failure::from)?;
        let (mut stream, mut last) = (answer.into_inner(), None);
        while let Some(answer) = stream.message().await.map_err(Failure::from)? {
            last = answer.progress.or(last);
        }
        last.context("a resume that tells nothing")
    }

    /// ThreadOpened is not answered: waits until the service knows whose the thread is.
    async fn opened(&self, live: &Live) -> anyhow::Result<()> {
        let wait = async {
            loop {
                let request = pb::GetThreadRequest {
                    namespace: self.client.namespace(),
                    thread_id: live.thread_id().to_owned(),
                };
                if self.client.threads().get_thread(request).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Ok(tokio::time::timeout(SEATED_TIME_MAX, wait).await?)
    }

    async fn forget(&self, (engine, memory): &(Engine, Arc<Memory>), thread_id: &str) {
        memory.remove(thread_id);
        engine.close(thread_id).await;
    }
}
