//! The task behind an engine: one stream after another, and what is said on them.
//!
//! A stream is a loop of steps: a frame from the service, a command of the host, a heartbeat that is due. Seeds, and
//! requests that wait for the end of a turn, are kept here; what threads hold is the host's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::pb as rpc;

use super::seeds::Seeds;
use super::{Client, Command, Failure, Open, Profile, State, Threads, snapshot};
use crate::pb::client as pb;
use crate::pb::client::attach_request::Frame as Up;
use crate::pb::client::attach_response::Frame as Down;
use crate::pb::client::snapshot_reply::Result as Answer;

/// Frames that wait to be sent: few, for a part of a snapshot may be 2 MiB.
const UP_MAX: usize = 16;
/// Snapshots that wait for the end of a turn; for one more the oldest is dropped.
const ASKS_MAX: usize = 256;
/// How long the engine waits before it attaches again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long it waits for a Welcome, and for the end of a stream that it has said goodbye to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Heartbeats after an attachment that a seed from before it may begin again in.
const SEEDS_AWAITED: u32 = 3;
/// When the service names no interval.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// An engine's side of its attachments.
pub(super) struct Attachment {
    client: Client,
    profile: Profile,
    threads: Arc<dyn Threads>,
    state: watch::Sender<State>,
    seeds: Seeds,
    /// Requests for a snapshot that wait for the end of a turn.
    asks: Vec<pb::SnapshotRequest>,
}

/// How a stream ended.
enum End {
    /// The service or the way to it went; it may be tried again.
    Broken(Option<Failure>),
    /// The engine wanted it.
    Left,
}

/// What happens next on a stream.
#[expect(clippy::large_enum_variant, reason = "a frame is moved once")]
enum Step {
    Frame(Result<Option<pb::AttachResponse>, Status>),
    Command(Option<Command>),
    Heartbeat,
}

/// A stream that stands.
struct Line {
    up: mpsc::Sender<pb::AttachRequest>,
    epoch: u64,
}

impl Line {
    /// Sends a frame; whether somebody is there to take it.
    async fn send(&self, frame: Up) -> bool {
        let frame = pb::AttachRequest { frame: Some(frame) };
        self.up.send(frame).await.is_ok()
    }
}

impl Attachment {
    pub(super) fn new(
        client: Client,
        profile: Profile,
        threads: Arc<dyn Threads>,
        state: watch::Sender<State>,
    ) -> Self {
        Self {
            client,
            profile,
            threads,
            state,
            seeds: Seeds::default(),
            asks: Vec::new(),
        }
    }

    /// Attaches again and again until the engine leaves or cannot go on.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut pause = PAUSE.0;
        let end = loop {
            let ended = self.attached(&mut commands).await;
            if matches!(*self.state.borrow(), State::Attached(_) | State::Draining(_)) {
                pause = PAUSE.0;
            }
            // Nobody waits for what was asked over the stream that is gone.
            self.asks.clear();
            match ended {
                Ok(End::Left) => break None,
                Err(failure) if is_final(&failure) => break Some(failure),
                Ok(End::Broken(failure)) => self.state.send_replace(State::Detached(failure)),
                Err(failure) => self.state.send_replace(State::Detached(Some(failure))),
            };
            if let End::Left = wait(&mut commands, pause.mul_f64(rand::random_range(0.5..1.0))).await {
                break None;
            }
            pause = PAUSE.1.min(pause * 2);
        };
        self.state.send_replace(State::Ended(end));
    }

    /// One attachment, from Hello to its end.
    async fn attached(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<End, Failure> {
        let (up, frames) = mpsc::channel(UP_MAX);
        let mut line = Line { up, epoch: 0 };
        line.send(Up::Hello(self.hello())).await;
        let opening = async {
            let mut engines = self.client.engines();
            let mut down = engines.attach(ReceiverStream::new(frames)).await?.into_inner();
            let first = down.message().await?;
            Ok((down, first.and_then(|first| first.frame)))
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(PATIENCE, opening) => opened,
            End::Left = until_left(commands) => return Ok(End::Left),
        };
        let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no Welcome came")));
        let (mut down, first) = opened.map_err(|status: Status| Failure::from(status))?;
        let Some(Down::Welcome(welcome)) = first else {
            return Err(Status::internal("the first frame is no Welcome").into());
        };
        line.epoch = welcome.epoch;
        for thread in self.threads.open() {
            line.send(opened_frame(thread)).await;
        }
        self.state.send_replace(State::Attached(line.epoch));
        let mut heartbeats = heartbeats(&welcome);
        let due = Instant::now() + heartbeats.period() * SEEDS_AWAITED;
        self.seeds.attached(due);
        loop {
            let step = tokio::select! {
                frame = down.message() => Step::Frame(frame),
                command = commands.recv() => Step::Command(command),
                _ = heartbeats.tick() => Step::Heartbeat,
            };
            let goes_on = match step {
                Step::Frame(Ok(Some(frame))) => self.take(&line, frame.frame).await,
                Step::Frame(Ok(None)) => return Ok(End::Broken(None)),
                Step::Frame(Err(status)) => return Err(status.into()),
                Step::Command(Some(Command::Changed(thread))) => self.changed(&line, &thread).await,
                Step::Command(Some(Command::Close(thread_id))) => {
                    line.send(Up::ThreadClosed(pb::ThreadClosed { thread_id })).await
                }
                Step::Command(Some(Command::Leave) | None) => {
                    goodbye(line, &mut down).await;
                    return Ok(End::Left);
                }
                Step::Heartbeat => {
                    self.seeds.drop_left(Instant::now());
                    line.send(Up::Heartbeat(pb::Heartbeat {})).await
                }
            };
            // Where nobody takes frames any more, the stream says why.
            if goes_on && self.is_drained() {
                goodbye(line, &mut down).await;
                return Ok(End::Broken(None));
            }
        }
    }

    fn hello(&self) -> pb::Hello {
        let Profile {
            engine_id,
            labels,
            accepts_resume,
            max_seeds,
        } = self.profile.clone();
        pb::Hello {
            namespace: self.client.namespace(),
            engine_id,
            labels,
            accepts_resume,
            max_seeds,
            sdk: concat!("sessiond-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// A frame from the service; one of a kind that is not known is passed over.
    async fn take(&mut self, line: &Line, frame: Option<Down>) -> bool {
        match frame {
            Some(Down::SnapshotRequest(ask)) => self.asked(line, ask).await,
            Some(Down::SeedBegin(begin)) => match self.seeds.begin(begin) {
                Some(held) => line.send(held).await,
                None => true,
            },
            Some(Down::SeedBatch(batch)) => line.send(self.seeds.take(batch)).await,
            Some(Down::SeedCommit(commit)) => self.seeded(line, &commit.seed_id).await,
            Some(Down::SeedCancel(cancel)) => {
                self.seeds.cancel(&cancel.seed_id);
                true
            }
            Some(Down::Drain(_)) => {
                self.state.send_replace(State::Draining(line.epoch));
                true
            }
            Some(Down::Welcome(_)) | None => true,
        }
    }

    /// Answers, or waits for the end of the turn if that is what was asked for.
    async fn asked(&mut self, line: &Line, ask: pb::SnapshotRequest) -> bool {
        if is_past(&ask) {
            return true;
        }
        let Some(held) = self.threads.snapshot(&ask.thread_id) else {
            return line.send(Up::SnapshotReply(not_run(ask.ask_id))).await;
        };
        if held.incomplete_turn && ask.consistency() != pb::SnapshotConsistency::Immediate {
            self.asks.retain(|ask| !is_past(ask));
            if self.asks.len() >= ASKS_MAX {
                self.asks.remove(0);
            }
            self.asks.push(ask);
            return true;
        }
        for reply in snapshot::replies(&ask, held) {
            if !line.send(Up::SnapshotReply(reply)).await {
                return false;
            }
        }
        true
    }

    async fn seeded(&mut self, line: &Line, seed_id: &str) -> bool {
        let Some((thread, messages)) = self.seeds.commit(seed_id) else {
            return true;
        };
        let opened = Open {
            thread: thread.clone(),
            active_turn_id: String::new(),
        };
        self.threads.seeded(thread, messages);
        line.send(opened_frame(opened)).await
    }

    /// Names the thread with the turn that runs now, and looks again at who waits for it.
    async fn changed(&mut self, line: &Line, thread_id: &str) -> bool {
        let mut open = self.threads.open().into_iter();
        if let Some(open) = open.find(|open| open.thread.thread_id == thread_id)
            && !line.send(opened_frame(open)).await
        {
            return false;
        }
        let (waited, others) = std::mem::take(&mut self.asks)
            .into_iter()
            .partition(|ask| ask.thread_id == thread_id);
        self.asks = others;
        let waited: Vec<pb::SnapshotRequest> = waited;
        for ask in waited {
            if !self.asked(line, ask).await {
                return false;
            }
        }
        true
    }

    /// Whether the service is about to go away and nothing runs that would have to end first.
    fn is_drained(&self) -> bool {
        let drains = matches!(*self.state.borrow(), State::Draining(_));
        drains
            && self
                .threads
                .open()
                .iter()
                .all(|open| open.active_turn_id.is_empty())
    }
}

/// Whether the service would say the same again: the engine's thread is another's, or its name is.
fn is_final(failure: &Failure) -> bool {
    match failure.code {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// Waits before the next attachment. What changes meanwhile is told with it.
async fn wait(commands: &mut mpsc::Receiver<Command>, pause: Duration) -> End {
    tokio::select! {
        () = sleep(pause) => End::Broken(None),
        end = until_left(commands) => end,
    }
}

/// Takes commands until one says that the engine leaves.
async fn until_left(commands: &mut mpsc::Receiver<Command>) -> End {
    loop {
        match commands.recv().await {
            Some(Command::Changed(_) | Command::Close(_)) => {}
            Some(Command::Leave) | None => return End::Left,
        }
    }
}

/// Says goodbye, and waits for the service to end the stream.
async fn goodbye(line: Line, down: &mut Streaming<pb::AttachResponse>) {
    line.send(Up::Goodbye(pb::Goodbye {})).await;
    drop(line);
    let rest = async { while let Ok(Some(_)) = down.message().await {} };
    // A service that does not answer a goodbye is left all the same.
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

fn heartbeats(welcome: &pb::Welcome) -> Interval {
    let interval = welcome
        .heartbeat_interval
        .and_then(|interval| interval.try_into().ok());
    let interval = interval
        .filter(|interval: &Duration| !interval.is_zero())
        .unwrap_or(HEARTBEAT);
    let mut heartbeats = interval_at(Instant::now() + interval, interval);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeats
}

fn opened_frame(open: Open) -> Up {
    Up::ThreadOpened(pb::ThreadOpened {
        thread: Some(open.thread),
        active_turn_id: open.active_turn_id,
    })
}

fn not_run(ask_id: String) -> pb::SnapshotReply {
    let error = rpc::Status {
        code: Code::NotFound.into(),
        message: "this engine does not run the thread".to_owned(),
        details: Vec::new(),
    };
    pb::SnapshotReply {
        ask_id,
        last: true,
        result: Some(Answer::Error(error)),
    }
}

/// Whether nobody waits for an answer any more.
fn is_past(ask: &pb::SnapshotRequest) -> bool {
    let Some(deadline) = &ask.deadline else {
        return false;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    deadline.seconds < i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
