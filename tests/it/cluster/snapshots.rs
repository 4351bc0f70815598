//! A snapshot of a thread whose engine is attached to another replica: passed on whole, within the deadline, one hop
//! far.

use std::time::{Duration, SystemTime};

use prost::Message as _;
use sessiond::pb::client::snapshot_reply::Result as Reply;
use sessiond::pb::cluster::replica_service_client::ReplicaServiceClient;
use sessiond::pb::cluster::{Recipient, SnapshotFromEngineRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::{Grounds, Replica, SECRET};
use crate::support::build::{assistant, user};
use crate::support::engine::{holds, of_thread};
use crate::support::pb;
use crate::support::{Failure, Wire, refused, until, within};

anywhere! {
    is_taken_through_any_replica
    errors_come_back_whole
    the_deadline_is_passed_on
    what_was_passed_on_goes_no_further
    only_replicas_are_answered_and_only_where_they_ask
    an_engine_of_a_dead_replica_is_lost_then_not_attached
    a_replica_that_dies_in_mid_snapshot_leaves_nothing_by_half
    a_replica_that_dies_in_passing_a_snapshot_on_costs_nothing
}

/// A connection to what only replicas may call.
async fn internal(replica: &Replica) -> ReplicaServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(replica.internal.clone()).unwrap();
    ReplicaServiceClient::new(endpoint.connect().await.unwrap())
}

/// What one replica passes on to another.
fn passed_on(to: &Replica, request: &pb::SnapshotFromEngineRequest) -> SnapshotFromEngineRequest {
    SnapshotFromEngineRequest {
        to: Some(Recipient {
            replica: to.fence.replica.to_string(),
            incarnation: to.fence.incarnation,
        }),
        request: request.encode_to_vec().into(),
    }
}

/// A snapshot of the thread `t` that is taken once, however often it is asked for.
fn once() -> pb::SnapshotFromEngineRequest {
    pb::SnapshotFromEngineRequest {
        request_id: "once".into(),
        ..of_thread("t")
    }
}

fn with_secret<T>(message: T, secret: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {secret}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn is_taken_through_any_replica(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    let at_b = at_b.in_namespace(at_a.namespace());
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let held = || holds([user("hello"), assistant("so")]);
    let named = once();
    let (_, taken) = at_b.snapshot_by(&mut engine, named.clone(), held()).await;
    let taken = taken.unwrap();
    assert!(taken.created);
    assert_eq!(taken.message_count, 2);
    let session = taken.session.unwrap();
    assert_eq!(at_b.session(&session.session_id).await.message_count, 2);
    // A retry anywhere changes nothing and asks nobody.
    for client in [&at_a, &at_b] {
        let again = client.snapshot_from_engine(named.clone()).await.unwrap();
        assert_eq!(again.session.unwrap().session_id, session.session_id);
    }
    // Without a name: the one that changed last, wherever it is.
    let any = pb::SnapshotFromEngineRequest::default();
    let (asked, taken) = at_b.snapshot_by(&mut engine, any, held()).await;
    assert_eq!((asked.thread_id.as_str(), asked.known_messages), ("t", 2));
    assert!(!taken.unwrap().created);
    let listed = at_b.attached().await;
    assert_eq!(
        (listed[0].engine_id.as_str(), listed[0].replica.as_str()),
        ("e", "a")
    );
}

async fn errors_come_back_whole(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let mut seen = Vec::new();
    for client in [&at_a, &at_b] {
        let declines = async {
            let ask = engine.asked().await;
            let error = tonic_types::pb::Status {
                code: 8,
                message: "no memory left".into(),
                details: Vec::new(),
            };
            engine.replies(&ask.ask_id, Some(Reply::Error(error)), true).await;
        };
        let (_, declined) = tokio::join!(declines, client.snapshot_from_engine(of_thread("t")));
        seen.push(Failure::of(&declined.unwrap_err()));
    }
    let [here, there] = [&seen[0], &seen[1]];
    assert_eq!(
        (here.code, here.reason.as_str()),
        (Code::ResourceExhausted, "ENGINE_DECLINED")
    );
    assert_eq!(
        (here.code, &here.reason, &here.message),
        (there.code, &there.reason, &there.message)
    );
    // What is refused before anybody is asked is refused here.
    let unknown = at_b.snapshot_from_engine(of_thread("unknown")).await;
    refused(unknown, Code::NotFound, "THREAD_NOT_FOUND");
}

async fn the_deadline_is_passed_on(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let patience = Duration::from_secs(4);
    let mut request = Request::new(of_thread("t"));
    request.get_mut().namespace = at_b.namespace().to_owned();
    request.set_timeout(patience);
    let begun = SystemTime::now();
    let mut sessions = at_b.sessions();
    let (asked, answer) = tokio::join!(engine.asked(), sessions.snapshot_from_engine(request));
    let deadline = SystemTime::try_from(asked.deadline.unwrap()).unwrap();
    // Far less than an engine has for its answer.
    let latest = begun + patience + Duration::from_secs(5);
    assert!(deadline <= latest, "{:?}", deadline.duration_since(begun));
    // The client gives up by itself, too.
    let code = answer.unwrap_err().code();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&code),
        "{code:?}"
    );
}

async fn what_was_passed_on_goes_no_further(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let mut request = of_thread("t");
    request.namespace = at_a.namespace().to_owned();
    // To the replica that has not got the engine: it answers by itself, and the engine hears nothing.
    let passed = with_secret(passed_on(&b, &request), SECRET);
    let refused = internal(&b).await.snapshot_from_engine(passed).await;
    let failure = Failure::of(&refused.unwrap_err());
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::Unavailable, "ENGINE_LOST")
    );
    // To the one that has it: it is answered.
    let passed = with_secret(passed_on(&a, &request), SECRET);
    let mut client = internal(&a).await;
    let answers = async {
        let ask = engine.asked().await;
        engine.answers(&ask, holds([user("hello")])).await;
    };
    let (_, taken) = tokio::join!(answers, client.snapshot_from_engine(passed));
    let response = taken.unwrap().into_inner().response;
    let taken = pb::SnapshotFromEngineResponse::decode(response).unwrap();
    assert_eq!(taken.message_count, 1);
}

async fn only_replicas_are_answered_and_only_where_they_ask(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let request = passed_on(&a, &of_thread("t"));
    let code = |answer: Result<_, Status>| answer.map(drop).unwrap_err().code();
    let mut client = internal(&a).await;
    let without = client.snapshot_from_engine(request.clone()).await;
    assert_eq!(code(without), Code::Unauthenticated);
    for wrong in ["known-to-replica", "known-to-replicas-", "another-secret"] {
        let answer = client
            .snapshot_from_engine(with_secret(request.clone(), wrong))
            .await;
        assert_eq!(code(answer), Code::Unauthenticated, "{wrong}");
    }
    // The right one, meant for somebody else: the address may have been another replica's.
    let elsewhere = with_secret(passed_on(&b, &of_thread("t")), SECRET);
    assert_eq!(
        code(client.snapshot_from_engine(elsewhere).await),
        Code::Unavailable
    );
    let answer = client
        .snapshot_from_engine(with_secret(request.clone(), SECRET))
        .await;
    assert_eq!(code(answer), Code::NotFound, "there is no such thread");
    // A client's port does not know the service, secret or not.
    let mut outside = ReplicaServiceClient::new(at_a.channel());
    let answer = outside.snapshot_from_engine(with_secret(request, SECRET)).await;
    assert_eq!(code(answer), Code::Unimplemented);
}

async fn an_engine_of_a_dead_replica_is_lost_then_not_attached(grounds: Grounds) {
    let (mut a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    a.kill();
    let first = at_b.snapshot_from_engine(of_thread("t")).await;
    let first = Failure::of(&first.unwrap_err());
    assert!(
        ["ENGINE_LOST", "ENGINE_NOT_ATTACHED"].contains(&first.reason.as_str()),
        "{first:?}"
    );
    until("the lease has run out", async || {
        let answer = at_b.snapshot_from_engine(of_thread("t")).await;
        let failure = Failure::of(&answer.unwrap_err());
        (failure.reason == "ENGINE_NOT_ATTACHED").then_some(())
    })
    .await;
    // It comes back elsewhere, and is asked there.
    let mut engine = Wire::attach(&at_b, "e").await;
    engine.opens("t").await;
    let taken = at_b.snapshot(&mut engine, "t", holds([user("hello")]));
    assert_eq!(within("a snapshot", taken).await.message_count, 1);
}

async fn a_replica_that_dies_in_mid_snapshot_leaves_nothing_by_half(grounds: Grounds) {
    let (mut a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let request = once();
    // It is killed when half of the answer is there.
    let dies = async {
        let ask = engine.asked().await;
        engine.part(&ask, holds([user("hello")]), false).await;
        a.kill();
    };
    let (_, answer) = tokio::join!(dies, at_b.snapshot_from_engine(request.clone()));
    refused(answer, Code::Unavailable, "ENGINE_LOST");
    let sessions = at_b.listed(pb::ListSessionsRequest::default()).await;
    assert_eq!(sessions, [], "nothing is there by half");
    // Asked again once the engine is back, it is there as a whole, and once.
    let mut engine = Wire::attach(&at_b, "e").await;
    engine.opens("t").await;
    let held = holds([user("hello"), assistant("so")]);
    let (_, taken) = at_b.snapshot_by(&mut engine, request, held).await;
    assert_eq!(taken.unwrap().message_count, 2);
    assert_eq!(at_b.listed(pb::ListSessionsRequest::default()).await.len(), 1);
}

async fn a_replica_that_dies_in_passing_a_snapshot_on_costs_nothing(grounds: Grounds) {
    let (a, mut b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let request = once();
    let dies = async {
        let ask = engine.asked().await;
        b.kill();
        engine.answers(&ask, holds([user("hello")])).await;
    };
    let (_, answer) = tokio::join!(dies, at_b.snapshot_from_engine(request.clone()));
    answer.unwrap_err();
    // Whether the first was stored or called off, there is one session in the end.
    let again = async {
        let mut taking = std::pin::pin!(at_a.snapshot_from_engine(request));
        loop {
            tokio::select! {
                taken = &mut taking => return taken,
                ask = engine.asked() => engine.answers(&ask, holds([user("hello")])).await,
            }
        }
    };
    let taken = within("a snapshot", again).await.unwrap();
    assert_eq!(taken.message_count, 1);
    assert_eq!(at_a.listed(pb::ListSessionsRequest::default()).await.len(), 1);
}
