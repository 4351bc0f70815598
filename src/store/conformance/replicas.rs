//! Replicas as rows: all of one comes back, incarnations go on over restarts, and what an ended lease fences is refused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::domain::engine::Profile;
use crate::domain::fixture as f;
use crate::domain::proposal::{Offer, Open, Over, ReplicaCommand, ResumeCommand};
use crate::domain::resume::Wish;
use crate::domain::{Fence, Outcome, Proposal, Refusal, Replica};

use super::Backend;
use super::desk::Desk;
use super::engines::{attaching, detach};

const LIFE: Duration = Duration::from_secs(10);

fn joining(id: &str) -> Proposal {
    f::to_replica(ReplicaCommand::Join {
        id: f::replica(id),
        address: format!("{id}:1"),
        life: Some(LIFE),
        over: Over::Anyone,
    })
}

async fn join(desk: &Desk, id: &str) -> Fence {
    match desk.done(joining(id)).await.outcome {
        Outcome::Replica { replica, incarnation } => Fence { replica, incarnation },
        other => panic!("not joined: {other:?}"),
    }
}

async fn members(desk: &Desk) -> Vec<Arc<Replica>> {
    let members = desk.store.members(desk.now()).await;
    members.expect("they can be read").replicas
}

fn is_fenced(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::ReplicaFenced { .. })
}

pub(crate) async fn facts_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let b = join(&desk, "b").await;
    let joined = desk.store.members(desk.now()).await.expect("they can be read");
    assert!(joined.living(&b).is_some());
    let a = join(&desk, "a").await;
    let desk = desk.restarted(backend).await;
    let found = members(&desk).await;
    let names: Vec<_> = found.iter().map(|replica| replica.fence()).collect();
    assert_eq!(names, [a.clone(), b.clone()], "by name");
    assert_eq!(found[0].address, "a:1");
    assert!(found[0].lease_until > found[0].join_time);
    let until = found[0].lease_until;
    desk.pass(Duration::from_millis(500));
    let fence = a.clone();
    desk.done(f::to_replica(ReplicaCommand::Renew { fence, life: LIFE }))
        .await;
    let renewed = &members(&desk).await[0];
    assert!(renewed.lease_until > until && renewed.is(&a));
    desk.done(f::to_replica(ReplicaCommand::Leave { fence: a })).await;
    let left = members(&desk).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].is(&b));
}

pub(crate) async fn incarnations_go_on_over_restarts(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let first = join(&desk, "a").await;
    let leave = ReplicaCommand::Leave { fence: first.clone() };
    desk.done(f::to_replica(leave)).await;
    let desk = desk.restarted(backend).await;
    let joined = join_all((0..8).map(|_| join(&desk, "a"))).await;
    let mut incarnations: Vec<_> = joined.iter().map(|fence| fence.incarnation).collect();
    incarnations.sort_unstable();
    incarnations.dedup();
    assert_eq!(incarnations.len(), 8);
    assert!(incarnations[0] > first.incarnation);
}

pub(crate) async fn an_ended_lease_fences(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let a = join(&desk, "a").await;
    let attach = || f::fenced(&a, attaching("e", Profile::default()));
    let epoch = match desk.done(attach()).await.outcome {
        Outcome::Engine { epoch, .. } => epoch,
        other => panic!("not attached: {other:?}"),
    };
    let desk = desk.restarted(backend).await;
    let engine = desk.store.engine(&desk.ns, &f::engine("e")).await;
    let engine = engine.expect("it can be read").expect("it is there");
    assert_eq!(engine.replica, Some(a.clone()));
    let attached = desk.store.attached(&desk.ns, None, 10).await;
    assert_eq!(attached.expect("they can be read"), [engine]);
    let expire = || f::to_replica(ReplicaCommand::Expire { fence: a.clone() });
    desk.done(expire()).await;
    assert_eq!(members(&desk).await.len(), 1, "its lease runs");
    desk.pass(LIFE);
    assert!(is_fenced(&desk.refused(attach()).await), "it has run out");
    desk.done(expire()).await;
    assert_eq!(members(&desk).await, []);
    let b = join(&desk, "b").await;
    desk.done(f::fenced(&b, attaching("e", Profile::default()))).await;
    assert!(is_fenced(&desk.refused(attach()).await));
    detach(&desk, "e", epoch).await;
    let attached = desk.store.attached(&desk.ns, None, 10).await;
    let attached = attached.expect("they can be read");
    assert_eq!(
        attached[0].replica,
        Some(b),
        "the old attachment is over, the new one stands"
    );
}

pub(crate) async fn attached_engines_are_paged(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for id in ["c", "a", "d", "b"] {
        desk.done(attaching(id, Profile::default())).await;
    }
    detach(&desk, "b", 4).await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = desk.store.attached(&desk.ns, after.as_ref(), 2).await;
        let page = page.expect("they can be read");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        found.extend(page.iter().map(|engine| engine.id.to_string()));
    }
    assert_eq!(found, ["a", "c", "d"]);
}

pub(crate) async fn one_takes_a_resume_over(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let a = join(&desk, "a").await;
    let open = f::to_resume(ResumeCommand::Open(Box::new(Open {
        id: f::resume("r"),
        session: f::session("s"),
        wish: Wish::default(),
        offer: Offer::Some,
        thread: f::thread("t"),
    })));
    desk.done(f::fenced(&a, open)).await;
    let desk = desk.restarted(backend).await;
    let resume = desk.store.resume(&desk.ns, &f::resume("r")).await;
    let resume = resume.expect("it can be read").expect("it is there");
    assert_eq!(resume.driver, Some(a));
    desk.pass(LIFE);
    let mut others = Vec::new();
    for at in 0..6 {
        others.push(join(&desk, &format!("b{at}")).await);
    }
    let take = ResumeCommand::Take { id: f::resume("r") };
    let tries = others
        .iter()
        .map(|fence| desk.commit(f::fenced(fence, f::to_resume(take.clone()))));
    let taken = join_all(tries).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
}
