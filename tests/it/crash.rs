//! kill -9 at random moments under load: what was acknowledged is there, nothing is there by half, and what was not
//! answered can be asked again under its request id.
//!
//! A few rounds by default; `SESSIOND_ROUNDS` sets how many.

mod actor;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actor::{Actor, Shared};
use tokio::task::JoinSet;

use crate::support::pb::{ListSessionsRequest, Session};
use crate::support::rng::Rng;
use crate::support::{Client, Server, until};

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

/// Lets the actors act until the server is killed under them.
async fn play(server: &mut Server, client: &Client, actors: Vec<Actor>, rng: &mut Rng) -> Vec<Actor> {
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
    actors
}

/// Every session of the namespace has a title of its own: concurrent forks never share a number.
async fn titles_are_unique(client: &Client) {
    let sessions = client
        .listed(ListSessionsRequest {
            page_size: 500,
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

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_nothing_else_shows_by_half() {
    let mut rng = Rng::seeded();
    let mut server = Server::start().await;
    let client = server.client().await;
    let common = client
        .create(Session {
            title: "Common".into(),
            ..Default::default()
        })
        .await
        .session_id;
    let shared = Arc::new(Shared::new(common));
    let mut actors = Vec::new();
    for n in 0..ACTORS {
        actors.push(Actor::new(&client, n, rng.split(), shared.clone()).await);
    }
    for round in 1..=rounds() {
        actors = play(&mut server, &client, actors, &mut rng).await;
        server.restart().await;
        let client = server.client_of(&client).await;
        for actor in &mut actors {
            actor.check_what_is_there(&client).await;
            actor.ask_again(&client).await;
            actor.check(&client).await;
        }
        shared.check(&client).await;
        titles_are_unique(&client).await;
        eprintln!("round {round} of {} holds", rounds());
    }
    server.stop().await;
    server.restart().await;
    let client = server.client_of(&client).await;
    for actor in &actors {
        actor.check(&client).await;
    }
}
