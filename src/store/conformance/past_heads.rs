//! Past heads as rows: what a divergence leaves can be read under its revision until it expires.

use crate::domain::fixture as f;
use crate::domain::limits::{PAST_HEAD_LIFE, STAGING_LIFE};
use crate::domain::proposal::{Cut, Deletion, Said, SessionCommand, Snapshot, UpkeepCommand, Written};
use crate::domain::{LogId, NewEntry, PastHead, Revision, Seq, Session, Time};
use crate::store::Chore;
use std::sync::Arc;

use super::Backend;
use super::desk::Desk;
use super::engines::{attach, claim};

/// Saves what engine `e` holds of thread `t` to session `s`, cut after `kept` of its entries first.
async fn snapshot(desk: &Desk, kept: Option<u64>, entries: Vec<NewEntry>) -> Arc<Session> {
    let thread = desk.thread("t").await;
    let session = desk.found("s").await;
    let cut = match (&session, kept) {
        (Some(session), Some(kept)) => Some(Cut {
            tally: desk.tally(session, kept).await,
            preview: "at the cut".to_owned(),
        }),
        (Some(_) | None, _) => None,
    };
    let snapshot = Snapshot {
        thread: thread.id.clone(),
        journal: thread.journal,
        epoch: thread.epoch,
        items: Seq(thread.items),
        requested: None,
        fresh: f::session("s"),
        title: None,
        expected: None,
        from: session.map(|session| session.tip.clone()),
        cut,
        written: Written::Inline {
            log: desk.log(),
            entries,
        },
        said: Said::default(),
        delta: false,
        turn_start: None,
    };
    let command = SessionCommand::Snapshot(Box::new(snapshot));
    let committed = desk.done(f::to_session(command)).await;
    committed.session.expect("it was saved")
}

/// A session `s` that was parted from twice; its heads then.
async fn parted(desk: &Desk) -> [Arc<Session>; 3] {
    let epoch = attach(desk, "e").await;
    claim(desk, "e", epoch, "t", None).await;
    let first = snapshot(desk, None, vec![f::user("a", "hello"), f::assistant("b")]).await;
    let second = snapshot(desk, Some(1), vec![f::assistant("c")]).await;
    let third = snapshot(desk, Some(1), vec![f::assistant("d"), f::assistant("e")]).await;
    [first, second, third]
}

async fn found(desk: &Desk, revision: Revision) -> Option<Arc<PastHead>> {
    let head = desk.store.past_head(&desk.ns, &f::session("s"), revision).await;
    head.expect("it can be read")
}

async fn ids(desk: &Desk, head: &PastHead) -> Vec<String> {
    let entries = desk.entries_to(&head.tip).await;
    entries.iter().map(|entry| entry.meta.id.to_string()).collect()
}

fn expiring(revision: Revision) -> crate::domain::Proposal {
    let session = f::session("s");
    f::to_upkeep(UpkeepCommand::ExpireHead { session, revision })
}

async fn sweep(desk: &Desk, log: LogId) {
    for _ in 0..3 {
        desk.done(f::to_upkeep(UpkeepCommand::Sweep { log })).await;
    }
}

pub(crate) async fn are_read_under_their_revision(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let [first, second, third] = parted(&desk).await;
    let left = desk.now();
    assert_eq!(desk.ids("s").await, ["a", "d", "e"]);
    let desk = desk.restarted(backend).await;
    let head = found(&desk, second.revision).await.expect("it was left");
    let expected = PastHead {
        namespace: f::namespace(),
        session: f::session("s"),
        revision: second.revision,
        tip: second.tip.clone(),
        incomplete_turn: false,
        time: left,
    };
    assert_eq!(*head, expected);
    assert_eq!(ids(&desk, &head).await, ["a", "c"]);
    let head = found(&desk, first.revision).await.expect("it was left");
    assert_eq!(ids(&desk, &head).await, ["a", "b"]);
    assert_eq!(found(&desk, third.revision).await, None, "it is not past");
}

pub(crate) async fn keep_their_logs_until_they_expire(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let [_, second, third] = parted(&desk).await;
    let (left, log) = (desk.now(), second.tip.log.id);
    sweep(&desk, log).await;
    let head = found(&desk, second.revision).await.expect("it was left");
    assert_eq!(ids(&desk, &head).await, ["a", "c"], "a past head names its log");
    let due = left.after(PAST_HEAD_LIFE);
    let chore = Chore::ExpireHead(f::namespace(), f::session("s"), second.revision);
    let chores = desk.store.chores(due, 100).await.expect("they can be read");
    assert!(!chores.contains(&chore));
    let chores = desk
        .store
        .chores(Time(due.0 + 1), 100)
        .await
        .expect("they can be read");
    assert!(chores.contains(&chore));
    desk.done(expiring(second.revision)).await;
    assert!(
        found(&desk, second.revision).await.is_some(),
        "it is looked at again"
    );
    desk.pass(PAST_HEAD_LIFE);
    desk.done(expiring(second.revision)).await;
    assert_eq!(found(&desk, second.revision).await, None);
    let desk = desk.restarted(backend).await;
    desk.pass(STAGING_LIFE);
    assert!(desk.chores().await.contains(&Chore::Sweep(log)));
    sweep(&desk, log).await;
    assert_eq!(
        desk.entries_to(&head.tip).await.len(),
        1,
        "the shared message alone is left"
    );
    assert_eq!(desk.ids("s").await, ["a", "d", "e"]);
    assert_eq!(desk.session("s").await, third);
}

pub(crate) async fn go_with_their_session(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let [first, second, _] = parted(&desk).await;
    let deletion = SessionCommand::Delete {
        id: f::session("s"),
        mode: Deletion::Force,
        etag: None,
    };
    desk.done(f::to_session(deletion)).await;
    for revision in [first.revision, second.revision] {
        assert_eq!(found(&desk, revision).await, None);
    }
    desk.pass(STAGING_LIFE);
    let chores = desk.chores().await;
    for log in [first.tip.log.id, second.tip.log.id] {
        assert!(chores.contains(&Chore::Sweep(log)), "{log} of {chores:?}");
    }
}
