//! A call's deadline reaches the database: what runs there for that call alone ends with it, what was not begun is not
//! begun, and nobody else's call ends for it.

use std::time::Duration;

use tonic::Request;

use crate::support::build::says;
use crate::support::pb::{AppendItemsRequest, ListItemsRequest, Thread};
use crate::support::server::Setup;
use crate::support::{Client, Cluster, Code, Server, Status, until};

/// Shorter than any wait of the database's own, and long enough to be seen waiting.
const SHORT: Duration = Duration::from_millis(1_500);

const LOCK: &str = "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE";

/// A server whose statements end by nothing but their callers, and a client of it with a turn that runs.
async fn patient(cluster: &Cluster) -> (Server, Client, String, String) {
    let settings = [
        "SESSIOND_SEARCH_ENABLED=false",
        "SESSIOND_STORE_STATEMENT_TIMEOUT_S=3600",
    ];
    let runner = ["env"].into_iter().chain(settings).map(str::to_owned);
    let server = Server::start_with(Setup {
        runner: runner.collect(),
        ..Setup::on(cluster.url())
    })
    .await;
    let client = server.client().await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    client.add(&thread, &turn, vec![says("first")]).await;
    // So that there are connections which have prepared everything.
    tokio::join!(
        client.items(&thread),
        client.items(&thread),
        client.items(&thread)
    );
    (server, client, thread, turn)
}

/// How many statements wait for the table, but for those that only prepare a connection: these are nobody's.
async fn waiting(database: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
        JOIN pg_stat_activity AS a ON a.pid = l.pid \
        WHERE c.relname = 'items' AND NOT l.granted AND a.query NOT LIKE '%max(seq) FROM items%'";
    database.query_one(sql, &[]).await.unwrap().get(0)
}

async fn until_waiting(database: &tokio_postgres::Client, number: i64) {
    until("so many statements wait", async || {
        (waiting(database).await == number).then_some(())
    })
    .await;
}

/// A request under a short deadline.
fn hasty<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(SHORT);
    request
}

/// That a call has ended by its deadline; the client gives up at the same time, and then calls it CANCELLED.
#[track_caller]
fn is_late<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let code = answer.expect_err("it could not be done in time").code();
    assert!(
        matches!(code, Code::DeadlineExceeded | Code::Cancelled),
        "{code:?}"
    );
}

fn adding(client: &Client, thread: &str, turn: &str) -> AppendItemsRequest {
    AppendItemsRequest {
        namespace: client.namespace().into(),
        thread_id: thread.into(),
        turn_id: turn.into(),
        items: vec![says("in haste")],
        ..Default::default()
    }
}

#[tokio::test]
async fn what_runs_for_a_call_ends_with_its_deadline() {
    let cluster = Cluster::start();
    let (server, client, thread, turn) = patient(&cluster).await;
    let database = cluster.connect().await;
    database.batch_execute(LOCK).await.unwrap();

    let list = ListItemsRequest {
        namespace: client.namespace().into(),
        thread_id: thread.clone(),
        ..Default::default()
    };
    let mut threads = client.threads();
    let (read, ()) = tokio::join!(threads.list_items(hasty(list)), until_waiting(&database, 1));
    is_late(read);
    until_waiting(&database, 0).await;

    let mut threads = client.threads();
    let (written, ()) = tokio::join!(
        threads.append_items(hasty(adding(&client, &thread, &turn))),
        until_waiting(&database, 1)
    );
    is_late(written);
    until_waiting(&database, 0).await;
    let said = "longer than any of its callers waited";
    until("it is not the lock's own timeout", async || {
        server.log().contains(said).then_some(())
    })
    .await;

    database.batch_execute("COMMIT").await.unwrap();
    client.add(&thread, &turn, vec![says("second")]).await;
    assert_eq!(client.items(&thread).await.len(), 2);
}

#[tokio::test]
async fn a_hasty_call_ends_nothing_for_a_patient_one() {
    let cluster = Cluster::start();
    let (_server, client, thread, turn) = patient(&cluster).await;
    let database = cluster.connect().await;
    database.batch_execute(LOCK).await.unwrap();

    let patient = tokio::spawn({
        let (client, thread, turn) = (client.clone(), thread.clone(), turn.clone());
        async move { client.add_or(&thread, &turn, vec![says("second")]).await }
    });
    until_waiting(&database, 1).await;
    // It waits for the lane of its thread, behind the patient one.
    let mut threads = client.threads();
    is_late(threads.append_items(hasty(adding(&client, &thread, &turn))).await);
    database.batch_execute("COMMIT").await.unwrap();
    patient.await.unwrap().unwrap();
    // Behind it in the same lane.
    client.add(&thread, &turn, vec![says("third")]).await;
    assert_eq!(client.items(&thread).await.len(), 3, "it was not begun");
}
