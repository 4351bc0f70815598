//! Search: what is indexed is found, once, by who shows it now; what is gone is not.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::limits::{SCAN_ROWS_MAX, STAGING_LIFE};
use crate::domain::outcome::More;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::query::Bound;
use crate::domain::search::{Query, Reach};
use crate::domain::session::{Archived, Change, Draft, Setting};
use crate::domain::{LogId, Namespace, NewEntry, Role, Session};
use crate::store::Chore;

use super::Backend;
use super::desk::{ALL, Desk};
use super::indexing::{BATCH, indexed, listed, plain, rows, said, user, within};
use super::receipts::deleting;
use super::upkeep::{compacted, sweeping, tidied};

pub(crate) async fn finds_what_was_said(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for id in ["a", "b"] {
        desk.create(id).await;
    }
    desk.append(
        "a",
        vec![
            user("a1", "The quick brown Fox", 10),
            f::event("event"),
            said("a2", Role::Assistant, "a fox, quickly: 日本語", 40),
            said("a3", Role::System, "be a FOX", 20),
        ],
    )
    .await;
    desk.append("b", vec![said("b1", Role::Tool, "quick foxes", 30)])
        .await;
    assert_eq!(desk.index().await, 4);
    for (asked, found) in [
        ("fox", vec!["a/a2", "a/a3", "a/a1"]),
        ("FOX quick", vec!["a/a1"]),
        ("quick*", vec!["a/a2", "b/b1", "a/a1"]),
        ("\"quick brown\"", vec!["a/a1"]),
        ("\"brown quick\"", vec![]),
        ("本語", vec!["a/a2"]),
        ("fox OR foxes", vec![]),
        ("lfox", vec![]),
    ] {
        assert_eq!(desk.finds_words(asked).await, found, "{asked}");
    }
    let second = |second| Some(f::NEW_YEAR.after(Duration::from_secs(second)));
    let all = desk.asking("quick* fox*");
    for (query, found) in [
        (
            Query {
                roles: vec![Role::User, Role::Tool],
                ..all.clone()
            },
            vec!["b/b1", "a/a1"],
        ),
        (
            Query {
                after: second(10),
                ..all.clone()
            },
            vec!["a/a2", "b/b1"],
        ),
        (
            Query {
                before: second(40),
                ..all.clone()
            },
            vec!["b/b1", "a/a1"],
        ),
        (
            Query {
                after: second(10),
                before: second(30),
                ..all.clone()
            },
            vec![],
        ),
        (
            Query {
                session: within(&*desk.session("b").await),
                ..all.clone()
            },
            vec!["b/b1"],
        ),
        (
            Query {
                namespace: Namespace::parse("other").expect("valid"),
                ..all
            },
            vec![],
        ),
    ] {
        assert_eq!(desk.finds(&query).await, found, "{query:?}");
    }
    let hits = listed(&*desk.store, &desk.asking("brown"), 1).await;
    assert_eq!(hits[0].entry, desk.entries("a").await[0]);
    assert_eq!(hits[0].time, f::NEW_YEAR.after(Duration::from_secs(10)));
}

pub(crate) async fn a_shared_message_is_found_once(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let of = |workspace: &str| Draft {
        setting: Setting {
            workspace: workspace.to_owned(),
            ..Setting::default()
        },
        ..Draft::default()
    };
    desk.create_as("root", of("/one")).await;
    desk.append(
        "root",
        vec![user("m1", "shared words", 1), user("m2", "later words", 2)],
    )
    .await;
    desk.fork("root", 1, "fork").await;
    desk.append("fork", vec![user("m3", "own words", 3)]).await;
    desk.fork("fork", 2, "deep").await;
    desk.index().await;
    let all = ["fork/m3", "root/m2", "root/m1"];
    assert_eq!(desk.finds_words("words").await, all);
    assert_eq!(desk.index().await, 0, "it is whole");
    let in_deep = Query {
        session: within(&*desk.session("deep").await),
        ..desk.asking("words")
    };
    assert_eq!(desk.finds(&in_deep).await, ["deep/m3", "deep/m1"]);
    let moved = Change {
        workspace: Some("/two".to_owned()),
        ..Change::default()
    };
    desk.done(f::to_session(SessionCommand::Update {
        id: f::session("deep"),
        change: Box::new(moved),
        etag: None,
    }))
    .await;
    for (workspace, found) in [
        ("/one", vec!["fork/m3", "root/m2", "root/m1"]),
        ("/two", vec!["deep/m3", "deep/m1"]),
        ("/", vec![]),
    ] {
        let query = Query {
            workspace: Some(workspace.to_owned()),
            ..desk.asking("words")
        };
        assert_eq!(desk.finds(&query).await, found, "{workspace}");
    }
    let archived = Change {
        archived: Some(Archived::Yes),
        ..Change::default()
    };
    desk.done(f::to_session(SessionCommand::Update {
        id: f::session("root"),
        change: Box::new(archived),
        etag: None,
    }))
    .await;
    assert_eq!(desk.finds_words("words").await, all);
    let life = Duration::from_secs(60);
    desk.done(deleting("root", Deletion::Soft { purge_after: life }))
        .await;
    assert_eq!(desk.finds_words("words").await, ["fork/m3", "fork/m1"]);
    let id = f::session("root");
    desk.done(f::to_session(SessionCommand::Undelete { id })).await;
    assert_eq!(desk.finds_words("words").await, all);
    desk.done(deleting("root", Deletion::Force)).await;
    desk.done(deleting("fork", Deletion::Force)).await;
    assert_eq!(desk.finds_words("words").await, ["deep/m3", "deep/m1"]);
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    desk.index().await;
    assert_eq!(desk.finds_words("words").await, ["deep/m3", "deep/m1"]);
}

pub(crate) async fn copies_are_found_once(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s0").await;
    desk.append("s0", vec![user("m0", "word of 0", 0)]).await;
    for depth in 1..=5_u64 {
        let (source, id) = (format!("s{}", depth - 1), format!("s{depth}"));
        desk.fork(&source, depth, &id).await;
        desk.append(
            &id,
            vec![user(&format!("m{depth}"), &format!("word of {depth}"), depth)],
        )
        .await;
    }
    desk.index().await;
    let all = ["s5/m5", "s4/m4", "s3/m3", "s2/m2", "s1/m1", "s0/m0"];
    assert_eq!(desk.finds_words("word").await, all);
    for range in [1..4, 1..3, 0..2] {
        let session = desk.session("s5").await;
        compacted(&desk, &session, range).await;
        assert_eq!(
            desk.finds_words("word").await,
            all,
            "before the copies are indexed"
        );
        desk.index().await;
        assert_eq!(desk.finds_words("word").await, all, "and after");
    }
    for id in ["s0", "s2", "s3"] {
        desk.done(deleting(id, Deletion::Force)).await;
    }
    let left = ["s5/m5", "s4/m4", "s4/m3", "s4/m2", "s1/m1", "s1/m0"];
    assert_eq!(desk.finds_words("word").await, left);
    desk.pass(2 * STAGING_LIFE);
    for log in sweepable(&desk).await {
        desk.done(sweeping(log)).await;
    }
    let desk = desk.restarted(backend).await;
    desk.index().await;
    assert_eq!(desk.finds_words("word").await, left);
    for id in ["s1", "s4"] {
        desk.done(deleting(id, Deletion::Force)).await;
    }
    let copies = ["s5/m5", "s5/m4", "s5/m3", "s5/m2", "s5/m1", "s5/m0"];
    assert_eq!(desk.finds_words("word").await, copies);
}

async fn sweepable(desk: &Desk) -> Vec<LogId> {
    let chores = desk.chores().await.into_iter();
    let logs = chores.filter_map(|chore| match chore {
        Chore::Sweep(log) => Some(log),
        _ => None,
    });
    logs.collect()
}

pub(crate) async fn it_goes_on_where_it_was(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    let lots = |from: u64, to: u64| -> Vec<NewEntry> {
        let one = |at| user(&format!("m{at}"), "word", at);
        (from..to).map(one).collect()
    };
    desk.append("a", lots(0, 120)).await;
    let reach = async |desk: &Desk| {
        let found = desk.store.search(&desk.asking("word"), None, ALL).await;
        let found = found.expect("it can be searched");
        (found.page.rows.len(), found.reach)
    };
    let (found, behind) = reach(&desk).await;
    assert_eq!(found, 0);
    assert!(
        matches!(behind, Reach::Until(time) if time < desk.now()),
        "{behind:?}"
    );
    let lack = desk.store.lack(BATCH).await.expect("it can be told");
    assert_eq!((lack.logs.len(), lack.more), (1, More::Left));
    assert_eq!(lack.logs[0].messages.len(), 50);
    let again = desk.store.lack(BATCH).await.expect("it can be told");
    assert_eq!(again.logs, lack.logs, "until it was put in");
    let batch: Vec<_> = lack.logs.into_iter().map(|log| rows(log, plain)).collect();
    desk.store
        .index(batch.clone(), None)
        .await
        .expect("it can be written");
    desk.store
        .index(batch, None)
        .await
        .expect("what is there is left alone");
    assert_eq!(reach(&desk).await.0, 50);
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.index().await, 70);
    assert_eq!(reach(&desk).await, (120, Reach::All));
    desk.append("a", lots(120, 130)).await;
    let (found, behind) = reach(&desk).await;
    assert_eq!(found, 120);
    assert!(
        matches!(behind, Reach::Until(time) if time < desk.now()),
        "{behind:?}"
    );
    assert_eq!(desk.index().await, 10);
    assert_eq!(reach(&desk).await, (130, Reach::All));
    let staged = desk.stage(None, &lots(200, 210), 5).await;
    assert_eq!(desk.index().await, 0, "nobody shows {}", staged.log.id);
}

pub(crate) async fn a_crowd_of_one_time(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for id in ["a", "b"] {
        desk.create(id).await;
        let crowd = (0..150).map(|at| user(&format!("{id}{at}"), "word", 7));
        desk.append(id, crowd.collect()).await;
    }
    desk.append("a", vec![user("before", "word", 6), user("after", "word", 8)])
        .await;
    desk.index().await;
    let found = desk.finds_words("word").await;
    assert_eq!(found.len(), 302);
    assert_eq!((found[0].as_str(), found[301].as_str()), ("a/after", "a/before"));
    let mut once = found.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 302);
    let second = |second| Some(f::NEW_YEAR.after(Duration::from_secs(second)));
    let crowd = Query {
        after: second(6),
        before: second(8),
        ..desk.asking("word")
    };
    assert_eq!(desk.finds(&crowd).await.len(), 300);
}

pub(crate) async fn filters_look_at_bounded_rows(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("old").await;
    desk.append("old", vec![user("first", "word", 0)]).await;
    desk.create("many").await;
    let many = |from: usize| (from..from + 5_010).map(|at| user(&format!("m{at}"), "word", 1 + at as u64));
    for from in [0, 5_010] {
        desk.append("many", many(from).collect()).await;
    }
    indexed(&*desk.store, ALL, plain).await;
    let moved = Change {
        workspace: Some("/here".to_owned()),
        ..Change::default()
    };
    desk.done(f::to_session(SessionCommand::Update {
        id: f::session("old"),
        change: Box::new(moved),
        etag: None,
    }))
    .await;
    let query = Query {
        workspace: Some("/here".to_owned()),
        ..desk.asking("word")
    };
    let bound = Bound { rows: 10, ..ALL };
    let short = desk
        .store
        .search(&query, None, bound)
        .await
        .expect("it can be searched");
    assert!(
        short.page.rows.is_empty() && short.page.next.is_some(),
        "{SCAN_ROWS_MAX} rows are enough"
    );
    let rest = desk.store.search(&query, short.page.next, bound).await;
    let rest = rest.expect("it can be searched").page;
    assert_eq!((rest.rows.len(), rest.next), (1, None));
    let bytes = Bound { rows: 10, bytes: 9 };
    let few = desk.store.search(&desk.asking("word"), None, bytes).await;
    assert_eq!(few.expect("it can be searched").page.rows.len(), 2);
}

pub(crate) async fn what_is_swept_leaves(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("root").await;
    let lots = (0..30).map(|at| user(&format!("m{at}"), "word", at));
    desk.append("root", lots.collect()).await;
    desk.fork("root", 10, "fork").await;
    desk.index().await;
    desk.done(deleting("root", Deletion::Force)).await;
    assert_eq!(desk.finds_words("word").await.len(), 10);
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(desk.index().await, 0);
    let news = desk.store.index_news();
    assert_eq!(desk.finds_words("word").await.len(), 10);
    desk.done(deleting("fork", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert!(news.has_changed().expect("the store is there"));
    desk.index().await;
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.index().await, 0);
    assert_eq!(desk.finds_words("word").await, Vec::<String>::new());
    let session: Arc<Session> = desk.create("root").await;
    desk.append("root", vec![user("m0", "word", 1)]).await;
    desk.index().await;
    assert_eq!(desk.finds_words("word").await, [format!("{}/m0", session.id)]);
}

pub(crate) async fn what_is_rewound_away_is_not_found(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let said = (0..6).map(|at| user(&format!("m{at}"), "word", at));
    let before = desk.append("s", said.collect()).await;
    desk.fork("s", 4, "fork").await;
    desk.index().await;
    desk.rewind("s", None, 2).await;
    let left = ["fork/m3", "fork/m2", "s/m1", "s/m0"];
    assert_eq!(desk.finds_words("word").await, left);
    desk.append("s", vec![user("n", "word", 9)]).await;
    desk.index().await;
    let anew = ["s/n", "fork/m3", "fork/m2", "s/m1", "s/m0"];
    assert_eq!(desk.finds_words("word").await, anew);
    let inside = Query {
        session: within(&*desk.session("s").await),
        ..desk.asking("word")
    };
    assert_eq!(desk.finds(&inside).await, ["s/n", "s/m1", "s/m0"]);
    desk.rewind("s", Some(before.revision), 6).await;
    assert_eq!(desk.index().await, 0);
    let all = ["s/m5", "s/m4", "s/m3", "s/m2", "s/m1", "s/m0"];
    assert_eq!(
        desk.finds_words("word").await,
        all,
        "an undone rewind is as if it had not been"
    );
}
