//! A seed on its way: batches go down, acknowledgements come up, until it is committed or called off.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::error::Error;
use super::frame::{Declined, Down};
use super::handle::{Command, Place};
use crate::domain::Thread;

/// What an engine has said of a seed.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    acked: u64,
    failed: Option<Declined>,
}

/// A seed that runs on an engine. Dropped before it is done, it is left as it is, and the engine hears nothing: it goes on
/// under the same id, here or elsewhere, or is called off by whoever knows that it does not
/// ([`super::EngineHandle::settle`]).
#[derive(Debug)]
pub struct Seed {
    id: String,
    down: mpsc::Sender<Down>,
    commands: mpsc::Sender<Command>,
    heard: watch::Receiver<Heard>,
    _place: Place,
}

impl Seed {
    pub(super) fn new(
        id: String,
        down: mpsc::Sender<Down>,
        commands: mpsc::Sender<Command>,
        heard: watch::Receiver<Heard>,
        place: Place,
    ) -> Self {
        Self {
            id,
            down,
            commands,
            heard,
            _place: place,
        }
    }

    /// Tells the engine what comes; waits while its queue is full.
    pub async fn begin(&self, thread: Arc<Thread>, total: u64) -> Result<(), Error> {
        let seed = self.id.clone();
        self.send(Down::SeedBegin { seed, thread, total }).await
    }

    /// Sends messages, the first of which is number `first`; waits while the engine's queue is full.
    pub async fn batch(&self, first: u64, messages: Vec<Bytes>) -> Result<(), Error> {
        let seed = self.id.clone();
        self.send(Down::SeedBatch {
            seed,
            first,
            messages,
        })
        .await
    }

    /// Waits until the engine has acknowledged more than `known` messages, and says how many.
    pub async fn acked_over(&self, known: u64) -> Result<u64, Error> {
        let mut heard = self.heard.clone();
        let heard = heard
            .wait_for(|heard| heard.acked > known || heard.failed.is_some())
            .await
            .map_err(|_| Error::Lost)?;
        match &heard.failed {
            Some(why) => Err(Error::Declined(why.clone())),
            None => Ok(heard.acked),
        }
    }

    /// Tells the engine that the thread is its own.
    pub async fn commit(self) -> Result<(), Error> {
        let seed = self.id.clone();
        self.send(Down::SeedCommit { seed }).await
    }

    async fn send(&self, frame: Down) -> Result<(), Error> {
        self.down.send(frame).await.map_err(|_| Error::Lost)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        let seed = std::mem::take(&mut self.id);
        // The connection finds out by itself where its queue is full.
        drop(self.commands.try_send(Command::SeedEnded { seed }));
    }
}

/// The seeds of an attachment by name.
#[derive(Debug, Default)]
pub(super) struct Seeds(HashMap<String, watch::Sender<Heard>>);

impl Seeds {
    /// Listens for a seed.
    pub(super) fn begin(&mut self, seed: String, heard: watch::Sender<Heard>) {
        self.0.insert(seed, heard);
    }

    /// Stops listening.
    pub(super) fn end(&mut self, seed: &str) {
        self.0.remove(seed);
    }

    /// Notes an acknowledgement; counts only go up.
    pub(super) fn acked(&mut self, seed: &str, messages: u64) {
        if let Some(heard) = self.0.get(seed) {
            heard.send_if_modified(|heard| {
                let news = messages > heard.acked;
                heard.acked = heard.acked.max(messages);
                news
            });
        }
    }

    /// Notes that the engine gives a seed up.
    pub(super) fn failed(&mut self, seed: &str, why: Declined) {
        if let Some(heard) = self.0.get(seed) {
            heard.send_modify(|heard| heard.failed = Some(why));
        }
    }

    /// Whether none runs.
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(watch::Sender::is_closed)
    }
}
