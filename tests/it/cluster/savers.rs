//! Somebody who keeps a thread and saves it after each turn, through any replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fleet::Balancer;
use super::workload::{fresh, log, text};
use crate::support::build::{asks, says};
use crate::support::pb::{
    AppendItemsRequest, CreateThreadRequest, FinishTurnRequest, SaveSessionRequest, StartTurnRequest,
    TurnStatus,
};
use crate::support::rng::Rng;
use crate::support::{Client, Failure};

/// Somebody who keeps a thread and saves it after each turn.
pub(super) struct Saver {
    balancer: Balancer,
    rng: Rng,
    name: String,
    thread: String,
    session: String,
    /// What was said and acknowledged, in order.
    said: Vec<String>,
    /// How much of it the session was said to hold.
    saved: u64,
}

impl Saver {
    /// Opens a thread.
    pub(super) async fn new(number: usize, balancer: Balancer, mut rng: Rng) -> Self {
        let request = CreateThreadRequest {
            request_id: fresh(&mut rng),
            ..Default::default()
        };
        let call = async |client: Client| client.create_thread(request.clone()).await;
        let made = balancer.insist(&mut rng, call).await.unwrap();
        Self {
            balancer,
            rng,
            name: format!("saver {number}"),
            thread: made.thread.unwrap().thread_id,
            session: String::new(),
            said: Vec::new(),
            saved: 0,
        }
    }

    /// Goes on until it is over.
    pub(super) async fn run(mut self, over: Arc<AtomicBool>) -> Self {
        while !over.load(Ordering::Relaxed) {
            self.turn().await.expect("nobody else has the thread");
            self.save().await;
        }
        self
    }

    /// A turn: a question, and an answer.
    async fn turn(&mut self) -> Result<(), Failure> {
        let start = StartTurnRequest {
            thread_id: self.thread.clone(),
            request_id: fresh(&mut self.rng),
            ..Default::default()
        };
        let call = async |client: Client| client.start_turn(start.clone()).await;
        let started = self.balancer.insist(&mut self.rng, call).await?;
        let turn_id = started.turn.unwrap().turn_id;
        let number = self.said.len();
        let said = [format!("{} asks {number}", self.name), format!("so {number}")];
        let add = AppendItemsRequest {
            thread_id: self.thread.clone(),
            turn_id: turn_id.clone(),
            items: vec![asks(&said[0]), says(&said[1])],
            request_id: fresh(&mut self.rng),
            ..Default::default()
        };
        let call = async |client: Client| client.append_items(add.clone()).await;
        self.balancer.insist(&mut self.rng, call).await?;
        self.said.extend(said);
        let finish = FinishTurnRequest {
            thread_id: self.thread.clone(),
            turn_id,
            status: TurnStatus::Completed.into(),
            request_id: fresh(&mut self.rng),
            ..Default::default()
        };
        let call = async |client: Client| client.finish_turn(finish.clone()).await;
        self.balancer.insist(&mut self.rng, call).await.map(drop)
    }

    async fn save(&mut self) {
        let save = SaveSessionRequest {
            thread_id: self.thread.clone(),
            request_id: fresh(&mut self.rng),
            ..Default::default()
        };
        let call = async |client: Client| client.save_session(save.clone()).await;
        let answer = self.balancer.insist(&mut self.rng, call).await.unwrap();
        let session = answer.session.unwrap().session_id;
        assert!(
            self.session.is_empty() || self.session == session,
            "a thread is saved as one session"
        );
        self.session = session;
        self.saved = answer.message_count;
        assert_eq!(self.saved, self.said.len() as u64);
    }

    /// Its session holds what was said.
    pub(super) async fn check(mut self, rng: &mut Rng) {
        let log = log(&self.balancer, rng, &self.session).await;
        let texts: Vec<_> = log.iter().map(text).collect();
        self.said.truncate(usize::try_from(self.saved).expect("small"));
        assert_eq!(texts, self.said);
        assert!(!texts.is_empty(), "it got to save");
    }
}
