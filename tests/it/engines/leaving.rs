//! Turns of engines that leave: they end only when nobody comes back for them.

use crate::support::build::{asks, says};
use crate::support::engine::{configured, quick};
use crate::support::pb::{
    AppendItemsRequest, Item, ListItemsRequest, StartTurnRequest, Thread, Turn, TurnStatus,
};
use crate::support::{Client, Wire, until};

/// A turn of an engine that has one item which is done, and one that is not.
async fn under_way(client: &Client, engine: &Wire, thread: &str) -> String {
    engine.opens(thread).await;
    let epoch = Some(engine.epoch);
    let request = StartTurnRequest {
        thread_id: thread.into(),
        epoch,
        ..Default::default()
    };
    let turn = client.start_turn(request).await.unwrap().turn.unwrap().turn_id;
    let running = Item {
        status: TurnStatus::InProgress.into(),
        ..says("half")
    };
    let request = AppendItemsRequest {
        thread_id: thread.into(),
        turn_id: turn.clone(),
        items: vec![asks("1"), running],
        epoch,
        ..Default::default()
    };
    client.append_items(request).await.unwrap();
    turn
}

async fn turn_of(client: &Client, thread: &str, turn: &str) -> (Turn, Vec<Item>) {
    let request = ListItemsRequest {
        thread_id: thread.into(),
        turn_id: Some(turn.into()),
        ..Default::default()
    };
    let listed = client.list_items(request).await.unwrap();
    let turn = listed.turns.into_iter().find(|found| found.turn_id == turn);
    (turn.expect("the turn is listed"), listed.items)
}

async fn interrupted(client: &Client, thread: &str, turn: &str) {
    let items = until("the turn is interrupted", async || {
        let (turn, items) = turn_of(client, thread, turn).await;
        // Items and turns are two reads: the turn may show as ended first.
        let runs = items.iter().any(|item| item.status() == TurnStatus::InProgress);
        (turn.status() == TurnStatus::Interrupted && !runs).then_some(items)
    })
    .await;
    let states: Vec<_> = items.iter().map(Item::status).collect();
    assert_eq!(states, [TurnStatus::Completed, TurnStatus::Interrupted]);
    assert!(client.thread(thread).await.active_turn_id.is_empty());
}

async fn runs(client: &Client, thread: &str, turn: &str) {
    let (turn, items) = turn_of(client, thread, turn).await;
    assert_eq!(turn.status(), TurnStatus::InProgress);
    assert_eq!(items.last().unwrap().status(), TurnStatus::InProgress);
}

#[tokio::test]
async fn a_turn_is_interrupted_when_its_engine_is_not_back() {
    let client = quick().await;
    let engine = Wire::attach(&client, "one").await;
    let turn = under_way(&client, &engine, "thread").await;
    let thread = client.open(Thread::default()).await;
    let nobodys = client.start(&thread).await;
    client.add(&thread, &nobodys, vec![asks("1")]).await;
    engine.leaves().await;
    client.without("one").await;
    runs(&client, "thread", &turn).await;
    interrupted(&client, "thread", &turn).await;
    assert_eq!(client.thread(&thread).await.active_turn_id, nobodys);
    client.finish(&thread, &nobodys).await;
}

#[tokio::test]
async fn a_turn_that_is_named_lives_and_one_that_is_not_does_not() {
    let client = quick().await;
    let engine = Wire::attach(&client, "one").await;
    let named = under_way(&client, &engine, "named").await;
    let unnamed = under_way(&client, &engine, "unnamed").await;
    let absent = under_way(&client, &engine, "absent").await;
    let wrong = under_way(&client, &engine, "wrong").await;
    let again = Wire::attach(&client, "one").await;
    again.opens_in("named", &named).await;
    again.opens_in("unnamed", "").await;
    again.opens_in("wrong", "another").await;
    for (thread, turn) in [("unnamed", &unnamed), ("absent", &absent), ("wrong", &wrong)] {
        interrupted(&client, thread, turn).await;
    }
    runs(&client, "named", &named).await;
}

#[tokio::test]
async fn a_turn_that_is_named_later_but_in_time_lives() {
    let client = quick().await;
    let engine = Wire::attach(&client, "one").await;
    let late = under_way(&client, &engine, "late").await;
    let never = under_way(&client, &engine, "never").await;
    let again = Wire::attach(&client, "one").await;
    again.opens_in("late", "").await;
    again.claims("late", &late).await;
    interrupted(&client, "never", &never).await;
    runs(&client, "late", &late).await;
}

#[tokio::test]
async fn the_same_holds_across_a_restart() {
    let mut server = configured("[engines]\nheartbeat_ms = 1500\n").await;
    let client = server.client().await;
    let one = Wire::attach(&client, "one").await;
    let two = Wire::attach(&client, "two").await;
    let named = under_way(&client, &one, "named").await;
    let unnamed = under_way(&client, &one, "unnamed").await;
    let gone = under_way(&client, &two, "gone").await;
    let thread = client.open(Thread::default()).await;
    let nobodys = client.start(&thread).await;
    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert!(client.attached().await.is_empty());
    let again = Wire::attach(&client, "one").await;
    assert!(again.epoch > two.epoch);
    again.opens_in("named", &named).await;
    again.opens_in("unnamed", "").await;
    interrupted(&client, "unnamed", &unnamed).await;
    interrupted(&client, "gone", &gone).await;
    runs(&client, "named", &named).await;
    assert_eq!(client.thread(&thread).await.active_turn_id, nobodys);
}
