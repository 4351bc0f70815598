//! Writes that fail: nothing is half done, nothing acknowledged is lost, and writing comes back.

use std::time::{Duration, Instant};

use super::*;

const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

fn is_unavailable<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable { .. }))
}

/// Leaves the writer no page to grow by, as a full disk does.
async fn fill_disk(store: &Sqlite) {
    let fill = |conn: &rusqlite::Connection| {
        let pages: i64 = conn
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    store.writer.run(fill).await;
}

async fn recovered(store: &Sqlite) {
    let start = Instant::now();
    while store.check().await.is_err() {
        assert!(start.elapsed() < RECOVERED_WITHIN, "writes do not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_loses_nothing() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    created(&store, "b").await;
    said(&store, "a", "m1", "one").await.unwrap();
    let before = session(&store, "a").await;
    fill_disk(&store).await;
    let large = "x".repeat(1 << 20);
    let stop = held(&store).await;
    let all = futures_util::future::join_all([
        store.commit(appending("a", vec![message("m2", "two")]), Time(2)),
        store.commit(appending("b", vec![message("m1", &large)]), Time(2)),
        // A refusal in the same batch was decided on what is lost with it.
        store.commit(creation("a"), Time(2)),
    ]);
    let (answers, ()) = tokio::join!(all, async { drop(stop) });
    assert!(answers.iter().all(is_unavailable), "{answers:?}");
    assert_eq!(session(&store, "a").await, before, "reads go on");
    recovered(&store).await;
    let second = said(&store, "a", "m2", "two").await.unwrap();
    assert_eq!(second.session.unwrap().tip.seq().0, 2);
    said(&store, "b", "m1", &large).await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(bodies(&store, &*session(&store, "a").await).await, ["one", "two"]);
    assert_eq!(bodies(&store, &*session(&store, "b").await).await, [large]);
}

#[tokio::test]
async fn writes_are_refused_until_the_file_is_open_again() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    fill_disk(&store).await;
    let (file, elsewhere) = (dir.path().join("sessiond.db"), dir.path().join("elsewhere"));
    let (from, to) = (file.clone(), elsewhere.clone());
    store
        .writer
        .run(move |_| std::fs::rename(from, to).unwrap())
        .await;
    assert!(is_unavailable(
        &said(&store, "a", "m1", &"x".repeat(1 << 20)).await
    ));
    assert!(store.check().await.is_err());
    assert!(is_unavailable(&said(&store, "a", "m1", "one").await));
    assert_eq!(session(&store, "a").await.tip.seq().0, 0, "reads go on");
    std::fs::rename(elsewhere, file).unwrap();
    recovered(&store).await;
    said(&store, "a", "m1", "one").await.unwrap();
}

#[tokio::test]
async fn a_batch_that_panics_fails_alone() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    store.writer.run(|_| panic!("a bug")).await;
    recovered(&store).await;
    // The job may have been taken while writes were still accepted.
    let mut answer = said(&store, "a", "m1", "one").await;
    if is_unavailable(&answer) {
        recovered(&store).await;
        answer = said(&store, "a", "m1", "one").await;
    }
    answer.unwrap();
    assert_eq!(bodies(&store, &*session(&store, "a").await).await, ["one"]);
}

/// A backup or a check holds what it reads for minutes.
#[tokio::test]
async fn writes_come_back_beside_a_reader_once_there_is_room() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    said(&store, "a", "m1", "one").await.unwrap();
    let reader = crate::store::sqlite::open::beside(dir.path()).unwrap();
    let sessions = || -> i64 {
        let sql = "SELECT count(*) FROM sessions";
        reader.query_row(sql, (), |row| row.get(0)).unwrap()
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(sessions(), 1);
    fill_disk(&store).await;
    let large = "x".repeat(1 << 20);
    assert!(is_unavailable(&said(&store, "a", "m2", &large).await));
    recovered(&store).await;
    said(&store, "a", "m2", &large).await.unwrap();
    created(&store, "b").await;
    assert_eq!(sessions(), 1, "it reads on");
    reader.execute_batch("COMMIT").unwrap();
    drop((reader, store));
    let store = open(dir.path());
    assert_eq!(
        bodies(&store, &*session(&store, "a").await).await,
        ["one", &large]
    );
}
