//! Keys that others hold, readers that are all lent, and more news than there is room for: who needs none of them waits
//! for none of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tokio_postgres::NoTls;

use super::{InSchema, cluster, told};
use crate::domain::engine::Profile;
use crate::domain::fixture as f;
use crate::domain::proposal::{EngineCommand, Over, ReplicaCommand, SessionCommand};
use crate::domain::session::Draft;
use crate::domain::{Fence, Outcome};
use crate::store::conformance::Backend as _;
use crate::store::conformance::desk::{Desk, appending, forked};
use crate::store::postgres::{Options, Postgres, news};
use crate::store::{Changes, Observer, Store as _};

/// How long something may take that nothing is in the way of.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long keys are waited for at a time.
const WAITS: Duration = Duration::from_secs(3);

async fn desk(schema: &InSchema, readers: usize) -> (Desk, Arc<Postgres>) {
    let mut desk = Desk::at(schema).await;
    desk.store.close().await;
    let options = Options {
        lanes: 1,
        readers,
        ..Options::default()
    };
    let store = Postgres::open(&schema.url(), &options).await.expect("opened");
    let store = Arc::new(store);
    desk.store = store.clone();
    (desk, store)
}

/// All that come at once are one batch.
#[tokio::test]
async fn who_waits_in_vain_keeps_nobody_waiting_twice() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema, 2).await;
    desk.create("held").await;
    desk.create("free").await;
    let (holder, connection) = tokio_postgres::connect(cluster(), NoTls).await.expect("there");
    let connection = tokio::spawn(connection);
    let key = store.shared.salt.of_session(&desk.ns, &f::session("held"));
    let lock = format!("SELECT pg_advisory_lock({key})");
    holder.batch_execute(&lock).await.expect("locked");
    let waiting = (0..3).map(|at| desk.commit(appending("held", vec![f::event(&format!("h{at}"))])));
    let waiting = join_all(waiting);
    let start = Instant::now();
    let free = async {
        desk.append("free", vec![f::event("e")]).await;
        let took = start.elapsed();
        drop(holder);
        took
    };
    let (answers, took) = futures_util::future::join(waiting, free).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(took < 2 * WAITS, "{took:?}");
    let _ = connection.await;
    store.close().await;
}

#[tokio::test]
async fn a_lease_is_judged_by_one_clock_though_a_batch_writes_twice() {
    let schema = InSchema::new().await;
    let (mut desk, _) = desk(&schema, 2).await;
    desk.create("s").await;
    desk.talk("s", "m", 4).await;
    desk.store.close().await;
    let options = Options {
        lanes: 1,
        ..Options::default()
    };
    let store = Postgres::open(&schema.url_by_clock(), &options).await;
    desk.store = Arc::new(store.expect("opened"));
    // No lease of the database's clock runs by this one.
    desk.pass(Duration::from_secs(200 * 365 * 24 * 3600));
    let join = desk
        .done(f::to_replica(ReplicaCommand::Join {
            id: f::replica("a"),
            address: "a:1".to_owned(),
            life: Some(Duration::from_secs(60)),
            over: Over::Anyone,
        }))
        .await;
    let Outcome::Replica { replica, incarnation } = join.outcome else {
        panic!("not joined: {join:?}");
    };
    let fence = Fence { replica, incarnation };
    let attach = |id: &str| {
        let attach = EngineCommand::Attach {
            id: f::engine(id),
            profile: Box::new(Profile::default()),
        };
        f::fenced(&fence, f::to_engine(attach))
    };
    let renamed = Draft {
        title: Some(f::title("new")),
        ..Draft::default()
    };
    let create = f::to_session(SessionCommand::Create {
        id: f::session("x"),
        log: desk.log(),
        draft: Box::new(renamed),
    });
    // The fork asks for what only the database can tell once the new session is written.
    let fork = forked(desk.forking("s", 2, "y").await);
    let batch = [attach("e1"), create, fork, attach("e2")];
    let answers = join_all(batch.map(|proposal| desk.commit(proposal))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    desk.store.close().await;
}

/// Counts what it is told of the sessions of others.
#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Observer for Heard {
    fn committed(&self, changes: &Changes) {
        let names = changes.sessions.iter().map(|session| session.id.to_string());
        self.0.lock().expect("no panic").extend(names);
    }
}

impl Heard {
    fn of(store: &Postgres) -> (Arc<Self>, Arc<dyn Observer>) {
        let heard = Arc::new(Self::default());
        let observer: Arc<dyn Observer> = heard.clone();
        store.observe(&observer);
        (heard, observer)
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().expect("no panic").iter().any(|heard| heard == name)
    }

    /// Has the desk write to a session until it is heard of.
    async fn hears(&self, desk: &Desk, name: &str) {
        let start = Instant::now();
        let mut count = 0;
        while !self.has(name) {
            count += 1;
            desk.append(name, vec![f::event(&format!("{name}-{count}"))])
                .await;
            assert!(start.elapsed() < DEADLINE, "nothing is heard of {name}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_does_not_wait_for_a_reader() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema, 1).await;
    let other = schema.open().await;
    desk.create("s").await;
    desk.create("t").await;
    let (heard, _observer) = Heard::of(&store);
    let at_other = desk.beside(other.clone());
    heard.hears(&at_other, "t").await;
    let lent = store.pool.one("standing in the way").await.expect("there is one");
    for round in 0..10 {
        at_other.append("s", vec![f::event(&format!("o{round}"))]).await;
        let own = desk.append("s", vec![f::event(&format!("d{round}"))]);
        timeout(DEADLINE, own).await.expect("it waits for nobody");
    }
    lent.end::<(), crate::store::Error>(Ok(()))
        .await
        .expect("given back");
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_news_is_survived() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema, 2).await;
    let other = schema.open().await;
    let at_other = desk.beside(other.clone());
    for name in ["s", "t", "u"] {
        desk.create(name).await;
    }
    let (heard, _observer) = Heard::of(&store);
    heard.hears(&at_other, "s").await;
    let channel = news::channel(store.shared.salt);
    let flood = format!(
        "SELECT count(pg_notify('{channel}', 'x' || number || repeat('y', 1000))) FROM generate_series(1, 20000) AS number"
    );
    let writing = async {
        for at in 0..200 {
            desk.append("t", vec![f::event(&format!("d{at}"))]).await;
        }
    };
    futures_util::future::join(told(&flood), writing).await;
    heard.hears(&at_other, "u").await;
    store.close().await;
    other.close().await;
}

/// The last commits of a store that closes are told, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_last_is_told() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema, 2).await;
    let other = schema.open().await;
    let at_other = desk.beside(other.clone());
    desk.create("s").await;
    let (heard, _observer) = Heard::of(&store);
    heard.hears(&at_other, "s").await;
    let calls = (0..100).map(|at| {
        let id = format!("last{at}");
        async { at_other.create(&{ id }).await }
    });
    join_all(calls).await;
    other.close().await;
    let start = Instant::now();
    while !(0..100).all(|at| heard.has(&format!("last{at}"))) {
        assert!(start.elapsed() < DEADLINE, "some were not told");
        tokio::task::yield_now().await;
    }
    store.close().await;
}
