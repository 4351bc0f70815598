//! Snapshots that an engine gives as it should: what becomes of the session.

mod sessions;
mod trouble;

use std::time::Duration;

use tonic::Request;

use crate::support::build::{assistant, call, message, named, said, talk, usage, user};
use crate::support::engine::{holds, of_thread};
use crate::support::pb::{
    EngineSnapshot, Message, Role, Session, SessionState, SnapshotConsistency, SnapshotFromEngineRequest,
    TitleSource,
};
use crate::support::{Client, Code, Wire, refused, shared};

/// A conversation of so many messages with ids, each of which names its thread.
fn chat(thread: &str, count: usize) -> Vec<Message> {
    let one = |n: usize| {
        let said = format!("{thread} says {n}");
        let message = if n.is_multiple_of(2) {
            user(&said)
        } else {
            assistant(&said)
        };
        named(&format!("{thread}-{n}"), message)
    };
    (0..count).map(one).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(said).collect()
}

fn ids(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.message_id.as_str())
        .collect()
}

/// An engine that holds a thread.
async fn holder(client: &Client, thread: &str) -> Wire {
    let engine = Wire::attach(client, "one").await;
    engine.opens(thread).await;
    engine
}

#[tokio::test]
async fn without_a_thread_it_is_the_attached_one_that_changed_last() {
    let client = shared().await;
    let nothing = SnapshotFromEngineRequest::default();
    let none = client.snapshot_from_engine(nothing.clone()).await;
    refused(none, Code::FailedPrecondition, "NO_LIVE_THREAD");
    let mut one = holder(&client, "a").await;
    one.opens("b").await;
    let two = Wire::attach(&client, "two").await;
    two.opens("c").await;
    two.leaves().await;
    client.without("two").await;
    let (ask, taken) = client.snapshot_by(&mut one, nothing, holds(chat("b", 2))).await;
    assert_eq!(ask.thread_id, "b");
    assert_eq!(taken.unwrap().session.unwrap().thread_id, "b");
}

#[tokio::test]
async fn a_snapshot_without_an_engine_is_refused() {
    let client = shared().await;
    let unknown = client.snapshot_from_engine(of_thread("none")).await;
    refused(unknown, Code::NotFound, "THREAD_NOT_FOUND");
    let engine = holder(&client, "t").await;
    engine.leaves().await;
    client.without("one").await;
    let left = client.snapshot_from_engine(of_thread("t")).await;
    refused(left, Code::FailedPrecondition, "ENGINE_NOT_ATTACHED");
    // It is back, but has not said that the thread is its own still.
    let _again = Wire::attach(&client, "one").await;
    let unclaimed = client.snapshot_from_engine(of_thread("t")).await;
    refused(unclaimed, Code::FailedPrecondition, "ENGINE_NOT_ATTACHED");
}

#[tokio::test]
async fn the_engine_is_told_when_to_answer_and_until_when() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    for (wanted, expected) in [
        (
            SnapshotConsistency::Unspecified,
            SnapshotConsistency::TurnBoundary,
        ),
        (
            SnapshotConsistency::TurnBoundary,
            SnapshotConsistency::TurnBoundary,
        ),
        (SnapshotConsistency::Immediate, SnapshotConsistency::Immediate),
    ] {
        let request = SnapshotFromEngineRequest {
            consistency: wanted.into(),
            ..of_thread("t")
        };
        let (ask, taken) = client
            .snapshot_by(&mut engine, request, holds(chat("t", 2)))
            .await;
        taken.unwrap();
        assert_eq!(ask.consistency(), expected);
        assert!(ask.deadline.is_some());
    }
}

#[tokio::test]
async fn the_deadline_of_the_call_is_the_engines_too() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let mut request = Request::new(SnapshotFromEngineRequest {
        namespace: client.namespace().into(),
        ..of_thread("t")
    });
    request.set_timeout(Duration::from_secs(2));
    let mut sessions = client.sessions();
    let asked = async {
        let ask = engine.asked().await;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let deadline = ask.deadline.unwrap();
        assert!(
            deadline.seconds <= now.as_secs() as i64 + 5,
            "{deadline:?} at {now:?}"
        );
        ask
    };
    let (late, taken) = tokio::join!(asked, sessions.snapshot_from_engine(request));
    // The client gives up by itself at the same time, and then calls it CANCELLED.
    let code = taken.unwrap_err().code();
    assert!(
        matches!(code, Code::DeadlineExceeded | Code::Cancelled),
        "{code:?}"
    );
    engine.answers(&late, holds([user("too late")])).await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let session = taken.session.unwrap().session_id;
    assert_eq!(texts(&client.messages(&session).await), texts(&chat("t", 2)));
}

#[tokio::test]
async fn what_was_incomplete_is_finished_by_the_next_one() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let question = named("q", user("what?"));
    let half = named("a", message(Role::Assistant, vec![call("c", "{")]));
    let snapshot = EngineSnapshot {
        incomplete_turn: true,
        ..holds([question.clone(), half])
    };
    let request = SnapshotFromEngineRequest {
        consistency: SnapshotConsistency::Immediate.into(),
        ..of_thread("t")
    };
    let (_, taken) = client.snapshot_by(&mut engine, request, snapshot).await;
    let session = taken.unwrap().session.unwrap();
    assert!(session.incomplete_turn);
    assert_eq!(client.messages(&session.session_id).await.len(), 2);

    let whole = named("a", message(Role::Assistant, vec![call("c", "{}")]));
    let (ask, taken) = client
        .snapshot_by(
            &mut engine,
            of_thread("t"),
            holds([question.clone(), whole.clone()]),
        )
        .await;
    let after = taken.unwrap().session.unwrap();
    assert!(!after.incomplete_turn, "asked with {ask:?}");
    let read = client.messages(&session.session_id).await;
    assert_eq!(ids(&read), ["q", "a"]);
    assert_eq!(
        read[1].content, whole.content,
        "the finished content is what is read"
    );
    assert_eq!(client.context(&session.session_id).await, read);
}

#[tokio::test]
async fn the_rest_alone_is_taken_as_the_rest() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let (ask, taken) = client
        .snapshot_by(&mut engine, of_thread("t"), holds(chat("t", 2)))
        .await;
    assert_eq!((ask.known_messages, ask.known_last_message_id.as_str()), (0, ""));
    let taken = taken.unwrap();
    assert!(taken.created && !taken.delta);
    let session = taken.session.unwrap();
    let rest = EngineSnapshot {
        delta: true,
        ..holds(chat("t", 4).split_off(2))
    };
    let (ask, taken) = client.snapshot_by(&mut engine, of_thread("t"), rest).await;
    assert_eq!(
        (ask.known_messages, ask.known_last_message_id.as_str()),
        (2, "t-1")
    );
    let taken = taken.unwrap();
    assert_eq!(
        (taken.created, taken.delta, taken.message_count),
        (false, true, 4)
    );
    assert_eq!(taken.session.unwrap().revision, session.revision + 1);
    assert_eq!(
        texts(&client.messages(&session.session_id).await),
        texts(&chat("t", 4))
    );

    let nothing = EngineSnapshot {
        delta: true,
        ..Default::default()
    };
    let (ask, taken) = client.snapshot_by(&mut engine, of_thread("t"), nothing).await;
    assert_eq!(ask.known_messages, 4);
    let taken = taken.unwrap();
    assert_eq!(
        (taken.message_count, taken.session.unwrap().revision),
        (4, session.revision + 1)
    );
}

#[tokio::test]
async fn a_delta_that_the_session_left_behind_is_asked_for_in_full() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let session = taken.session.unwrap().session_id;
    let answering = async {
        let ask = engine.asked().await;
        // The log moves while the engine thinks: an event may always be appended.
        client
            .append(&session, vec![crate::support::build::event("{}")])
            .await;
        let rest = EngineSnapshot {
            delta: true,
            ..holds(chat("t", 3).split_off(2))
        };
        engine.answers(&ask, rest).await;
        let again = engine.asked().await;
        assert_ne!(again.ask_id, ask.ask_id);
        assert_eq!(again.known_messages, 0, "in full");
        engine.answers(&again, holds(chat("t", 3))).await;
    };
    let ((), taken) = tokio::join!(answering, client.snapshot_from_engine(of_thread("t")));
    let taken = taken.unwrap();
    assert_eq!((taken.delta, taken.message_count), (false, 3));
    assert_eq!(texts(&client.messages(&session).await), texts(&chat("t", 3)));
}

#[tokio::test]
async fn parts_are_taken_together_and_the_last_ones_facts_count() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let answering = async {
        let ask = engine.asked().await;
        for (n, one) in chat("t", 3).into_iter().enumerate() {
            let part = EngineSnapshot {
                model: format!("m{n}"),
                incomplete_turn: n == 0,
                ..holds([one])
            };
            engine.part(&ask, part, n == 2).await;
        }
    };
    let ((), taken) = tokio::join!(answering, client.snapshot_from_engine(of_thread("t")));
    let session = taken.unwrap().session.unwrap();
    assert_eq!((session.model.as_str(), session.incomplete_turn), ("m2", false));
    assert_eq!(
        texts(&client.messages(&session.session_id).await),
        texts(&chat("t", 3))
    );
}

#[tokio::test]
async fn a_snapshot_that_parts_from_the_session_rewinds_it() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 6))).await;
    let before = taken.session.unwrap();
    let mut other = chat("t", 3);
    other.push(named("other", assistant("another way")));
    let taken = client.snapshot(&mut engine, "t", holds(other.clone())).await;
    let after = taken.session.unwrap();
    assert_eq!(
        (after.session_id.as_str(), after.revision),
        (before.session_id.as_str(), before.revision + 1)
    );
    assert_eq!((after.message_count, after.entry_count), (4, 4));
    let read = client.messages(&after.session_id).await;
    assert_eq!(texts(&read), texts(&other));
    assert_eq!(client.context(&after.session_id).await, read);
    // A beginning of what is there drops the rest.
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 3))).await;
    let shorter = taken.session.unwrap();
    let read = client.messages(&after.session_id).await;
    assert_eq!(texts(&read), texts(&chat("t", 3)));
    assert_eq!(shorter.revision, after.revision + 1);
}

#[tokio::test]
async fn what_has_no_beginning_in_common_or_is_compacted_is_a_checkpoint() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 4))).await;
    let session = taken.session.unwrap().session_id;
    let short = vec![named("sum", user("what was said"))];
    client.snapshot(&mut engine, "t", holds(short.clone())).await;
    assert_eq!(texts(&client.context(&session).await), texts(&short));
    assert_eq!(
        texts(&client.messages(&session).await),
        texts(&chat("t", 4)),
        "nothing is replaced"
    );

    let more = vec![short[0].clone(), named("new", assistant("go on"))];
    let rest = client.snapshot(&mut engine, "t", holds(more.clone())).await;
    assert_eq!(rest.message_count, 5);
    assert_eq!(texts(&client.context(&session).await), texts(&more));

    let compacted = EngineSnapshot {
        compacted: true,
        ..holds([more[0].clone(), named("again", user("shorter"))])
    };
    let taken = client.snapshot(&mut engine, "t", compacted).await;
    assert_eq!(taken.message_count, 5, "the visible list keeps all");
    assert_eq!(
        talk(&client.context(&session).await),
        ["user: what was said", "user: shorter"]
    );
}

#[tokio::test]
async fn ids_are_kept_and_missing_ones_are_made() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let given = vec![named("mine", user("a")), assistant("b"), user("a")];
    let taken = client.snapshot(&mut engine, "t", holds(given.clone())).await;
    let session = taken.session.unwrap();
    let read = client.messages(&session.session_id).await;
    assert_eq!(read[0].message_id, "mine");
    assert!(
        read[1..].iter().all(|message| message.message_id.len() == 36),
        "{read:?}"
    );
    let taken = client.snapshot(&mut engine, "t", holds(given)).await;
    assert_eq!(
        taken.session.unwrap().revision,
        session.revision,
        "the same by role and content"
    );
    assert_eq!(client.messages(&session.session_id).await, read);
}

#[tokio::test]
async fn usage_totals_are_the_engines() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let mut chat = chat("t", 2);
    chat[1].usage = Some(usage(3));
    let taken = client.snapshot(&mut engine, "t", holds(chat.clone())).await;
    assert_eq!(taken.session.unwrap().usage, Some(usage(3)), "the sum");
    let totals = EngineSnapshot {
        usage: Some(usage(100)),
        ..holds(chat)
    };
    let taken = client.snapshot(&mut engine, "t", totals).await;
    let session = taken.session.unwrap();
    assert_eq!(session.usage, Some(usage(100)));
    assert_eq!(client.session(&session.session_id).await.usage, Some(usage(100)));
}

#[tokio::test]
async fn an_update_in_place_keeps_what_is_not_the_engines() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let made = taken.session.unwrap();
    assert_eq!(
        (made.title.as_str(), made.title_source()),
        ("t says 0", TitleSource::Derived)
    );
    let changed = Session {
        title: "Mine".into(),
        labels: [("a".into(), "b".into())].into(),
        state: SessionState::Archived.into(),
        ..made.clone()
    };
    let changed = client
        .update_or(changed, &["title", "labels", "state"])
        .await
        .unwrap();
    let more = EngineSnapshot {
        title: "The engine's".into(),
        model: "m".into(),
        provider: "p".into(),
        mode: "plan".into(),
        workspace: "/w/".into(),
        system_prompt: "s".into(),
        settings_json: "[1e400]".into(),
        ..holds(chat("t", 3))
    };
    let after = client.snapshot(&mut engine, "t", more).await.session.unwrap();
    let kept = |s: &Session| {
        (
            s.create_time,
            s.title.clone(),
            s.title_source,
            s.labels.clone(),
            s.state,
            s.archive_time,
        )
    };
    assert_eq!(kept(&after), kept(&changed));
    assert_eq!(
        [
            &after.model,
            &after.provider,
            &after.mode,
            &after.workspace,
            &after.system_prompt,
            &after.settings_json
        ],
        ["m", "p", "plan", "/w", "s", "[1e400]"]
    );
    // What the engine does not say stays as it is known.
    let silent = client
        .snapshot(&mut engine, "t", holds(chat("t", 4)))
        .await
        .session
        .unwrap();
    assert_eq!((silent.model.as_str(), silent.workspace.as_str()), ("m", "/w"));
}
