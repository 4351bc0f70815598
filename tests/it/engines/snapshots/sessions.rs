//! Which session a snapshot goes to, and when it may not.

use super::{chat, holder, texts};
use crate::support::build::{asks, assistant, entry, event, named, says, user};
use crate::support::engine::{holds, of_thread};
use crate::support::failure::invalid;
use crate::support::pb::{
    AppendItemsRequest, EngineSnapshot, FinishTurnRequest, Session, SnapshotConsistency,
    SnapshotFromEngineRequest, StartTurnRequest, Thread, TitleSource, TurnStatus,
};
use crate::support::{Client, Code, Wire, refused, shared};

fn into(thread: &str, session: &str) -> SnapshotFromEngineRequest {
    SnapshotFromEngineRequest {
        session_id: Some(session.into()),
        ..of_thread(thread)
    }
}

#[tokio::test]
async fn an_unknown_session_is_made_under_the_id_that_was_given() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let (_, taken) = client
        .snapshot_by(&mut engine, into("t", "mine"), holds(chat("t", 2)))
        .await;
    let taken = taken.unwrap();
    assert!(taken.created);
    let session = taken.session.unwrap();
    assert_eq!(
        (session.session_id.as_str(), session.thread_id.as_str()),
        ("mine", "t")
    );
    assert_eq!(client.thread("t").await.session_id, "mine");
    let again = client.snapshot(&mut engine, "t", holds(chat("t", 3))).await;
    assert_eq!(
        (again.created, again.session.unwrap().session_id.as_str()),
        (false, "mine")
    );
    for bad in ["../../etc/passwd", "a/b", "-", "sess bad"] {
        invalid(client.snapshot_from_engine(into("t", bad)).await, "session_id");
    }
}

#[tokio::test]
async fn a_session_without_messages_is_used_and_keeps_its_facts() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let titled = Session {
        session_id: "empty".into(),
        title: "Mine".into(),
        labels: [("a".into(), "b".into())].into(),
        ..Default::default()
    };
    let made = client.create(titled).await;
    let (_, taken) = client
        .snapshot_by(&mut engine, into("t", "empty"), holds(chat("t", 2)))
        .await;
    let taken = taken.unwrap();
    assert!(!taken.created);
    let session = taken.session.unwrap();
    assert_eq!(
        (&session.title, session.create_time, &session.labels),
        (&made.title, made.create_time, &made.labels)
    );
    assert_eq!((session.thread_id.as_str(), session.message_count), ("t", 2));
}

#[tokio::test]
async fn a_session_of_another_thread_is_refused() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let other = client.running(vec![asks("1")]).await;
    let owned = client.save(&other).await.session.unwrap().session_id;
    let refusal = client.snapshot_from_engine(into("t", &owned)).await;
    refused(refusal, Code::FailedPrecondition, "SESSION_OWNED");
    client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    assert_eq!(client.messages(&owned).await.len(), 1);
}

#[tokio::test]
async fn a_deleted_session_is_refused() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let blank = client.blank().await;
    client.delete(&blank).await;
    let refusal = client.snapshot_from_engine(into("t", &blank)).await;
    refused(refusal, Code::FailedPrecondition, "SESSION_DELETED");
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    client.delete(&taken.session.unwrap().session_id).await;
    let refusal = client.snapshot_from_engine(of_thread("t")).await;
    refused(refusal, Code::FailedPrecondition, "SESSION_DELETED");
}

#[tokio::test]
async fn a_message_of_somebody_else_is_never_written_past() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let session = taken.session.unwrap().session_id;
    client.append(&session, vec![event("{}")]).await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 3))).await;
    assert_eq!(taken.message_count, 3, "events are fine");
    client
        .append(&session, vec![entry(named("else", user("me too")))])
        .await;
    let refusal = client.snapshot_from_engine(of_thread("t")).await;
    refused(refusal, Code::Aborted, "SESSION_DIVERGED");
    assert_eq!(client.messages(&session).await.len(), 4);
    let (_, taken) = client
        .snapshot_by(&mut engine, into("t", "way-out"), holds(chat("t", 3)))
        .await;
    assert!(taken.unwrap().created);
    assert_eq!(texts(&client.messages("way-out").await), texts(&chat("t", 3)));

    let holding = client.holding([user("whose?")]).await;
    let refusal = client.snapshot_from_engine(into("t", &holding)).await;
    refused(refusal, Code::Aborted, "SESSION_DIVERGED");
}

/// Somebody appends while the engine thinks.
#[tokio::test]
async fn a_message_that_comes_meanwhile_is_not_written_past_either() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let session = taken.session.unwrap().session_id;
    let answering = async {
        let ask = engine.asked().await;
        client.append(&session, vec![entry(user("me too"))]).await;
        engine.answers(&ask, holds(chat("t", 3))).await;
    };
    let ((), taken) = tokio::join!(answering, client.snapshot_from_engine(of_thread("t")));
    refused(taken, Code::Aborted, "SESSION_DIVERGED");
    assert_eq!(client.messages(&session).await.len(), 3);
}

#[tokio::test]
async fn the_revision_must_be_the_expected_one() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let revision = taken.session.unwrap().revision;
    let expecting = |revision| SnapshotFromEngineRequest {
        expected_revision: Some(revision),
        ..of_thread("t")
    };
    let refusal = client.snapshot_from_engine(expecting(revision + 1)).await;
    let failure = refused(refusal, Code::Aborted, "REVISION_MISMATCH");
    assert!(failure.names(&revision.to_string()), "{failure:?}");
    for expected in [revision, 0] {
        let count = 3 + usize::from(expected == 0);
        let (_, taken) = client
            .snapshot_by(&mut engine, expecting(expected), holds(chat("t", count)))
            .await;
        taken.unwrap();
    }
}

#[tokio::test]
async fn a_title_is_the_requests_or_the_engines_or_derived() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let titled = |title: &str, count| EngineSnapshot {
        title: title.into(),
        ..holds(chat("t", count))
    };
    let session = client
        .snapshot(&mut engine, "t", titled("", 2))
        .await
        .session
        .unwrap();
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("t says 0", TitleSource::Derived)
    );
    let session = client
        .snapshot(&mut engine, "t", titled("Engine\u{7}'s", 3))
        .await
        .session
        .unwrap();
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("Engine's", TitleSource::Engine)
    );
    let session = client
        .snapshot(&mut engine, "t", titled("", 4))
        .await
        .session
        .unwrap();
    assert_eq!(session.title, "Engine's");
    let request = SnapshotFromEngineRequest {
        title: Some("Mine".into()),
        ..of_thread("t")
    };
    let (_, taken) = client
        .snapshot_by(&mut engine, request, titled("Engine's again", 5))
        .await;
    let session = taken.unwrap().session.unwrap();
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("Mine", TitleSource::User)
    );
    let session = client
        .snapshot(&mut engine, "t", titled("Never", 6))
        .await
        .session
        .unwrap();
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("Mine", TitleSource::User)
    );
    let blank = SnapshotFromEngineRequest {
        title: Some("\u{202e}".into()),
        ..of_thread("t")
    };
    invalid(client.snapshot_from_engine(blank).await, "title");
}

#[tokio::test]
async fn a_request_that_comes_again_asks_nobody() {
    let client = shared().await;
    let mut engine = holder(&client, "t").await;
    let request = SnapshotFromEngineRequest {
        request_id: "once".into(),
        ..of_thread("t")
    };
    let (_, first) = client
        .snapshot_by(&mut engine, request.clone(), holds(chat("t", 2)))
        .await;
    let first = first.unwrap();
    engine.leaves().await;
    client.without("one").await;
    assert_eq!(client.snapshot_from_engine(request).await.unwrap(), first);
    let other = SnapshotFromEngineRequest {
        request_id: "once".into(),
        ..of_thread("other")
    };
    let reused = client.snapshot_from_engine(other).await;
    refused(reused, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

/// An engine that writes its turns down too: one question and one answer under way.
async fn journaling(client: &Client) -> (Wire, String) {
    let engine = holder(client, "t").await;
    let epoch = Some(engine.epoch);
    let start = StartTurnRequest {
        thread_id: "t".into(),
        epoch,
        ..Default::default()
    };
    let turn = client.start_turn(start).await.unwrap().turn.unwrap().turn_id;
    let add = AppendItemsRequest {
        thread_id: "t".into(),
        turn_id: turn.clone(),
        items: vec![asks("t says 0")],
        epoch,
        ..Default::default()
    };
    client.append_items(add).await.unwrap();
    (engine, turn)
}

async fn finished(client: &Client, epoch: u64, turn: &str) {
    let add = AppendItemsRequest {
        thread_id: "t".into(),
        turn_id: turn.into(),
        items: vec![says("t says 1")],
        epoch: Some(epoch),
        ..Default::default()
    };
    client.append_items(add).await.unwrap();
    let finish = FinishTurnRequest {
        thread_id: "t".into(),
        turn_id: turn.into(),
        status: TurnStatus::Completed.into(),
        epoch: Some(epoch),
        ..Default::default()
    };
    client.finish_turn(finish).await.unwrap();
}

#[tokio::test]
async fn a_save_after_a_snapshot_in_mid_turn_has_the_turn_once() {
    let client = shared().await;
    let (mut engine, turn) = journaling(&client).await;
    let request = SnapshotFromEngineRequest {
        consistency: SnapshotConsistency::Immediate.into(),
        ..of_thread("t")
    };
    let half = EngineSnapshot {
        incomplete_turn: true,
        ..holds([named("q", user("t says 0")), named("a", assistant("t sa"))])
    };
    let (_, taken) = client.snapshot_by(&mut engine, request, half).await;
    let session = taken.unwrap().session.unwrap().session_id;
    finished(&client, engine.epoch, &turn).await;
    let saved = client.save("t").await;
    assert_eq!(saved.session.unwrap().session_id, session);
    assert_eq!(texts(&client.messages(&session).await), texts(&chat("t", 2)));
    let again = client.save("t").await;
    assert_eq!(again.message_count, 2);
}

#[tokio::test]
async fn a_save_after_a_whole_snapshot_adds_nothing() {
    let client = shared().await;
    let (mut engine, turn) = journaling(&client).await;
    finished(&client, engine.epoch, &turn).await;
    let taken = client.snapshot(&mut engine, "t", holds(chat("t", 2))).await;
    let before = taken.session.unwrap();
    let saved = client.save("t").await;
    assert_eq!((saved.created, saved.message_count), (false, 2));
    assert_eq!(saved.session.unwrap().revision, before.revision);
}

#[tokio::test]
async fn a_thread_title_comes_before_a_derived_one() {
    let client = shared().await;
    let thread = client
        .open(Thread {
            title: "The thread's".into(),
            ..Default::default()
        })
        .await;
    let mut engine = holder(&client, &thread).await;
    let taken = client.snapshot(&mut engine, &thread, holds(chat("t", 2))).await;
    assert_eq!(taken.session.unwrap().title, "The thread's");
}
