//! One attachment: the task that owns its state. Each round of its loop takes one step, and one match acts on it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::{ClaimError, Ending, Error};
use super::frame::{Claim, Down, Up};
use super::handle::{Attachment, Command, EngineHandle};
use super::replies::Replies;
use super::seed::Seeds;
use super::{HEARTBEATS_MISSED_MAX, QUEUE_FRAMES_MAX};
use crate::domain::ThreadId;

/// Claims that wait for the store; past that the engine's frames wait.
const CLAIMS_MAX: usize = 64;

/// How long an engine that was told to drain may take to answer what it was asked.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What a connection runs under.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How often a heartbeat is due.
    pub heartbeat: Duration,
    /// Bytes that a snapshot may have.
    pub snapshot_bytes_max: usize,
    /// Cancelled when the service is about to stop.
    pub drain: CancellationToken,
    /// Cancelled when this replica's lease is lost: the attachment is worth nothing any more.
    pub over: CancellationToken,
}

/// What ends an attachment from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Another attachment of the same engine has taken over.
    pub(super) superseded: CancellationToken,
    /// The store does not have the attachment any more.
    pub(super) forgotten: CancellationToken,
}

/// A claim on a thread, or the end of one, on its way to the store.
pub type Claiming = Pin<Box<dyn Future<Output = Result<(), ClaimError>> + Send>>;

/// What is claimed.
#[derive(Clone, Debug)]
pub(super) enum ClaimOn {
    Opened(Box<Claim>),
    Closed(ThreadId),
}

/// The state of an attachment.
pub struct Connection {
    terms: Terms,
    up: BoxStream<'static, Result<Up, Ending>>,
    down: mpsc::Sender<Down>,
    commands: mpsc::Receiver<Command>,
    ends: Ends,
    replies: Replies,
    seeds: Seeds,
    claims: VecDeque<ClaimOn>,
    silence: Instant,
    drained: Option<Instant>,
    /// Why it ends once the claims that came before are stored.
    leaving: Option<Ending>,
}

/// What happens next.
enum Step {
    Frame(Option<Result<Up, Ending>>),
    Command(Option<Command>),
    Claimed(Result<(), ClaimError>),
    Expired,
    Drain,
    End(Ending),
}

impl Connection {
    /// A connection that reads frames from `up`, the handle on it, and what it sends.
    pub fn new(
        attachment: Attachment,
        terms: Terms,
        up: BoxStream<'static, Result<Up, Ending>>,
    ) -> (Self, EngineHandle, mpsc::Receiver<Down>) {
        let (down, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (asks, commands) = mpsc::channel(QUEUE_FRAMES_MAX);
        let ends = Ends::default();
        let handle = EngineHandle::new(attachment, asks, down.clone(), ends.clone());
        let connection = Self {
            replies: Replies::new(terms.snapshot_bytes_max),
            silence: Instant::now() + terms.heartbeat * HEARTBEATS_MISSED_MAX,
            terms,
            up,
            down,
            commands,
            ends,
            seeds: Seeds::default(),
            claims: VecDeque::new(),
            drained: None,
            leaving: None,
        };
        (connection, handle, frames)
    }

    /// Runs until the attachment ends. `opened` and `closed` store what the engine says of its threads, one after
    /// another and in its order; a claim that fails ends the attachment.
    pub async fn run<O, C>(mut self, opened: O, closed: C) -> Ending
    where
        O: Fn(Claim) -> Claiming + Send,
        C: Fn(ThreadId) -> Claiming + Send,
    {
        let mut claiming: Option<Claiming> = None;
        loop {
            if claiming.is_none() {
                claiming = self.claims.pop_front().map(|claim| match claim {
                    ClaimOn::Opened(claim) => opened(*claim),
                    ClaimOn::Closed(thread) => closed(thread),
                });
            }
            let step = self.next(&mut claiming).await;
            match step {
                Step::Frame(Some(Ok(frame))) => self.heard(frame),
                Step::Frame(Some(Err(ending))) | Step::End(ending) => return ending,
                Step::Frame(None) => self.leaving = Some(Ending::Left),
                Step::Command(None) => return Ending::Left,
                Step::Command(Some(command)) => self.told(command),
                Step::Claimed(done) => {
                    claiming = None;
                    if let Err(error) = done {
                        return Ending::Claim(error);
                    }
                }
                Step::Expired => self.replies.expire(Instant::now()),
                Step::Drain => {
                    self.drained = Some(Instant::now() + DRAIN_TIME);
                    drop(self.down.try_send(Down::Drain));
                }
            }
            let is_idle = claiming.is_none() && self.claims.is_empty();
            if is_idle && let Some(ending) = self.leaving.take() {
                return ending;
            }
            if is_idle && self.drained.is_some() && self.replies.is_empty() && self.seeds.is_empty() {
                return Ending::ShuttingDown;
            }
        }
    }

    async fn next(&mut self, claiming: &mut Option<Claiming>) -> Step {
        let expiry = self.replies.next_deadline();
        let room = self.claims.len() < CLAIMS_MAX && self.leaving.is_none();
        tokio::select! {
            biased;
            () = self.ends.superseded.cancelled() => Step::End(Ending::Superseded),
            () = self.ends.forgotten.cancelled() => Step::End(Ending::Forgotten),
            () = self.terms.over.cancelled() => Step::End(Ending::Fenced),
            () = self.terms.drain.cancelled(), if self.drained.is_none() => Step::Drain,
            () = at(self.drained) => Step::End(Ending::ShuttingDown),
            () = self.down.closed() => Step::End(Ending::Left),
            done = async { claiming.as_mut().expect("guarded").await }, if claiming.is_some() => Step::Claimed(done),
            command = self.commands.recv() => Step::Command(command),
            frame = self.up.next(), if room => Step::Frame(frame),
            () = at(expiry) => Step::Expired,
            () = sleep_until(self.silence) => Step::End(Ending::Silent),
        }
    }

    /// The engine says something; whatever it is, it is alive.
    fn heard(&mut self, frame: Up) {
        self.silence = Instant::now() + self.terms.heartbeat * HEARTBEATS_MISSED_MAX;
        match frame {
            Up::Opened(claim) => self.claims.push_back(ClaimOn::Opened(claim)),
            Up::Closed(thread) => self.claims.push_back(ClaimOn::Closed(thread)),
            Up::Part { ask, part, last } => self.replies.part(&ask, *part, last),
            Up::Declined { ask, why } => self.replies.declined(&ask, why),
            Up::SeedAck { seed, messages } => self.seeds.acked(&seed, messages),
            Up::SeedFailed { seed, why } => self.seeds.failed(&seed, why),
            Up::Goodbye => self.leaving = Some(Ending::Goodbye),
            Up::Heartbeat | Up::Unknown => {}
        }
    }

    /// The rest of the program wants something.
    fn told(&mut self, command: Command) {
        match command {
            Command::Ask {
                request,
                deadline,
                reply,
            } => {
                let ask = request.ask.clone();
                self.replies.expect(ask.clone(), reply, deadline);
                if let Err(full) = self.down.try_send(Down::SnapshotRequest(request)) {
                    let error = match full {
                        mpsc::error::TrySendError::Full(_) => Error::QueueFull,
                        mpsc::error::TrySendError::Closed(_) => Error::Lost,
                    };
                    self.replies.give_up(&ask, error);
                }
            }
            Command::SeedBegins { seed, heard } => self.seeds.begin(seed, heard),
            Command::SeedEnded { seed } => self.seeds.end(&seed),
        }
    }
}

/// Until then; for ever if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
