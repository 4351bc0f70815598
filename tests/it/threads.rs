//! Threads as resources, their turns and their items, without an engine.

mod items;
mod listing;
mod seeded;
mod turns;

use std::collections::BTreeMap;

use crate::support::build::{asks, says};
use crate::support::failure::invalid;
use crate::support::pb::{Thread, ThreadState, TurnStatus, UpdateThreadRequest};
use crate::support::{Client, Code, Status, pb, refused, shared};

fn full(id: &str) -> Thread {
    Thread {
        thread_id: id.into(),
        title: "A walk".into(),
        workspace: "/maps".into(),
        provider: "provider".into(),
        endpoint: "https://api.example".into(),
        model: "model".into(),
        mode: "agent".into(),
        task_type: "walk".into(),
        system_prompt: " Be kind.\n".into(),
        labels: BTreeMap::from([("a".into(), "1".into())]),
        settings_json: r#"{ "n": 1e400 }"#.into(),
        ..Default::default()
    }
}

async fn update_or(client: &Client, thread: Thread, paths: &[&str]) -> Result<Thread, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateThreadRequest {
        thread: Some(thread),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    Ok(client.update_thread(request).await?.thread.unwrap())
}

async fn set_state(client: &Client, id: &str, state: ThreadState) -> Thread {
    let thread = Thread {
        thread_id: id.into(),
        state: state.into(),
        ..Default::default()
    };
    update_or(client, thread, &["state"]).await.unwrap()
}

async fn thread_or(client: &Client, id: &str) -> Result<Thread, Status> {
    let request = pb::GetThreadRequest {
        thread_id: id.into(),
        ..Default::default()
    };
    Ok(client.get_thread(request).await?.thread.unwrap())
}

#[tokio::test]
async fn a_thread_has_the_facts_it_was_made_with() {
    let client = shared().await;
    client.open(full("t")).await;
    let made = client.thread("t").await;
    let expected = Thread {
        namespace: client.namespace().into(),
        state: ThreadState::Open.into(),
        create_time: made.create_time,
        update_time: made.update_time,
        ..full("t")
    };
    assert_eq!(made, expected);
    assert!(made.create_time.is_some() && made.create_time == made.update_time);

    let again = pb::CreateThreadRequest {
        thread_id: Some("t".into()),
        ..Default::default()
    };
    let failure = refused(
        client.create_thread(again).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    assert!(failure.names("t"), "{failure:?}");
    assert_eq!(client.open(Thread::default()).await.len(), 36, "a UUIDv7");
}

#[tokio::test]
async fn what_the_service_sets_is_ignored_in_requests() {
    let client = shared().await;
    let given = Thread {
        namespace: "elsewhere".into(),
        session_id: "session".into(),
        engine_id: "engine".into(),
        epoch: 9,
        active_turn_id: "turn".into(),
        turn_count: 9,
        item_count: 9,
        head_seq: 9,
        ..full("t")
    };
    client.open(given).await;
    let made = client.thread("t").await;
    assert_eq!(
        (made.namespace.as_str(), made.session_id.as_str()),
        (client.namespace(), "")
    );
    assert_eq!(
        (made.engine_id.as_str(), made.epoch, made.active_turn_id.as_str()),
        ("", 0, "")
    );
    assert_eq!((made.turn_count, made.item_count, made.head_seq), (0, 0, 0));
}

#[tokio::test]
async fn a_thread_that_is_not_there_is_not_found_by_any_call() {
    let client = shared().await;
    let id = "nowhere";
    let failure = refused(thread_or(&client, id).await, Code::NotFound, "THREAD_NOT_FOUND");
    assert!(failure.names(id), "{failure:?}");
    refused(
        update_or(&client, full(id), &["title"]).await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
    let delete = pb::DeleteThreadRequest {
        thread_id: id.into(),
        ..Default::default()
    };
    refused(
        client.delete_thread(delete).await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
    refused(client.start_or(id).await, Code::NotFound, "THREAD_NOT_FOUND");
    refused(
        client.add_or(id, "turn", vec![asks("a")]).await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
    refused(
        client.finish_or(id, "turn", TurnStatus::Completed).await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
    let list = pb::ListItemsRequest {
        thread_id: id.into(),
        ..Default::default()
    };
    refused(client.list_items(list).await, Code::NotFound, "THREAD_NOT_FOUND");
    refused(client.save_or(id).await, Code::NotFound, "THREAD_NOT_FOUND");
    let other = shared().await;
    client.open(full("mine")).await;
    refused(
        thread_or(&other, "mine").await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let client = shared().await;
    client.open(full("t")).await;
    let made = client.thread("t").await;
    let every = [
        "title",
        "workspace",
        "provider",
        "endpoint",
        "model",
        "mode",
        "task_type",
        "system_prompt",
        "labels",
        "settings_json",
    ];
    let one = Thread {
        model: "m2".into(),
        mode: "ignored".into(),
        ..Thread {
            thread_id: "t".into(),
            ..Default::default()
        }
    };
    let changed = update_or(&client, one.clone(), &["model"]).await.unwrap();
    let expected = Thread {
        model: "m2".into(),
        update_time: changed.update_time,
        ..made.clone()
    };
    assert_eq!(changed, expected);
    let request = UpdateThreadRequest {
        thread: Some(one),
        ..Default::default()
    };
    let set = client.update_thread(request).await.unwrap().thread.unwrap();
    let expected = Thread {
        mode: "ignored".into(),
        update_time: set.update_time,
        ..expected
    };
    assert_eq!(set, expected, "without a mask what is set is written");
    let cleared = update_or(
        &client,
        Thread {
            thread_id: "t".into(),
            ..Default::default()
        },
        &every,
    )
    .await
    .unwrap();
    let expected = Thread {
        namespace: client.namespace().into(),
        thread_id: "t".into(),
        state: ThreadState::Open.into(),
        create_time: made.create_time,
        update_time: cleared.update_time,
        ..Default::default()
    };
    assert_eq!(cleared, expected);
    for path in [
        "thread_id",
        "session_id",
        "engine_id",
        "epoch",
        "active_turn_id",
        "turn_count",
        "nonsense",
        "",
    ] {
        invalid(
            update_or(&client, full("t"), &["model", path]).await,
            "update_mask",
        );
    }
    assert_eq!(client.thread("t").await, cleared);
}

#[tokio::test]
async fn a_closed_thread_starts_no_turn() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    for state in [ThreadState::Closed, ThreadState::Archived] {
        assert_eq!(set_state(&client, &id, state).await.state(), state);
        refused(
            client.start_or(&id).await,
            Code::FailedPrecondition,
            "THREAD_CLOSED",
        );
    }
    set_state(&client, &id, ThreadState::Open).await;
    client.turn(&id, vec![asks("a"), says("b")]).await;
    set_state(&client, &id, ThreadState::Closed).await;
    assert_eq!(
        client.save(&id).await.message_count,
        2,
        "a closed thread can be saved"
    );
    let none = Thread {
        thread_id: id,
        ..Default::default()
    };
    invalid(update_or(&client, none, &["state"]).await, "state");
}

#[tokio::test]
async fn a_deleted_thread_is_gone_and_its_session_stays() {
    let client = shared().await;
    let id = client.running(vec![asks("a"), says("b")]).await;
    let session = client.save(&id).await.session.unwrap();
    let before = client.thread(&id).await;
    let delete = pb::DeleteThreadRequest {
        thread_id: id.clone(),
        ..Default::default()
    };
    assert_eq!(
        client.delete_thread(delete).await.unwrap().thread.unwrap(),
        before
    );
    refused(thread_or(&client, &id).await, Code::NotFound, "THREAD_NOT_FOUND");
    let left = client.session(&session.session_id).await;
    assert_eq!(
        (left.thread_id.as_str(), left.message_count, left.revision),
        ("", 2, session.revision)
    );
    assert_eq!(client.messages(&session.session_id).await.len(), 2);
    client
        .open(Thread {
            thread_id: id.clone(),
            ..Default::default()
        })
        .await;
    assert_eq!(client.items(&id).await, []);
}

#[tokio::test]
async fn an_epoch_that_nobody_holds_is_stale() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let turn_id = client.start(&id).await;
    let (thread_id, epoch) = (id.clone(), Some(7));
    let stale = |status: Result<(), Status>| {
        let failure = refused(status, Code::Aborted, "STALE_EPOCH");
        assert!(failure.names(&id), "{failure:?}");
    };
    let create = pb::CreateThreadRequest {
        thread_id: Some("other".into()),
        epoch,
        ..Default::default()
    };
    refused(client.create_thread(create).await, Code::Aborted, "STALE_EPOCH");
    let update = UpdateThreadRequest {
        thread: Some(full(&id)),
        epoch,
        ..Default::default()
    };
    stale(client.update_thread(update).await.map(drop));
    let delete = pb::DeleteThreadRequest {
        thread_id: thread_id.clone(),
        epoch,
        ..Default::default()
    };
    stale(client.delete_thread(delete).await.map(drop));
    let append = pb::AppendItemsRequest {
        thread_id: thread_id.clone(),
        turn_id: turn_id.clone(),
        items: vec![asks("a")],
        epoch,
        ..Default::default()
    };
    stale(client.append_items(append).await.map(drop));
    let finish = pb::FinishTurnRequest {
        thread_id: thread_id.clone(),
        turn_id: turn_id.clone(),
        status: TurnStatus::Completed.into(),
        epoch,
        ..Default::default()
    };
    stale(client.finish_turn(finish).await.map(drop));
    client.finish(&id, &turn_id).await;
    let start = pb::StartTurnRequest {
        thread_id,
        epoch,
        ..Default::default()
    };
    stale(client.start_turn(start).await.map(drop));
    assert_eq!(client.items(&id).await, []);
    refused(
        thread_or(&client, "other").await,
        Code::NotFound,
        "THREAD_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_thread_that_runs_is_not_deleted() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let turn = client.start(&id).await;
    let delete = pb::DeleteThreadRequest {
        thread_id: id.clone(),
        ..Default::default()
    };
    refused(
        client.delete_thread(delete.clone()).await,
        Code::FailedPrecondition,
        "TURN_IN_PROGRESS",
    );
    client.finish(&id, &turn).await;
    client.delete_thread(delete).await.unwrap();
}
