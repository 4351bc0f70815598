//! Receipts: a mutation under a request_id happens once, and its retries answer what it did.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::limits::{RECEIPT_LIFE, SWEEP_ROWS_MAX};
use crate::domain::outcome::More;
use crate::domain::proposal::{Deletion, SessionCommand, ThreadCommand, UpkeepCommand};
use crate::domain::session::Change;
use crate::domain::turn::Status;
use crate::domain::{Namespace, Outcome, Proposal, Receipt, Refusal, RequestId, Time, thread};
use crate::store::Chore;

use super::Backend;
use super::desk::{Desk, adding, appending, finishing, forked, saved, starting};
use super::sessions::updating;

fn name(id: &str) -> RequestId {
    RequestId::parse(id).expect("valid")
}

async fn receipt(desk: &Desk, id: &str) -> Option<Receipt> {
    let receipt = desk.store.receipt(&desk.ns, &name(id)).await;
    receipt.expect("it can be read")
}

pub(crate) async fn a_retry_changes_nothing(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let call = f::under("r", "call", appending("s", vec![f::event("a"), f::event("b")]));
    let first = desk.done(call.clone()).await;
    assert!(!first.replayed);
    let later = desk.append("s", vec![f::event("c")]).await;
    let desk = desk.restarted(backend).await;
    let retry = desk.done(call).await;
    assert!(retry.replayed);
    assert_eq!(retry.outcome, first.outcome, "what the first call made");
    assert_eq!(
        retry.session.as_ref(),
        Some(&later),
        "the resource as it stands now"
    );
    assert_eq!(desk.session("s").await, later);
    assert_eq!(desk.ids("s").await, ["a", "b", "c"]);
    desk.done(deleting("s", Deletion::Force)).await;
    let retry = desk
        .done(f::under("r", "call", appending("s", vec![f::event("a")])))
        .await;
    assert_eq!(
        (retry.outcome, retry.session),
        (first.outcome, None),
        "it is purged"
    );
}

pub(crate) async fn another_request_is_refused(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.done(f::under("r", "one", appending("s", vec![f::event("a")])))
        .await;
    let before = desk.session("s").await;
    for other in [appending("s", vec![f::event("b")]), appending("nobody", vec![])] {
        let refusal = desk.refused(f::under("r", "two", other)).await;
        assert_eq!(refusal, Refusal::RequestIdReused, "before every other check");
    }
    let desk = desk.restarted(backend).await;
    let refusal = desk.refused(f::under("r", "two", starting("t", "u"))).await;
    assert_eq!(refusal, Refusal::RequestIdReused, "over all RPCs");
    assert_eq!(desk.session("s").await, before);
}

pub(crate) async fn refusals_are_not_recorded(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let call = f::under("r", "call", appending("s", vec![f::event("a")]));
    desk.refused(call.clone()).await;
    assert_eq!(receipt(&desk, "r").await, None);
    desk.create("s").await;
    let committed = desk.done(call).await;
    assert!(!committed.replayed);
    let kept = Receipt {
        fingerprint: f::digest(b"call"),
        outcome: committed.outcome,
        time: desk.now(),
    };
    assert_eq!(receipt(&desk, "r").await, Some(kept));
}

pub(crate) async fn a_name_counts_in_its_namespace(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.done(f::under("r", "here", appending("s", vec![f::event("a")])))
        .await;
    let elsewhere = Namespace::parse("elsewhere").expect("valid");
    let create = SessionCommand::Create {
        id: f::session("s"),
        log: desk.log(),
        draft: Box::default(),
    };
    let call = Proposal {
        namespace: elsewhere.clone(),
        ..f::under("r", "there", f::to_session(create))
    };
    assert!(!desk.done(call).await.replayed);
    let there = desk.store.receipt(&elsewhere, &name("r")).await;
    assert_ne!(there.expect("it can be read"), receipt(&desk, "r").await);
}

pub(crate) async fn every_outcome_comes_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.talk("s", "m", 3).await;
    desk.create_thread("t").await;
    let (cut, whole) = (desk.forking("s", 2, "f").await, desk.forking("s", 3, "g").await);
    assert!(cut.removed.is_some() && whole.removed.is_none());
    let mut calls = vec![
        updating("s", Change::default(), None),
        appending("s", vec![f::event("e"), f::user("m1", "")]),
        forked(cut),
        forked(whole),
        f::to_thread(ThreadCommand::Update {
            id: f::thread("t"),
            change: Box::new(thread::Change::default()),
            epoch: Some(0),
        }),
        starting("t", "u"),
        adding("t", "u", vec![f::new_item("i", Status::Completed)]),
        finishing("t", "u", Status::Completed),
        f::to_upkeep(UpkeepCommand::ExpireReceipts { before: Time(0) }),
    ];
    let mut outcomes = Vec::new();
    for (at, call) in calls.drain(..).enumerate() {
        let committed = desk.done(f::under(&format!("r{at}"), "call", call)).await;
        outcomes.push(committed.outcome);
    }
    let save = desk.saving("t", None, vec![f::assistant("i")]).await;
    outcomes.push(
        desk.done(f::under(&format!("r{}", outcomes.len()), "call", saved(save)))
            .await
            .outcome,
    );
    let kinds = outcomes.iter().map(std::mem::discriminant);
    let kinds: std::collections::HashSet<_> = kinds.collect();
    assert_eq!(kinds.len(), 8, "every kind of outcome is here");
    assert!(outcomes.contains(&Outcome::Kept { more: More::Done }));
    let desk = desk.restarted(backend).await;
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let kept = receipt(&desk, &format!("r{at}")).await.expect("it is kept");
        assert_eq!(kept.outcome, outcome);
        let retry = desk
            .done(f::under(&format!("r{at}"), "call", starting("t", "u")))
            .await;
        assert_eq!((retry.replayed, retry.outcome), (true, outcome));
    }
}

pub(crate) async fn old_ones_expire(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.done(f::under("old", "call", appending("s", vec![f::event("a")])))
        .await;
    let made = desk.now();
    desk.pass(Duration::from_secs(60));
    desk.done(f::under("new", "call", appending("s", vec![f::event("b")])))
        .await;
    let desk = desk.restarted(backend).await;
    let store = desk.store.clone();
    let chores = |now| {
        let store = store.clone();
        async move { store.chores(now, 100).await.expect("they can be read") }
    };
    let day_after = made.after(RECEIPT_LIFE);
    assert_eq!(chores(day_after).await, [], "a whole day");
    assert_eq!(chores(Time(day_after.0 + 1)).await, [Chore::ExpireReceipts]);
    let expire = UpkeepCommand::ExpireReceipts {
        before: Time(made.0 + 1),
    };
    desk.done(f::to_upkeep(expire)).await;
    assert_eq!(receipt(&desk, "old").await, None);
    assert!(receipt(&desk, "new").await.is_some());
    assert_eq!(chores(Time(day_after.0 + 1)).await, []);
    let again = desk.done(f::under("old", "other", idle("s"))).await;
    assert!(!again.replayed, "the name is free again");
}

pub(crate) async fn many_expire_in_bounded_commits(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let many = SWEEP_ROWS_MAX + 100;
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..many {
        let (store, now) = (desk.store.clone(), desk.now());
        let call = f::under(&format!("r{at:05}"), "call", idle("s"));
        calls.spawn(async move { store.commit(call, now).await.map(drop) });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("no panic").expect("no rule against it");
    }
    let before = desk.now().after(Duration::from_secs(1));
    let left = || async {
        let mut left = 0;
        for at in 0..many {
            left += usize::from(receipt(&desk, &format!("r{at:05}")).await.is_some());
        }
        left
    };
    for expected in [100, 0, 0] {
        desk.done(f::to_upkeep(UpkeepCommand::ExpireReceipts { before }))
            .await;
        assert_eq!(left().await, expected);
    }
}

/// A change that is none.
fn idle(id: &str) -> Proposal {
    updating(id, Change::default(), None)
}

pub(crate) fn deleting(id: &str, mode: Deletion) -> Proposal {
    f::to_session(SessionCommand::Delete {
        id: f::session(id),
        mode,
        etag: None,
    })
}
