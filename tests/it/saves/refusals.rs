//! When a thread is not saved, and that nothing is written then.

use crate::support::build::{asks, entries, event, item, says, talk, user};
use crate::support::failure::invalid;
use crate::support::pb::{ItemKind, SaveSessionRequest, Thread};
use crate::support::{Code, fresh, refused, shared};

use super::save_to;

#[tokio::test]
async fn an_open_turn_or_item_is_not_saved() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2")]).await;
    let turn = client.start(&thread).await;
    let failure = refused(
        client.save_or(&thread).await,
        Code::FailedPrecondition,
        "TURN_IN_PROGRESS",
    );
    assert!(failure.names(&thread), "{failure:?}");
    client.add(&thread, &turn, vec![asks("3")]).await;
    refused(
        client.save_or(&thread).await,
        Code::FailedPrecondition,
        "TURN_IN_PROGRESS",
    );
    client.finish(&thread, &turn).await;
    assert_eq!(client.save(&thread).await.message_count, 3);
}

#[tokio::test]
async fn a_thread_without_a_message_is_empty() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    refused(
        client.save_or(&thread).await,
        Code::FailedPrecondition,
        "THREAD_EMPTY",
    );
    client
        .turn(
            &thread,
            vec![item(ItemKind::Status, vec![]), asks(" \n"), says("")],
        )
        .await;
    let failure = refused(
        client.save_or(&thread).await,
        Code::FailedPrecondition,
        "THREAD_EMPTY",
    );
    assert!(failure.names(&thread), "{failure:?}");
    let session = client.blank().await;
    refused(
        save_to(&client, &thread, &session).await,
        Code::FailedPrecondition,
        "THREAD_EMPTY",
    );
    assert_eq!(client.session(&session).await.thread_id, "");
    client.turn(&thread, vec![says("at last")]).await;
    assert_eq!(client.save(&thread).await.message_count, 1);
}

#[tokio::test]
async fn a_thread_must_be_named() {
    let client = shared().await;
    for blank in ["", " ", "\t"] {
        invalid(client.save_or(blank).await, "thread_id");
    }
    refused(client.save_or("nobody").await, Code::NotFound, "THREAD_NOT_FOUND");
}

#[tokio::test]
async fn a_session_of_another_thread_is_not_touched() {
    let client = shared().await;
    let (mine, other) = (
        client.running(vec![asks("1")]).await,
        client.running(vec![asks("2")]).await,
    );
    let session = client.save(&other).await.session.unwrap();
    let failure = refused(
        save_to(&client, &mine, &session.session_id).await,
        Code::FailedPrecondition,
        "SESSION_OWNED",
    );
    assert!(failure.names(&session.session_id), "{failure:?}");
    assert_eq!(client.session(&session.session_id).await, session);
    refused(client.save_or("nobody").await, Code::NotFound, "THREAD_NOT_FOUND");
}

#[tokio::test]
async fn what_the_thread_did_not_say_is_not_written_past() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2")]).await;
    let session = client.save(&thread).await.session.unwrap().session_id;
    client.append(&session, vec![event("{}")]).await;
    client.turn(&thread, vec![asks("3")]).await;
    assert_eq!(
        client.save(&thread).await.message_count,
        3,
        "events may always be appended"
    );

    client.append(&session, entries([user("from elsewhere")])).await;
    let before = client.session(&session).await;
    for _ in 0..2 {
        let failure = refused(client.save_or(&thread).await, Code::Aborted, "SESSION_DIVERGED");
        assert!(failure.names(&session), "{failure:?}");
        client.turn(&thread, vec![asks("4")]).await;
    }
    assert_eq!(client.session(&session).await, before);

    let way_out = save_to(&client, &thread, &fresh("out")).await.unwrap();
    assert_eq!((way_out.created, way_out.message_count), (true, 5));
    let found = client.messages(&way_out.session.unwrap().session_id).await;
    assert_eq!(
        talk(&found),
        ["user: 1", "assistant: 2", "user: 3", "user: 4", "user: 4"]
    );

    let foreign = client.holding([user("not of any thread")]).await;
    refused(
        save_to(&client, &thread, &foreign).await,
        Code::Aborted,
        "SESSION_DIVERGED",
    );
}

#[tokio::test]
async fn an_expected_revision_must_be_the_present_one() {
    let client = shared().await;
    let thread = client.running(vec![asks("1")]).await;
    let save = |expected_revision| SaveSessionRequest {
        thread_id: thread.clone(),
        expected_revision: Some(expected_revision),
        ..Default::default()
    };
    let first = client.save_session(save(0)).await.unwrap().session.unwrap();
    assert_eq!(first.revision, 1);
    client.turn(&thread, vec![asks("2")]).await;
    for old in [2, 99] {
        let failure = refused(
            client.save_session(save(old)).await,
            Code::Aborted,
            "REVISION_MISMATCH",
        );
        assert!(failure.names("1"), "{failure:?}");
    }
    assert_eq!(client.save_session(save(1)).await.unwrap().message_count, 2);
    refused(
        client.save_session(save(1)).await,
        Code::Aborted,
        "REVISION_MISMATCH",
    );
}

#[tokio::test]
async fn a_thread_is_saved_to_sixteen_sessions_at_most() {
    let client = shared().await;
    let thread = client.running(vec![asks("1")]).await;
    for n in 0..16 {
        assert!(save_to(&client, &thread, &format!("s{n}")).await.unwrap().created);
    }
    let one_more = save_to(&client, &thread, "s16").await;
    refused(one_more, Code::InvalidArgument, "LIMIT_EXCEEDED");
    client.turn(&thread, vec![says("2")]).await;
    for n in 0..16 {
        assert_eq!(
            save_to(&client, &thread, &format!("s{n}"))
                .await
                .unwrap()
                .message_count,
            2
        );
    }
    assert_eq!(client.thread(&thread).await.session_id, "s15");
}
