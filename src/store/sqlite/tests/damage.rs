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

/// Zeroes the pages of the database in `dir` that hold nothing but this text.
pub(super) fn zero_pages(dir: &Path, text: &str) -> usize {
    const PAGE: usize = 4_096;
    let file = dir.join("sessiond.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let mut zeroed = 0;
    for page in bytes.chunks_exact_mut(PAGE) {
        // An overflow page begins with the number of the next one.
        let rest = &page[8..PAGE - 8];
        let repeats = rest
            .windows(text.len() + 1)
            .all(|part| part[0] == part[text.len()]);
        if repeats
            && rest
                .windows(text.len())
                .take(text.len())
                .any(|part| part == text.as_bytes())
        {
            page.fill(0);
            zeroed += 1;
        }
    }
    std::fs::write(&file, bytes).unwrap();
    zeroed
}

/// A session whose row goes on over pages of its own.
async fn created_long(store: &Sqlite, name: &str, parent: Option<&str>) {
    let mut draft = Box::<crate::domain::session::Draft>::default();
    draft.setting.workspace = "wxyz".repeat(4_000);
    draft.parent = parent.map(id);
    let command = SessionCommand::Create {
        id: id(name),
        log: LogId(Uuid::now_v7()),
        draft,
    };
    store.commit(propose(command), Time(1)).await.unwrap();
}

#[tokio::test]
async fn a_broken_page_hides_no_other_session() {
    let dir = dir();
    let store = open(dir.path());
    for name in ["a", "b", "c"] {
        created(&store, name).await;
    }
    created_long(&store, "long", Some("a")).await;
    created_long(&store, "below", Some("long")).await;
    store.close().await;
    drop(store);
    // The first of the pages that each of the two goes on over.
    assert!(zero_pages(dir.path(), "wxyz") >= 2);
    let store = open(dir.path());
    let by_name = store.session(&ns(), &id("long")).await;
    assert!(matches!(by_name, Err(Error::Corrupt { .. })), "{by_name:?}");
    for order in [
        query::Order::UpdateTimeDesc,
        query::Order::TitleAsc,
        query::Order::CreateTimeAsc,
    ] {
        let query = query::Sessions {
            order,
            ..all_sessions()
        };
        let few = Bound { rows: 2, ..PAGE };
        let page = store.sessions(&query, None, few).await.unwrap();
        assert_eq!(page.rows.len(), 2, "{order:?}");
        let rest = store.sessions(&query, page.next.as_ref(), few).await.unwrap();
        assert_eq!((rest.rows.len(), rest.next), (1, None), "{order:?}");
    }
    let below = |name: &'static str| {
        let store = &store;
        async move {
            let children = store
                .children(&ns(), &id(name), None, 10)
                .await
                .unwrap()
                .into_iter();
            let told =
                children.map(|child| (child.id.to_string(), child.session.is_some(), child.has_children));
            told.collect::<Vec<_>>()
        }
    };
    assert_eq!(below("a").await, [("long".to_owned(), false, true)]);
    assert_eq!(below("long").await.len(), 1, "what is below it is found");
    let report = crate::store::sqlite::verify(dir.path(), None).unwrap();
    for name in ["long", "below"] {
        let row = format!("session {name} of namespace default");
        assert!(
            report.problems.iter().any(|problem| problem.row == row),
            "{row}: {report:?}"
        );
    }
    assert_eq!(report.checked.get("sessions"), Some(&5), "all were looked at");
}

#[tokio::test]
async fn a_damaged_session_is_an_id_in_a_tree() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    for (name, parent) in [("b", "a"), ("c", "b"), ("d", "a")] {
        let mut draft = Box::<crate::domain::session::Draft>::default();
        draft.parent = Some(id(parent));
        let command = SessionCommand::Create {
            id: id(name),
            log: LogId(Uuid::now_v7()),
            draft,
        };
        store.commit(propose(command), Time(1)).await.unwrap();
    }
    break_row(&store, "UPDATE sessions SET profile = '{' WHERE session_id = 'b'").await;
    let children = store.children(&ns(), &id("a"), None, 10).await.unwrap();
    let told: Vec<_> = children
        .iter()
        .map(|child| (child.id.as_str(), child.session.is_some(), child.has_children))
        .collect();
    assert_eq!(told, [("b", false, true), ("d", true, false)]);
    let children = store.children(&ns(), &id("a"), Some(&id("b")), 10).await.unwrap();
    assert_eq!(children.len(), 1);
}
