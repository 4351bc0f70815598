//! Everything at once: engines that come and go, snapshots and resumes at random, and a server that is killed. A few
//! rounds of few engines by default; `SESSIOND_ROUNDS` sets how many rounds, and more than ten are played in full size.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sessiond::client::Client as EngineClient;
use sessiond::client::engine::{Engine, Memory, Profile, State, Threads as _};
use tokio::task::JoinSet;

use crate::support::build::{said, user};
use crate::support::engine::{configured_with, of_thread};
use crate::support::pb::{
    ListSessionsRequest, ResumeProgress, ResumeState, SnapshotConsistency, SnapshotFromEngineRequest, Thread,
};
use crate::support::resume::{is_end, of_session, on_engine};
use crate::support::rng::Rng;
use crate::support::{Client, Code, Failure, Server, Status, until, within};

const ROUNDS_DEFAULT: usize = 2;
/// Rounds from which on the storm has its full size.
const ROUNDS_LONG: usize = 10;
const ACTIONS: u64 = 24;

/// An engine, and what it holds.
struct Host {
    id: String,
    engine: Engine,
    memory: Arc<Memory>,
    rng: Rng,
    generation: u32,
    threads: usize,
}

fn rounds() -> usize {
    let rounds = std::env::var("SESSIOND_ROUNDS").ok();
    rounds.map_or(ROUNDS_DEFAULT, |rounds| {
        rounds.parse().expect("SESSIOND_ROUNDS is a number")
    })
}

/// Errors that a caller may get in a storm: each names what went on.
fn is_weather(status: &Status, is_over: bool) -> bool {
    if std::error::Error::source(status).is_some() || (is_over && status.code() != Code::Internal) {
        return true;
    }
    let known = [
        "ENGINE_LOST",
        "ENGINE_NOT_ATTACHED",
        "NO_ENGINE",
        "NO_LIVE_THREAD",
        "QUEUE_FULL",
        "REVISION_MISMATCH",
        "SESSION_DIVERGED",
        "SESSION_OWNED",
        "THREAD_NOT_FOUND",
        "STALE_EPOCH",
        "ENGINE_DECLINED",
    ];
    known.contains(&Failure::of(status).reason.as_str())
}

impl Host {
    async fn attach(connection: &EngineClient, id: String, threads: usize, rng: Rng) -> Self {
        let memory = Arc::new(Memory::default());
        let engine = Engine::attach(connection, Profile::named(id.clone()), memory.clone());
        let mut host = Self {
            id,
            engine,
            memory,
            rng,
            generation: 0,
            threads,
        };
        host.begin().await;
        host
    }

    /// Threads of its own, each with something in it.
    async fn begin(&mut self) {
        within("it attaches", self.engine.attached())
            .await
            .expect("it may attach");
        for n in 0..self.threads {
            let id = format!("{}.{}.{n}", self.id, self.generation);
            self.memory.add(Thread {
                thread_id: id.clone(),
                ..Default::default()
            });
            self.say(&id);
            self.engine.changed(&id).await;
        }
    }

    fn say(&mut self, thread: &str) {
        let number = self.rng.next();
        self.memory.say(thread, user(&format!("{thread} says {number}")));
    }

    /// The process dies with all it held, and another one comes under its id.
    async fn again(&mut self, connection: &EngineClient) {
        self.generation += 1;
        self.memory = Arc::new(Memory::default());
        self.engine = Engine::attach(connection, Profile::named(self.id.clone()), self.memory.clone());
        self.begin().await;
    }

    async fn act(
        &mut self,
        client: &Client,
        connection: &EngineClient,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Vec<String> {
        let mut resumes = Vec::new();
        for _ in 0..ACTIONS {
            if is_over() {
                break;
            }
            if matches!(self.engine.state(), State::Ended(_)) || self.rng.below(20) == 0 {
                self.again(connection).await;
            }
            let held = self.memory.open();
            let thread = held[self.rng.index(held.len())].thread.thread_id.clone();
            self.say(&thread);
            let failed = match self.rng.below(3) {
                0 | 1 => self.snapshot(client, &thread).await.err(),
                _ => self.resume(client, &mut resumes).await.err(),
            };
            if let Some(status) = failed {
                assert!(is_weather(&status, is_over()), "{status:?}");
            }
        }
        resumes
    }

    async fn snapshot(&mut self, client: &Client, thread: &str) -> Result<(), Status> {
        let request = SnapshotFromEngineRequest {
            consistency: SnapshotConsistency::Immediate.into(),
            ..of_thread(thread)
        };
        let taken = client.snapshot_from_engine(request).await?;
        assert_eq!(taken.session.expect("a session").thread_id, thread);
        Ok(())
    }

    async fn resume(&mut self, client: &Client, resumes: &mut Vec<String>) -> Result<(), Status> {
        let sessions = client
            .list_sessions(ListSessionsRequest::default())
            .await?
            .sessions;
        if sessions.is_empty() {
            return Ok(());
        }
        let session = &sessions[self.rng.index(sessions.len())].session_id;
        let request = match self.rng.below(2) {
            0 => of_session(session),
            _ => on_engine(session, &self.id),
        };
        let mut stream = client.resume_stream(request).await?;
        let mut last: Option<ResumeProgress> = None;
        while let Some(next) = within("progress", stream.message()).await? {
            let progress = next.progress.expect("progress");
            if last.is_none() {
                resumes.push(progress.resume_id.clone());
            }
            last = Some(progress);
        }
        let last = last.expect("something was said");
        assert!(is_end(last.state()), "a watcher missed the end: {last:?}");
        Ok(())
    }
}

/// What must hold whenever nothing runs.
async fn check(client: &Client, resumes: &HashSet<String>) {
    let mut ready = 0;
    for id in resumes {
        let end = client.end_of(id).await;
        if end.state() == ResumeState::Ready {
            ready += 1;
            assert_eq!(end.items_written, end.items_total, "{end:?}");
            assert!(!end.thread_id.is_empty());
        }
    }
    let threads = client.every_thread().await;
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for thread in threads.iter().filter(|thread| !thread.session_id.is_empty()) {
        let other = owners.insert(&thread.session_id, &thread.thread_id);
        assert!(
            other.is_none(),
            "{} has {other:?} and {}",
            thread.session_id,
            thread.thread_id
        );
    }
    let sessions = client.listed(ListSessionsRequest::default()).await;
    for session in &sessions {
        assert_eq!(
            owners.get(session.session_id.as_str()),
            Some(&session.thread_id.as_str())
        );
        let prefix = format!("{} says ", session.thread_id);
        let messages = client.messages(&session.session_id).await;
        let ids: HashSet<_> = messages.iter().map(|message| &message.message_id).collect();
        assert_eq!(
            (ids.len(), messages.len() as u64),
            (messages.len(), session.message_count)
        );
        for message in &messages {
            assert!(said(message).starts_with(&prefix), "{prefix}: {}", said(message));
        }
    }
    assert!(
        ready > 0 && !sessions.is_empty(),
        "the weather is so bad that nothing was tried"
    );
    eprintln!(
        "{} resumes, {ready} of them ready, {} threads, {} sessions",
        resumes.len(),
        threads.len(),
        sessions.len()
    );
}

/// All engines act; the server is killed under them.
async fn round(
    server: &mut Server,
    client: &Client,
    connection: &EngineClient,
    hosts: Vec<Host>,
) -> (Vec<Host>, Vec<String>) {
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut acting = JoinSet::new();
    for mut host in hosts {
        let (client, connection, over) = (client.clone(), connection.clone(), over.clone());
        acting.spawn(async move {
            let is_over = || over.load(std::sync::atomic::Ordering::Relaxed);
            let resumes = host.act(&client, &connection, &is_over).await;
            (host, resumes)
        });
    }
    let many = acting.len();
    let (mut hosts, mut resumes) = (Vec::new(), Vec::new());
    while let Some(done) = acting.join_next().await {
        let (host, some) = done.expect("no actor fails");
        hosts.push(host);
        resumes.extend(some);
        if hosts.len() == many / 4 {
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            server.kill();
            server.restart().await;
        }
    }
    (hosts, resumes)
}

#[tokio::test]
async fn nothing_is_mixed_up_in_a_storm() {
    let mut rng = Rng::seeded();
    let rounds = rounds();
    let (engines, threads) = if rounds > ROUNDS_LONG { (64, 16) } else { (12, 4) };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket").display().to_string();
    let uds = ["--uds".to_owned(), socket.clone()];
    let mut server = configured_with("[engines]\nheartbeat_ms = 500\n", uds).await;
    let client = server.client().await;
    let address = format!("unix:{socket}").parse().unwrap();
    let connection = EngineClient::connect(&address, client.namespace()).await.unwrap();
    let mut hosts = Vec::new();
    for n in 0..engines {
        hosts.push(Host::attach(&connection, format!("e{n}"), threads, rng.split()).await);
    }
    let mut resumes = HashSet::new();
    for left in (0..rounds).rev() {
        let (same, more) = {
            let client = server.client_of(&client).await;
            round(&mut server, &client, &connection, hosts).await
        };
        hosts = same;
        resumes.extend(more);
        let client = server.client_of(&client).await;
        until("the engines are back, or over", async || {
            let settled = |host: &Host| !matches!(host.engine.state(), State::Detached(_));
            hosts.iter().all(settled).then_some(())
        })
        .await;
        check(&client, &resumes).await;
        eprintln!("{left} rounds left");
    }
}
