//! Engines in this process: a trait that a Rust host implements. What stands between it and the rest is the same
//! connection that a remote engine has; this only carries frames to and fro.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::QUEUE_FRAMES_MAX;
use super::error::{Ending, Error};
use super::frame::{Claim, Declined, Down, Snapshot, SnapshotRequest, Up};
use crate::domain::thread::Draft;
use crate::domain::{Thread, ThreadId, TurnId};

/// An engine in this process.
///
/// Messages are the wire bytes of `sessiond.v1.Message`. Calls about one seed come one after another and in order; a
/// snapshot may be asked for at any time, and while another is being answered.
#[async_trait]
pub trait Local: Send + Sync + 'static {
    /// What the engine holds of a thread, at the next boundary of a turn or at once, as `request` says.
    async fn snapshot(&self, request: SnapshotRequest) -> Result<Snapshot, Declined>;

    /// A session is about to be seeded: `total` messages follow.
    async fn seed_begin(&self, seed: &str, thread: Arc<Thread>, total: u64) -> Result<(), Declined>;

    /// Messages, the first of which is number `first`; all of them are taken over when this returns.
    async fn seed_batch(&self, seed: &str, first: u64, messages: Vec<Bytes>) -> Result<(), Declined>;

    /// The thread of a seed is the engine's own from now on.
    async fn seed_commit(&self, seed: &str);

    /// The seed is off.
    async fn seed_cancel(&self, seed: &str);

    /// The service is about to stop.
    async fn drain(&self) {}
}

/// A local engine's side of its attachment; the engine is detached when this is dropped.
#[derive(Debug)]
pub struct Attached {
    up: mpsc::Sender<Result<Up, Ending>>,
    epoch: u64,
}

impl Attached {
    /// Of this attachment: goes with every write on a thread that the engine owns.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Says that the engine runs a thread.
    pub async fn open(
        &self,
        thread: ThreadId,
        draft: Draft,
        active_turn: Option<TurnId>,
    ) -> Result<(), Error> {
        let claim = Claim {
            thread,
            draft,
            active_turn,
        };
        self.say(Up::Opened(Box::new(claim))).await
    }

    /// Says that the engine has let go of a thread.
    pub async fn close(&self, thread: ThreadId) -> Result<(), Error> {
        self.say(Up::Closed(thread)).await
    }

    async fn say(&self, frame: Up) -> Result<(), Error> {
        self.up.send(Ok(frame)).await.map_err(|_| Error::Lost)
    }
}

/// Both ends of a local engine's queue of frames.
pub(crate) struct Queue {
    sender: mpsc::Sender<Result<Up, Ending>>,
    frames: mpsc::Receiver<Result<Up, Ending>>,
}

/// What a connection reads.
pub(crate) type Frames = BoxStream<'static, Result<Up, Ending>>;

impl Queue {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let (sender, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
        Self { sender, frames }
    }

    /// What the connection reads, and what the engine and its carrier hold.
    pub(crate) fn split(self) -> (Frames, mpsc::Sender<Result<Up, Ending>>) {
        (ReceiverStream::new(self.frames).boxed(), self.sender)
    }
}

impl Attached {
    /// The side that a local engine keeps.
    pub(crate) fn new(up: mpsc::Sender<Result<Up, Ending>>, epoch: u64) -> Self {
        Self { up, epoch }
    }
}

/// Carries frames to a local engine and its answers back, until the connection ends. A snapshot is answered beside
/// everything else, for it may wait for the end of a turn; what is about seeds keeps its order.
pub(crate) async fn carry(
    engine: Arc<dyn Local>,
    mut down: mpsc::Receiver<Down>,
    up: mpsc::WeakSender<Result<Up, Ending>>,
    heartbeat: Duration,
) {
    let mut beat = tokio::time::interval(heartbeat);
    loop {
        let frame = tokio::select! {
            frame = down.recv() => frame,
            _ = beat.tick() => {
                let Some(up) = up.upgrade() else { return };
                // A full queue holds frames, and any frame is a heartbeat.
                drop(up.try_send(Ok(Up::Heartbeat)));
                continue;
            }
        };
        let (Some(frame), Some(up)) = (frame, up.upgrade()) else {
            return;
        };
        match frame {
            Down::SnapshotRequest(request) => {
                let engine = engine.clone();
                tokio::spawn(async move {
                    let answer = answer(&*engine, request).await;
                    // The connection may be over by now; then nobody waits.
                    drop(up.send(Ok(answer)).await);
                });
            }
            other => {
                if let Some(answer) = seeded(&*engine, other).await {
                    drop(up.send(Ok(answer)).await);
                }
            }
        }
    }
}

async fn answer(engine: &dyn Local, request: SnapshotRequest) -> Up {
    let ask = request.ask.clone();
    match engine.snapshot(request).await {
        Ok(part) => Up::Part {
            ask,
            part: Box::new(part),
            last: true,
        },
        Err(why) => Up::Declined { ask, why },
    }
}

async fn seeded(engine: &dyn Local, frame: Down) -> Option<Up> {
    match frame {
        Down::SeedBegin { seed, thread, total } => {
            let begun = engine.seed_begin(&seed, thread, total).await;
            begun.err().map(|why| Up::SeedFailed { seed, why })
        }
        Down::SeedBatch {
            seed,
            first,
            messages,
        } => {
            let held = first + messages.len() as u64;
            Some(match engine.seed_batch(&seed, first, messages).await {
                Ok(()) => Up::SeedAck { seed, messages: held },
                Err(why) => Up::SeedFailed { seed, why },
            })
        }
        Down::SeedCommit { seed } => {
            engine.seed_commit(&seed).await;
            None
        }
        Down::SeedCancel { seed } => {
            engine.seed_cancel(&seed).await;
            None
        }
        Down::Drain => {
            engine.drain().await;
            None
        }
        Down::SnapshotRequest(_) => None,
    }
}
