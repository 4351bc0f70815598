//! Seeds that are interrupted: by a store that fails, by an engine that is silent or has forgotten, by a service that dies.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio::task::JoinHandle;

use super::{Beginning, Target};
use crate::domain::proposal::ResumeCommand;
use crate::domain::resume::{State, Wish};
use crate::domain::session::Draft;
use crate::domain::{Command, Resume, fixture as f};
use crate::service::engines::call;
use crate::service::played::{Played, service, until};
use crate::service::{Error, Service};
use crate::store::memory::{How, Memory};

type Told = JoinHandle<Result<Vec<Arc<Resume>>, Error>>;

/// A session of so many messages, and a resume of it into engine `e` that begins.
async fn resuming(service: &Service, messages: usize) -> Told {
    let (ns, id) = (f::namespace(), f::session("s"));
    let draft = Draft::default();
    service
        .create_session(call(&ns), Some(id.clone()), draft)
        .await
        .unwrap();
    let said = (0..messages).map(|at| f::user(&format!("m{at}"), "hello"));
    service
        .append_entries(call(&ns), id.clone(), said.collect(), None)
        .await
        .unwrap();
    let wish = Wish {
        engine: Some(f::engine("e")),
        ..Wish::default()
    };
    let told = service.resume(call(&ns), id, wish).await.unwrap();
    tokio::spawn(told.try_collect())
}

async fn end(told: Told) -> Arc<Resume> {
    told.await.unwrap().unwrap().pop().unwrap()
}

/// The newest resume.
async fn stands(service: &Service) -> Arc<Resume> {
    let query = crate::domain::query::Resumes {
        namespace: Some(f::namespace()),
        states: Vec::new(),
        session: None,
        thread: None,
        engine: None,
    };
    let bound = crate::domain::query::Bound {
        rows: 1,
        bytes: 1 << 20,
    };
    let page = service.resumes(&query, None, bound).await.unwrap();
    page.rows[0].clone()
}

async fn written(service: &Service, messages: u64) {
    until("it is written down", async || {
        stands(service).await.written == messages
    })
    .await;
}

fn is_progress(command: &Command) -> bool {
    matches!(command, Command::Resume(ResumeCommand::Progress { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_neither_calls_a_seed_off_nor_costs_an_attempt() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let told = resuming(&service, 250).await;
    let (seed, total) = engine.begun().await;
    assert_eq!(total, 250);
    engine.takes(0, 250).await;
    engine.acks(&seed, 100).await;
    written(&service, 100).await;
    for (time, how) in [How::NotTaken, How::NotAnswered, How::NotTaken, How::NotTaken]
        .into_iter()
        .enumerate()
    {
        memory.failures().next(1, how, is_progress);
        let acked = 101 + time as u64;
        engine.acks(&seed, acked).await;
        let (again, _) = engine.begun().await;
        assert_eq!(again, seed, "and nothing between");
        // What the engine holds it says, and the service goes on there.
        engine.acks(&seed, acked).await;
        engine.takes(acked, 250).await;
    }
    engine.acks(&seed, 250).await;
    assert_eq!(engine.committed().await, seed);
    let end = end(told).await;
    assert_eq!((end.state, end.attempt, end.written), (State::Ready, 1, 250));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_silent_goes_on_where_it_was() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let told = resuming(&service, 250).await;
    let (seed, _) = engine.begun().await;
    engine.takes(0, 250).await;
    engine.acks(&seed, 100).await;
    let (again, _) = engine.begun().await;
    assert_eq!(again, seed, "and nothing between");
    engine.takes(100, 250).await;
    engine.acks(&seed, 250).await;
    assert_eq!(engine.committed().await, seed);
    let end = end(told).await;
    assert_eq!((end.state, end.attempt), (State::Ready, 2));
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_was_seated_unheard_is_committed() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let is_seat = |command: &Command| matches!(command, Command::Resume(ResumeCommand::Seat(_)));
    memory.failures().next(1, How::NotAnswered, is_seat);
    let told = resuming(&service, 2).await;
    let (seed, _) = engine.begun().await;
    engine.takes(0, 2).await;
    engine.acks(&seed, 2).await;
    assert_eq!(engine.committed().await, seed);
    assert_eq!(end(told).await.state, State::Ready);
    assert!(engine.next().await.is_none(), "once");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_lost_what_it_held_gets_all_of_it_again() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let told = resuming(&service, 250).await;
    let (seed, _) = engine.begun().await;
    engine.takes(0, 250).await;
    engine.acks(&seed, 100).await;
    written(&service, 100).await;
    drop(engine);
    // It is another process under the same name.
    let mut engine = Played::attach(&service, "e").await;
    let (again, _) = engine.begun().await;
    assert_eq!(again, seed);
    engine.gives_up(&seed).await;
    loop {
        match engine.next().await {
            Some(crate::engine::Down::SeedBatch { seed: of, .. }) => assert_eq!(of, seed),
            Some(crate::engine::Down::SeedCancel { seed: of }) => break assert_eq!(of, seed),
            other => panic!("{other:?}"),
        }
    }
    let (fresh, total) = engine.begun().await;
    assert_ne!(fresh, seed);
    engine.takes(0, total).await;
    engine.acks(&fresh, total).await;
    assert_eq!(engine.committed().await, fresh);
    let end = end(told).await;
    assert_eq!((end.state, end.attempt), (State::Ready, 3));
}

#[tokio::test(start_paused = true)]
async fn one_that_declines_from_the_start_is_not_asked_again() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let told = resuming(&service, 2).await;
    let (seed, _) = engine.begun().await;
    engine.takes(0, 2).await;
    let is_fail = |command: &Command| matches!(command, Command::Resume(ResumeCommand::Fail { .. }));
    memory.failures().next(2, How::NotTaken, is_fail);
    engine.gives_up(&seed).await;
    assert_eq!(engine.called_off().await, seed);
    let end = end(told).await;
    assert_eq!((end.state, end.attempt), (State::Failed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_is_called_off_between_attempts_calls_the_seed_off() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let mut engine = Played::attach(&service, "e").await;
    let told = resuming(&service, 2).await;
    let (seed, _) = engine.begun().await;
    engine.takes(0, 2).await;
    memory.failures().next(1, How::NotTaken, is_progress);
    engine.acks(&seed, 1).await;
    let ns = f::namespace();
    let id = stands(&service).await.id.clone();
    service.cancel_resume(call(&ns), id).await.unwrap();
    assert_eq!(engine.called_off().await, seed);
    assert_eq!(end(told).await.state, State::Canceled);
    assert!(engine.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_more_is_on_its_way_than_whoever_carries_on_can_know_of() {
    let memory = Arc::new(Memory::shared());
    let (first, drain) = service(&memory);
    let mut engine = Played::attach(&first, "e").await;
    let told = resuming(&first, 2_500).await;
    let (seed, _) = engine.begun().await;
    // The engine is quick, and the store is not.
    memory.failures().next(usize::MAX, How::Hangs, is_progress);
    engine.takes(0, 1_000).await;
    engine.acks(&seed, 1_000).await;
    assert!(
        engine.next().await.is_none(),
        "nothing more before it is written down"
    );
    let resume = stands(&first).await;
    assert_eq!(resume.written, 0);
    // It dies; another one carries on, and the engine says what is true.
    drain.cancel();
    drop(told);
    let (second, _drain) = service(&Arc::new(memory.beside()));
    let mut engine = Played::attach(&second, "e").await;
    second.drive(&resume, Beginning::CarriedOn);
    let (again, total) = engine.begun().await;
    assert_eq!(again, seed);
    engine.acks(&seed, 1_000).await;
    engine.takes(1_000, 2_000).await;
    engine.acks(&seed, 2_000).await;
    engine.takes(2_000, total).await;
    engine.acks(&seed, total).await;
    assert_eq!(engine.committed().await, seed);
    let (ns, target) = (f::namespace(), Target::Resume(resume.id.clone()));
    let watched = second.watch_resume(&ns, &target).await.unwrap();
    let told: Vec<_> = watched.try_collect().await.unwrap();
    assert_eq!(told.last().unwrap().state, State::Ready);
}

#[tokio::test]
async fn whoever_stops_driving_lets_go() {
    let memory = Arc::new(Memory::default());
    let (service, _drain) = service(&memory);
    let (ns, id) = (f::namespace(), f::resume("r"));
    let driving = service.live.take(&ns, &id).expect("nobody drives it");
    assert!(service.live.take(&ns, &id).is_none());
    let panics = tokio::spawn(async move {
        let _driving = driving;
        panic!("as a driver might");
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert!(service.live.take(&ns, &id).is_some());
}
