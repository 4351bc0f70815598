//! The loop against a service that a test plays by hand.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::pb as server;
use crate::pb::client::attach_request::Frame as Up;
use crate::pb::client::attach_response::Frame as Down;
use crate::pb::client::snapshot_reply::Result as Answer;
use crate::pb::engine_service_server::{EngineService, EngineServiceServer};

/// Longer than any step takes.
const SOON: Duration = Duration::from_secs(10);

/// One attachment, as the service sees it.
struct Peer {
    up: Streaming<server::AttachRequest>,
    down: mpsc::Sender<Result<server::AttachResponse, Status>>,
}

struct Service(mpsc::Sender<Peer>);

#[tonic::async_trait]
impl EngineService for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<server::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<server::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (down, frames) = mpsc::channel(16);
        let up = request.into_inner();
        self.0.send(Peer { up, down }).await.expect("the test listens");
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }

    async fn list_engines(
        &self,
        _: Request<server::ListEnginesRequest>,
    ) -> Result<Response<server::ListEnginesResponse>, Status> {
        Err(Status::unimplemented("the test"))
    }
}

/// The same message on the other side of the wire.
fn across<A: prost::Message, B: prost::Message + Default>(message: &A) -> B {
    B::decode(&message.encode_to_vec()[..]).expect("the same on the wire")
}

impl Peer {
    async fn hear(&mut self) -> Option<Up> {
        let frame = tokio::time::timeout(SOON, self.up.message())
            .await
            .expect("in time");
        let frame: pb::AttachRequest = across(&frame.ok().flatten()?);
        Some(frame.frame.expect("a frame"))
    }

    /// The next frame that is no heartbeat.
    async fn next(&mut self) -> Up {
        loop {
            match self.hear().await.expect("a frame") {
                Up::Heartbeat(_) => {}
                frame => return frame,
            }
        }
    }

    async fn say(&self, frame: Down) {
        let frame = pb::AttachResponse { frame: Some(frame) };
        self.down.send(Ok(across(&frame))).await.expect("heard");
    }

    async fn welcome(&mut self, epoch: u64) {
        let Up::Hello(hello) = self.next().await else {
            panic!("the first frame is a Hello")
        };
        assert_eq!((hello.engine_id.as_str(), hello.namespace.as_str()), ("e", "ns"));
        let heartbeat_interval = Some(prost_types::Duration {
            seconds: 0,
            nanos: 200_000_000,
        });
        self.say(Down::Welcome(pb::Welcome {
            epoch,
            heartbeat_interval,
        }))
        .await;
    }

    /// The thread and the turn that the engine names next.
    async fn opened(&mut self) -> (String, String) {
        match self.next().await {
            Up::ThreadOpened(opened) => (opened.thread.expect("a thread").thread_id, opened.active_turn_id),
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, ask_id: &str, consistency: pb::SnapshotConsistency, known: &[&str]) {
        self.say(Down::SnapshotRequest(pb::SnapshotRequest {
            ask_id: ask_id.into(),
            thread_id: "t".into(),
            consistency: consistency.into(),
            known_messages: known.len() as u64,
            known_last_message_id: known.last().copied().unwrap_or_default().into(),
            deadline: None,
        }))
        .await;
    }

    /// The ask that is answered next, with what.
    async fn answered(&mut self) -> (String, pb::EngineSnapshot) {
        match self.next().await {
            Up::SnapshotReply(pb::SnapshotReply {
                ask_id,
                result: Some(Answer::Snapshot(snapshot)),
                last: true,
            }) => (ask_id, snapshot),
            other => panic!("{other:?}"),
        }
    }
}

struct Desk {
    peers: mpsc::Receiver<Peer>,
    engine: Engine,
    memory: Arc<Memory>,
}

impl Desk {
    async fn set() -> Self {
        let (sender, peers) = mpsc::channel(4);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router =
            tonic::transport::Server::builder().add_service(EngineServiceServer::new(Service(sender)));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        let address = address.to_string().parse().expect("an address");
        let client = Client::connect(&address, "ns").await.expect("served");
        let memory = Arc::new(Memory::default());
        memory.add(thread("t"));
        let engine = Engine::attach(&client, Profile::named("e"), memory.clone());
        Self {
            peers,
            engine,
            memory,
        }
    }

    /// The next attachment, welcomed under this epoch; it names the one thread.
    async fn peer(&mut self, epoch: u64, turn: &str) -> Peer {
        let mut peer = self.called().await;
        peer.welcome(epoch).await;
        assert_eq!(peer.opened().await, ("t".into(), turn.into()));
        peer
    }

    async fn called(&mut self) -> Peer {
        let called = tokio::time::timeout(SOON, self.peers.recv()).await;
        called.expect("in time").expect("served")
    }

    async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.engine.watch();
        let reached = tokio::time::timeout(SOON, state.wait_for(wanted)).await;
        reached.expect("in time").expect("the task lives").clone()
    }
}

fn thread(id: &str) -> pb::Thread {
    pb::Thread {
        thread_id: id.into(),
        model: "m".into(),
        ..Default::default()
    }
}

fn message(id: &str) -> pb::Message {
    pb::Message {
        message_id: id.into(),
        ..Default::default()
    }
}

fn ids(messages: &[pb::Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.message_id.as_str())
        .collect()
}

#[tokio::test]
async fn a_snapshot_waits_for_the_end_of_the_turn_unless_it_is_wanted_at_once() {
    use pb::SnapshotConsistency::{Immediate, TurnBoundary};
    let mut desk = Desk::set().await;
    let mut peer = desk.peer(7, "").await;
    assert_eq!(desk.engine.attached().await, Ok(7));
    desk.memory.begin("t", "turn");
    desk.memory.say("t", message("a"));
    desk.engine.changed("t").await;
    assert_eq!(peer.opened().await, ("t".into(), "turn".into()));
    peer.ask("later", TurnBoundary, &[]).await;
    peer.ask("now", Immediate, &[]).await;
    let (ask, snapshot) = peer.answered().await;
    assert_eq!((ask.as_str(), ids(&snapshot.messages)), ("now", vec!["a"]));
    assert!(snapshot.incomplete_turn && !snapshot.delta);
    desk.memory.say("t", message("b"));
    desk.memory.end("t");
    desk.engine.changed("t").await;
    assert_eq!(peer.opened().await, ("t".into(), String::new()));
    let (ask, snapshot) = peer.answered().await;
    assert_eq!((ask.as_str(), ids(&snapshot.messages)), ("later", vec!["a", "b"]));
    assert_eq!((snapshot.incomplete_turn, snapshot.model.as_str()), (false, "m"));
    peer.ask("rest", TurnBoundary, &["a"]).await;
    let (_, snapshot) = peer.answered().await;
    assert_eq!((snapshot.delta, ids(&snapshot.messages)), (true, vec!["b"]));
}

#[tokio::test]
async fn a_thread_that_is_not_run_is_declined() {
    let mut desk = Desk::set().await;
    let mut peer = desk.peer(1, "").await;
    desk.memory.remove("t");
    peer.ask("x", pb::SnapshotConsistency::Unspecified, &[]).await;
    match peer.next().await {
        Up::SnapshotReply(pb::SnapshotReply {
            result: Some(Answer::Error(error)),
            last: true,
            ..
        }) => assert_eq!(error.code, i32::from(Code::NotFound)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broken_stream_is_followed_by_another_and_seeds_go_on() {
    let mut desk = Desk::set().await;
    let mut resumed = desk.memory.resumed();
    let mut peer = desk.peer(1, "").await;
    desk.memory.begin("t", "turn");
    let begin = pb::SeedBegin {
        seed_id: "s".into(),
        thread: Some(thread("seeded")),
        items_total: 2,
    };
    let batch = |first_index, id| pb::SeedBatch {
        seed_id: "s".into(),
        first_index,
        messages: vec![message(id)],
    };
    peer.say(Down::SeedBegin(begin.clone())).await;
    peer.say(Down::SeedBatch(batch(0, "a"))).await;
    assert!(matches!(peer.next().await, Up::SeedAck(ack) if ack.items == 1));
    drop(peer);

    let mut peer = desk.peer(2, "turn").await;
    peer.say(Down::SeedBegin(begin)).await;
    // What it holds is said again: whoever acknowledged it may have died before he wrote it down.
    assert!(matches!(peer.next().await, Up::SeedAck(ack) if ack.items == 1));
    peer.say(Down::SeedBatch(batch(1, "b"))).await;
    assert!(matches!(peer.next().await, Up::SeedAck(ack) if ack.items == 2));
    peer.say(Down::SeedCommit(pb::SeedCommit { seed_id: "s".into() }))
        .await;
    assert_eq!(peer.opened().await.0, "seeded");
    let last = resumed
        .wait_for(Option::is_some)
        .await
        .expect("memory lives")
        .clone();
    assert_eq!(last.as_deref(), Some("seeded"));
    assert_eq!(ids(&desk.memory.messages("seeded")), ["a", "b"]);
}

#[tokio::test]
async fn what_the_service_would_say_again_is_the_end() {
    let mut desk = Desk::set().await;
    let peer = desk.peer(1, "").await;
    peer.down
        .send(Err(Status::aborted("attached again")))
        .await
        .expect("heard");
    let ended = desk.until(|state| matches!(state, State::Ended(_))).await;
    assert!(matches!(ended, State::Ended(Some(failure)) if failure.code == Code::Aborted));
    assert!(desk.engine.attached().await.is_err());
}

#[tokio::test]
async fn a_drained_engine_leaves_once_its_turn_is_over_and_comes_back() {
    let mut desk = Desk::set().await;
    desk.memory.begin("t", "turn");
    let mut peer = desk.called().await;
    peer.welcome(1).await;
    peer.opened().await;
    peer.say(Down::Drain(pb::Drain {})).await;
    desk.until(|state| *state == State::Draining(1)).await;
    desk.memory.end("t");
    desk.engine.changed("t").await;
    assert_eq!(peer.opened().await, ("t".into(), String::new()));
    assert!(matches!(peer.next().await, Up::Goodbye(_)));
    assert_eq!(peer.hear().await, None);
    drop(peer);
    desk.peer(2, "").await;
    desk.until(|state| *state == State::Attached(2)).await;
}

#[tokio::test]
async fn an_engine_that_leaves_says_goodbye_and_beats_until_then() {
    let mut desk = Desk::set().await;
    let mut peer = desk.peer(1, "").await;
    assert!(matches!(peer.hear().await, Some(Up::Heartbeat(_))));
    let leaving = tokio::spawn(desk.engine.clone().leave());
    assert!(matches!(peer.next().await, Up::Goodbye(_)));
    assert_eq!(peer.hear().await, None);
    drop(peer);
    leaving.await.expect("left");
    assert_eq!(desk.engine.state(), State::Ended(None));
}
