//! The search index beside the database: what is wrong with one row, or with the whole file, harms nothing else.

use std::fs;

use super::damage::{break_row, zero_page_of};
use super::*;
use crate::domain::search;
use crate::domain::words;
use crate::store::conformance::indexing::{indexed, listed, plain};
use crate::store::sqlite::index::READERS;

const INDEX: &str = "search.db";

/// The messages that have this word, once everything is indexed.
async fn found(store: &Sqlite, word: &str) -> Vec<String> {
    indexed(store, PAGE, plain).await;
    found_now(store, word).await
}

async fn found_now(store: &Sqlite, word: &str) -> Vec<String> {
    let hits = listed(store, &words_of(word), 2).await;
    let mut found: Vec<String> = hits.iter().map(|hit| hit.entry.meta.id.to_string()).collect();
    found.sort();
    found
}

fn words_of(word: &str) -> search::Query {
    search::Query {
        namespace: ns(),
        words: words::Query::parse(word).unwrap(),
        session: None,
        workspace: None,
        roles: Vec::new(),
        after: None,
        before: None,
    }
}

async fn with_three() -> (TempDir, Sqlite) {
    let dir = dir();
    let store = open(dir.path());
    for name in ["a", "b", "c"] {
        created(&store, name).await;
        said(&store, name, &format!("m{name}"), "word").await.unwrap();
    }
    (dir, store)
}

#[tokio::test]
async fn damaged_rows_keep_no_others_from_being_found() {
    for sql in [
        "UPDATE entries SET body = CAST('other' AS BLOB) WHERE entry_id = 'mb'",
        "UPDATE entries SET tally = x'00' WHERE entry_id = 'mb'",
        "UPDATE entries SET flags = 99 WHERE entry_id = 'mb'",
        "UPDATE entries SET entry_id = CAST(x'ff' AS TEXT) WHERE entry_id = 'mb'",
        "UPDATE sessions SET seq = -1 WHERE session_id = 'b'",
        "UPDATE sessions SET title = CAST(x'ff' AS TEXT) WHERE session_id = 'b'",
        "UPDATE sessions SET create_time = -1, session_id = CAST(x'ff' AS TEXT) WHERE session_id = 'b'",
        "DELETE FROM logs WHERE log = (SELECT log FROM sessions WHERE session_id = 'b')",
        "UPDATE logs SET path = x'ff' WHERE log = (SELECT log FROM sessions WHERE session_id = 'b')",
    ] {
        for is_indexed in [false, true] {
            let (_dir, store) = with_three().await;
            if is_indexed {
                assert_eq!(found(&store, "word").await, ["ma", "mb", "mc"]);
            }
            break_row(&store, sql).await;
            said(&store, "c", "later", "word").await.unwrap();
            let found = found(&store, "word").await;
            let others: Vec<&String> = found.iter().filter(|id| *id != "mb").collect();
            assert_eq!(others, ["later", "ma", "mc"], "{sql}");
        }
    }
}

#[tokio::test]
async fn a_broken_page_keeps_no_others_from_being_found() {
    let (dir, store) = with_three().await;
    let long = format!("word {}", "x".repeat(64 * 1024));
    said(&store, "b", "broken", &long).await.unwrap();
    said(&store, "b", "behind", "word").await.unwrap();
    store.close().await;
    drop(store);
    zero_page_of(&dir.path().join("sessiond.db"), &"x".repeat(64));
    fs::remove_file(dir.path().join(INDEX)).ok();
    let store = open(dir.path());
    assert_eq!(found(&store, "word").await, ["behind", "ma", "mb", "mc"]);
    said(&store, "c", "later", "word").await.unwrap();
    assert_eq!(found(&store, "word").await, ["behind", "later", "ma", "mb", "mc"]);
}

#[tokio::test]
async fn an_index_that_is_removed_is_made_anew() {
    let (dir, store) = with_three().await;
    assert_eq!(found(&store, "word").await, ["ma", "mb", "mc"]);
    store.close().await;
    drop(store);
    let store = open(dir.path());
    indexed(&store, PAGE, plain).await;
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(dir.path().join(format!("{INDEX}{suffix}"))).ok();
    }
    let query = words_of("word");
    let missing = store.search(&query, None, PAGE).await;
    assert!(matches!(missing, Err(Error::Unavailable { .. })), "{missing:?}");
    assert_eq!(found(&store, "word").await, ["ma", "mb", "mc"]);
}

#[tokio::test]
async fn an_index_of_another_version_is_made_anew() {
    let (dir, store) = with_three().await;
    assert_eq!(found(&store, "word").await.len(), 3);
    store.close().await;
    drop(store);
    let conn = rusqlite::Connection::open(dir.path().join(INDEX)).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    drop(conn);
    let store = open(dir.path());
    assert_eq!(indexed(&store, PAGE, plain).await, 3);
    assert_eq!(found_now(&store, "word").await.len(), 3);
}

#[tokio::test]
async fn an_index_that_knows_more_than_a_restored_database_forgets_it() {
    let (dir, store) = with_three().await;
    store.close().await;
    drop(store);
    let (file, kept) = (dir.path().join("sessiond.db"), dir.path().join("kept"));
    fs::copy(&file, &kept).unwrap();
    let store = open(dir.path());
    said(&store, "a", "lost", "word").await.unwrap();
    created(&store, "gone").await;
    said(&store, "gone", "away", "word").await.unwrap();
    assert_eq!(found(&store, "word").await, ["away", "lost", "ma", "mb", "mc"]);
    store.close().await;
    drop(store);
    fs::copy(&kept, &file).unwrap();
    let store = open(dir.path());
    assert_eq!(found(&store, "word").await, ["ma", "mb", "mc"]);
    said(&store, "a", "anew", "another word").await.unwrap();
    assert_eq!(found(&store, "another").await, ["anew"]);
    assert_eq!(found(&store, "word").await, ["anew", "ma", "mb", "mc"]);
}

#[tokio::test]
async fn an_index_that_cannot_be_had_stops_no_write() {
    let dir = dir();
    fs::create_dir(dir.path().join(INDEX)).unwrap();
    let store = open(dir.path());
    created(&store, "a").await;
    let lack = store.lack(PAGE).await;
    assert!(matches!(lack, Err(Error::Unavailable { .. })), "{lack:?}");
    said(&store, "a", "m", "word").await.unwrap();
    fs::remove_dir(dir.path().join(INDEX)).unwrap();
    assert_eq!(found(&store, "word").await, ["m"]);
}

#[tokio::test]
async fn who_reads_a_log_is_looked_up() {
    let dir = dir();
    let store = open(dir.path());
    let explain = |conn: &rusqlite::Connection| {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {READERS}")).unwrap();
        let values = rusqlite::params![[0_u8; 16], "", 0, 1, rusqlite::types::Null, 10];
        let rows = statement.query_map(values, |row| row.get::<_, String>(3));
        Ok(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n"))
    };
    let plan = store.readers.read("explaining", explain).await.unwrap();
    assert_eq!(plan.matches("sessions_by_log").count(), 2, "{plan}");
    assert!(
        !plan.contains("SCAN sessions") && !plan.contains("SCAN log_edges"),
        "{plan}"
    );
}
