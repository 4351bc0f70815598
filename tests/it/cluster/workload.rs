//! What clients of the fleet do all the while, each through any replica, and what must be so in the end.
//!
//! Writers append to sessions that they share, and read them; watchers watch these; savers keep a thread each and save it;
//! forkers fork. A call that is not answered is asked again under its request_id, of whichever replica, until it is; some
//! appends go without one and are never asked again.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fleet::Balancer;
use super::history::{Operation, Outcome, faults};
use super::savers::Saver;
use crate::support::Client;
use crate::support::build::{entries, said, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    AppendEntriesRequest, CreateSessionRequest, Entry, ForkSessionRequest, GetSessionRequest,
    ListEntriesRequest, ListSessionsRequest, SearchMessagesRequest,
};
use crate::support::rng::Rng;
use crate::support::watch::Reader;

/// How long it may take until a message is found, of which no replica was told.
const INDEXED_WITHIN: Duration = Duration::from_secs(90);
/// Sessions that writers share.
const SESSIONS: usize = 4;
const WRITERS: usize = 6;
const SAVERS: usize = 2;
const FORKERS: usize = 1;
/// Most entries of one append.
const BATCH_MAX: u64 = 3;
/// Entries that a read asks for, the newest.
const READ_ROWS: i32 = 20;

/// A session that many write to, and all that was asked of it.
#[derive(Default)]
struct Shared {
    session: String,
    history: Mutex<Vec<Operation>>,
}

/// A fork that was made: how much of which session it shows.
struct Forked {
    fork: String,
    source: usize,
    messages: u64,
}

/// Everything that goes on.
pub(super) struct Workload {
    balancer: Balancer,
    shared: Arc<Vec<Shared>>,
    over: Arc<AtomicBool>,
    writers: JoinSet<()>,
    watchers: JoinSet<(usize, Vec<Entry>)>,
    savers: JoinSet<Saver>,
    forkers: JoinSet<Vec<Forked>>,
    /// How many entries there are in the end; watchers leave when they have them.
    done: tokio::sync::watch::Sender<Option<Vec<u64>>>,
}

impl Workload {
    /// Begins.
    pub(super) async fn start(balancer: &Balancer, rng: &mut Rng) -> Self {
        let mut shared = Vec::new();
        for _ in 0..SESSIONS {
            let request = CreateSessionRequest {
                request_id: fresh(rng),
                ..Default::default()
            };
            let made = balancer
                .insist(rng, async |client| client.create_session(request.clone()).await)
                .await;
            shared.push(Shared {
                session: made.unwrap().session.unwrap().session_id,
                ..Shared::default()
            });
        }
        let shared = Arc::new(shared);
        let over = Arc::new(AtomicBool::new(false));
        let (done, told) = tokio::sync::watch::channel(None);
        let mut it = Self {
            balancer: balancer.clone(),
            shared: shared.clone(),
            over: over.clone(),
            writers: JoinSet::new(),
            watchers: JoinSet::new(),
            savers: JoinSet::new(),
            forkers: JoinSet::new(),
            done,
        };
        for number in 0..WRITERS {
            let writer = Writer {
                name: format!("writer {number}"),
                calls: 0,
                rng: rng.split(),
                balancer: balancer.clone(),
                shared: shared.clone(),
            };
            it.writers.spawn_local(writer.run(over.clone()));
        }
        for at in 0..SESSIONS {
            let session = shared[at].session.clone();
            let watching = watch(balancer.clone(), rng.split(), session, at, told.clone());
            it.watchers.spawn_local(async move { (at, watching.await) });
        }
        for number in 0..SAVERS {
            let saver = Saver::new(number, balancer.clone(), rng.split()).await;
            it.savers.spawn_local(saver.run(over.clone()));
        }
        for _ in 0..FORKERS {
            let forking = fork(balancer.clone(), rng.split(), shared.clone(), over.clone());
            it.forkers.spawn_local(forking);
        }
        it
    }

    /// Ends, once everybody has the answer they wait for, and checks all of it. The fleet is whole again by then.
    pub(super) async fn check(mut self, rng: &mut Rng) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
        let savers = self.savers.join_all().await;
        let forks: Vec<_> = self.forkers.join_all().await.into_iter().flatten().collect();
        let mut logs = Vec::new();
        for shared in self.shared.iter() {
            logs.push(log(&self.balancer, rng, &shared.session).await);
        }
        self.done
            .send_replace(Some(logs.iter().map(|log| log.len() as u64).collect()));
        for (at, watched) in self.watchers.join_all().await {
            assert_eq!(watched, logs[at], "a watcher sees the log as it is");
        }
        let mut kinds = [0; 5];
        for (shared, log) in self.shared.iter().zip(&logs) {
            let log: Vec<_> = log.iter().map(text).collect();
            let history = shared.history.lock().unwrap();
            let wrong = faults(&log, &history);
            assert!(wrong.is_empty(), "{}: {wrong:#?}", shared.session);
            for operation in history.iter() {
                kinds[match &operation.outcome {
                    Outcome::Appended { won: None, .. } => 0,
                    Outcome::Appended { won: Some(_), .. } => 1,
                    Outcome::Refused { .. } => 2,
                    Outcome::Unanswered { .. } => 3,
                    Outcome::Read { .. } => 4,
                }] += 1;
            }
        }
        let [appended, won, refused, unanswered, read] = kinds;
        eprintln!(
            "{} entries: {appended} appends, {won} under a revision, {refused} that came too late, {unanswered} \
             never answered, {read} reads, {} forks",
            logs.iter().map(Vec::len).sum::<usize>(),
            forks.len()
        );
        for saver in savers {
            saver.check(rng).await;
        }
        check_forks(&self.balancer, rng, &forks, &logs).await;
        for (shared, log) in self.shared.iter().zip(&logs) {
            is_found(&self.balancer, rng, &shared.session, &text(log.last().unwrap())).await;
        }
    }
}

/// Waits until what was said last in a session is found in it.
async fn is_found(balancer: &Balancer, rng: &mut Rng, session: &str, said: &str) {
    let start = Instant::now();
    let request = SearchMessagesRequest {
        query: format!("\"{said}\""),
        session_id: Some(session.to_owned()),
        ..Default::default()
    };
    let call = async |client: Client| client.search_messages(request.clone()).await;
    while balancer.insist(rng, call).await.unwrap().hits.is_empty() {
        assert!(
            start.elapsed() < INDEXED_WITHIN,
            "{said} is not found in {session}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A request_id.
pub(super) fn fresh(rng: &mut Rng) -> String {
    format!("{:016x}{:016x}", rng.next(), rng.next())
}

/// The text of an entry's message.
pub(super) fn text(entry: &Entry) -> String {
    match &entry.payload {
        Some(crate::support::pb::entry::Payload::Message(message)) => said(message),
        other => panic!("nobody wrote {other:?}"),
    }
}

/// Somebody who appends and reads.
struct Writer {
    name: String,
    calls: u64,
    rng: Rng,
    balancer: Balancer,
    shared: Arc<Vec<Shared>>,
}

impl Writer {
    async fn run(mut self, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            let at = self.rng.index(SESSIONS);
            let began = Instant::now();
            let outcome = match self.rng.below(10) {
                0..4 => Some(self.append(at, None).await),
                4..7 => self.append_on_top(at).await,
                7 => self.append_once(at).await,
                _ => Some(self.read(at).await),
            };
            if let Some(outcome) = outcome {
                let ended = Instant::now();
                self.shared[at].history.lock().unwrap().push(Operation {
                    began,
                    ended,
                    outcome,
                });
            }
        }
    }

    /// A new append, and what it says.
    fn appends(&mut self, at: usize) -> (AppendEntriesRequest, Vec<String>) {
        self.calls += 1;
        let call = format!("{}, call {}", self.name, self.calls);
        let said: Vec<_> = (0..=self.rng.below(BATCH_MAX))
            .map(|n| format!("{call}, {n}"))
            .collect();
        let request = AppendEntriesRequest {
            session_id: self.shared[at].session.clone(),
            entries: entries(said.iter().map(|said| user(said))),
            request_id: fresh(&mut self.rng),
            ..Default::default()
        };
        (request, said)
    }

    /// Appends, and asks until there is an answer.
    async fn append(&mut self, at: usize, expected: Option<u64>) -> Outcome {
        let (mut request, said) = self.appends(at);
        request.expected_revision = expected;
        let call = async |client: Client| client.append_entries(request.clone()).await;
        match self.balancer.insist(&mut self.rng, call).await {
            Ok(answer) => Outcome::Appended {
                said,
                first: answer.first_seq,
                won: expected,
            },
            Err(failure) => {
                assert_eq!(failure.reason, "REVISION_MISMATCH", "{failure:?}");
                assert!(expected.is_some());
                Outcome::Refused { said }
            }
        }
    }

    /// Appends on top of what is there now, if nobody is faster.
    async fn append_on_top(&mut self, at: usize) -> Option<Outcome> {
        let request = GetSessionRequest {
            session_id: self.shared[at].session.clone(),
            ..Default::default()
        };
        let call = async |client: Client| client.get_session(request.clone()).await;
        let found = self.balancer.ask(&mut self.rng, &mut { call }).await.ok()?;
        let revision = found.unwrap().session.unwrap().revision;
        Some(self.append(at, Some(revision)).await)
    }

    /// Appends without a request_id, and leaves it at that.
    async fn append_once(&mut self, at: usize) -> Option<Outcome> {
        let (mut request, said) = self.appends(at);
        request.request_id.clear();
        let call = async |client: Client| client.append_entries(request.clone()).await;
        let outcome = match self.balancer.ask(&mut self.rng, &mut { call }).await {
            Ok(answer) => Outcome::Appended {
                said,
                first: answer.unwrap().first_seq,
                won: None,
            },
            Err(_) => Outcome::Unanswered { said },
        };
        Some(outcome)
    }

    /// Reads the newest entries.
    async fn read(&mut self, at: usize) -> Outcome {
        let request = ListEntriesRequest {
            session_id: self.shared[at].session.clone(),
            newest: true,
            page_size: READ_ROWS,
            ..Default::default()
        };
        let call = async |client: Client| client.list_entries(request.clone()).await;
        let page = self.balancer.insist(&mut self.rng, call).await.unwrap();
        let seen: Vec<_> = page
            .entries
            .iter()
            .map(|entry| (entry.seq, text(entry)))
            .collect();
        let count = seen.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        Outcome::Read { seen, count }
    }
}

/// Watches a session through any replica and, whenever that ends, goes on through another where it was; until it has so
/// many entries as it is told in the end.
async fn watch(
    balancer: Balancer,
    mut rng: Rng,
    session: String,
    at: usize,
    mut done: tokio::sync::watch::Receiver<Option<Vec<u64>>>,
) -> Vec<Entry> {
    let mut reader: Option<Reader> = None;
    loop {
        let had = reader.take();
        let cursor = had.as_ref().map(|reader| reader.cursor.clone());
        let call = async |client: Client| client.watch_session_or(&session, cursor.as_deref()).await;
        let stream = balancer.insist(&mut rng, call).await.unwrap();
        let mut reading = match had {
            Some(reader) => reader.over(stream),
            None => Reader::new(stream),
        };
        loop {
            let due = done.borrow_and_update().as_ref().map(|counts| counts[at]);
            if due.is_some_and(|due| reading.entries.len() as u64 >= due) {
                assert!(reading.rewound.is_empty(), "nothing was ever taken back");
                return reading.entries;
            }
            let ended = tokio::select! {
                stepped = reading.try_step() => stepped.is_err(),
                _ = done.changed() => false,
            };
            if ended {
                break;
            }
        }
        reader = Some(reading);
    }
}

/// Forks what is there, again and again.
async fn fork(
    balancer: Balancer,
    mut rng: Rng,
    shared: Arc<Vec<Shared>>,
    over: Arc<AtomicBool>,
) -> Vec<Forked> {
    let mut forks = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let source = rng.index(SESSIONS);
        let session_id = shared[source].session.clone();
        let get = GetSessionRequest {
            session_id: session_id.clone(),
            ..Default::default()
        };
        let call = async |client: Client| client.get_session(get.clone()).await;
        let found = balancer.insist(&mut rng, call).await.unwrap();
        let messages = found.session.unwrap().message_count;
        if messages < 2 {
            continue;
        }
        let messages = 1 + rng.below(messages - 1);
        let request = ForkSessionRequest {
            session_id,
            point: Some(Point::MessageIndex(i64::try_from(messages).expect("small"))),
            request_id: fresh(&mut rng),
            ..Default::default()
        };
        let call = async |client: Client| client.fork_session(request.clone()).await;
        let made = balancer.insist(&mut rng, call).await.unwrap();
        forks.push(Forked {
            fork: made.session.unwrap().session_id,
            source,
            messages,
        });
    }
    forks
}

/// Every fork shows what it was made of, and each was made once.
async fn check_forks(balancer: &Balancer, rng: &mut Rng, forks: &[Forked], logs: &[Vec<Entry>]) {
    for forked in forks {
        let texts: Vec<_> = log(balancer, rng, &forked.fork).await.iter().map(text).collect();
        let due = usize::try_from(forked.messages).expect("small");
        let source: Vec<_> = logs[forked.source][..due].iter().map(text).collect();
        assert_eq!(texts, source, "{}", forked.fork);
    }
    let mut request = ListSessionsRequest {
        page_size: 500,
        ..Default::default()
    };
    let mut there = 0;
    loop {
        let call = async |client: Client| client.list_sessions(request.clone()).await;
        let page = balancer.insist(rng, call).await.unwrap();
        there += page
            .sessions
            .iter()
            .filter(|session| session.origin.is_some())
            .count();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(there, forks.len(), "a fork was made twice");
}

/// Every entry of a session; their seqs are dense.
pub(super) async fn log(balancer: &Balancer, rng: &mut Rng, session: &str) -> Vec<Entry> {
    let mut request = ListEntriesRequest {
        session_id: session.to_owned(),
        page_size: 500,
        ..Default::default()
    };
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let call = async |client: Client| client.list_entries(request.clone()).await;
        let page = balancer.insist(rng, call).await.unwrap();
        log.extend(page.entries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    for (place, entry) in log.iter().enumerate() {
        assert_eq!(entry.seq, place as u64 + 1, "seqs are dense");
    }
    log
}
