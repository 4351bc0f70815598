//! Verify: it finds nothing where nothing is wrong, and names what is.

use super::damage::{break_row, zero_pages};
use super::*;
use crate::domain::entry::Payload;
use crate::domain::proposal::{Fork, ThreadCommand};
use crate::domain::turn::{ItemKind, NewItem, Status};
use crate::domain::{ItemId, Kind, ThreadId, TurnId, thread};
use crate::store::sqlite::{Report, verify};

/// A body of these tests is the text of a user message.
fn payload(_: Kind, body: &Bytes) -> Option<Payload> {
    let text = std::str::from_utf8(body).ok()?;
    Some(Payload::Message(facts(text)))
}

fn checked(dir: &Path) -> Report {
    verify(dir, Some(&payload)).unwrap()
}

async fn forked(store: &Sqlite, source: &str, name: &str) {
    let from = session(store, source).await;
    let fork = Fork {
        source: from.id.clone(),
        revision: None,
        source_log: from.tip.log.id,
        cut: from.tip.tally.clone(),
        preview: from.preview.clone(),
        removed: None,
        title: None,
        id: id(name),
        log: LogId(Uuid::now_v7()),
    };
    store
        .commit(propose(SessionCommand::Fork(Box::new(fork))), Time(3))
        .await
        .unwrap();
}

/// Three sessions, the last a fork with an entry of its own, and a thread in mid-turn.
async fn filled(store: &Sqlite) {
    for name in ["a", "b"] {
        created(store, name).await;
        for at in 1..=3 {
            said(store, name, &format!("{name}{at}"), &format!("{name} says {at}"))
                .await
                .unwrap();
        }
    }
    forked(store, "b", "f").await;
    said(store, "f", "f4", "f says 4").await.unwrap();
    let thread = ThreadId::parse("t", "thread_id").unwrap();
    let turn = TurnId::parse("u", "turn_id").unwrap();
    let item = NewItem {
        id: ItemId::parse("i", "item_id").unwrap(),
        kind: ItemKind::UserMessage,
        status: Status::InProgress,
        create_time: None,
        end_time: None,
        body: Bytes::from_static(b"item"),
    };
    for command in [
        ThreadCommand::Create {
            id: thread.clone(),
            journal: LogId(Uuid::now_v7()),
            draft: Box::new(thread::Draft::default()),
            epoch: None,
        },
        ThreadCommand::StartTurn {
            id: thread.clone(),
            turn: turn.clone(),
            epoch: None,
        },
        ThreadCommand::AppendItems {
            id: thread,
            turn,
            items: vec![item],
            epoch: None,
        },
    ] {
        let proposal = Proposal {
            namespace: ns(),
            request: None,
            fence: None,
            command: Command::Thread(command),
        };
        store.commit(proposal, Time(4)).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let dir = dir();
    assert!(verify(dir.path(), None).is_err(), "there is nothing");
    let store = open(dir.path());
    filled(&store).await;
    for beside in [true, false] {
        let report = checked(dir.path());
        assert_eq!((report.problems, report.problem_count), (vec![], 0), "{beside}");
        assert!(report.garbage.is_empty());
        for (kind, count) in [
            ("sessions", 3),
            ("entries", 7),
            ("logs", 3),
            ("edges", 1),
            ("items", 1),
        ] {
            assert_eq!(report.checked.get(kind), Some(&count), "{kind}");
        }
        if beside {
            store.close().await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    for (sql, row, reason) in [
        (
            "UPDATE sessions SET profile = '{' WHERE session_id = 'b'",
            "session b of namespace default",
            "profile",
        ),
        (
            "UPDATE sessions SET labels = '[]' WHERE session_id = 'b'",
            "session b of namespace default",
            "labels",
        ),
        (
            "UPDATE sessions SET path_parts = 7 WHERE session_id = 'f'",
            "session f of namespace default",
            "path_parts",
        ),
        (
            "UPDATE sessions SET fork_number = 7 WHERE session_id = 'f'",
            "session f of namespace default",
            "fork_number",
        ),
        (
            "UPDATE sessions SET title_base = 'x' WHERE session_id = 'f'",
            "session f of namespace default",
            "title_base",
        ),
        (
            "UPDATE sessions SET state = 2 WHERE session_id = 'a'",
            "session a of namespace default",
            "state",
        ),
        (
            "UPDATE sessions SET tally = (SELECT tally FROM entries WHERE entry_id = 'b2'), seq = 2 \
             WHERE session_id = 'f'",
            "session f of namespace default",
            "inside",
        ),
        (
            "UPDATE entries SET body = CAST('b says other' AS BLOB) WHERE entry_id = 'b2'",
            "in session b of namespace default, f of namespace default",
            "digest",
        ),
        (
            "UPDATE entries SET tally = x'01' WHERE entry_id = 'b2'",
            "in session b of namespace default, f of namespace default",
            "",
        ),
        (
            "UPDATE entries SET preview = 'other' WHERE entry_id = 'f4'",
            "in session f of namespace default",
            "marks",
        ),
        (
            "DELETE FROM entries WHERE entry_id = 'a2'",
            "in session a of namespace default",
            "missing",
        ),
        ("DELETE FROM log_edges", "log ", "the edge to log"),
        ("UPDATE log_edges SET to_seq = 9", "log ", "the edge to log"),
        (
            "DELETE FROM logs WHERE log = (SELECT log FROM sessions WHERE session_id = 'a')",
            "log ",
            "it is named, but is not there",
        ),
        (
            "UPDATE threads SET items = 2",
            "thread t of namespace default",
            "its items",
        ),
        (
            "UPDATE threads SET turns = 2",
            "thread t of namespace default",
            "its turns",
        ),
        (
            "UPDATE threads SET active_turn = 'x'",
            "thread t of namespace default",
            "active turn",
        ),
        ("UPDATE items SET body = x'00'", "item i of journal", "digest"),
        ("UPDATE turns SET status = 99", "turn u of journal", ""),
    ] {
        let dir = dir();
        let store = open(dir.path());
        filled(&store).await;
        break_row(&store, sql).await;
        let report = checked(dir.path());
        let named = report
            .problems
            .iter()
            .any(|problem| problem.row.contains(row) && problem.reason.contains(reason));
        assert!(named, "{sql}: {:?}", report.problems);
        assert_eq!(report.problem_count, report.problems.len() as u64);
        let said = format!("{:?}", report.problems);
        assert!(!said.contains("says"), "content is shown: {said}");
        let after = checked(dir.path());
        assert_eq!(after, report, "nothing was changed");
    }
}

#[tokio::test]
async fn one_broken_tally_does_not_spoil_those_after_it() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    let other = "UPDATE entries SET tally = (SELECT tally FROM entries WHERE entry_id = 'a3'), seq = seq \
                 WHERE entry_id = 'b3'";
    break_row(&store, other).await;
    assert_eq!(checked(dir.path()).problem_count, 0, "both have three messages");
    let other = "UPDATE entries SET tally = (SELECT tally FROM entries WHERE entry_id = 'f4') \
                 WHERE entry_id = 'a1'";
    break_row(&store, other).await;
    let report = checked(dir.path());
    assert_eq!(report.problem_count, 1, "{:?}", report.problems);
}

#[tokio::test]
async fn what_nobody_names_is_garbage_and_no_damage() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    break_row(&store, "DELETE FROM sessions WHERE session_id = 'a'").await;
    let report = checked(dir.path());
    assert_eq!(report.problems, []);
    assert_eq!(report.garbage.get("logs"), Some(&1));
    break_row(&store, "DELETE FROM threads").await;
    assert_eq!(checked(dir.path()).garbage.get("journals with items"), Some(&1));
}

#[tokio::test]
async fn a_broken_index_is_found() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    let break_index = |conn: &rusqlite::Connection| {
        conn.execute_batch(
            "PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = replace(sql, 'create_time, session_id', 'update_time, session_id') \
             WHERE name = 'sessions_by_create'; PRAGMA writable_schema = RESET;",
        )
        .unwrap();
    };
    store.writer.run(break_index).await;
    created(&store, "later").await;
    let report = checked(dir.path());
    let named = report
        .problems
        .iter()
        .any(|problem| problem.row == "table sessions");
    assert!(named, "{:?}", report.problems);
}

#[tokio::test]
async fn a_broken_page_keeps_nothing_from_being_looked_at() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "long").await;
    for name in ["m1", "m2", "m3"] {
        let text = if name == "m2" {
            "wxyz".repeat(10_000)
        } else {
            name.to_owned()
        };
        let body = Bytes::from(text);
        let entry = NewEntry {
            digest: digest(&body),
            body,
            ..message(name, "short")
        };
        store
            .commit(appending("long", vec![entry]), Time(2))
            .await
            .unwrap();
    }
    filled(&store).await;
    store.close().await;
    drop(store);
    assert!(zero_pages(dir.path(), "wxyz") > 1);
    let report = verify(dir.path(), None).unwrap();
    let of_log = |problem: &&crate::store::sqlite::Problem| problem.row.contains("entry 2 of log");
    assert_eq!(
        report.problems.iter().filter(of_log).count(),
        1,
        "{:?}",
        report.problems
    );
    assert!(
        report
            .problems
            .iter()
            .find(of_log)
            .unwrap()
            .row
            .contains("in session long of namespace default"),
        "{:?}",
        report.problems
    );
    for (kind, count) in [
        ("sessions", 4),
        ("entries", 10),
        ("threads", 1),
        ("turns", 1),
        ("items", 1),
    ] {
        assert_eq!(
            report.checked.get(kind),
            Some(&count),
            "{kind}: {:?}",
            report.problems
        );
    }
}

#[tokio::test]
async fn entries_of_a_log_that_is_lost_are_no_garbage() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    let lost = "DELETE FROM logs WHERE log = (SELECT log FROM sessions WHERE session_id = 'a')";
    break_row(&store, lost).await;
    break_row(
        &store,
        "UPDATE entries SET body = CAST('other' AS BLOB) WHERE entry_id = 'a2'",
    )
    .await;
    let report = checked(dir.path());
    assert_eq!(report.garbage.get("entries"), None, "a session names it");
    let digest = |problem: &crate::store::sqlite::Problem| problem.reason.contains("digest");
    assert!(report.problems.iter().any(digest), "{:?}", report.problems);
    break_row(&store, "DELETE FROM sessions WHERE session_id = 'a'").await;
    assert_eq!(checked(dir.path()).garbage.get("entries"), Some(&3));
}

#[tokio::test]
async fn what_upkeep_notes_is_looked_at() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    let loose = "INSERT INTO loose (log, since) VALUES (x'00', 1)";
    break_row(&store, loose).await;
    let of = |name: &str| format!("(SELECT log FROM sessions WHERE session_id = '{name}')");
    let copy = format!(
        "INSERT INTO log_copies (original, copy, after_seq, to_seq) VALUES ({}, {}, 3, 3)",
        of("a"),
        of("b")
    );
    store
        .writer
        .run(move |conn| assert_eq!(conn.execute(&copy, ()).unwrap(), 1))
        .await;
    created(&store, "last").await;
    let report = checked(dir.path());
    assert_eq!(report.problem_count, 2, "{:?}", report.problems);
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.row.starts_with("the note on log"))
    );
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.reason == "it is of no entries")
    );
}

#[tokio::test]
async fn the_search_index_is_a_note() {
    let dir = dir();
    let store = open(dir.path());
    filled(&store).await;
    store.lack(PAGE).await.unwrap();
    store.close().await;
    drop(store);
    let noted = || {
        let report = checked(dir.path());
        assert_eq!(report.problems, []);
        report.notes.join("; ")
    };
    let index = dir.path().join("search.db");
    assert!(noted().contains("can be read"), "{}", noted());
    let main = rusqlite::Connection::open(dir.path().join("sessiond.db")).unwrap();
    let log: Vec<u8> = main
        .query_row("SELECT log FROM sessions WHERE session_id = 'a'", (), |row| {
            row.get(0)
        })
        .unwrap();
    let ahead = rusqlite::Connection::open(&index).unwrap();
    let sql = "INSERT OR REPLACE INTO logs (log, namespace, indexed_to) VALUES (?1, 'default', 99)";
    ahead.execute(sql, [log]).unwrap();
    drop((main, ahead));
    assert!(noted().contains("of 1 logs"), "{}", noted());
    std::fs::write(&index, "no index").unwrap();
    assert!(noted().contains("made anew"), "{}", noted());
    std::fs::remove_file(&index).unwrap();
    assert!(noted().contains("there is no search index"), "{}", noted());
}
