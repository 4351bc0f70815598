//! Rows that cannot be read: an error to who names them, left out of lists, never removed.

use super::*;
use crate::domain::fork::Count;

pub(super) async fn break_row(store: &Sqlite, sql: &'static str) {
    store
        .writer
        .run(move |conn| assert_eq!(conn.execute(sql, ()).unwrap(), 1))
        .await;
    // The next commit waits for the job, whatever comes of it.
    let _ = store.commit(creation("later"), Time(1)).await;
}

/// Overwrites the first page of a file that begins and ends with this text: one in the middle of a long body.
pub(super) fn zero_page_of(file: &Path, text: &str) {
    const PAGE_BYTES: usize = 4096;
    let mut bytes = std::fs::read(file).unwrap();
    let (text, mut pages) = (text.as_bytes(), bytes.chunks_mut(PAGE_BYTES));
    let page = pages.find(|page| page[4..].starts_with(text) && page.ends_with(text));
    page.unwrap().fill(0);
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_session_is_left_out_of_lists_and_an_error_by_name() {
    for sql in [
        "UPDATE sessions SET tally = x'00' WHERE session_id = 'b'",
        "UPDATE sessions SET seq = 7 WHERE session_id = 'b'",
        "UPDATE sessions SET profile = '{' WHERE session_id = 'b'",
        "UPDATE sessions SET labels = '[]' WHERE session_id = 'b'",
        "UPDATE sessions SET title = CAST(x'ff' AS TEXT) WHERE session_id = 'b'",
        "DELETE FROM logs WHERE log = (SELECT log FROM sessions WHERE session_id = 'b')",
    ] {
        let dir = dir();
        let store = open(dir.path());
        for name in ["a", "b", "c"] {
            created(&store, name).await;
        }
        break_row(&store, sql).await;
        let page = store.sessions(&all_sessions(), None, PAGE).await.unwrap();
        let names: Vec<&str> = page.rows.iter().map(|session| session.id.as_str()).collect();
        assert_eq!(names, ["later", "c", "a"], "{sql}");
        let by_name = store.session(&ns(), &id("b")).await;
        assert!(
            matches!(by_name, Err(Error::Corrupt { .. })),
            "{sql}: {by_name:?}"
        );
        drop(store);
        let store = open(dir.path());
        let write = said(&store, "b", "m1", "one").await;
        assert!(matches!(write, Err(Error::Corrupt { .. })), "{sql}: {write:?}");
        said(&store, "a", "m1", "one").await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_entry_is_an_error_to_who_reads_it() {
    for sql in [
        "UPDATE entries SET body = CAST('other' AS BLOB) WHERE entry_id = 'm2'",
        "UPDATE entries SET tally = x'01' WHERE entry_id = 'm2'",
        "UPDATE entries SET flags = 999 WHERE entry_id = 'm2'",
        "UPDATE entries SET seq = 9 WHERE entry_id = 'm2'",
        "DELETE FROM entries WHERE entry_id = 'm2'",
    ] {
        let dir = dir();
        let store = open(dir.path());
        created(&store, "a").await;
        for name in ["m1", "m2", "m3"] {
            said(&store, "a", name, name).await.unwrap();
        }
        break_row(&store, sql).await;
        let session = session(&store, "a").await;
        let read = |from, after, to| {
            let range = Range {
                after: crate::domain::Seq(after),
                to: crate::domain::Seq(to),
                from,
            };
            store.entries(&session.tip.log, range, PAGE)
        };
        for from in [End::Oldest, End::Newest] {
            let all = read(from, 0, 3).await;
            assert!(matches!(all, Err(Error::Corrupt { .. })), "{sql}: {all:?}");
            assert_eq!(read(from, 0, 1).await.unwrap().len(), 1);
            assert_eq!(read(from, 2, 3).await.unwrap().len(), 1);
        }
        let sought = store.seek(&session.tip, Count::Visible, 1).await;
        assert!(matches!(sought, Err(Error::Corrupt { .. })), "{sql}: {sought:?}");
    }
}
