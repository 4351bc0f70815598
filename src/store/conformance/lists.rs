//! Lists: every order both ways, every filter, and pages that add up to what one page would have been.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::fixture as f;
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::proposal::{Deletion, SessionCommand, ThreadCommand};
use crate::domain::query::{Bound, Order, Sessions, Threads};
use crate::domain::session::{Archived, Draft, Setting, State, Texts};
use crate::domain::{Namespace, Session, Thread, Time, thread};
use crate::store::Store;

use super::Backend;
use super::desk::{ALL, Desk, starting};
use super::picture::{every_thread, everything};
use super::receipts::deleting;

const ORDERS: [Order; 6] = [
    Order::UpdateTimeDesc,
    Order::UpdateTimeAsc,
    Order::CreateTimeDesc,
    Order::CreateTimeAsc,
    Order::TitleAsc,
    Order::TitleDesc,
];

/// Every session of a list, page by page.
pub(crate) async fn paged(
    store: &dyn Store,
    query: &Sessions,
    bound: Bound,
    pages_max: usize,
) -> Vec<Arc<Session>> {
    let (mut rows, mut after) = (Vec::new(), None);
    for _ in 0..pages_max {
        let page = store
            .sessions(query, after.as_ref(), bound)
            .await
            .expect("a page");
        assert!(page.rows.len() <= bound.rows, "{query:?}");
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
    panic!("{query:?} has no end: {} rows, then {after:?}", rows.len());
}

/// What a list has to be: all there is, filtered by the question itself and sorted.
pub(crate) fn naive(all: &[Arc<Session>], query: &Sessions) -> Vec<Arc<Session>> {
    let mut rows: Vec<_> = all
        .iter()
        .filter(|session| query.admits(session))
        .cloned()
        .collect();
    rows.sort_by(|a, b| query.order.compare(&query.key(a), &query.key(b)));
    rows
}

async fn populate(desk: &Desk) {
    const TITLES: [&str; 6] = ["alpha", "Alpha", "Été", "été (fork 2)", "漢字", "alpha"];
    desk.create("origin").await;
    desk.talk("origin", "m", 2).await;
    for at in 0..40_usize {
        let draft = Draft {
            title: (at % 7 != 0).then(|| f::title(TITLES[at % TITLES.len()])),
            setting: Setting {
                workspace: ["/w", "/w/x", ""][at % 3].to_owned(),
                ..Setting::default()
            },
            labels: match at % 4 {
                0 => BTreeMap::new(),
                1 => BTreeMap::from([("team".to_owned(), "a".to_owned())]),
                2 => BTreeMap::from([
                    ("team".to_owned(), "a".to_owned()),
                    ("env".to_owned(), String::new()),
                ]),
                _ => BTreeMap::from([("team".to_owned(), "A".to_owned())]),
            },
            starred: at % 5 == 0,
            archived: if at % 6 == 0 { Archived::Yes } else { Archived::No },
            parent: (at % 8 == 1).then(|| f::session("origin")),
            ..Draft::default()
        };
        let id = ["s", "S", "t_", "t:", "t."][at % 5];
        let command = SessionCommand::Create {
            id: f::session(&format!("{id}{at}")),
            log: desk.log(),
            draft: Box::new(draft),
        };
        // Three and more are made at the same time: ties are cut by id.
        let now = Time(f::NEW_YEAR.0 + (at / 3) as i64);
        let commit = desk.store.commit(f::to_session(command), now).await;
        let made = commit.expect("no rule against it").session.expect("it was made");
        if at % 4 == 3 {
            let append = super::desk::appending(made.id.as_str(), vec![f::user("u", "hello"), f::event("e")]);
            let later = Time(f::NEW_YEAR.0 + 1_000 + (at / 8) as i64);
            desk.store
                .commit(append, later)
                .await
                .expect("no rule against it");
        }
        if at % 9 == 2 {
            let soft = Deletion::Soft {
                purge_after: Duration::from_secs(60),
            };
            let delete = deleting(made.id.as_str(), soft);
            desk.store.commit(delete, now).await.expect("no rule against it");
        }
    }
    desk.fork("origin", 1, "fork1").await;
    desk.fork("origin", 0, "fork2").await;
    desk.fork("fork1", 1, "fork3").await;
}

/// Each filter alone, all in both senses, and some together.
pub(crate) fn questions(ns: &Namespace) -> Vec<Sessions> {
    let all = everything(ns, Order::default());
    let labels = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Sessions {
            labels: pairs.collect(),
            ..all.clone()
        }
    };
    let mut questions = vec![
        all.clone(),
        labels(&[("team", "a")]),
        labels(&[("team", "a"), ("env", "")]),
        labels(&[("team", "b")]),
        labels(&[("tea", "a")]),
    ];
    for states in [
        vec![State::Active],
        vec![State::Archived],
        vec![State::Deleted],
        vec![State::Deleted, State::Active],
    ] {
        questions.push(Sessions {
            states,
            ..all.clone()
        });
    }
    for workspace in ["/w", "", "/W", "/"] {
        questions.push(Sessions {
            workspace: Some(workspace.to_owned()),
            ..all.clone()
        });
    }
    for part in ["LPH", "éTÉ", "字", "%", "_", "", "(FORK", "nobody"] {
        questions.push(Sessions {
            title_contains: Some(part.to_owned()),
            ..all.clone()
        });
    }
    for prefix in ["s", "S", "t", "t_", "t:", "s1", "%", "", "zz"] {
        questions.push(Sessions {
            id_prefix: Some(prefix.to_owned()),
            ..all.clone()
        });
    }
    for yes in [true, false] {
        questions.push(Sessions {
            starred: Some(yes),
            ..all.clone()
        });
        questions.push(Sessions {
            has_user_interaction: Some(yes),
            ..all.clone()
        });
    }
    for id in ["origin", "fork1", "nobody"] {
        questions.push(Sessions {
            origin: Some(f::session(id)),
            ..all.clone()
        });
        questions.push(Sessions {
            parent: Some(Some(f::session(id))),
            ..all.clone()
        });
    }
    questions.push(Sessions {
        parent: Some(None),
        ..all.clone()
    });
    for offset in [-1, 0, 3, 1_002] {
        let time = Some(Time(f::NEW_YEAR.0 + offset));
        questions.push(Sessions {
            updated_after: time,
            ..all.clone()
        });
        questions.push(Sessions {
            updated_before: time,
            ..all.clone()
        });
        questions.push(Sessions {
            updated_after: time,
            updated_before: Some(Time(f::NEW_YEAR.0 + 1_003)),
            ..all.clone()
        });
    }
    questions.push(Sessions {
        states: vec![State::Active, State::Archived],
        workspace: Some("/w".to_owned()),
        title_contains: Some("a".to_owned()),
        starred: Some(false),
        ..labels(&[("team", "a")])
    });
    questions.push(Sessions {
        states: vec![State::Active],
        id_prefix: Some("s".to_owned()),
        has_user_interaction: Some(true),
        parent: Some(None),
        updated_after: Some(f::NEW_YEAR),
        ..all
    });
    questions
}

pub(crate) async fn every_order_and_filter(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    populate(&desk).await;
    let elsewhere = SessionCommand::Create {
        id: f::session("s1"),
        log: desk.log(),
        draft: Box::default(),
    };
    let elsewhere = crate::domain::Proposal {
        namespace: Namespace::parse("elsewhere").expect("valid"),
        ..f::to_session(elsewhere)
    };
    desk.done(elsewhere).await;
    let desk = desk.restarted(backend).await;
    let all = paged(&*desk.store, &everything(&desk.ns, Order::default()), ALL, 1).await;
    assert_eq!(all.len(), 44);
    for session in &all {
        assert_eq!(desk.session(session.id.as_str()).await, *session);
    }
    for question in questions(&desk.ns) {
        for order in ORDERS {
            let query = Sessions {
                order,
                ..question.clone()
            };
            let expected = naive(&all, &query);
            for rows in [1, 3, 7, 1_000] {
                let bound = Bound { rows, ..ALL };
                assert_eq!(
                    paged(&*desk.store, &query, bound, 100).await,
                    expected,
                    "{query:?} by {rows}"
                );
            }
        }
    }
}

pub(crate) async fn bytes_bound_a_page(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for at in 0..9 {
        let draft = Draft {
            texts: Texts {
                system_prompt: "p".repeat(1_000 * (at % 4)),
                ..Texts::default()
            },
            ..Draft::default()
        };
        desk.create_as(&format!("s{at}"), draft).await;
    }
    let query = everything(&desk.ns, Order::CreateTimeAsc);
    let expected = paged(&*desk.store, &query, ALL, 1).await;
    for bytes in [0, 1_000, 4_000, 100_000] {
        let bound = Bound { rows: 100, bytes };
        assert_eq!(
            paged(&*desk.store, &query, bound, 100).await,
            expected,
            "by {bytes} bytes"
        );
        let page = desk.store.sessions(&query, None, bound).await.expect("a page");
        let size: usize = page.rows.iter().map(|session| session.text_bytes()).sum();
        assert!(page.rows.len() == 1 || size <= bytes, "{size} of {bytes}");
    }
}

pub(crate) async fn short_pages_never_loop(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let mut tasks = JoinSet::new();
    let total = SCAN_ROWS_MAX + 60;
    for lane in 0..60 {
        let (store, now) = (desk.store.clone(), desk.now());
        let mine = (lane..total).step_by(60).map(|at| (at, desk.log()));
        let mine: Vec<_> = mine.collect();
        tasks.spawn(async move {
            for (at, log) in mine {
                let title = if at == 3 { "needle" } else { "hay" };
                let command = SessionCommand::Create {
                    id: f::session(&format!("s{at:06}")),
                    log,
                    draft: Box::new(Draft {
                        title: Some(f::title(title)),
                        ..Draft::default()
                    }),
                };
                store
                    .commit(f::to_session(command), now)
                    .await
                    .expect("no rule against it");
            }
        });
    }
    tasks.join_all().await;
    for order in [Order::UpdateTimeDesc, Order::CreateTimeAsc, Order::TitleAsc] {
        let query = Sessions {
            title_contains: Some("eedl".to_owned()),
            ..everything(&desk.ns, order)
        };
        let found = paged(&*desk.store, &query, Bound { rows: 10, ..ALL }, 5).await;
        assert_eq!(found.len(), 1, "{order:?}");
        let nothing = Sessions {
            title_contains: Some("nobody".to_owned()),
            ..query
        };
        assert_eq!(paged(&*desk.store, &nothing, ALL, 5).await, []);
    }
}

pub(crate) async fn keys_of_rows_that_are_gone(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for at in 0..6 {
        desk.create(&format!("s{at}")).await;
    }
    let query = everything(&desk.ns, Order::CreateTimeAsc);
    let bound = Bound { rows: 2, ..ALL };
    let first = desk.store.sessions(&query, None, bound).await.expect("a page");
    let ids = |rows: &[Arc<Session>]| -> Vec<String> { rows.iter().map(|row| row.id.to_string()).collect() };
    assert_eq!(ids(&first.rows), ["s0", "s1"]);
    desk.done(deleting("s1", Deletion::Force)).await;
    desk.done(deleting("s2", Deletion::Force)).await;
    let second = desk
        .store
        .sessions(&query, first.next.as_ref(), bound)
        .await
        .expect("a page");
    assert_eq!(ids(&second.rows), ["s3", "s4"], "the key outlives its row");
}

pub(crate) async fn threads_by_change(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for at in 0..20_i64 {
        let command = ThreadCommand::Create {
            id: f::thread(&format!("t{at}")),
            journal: desk.log(),
            draft: Box::new(thread::Draft {
                state: [
                    thread::State::Open,
                    thread::State::Closed,
                    thread::State::Archived,
                ][usize::try_from(at % 3).expect("small")],
                ..thread::Draft::default()
            }),
            epoch: None,
        };
        let now = Time(f::NEW_YEAR.0 + at / 4);
        desk.store
            .commit(f::to_thread(command), now)
            .await
            .expect("no rule against it");
    }
    desk.done(starting("t3", "u")).await;
    desk.turn("t6", "u", &["i"]).await;
    desk.save("t6", vec![f::assistant("i")]).await;
    let desk = desk.restarted(backend).await;
    let all = desk
        .store
        .threads(&every_thread(&desk.ns), None, ALL)
        .await
        .expect("a page")
        .rows;
    assert_eq!(all.len(), 20);
    assert!(
        all.is_sorted_by(|a, b| a.key() > b.key()),
        "the last changed first, ties by id downwards"
    );
    let mut questions = vec![every_thread(&desk.ns)];
    for states in [
        vec![thread::State::Open],
        vec![thread::State::Closed, thread::State::Archived],
    ] {
        questions.push(Threads {
            states,
            ..every_thread(&desk.ns)
        });
    }
    for session in ["of-t6", "nobody"] {
        questions.push(Threads {
            session: Some(f::session(session)),
            ..every_thread(&desk.ns)
        });
    }
    let engine = crate::domain::EngineId::parse("e", "engine_id").expect("valid");
    questions.push(Threads {
        engine: Some(engine),
        ..every_thread(&desk.ns)
    });
    for query in questions {
        let expected: Vec<_> = all
            .iter()
            .filter(|thread| query.admits(thread))
            .cloned()
            .collect();
        for rows in [1, 3, 100] {
            let found = paged_threads(&*desk.store, &query, Bound { rows, ..ALL }).await;
            assert_eq!(found, expected, "{query:?} by {rows}");
        }
    }
}

async fn paged_threads(store: &dyn Store, query: &Threads, bound: Bound) -> Vec<Arc<Thread>> {
    let (mut rows, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let page = store.threads(query, after.as_ref(), bound).await.expect("a page");
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
    panic!("{query:?} has no end");
}
