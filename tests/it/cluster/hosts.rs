//! Engines of the fleet, and who makes use of them: each attaches to any replica whenever its stream has ended, has a
//! thread of its own that is snapshotted as it grows, and takes sessions over that are resumed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message as _;
use sessiond::pb::client::attach_response::Frame as Down;
use sessiond::pb::client::watch_resume_request::Target;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tonic_types::StatusExt as _;

use super::fleet::{Balancer, PATIENCE};
use crate::support::build::{assistant, entries, named, talk, user};
use crate::support::engine::{hello, holds, of_thread};
use crate::support::pb::{
    AppendEntriesRequest, CreateSessionRequest, Message, MessageView, ReadMessagesRequest, ResumeProgress,
    ResumeState, SeedBatch, SeedBegin, SnapshotFromEngineRequest,
};
use crate::support::resume::{is_end, on_engine};
use crate::support::rng::Rng;
use crate::support::{Client, Code, Status, Wire, until};

const ENGINES: usize = 2;
/// Messages of a session that is resumed: several batches of a seed.
const MESSAGES: usize = 450;

/// All of it.
pub(super) struct Hosts {
    balancer: Balancer,
    over: Arc<AtomicBool>,
    engines: Vec<(Arc<Engine>, AbortOnDropHandle<()>)>,
    snapshots: JoinSet<(usize, Snapshots)>,
    resumes: JoinSet<Resumes>,
}

/// What an engine holds, over all its attachments.
struct Engine {
    id: String,
    /// The thread that it runs from the beginning.
    thread: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What was said in its thread.
    said: Vec<Message>,
    /// The seeds that it knows, by their ids.
    seeds: HashMap<String, Seed>,
    /// How often it attached.
    attachments: u64,
    /// What should not have been sent to it.
    faults: Vec<String>,
}

/// A session that it takes over.
#[derive(Default)]
struct Seed {
    thread: String,
    messages: Vec<Message>,
    is_whole: bool,
    is_canceled: bool,
}

/// What came of snapshots.
#[derive(Default)]
struct Snapshots {
    session: String,
    taken: u64,
}

/// What came of resumes.
#[derive(Default)]
struct Resumes {
    ready: u64,
    failed: u64,
}

impl Hosts {
    /// Begins.
    pub(super) async fn start(balancer: &Balancer, rng: &mut Rng) -> Self {
        let mut it = Self {
            balancer: balancer.clone(),
            over: Arc::default(),
            engines: Vec::new(),
            snapshots: JoinSet::new(),
            resumes: JoinSet::new(),
        };
        for number in 0..ENGINES {
            // One each: a session that another engine resumes goes there, thread and all.
            let session = stored(balancer, rng).await;
            let engine = Arc::new(Engine {
                id: format!("engine-{number}"),
                thread: format!("thread-{number}"),
                held: Mutex::default(),
            });
            let serving = tokio::task::spawn_local(engine.clone().serve(balancer.clone(), rng.split()));
            it.engines.push((engine.clone(), AbortOnDropHandle::new(serving)));
            let (balancer, over) = (balancer.clone(), it.over.clone());
            let snapshots = snapshot(engine.clone(), balancer.clone(), rng.split(), over.clone());
            it.snapshots.spawn_local(async move { (number, snapshots.await) });
            it.resumes
                .spawn_local(resume(engine, balancer, rng.split(), over, session));
        }
        it
    }

    /// Ends, and checks that sessions hold what engines said.
    pub(super) async fn check(mut self, rng: &mut Rng) {
        self.over.store(true, Ordering::Relaxed);
        let (mut taken, mut ready, mut failed) = (0, 0, 0);
        while let Some(ended) = self.snapshots.join_next().await {
            let (number, snapshots) = ended.unwrap();
            let said = self.engines[number].0.held.lock().unwrap().said.clone();
            let there = read(&self.balancer, rng, &snapshots.session).await;
            assert_eq!(
                talk(&there),
                talk(&said),
                "a session holds what its engine said, once"
            );
            taken += snapshots.taken;
        }
        while let Some(ended) = self.resumes.join_next().await {
            let resumes = ended.unwrap();
            ready += resumes.ready;
            failed += resumes.failed;
        }
        let attachments: u64 = self
            .engines
            .iter()
            .map(|(engine, _)| engine.held.lock().unwrap().attachments)
            .sum();
        for (engine, _) in &self.engines {
            let wrong = &engine.held.lock().unwrap().faults;
            assert!(wrong.is_empty(), "{}: {wrong:#?}", engine.id);
        }
        eprintln!("{taken} snapshots, {ready} resumes ready, {failed} failed, {attachments} attachments");
        assert!(taken > 0 && ready > 0);
    }
}

/// A session that is resumed again and again.
async fn stored(balancer: &Balancer, rng: &mut Rng) -> String {
    let create = CreateSessionRequest {
        request_id: format!("{:x}", rng.next()),
        ..Default::default()
    };
    let call = async |client: Client| client.create_session(create.clone()).await;
    let made = balancer.insist(rng, call).await.unwrap();
    let session = made.session.unwrap().session_id;
    let said = (0..MESSAGES).map(|at| user(&format!("message {at}")));
    let append = AppendEntriesRequest {
        session_id: session.clone(),
        entries: entries(said),
        request_id: format!("{:x}", rng.next()),
        ..Default::default()
    };
    let call = async |client: Client| client.append_entries(append.clone()).await;
    balancer.insist(rng, call).await.unwrap();
    session
}

/// The messages of a session.
async fn read(balancer: &Balancer, rng: &mut Rng, session: &str) -> Vec<Message> {
    let request = ReadMessagesRequest {
        session_id: session.to_owned(),
        view: MessageView::Context.into(),
        ..Default::default()
    };
    let call = async |client: Client| client.read_messages(request.clone()).await;
    balancer.insist(rng, call).await.unwrap()
}

impl Engine {
    /// Attaches to any replica, and whenever that ends to any again.
    async fn serve(self: Arc<Self>, balancer: Balancer, mut rng: Rng) {
        loop {
            let call = async |client: Client| {
                let greeted = tokio::time::timeout(PATIENCE, Wire::greet(&client, hello(&self.id))).await;
                greeted.unwrap_or_else(|_| Err(Status::deadline_exceeded("")))
            };
            let wire = balancer.insist(&mut rng, call).await.expect("any may attach");
            self.held.lock().unwrap().attachments += 1;
            self.attached(wire).await;
        }
    }

    /// Answers as long as the stream stands.
    async fn attached(&self, mut wire: Wire) {
        wire.claims(&self.thread, "").await;
        while let Ok(Some(frame)) = wire.next().await {
            match frame {
                Down::SnapshotRequest(ask) => {
                    let said = self.held.lock().unwrap().said.clone();
                    wire.answers(&ask, holds(said)).await;
                }
                Down::SeedBegin(begin) => {
                    let known = self.held.lock().unwrap().begins(&begin);
                    if known > 0 {
                        wire.acks(&begin.seed_id, known).await;
                    }
                }
                Down::SeedBatch(batch) => {
                    let seed_id = batch.seed_id.clone();
                    let known = self.held.lock().unwrap().takes(batch);
                    wire.acks(&seed_id, known).await;
                }
                Down::SeedCommit(commit) => self.held.lock().unwrap().has(&commit.seed_id),
                Down::SeedCancel(cancel) => self.held.lock().unwrap().forgets(&cancel.seed_id),
                Down::Welcome(_) | Down::Drain(_) => {}
            }
        }
    }

    /// Says something more; the last of it.
    fn says(&self) -> String {
        let mut held = self.held.lock().unwrap();
        let number = held.said.len();
        let id = format!("{}-{number}", self.id);
        let message = match number % 2 {
            0 => user(&format!("question {number}")),
            _ => assistant(&format!("answer {number}")),
        };
        held.said.push(named(&id, message));
        id
    }
}

impl Held {
    /// A seed begins, or goes on: how much of it is there.
    fn begins(&mut self, begin: &SeedBegin) -> u64 {
        let seed = self.seeds.entry(begin.seed_id.clone()).or_default();
        if seed.is_canceled {
            self.faults
                .push(format!("{} goes on after it was called off", begin.seed_id));
        }
        seed.thread = begin.thread.as_ref().expect("a thread").thread_id.clone();
        seed.messages.len() as u64
    }

    /// More of a seed: how much of it is there now. Nothing is left out, and nothing comes again.
    fn takes(&mut self, batch: SeedBatch) -> u64 {
        let seed = self.seeds.entry(batch.seed_id.clone()).or_default();
        let known = seed.messages.len();
        if batch.first_index != known as i64 || seed.thread.is_empty() || seed.is_canceled {
            let (id, first) = (batch.seed_id, batch.first_index);
            self.faults.push(format!(
                "{id} is sent from {first} on; {known} are there: {seed:?}"
            ));
        }
        seed.messages.extend(batch.messages);
        seed.messages.len() as u64
    }

    /// A seed is whole.
    fn has(&mut self, seed_id: &str) {
        let seed = self.seeds.entry(seed_id.to_owned()).or_default();
        if seed.thread.is_empty() || seed.is_canceled {
            self.faults.push(format!("{seed_id} is committed: {seed:?}"));
        }
        seed.is_whole = true;
    }

    /// A seed is called off.
    fn forgets(&mut self, seed_id: &str) {
        let seed = self.seeds.entry(seed_id.to_owned()).or_default();
        seed.is_canceled = true;
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("thread", &self.thread)
            .field("messages", &self.messages.len())
            .field("is_whole", &self.is_whole)
            .field("is_canceled", &self.is_canceled)
            .finish()
    }
}

/// Has the engine say something, and takes it down, until there is an answer.
async fn snapshot(engine: Arc<Engine>, balancer: Balancer, mut rng: Rng, over: Arc<AtomicBool>) -> Snapshots {
    let mut snapshots = Snapshots::default();
    while !over.load(Ordering::Relaxed) {
        let last = engine.says();
        let request = SnapshotFromEngineRequest {
            request_id: format!("{} {:x}", last, rng.next()),
            ..of_thread(&engine.thread)
        };
        let call = async |client: Client| client.snapshot_from_engine(request.clone()).await;
        let answer = match balancer.insist(&mut rng, call).await {
            Ok(answer) => answer,
            // It has yet to claim its thread for the first time.
            Err(failure) if snapshots.taken == 0 && failure.reason == "THREAD_NOT_FOUND" => continue,
            Err(failure) => panic!("{failure:?}"),
        };
        let session = answer.session.unwrap().session_id;
        assert!(snapshots.taken == 0 || snapshots.session == session);
        snapshots.session = session;
        snapshots.taken += 1;
        assert_eq!(
            answer.message_count,
            engine.held.lock().unwrap().said.len() as u64
        );
    }
    snapshots
}

/// Has a session taken over, and sees to it that it was, whole.
async fn resume(
    engine: Arc<Engine>,
    balancer: Balancer,
    mut rng: Rng,
    over: Arc<AtomicBool>,
    session: String,
) -> Resumes {
    let mut resumes = Resumes::default();
    let due = talk(&read(&balancer, &mut rng, &session).await);
    while !over.load(Ordering::Relaxed) {
        let mut request = on_engine(&session, &engine.id);
        request.request_id = format!("{:x}", rng.next());
        let call = async |client: Client| {
            let mut stream = client.resume_stream(request.clone()).await?;
            let first = stream.message().await?.and_then(|first| first.progress);
            Ok(first.expect("a first progress"))
        };
        let begun = balancer.insist(&mut rng, call).await.unwrap();
        let end = end_of(&balancer, &mut rng, begun).await;
        match end.state() {
            ResumeState::Ready => {}
            // No engine came back in time, attempt after attempt.
            ResumeState::Failed => {
                let reason = reason(&end);
                assert!(
                    ["ENGINE_LOST", "ENGINE_NOT_ATTACHED"].contains(&&*reason),
                    "{reason}: {end:?}"
                );
                resumes.failed += 1;
                continue;
            }
            other => panic!("{other:?}: {end:?}"),
        }
        let what = format!("{} has {} whole", engine.id, end.resume_id);
        let seeded = until(&what, async || {
            let held = engine.held.lock().unwrap();
            let mut seeds = held.seeds.values();
            let seed = seeds.find(|seed| seed.thread == end.thread_id && seed.is_whole)?;
            Some(talk(&seed.messages))
        })
        .await;
        assert_eq!(seeded, due);
        resumes.ready += 1;
    }
    resumes
}

/// Why a resume failed.
fn reason(end: &ResumeProgress) -> String {
    let error = end.error.as_ref().unwrap();
    let details = error.encode_to_vec().into();
    let status = Status::with_details(Code::from(error.code), &error.message, details);
    status.get_details_error_info().unwrap().reason
}

/// Watches a resume through any replica, and through another one when that breaks, to its end; it never goes back.
async fn end_of(balancer: &Balancer, rng: &mut Rng, begun: ResumeProgress) -> ResumeProgress {
    let mut last = begun;
    while !is_end(last.state()) {
        let target = Target::ResumeId(last.resume_id.clone());
        let call = async |client: Client| client.watch_or(target.clone()).await;
        let mut stream = balancer.insist(rng, call).await.unwrap();
        while let Ok(Some(next)) = stream.message().await {
            let next = next.progress.expect("progress");
            let stands = |of: &ResumeProgress| (of.attempt, of.state() as i32, of.items_written);
            assert!(stands(&last) <= stands(&next), "{last:?}, then {next:?}");
            last = next;
        }
    }
    last
}
