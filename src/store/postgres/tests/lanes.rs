//! Lanes: what one proposal waits for holds up others for a bounded time only.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio_postgres::NoTls;

use super::{InSchema, cluster, told};
use crate::domain::fixture as f;
use crate::store::conformance::desk::{Desk, appending, starting};

const DEADLINE: Duration = Duration::from_secs(60);

/// Less than a store waits for what does not end.
const CLOSES_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_holds_up_nobody_else() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    desk.create_thread("t").await;
    let sessions: Vec<String> = (0..8).map(|at| format!("s{at}")).collect();
    for session in &sessions {
        desk.create(session).await;
    }
    let (locking, connection) = tokio_postgres::connect(cluster(), NoTls)
        .await
        .expect("it is there");
    tokio::spawn(connection);
    let lock = format!("BEGIN; LOCK TABLE {}.turns IN ACCESS EXCLUSIVE MODE", schema.0);
    locking.batch_execute(&lock).await.expect("it is locked");
    let (store, now) = (desk.store.clone(), desk.now());
    let blocked = tokio::spawn(async move { store.commit(starting("t", "u"), now).await });
    let waiting = format!(
        "SELECT count(*) FROM pg_locks WHERE relation = '{}.turns'::regclass AND NOT granted",
        schema.0
    );
    let waits = async { while told(&waiting).await == 0 {} };
    tokio::time::timeout(DEADLINE, waits).await.expect("it waits");

    // In either lane, behind it or not.
    let appends = sessions.iter().map(|session| {
        let append = appending(session, vec![f::event("e")]);
        desk.commit(append)
    });
    for answer in join_all(appends).await {
        answer.expect("it has nothing to do with that");
    }
    assert!(!blocked.is_finished(), "nobody had to wait for it to be refused");
    locking.batch_execute("COMMIT").await.expect("it is unlocked");
    let answer = blocked.await.expect("it ends");
    answer.expect("it is done when it can be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_closes_though_somebody_does_not_take_his_answer() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    desk.create("s").await;
    let mut left = Box::pin(desk.commit(appending("s", vec![f::event("e")])));
    assert!((&mut left).now_or_never().is_none(), "it has to be waited for");
    let closing = tokio::time::timeout(CLOSES_WITHIN, desk.store.close());
    closing.await.expect("nobody has to be waited for");
    left.await.expect("it is stored");
}
