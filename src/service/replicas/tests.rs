//! A replica whose store does not answer it, and engines that have gone elsewhere unheard.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ReplicaTerms;
use crate::domain::proposal::{EngineCommand, ReplicaCommand, ThreadCommand};
use crate::domain::thread::Draft;
use crate::domain::{Command, fixture as f};
use crate::engine::{Claim, Ending, Up};
use crate::service::Service;
use crate::service::engines::call;
use crate::service::played::{Played, service, until};
use crate::store::Store as _;
use crate::store::memory::{How, Memory};

fn terms(name: &str) -> ReplicaTerms {
    ReplicaTerms {
        id: f::replica(name),
        address: format!("{name}:1"),
        lease: Some(Duration::from_secs(10)),
        renew: Duration::from_secs(3),
    }
}

/// Joins and stays.
async fn joined(service: &Service, name: &str) -> tokio::task::JoinHandle<()> {
    let terms = terms(name);
    service.join(&terms).await.unwrap();
    let service = service.clone();
    tokio::spawn(async move { service.stay(&terms).await })
}

fn is_replicas(command: &Command) -> bool {
    matches!(command, Command::Replica(_))
}

fn is_renewal(command: &Command) -> bool {
    matches!(command, Command::Replica(ReplicaCommand::Renew { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_answered_lets_its_engines_go_in_time() {
    for how in [How::NotTaken, How::Hangs] {
        let memory = Arc::new(Memory::shared());
        let (service, _drain) = service(&memory);
        let staying = joined(&service, "a").await;
        let begun = Instant::now();
        let first = service.fence().unwrap();
        let mut engine = Played::attach(&service, "e").await;
        memory.failures().next(usize::MAX, how, is_renewal);
        assert_eq!(engine.ended().await, Ending::Fenced);
        assert!(begun.elapsed() <= Duration::from_secs(10), "{how:?}");
        // In the store its lease runs still: it is its own, and is taken over.
        until("it has joined anew", async || service.fence().is_ok()).await;
        assert!(service.fence().unwrap() > first);
        Played::attach(&service, "e").await;
        staying.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_others_outlive_says_so() {
    let memory = Arc::new(Memory::shared());
    let (service, _drain) = service(&memory);
    let staying = joined(&service, "a").await;
    assert!(!service.is_cut_off(&terms("a")));
    let begun = Instant::now();
    memory.failures().next(usize::MAX, How::NotTaken, is_replicas);
    until("it is cut off", async || service.is_cut_off(&terms("a"))).await;
    assert!(
        begun.elapsed() > Duration::from_secs(19),
        "a lease after it has lost its own"
    );
    memory.failures().end();
    until("it is back", async || !service.is_cut_off(&terms("a"))).await;
    assert!(service.fence().is_ok());
    staying.abort();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_went_elsewhere_unheard_is_let_go() {
    let memory = Arc::new(Memory::shared());
    let (a, _drain_a) = service(&memory);
    let (b, _drain_b) = service(&Arc::new(memory.beside()));
    let staying = [joined(&a, "a").await, joined(&b, "b").await];
    let mut older = Played::attach(&a, "e").await;
    // Nobody tells the other replica.
    let mut newer = Played::attach(&b, "e").await;
    assert!(newer.epoch > older.epoch);
    assert_eq!(older.ended().await, Ending::Superseded);
    // The store has it as over, whoever says so.
    let detach = EngineCommand::Detach {
        id: f::engine("e"),
        epoch: newer.epoch,
    };
    let fence = b.fence().unwrap();
    let proposal = Command::Engine(detach);
    b.commit_as(call(&f::namespace()), fence, proposal).await.unwrap();
    assert_eq!(newer.ended().await, Ending::Forgotten);
    staying.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn turns_that_were_left_end_though_the_store_fails() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let engine = Played::attach(&service, "e").await;
    let (ns, thread) = (f::namespace(), f::thread("t"));
    let claim = Claim {
        thread: thread.clone(),
        draft: Draft::default(),
        active_turn: None,
    };
    engine.says(Up::Opened(Box::new(claim))).await;
    until("it is claimed", async || {
        memory.thread(&ns, &thread).await.unwrap().is_some()
    })
    .await;
    let start = ThreadCommand::StartTurn {
        id: thread.clone(),
        turn: f::turn("u"),
        epoch: Some(engine.epoch),
    };
    service.commit(call(&ns), Command::Thread(start)).await.unwrap();
    let is_interrupt =
        |command: &Command| matches!(command, Command::Engine(EngineCommand::Interrupt { .. }));
    memory.failures().next(3, How::NotTaken, is_interrupt);
    drop(engine);
    let wait = async || {
        let thread = memory.thread(&ns, &thread).await.unwrap().unwrap();
        thread.active_turn.is_none()
    };
    // Three heartbeats of an hour.
    tokio::time::timeout(Duration::from_secs(4 * 3_600), async {
        while !wait().await {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    })
    .await
    .expect("the turn is over");
}
