//! An engine, frame by frame: it says what a test says and nothing else, but for its heartbeats.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sessiond::pb::client::attach_request::Frame as Up;
use sessiond::pb::client::attach_response::Frame as Down;
use sessiond::pb::client::snapshot_reply::Result as Reply;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::client::Client;
use super::pb;
use super::server::{Server, Setup};
use super::wait::{until, within};

/// Frames that a test may send ahead of the connection.
const FRAMES_MAX: usize = 64;

/// An attached engine. Dropped, its stream ends.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) heartbeat: Duration,
    client: Client,
    up: Option<mpsc::Sender<pb::AttachRequest>>,
    down: Streaming<pb::AttachResponse>,
    beats: AbortHandle,
}

/// The server whose heartbeats are quick, that tests of silence share.
static QUICK: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

/// A client of a server with a heartbeat of a second, which others use too.
pub(crate) async fn quick() -> Client {
    let mut quick = QUICK.lock().await;
    let server = match quick.upgrade() {
        Some(server) => server,
        None => {
            let server = Arc::new(configured("[engines]\nheartbeat_ms = 1000\n").await);
            *quick = Arc::downgrade(&server);
            server
        }
    };
    let address = server.address().to_owned();
    Client::connected(&address, Some(server)).await
}

/// A server with a configuration file of its own.
pub(crate) async fn configured(toml: &str) -> Server {
    configured_with(toml, []).await
}

/// The same, with more arguments.
pub(crate) async fn configured_with(toml: &str, more: impl IntoIterator<Item = String>) -> Server {
    let setup = Setup {
        config: toml.to_owned(),
        arguments: more.into_iter().collect(),
        ..Setup::default()
    };
    Server::start_with(setup).await
}

/// The first frame of an engine that takes sessions to resume.
pub(crate) fn hello(id: &str) -> pb::Hello {
    pb::Hello {
        engine_id: id.into(),
        accepts_resume: true,
        ..Default::default()
    }
}

/// A snapshot that holds `messages` and says nothing else.
pub(crate) fn holds(messages: impl IntoIterator<Item = pb::Message>) -> pb::EngineSnapshot {
    pb::EngineSnapshot {
        messages: messages.into_iter().collect(),
        ..Default::default()
    }
}

/// A frame, as it is sent.
pub(crate) fn frame(frame: Up) -> pb::AttachRequest {
    pb::AttachRequest { frame: Some(frame) }
}

impl Wire {
    /// An engine under `id`.
    pub(crate) async fn attach(client: &Client, id: &str) -> Self {
        Self::greet(client, hello(id)).await.expect("it attaches")
    }

    /// An engine that begins with this.
    pub(crate) async fn greet(client: &Client, mut hello: pb::Hello) -> Result<Self, Status> {
        if hello.namespace.is_empty() {
            client.namespace().clone_into(&mut hello.namespace);
        }
        let id = hello.engine_id.clone();
        Self::begin(client, id, Up::Hello(hello)).await
    }

    /// An engine that begins with whatever this is.
    pub(crate) async fn begin(client: &Client, id: String, first: Up) -> Result<Self, Status> {
        let (up, frames) = mpsc::channel(FRAMES_MAX);
        up.send(frame(first)).await.expect("there is room");
        let mut engines = client.engines();
        let attached = engines.attach(ReceiverStream::new(frames));
        let mut down = within("the engine attaches", attached).await?.into_inner();
        let first = within("a welcome", down.message())
            .await?
            .and_then(|down| down.frame);
        let Some(Down::Welcome(welcome)) = first else {
            panic!("no welcome: {first:?}")
        };
        let interval = welcome.heartbeat_interval.expect("an interval");
        let heartbeat = Duration::try_from(interval).expect("not negative");
        let beating = up.downgrade();
        let beats = tokio::spawn(async move {
            loop {
                tokio::time::sleep(heartbeat / 3).await;
                let Some(up) = beating.upgrade() else { return };
                if up.send(frame(Up::Heartbeat(pb::Heartbeat {}))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            id,
            epoch: welcome.epoch,
            heartbeat,
            client: client.clone(),
            up: Some(up),
            down,
            beats: beats.abort_handle(),
        })
    }

    /// Sends a frame; one that nobody takes any more is lost.
    pub(crate) async fn send(&self, up: Up) {
        self.send_whole(frame(up)).await;
    }

    /// Sends a frame of whatever kind.
    pub(crate) async fn send_whole(&self, request: pb::AttachRequest) {
        if let Some(up) = &self.up {
            let _ = within("a frame is sent", up.send(request)).await;
        }
    }

    /// Sends no heartbeat any more.
    pub(crate) fn falls_silent(&self) {
        self.beats.abort();
    }

    /// Says goodbye, and waits for the end.
    pub(crate) async fn leaves(mut self) {
        self.send(Up::Goodbye(pb::Goodbye {})).await;
        self.ended().await.expect("it left as it wanted");
    }

    /// The next frame, or the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Down>, Status> {
        let next = within("a frame or the end", self.down.message()).await?;
        Ok(next.and_then(|down| down.frame))
    }

    /// How the stream ends, whatever comes before.
    pub(crate) async fn ended(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Claims a thread, and waits until it has it.
    pub(crate) async fn opens(&self, thread_id: &str) {
        self.opens_in(thread_id, "").await;
    }

    /// Claims a thread in which a turn runs, and waits until it has it.
    pub(crate) async fn opens_in(&self, thread_id: &str, turn_id: &str) {
        self.claims(thread_id, turn_id).await;
        until("the thread is the engine's", async || {
            let request = pb::GetThreadRequest {
                thread_id: thread_id.into(),
                ..Default::default()
            };
            let thread = self.client.get_thread(request).await.ok()?.thread?;
            (thread.engine_id == self.id && thread.epoch == self.epoch).then_some(())
        })
        .await;
    }

    /// Claims a thread.
    pub(crate) async fn claims(&self, thread_id: &str, turn_id: &str) {
        let opened = pb::ThreadOpened {
            thread: Some(pb::Thread {
                thread_id: thread_id.into(),
                ..Default::default()
            }),
            active_turn_id: turn_id.into(),
        };
        self.send(Up::ThreadOpened(opened)).await;
    }

    /// The next frame, which asks for a snapshot.
    pub(crate) async fn asked(&mut self) -> pb::SnapshotRequest {
        match self.next().await {
            Ok(Some(Down::SnapshotRequest(request))) => request,
            other => panic!("a request for a snapshot was due: {other:?}"),
        }
    }

    /// Answers in one part.
    pub(crate) async fn answers(&self, ask: &pb::SnapshotRequest, snapshot: pb::EngineSnapshot) {
        self.part(ask, snapshot, true).await;
    }

    /// Sends a part of an answer.
    pub(crate) async fn part(&self, ask: &pb::SnapshotRequest, part: pb::EngineSnapshot, last: bool) {
        self.replies(&ask.ask_id, Some(Reply::Snapshot(part)), last).await;
    }

    /// Answers with whatever this is.
    pub(crate) async fn replies(&self, ask_id: &str, result: Option<Reply>, last: bool) {
        let reply = pb::SnapshotReply {
            ask_id: ask_id.into(),
            result,
            last,
        };
        self.send(Up::SnapshotReply(reply)).await;
    }

    /// The next frame, with which a seed begins.
    pub(crate) async fn begun(&mut self) -> pb::SeedBegin {
        match self.next().await {
            Ok(Some(Down::SeedBegin(begin))) => begin,
            other => panic!("a seed was due: {other:?}"),
        }
    }

    /// The next frame, which holds messages of a seed.
    pub(crate) async fn batch(&mut self) -> pb::SeedBatch {
        match self.next().await {
            Ok(Some(Down::SeedBatch(batch))) => batch,
            other => panic!("a batch was due: {other:?}"),
        }
    }

    /// The next frame, which commits a seed; its id.
    pub(crate) async fn committed(&mut self) -> String {
        match self.next().await {
            Ok(Some(Down::SeedCommit(commit))) => commit.seed_id,
            other => panic!("a commit was due: {other:?}"),
        }
    }

    /// The next frame, which calls a seed off; its id.
    pub(crate) async fn called_off(&mut self) -> String {
        match self.next().await {
            Ok(Some(Down::SeedCancel(cancel))) => cancel.seed_id,
            other => panic!("a cancel was due: {other:?}"),
        }
    }

    /// Acknowledges so many messages in all.
    pub(crate) async fn acks(&self, seed_id: &str, items: u64) {
        let ack = pb::SeedAck {
            seed_id: seed_id.into(),
            items,
        };
        self.send(Up::SeedAck(ack)).await;
    }

    /// Takes a whole seed over: the thread, and its messages.
    pub(crate) async fn takes_over(&mut self) -> (pb::Thread, Vec<pb::Message>) {
        let begin = self.begun().await;
        let mut messages = Vec::new();
        while (messages.len() as u64) < begin.items_total {
            let batch = self.batch().await;
            assert_eq!(batch.first_index, messages.len() as i64);
            messages.extend(batch.messages);
            self.acks(&begin.seed_id, messages.len() as u64).await;
        }
        assert_eq!(self.committed().await, begin.seed_id);
        (begin.thread.expect("a thread"), messages)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

impl Client {
    /// The attached engines by id.
    pub(crate) async fn attached(&self) -> Vec<pb::Engine> {
        let listed = self.list_engines(pb::ListEnginesRequest::default()).await;
        listed.expect("engines are listed").engines
    }

    /// Waits until no engine of this id is attached.
    pub(crate) async fn without(&self, engine_id: &str) {
        until("the engine is detached", async || {
            let attached = self.attached().await;
            attached
                .iter()
                .all(|engine| engine.engine_id != engine_id)
                .then_some(())
        })
        .await;
    }

    /// Asks for a snapshot of a thread, and lets its engine answer with `snapshot`; what the engine was asked, and what
    /// came of it.
    pub(crate) async fn snapshot_by(
        &self,
        wire: &mut Wire,
        request: pb::SnapshotFromEngineRequest,
        snapshot: pb::EngineSnapshot,
    ) -> (
        pb::SnapshotRequest,
        Result<pb::SnapshotFromEngineResponse, Status>,
    ) {
        let answered = async {
            let ask = wire.asked().await;
            wire.answers(&ask, snapshot).await;
            ask
        };
        let (ask, taken) = tokio::join!(answered, self.snapshot_from_engine(request));
        (ask, taken)
    }

    /// A snapshot of a thread by its id, which must succeed.
    pub(crate) async fn snapshot(
        &self,
        wire: &mut Wire,
        thread_id: &str,
        snapshot: pb::EngineSnapshot,
    ) -> pb::SnapshotFromEngineResponse {
        let (_, taken) = self.snapshot_by(wire, of_thread(thread_id), snapshot).await;
        taken.expect("a snapshot is taken")
    }
}

/// A request for a snapshot of a thread.
pub(crate) fn of_thread(thread_id: &str) -> pb::SnapshotFromEngineRequest {
    pb::SnapshotFromEngineRequest {
        thread_id: Some(thread_id.into()),
        ..Default::default()
    }
}
