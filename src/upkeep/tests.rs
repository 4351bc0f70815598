//! Rounds of upkeep over the memory store.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::domain::limits::STAGING_LIFE;
use crate::domain::path::PARTS_SOFT_MAX;
use crate::domain::proposal::{Deletion, Fork, SessionCommand};
use crate::domain::query::{Bound, End, Range};
use crate::domain::{
    Digest, Entry, EntryId, NewEntry, RequestId, Seq, Session, SessionId, Time, entry::Payload, proposal,
    session,
};
use crate::service::TimeOrderedIds;
use crate::store::memory::Memory;
use crate::store::sqlite::Sqlite;

const HOUR: Duration = Duration::from_secs(60 * 60);

mod clocks;
mod imports;
mod retention;

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
struct Hand(AtomicI64);

impl Hand {
    fn forward(&self, span: Duration) {
        self.0.store(self.now().after(span).0, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

struct Bench {
    clock: Arc<Hand>,
    store: Arc<dyn Store>,
    upkeep: Upkeep,
    ns: Namespace,
}

impl Bench {
    fn new() -> Self {
        Self::over(Arc::new(Memory::default()))
    }

    fn over(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(Hand::default());
        let upkeep = Upkeep::new(store.clone(), clock.clone(), Arc::new(TimeOrderedIds));
        let ns = nowhere().expect("the default namespace");
        Self {
            clock,
            store,
            upkeep,
            ns,
        }
    }

    async fn commit(&self, request: Option<proposal::Request>, command: SessionCommand) -> Arc<Session> {
        let namespace = self.ns.clone();
        let command = Command::Session(command);
        let proposal = Proposal {
            namespace,
            request,
            fence: None,
            command,
        };
        let committed = self
            .store
            .commit(proposal, self.clock.now())
            .await
            .expect("committed");
        committed.session.expect("a session")
    }

    async fn create(&self, id: &str, request: Option<proposal::Request>) -> Arc<Session> {
        let (id, log) = (session_id(id), LogId(Uuid::now_v7()));
        let draft = Box::new(session::Draft::default());
        self.commit(request, SessionCommand::Create { id, log, draft })
            .await
    }

    async fn append(&self, session: &Session, count: usize) -> Arc<Session> {
        let entry = |_| NewEntry {
            id: EntryId::from_uuid(Uuid::now_v7()),
            id_is_fresh: true,
            create_time: self.clock.now(),
            payload: Payload::Event,
            digest: Digest([7; 16]),
            body: Bytes::from_static(b"body"),
        };
        let (id, entries, expected) = (session.id.clone(), (0..count).map(entry).collect(), None);
        self.commit(
            None,
            SessionCommand::Append {
                id,
                entries,
                expected,
            },
        )
        .await
    }

    async fn fork(&self, source: &Session, id: &str) -> Arc<Session> {
        let fork = Fork {
            source: source.id.clone(),
            revision: None,
            source_log: source.tip.log.id,
            cut: source.tip.tally.clone(),
            preview: String::new(),
            removed: None,
            title: None,
            id: session_id(id),
            log: LogId(Uuid::now_v7()),
        };
        self.commit(None, SessionCommand::Fork(Box::new(fork))).await
    }

    async fn session(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.store.session(&self.ns, id).await.expect("read")
    }

    async fn entries(&self, session: &Session) -> Vec<Entry> {
        let range = Range {
            after: Seq::ZERO,
            to: session.tip.seq(),
            from: End::Oldest,
        };
        let (rows, bytes) = (100_000, 1 << 30);
        let read = self.store.entries(&session.tip.log, range, Bound { rows, bytes });
        let mut entries = read.await.expect("read");
        // A copy differs by the log it lies in, and by nothing else.
        entries
            .iter_mut()
            .for_each(|entry| entry.meta.log = LogId(Uuid::nil()));
        entries
    }

    async fn round(&self) -> Done {
        self.upkeep.round(&CancellationToken::new()).await
    }
}

fn session_id(id: &str) -> SessionId {
    SessionId::parse(id, "session_id").expect("an id")
}

/// A session with a path of `parts`, of 1 to 4 entries each.
async fn long_path(bench: &Bench, parts: usize) -> Arc<Session> {
    let mut session = bench.create("s0", None).await;
    for part in 1..=parts {
        session = bench.append(&session, part % 4 + 1).await;
        session = bench.fork(&session, &format!("s{part}")).await;
    }
    session
}

#[tokio::test]
async fn a_long_path_is_shortened_and_nobody_can_tell() {
    let bench = Bench::new();
    let session = long_path(&bench, PARTS_SOFT_MAX + 1).await;
    let session = bench.append(&session, 2).await;
    let entries = bench.entries(&session).await;
    assert_eq!(bench.round().await.failures, 0);
    let after = bench.session(&session.id).await.expect("there");
    assert!(after.tip.log.path.parts().len() <= PARTS_SOFT_MAX / 2);
    assert_eq!(bench.entries(&after).await, entries);
    assert_eq!((after.revision, after.etag()), (session.revision, session.etag()));

    // What the head does not name any more is swept, and nothing else.
    bench.clock.forward(STAGING_LIFE);
    assert!(bench.round().await.chores > 0);
    assert_eq!(bench.round().await, Done::default());
    assert_eq!(bench.entries(&after).await, entries);
    let appended = bench.append(&after, 1).await;
    assert_eq!(bench.entries(&appended).await.len(), entries.len() + 1);
}

#[tokio::test]
async fn a_path_without_entries_of_its_own_log_is_shortened_too() {
    let bench = Bench::new();
    let session = long_path(&bench, PARTS_SOFT_MAX + 6).await;
    let entries = bench.entries(&session).await;
    assert_eq!(
        bench.round().await,
        Done {
            chores: 1 + 5,
            failures: 0
        }
    );
    let after = bench.session(&session.id).await.expect("there");
    assert!(after.tip.log.path.parts().len() < PARTS_SOFT_MAX / 2);
    assert_eq!(bench.entries(&after).await, entries);
}

/// The entries of these tests have digests that SQLite finds wrong: none of them can be read.
#[tokio::test]
async fn a_path_that_cannot_be_shortened_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(folder.path(), 1).expect("a store");
    let bench = Bench::over(Arc::new(store));
    let session = long_path(&bench, PARTS_SOFT_MAX + 1).await;
    let failed = Done {
        chores: 1,
        failures: 1,
    };
    let wait = Duration::from_secs(10 * 60);
    assert_eq!(bench.round().await, failed);
    assert_eq!(bench.round().await, Done::default());
    bench.clock.forward(wait);
    assert_eq!(bench.round().await, failed);
    bench.clock.forward(wait);
    assert_eq!(bench.round().await, Done::default(), "twice as long");
    bench.clock.forward(wait);
    assert_eq!(bench.round().await, failed);
    assert_eq!(bench.session(&session.id).await, Some(session));
}

#[tokio::test]
async fn what_is_deleted_goes_when_its_time_has_come() {
    let bench = Bench::new();
    let session = bench.create("s", None).await;
    let session = bench.append(&session, 3).await;
    let (id, etag) = (session.id.clone(), None);
    let mode = Deletion::Soft { purge_after: HOUR };
    bench
        .commit(None, SessionCommand::Delete { id, mode, etag })
        .await;
    assert_eq!(bench.round().await, Done::default());
    bench.clock.forward(HOUR);
    bench.round().await;
    assert_eq!(bench.session(&session.id).await, None);
    bench.clock.forward(STAGING_LIFE);
    bench.round().await;
    assert_eq!(bench.entries(&session).await, []);
}

#[tokio::test]
async fn old_receipts_go() {
    let bench = Bench::new();
    for n in 0..3 {
        let id = RequestId::parse(&format!("r{n}")).expect("an id");
        let request = proposal::Request {
            id,
            fingerprint: Digest([n; 16]),
        };
        bench.create(&format!("s{n}"), Some(request)).await;
    }
    let id = RequestId::parse("r1").expect("an id");
    bench.clock.forward(RECEIPT_LIFE);
    bench.round().await;
    assert!(bench.store.receipt(&bench.ns, &id).await.expect("read").is_some());
    bench.clock.forward(Duration::from_nanos(1));
    assert_eq!(bench.round().await.chores, 1);
    assert_eq!(bench.store.receipt(&bench.ns, &id).await.expect("read"), None);
}

#[tokio::test]
async fn rounds_go_on_until_they_are_stopped() {
    let bench = Bench::new();
    let session = bench.create("s", None).await;
    let (id, etag) = (session.id.clone(), None);
    let mode = Deletion::Soft { purge_after: HOUR };
    bench
        .commit(None, SessionCommand::Delete { id, mode, etag })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.upkeep.clone().run(Duration::from_millis(1), stop.clone()));
    bench.clock.forward(HOUR);
    let gone = async {
        while bench.session(&session.id).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("purged by a round");
    stop.cancel();
    running.await.expect("ended");
}
