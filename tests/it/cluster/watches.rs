//! Watching what another replica does, although nobody tells of it: the table does.

use super::Grounds;
use crate::support::build::{asks, entry, event, says, user};
use crate::support::pb::rewind_session_request::To;
use crate::support::pb::{RewindSessionRequest, Thread};

anywhere! {
    a_session_is_seen_to_grow_and_go
    a_thread_is_seen_to_work
    a_reader_that_comes_from_elsewhere_is_sent_back_by_nobody
}

async fn a_session_is_seen_to_grow_and_go(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let session = at_a.holding([user("one")]).await;
    let mut reader = at_b.reader(&session).await;
    reader.step().await;
    for text in ["two", "three"] {
        at_a.append(&session, vec![entry(user(text)), event("{}")]).await;
    }
    while reader.entries.len() < 5 {
        reader.step().await;
    }
    assert_eq!(reader.entries, at_a.entries(&session).await);
    // What is written here is told at once, on top of what was found.
    at_b.append(&session, vec![entry(user("here"))]).await;
    while reader.entries.len() < 6 {
        reader.step().await;
    }
    at_a.delete(&session).await;
    while !reader.deleted {
        reader.step().await;
    }
    assert!(reader.rewound.is_empty());
}

async fn a_thread_is_seen_to_work(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let thread = at_a.open(Thread::default()).await;
    let mut reader = at_b.thread_reader(&thread).await;
    reader.step().await;
    at_a.turn(&thread, vec![asks("q"), says("a")]).await;
    while reader.items.len() < 2 {
        reader.step().await;
    }
    assert_eq!(reader.turns.len(), 1);
}

async fn a_reader_that_comes_from_elsewhere_is_sent_back_by_nobody(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let session = at_a.holding([user("one"), user("two")]).await;
    let thread = at_a.open(Thread::default()).await;
    at_a.turn(&thread, vec![asks("q")]).await;
    // Somebody here makes this replica know how both stood then.
    let (mut idle, mut idle_at_thread) = (at_b.reader(&session).await, at_b.thread_reader(&thread).await);
    idle.until(|reader| reader.entries.len() == 2).await;
    idle_at_thread.until(|reader| reader.items.len() == 1).await;
    let (mut reader, mut at_thread) = (at_a.reader(&session).await, at_a.thread_reader(&thread).await);
    for round in 1..=5 {
        at_a.append(&session, vec![entry(user("more")), event("{}")])
            .await;
        at_a.turn(&thread, vec![says("so")]).await;
        reader.until(|reader| reader.entries.len() == 2 + 2 * round).await;
        at_thread
            .until(|reader| reader.items.len() == 1 + round && reader.turns.len() == 1 + round)
            .await;
        // It comes before the news do, and goes on where it stood; it is told what happens here, and goes back.
        reader.reconnect(&at_b, &session).await;
        at_thread.reconnect(&at_b, &thread).await;
        reader.step().await;
        at_thread.step().await;
        reader.reconnect(&at_a, &session).await;
        at_thread.reconnect(&at_a, &thread).await;
    }
    assert!(reader.rewound.is_empty(), "{:?}", reader.rewound);
    assert!(at_thread.rewound.is_empty(), "{:?}", at_thread.rewound);
    assert_eq!(reader.entries, at_a.entries(&session).await);
    assert_eq!(at_thread.told, 6, "every item once");
    // A rewind is believed: the store has it.
    let rewind = RewindSessionRequest {
        session_id: session.clone(),
        to: Some(To::ToSeq(3)),
        ..Default::default()
    };
    at_a.rewind_session(rewind).await.unwrap();
    reader.reconnect(&at_b, &session).await;
    reader.until(|reader| reader.entries.len() == 3).await;
    assert_eq!(reader.rewound, [3]);
}
