//! Plays a recorded conversation as a live thread: turn by turn and step by step, over the wire, as an engine would.
//!
//! A [`Script`] is what will be played: turns of steps, each step the items of one AppendItems. [`Player`] plays it and
//! keeps what a reader must find after a save ([`Player::expected`]), so that played and read back can be compared field
//! by field with [`expect::differences`]. [`openai`] reads scripts from files.
//!
//! With patience, a player asks again under the same `request_id` when the service is UNAVAILABLE, so that it plays on
//! through a restart and every step counts once.

use std::future::Future;
use std::time::{Duration, Instant};

use tonic::{Code, Response, Status};

use super::{Client, Failure, request_id};
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, ItemKind, TurnStatus};

pub mod expect;
pub mod live;
pub mod openai;

/// How long a player waits before it asks again; doubled each time up to the second figure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A conversation to play.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Name of the conversation in its source.
    pub id: String,
    /// The model that spoke; may be empty.
    pub model: String,
    /// Instructions for the model; may be empty.
    pub system_prompt: String,
    /// The turns, in order.
    pub turns: Vec<ScriptTurn>,
}

/// One turn of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptTurn {
    /// The steps, in order; each is appended by a call of its own.
    pub steps: Vec<Vec<pb::Item>>,
}

/// A turn that has been played.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayedTurn {
    /// The turn as the service answered when it was finished.
    pub turn: pb::Turn,
    /// Its items, in order.
    pub items: Vec<pb::Item>,
}

/// Plays one script into one thread.
#[derive(Debug)]
pub struct Player {
    client: Client,
    patience: Duration,
    thread: pb::Thread,
    script: std::vec::IntoIter<ScriptTurn>,
    played: Vec<PlayedTurn>,
}

impl ScriptTurn {
    /// The items of all steps.
    pub fn items(&self) -> impl Iterator<Item = &pb::Item> {
        self.steps.iter().flatten()
    }
}

impl Player {
    /// Makes the thread that `script` will be played into: a copy of `facts`, with the script's model and system prompt
    /// where `facts` leaves them empty. For as long as `patience`, a call is made again when the service is away.
    pub async fn open(
        client: &Client,
        script: Script,
        facts: pb::Thread,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let thread = pb::Thread {
            model: if facts.model.is_empty() {
                script.model
            } else {
                facts.model
            },
            system_prompt: if facts.system_prompt.is_empty() {
                script.system_prompt
            } else {
                facts.system_prompt
            },
            ..facts
        };
        let request = pb::CreateThreadRequest {
            namespace: client.namespace(),
            thread_id: Some(thread.thread_id.clone()).filter(|id| !id.is_empty()),
            thread: Some(thread),
            epoch: None,
            request_id: request_id(),
        };
        let answer = patiently(patience, || {
            let (mut threads, request) = (client.threads(), request.clone());
            async move { threads.create_thread(request).await }
        })
        .await?;
        Ok(Self {
            client: client.clone(),
            patience,
            thread: answer.thread.unwrap_or_default(),
            script: script.turns.into_iter(),
            played: Vec::new(),
        })
    }

    /// The thread as it was made.
    pub fn thread(&self) -> &pb::Thread {
        &self.thread
    }

    /// The turns that have been played.
    pub fn played(&self) -> &[PlayedTurn] {
        &self.played
    }

    /// The messages that a reader must find once what has been played is saved. Ids and times are the service's.
    pub fn expected(&self) -> Vec<pb::Message> {
        self.played
            .iter()
            .flat_map(|turn| expect::messages(turn, &self.thread.model))
            .collect()
    }

    /// Plays the next turn; `None` when there is none.
    pub async fn turn(&mut self) -> Result<Option<&PlayedTurn>, Failure> {
        let Some(script) = self.script.next() else {
            return Ok(None);
        };
        let turn_id = self.start().await?;
        let mut items = Vec::new();
        for step in script.steps {
            self.append(&turn_id, step.clone()).await?;
            items.extend(step);
        }
        let turn = self.finish(turn_id).await?;
        self.played.push(PlayedTurn { turn, items });
        Ok(self.played.last())
    }

    /// Plays every turn that is left.
    pub async fn turns(&mut self) -> Result<(), Failure> {
        while self.turn().await?.is_some() {}
        Ok(())
    }

    /// Saves the thread as a session: its own, or the one that `session_id` names.
    pub async fn save(&self, session_id: Option<String>) -> Result<pb::SaveSessionResponse, Failure> {
        let request = pb::SaveSessionRequest {
            namespace: self.client.namespace(),
            thread_id: self.thread.thread_id.clone(),
            session_id,
            request_id: request_id(),
            ..Default::default()
        };
        patiently(self.patience, || {
            let (mut sessions, request) = (self.client.sessions(), request.clone());
            async move { sessions.save_session(request).await }
        })
        .await
    }

    async fn start(&self) -> Result<String, Failure> {
        let request = pb::StartTurnRequest {
            namespace: self.client.namespace(),
            thread_id: self.thread.thread_id.clone(),
            request_id: request_id(),
            ..Default::default()
        };
        let answer = patiently(self.patience, || {
            let (mut threads, request) = (self.client.threads(), request.clone());
            async move { threads.start_turn(request).await }
        })
        .await?;
        Ok(answer.turn.unwrap_or_default().turn_id)
    }

    async fn append(&self, turn_id: &str, items: Vec<pb::Item>) -> Result<(), Failure> {
        let request = pb::AppendItemsRequest {
            namespace: self.client.namespace(),
            thread_id: self.thread.thread_id.clone(),
            turn_id: turn_id.to_owned(),
            items,
            epoch: None,
            request_id: request_id(),
        };
        patiently(self.patience, || {
            let (mut threads, request) = (self.client.threads(), request.clone());
            async move { threads.append_items(request).await }
        })
        .await?;
        Ok(())
    }

    async fn finish(&self, turn_id: String) -> Result<pb::Turn, Failure> {
        let request = pb::FinishTurnRequest {
            namespace: self.client.namespace(),
            thread_id: self.thread.thread_id.clone(),
            turn_id,
            status: TurnStatus::Completed.into(),
            request_id: request_id(),
            ..Default::default()
        };
        let answer = patiently(self.patience, || {
            let (mut threads, request) = (self.client.threads(), request.clone());
            async move { threads.finish_turn(request).await }
        })
        .await?;
        Ok(answer.turn.unwrap_or_default())
    }
}

/// Calls until it is answered otherwise than UNAVAILABLE or `patience` is at its end. Every call must carry the same
/// `request_id`, or only read.
pub async fn patiently<T, F>(patience: Duration, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let (began, mut pause) = (Instant::now(), PAUSE.0);
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if status.code() == Code::Unavailable && began.elapsed() + pause < patience => {
                tokio::time::sleep(pause).await;
                pause = PAUSE.1.min(pause * 2);
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// An item of `kind` that holds one block.
pub fn item(kind: ItemKind, block: Block) -> pb::Item {
    pb::Item {
        kind: kind.into(),
        status: TurnStatus::Completed.into(),
        content: vec![self::block(block)],
        ..Default::default()
    }
}

/// A block without a caching hint.
pub fn block(block: Block) -> pb::ContentBlock {
    pb::ContentBlock {
        block: Some(block),
        cache_control_json: String::new(),
    }
}

/// A text block.
pub fn text(text: impl Into<String>) -> Block {
    Block::Text(pb::TextBlock { text: text.into() })
}
