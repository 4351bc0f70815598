//! kill -9 at random moments under load: what was acknowledged is there, nothing is there by half, and what was not
//! answered can be asked again under its request id.
//!
//! A few rounds by default; `SESSIOND_ROUNDS` sets how many.

mod actor;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actor::{Actor, Shared, Watcher};
use tokio::task::JoinSet;

use crate::support::build::asks;
use crate::support::pb::{ListSessionsRequest, SaveSessionRequest, Session, SessionState};
use crate::support::rng::Rng;
use crate::support::server::Setup;
use crate::support::{Client, Cluster, Server, until};

const ACTORS: u64 = 6;
const ROUNDS_DEFAULT: usize = 3;
/// Answers that a round waits for before it kills the server, at least and more.
const ANSWERS: (u64, u64) = (40, 300);
/// Microseconds after that.
const DELAY_MICROS: u64 = 4_000;

fn rounds() -> usize {
    let rounds = std::env::var("SESSIOND_ROUNDS").ok();
    rounds.map_or(ROUNDS_DEFAULT, |rounds| {
        rounds.parse().expect("SESSIOND_ROUNDS is a number")
    })
}

/// What all actors of a round see.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Answers so far.
    answers: AtomicU64,
    /// Whether the server is about to die, so that any error is to be expected.
    over: AtomicBool,
}

impl Round {
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Lets the actors act until the server is killed under them, and the watchers watch.
async fn play(
    server: &mut Server,
    client: &Client,
    actors: Vec<Actor>,
    watchers: Vec<Watcher>,
    rng: &mut Rng,
) -> (Vec<Actor>, Vec<Watcher>) {
    let mut watching = JoinSet::new();
    for mut watcher in watchers {
        watching.spawn(async move {
            watcher.watch().await;
            watcher
        });
    }
    let round = Arc::new(Round::default());
    let mut acting = JoinSet::new();
    for mut actor in actors {
        let (round, client) = (round.clone(), server.client_of(client).await);
        acting.spawn(async move {
            actor.act(&client, &round).await;
            actor
        });
    }
    let enough = ANSWERS.0 + rng.below(ANSWERS.1);
    until("the actors get their answers", async || {
        (round.answers.load(Ordering::Relaxed) >= enough || acting.len() < ACTORS as usize).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_micros(rng.below(DELAY_MICROS))).await;
    round.over.store(true, Ordering::Relaxed);
    server.kill();
    let mut actors = Vec::new();
    while let Some(actor) = acting.join_next().await {
        actors.push(actor.unwrap());
    }
    eprintln!("killed after {} answers", round.answers.load(Ordering::Relaxed));
    (actors, watching.join_all().await)
}

/// Every session of the namespace has a title of its own: concurrent forks never share a number.
async fn titles_are_unique(client: &Client) {
    let sessions = client
        .listed(ListSessionsRequest {
            page_size: 500,
            states: vec![SessionState::Active.into(), SessionState::Archived.into()],
            ..Default::default()
        })
        .await;
    let forks: Vec<_> = sessions
        .iter()
        .filter(|session| session.origin.is_some())
        .collect();
    let titles: HashSet<_> = forks.iter().map(|fork| &fork.title).collect();
    assert_eq!(titles.len(), forks.len(), "two forks have one title");
}

/// Rounds of kills among the same actors; then others come, so that checking stays cheap.
async fn live(server: &mut Server, rounds: usize, rng: &mut Rng) {
    let client = server.client().await;
    let titled = Session {
        title: "Common".into(),
        ..Default::default()
    };
    let shared = Arc::new(Shared::new(client.create(titled).await.session_id));
    let mut actors = Vec::new();
    for n in 0..ACTORS {
        actors.push(Actor::new(&client, n, rng.split(), shared.clone()).await);
    }
    let mut watchers = vec![
        Watcher::new(&client, shared.session()).await,
        Watcher::new(&client, actors[0].session()).await,
    ];
    for _ in 0..rounds {
        (actors, watchers) = play(server, &client, actors, watchers, rng).await;
        server.restart().await;
        let client = server.client_of(&client).await;
        for actor in &mut actors {
            actor.check_what_is_there(&client).await;
            actor.ask_again(&client).await;
            actor.check(&client).await;
            actor.is_found(&client).await;
        }
        shared.check(&client).await;
        for watcher in &mut watchers {
            watcher.check(&client).await;
        }
        titles_are_unique(&client).await;
    }
    server.stop().await;
    server.restart().await;
    let client = server.client_of(&client).await;
    for actor in &actors {
        actor.check(&client).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_nothing_else_shows_by_half() {
    survives(Server::start().await).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_postgresql_too() {
    let cluster = Cluster::start();
    survives(Server::start_with(Setup::on(cluster.url())).await).await;
}

async fn survives(mut server: Server) {
    let mut rng = Rng::seeded();
    let mut left = rounds();
    while left > 0 {
        let rounds = left.min(ROUNDS_DEFAULT);
        live(&mut server, rounds, &mut rng).await;
        left -= rounds;
        eprintln!("{left} rounds left");
    }
}

/// What is staged in several commits is named by one: a reader sees all of it or nothing.
#[tokio::test]
async fn a_large_save_that_is_cut_off_is_there_as_a_whole_or_not_at_all() {
    cut_off(Server::start().await).await;
}

#[tokio::test]
async fn a_large_save_that_is_cut_off_on_postgresql_is_there_as_a_whole_or_not_at_all() {
    let cluster = Cluster::start();
    cut_off(Server::start_with(Setup::on(cluster.url())).await).await;
}

async fn cut_off(mut server: Server) {
    const ITEMS: u64 = 2_500;
    let mut rng = Rng::seeded();
    let client = server.client().await;
    let mut patience = Duration::from_millis(1);
    for round in 0..=rounds() {
        let client = server.client_of(&client).await;
        let items = (0..ITEMS).map(|n| asks(&n.to_string())).collect();
        let save = SaveSessionRequest {
            thread_id: client.running(items).await,
            request_id: format!("save {round}"),
            ..Default::default()
        };
        let start = Instant::now();
        if round == 0 {
            client.save_session(save).await.unwrap();
            patience = start.elapsed();
            continue;
        }
        let until_then = patience.mul_f64(0.01 * rng.below(110) as f64);
        let call = tokio::spawn({
            let (client, save) = (client.clone(), save.clone());
            async move { client.save_session(save).await.is_ok() }
        });
        tokio::time::sleep(until_then).await;
        server.kill();
        let answered = call.await.unwrap();
        server.restart().await;

        let client = server.client_of(&client).await;
        let linked = client.thread(&save.thread_id).await.session_id;
        let sessions = client.listed(ListSessionsRequest::default()).await;
        assert!(!answered || !linked.is_empty(), "an acknowledged save is gone");
        let expected = if linked.is_empty() { round } else { round + 1 };
        assert_eq!(sessions.len(), expected);
        assert!(
            sessions
                .iter()
                .all(|session| session.message_count == ITEMS && session.entry_count == ITEMS)
        );
        eprintln!(
            "killed after {until_then:?} of {patience:?}: saved: {}",
            !linked.is_empty()
        );
        let saved = client.save_session(save.clone()).await.unwrap();
        assert_eq!((saved.created, saved.message_count), (true, ITEMS));
        let again = client.save_session(save).await.unwrap();
        assert_eq!(again, saved);
        let id = saved.session.unwrap().session_id;
        assert!(linked.is_empty() || linked == id);
        assert_eq!(client.messages(&id).await.len() as u64, ITEMS);
        assert_eq!(
            client.listed(ListSessionsRequest::default()).await.len(),
            round + 1
        );
    }
}
