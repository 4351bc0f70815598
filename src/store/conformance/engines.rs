//! Engines as rows: what is said of one comes back, epochs go on over restarts, threads are counted.

use crate::domain::engine::{Engine, Profile};
use crate::domain::fixture as f;
use crate::domain::limits::ENGINE_LIFE;
use crate::domain::proposal::EngineCommand;
use crate::domain::turn::Status;
use crate::domain::{Namespace, Outcome, Proposal, Refusal, Time, thread};
use crate::store::Chore;

use super::Backend;
use super::desk::{Desk, adding, starting};

pub(crate) fn attaching(id: &str, profile: Profile) -> Proposal {
    f::to_engine(EngineCommand::Attach {
        id: f::engine(id),
        profile: Box::new(profile),
    })
}

/// Attaches an engine; its epoch.
pub(crate) async fn attach(desk: &Desk, id: &str) -> u64 {
    match desk.done(attaching(id, Profile::default())).await.outcome {
        Outcome::Engine { epoch, .. } => epoch,
        other => panic!("not attached: {other:?}"),
    }
}

pub(crate) async fn detach(desk: &Desk, id: &str, epoch: u64) {
    let id = f::engine(id);
    desk.done(f::to_engine(EngineCommand::Detach { id, epoch })).await;
}

pub(crate) async fn claim(desk: &Desk, id: &str, epoch: u64, thread: &str, turn: Option<&str>) {
    desk.done(f::to_engine(EngineCommand::OpenThread {
        id: f::engine(id),
        epoch,
        thread: f::thread(thread),
        journal: desk.log(),
        draft: Box::new(thread::Draft::default()),
        active_turn: turn.map(f::turn),
    }))
    .await;
}

async fn held(desk: &Desk, id: &str, epoch: u64) -> u64 {
    let held = desk.store.threads_held(&desk.ns, &f::engine(id), epoch).await;
    held.expect("they can be counted")
}

pub(crate) async fn facts_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let profile = Profile {
        labels: [("a\u{0}".to_owned(), "\u{1f980}".to_owned())].into(),
        accepts_resume: true,
    };
    desk.done(attaching("e", profile.clone())).await;
    let attached = desk.now();
    let expected = |detach_time| Engine {
        namespace: f::namespace(),
        id: f::engine("e"),
        epoch: 1,
        profile: profile.clone(),
        replica: None,
        attach_time: attached,
        detach_time,
    };
    let desk = desk.restarted(backend).await;
    let engine = |id| {
        let (store, ns) = (desk.store.clone(), desk.ns.clone());
        async move { store.engine(&ns, &f::engine(id)).await.expect("it can be read") }
    };
    assert_eq!(engine("e").await.as_deref(), Some(&expected(None)));
    assert_eq!(engine("f").await, None);
    detach(&desk, "e", 1).await;
    assert_eq!(engine("e").await.as_deref(), Some(&expected(Some(desk.now()))));
}

pub(crate) async fn are_listed_by_namespace_and_id(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for (ns, id) in [("b", "x"), ("a", "z"), ("", "q"), ("a", "y")] {
        let namespace = Namespace::parse(ns).expect("valid");
        let attaching = attaching(id, Profile::default());
        desk.done(Proposal {
            namespace,
            ..attaching
        })
        .await;
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let rows = desk
            .store
            .engines(after.as_ref(), 3)
            .await
            .expect("they can be read");
        let Some(last) = rows.last() else { break };
        after = Some((last.namespace.clone(), last.id.clone()));
        found.extend(
            rows.iter()
                .map(|engine| (engine.namespace.clone(), engine.id.clone())),
        );
    }
    let mut sorted = found.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((found.len(), &found), (4, &sorted));
    assert_eq!(desk.store.engines(None, 0).await.expect("none is asked for"), []);
}

pub(crate) async fn epochs_go_on_over_restarts(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let first = attach(&desk, "e").await;
    detach(&desk, "e", first).await;
    desk.done(f::to_engine(EngineCommand::Forget { id: f::engine("e") }))
        .await;
    let desk = desk.restarted(backend).await;
    let second = attach(&desk, "e").await;
    assert!(second > first);
    let elsewhere = Namespace::parse("other").expect("valid");
    let attaching = Proposal {
        namespace: elsewhere,
        ..attaching("e", Profile::default())
    };
    let outcome = desk.done(attaching).await.outcome;
    let engine = f::engine("e");
    assert_eq!(
        outcome,
        Outcome::Engine {
            engine,
            epoch: 1,
            before: None
        },
        "a namespace counts for itself"
    );
}

pub(crate) async fn hold_threads_under_an_epoch(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let old = attach(&desk, "e").await;
    for thread in ["t1", "t2", "t3"] {
        claim(&desk, "e", old, thread, None).await;
    }
    assert_eq!(held(&desk, "e", old).await, 3);
    let new = attach(&desk, "e").await;
    claim(&desk, "e", new, "t1", None).await;
    assert_eq!((held(&desk, "e", old).await, held(&desk, "e", new).await), (2, 1));
    let desk = desk.restarted(backend).await;
    let close = EngineCommand::CloseThread {
        id: f::engine("e"),
        epoch: new,
        thread: f::thread("t1"),
    };
    desk.done(f::to_engine(close)).await;
    assert_eq!(held(&desk, "e", new).await, 0);
    let desk = desk.restarted(backend).await;
    let thread = desk.thread("t1").await;
    assert_eq!((thread.engine.clone(), thread.epoch), (None, new));
}

pub(crate) async fn turns_keep_their_epoch(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.done(starting("t", "u")).await;
    let item = vec![f::new_item("i", Status::InProgress)];
    desk.done(adding("t", "u", item)).await;
    let epoch = attach(&desk, "e").await;
    claim(&desk, "e", epoch, "t", Some("u")).await;
    let desk = desk.restarted(backend).await;
    let (journal, u) = (desk.thread("t").await.journal, f::turn("u"));
    let turn = desk.store.turn(journal, &u).await.expect("it can be read");
    assert_eq!(turn.expect("it is there").epoch, epoch);
    let owned = Refusal::ThreadOwned {
        thread: f::thread("t"),
        owner: f::engine("e"),
    };
    assert_eq!(desk.refused(starting("t", "v")).await, owned);
    detach(&desk, "e", epoch).await;
    let interrupt = EngineCommand::Interrupt {
        id: f::engine("e"),
        epoch,
        thread: f::thread("t"),
    };
    desk.done(f::to_engine(interrupt)).await;
    let turn = desk.store.turn(journal, &u).await.expect("it can be read");
    assert_eq!(turn.expect("it is there").status, Status::Interrupted);
    assert_eq!(desk.items("t").await[0].status, Status::Interrupted);
}

pub(crate) async fn old_ones_without_threads_are_forgotten(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let with = attach(&desk, "with").await;
    claim(&desk, "with", with, "t", None).await;
    let without = attach(&desk, "without").await;
    attach(&desk, "attached").await;
    detach(&desk, "with", with).await;
    detach(&desk, "without", without).await;
    let due = desk.now().after(ENGINE_LIFE);
    let chores = |now| {
        let store = desk.store.clone();
        async move { store.chores(now, 100).await.expect("they can be read") }
    };
    assert_eq!(chores(due).await, []);
    let (ns, id) = (f::namespace(), f::engine("without"));
    assert_eq!(
        chores(Time(due.0 + 1)).await,
        [Chore::ForgetEngine(ns, id.clone())]
    );
    desk.done(f::to_engine(EngineCommand::Forget { id })).await;
    assert_eq!(chores(Time(due.0 + 1)).await, []);
}
