//! A call's deadline reaches the database: what runs there for that call alone ends with it, what was not begun is not
//! begun, and nobody else's call ends for it.

use std::time::Duration;

use tonic::Request;

use crate::support::pb::{GetThreadRequest, StartTurnRequest, Thread, UpdateThreadRequest};
use crate::support::server::Setup;
use crate::support::{Client, Cluster, Code, Server, Status, until};

/// Shorter than any wait of the database's own, and long enough to be seen waiting.
const SHORT: Duration = Duration::from_millis(1_500);

/// A server that looks at nothing by itself while a test goes on.
async fn quiet(cluster: &Cluster) -> Server {
    let settings = ["SESSIOND_SEARCH_ENABLED=false", "SESSIOND_UPKEEP_INTERVAL_S=3600"];
    let runner = ["env"].into_iter().chain(settings).map(str::to_owned);
    Server::start_with(Setup {
        runner: runner.collect(),
        ..Setup::on(cluster.url())
    })
    .await
}

/// Statements that wait for the table of threads.
async fn waiting(database: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
        WHERE c.relname = 'threads' AND NOT l.granted";
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

fn start(client: &Client, thread: &str) -> StartTurnRequest {
    StartTurnRequest {
        namespace: client.namespace().into(),
        thread_id: thread.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_runs_for_a_call_ends_with_its_deadline() {
    let cluster = Cluster::start();
    let server = quiet(&cluster).await;
    let client = server.client().await;
    let thread = client.open(Thread::default()).await;
    let database = cluster.connect().await;
    let lock = "BEGIN; LOCK TABLE threads IN ACCESS EXCLUSIVE MODE";
    database.batch_execute(lock).await.unwrap();

    let get = GetThreadRequest {
        namespace: client.namespace().into(),
        thread_id: thread.clone(),
    };
    let mut threads = client.threads();
    let (read, ()) = tokio::join!(threads.get_thread(hasty(get)), until_waiting(&database, 1));
    is_late(read);
    until_waiting(&database, 0).await;

    let mut threads = client.threads();
    let begin = threads.start_turn(hasty(start(&client, &thread)));
    let (written, ()) = tokio::join!(begin, until_waiting(&database, 1));
    is_late(written);
    until_waiting(&database, 0).await;
    assert!(
        server.log().contains("longer than any of its callers waited"),
        "it was not the lock's own timeout"
    );

    database.batch_execute("COMMIT").await.unwrap();
    assert_eq!(client.thread(&thread).await.turn_count, 0);
    client.start(&thread).await;
}

#[tokio::test]
async fn a_hasty_call_ends_nothing_for_a_patient_one() {
    let cluster = Cluster::start();
    let server = quiet(&cluster).await;
    let client = server.client().await;
    let thread = client.open(Thread::default()).await;
    let database = cluster.connect().await;
    let lock = "BEGIN; LOCK TABLE threads IN ACCESS EXCLUSIVE MODE";
    database.batch_execute(lock).await.unwrap();

    let patient = tokio::spawn({
        let (client, thread) = (client.clone(), thread.clone());
        async move { client.start_or(&thread).await }
    });
    until_waiting(&database, 1).await;
    // It waits for the lane of its thread, behind the patient one.
    let update = UpdateThreadRequest {
        namespace: client.namespace().into(),
        thread: Some(Thread {
            thread_id: thread.clone(),
            title: "in haste".into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["title".into()],
        }),
        ..Default::default()
    };
    is_late(client.threads().update_thread(hasty(update)).await);
    database.batch_execute("COMMIT").await.unwrap();
    let turn = patient.await.unwrap().unwrap();
    // Behind it in the same lane.
    client.finish(&thread, &turn.turn_id).await;
    assert_eq!(client.thread(&thread).await.title, "", "it was not begun");
}
