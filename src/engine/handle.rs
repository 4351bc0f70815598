//! What the rest of the program holds of an attached engine: cheap to clone, and fenced by its epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::connection::Ends;
use super::error::Error;
use super::frame::{Down, Snapshot, SnapshotRequest};
use super::replies::Reply;
use super::seed::{Heard, Seed};
use crate::domain::{EngineId, Fence, Namespace, Time};

/// Who is attached.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Where its id is unique.
    pub namespace: Namespace,
    /// Its id.
    pub id: EngineId,
    /// Of this attachment.
    pub epoch: u64,
    /// The incarnation of this replica that it is attached to: whatever is written for it carries this.
    pub replica: Option<Fence>,
    /// Pairs that a resume may choose by.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes sessions to resume.
    pub accepts_resume: bool,
    /// Seeds that it takes at a time.
    pub seeds_max: usize,
    /// When it attached.
    pub time: Time,
}

/// An attached engine.
#[derive(Clone, Debug)]
pub struct EngineHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    attachment: Attachment,
    commands: mpsc::Sender<Command>,
    down: mpsc::Sender<Down>,
    places: Arc<Semaphore>,
    ends: Ends,
}

/// A place for one seed on an engine, given back when it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// What the connection is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Send a request, and give the answer to whoever waits.
    Ask {
        request: SnapshotRequest,
        deadline: Instant,
        reply: Reply,
    },
    /// Listen for what the engine says of a seed.
    SeedBegins {
        seed: String,
        heard: watch::Sender<Heard>,
    },
    /// Stop listening.
    SeedEnded { seed: String },
}

impl EngineHandle {
    pub(super) fn new(
        attachment: Attachment,
        commands: mpsc::Sender<Command>,
        down: mpsc::Sender<Down>,
        ends: Ends,
    ) -> Self {
        let places = Arc::new(Semaphore::new(attachment.seeds_max));
        Self(Arc::new(Inner {
            attachment,
            commands,
            down,
            places,
            ends,
        }))
    }

    /// Who it is.
    pub fn attachment(&self) -> &Attachment {
        &self.0.attachment
    }

    /// Whether it is attached still.
    pub fn is_attached(&self) -> bool {
        !self.0.commands.is_closed()
    }

    /// Seeds that run on it now.
    pub fn seeds(&self) -> usize {
        self.0.attachment.seeds_max - self.0.places.available_permits().min(self.0.attachment.seeds_max)
    }

    /// Asks for a snapshot; waits for the answer until `deadline`.
    pub async fn snapshot(&self, request: SnapshotRequest, deadline: Instant) -> Result<Snapshot, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Ask {
            request,
            deadline,
            reply,
        };
        self.0.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::QueueFull,
            mpsc::error::TrySendError::Closed(_) => Error::Lost,
        })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Lost),
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// A place for a seed, once the engine has one.
    pub async fn place(&self) -> Result<Place, Error> {
        tokio::select! {
            place = self.0.places.clone().acquire_owned() => Ok(Place(place.map_err(|_| Error::Lost)?)),
            () = self.0.commands.closed() => Err(Error::Lost),
        }
    }

    /// A seed in its place.
    pub async fn seed(&self, id: String, place: Place) -> Result<Seed, Error> {
        let (sender, heard) = watch::channel(Heard::default());
        let begins = Command::SeedBegins {
            seed: id.clone(),
            heard: sender,
        };
        self.0.commands.send(begins).await.map_err(|_| Error::Lost)?;
        let (down, commands) = (self.0.down.clone(), self.0.commands.clone());
        Ok(Seed::new(id, down, commands, heard, place))
    }

    /// Tells the engine, if its queue has room, that a seed it may still hold is settled. One that does not read is told
    /// when it attaches again.
    pub fn settle(&self, frame: Down) {
        drop(self.0.down.try_send(frame));
    }

    /// Another attachment of the same engine has taken over.
    pub(super) fn supersede(&self) {
        self.0.ends.superseded.cancel();
    }

    /// The store does not have this attachment any more: the engine has to attach anew.
    pub(super) fn forget(&self) {
        self.0.ends.forgotten.cancel();
    }
}
