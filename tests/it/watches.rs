//! WatchSession: replayed, then live, without gap, duplicate or reordering.

mod threads;

use std::sync::Arc;

use crate::support::build::{assistant, event, user};
use crate::support::failure::invalid;
use crate::support::pb::rewind_session_request::To;
use crate::support::pb::{DeleteSessionRequest, Session, SessionState, UndeleteSessionRequest};
use crate::support::rng::Rng;
use crate::support::{Client, Code, Server, refused, shared};

/// `count` events, each of which tells its number.
async fn tell(client: &Client, id: &str, from: u64, count: u64) {
    let events = (from..from + count).map(|n| event(&n.to_string()));
    client.append(id, events.collect()).await;
}

#[tokio::test]
async fn what_stands_then_what_comes() {
    let client = shared().await;
    let id = client.holding([user("hello"), assistant("hi")]).await;
    let mut reader = client.reader(&id).await;
    reader.step().await;
    assert_eq!(reader.entries, client.entries(&id).await);
    assert_eq!(reader.session, client.session(&id).await);
    for n in 0..5 {
        tell(&client, &id, n, 3).await;
        reader
            .until(|it| it.entries.len() as u64 == 2 + 3 * (n + 1))
            .await;
    }
    assert_eq!(reader.entries, client.entries(&id).await);
    assert_eq!(reader.session, client.session(&id).await);
    assert_eq!(reader.rewound, [0; 0]);
}

#[tokio::test]
async fn an_empty_session_says_that_it_is_there() {
    let client = shared().await;
    let id = client.blank().await;
    let mut reader = client.reader(&id).await;
    reader.step().await;
    assert_eq!((reader.entries.len(), &*reader.session.session_id), (0, &*id));
    let facts = Session {
        session_id: id.clone(),
        title: "renamed".into(),
        ..Default::default()
    };
    client.update_or(facts, &["title"]).await.unwrap();
    reader.until(|it| it.session.title == "renamed").await;
    assert_eq!(reader.session, client.session(&id).await);
}

#[tokio::test]
async fn a_long_log_comes_in_pages() {
    let client = shared().await;
    let id = client.blank().await;
    let large = format!("\"{}\"", "x".repeat(300_000));
    for _ in 0..30 {
        client.append(&id, vec![event(&large)]).await;
    }
    for from in 0..4 {
        tell(&client, &id, from, 400).await;
    }
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 1_630).await;
    assert_eq!(reader.entries, client.entries(&id).await);
}

#[tokio::test]
async fn a_cursor_goes_on_where_the_reader_was() {
    let client = shared().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 10).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 10).await;
    tell(&client, &id, 10, 10).await;
    reader.reconnect(&client, &id).await;
    reader.until(|it| it.entries.len() == 20).await;
    reader.reconnect(&client, &id).await;
    reader.step().await;
    assert_eq!(reader.entries, client.entries(&id).await, "nothing comes twice");
}

#[tokio::test]
async fn rewinds_show_once() {
    let client = shared().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 10).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 10).await;
    client.rewind(&id, To::ToSeq(6)).await;
    reader.until(|it| it.rewound == [6]).await;
    assert_eq!(reader.entries.len(), 6);
    tell(&client, &id, 100, 2).await;
    reader.until(|it| it.entries.len() == 8).await;
    client.rewind(&id, To::ToRevision(2)).await;
    reader.until(|it| it.entries.len() == 10).await;
    assert_eq!(reader.rewound, [6, 6]);
    assert_eq!(reader.entries, client.entries(&id).await);
}

#[tokio::test]
async fn a_reader_who_was_away_hears_the_lowest_rewind_once() {
    let client = shared().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 10).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 10).await;
    let mut early = client.reader(&id).await;
    early.step().await;
    client.rewind(&id, To::ToSeq(7)).await;
    tell(&client, &id, 100, 4).await;
    client.rewind(&id, To::ToSeq(3)).await;
    tell(&client, &id, 200, 20).await;
    client.rewind(&id, To::ToSeq(18)).await;
    reader.reconnect(&client, &id).await;
    reader.until(|it| it.entries.len() == 18).await;
    assert_eq!(reader.rewound, [3]);
    assert_eq!(reader.entries, client.entries(&id).await);
}

#[tokio::test]
async fn who_was_not_past_it_hears_of_no_rewind() {
    let client = shared().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 3).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 3).await;
    tell(&client, &id, 3, 5).await;
    client.rewind(&id, To::ToSeq(5)).await;
    tell(&client, &id, 100, 1).await;
    let mut away = client.reader(&id).await;
    away.until(|it| it.entries.len() == 6).await;
    assert_eq!(away.rewound, [0; 0]);
    reader.until(|it| it.entries == away.entries).await;
}

#[tokio::test]
async fn a_deletion_is_the_end() {
    let client = shared().await;
    let parent = client.blank().await;
    let facts = Session {
        parent_session_id: parent.clone(),
        ..Default::default()
    };
    let part = client.create(facts).await.session_id;
    tell(&client, &part, 0, 3).await;
    let mut readers = [client.reader(&parent).await, client.reader(&part).await];
    for reader in &mut readers {
        reader.step().await;
    }
    client.delete(&parent).await;
    for reader in &mut readers {
        reader.until(|it| it.deleted).await;
        assert_eq!(reader.session.state(), SessionState::Deleted);
        assert!(reader.end().await.is_ok());
    }
    let mut late = client.reader(&part).await;
    late.until(|it| it.deleted).await;
    assert_eq!(late.entries.len(), 3, "what stands is shown first");
    assert!(late.end().await.is_ok());
    let request = UndeleteSessionRequest {
        session_id: parent.clone(),
        ..Default::default()
    };
    client.undelete_session(request).await.unwrap();
    let mut again = client.reader(&part).await;
    again.step().await;
    assert!(!again.deleted);
    let purge = DeleteSessionRequest {
        session_id: parent,
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    again.until(|it| it.deleted).await;
    assert!(again.end().await.is_ok());
    let answer = client.watch_session_or(&part, None).await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn cursors_that_are_none() {
    let client = shared().await;
    let id = client.blank().await;
    let mut reader = client.reader(&id).await;
    reader.step().await;
    let other = client.blank().await;
    invalid(
        client.watch_session_or(&other, Some(&reader.cursor)).await,
        "cursor",
    );
    invalid(client.watch_session_or(&id, Some("nonsense")).await, "cursor");
    invalid(client.watch_session_or("no id!", None).await, "session_id");
    let answer = client.watch_session_or("nobody", None).await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_session_made_again_is_another() {
    let client = shared().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 3).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 3).await;
    let purge = DeleteSessionRequest {
        session_id: id.clone(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    reader.until(|it| it.deleted).await;
    let facts = Session {
        session_id: id.clone(),
        ..Default::default()
    };
    client.create(facts).await;
    tell(&client, &id, 100, 5).await;
    reader.deleted = false;
    match client.watch_session_or(&id, Some(&reader.cursor)).await {
        Err(status) => {
            refused::<()>(Err(status), Code::OutOfRange, "CURSOR_EXPIRED");
        }
        Ok(_) => {
            // The old log is not swept yet, so that the reader can be told to forget it.
            reader.reconnect(&client, &id).await;
            reader.until(|it| it.entries.len() == 5).await;
            assert_eq!(reader.rewound, [0]);
        }
    }
}

/// Some read on at once, some slowly, some go away and come back; the session is appended to and rewound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_sees_every_entry_once() {
    let client = shared().await;
    let id = Arc::new(client.blank().await);
    let mut random = Rng::seeded();
    let readers: Vec<_> = (0..24)
        .map(|at| {
            let (client, id, mut random) = (client.clone(), id.clone(), random.split());
            tokio::spawn(async move {
                let mut reader = client.reader(&id).await;
                while reader.session.title != "over"
                    || reader.entries.len() as u64 != reader.session.entry_count
                {
                    reader.step().await;
                    match at % 3 {
                        0 => {}
                        1 => tokio::task::yield_now().await,
                        _ if random.below(10) == 0 => reader.reconnect(&client, &id).await,
                        _ => {}
                    }
                }
                reader.entries
            })
        })
        .collect();
    for n in 0..300 {
        tell(&client, &id, n * 10, 1 + random.below(4)).await;
        if random.below(20) == 0 {
            let dropped = i64::try_from(1 + random.below(3)).unwrap();
            if client.session(&id).await.entry_count > 3 {
                client.rewind(&id, To::DropLast(dropped)).await;
            }
        }
    }
    let facts = Session {
        session_id: id.to_string(),
        title: "over".into(),
        ..Default::default()
    };
    client.update_or(facts, &["title"]).await.unwrap();
    let expected = client.entries(&id).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_shutdown_ends_it_with_word_to_come_back() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = client.blank().await;
    tell(&client, &id, 0, 3).await;
    let mut reader = client.reader(&id).await;
    reader.until(|it| it.entries.len() == 3).await;
    server.terminate();
    refused(reader.end().await, Code::Unavailable, "SHUTTING_DOWN");
    server.ended().await;
    server.restart().await;
    let client = server.client().await.in_namespace(client.namespace());
    tell(&client, &id, 3, 1).await;
    reader.reconnect(&client, &id).await;
    reader.until(|it| it.entries.len() == 4).await;
    assert_eq!(reader.entries, client.entries(&id).await);
}
