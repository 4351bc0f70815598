//! Engines that leave, are silent, or answer what was not asked: who asked gets a typed error, and nobody else notices.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{chat, holder, texts};
use crate::support::build::{named, user};
use crate::support::engine::{configured, frame, holds, of_thread};
use crate::support::pb::attach_request::Frame as Up;
use crate::support::pb::snapshot_reply::Result as Reply;
use crate::support::pb::{EngineSnapshot, Heartbeat, Message};
use crate::support::{Client, Code, Failure, Wire, refused, shared};

#[tokio::test]
async fn an_engine_that_leaves_before_it_answers_is_lost() {
    let client = shared().await;
    for way in 0..3 {
        let mut engine = holder(&client, "t").await;
        let leaving = async {
            engine.asked().await;
            match way {
                0 => engine.leaves().await,
                1 => drop(engine),
                _ => drop(Wire::attach(&client, "one").await),
            }
        };
        let ((), taken) = tokio::join!(leaving, client.snapshot_from_engine(of_thread("t")));
        refused(taken, Code::Unavailable, "ENGINE_LOST");
        client.without("one").await;
    }
    assert!(client.thread("t").await.session_id.is_empty());
}

#[tokio::test]
async fn an_error_of_the_engine_is_told() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let declining = async {
        let ask = engine.asked().await;
        let error = tonic_types::pb::Status {
            code: Code::Unavailable.into(),
            message: "busy".into(),
            details: Vec::new(),
        };
        engine.replies(&ask.ask_id, Some(Reply::Error(error)), true).await;
    };
    let ((), taken) = tokio::join!(declining, client.snapshot_from_engine(of_thread("t")));
    let status = taken.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "busy"));
    Failure::of(&status);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_changes_nothing() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let answering = async {
        let ask = engine.asked().await;
        engine
            .replies("another", Some(Reply::Snapshot(holds([user("x")]))), true)
            .await;
        engine.answers(&ask, holds(chat("t", 2))).await;
        engine.answers(&ask, holds([user("twice")])).await;
        engine.part(&ask, holds([user("twice")]), false).await;
    };
    let ((), taken) = tokio::join!(answering, client.snapshot_from_engine(of_thread("t")));
    let session = taken.unwrap().session.unwrap().session_id;
    client.snapshot(&mut engine, "t", holds(chat("t", 3))).await;
    assert_eq!(texts(&client.messages(&session).await), texts(&chat("t", 3)));
}

#[tokio::test]
async fn two_asks_get_each_its_own_answer() {
    let client = shared().await;
    let mut engine = holder(&client, "a").await;
    engine.opens("b").await;
    let answering = async {
        let (first, second) = (engine.asked().await, engine.asked().await);
        for ask in [second, first] {
            let messages = chat(&ask.thread_id, 2);
            engine.answers(&ask, holds(messages)).await;
        }
    };
    let ((), a, b) = tokio::join!(
        answering,
        client.snapshot_from_engine(of_thread("a")),
        client.snapshot_from_engine(of_thread("b"))
    );
    for (thread, taken) in [("a", a), ("b", b)] {
        let session = taken.unwrap().session.unwrap();
        assert_eq!(session.thread_id, thread);
        let read = client.messages(&session.session_id).await;
        assert_eq!(texts(&read), texts(&chat(thread, 2)));
    }
}

/// Snapshots that break a rule, each of its own.
fn broken() -> Vec<(&'static str, EngineSnapshot)> {
    let with_id = |id: &str| holds([named(id, user("a"))]);
    vec![
        ("an id that is none", with_id("../../etc/passwd")),
        ("an id that is a path", with_id("a/b")),
        (
            "an id twice",
            holds([named("a", user("1")), named("a", user("2"))]),
        ),
        ("no role", holds([Message::default()])),
        (
            "settings that are no JSON",
            EngineSnapshot {
                settings_json: "{".into(),
                ..holds(chat("t", 2))
            },
        ),
        (
            "metadata that are no JSON",
            holds([Message {
                metadata_json: "{".into(),
                ..user("a")
            }]),
        ),
        (
            "a long model",
            EngineSnapshot {
                model: "m".repeat(100_000),
                ..holds(chat("t", 2))
            },
        ),
        (
            "a long prompt",
            EngineSnapshot {
                system_prompt: "s".repeat((1 << 20) + 1),
                ..holds(chat("t", 2))
            },
        ),
    ]
}

#[tokio::test]
async fn a_broken_answer_is_an_error_for_who_asked_and_nothing_is_written() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    for (what, snapshot) in broken() {
        let (_, taken) = client.snapshot_by(&mut engine, of_thread("t"), snapshot).await;
        let Err(status) = taken else {
            panic!("{what} is taken: {taken:?}")
        };
        let failure = Failure::of(&status);
        assert!(
            !matches!(
                failure.code,
                Code::Internal | Code::InvalidArgument | Code::Unknown
            ),
            "{what} is not the caller's doing: {status:?}"
        );
    }
    assert!(client.thread("t").await.session_id.is_empty());
    client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
}

#[tokio::test]
async fn an_engine_that_holds_nothing_makes_no_session() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let (_, taken) = client
        .snapshot_by(&mut engine, of_thread("t"), EngineSnapshot::default())
        .await;
    refused(taken, Code::FailedPrecondition, "THREAD_EMPTY");
    assert!(client.thread("t").await.session_id.is_empty());
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused_and_harms_nobody_else() {
    let server = configured("[engines]\nsnapshot_bytes_max = 2097152\n").await;
    let client = server.client().await;
    let mut engine = holder(&client, "t").await;
    let mut other = Wire::attach(&client, "two").await;
    other.opens("u").await;
    let large = || holds([user(&"x".repeat(1 << 20))]);
    let answering = async {
        let ask = engine.asked().await;
        for n in 0..3 {
            engine.part(&ask, large(), n == 2).await;
        }
    };
    let ((), taken) = tokio::join!(answering, client.snapshot_from_engine(of_thread("t")));
    let status = taken.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    Failure::of(&status);
    client.snapshot(&mut other, "u", holds(chat("u", 2))).await;
    client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    assert_eq!(client.attached().await.len(), 2);
}

/// Snapshots that are asked for together.
const ASKS_AT_ONCE: usize = 1_000;

/// How often so many are.
const ROUNDS_MAX: usize = 30;

/// The stream is alive, but nothing of it is read: at some time the queue is full, and who asks then is told at once.
#[tokio::test]
async fn an_engine_that_does_not_read_has_a_full_queue() {
    let client = shared().await;
    let thread = "t".repeat(128);
    let deaf = holder(&client, &thread).await;
    let mut other = Wire::attach(&client, "two").await;
    other.opens("u").await;
    // A connection of their own: they are all given up in the end, which no connection outlives.
    let connection = Client::connected(&client.address(), None).await;
    let connection = connection.in_namespace(client.namespace());
    let mut asking = JoinSet::new();
    let mut full = None;
    for _ in 0..ROUNDS_MAX {
        for _ in 0..ASKS_AT_ONCE {
            let (connection, thread) = (connection.clone(), thread.clone());
            asking.spawn(async move {
                connection
                    .snapshot_from_engine(of_thread(&thread))
                    .await
                    .unwrap_err()
            });
        }
        // Those before the queue is full wait for their answer, and one after it is told at once.
        if let Ok(Some(told)) = tokio::time::timeout(Duration::from_secs(1), asking.join_next()).await {
            full = Some(told.unwrap());
            break;
        }
    }
    let full = full.expect("the queue is full at some time");
    asking.abort_all();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full:?}");
    assert_eq!(Failure::of(&full).reason, "QUEUE_FULL");
    client.snapshot(&mut other, "u", holds(chat("u", 2))).await;
    deaf.send_whole(frame(Up::Heartbeat(Heartbeat {}))).await;
    assert_eq!(client.attached().await.len(), 2);
}
