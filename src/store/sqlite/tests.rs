//! The suite on SQLite, and what is SQLite's own: opening, failing and recovering, damaged rows, batches.

use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::Sqlite;
use crate::domain::entry::{NewEntry, Payload};
use crate::domain::message::Opening;
use crate::domain::proposal::SessionCommand;
use crate::domain::query::{self, Bound, End, Range};
use crate::domain::session::{Draft, State, Texts};
use crate::domain::{
    Command, EntryId, LogId, MessageFacts, Namespace, Proposal, Role, Session, SessionId, Time, Usage,
};
use crate::store::conformance::{Backend, conformance};
use crate::store::record::digest;
use crate::store::{Committed, Error, Fill, Store};

mod backups;
mod damage;
mod failure;
mod index;
mod opening;
mod plans;
mod verifying;

/// Each store of the suite has a directory of its own.
struct InDirectory(TempDir);

impl Backend for InDirectory {
    async fn another(&self) -> Self {
        Self(dir())
    }

    async fn fill(&self) -> Result<Arc<dyn Fill>, String> {
        let filling = super::Filling::open(self.0.path());
        Ok(Arc::new(filling.map_err(|error| error.to_string())?))
    }

    async fn try_open(&self) -> Result<Arc<dyn Store>, String> {
        let opened = Sqlite::open(self.0.path(), READERS);
        Ok(Arc::new(opened.map_err(|error| error.to_string())?))
    }

    async fn rows(&self) -> u64 {
        let conn = super::open::beside(self.0.path()).unwrap();
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            conn.query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap()
        };
        let tables = [
            "logs",
            "log_edges",
            "log_copies",
            "entries",
            "items",
            "turns",
            "loose",
        ];
        tables.into_iter().map(count).sum::<i64>().cast_unsigned()
    }

    async fn verify(&self) {
        let report = super::verify(self.0.path(), None).unwrap();
        assert_eq!(report.problems, [], "{:?}", report.checked);
        assert_eq!(report.garbage, std::collections::BTreeMap::new());
    }
}

conformance!(suite, InDirectory(dir()));

const READERS: usize = 2;

const PAGE: Bound = Bound {
    rows: 1_000,
    bytes: 1 << 24,
};

fn ns() -> Namespace {
    Namespace::parse("").unwrap()
}

fn id(name: &str) -> SessionId {
    SessionId::parse(name, "session_id").unwrap()
}

fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, READERS).unwrap()
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn propose(command: SessionCommand) -> Proposal {
    Proposal {
        namespace: ns(),
        request: None,
        fence: None,
        command: Command::Session(command),
    }
}

fn creation(name: &str) -> Proposal {
    let draft = Draft {
        texts: Texts {
            system_prompt: format!("prompt of {name}"),
            ..Texts::default()
        },
        ..Draft::default()
    };
    propose(SessionCommand::Create {
        id: id(name),
        log: LogId(Uuid::now_v7()),
        draft: Box::new(draft),
    })
}

fn message(name: &str, text: &str) -> NewEntry {
    let body = Bytes::from(text.to_owned());
    let facts = facts(text);
    NewEntry {
        id: EntryId::parse(name, "entry_id").unwrap(),
        id_is_fresh: false,
        create_time: Time(1),
        payload: Payload::Message(facts),
        digest: digest(&body),
        body,
    }
}

/// What the rules know of a message whose body is this text.
fn facts(text: &str) -> MessageFacts {
    MessageFacts {
        role: Role::User,
        in_sub_session: false,
        speaks: true,
        opening: Some(Opening {
            preview: text.to_owned(),
            title: String::new(),
        }),
        tool_uses: Vec::new(),
        tool_results: Vec::new(),
        items: 1,
        usage: Usage::default(),
    }
}

fn appending(name: &str, entries: Vec<NewEntry>) -> Proposal {
    propose(SessionCommand::Append {
        id: id(name),
        entries,
        expected: None,
    })
}

async fn created(store: &Sqlite, name: &str) -> Committed {
    store.commit(creation(name), Time(1)).await.unwrap()
}

async fn said(store: &Sqlite, name: &str, entry: &str, text: &str) -> Result<Committed, Error> {
    store
        .commit(appending(name, vec![message(entry, text)]), Time(2))
        .await
}

/// Keeps the writer busy, so that what is sent meanwhile is one batch; until the sender is dropped.
async fn held(store: &Sqlite) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel::<()>();
    let wait = move |_: &rusqlite::Connection| {
        let _ = stopped.recv();
    };
    store.writer.run(wait).await;
    stop
}

async fn session(store: &Sqlite, name: &str) -> Arc<Session> {
    store.session(&ns(), &id(name)).await.unwrap().unwrap()
}

async fn bodies(store: &Sqlite, session: &Session) -> Vec<String> {
    let range = Range {
        after: crate::domain::Seq::ZERO,
        to: session.tip.seq(),
        from: End::Oldest,
    };
    let entries = store.entries(&session.tip.log, range, PAGE).await.unwrap();
    entries
        .iter()
        .map(|entry| String::from_utf8(entry.body.to_vec()).unwrap())
        .collect()
}

fn all_sessions() -> query::Sessions {
    query::Sessions {
        namespace: ns(),
        states: vec![State::Active, State::Archived],
        workspace: None,
        labels: std::collections::BTreeMap::new(),
        title_contains: None,
        id_prefix: None,
        starred: None,
        has_user_interaction: None,
        origin: None,
        parent: None,
        updated_after: None,
        updated_before: None,
        order: query::Order::UpdateTimeDesc,
    }
}

#[tokio::test]
async fn proposals_are_answered_in_order_and_on_top_of_each_other() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    let stop = held(&store).await;
    let waiting: Vec<_> = (0..40)
        .map(|n| {
            let text = format!("message {n}");
            // The second of each pair says the same again: it is known by then.
            Box::pin(store.commit(
                appending("a", vec![message(&format!("m{}", n / 2), &text)]),
                Time(2),
            ))
        })
        .collect();
    let all = futures_util::future::join_all(waiting);
    let (answers, ()) = tokio::join!(all, async { drop(stop) });
    let seqs: Vec<u64> = answers
        .iter()
        .map(|a| a.as_ref().unwrap().session.as_ref().unwrap().tip.seq().0)
        .collect();
    assert_eq!(seqs, (0..40).map(|n| n / 2 + 1).collect::<Vec<u64>>());
    let session = session(&store, "a").await;
    assert_eq!((session.tip.seq().0, session.revision.0), (20, 21));
    assert_eq!(bodies(&store, &session).await.len(), 20);
}

#[tokio::test]
async fn a_head_that_moves_in_the_batch_that_changes_its_profile_keeps_both() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    let starring = |starred| {
        let change = crate::domain::session::Change {
            starred: Some(starred),
            ..Default::default()
        };
        propose(SessionCommand::Update {
            id: id("a"),
            change: Box::new(change),
            etag: None,
        })
    };
    let stop = held(&store).await;
    let all = futures_util::future::join_all([
        store.commit(appending("a", vec![message("m1", "one")]), Time(2)),
        store.commit(starring(true), Time(3)),
        store.commit(appending("a", vec![message("m2", "two")]), Time(4)),
    ]);
    let (answers, ()) = tokio::join!(all, async { drop(stop) });
    assert!(answers.iter().all(Result::is_ok));
    drop(store);
    let store = open(dir.path());
    let session = session(&store, "a").await;
    assert!(session.profile.starred);
    assert_eq!(
        (session.tip.seq().0, session.generation, session.preview.as_str()),
        (2, 4, "two")
    );
    assert_eq!(session.profile.texts.system_prompt, "prompt of a");
}

#[tokio::test]
async fn a_closed_store_refuses_and_leaves_one_file_to_copy() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    store.close().await;
    assert!(matches!(
        said(&store, "a", "m1", "late").await,
        Err(Error::Unavailable { .. })
    ));
    assert!(matches!(
        store.session(&ns(), &id("a")).await,
        Err(Error::Unavailable { .. })
    ));
    assert!(matches!(store.check().await, Err(Error::Unavailable { .. })));
    let wal = std::fs::metadata(dir.path().join("sessiond.db-wal"));
    assert!(wal.map_or(0, |wal| wal.len()) == 0);
}
