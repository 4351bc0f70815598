//! Live engines over the wire: Rust's client side of Attach against a server, for snapshots, resumes and restarts.

mod attach;
mod holding;
mod leaving;
mod resumes;
mod seeds;
mod snapshots;
mod storm;

use std::sync::Arc;

use sessiond::client::Client as EngineClient;
use sessiond::client::engine::{Engine, Memory, Profile, State};

use crate::support::build::{assistant, call, message, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    self, Message, ResumeState, Role, SnapshotConsistency, SnapshotFromEngineResponse, Thread,
};
use crate::support::server::Setup;
use crate::support::{Client, Code, Server, Status, refused, shared, until, within};

/// An engine with its memory, in the namespace of a client.
struct Host {
    client: Client,
    engine: Engine,
    memory: Arc<Memory>,
}

impl Host {
    async fn attach(client: &Client, address: &str, id: &str) -> Self {
        let address = address.parse().unwrap();
        let connection = EngineClient::connect(&address, client.namespace()).await.unwrap();
        let memory = Arc::new(Memory::default());
        let engine = Engine::attach(&connection, Profile::named(id), memory.clone());
        within("it attaches", engine.attached()).await.unwrap();
        Self {
            client: client.clone(),
            engine,
            memory,
        }
    }

    /// Opens a thread and waits until the service knows whose it is.
    async fn open(&self, id: &str) {
        self.memory.add(Thread {
            thread_id: id.into(),
            model: "m".into(),
            ..Default::default()
        });
        self.engine.changed(id).await;
        self.owns(id).await;
    }

    async fn owns(&self, id: &str) {
        let epoch = self.engine.attached().await.unwrap();
        until("the thread is the engine's", || async {
            let request = pb::GetThreadRequest {
                thread_id: id.into(),
                ..Default::default()
            };
            let thread = self.client.get_thread(request).await.ok()?.thread?;
            (thread.epoch == epoch).then_some(())
        })
        .await;
    }

    async fn begin(&self, thread: &str, said: Message) {
        self.memory.begin(thread, "turn");
        self.memory.say(thread, said);
        self.engine.changed(thread).await;
    }

    async fn end(&self, thread: &str, said: Message) {
        self.memory.say(thread, said);
        self.memory.end(thread);
        self.engine.changed(thread).await;
    }

    async fn until(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.engine.watch();
        within(what, state.wait_for(wanted)).await.unwrap().clone()
    }
}

async fn snapshot_or(
    client: &Client,
    thread: Option<&str>,
    consistency: SnapshotConsistency,
) -> Result<SnapshotFromEngineResponse, Status> {
    let request = pb::SnapshotFromEngineRequest {
        thread_id: thread.map(str::to_owned),
        consistency: consistency.into(),
        ..Default::default()
    };
    client.snapshot_from_engine(request).await
}

async fn snapshot(client: &Client, thread: &str) -> SnapshotFromEngineResponse {
    let taken = snapshot_or(client, Some(thread), SnapshotConsistency::Unspecified).await;
    taken.unwrap()
}

/// What was saved, with the times that the service gave, is what the engine holds.
async fn same(client: &Client, host: &Host, thread: &str, session: &str) {
    let held = host.memory.messages(thread);
    let read = client.messages(session).await;
    let read: Vec<Message> = read
        .into_iter()
        .zip(&held)
        .map(|(read, held)| Message {
            create_time: held.create_time,
            ..read
        })
        .collect();
    assert_eq!(read, held);
}

#[tokio::test]
async fn a_snapshot_is_what_the_engine_holds() {
    let client = shared().await;
    refused(
        snapshot_or(&client, None, SnapshotConsistency::Unspecified).await,
        Code::FailedPrecondition,
        "NO_LIVE_THREAD",
    );
    let host = Host::attach(&client, &client.address(), "e").await;
    host.open("t").await;
    host.begin("t", user("a")).await;
    host.memory
        .say("t", message(Role::Assistant, vec![call("c", "{")]));
    let taken = snapshot_or(&client, None, SnapshotConsistency::Immediate)
        .await
        .unwrap();
    assert_eq!(
        (taken.created, taken.delta, taken.message_count),
        (true, false, 2)
    );
    let session = taken.session.unwrap();
    assert!(session.incomplete_turn);
    assert_eq!((session.thread_id.as_str(), session.model.as_str()), ("t", "m"));
    same(&client, &host, "t", &session.session_id).await;

    let (taken, ()) = tokio::join!(snapshot(&client, "t"), host.end("t", assistant("b")));
    assert_eq!((taken.created, taken.message_count), (false, 3));
    assert!(!taken.session.unwrap().incomplete_turn);
    host.begin("t", user("c")).await;
    host.end("t", assistant("d")).await;
    let taken = snapshot(&client, "t").await;
    assert_eq!((taken.delta, taken.message_count), (true, 5));
    same(&client, &host, "t", &session.session_id).await;
}

#[tokio::test]
async fn only_a_live_thread_has_a_snapshot() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    refused(
        snapshot_or(&client, Some(&thread), SnapshotConsistency::Unspecified).await,
        Code::FailedPrecondition,
        "ENGINE_NOT_ATTACHED",
    );
    refused(
        snapshot_or(&client, Some("none"), SnapshotConsistency::Unspecified).await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
    let host = Host::attach(&client, &client.address(), "e").await;
    host.open("t").await;
    host.engine.leave().await;
    refused(
        snapshot_or(&client, Some("t"), SnapshotConsistency::Unspecified).await,
        Code::FailedPrecondition,
        "ENGINE_NOT_ATTACHED",
    );
}

#[tokio::test]
async fn a_fork_is_resumed_into_another_engine() {
    let client = shared().await;
    let first = Host::attach(&client, &client.address(), "first").await;
    first.open("t").await;
    for said in ["a", "b", "c"] {
        first.begin("t", user(said)).await;
        first.end("t", assistant(said)).await;
    }
    let session = snapshot(&client, "t").await.session.unwrap();
    let fork = client.fork(&session.session_id, Point::UserMessageIndex(2)).await;
    let fork = fork.session.unwrap().session_id;
    let request = pb::ResumeRequest {
        session_id: fork.clone(),
        engine_id: Some("second".into()),
        ..Default::default()
    };
    refused(
        client.resume_or(request.clone()).await,
        Code::FailedPrecondition,
        "NO_ENGINE",
    );
    let second = Host::attach(&client, &client.address(), "second").await;
    let told = client.resume_or(request).await.unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.items_written));
    let last = told.last().unwrap();
    assert_eq!(
        (last.state(), last.engine_id.as_str()),
        (ResumeState::Ready, "second")
    );
    assert_eq!((last.items_written, last.items_total), (4, 4));
    let mut resumed = second.memory.resumed();
    within("the engine has it", resumed.wait_for(Option::is_some))
        .await
        .unwrap();
    assert_eq!(
        second.memory.messages(&last.thread_id),
        client.context(&fork).await
    );

    second.begin(&last.thread_id, user("d")).await;
    second.end(&last.thread_id, assistant("d")).await;
    let taken = snapshot(&client, &last.thread_id).await;
    assert_eq!((taken.delta, taken.message_count), (true, 6));
    same(&client, &second, &last.thread_id, &fork).await;
    assert_eq!(
        client.messages(&session.session_id).await.len(),
        6,
        "the parent stays"
    );
}

#[tokio::test]
async fn large_conversations_go_up_and_down_in_parts() {
    let client = shared().await;
    let first = Host::attach(&client, &client.address(), "first").await;
    first.open("t").await;
    first.memory.begin("t", "turn");
    // More than a part, and one message that is larger than any part.
    for bytes in [1 << 20, 1 << 20, 1 << 20, 5 << 20, 10] {
        first.memory.say("t", user(&"x".repeat(bytes)));
    }
    first.end("t", assistant("that was long")).await;
    let session = snapshot(&client, "t").await.session.unwrap();
    assert_eq!(session.message_count, 6);
    let second = Host::attach(&client, &client.address(), "second").await;
    let fork = client.fork(&session.session_id, Point::UserMessageIndex(4)).await;
    let request = pb::ResumeRequest {
        session_id: fork.session.unwrap().session_id,
        engine_id: Some("second".into()),
        ..Default::default()
    };
    let told = client.resume_or(request).await.unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.state(), last.items_written), (ResumeState::Ready, 4));
    let mut resumed = second.memory.resumed();
    within("the engine has it", resumed.wait_for(Option::is_some))
        .await
        .unwrap();
    let (held, seeded) = (
        first.memory.messages("t"),
        second.memory.messages(&last.thread_id),
    );
    let said = |messages: &[Message]| {
        let said = messages
            .iter()
            .map(|message| (message.message_id.clone(), message.content.clone()));
        said.collect::<Vec<_>>()
    };
    assert!(said(&held[..4]) == said(&seeded), "they differ");
}

#[tokio::test]
async fn who_attaches_again_takes_over() {
    let client = shared().await;
    let older = Host::attach(&client, &client.address(), "e").await;
    older.open("t").await;
    let newer = Host::attach(&client, &client.address(), "e").await;
    let ended = older
        .until("the older one ends", |state| matches!(state, State::Ended(_)))
        .await;
    let State::Ended(Some(failure)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(
        (failure.code, failure.reason.as_deref()),
        (Code::Aborted, Some("STALE_EPOCH"))
    );
    newer.open("t").await;
    newer.begin("t", user("a")).await;
    newer.end("t", assistant("b")).await;
    assert_eq!(snapshot(&client, "t").await.message_count, 2);
}

#[tokio::test]
async fn a_thread_stays_with_the_engine_that_holds_it() {
    let client = shared().await;
    let holder = Host::attach(&client, &client.address(), "holder").await;
    holder.open("t").await;
    refused(
        client.start_or("t").await,
        Code::FailedPrecondition,
        "THREAD_OWNED",
    );
    let other = Host::attach(&client, &client.address(), "other").await;
    other.memory.add(Thread {
        thread_id: "t".into(),
        ..Default::default()
    });
    other.engine.changed("t").await;
    let ended = other
        .until("the other one ends", |state| matches!(state, State::Ended(_)))
        .await;
    let State::Ended(Some(failure)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(failure.code, Code::FailedPrecondition);
    assert!(failure.is("THREAD_OWNED"), "{failure:?}");
    assert_eq!(client.thread("t").await.engine_id, "holder");
}

#[tokio::test]
async fn an_engine_comes_back_after_a_restart_with_the_turn_that_runs() {
    // The socket's path stays, so that the engine finds it again.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket").display().to_string();
    let mut server = Server::start_with(Setup {
        arguments: vec!["--uds".into(), socket.clone()],
        ..Default::default()
    })
    .await;
    let client = server.client().await;
    let host = Host::attach(&client, &format!("unix:{socket}"), "e").await;
    host.open("t").await;
    host.begin("t", user("a")).await;
    let at_once = SnapshotConsistency::Immediate;
    let session = snapshot_or(&client, Some("t"), at_once)
        .await
        .unwrap()
        .session
        .unwrap();
    server.kill();
    host.until("it is detached", |state| matches!(state, State::Detached(_)))
        .await;
    server.restart().await;
    within("it attaches again", host.engine.attached()).await.unwrap();
    let client = server.client_of(&client).await;
    let host = Host {
        client: client.clone(),
        ..host
    };
    host.owns("t").await;
    host.end("t", assistant("b")).await;
    let taken = snapshot(&client, "t").await;
    assert_eq!((taken.message_count, taken.created), (2, false));
    assert_eq!(taken.session.unwrap().session_id, session.session_id);
    same(&client, &host, "t", &session.session_id).await;
    host.engine.leave().await;
    server.stop().await;
}
