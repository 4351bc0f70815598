//! Connections that are lost, servers that take no more, lanes that panic: what writes comes back by itself, and nothing
//! fails that need not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;

use super::{InSchema, told};
use crate::domain::fixture as f;
use crate::store::conformance::desk::{Desk, appending};
use crate::store::postgres::lane::recovery;
use crate::store::postgres::{Migrate, Options, Postgres};
use crate::store::{Changes, Error, Observer, Store as _};

/// How long a store has to notice something, and to come back.
const DEADLINE: Duration = Duration::from_secs(30);

/// A desk at a store with one lane, whose connections bear the name of its schema.
async fn desk(schema: &InSchema) -> (Desk, Arc<Postgres>) {
    let mut desk = Desk::at(schema).await;
    desk.store.close().await;
    let options = Options {
        lanes: 1,
        readers: 2,
        replica: schema.0.clone(),
        ..Options::default()
    };
    let store = Postgres::open(&schema.url(), &options).await.expect("opened");
    let store = Arc::new(store);
    desk.store = store.clone();
    desk.create("s").await;
    (desk, store)
}

/// Has the database run `body` before, or at the end of the transaction after, each entry is written.
async fn tripping(schema: &InSchema, when: &str, body: &str) {
    let name = &schema.0;
    told(&format!(
        "CREATE SEQUENCE {name}.trips; \
         CREATE FUNCTION {name}.trip() RETURNS trigger LANGUAGE plpgsql AS \
         $$ DECLARE trips text := '{name}.trips'; BEGIN {body} RETURN NEW; END $$; \
         CREATE {when} ON {name}.entries {}FOR EACH ROW EXECUTE FUNCTION {name}.trip()",
        if when.starts_with("CONSTRAINT") {
            "DEFERRABLE INITIALLY DEFERRED "
        } else {
            ""
        }
    ))
    .await;
}

const BEFORE: &str = "TRIGGER trip BEFORE INSERT";
const AT_COMMIT: &str = "CONSTRAINT TRIGGER trip AFTER INSERT";

const LOST: &str = "PERFORM pg_terminate_backend(pg_backend_pid());";

fn raised(code: &str) -> String {
    format!("RAISE EXCEPTION 'no' USING ERRCODE = '{code}';")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < DEADLINE, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_before_its_commit_begins_again_once() {
    for (failure, times) in [
        (LOST.to_owned(), 1),
        (raised("25006"), 1),
        (raised("26000"), 1),
        (raised("40001"), 5),
    ] {
        let schema = InSchema::new().await;
        let (desk, _) = desk(&schema).await;
        let body = format!("IF nextval(trips) <= {times} THEN {failure} END IF;");
        tripping(&schema, BEFORE, &body).await;
        desk.append("s", vec![f::event("e")]).await;
        assert_eq!(desk.ids("s").await, ["e"], "{failure}");
        desk.store.close().await;
    }
    let schema = InSchema::new().await;
    let (desk, _) = desk(&schema).await;
    tripping(
        &schema,
        BEFORE,
        &format!("IF nextval(trips) <= 2 THEN {LOST} END IF;"),
    )
    .await;
    let answer = desk.commit(appending("s", vec![f::event("e")])).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    desk.append("s", vec![f::event("e")]).await;
    desk.store.close().await;
}

/// All that come at once are one batch.
#[tokio::test]
async fn one_that_is_taken_back_for_ever_fails_alone() {
    let schema = InSchema::new().await;
    let (desk, _) = desk(&schema).await;
    let body = format!("IF NEW.entry_id = 'bad' THEN {} END IF;", raised("40001"));
    tripping(&schema, BEFORE, &body).await;
    let names = ["a", "b", "bad", "c"];
    let calls = names.map(|name| desk.commit(appending("s", vec![f::event(name)])));
    let answers = join_all(calls).await;
    let done: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, true, false, true], "{answers:?}");
    desk.store.close().await;
}

/// Notes who was told of; panics once, when it is told to.
#[derive(Debug, Default)]
struct Noting {
    sessions: Mutex<BTreeSet<String>>,
    panics: AtomicBool,
}

impl Observer for Noting {
    fn committed(&self, changes: &Changes) {
        assert!(!self.panics.swap(false, Ordering::AcqRel), "as it was told to");
        let names = changes.sessions.iter().map(|session| session.id.to_string());
        self.sessions.lock().expect("no panic").extend(names);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_outlives_a_panic() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema).await;
    let noting = Arc::new(Noting::default());
    let observer: Arc<dyn Observer> = noting.clone();
    store.observe(&observer);
    noting.panics.store(true, Ordering::Release);
    let answer = desk.commit(appending("s", vec![f::event("a")])).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    desk.append("s", vec![f::event("b")]).await;
    store.check().await.expect("it writes");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_commit_may_have_stored_is_looked_at() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema).await;
    let noting = Arc::new(Noting::default());
    let observer: Arc<dyn Observer> = noting.clone();
    store.observe(&observer);
    tripping(&schema, AT_COMMIT, LOST).await;
    let answer = desk.commit(appending("s", vec![f::event("a")])).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    until("nobody looks", async || {
        noting.sessions.lock().expect("no panic").contains("s")
    })
    .await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_noticed_though_nobody_writes() {
    let schema = InSchema::new().await;
    let (desk, store) = desk(&schema).await;
    let name = &schema.0;
    // Nothing can be prepared where there are no tables: nobody can connect anew.
    told(&format!(
        "ALTER SCHEMA {name} RENAME TO {name}_away; \
         SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sessiond/{name}'"
    ))
    .await;
    until("it is still well", async || store.check().await.is_err()).await;
    let answer = desk.commit(appending("s", vec![f::event("a")])).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    told(&format!("ALTER SCHEMA {name}_away RENAME TO {name}")).await;
    until("it stays away", async || store.check().await.is_ok()).await;
    desk.append("s", vec![f::event("a")]).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_does_not_go_on_in_another_store() {
    let schema = InSchema::new().await;
    let (_, store) = desk(&schema).await;
    recovery::connected(&store.shared).await.expect("it is the same");
    let name = &schema.0;
    told(&format!(
        "ALTER SCHEMA {name} RENAME TO {name}_away; CREATE SCHEMA {name}"
    ))
    .await;
    Postgres::migrate(&schema.url(), Migrate::Yes)
        .await
        .expect("made");
    let error = recovery::connected(&store.shared)
        .await
        .expect_err("it is another");
    assert!(format!("{error:?}").contains("another store"), "{error:?}");
    told(&format!("DROP SCHEMA {name}_away CASCADE")).await;
}
