//! WatchThread: items as they are made and replaced, turns as they start and end.

use crate::support::build::{asks, assistant, says, user};
use crate::support::failure::invalid;
use crate::support::pb::{DeleteThreadRequest, Item, Thread, ThreadState, TurnStatus};
use crate::support::{Code, pb, refused, shared};

fn under(id: &str, status: TurnStatus, item: Item) -> Item {
    Item {
        item_id: id.into(),
        status: status.into(),
        ..item
    }
}

#[tokio::test]
async fn items_and_turns_as_they_come() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let mut reader = client.thread_reader(&id).await;
    reader.step().await;
    assert_eq!(reader.thread, client.thread(&id).await);
    let turn = client.start(&id).await;
    reader.until(|it| it.turns.len() == 1).await;
    assert_eq!(reader.turns[0].status(), TurnStatus::InProgress);
    client
        .add(
            &id,
            &turn,
            vec![asks("hello"), under("a", TurnStatus::InProgress, says("h"))],
        )
        .await;
    reader.until(|it| it.items.len() == 2).await;
    client
        .add(&id, &turn, vec![under("a", TurnStatus::InProgress, says("hi"))])
        .await;
    reader.until(|it| it.items[1].content == says("hi").content).await;
    assert_eq!(reader.told, 3, "a replaced item comes again, no other does");
    client
        .add(&id, &turn, vec![under("a", TurnStatus::Completed, says("hi!"))])
        .await;
    client.finish(&id, &turn).await;
    reader
        .until(|it| it.turns[0].status() == TurnStatus::Completed && it.thread.active_turn_id.is_empty())
        .await;
    assert_eq!(reader.items, client.items(&id).await);
    assert_eq!(reader.thread, client.thread(&id).await);
}

#[tokio::test]
async fn items_end_with_their_turn() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let turn = client.start(&id).await;
    client
        .add(&id, &turn, vec![under("a", TurnStatus::InProgress, says("h"))])
        .await;
    let mut reader = client.thread_reader(&id).await;
    reader.until(|it| it.items.len() == 1).await;
    client.finish_or(&id, &turn, TurnStatus::Canceled).await.unwrap();
    reader
        .until(|it| {
            it.items[0].status() == TurnStatus::Canceled && it.turns[0].status() == TurnStatus::Canceled
        })
        .await;
}

#[tokio::test]
async fn a_cursor_goes_on_with_what_has_changed_since() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.push(client.turn(&id, vec![asks("q"), says("a")]).await);
    }
    let last = client.start(&id).await;
    client
        .add(&id, &last, vec![under("a", TurnStatus::InProgress, says("h"))])
        .await;
    let mut reader = client.thread_reader(&id).await;
    reader
        .until(|it| it.items.len() == 7 && it.turns.len() == 4)
        .await;
    reader.told = 0;
    client
        .add(
            &id,
            &last,
            vec![asks("steered"), under("a", TurnStatus::Completed, says("hi"))],
        )
        .await;
    client.finish(&id, &last).await;
    reader.reconnect(&client, &id).await;
    reader
        .until(|it| it.items.len() == 8 && it.turns[3].status() == TurnStatus::Completed)
        .await;
    assert_eq!(reader.told, 2);
    assert_eq!(reader.items, client.items(&id).await);
    reader.reconnect(&client, &id).await;
    reader.step().await;
    assert_eq!(reader.told, 2, "nothing comes twice");
}

#[tokio::test]
async fn many_turns_come_in_pages() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    for _ in 0..520 {
        let turn = client.start(&id).await;
        client.finish_or(&id, &turn, TurnStatus::Failed).await.unwrap();
    }
    let large = "x".repeat(700_000);
    client
        .turn(
            &id,
            vec![
                says(&large),
                says(&large),
                says(&large),
                says(&large),
                says("small"),
            ],
        )
        .await;
    let mut reader = client.thread_reader(&id).await;
    reader
        .until(|it| it.turns.len() == 521 && it.items.len() == 5)
        .await;
    assert_eq!(reader.told, 5);
    assert_eq!(reader.items, client.items(&id).await);
    assert!(reader.turns.iter().all(|turn| turn.end_time.is_some()));
}

#[tokio::test]
async fn a_seeded_thread_shows_what_it_shares() {
    let client = shared().await;
    let session = client
        .holding([user("first"), assistant("one"), user("second"), assistant("two")])
        .await;
    let id = client.resume(&session).await.thread_id;
    let mut reader = client.thread_reader(&id).await;
    reader.until(|it| it.items.len() == 4).await;
    assert_eq!(reader.items, client.items(&id).await);
    assert_eq!(reader.turns.len(), 2);
    client.turn(&id, vec![asks("third"), says("three")]).await;
    reader
        .until(|it| it.items.len() == 6 && it.turns.len() == 3)
        .await;
    assert_eq!(reader.items, client.items(&id).await);
    assert_eq!(reader.told, 6);
    client.save(&id).await;
    client
        .append(&session, crate::support::build::entries([user("by hand")]))
        .await;
    client.resume(&session).await;
    reader
        .until(|it| !it.rewound.is_empty() && it.items.len() == 7)
        .await;
    assert_eq!(reader.rewound, [4], "what it shared before it shares still");
    assert_eq!(reader.items, client.items(&id).await);
    let known: Vec<_> = reader.turns.iter().map(|turn| turn.turn_id.clone()).collect();
    let mut named: Vec<_> = reader.items.iter().map(|item| item.turn_id.clone()).collect();
    named.dedup();
    assert_eq!(known, named, "the turns of all items, and no other");
}

#[tokio::test]
async fn facts_and_the_end() {
    let client = shared().await;
    let id = client.open(Thread::default()).await;
    let mut reader = client.thread_reader(&id).await;
    reader.step().await;
    let request = pb::UpdateThreadRequest {
        thread: Some(Thread {
            thread_id: id.clone(),
            state: ThreadState::Closed.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    client.update_thread(request).await.unwrap();
    reader.until(|it| it.thread.state() == ThreadState::Closed).await;
    let request = DeleteThreadRequest {
        thread_id: id.clone(),
        ..Default::default()
    };
    client.delete_thread(request).await.unwrap();
    reader.until(|it| it.deleted).await;
    assert!(reader.end().await.is_ok());
    let answer = client.watch_thread_or(&id, None).await;
    refused(answer, Code::NotFound, "THREAD_NOT_FOUND");
    invalid(client.watch_thread_or("no id!", None).await, "thread_id");
    let other = client.open(Thread::default()).await;
    invalid(
        client.watch_thread_or(&other, Some(&reader.cursor)).await,
        "cursor",
    );
}
