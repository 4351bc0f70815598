//! Upkeep: what nobody names goes, in bounded commits; what somebody names stays, whoever copies it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::limits::{STAGING_LIFE, SWEEP_BYTES_MAX};
use crate::domain::outcome::More;
use crate::domain::path::{Part, Path};
use crate::domain::proposal::{Deletion, Save, ThreadCommand, UpkeepCommand, Written};
use crate::domain::query::{End, Items, Range};
use crate::domain::{Entry, Log, LogId, NewEntry, Outcome, Proposal, Refusal, Seq, Session, Tip};
use crate::store::{Chore, Store};

use super::Backend;
use super::desk::{ALL, Desk, saved, staging};
use super::receipts::deleting;

fn events(prefix: &str, count: usize) -> Vec<NewEntry> {
    (0..count).map(|at| f::event(&format!("{prefix}{at}"))).collect()
}

pub(crate) fn sweeping(log: LogId) -> Proposal {
    f::to_upkeep(UpkeepCommand::Sweep { log })
}

/// Runs chores until no more turn up, however long one waits; how many commits that took.
pub(crate) async fn tidied(desk: &Desk) -> usize {
    for commits in 0..1_000 {
        if desk.chores().await.is_empty() {
            desk.pass(STAGING_LIFE);
        }
        let Some(chore) = desk.chores().await.into_iter().next() else {
            return commits;
        };
        let command = match chore {
            Chore::Purge(_, session) => UpkeepCommand::Purge { session },
            Chore::Sweep(log) => UpkeepCommand::Sweep { log },
            Chore::ExpireReceipts => UpkeepCommand::ExpireReceipts { before: desk.now() },
            Chore::ExpireResumes => UpkeepCommand::ExpireResumes { before: desk.now() },
            Chore::ExpireHead(_, session, revision) => UpkeepCommand::ExpireHead { session, revision },
            Chore::ForgetEngine(_, engine) => panic!("{engine} was never attached"),
            Chore::Compact(_, session) => panic!("{session} is short"),
        };
        desk.done(f::to_upkeep(command)).await;
    }
    panic!("no end of chores: {:?}", desk.chores().await);
}

/// What lies in a log itself, whoever names it.
async fn own(desk: &Desk, log: LogId) -> Vec<Entry> {
    let range = Range {
        after: Seq::ZERO,
        to: Seq(1_000_000),
        from: End::Oldest,
    };
    let rows = desk.store.entries(&Log::root(log), range, ALL).await;
    rows.expect("they can be read")
}

pub(crate) async fn unpublished_logs_are_swept(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let tip = desk.stage(None, &events("e", 2_500), 500).await;
    let staged = desk.now();
    assert_eq!(own(&desk, tip.log.id).await.len(), 2_500);
    let chores = |now| {
        let store = desk.store.clone();
        async move { store.chores(now, 100).await.expect("they can be read") }
    };
    let due = staged.after(STAGING_LIFE);
    assert_eq!(chores(crate::domain::Time(due.0 - 1)).await, []);
    assert_eq!(chores(due).await, [Chore::Sweep(tip.log.id)]);
    let desk = desk.restarted(backend).await;
    desk.pass(STAGING_LIFE);
    for (left, more) in [
        (1_500, More::Left),
        (500, More::Left),
        (0, More::Left),
        (0, More::Done),
    ] {
        let kept = desk.done(sweeping(tip.log.id)).await.outcome;
        assert_eq!(kept, Outcome::Kept { more });
        assert_eq!(own(&desk, tip.log.id).await.len(), left, "bounded rows a commit");
        if left == 500 {
            assert_eq!(
                desk.chores().await,
                [Chore::Sweep(tip.log.id)],
                "it is found again"
            );
        }
    }
    assert_eq!(desk.chores().await, []);
    let (_, late) = staging(&tip, &events("late", 1));
    assert_eq!(desk.refused(f::to_upkeep(late)).await, Refusal::StagingLost);
}

/// Who is still at it says so with a command that stages nothing more.
pub(crate) async fn renewed_logs_are_not_swept(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let tip = desk.stage(None, &events("e", 20), 10).await;
    desk.pass(STAGING_LIFE);
    assert_eq!(desk.chores().await, [Chore::Sweep(tip.log.id)]);
    let renewed = || {
        let (_, more) = staging(&tip, &[]);
        f::to_upkeep(more)
    };
    desk.done(renewed()).await;
    // The sweep was found before.
    let kept = desk.done(sweeping(tip.log.id)).await.outcome;
    assert_eq!(kept, Outcome::Kept { more: More::Done });
    assert_eq!(own(&desk, tip.log.id).await.len(), 20);
    assert_eq!(desk.chores().await, []);
    let desk = desk.restarted(backend).await;
    desk.pass(STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(desk.refused(renewed()).await, Refusal::StagingLost);
}

pub(crate) async fn sweeps_are_bounded_by_bytes(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let large = |at: usize| f::with_body(f::event(&format!("e{at}")), vec![7; SWEEP_BYTES_MAX / 3]);
    let mut entries: Vec<NewEntry> = (0..4).map(large).collect();
    entries.push(f::with_body(f::event("huge"), vec![7; 2 * SWEEP_BYTES_MAX]));
    let tip = desk.stage(None, &entries, 5).await;
    desk.pass(STAGING_LIFE);
    for left in [4, 1, 0] {
        desk.done(sweeping(tip.log.id)).await;
        assert_eq!(own(&desk, tip.log.id).await.len(), left, "one row at least");
    }
}

/// A log that only a path names keeps nothing by a path of its own, for a copy may stand in its place.
pub(crate) async fn copied_logs_are_let_go(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let first = desk.create("a").await.tip.log.id;
    desk.append("a", events("a", 3)).await;
    let second = desk.fork("a", 3, "b").await.tip.log.id;
    desk.append("b", events("b", 2)).await;
    desk.fork("b", 5, "c").await;
    for id in ["a", "b"] {
        desk.done(deleting(id, Deletion::Force)).await;
    }
    let session = desk.session("c").await;
    compacted(&desk, &session, 0..1).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(own(&desk, first).await, [], "the copy stands in its place");
    assert_eq!(own(&desk, second).await.len(), 2, "the path goes through it");
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.ids("c").await, ["a0", "a1", "a2", "b0", "b1"]);
    desk.done(deleting("c", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(backend.rows().await, 0);
}

pub(crate) async fn published_logs_stay(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    let said = [f::user("a", "hello"), f::assistant("b")];
    let tip = desk.stage(None, &said, 1).await;
    let written = Written::Staged {
        tip: tip.clone(),
        preview: None,
        title: None,
    };
    let save = Save {
        written,
        ..desk.saving("t", None, Vec::new()).await
    };
    desk.done(saved(save)).await;
    let desk = desk.restarted(backend).await;
    desk.pass(2 * STAGING_LIFE);
    assert_eq!(desk.chores().await, []);
    let kept = desk.done(sweeping(tip.log.id)).await.outcome;
    assert_eq!(kept, Outcome::Kept { more: More::Done });
    assert_eq!(desk.ids("of-t").await, ["a", "b"]);
    desk.turn("t", "v", &["j"]).await;
    desk.save("t", vec![f::assistant("c")]).await;
    assert_eq!(desk.ids("of-t").await, ["a", "b", "c"]);
}

pub(crate) async fn half_swept_logs_are_not_published(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    let said: Vec<_> = (0..1_500).map(|at| f::user(&format!("m{at}"), "")).collect();
    let tip = desk.stage(None, &said, 500).await;
    desk.pass(2 * STAGING_LIFE);
    desk.done(sweeping(tip.log.id)).await;
    let written = Written::Staged {
        tip: tip.clone(),
        preview: None,
        title: None,
    };
    let save = Save {
        written,
        ..desk.saving("t", None, Vec::new()).await
    };
    assert_eq!(
        desk.refused(saved(save)).await,
        Refusal::StagingLost,
        "a third is left"
    );
    let (_, more) = staging(&tip, &events("e", 1));
    assert_eq!(
        desk.refused(f::to_upkeep(more)).await,
        Refusal::StagingLost,
        "no gap is staged over"
    );
    tidied(&desk).await;
    assert_eq!(own(&desk, tip.log.id).await, []);
    assert_eq!(desk.found("of-t").await, None);
}

pub(crate) async fn deleted_text_goes_behind_the_last_cut(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let root = desk.create("a").await.tip.log.id;
    desk.append("a", events("m", 1_300)).await;
    desk.fork("a", 3, "b").await;
    desk.fork("a", 5, "c").await;
    let of_c = desk.append("c", events("c", 4)).await.tip.log.id;
    desk.fork("c", 7, "d").await;
    desk.pass(2 * STAGING_LIFE);
    assert_eq!(desk.chores().await, []);
    desk.done(deleting("a", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    let desk = desk.restarted(backend).await;
    assert!(tidied(&desk).await > 1, "bounded rows a commit");
    assert_eq!(own(&desk, root).await.len(), 5, "as far as the last cut");
    assert_eq!(desk.ids("b").await, ["m0", "m1", "m2"]);
    assert_eq!(
        desk.ids("c").await,
        ["m0", "m1", "m2", "m3", "m4", "c0", "c1", "c2", "c3"]
    );
    desk.done(deleting("c", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(own(&desk, of_c).await.len(), 2);
    assert_eq!(own(&desk, root).await.len(), 5, "d needs them still");
    desk.done(deleting("d", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(own(&desk, of_c).await, []);
    assert_eq!(own(&desk, root).await.len(), 3, "b needs them still");
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.ids("b").await, ["m0", "m1", "m2"]);
    desk.done(deleting("b", Deletion::Force)).await;
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    assert_eq!(own(&desk, root).await, []);
}

pub(crate) async fn journals_are_swept(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let journal = desk.create_thread("t").await.journal;
    let other = desk.create_thread("other").await.journal;
    desk.turn("other", "u", &["i"]).await;
    let ids: Vec<String> = (0..1_200).map(|at| format!("i{at}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    desk.turn("t", "u", &ids).await;
    let delete = ThreadCommand::Delete {
        id: f::thread("t"),
        epoch: None,
    };
    desk.done(f::to_thread(delete)).await;
    desk.pass(2 * STAGING_LIFE);
    let desk = desk.restarted(backend).await;
    assert!(tidied(&desk).await > 1, "bounded rows a commit");
    for (journal, items) in [(journal, 0), (other, 1)] {
        let query = Items {
            turn: None,
            after: Seq::ZERO,
        };
        let rows = desk.store.items(journal, &query, ALL).await;
        assert_eq!(rows.expect("they can be read").len(), items);
        let turn = desk.store.turn(journal, &f::turn("u")).await;
        assert_eq!(turn.expect("it can be read").is_some(), items > 0);
    }
    desk.done(sweeping(other)).await;
    assert_eq!(
        desk.items("other").await.len(),
        1,
        "a living thread's journal stays"
    );
}

/// The commands that copy these parts of a session's path into one new log, and have the session name
/// another that reads it.
pub(crate) async fn compacting(
    store: &dyn Store,
    session: &Session,
    copied: std::ops::Range<usize>,
    [copy, name]: [LogId; 2],
) -> [UpkeepCommand; 2] {
    let tip = &session.tip;
    let whole = tip.log.child(name, &tip.tally);
    let parts = whole.path.parts();
    let before = parts[..copied.start].to_vec();
    let start = before.last().map_or(Seq::ZERO, |part| part.to);
    let last = parts[copied.end - 1].clone();
    let range = Range {
        after: start,
        to: last.to,
        from: End::Oldest,
    };
    let rows = store.entries(&tip.log, range, ALL).await;
    let mut entries = rows.expect("they can be read");
    entries.iter_mut().for_each(|entry| entry.meta.log = copy);
    let path = Path::new(before.clone()).expect("it ascends");
    let stage = UpkeepCommand::Stage {
        log: Arc::new(Log { id: copy, path }),
        after: start,
        entries,
    };
    let part = Part { log: copy, ..last };
    let path = before
        .into_iter()
        .chain([part])
        .chain(parts[copied.end..].iter().cloned());
    let path = Path::new(path.collect()).expect("it ascends");
    let compact = UpkeepCommand::Compact {
        session: session.id.clone(),
        from: tip.log.id,
        to: Arc::new(Log { id: name, path }),
    };
    [stage, compact]
}

/// Does both, and returns the second.
pub(crate) async fn compacted(
    desk: &Desk,
    session: &Session,
    copied: std::ops::Range<usize>,
) -> UpkeepCommand {
    let [stage, compact] = compacting(&*desk.store, session, copied, [desk.log(), desk.log()]).await;
    desk.done(f::to_upkeep(stage)).await;
    desk.done(f::to_upkeep(compact.clone())).await;
    compact
}

pub(crate) async fn compaction_changes_nothing(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s0").await;
    desk.talk("s0", "m", 2).await;
    for depth in 1..=66 {
        let source = format!("s{}", depth - 1);
        let cut = desk.session(&source).await.tip.seq().0;
        desk.fork(&source, cut, &format!("s{depth}")).await;
        desk.append(&format!("s{depth}"), events(&format!("e{depth}-"), 1))
            .await;
    }
    let due = [65, 66].map(|depth| Chore::Compact(desk.ns.clone(), f::session(&format!("s{depth}"))));
    assert_eq!(desk.chores().await, due);
    let before = desk.session("s66").await;
    let entries = desk.entries("s66").await;
    let compact = compacted(&desk, &before, 10..60).await;
    let after = desk.session("s66").await;
    assert_eq!(after.tip.log.path.parts().len(), 18);
    assert_ne!(after.tip.log.id, before.tip.log.id);
    let same = Session {
        tip: Tip {
            log: before.tip.log.clone(),
            ..after.tip.clone()
        },
        ..Session::clone(&after)
    };
    assert_eq!(same, *before, "neither revision nor etag nor time");
    assert_eq!(after.etag(), before.etag());
    let moved = Refusal::Moved {
        session: f::session("s66"),
    };
    assert_eq!(desk.refused(f::to_upkeep(compact)).await, moved);
    desk.pass(2 * STAGING_LIFE);
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.chores().await.last(), Some(&due[0]));
    for chore in desk.chores().await {
        if let Chore::Sweep(log) = chore {
            desk.done(sweeping(log)).await;
        }
    }
    let compared = |entries: &[Entry]| -> Vec<_> {
        let parts = entries.iter().map(|entry| {
            (
                entry.meta.id.clone(),
                entry.meta.tally.clone(),
                entry.body.clone(),
            )
        });
        parts.collect()
    };
    assert_eq!(compared(&desk.entries("s66").await), compared(&entries));
    let known: Vec<_> = entries.iter().map(|entry| entry.meta.id.clone()).collect();
    let found = desk.store.known_entries(&after.tip, &known).await;
    assert_eq!(found.expect("they can be read").len(), known.len());
    desk.append("s66", vec![f::event("e5-0"), f::event("new")]).await;
    assert_eq!(desk.entries("s66").await.len(), entries.len() + 1);
    desk.fork("s66", 30, "fork").await;
    assert_eq!(desk.ids("fork").await, desk.ids("s66").await[..30]);
    desk.done(deleting("s66", Deletion::Force)).await;
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.ids("fork").await.len(), 30);
    assert_eq!(desk.ids("s65").await.len(), entries.len() - 1);
}

pub(crate) async fn saves_go_on_after_compactions(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    for round in 0..4 {
        desk.turn("t", &format!("u{round}"), &[&format!("i{round}")])
            .await;
        let (_, from, _) = desk.planned("t", None).await;
        let said = [f::user(&format!("m{round}"), "hello")];
        let tip = desk.stage(from.as_ref(), &said, 1).await;
        let save = Save {
            written: Written::Staged {
                tip,
                preview: None,
                title: None,
            },
            ..desk.saving("t", None, Vec::new()).await
        };
        desk.done(saved(save)).await;
    }
    for round in 0..3 {
        desk.append("of-t", vec![f::event(&format!("e{round}"))]).await;
        let session = desk.session("of-t").await;
        let parts = session
            .tip
            .log
            .child(desk.log(), &session.tip.tally)
            .path
            .parts()
            .len();
        compacted(&desk, &session, 0..parts).await;
    }
    desk.pass(2 * STAGING_LIFE);
    tidied(&desk).await;
    let desk = desk.restarted(backend).await;
    desk.turn("t", "last", &["last"]).await;
    desk.save("t", vec![f::assistant("last")]).await;
    assert_eq!(
        desk.ids("of-t").await,
        ["m0", "m1", "m2", "m3", "e0", "e1", "e2", "last"]
    );
}
