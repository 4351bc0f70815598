//! Watching what another replica does, although nobody tells of it: the table does.

use super::Grounds;
use crate::support::build::{asks, entry, event, says, user};
use crate::support::pb::Thread;

anywhere! {
    a_session_is_seen_to_grow_and_go
    a_thread_is_seen_to_work
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
