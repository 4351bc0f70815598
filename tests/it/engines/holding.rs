//! Threads of engines: claimed, made, let go, and written under an epoch.

use crate::support::build::{asks, says};
use crate::support::pb::attach_request::Frame as Up;
use crate::support::pb::{
    AppendItemsRequest, FinishTurnRequest, StartTurnRequest, Thread, ThreadClosed, ThreadOpened, TurnStatus,
};
use crate::support::{Client, Code, Status, Wire, refused, shared, until};

async fn start_under(client: &Client, thread: &str, epoch: Option<u64>) -> Result<String, Status> {
    let request = StartTurnRequest {
        thread_id: thread.into(),
        epoch,
        ..Default::default()
    };
    Ok(client.start_turn(request).await?.turn.unwrap().turn_id)
}

async fn add_under(client: &Client, thread: &str, turn: &str, epoch: Option<u64>) -> Result<(), Status> {
    let request = AppendItemsRequest {
        thread_id: thread.into(),
        turn_id: turn.into(),
        items: vec![asks("1"), says("2")],
        epoch,
        ..Default::default()
    };
    client.append_items(request).await.map(drop)
}

async fn finish_under(client: &Client, thread: &str, turn: &str, epoch: Option<u64>) -> Result<(), Status> {
    let request = FinishTurnRequest {
        thread_id: thread.into(),
        turn_id: turn.into(),
        status: TurnStatus::Completed.into(),
        epoch,
        ..Default::default()
    };
    client.finish_turn(request).await.map(drop)
}

#[tokio::test]
async fn a_thread_that_is_not_there_is_made_as_it_is_described() {
    let client = shared().await;
    let engine = Wire::attach(&client, "one").await;
    let thread = Thread {
        thread_id: "thread".into(),
        title: "Title".into(),
        workspace: "/w".into(),
        model: "m".into(),
        mode: "plan".into(),
        system_prompt: "s".into(),
        ..Default::default()
    };
    let opened = ThreadOpened {
        thread: Some(thread.clone()),
        ..Default::default()
    };
    engine.send(Up::ThreadOpened(opened)).await;
    engine.opens("thread").await;
    let made = client.thread("thread").await;
    assert_eq!((made.engine_id.as_str(), made.epoch), ("one", engine.epoch));
    let facts = |t: &Thread| [&t.title, &t.workspace, &t.model, &t.mode, &t.system_prompt].map(String::clone);
    assert_eq!(facts(&made), facts(&thread));
}

#[tokio::test]
async fn a_thread_that_is_there_is_claimed_and_keeps_its_facts() {
    let client = shared().await;
    let thread = client
        .open(Thread {
            title: "Old".into(),
            ..Default::default()
        })
        .await;
    client.turn(&thread, vec![asks("1")]).await;
    let engine = Wire::attach(&client, "one").await;
    let opened = ThreadOpened {
        thread: Some(Thread {
            thread_id: thread.clone(),
            title: "New".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    engine.send(Up::ThreadOpened(opened)).await;
    engine.opens(&thread).await;
    let held = client.thread(&thread).await;
    assert_eq!((held.title.as_str(), held.turn_count), ("Old", 1));
}

#[tokio::test]
async fn a_thread_of_another_attached_engine_stays_with_it() {
    let client = shared().await;
    let one = Wire::attach(&client, "one").await;
    one.opens("thread").await;
    let mut two = Wire::attach(&client, "two").await;
    two.claims("thread", "").await;
    let failure = refused(two.ended().await, Code::FailedPrecondition, "THREAD_OWNED");
    assert!(failure.names("thread"), "{failure:?}");
    let thread = client.thread("thread").await;
    assert_eq!((thread.engine_id.as_str(), thread.epoch), ("one", one.epoch));
    client.without("two").await;

    one.leaves().await;
    client.without("one").await;
    let two = Wire::attach(&client, "two").await;
    two.opens("thread").await;
}

#[tokio::test]
async fn writes_need_the_owners_epoch() {
    let client = shared().await;
    let engine = Wire::attach(&client, "one").await;
    engine.opens("thread").await;
    let epoch = Some(engine.epoch);
    let owned = start_under(&client, "thread", None).await;
    refused(owned, Code::FailedPrecondition, "THREAD_OWNED");
    for other in [engine.epoch - 1, engine.epoch + 1] {
        let stale = start_under(&client, "thread", Some(other)).await;
        refused(stale, Code::Aborted, "STALE_EPOCH");
    }
    let turn = start_under(&client, "thread", epoch).await.unwrap();
    for given in [None, Some(engine.epoch + 1)] {
        let (code, reason) = match given {
            None => (Code::FailedPrecondition, "THREAD_OWNED"),
            Some(_) => (Code::Aborted, "STALE_EPOCH"),
        };
        refused(add_under(&client, "thread", &turn, given).await, code, reason);
        refused(finish_under(&client, "thread", &turn, given).await, code, reason);
    }
    add_under(&client, "thread", &turn, epoch).await.unwrap();
    finish_under(&client, "thread", &turn, epoch).await.unwrap();
    assert_eq!(client.items("thread").await.len(), 2);
}

#[tokio::test]
async fn a_stale_epoch_is_refused_after_the_engine_left_too() {
    let client = shared().await;
    let older = Wire::attach(&client, "one").await;
    older.opens("thread").await;
    let first = older.epoch;
    let newer = Wire::attach(&client, "one").await;
    newer.opens("thread").await;
    let second = newer.epoch;
    refused(
        start_under(&client, "thread", Some(first)).await,
        Code::Aborted,
        "STALE_EPOCH",
    );
    newer.leaves().await;
    client.without("one").await;
    for stale in [first, second + 1] {
        refused(
            start_under(&client, "thread", Some(stale)).await,
            Code::Aborted,
            "STALE_EPOCH",
        );
    }
    until("a write without an epoch is taken", async || {
        start_under(&client, "thread", None).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_thread_that_is_closed_by_its_engine_is_anybodys() {
    let client = shared().await;
    let one = Wire::attach(&client, "one").await;
    one.opens("thread").await;
    let thread_id = "thread".to_owned();
    one.send(Up::ThreadClosed(ThreadClosed { thread_id })).await;
    until("the thread has no engine", async || {
        client.thread("thread").await.engine_id.is_empty().then_some(())
    })
    .await;
    let stale = start_under(&client, "thread", Some(one.epoch + 1)).await;
    refused(stale, Code::Aborted, "STALE_EPOCH");
    start_under(&client, "thread", None).await.unwrap();
    let two = Wire::attach(&client, "two").await;
    two.opens("thread").await;
    // What is not one's own, or not there, is let go of without a word.
    for thread_id in ["thread", "nothing"] {
        let thread_id = thread_id.to_owned();
        one.send(Up::ThreadClosed(ThreadClosed { thread_id })).await;
    }
    one.opens("own").await;
    assert_eq!(client.thread("thread").await.engine_id, "two");
}
