//! Rewinds and what they leave, forks of what a session was, and trees.

use std::sync::Arc;

use crate::domain::fixture as f;
use crate::domain::limits::{PAST_HEAD_LIFE, STAGING_LIFE};
use crate::domain::proposal::{Fork, UpkeepCommand};
use crate::domain::query::{Bound, ChangedItems};
use crate::domain::session::Draft;
use crate::domain::turn::Status;
use crate::domain::{Outcome, Refusal, Revision, Seq, Session};
use crate::store::Chore;

use super::Backend;
use super::desk::{ALL, Desk, adding, finishing, forked, rewound, starting};

/// A session `s` of six messages.
async fn talked(desk: &Desk) -> Arc<Session> {
    desk.create("s").await;
    desk.talk("s", "m", 6).await
}

async fn left(desk: &Desk) -> Vec<u64> {
    let heads = desk.store.past_heads(&desk.ns, &f::session("s"), None, 100).await;
    let heads = heads.expect("they can be read");
    heads.iter().map(|head| head.revision.0).collect()
}

pub(crate) async fn a_rewind_keeps_what_it_leaves(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let before = talked(&desk).await;
    let committed = desk.done(rewound(desk.rewinding("s", None, 2).await)).await;
    let expected = Outcome::Rewound {
        session: f::session("s"),
        left: before.revision,
        kept: Seq(2),
        removed: 4,
    };
    assert_eq!(committed.outcome, expected);
    let after = desk.session("s").await;
    assert_eq!(after.revision, before.revision.next());
    assert_eq!((after.tip.seq(), &*after.preview), (Seq(2), "at 2"));
    desk.append("s", vec![f::user("n", "anew")]).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.ids("s").await, ["m0", "m1", "n"]);
    assert_eq!(left(&desk).await, [before.revision.0]);
    let head = desk
        .store
        .past_head(&desk.ns, &f::session("s"), before.revision)
        .await;
    let head = head.expect("it can be read").expect("it was left");
    assert_eq!(head.tip, before.tip);
    assert_eq!(desk.entries_to(&head.tip).await.len(), 6);
}

pub(crate) async fn a_rewind_is_undone(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let before = talked(&desk).await;
    desk.rewind("s", None, 2).await;
    let changed = desk.append("s", vec![f::user("n", "anew")]).await;
    let undone = desk.rewind("s", Some(before.revision), 6).await;
    assert_eq!(undone.revision, changed.revision.next());
    assert_eq!(undone.tip.tally, before.tip.tally);
    assert_ne!(undone.tip.log.id, before.tip.log.id, "what comes next is its own");
    desk.append("s", vec![f::user("o", "on")]).await;
    let again = desk.rewind("s", Some(changed.revision), 3).await;
    assert_eq!(desk.ids("s").await, ["m0", "m1", "n"]);
    let desk = desk.restarted(backend).await;
    assert_eq!(
        left(&desk).await,
        [again.revision.0 - 1, changed.revision.0, before.revision.0]
    );
    desk.rewind("s", Some(Revision(again.revision.0 - 1)), 7).await;
    assert_eq!(desk.ids("s").await, ["m0", "m1", "m2", "m3", "m4", "m5", "o"]);
}

pub(crate) async fn a_rewind_to_where_it_is_changes_nothing(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let before = talked(&desk).await;
    let after = desk.rewind("s", None, 6).await;
    assert_eq!(after, before);
    assert_eq!(left(&desk).await, [0; 0]);
}

pub(crate) async fn what_has_moved_is_not_rewound(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    talked(&desk).await;
    let late = desk.rewinding("s", None, 2).await;
    desk.append("s", vec![f::user("n", "late")]).await;
    assert!(matches!(desk.refused(rewound(late)).await, Refusal::Moved { .. }));
    let mut unknown = desk.rewinding("s", None, 2).await;
    unknown.to = Some(Revision(77));
    let refusal = desk.refused(rewound(unknown)).await;
    assert_eq!(refusal, Refusal::no_revision(&f::session("s"), Revision(77)));
    assert_eq!(desk.ids("s").await.len(), 7);
}

pub(crate) async fn past_heads_are_forked(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let before = talked(&desk).await;
    desk.rewind("s", None, 0).await;
    let tally = desk.tally(&before, 4).await;
    let fork = Fork {
        revision: Some(before.revision),
        source_log: before.tip.log.id,
        cut: tally,
        ..desk.forking("s", 0, "fork").await
    };
    let late = Fork {
        id: f::session("late"),
        log: desk.log(),
        ..fork.clone()
    };
    desk.done(forked(fork)).await;
    assert_eq!(desk.ids("fork").await, ["m0", "m1", "m2", "m3"]);
    let expire = UpkeepCommand::ExpireHead {
        session: f::session("s"),
        revision: before.revision,
    };
    desk.pass(PAST_HEAD_LIFE);
    desk.done(f::to_upkeep(expire)).await;
    let refusal = desk.refused(forked(late)).await;
    assert_eq!(refusal, Refusal::no_revision(&f::session("s"), before.revision));
    let desk = desk.restarted(backend).await;
    desk.pass(STAGING_LIFE);
    desk.pass(PAST_HEAD_LIFE);
    for _ in 0..3 {
        for chore in desk.chores().await {
            if let Chore::Sweep(log) = chore {
                desk.done(f::to_upkeep(UpkeepCommand::Sweep { log })).await;
            }
        }
    }
    assert_eq!(
        desk.ids("fork").await,
        ["m0", "m1", "m2", "m3"],
        "the fork keeps its part"
    );
    let log = desk.store.log(before.tip.log.id).await.expect("it can be read");
    assert!(log.is_some(), "a fork names it");
}

pub(crate) async fn past_heads_are_paged(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    talked(&desk).await;
    for seq in (1..=4).rev() {
        desk.rewind("s", None, seq).await;
    }
    let all = left(&desk).await;
    assert_eq!(all, [5, 4, 3, 2]);
    let page = |before: Option<u64>| {
        let (store, ns) = (desk.store.clone(), desk.ns.clone());
        async move {
            let heads = store
                .past_heads(&ns, &f::session("s"), before.map(Revision), 3)
                .await
                .expect("they can be read");
            heads.iter().map(|head| head.revision.0).collect::<Vec<_>>()
        }
    };
    assert_eq!(page(None).await, [5, 4, 3]);
    assert_eq!(page(Some(3)).await, [2]);
    assert_eq!(page(Some(2)).await, [0; 0]);
}

pub(crate) async fn a_tree_is_walked(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    talked(&desk).await;
    for (source, id) in [("s", "b"), ("s", "a"), ("a", "aa")] {
        desk.fork(source, 2, id).await;
    }
    let part = Draft {
        parent: Some(f::session("s")),
        ..Draft::default()
    };
    desk.create_as("ab", part).await;
    let desk = desk.restarted(backend).await;
    let children = |id: &str, after: Option<&str>, rows: usize| {
        let (store, ns) = (desk.store.clone(), desk.ns.clone());
        let (id, after) = (f::session(id), after.map(f::session));
        async move {
            let children = store.children(&ns, &id, after.as_ref(), rows).await;
            let children = children.expect("they can be read").into_iter();
            let named = children.map(|child| (child.id.to_string(), child.has_children));
            named.collect::<Vec<_>>()
        }
    };
    let named = |all: &[(&str, bool)]| -> Vec<(String, bool)> {
        all.iter().map(|(id, has)| ((*id).to_owned(), *has)).collect()
    };
    let all = [("a", true), ("ab", false), ("b", false)];
    assert_eq!(children("s", None, 10).await, named(&all));
    assert_eq!(children("s", None, 2).await, named(&all[..2]));
    assert_eq!(children("s", Some("a"), 10).await, named(&all[1..]));
    assert_eq!(children("a", None, 10).await, named(&[("aa", false)]));
    assert_eq!(children("aa", None, 10).await, named(&[]));
}

pub(crate) async fn items_are_read_by_change(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.done(starting("t", "u1")).await;
    let open = |id: &str| f::new_item(id, Status::InProgress);
    desk.done(adding("t", "u1", vec![open("a"), open("b")])).await;
    desk.done(adding("t", "u1", vec![open("c")])).await;
    desk.done(adding("t", "u1", vec![open("a")])).await;
    let read = |change: u64, after: u64, to: u64, bound: Bound| {
        let store = desk.store.clone();
        let journal = desk.thread("t");
        async move {
            let query = ChangedItems {
                change,
                after: Seq(after),
                to,
            };
            let items = store.changed_items(journal.await.journal, &query, bound).await;
            let items = items.expect("they can be read");
            items.iter().map(|item| item.id.to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(0, 0, 99, ALL).await, ["b", "c", "a"]);
    assert_eq!(read(0, 0, 99, Bound { rows: 2, ..ALL }).await, ["b", "c"]);
    assert_eq!(read(0, 0, 4, ALL).await, ["b", "c"]);
    assert_eq!(read(3, 2, 99, ALL).await, ["c", "a"]);
    assert_eq!(read(5, 1, 99, ALL).await, [""; 0]);
    desk.done(finishing("t", "u1", Status::Failed)).await;
    assert_eq!(
        read(5, u64::MAX, 99, ALL).await,
        ["a", "b", "c"],
        "they ended with their turn"
    );
    desk.turn("t", "u2", &["d"]).await;
    let thread = desk.thread("t").await;
    let turns = desk
        .store
        .changed_turns(thread.journal, 0, 10)
        .await
        .expect("turns");
    let turns: Vec<_> = turns
        .iter()
        .map(|turn| (turn.id.to_string(), turn.change))
        .collect();
    assert_eq!(turns, [("u1".to_owned(), 6), ("u2".to_owned(), 9)]);
    let turns = desk
        .store
        .changed_turns(thread.journal, 6, 10)
        .await
        .expect("turns");
    assert_eq!(turns.len(), 1);
}
