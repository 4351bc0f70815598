//! SIGTERM: calls finish or are told to come again, nothing acknowledged is lost, and the process ends with 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::build::{entries, named, user};
use crate::support::pb::{AppendEntriesRequest, ReadMessagesRequest};
use crate::support::wait::DEADLINE;
use crate::support::{Client, Code, Server, Status, until, within};

const WRITERS: usize = 8;
/// Answers before the server is asked to stop.
const ANSWERS: u64 = 200;
/// Messages of half a mebibyte in a session that no window holds.
const LARGE: usize = 16;

/// An error that a caller may get while the server goes away: nothing else than that it is gone for now.
fn is_gone(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// A session that is too large for what a client receives without reading.
async fn large(client: &Client) -> String {
    let id = client.blank().await;
    let half = "m".repeat(1 << 19);
    for n in 0..LARGE / 4 {
        client
            .append(
                &id,
                entries((0..4).map(|m| named(&format!("{n}-{m}"), user(&half)))),
            )
            .await;
    }
    id
}

async fn unread(client: &Client, id: &str) -> tonic::Streaming<crate::support::pb::ReadMessagesResponse> {
    let request = ReadMessagesRequest {
        namespace: client.namespace().into(),
        session_id: id.into(),
        ..Default::default()
    };
    client
        .sessions()
        .read_messages(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let (answers, stopping) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, answers, stopping) =
            (server.client_of(&client).await, answers.clone(), stopping.clone());
        let id = client.blank().await;
        writing.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let entry_id = format!("{writer}-{n}");
                let request = AppendEntriesRequest {
                    session_id: id.clone(),
                    entries: entries([named(&entry_id, user(&entry_id))]),
                    request_id: entry_id.clone(),
                    ..Default::default()
                };
                match client.append_entries(request).await {
                    Ok(_) => {
                        acknowledged.push(entry_id);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(status) => {
                        assert!(
                            stopping.load(Ordering::Relaxed),
                            "before it was asked to stop: {status:?}"
                        );
                        assert!(is_gone(&status), "{status:?}");
                        break;
                    }
                }
            }
            (id, acknowledged)
        });
    }
    until("the writers get their answers", async || {
        (answers.load(Ordering::Relaxed) >= ANSWERS).then_some(())
    })
    .await;
    stopping.store(true, Ordering::Relaxed);
    server.stop().await;
    server.restart().await;
    let client = server.client_of(&client).await;
    while let Some(writer) = writing.join_next().await {
        let (id, acknowledged) = writer.unwrap();
        let found: Vec<_> = client
            .entries(&id)
            .await
            .into_iter()
            .map(|entry| entry.entry_id)
            .collect();
        let more = found.len() - acknowledged.len();
        assert!(
            found.starts_with(&acknowledged) && more <= 1,
            "{found:?} against {acknowledged:?}"
        );
    }
}

#[tokio::test]
async fn health_says_that_it_goes() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = large(&client).await;
    let mut health = HealthClient::new(client.channel());
    let mut watches = Vec::new();
    for service in [
        "",
        "sessiond.v1.SessionService",
        "sessiond.v1.ThreadService",
        "sessiond.v1.EngineService",
    ] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        let first = within("health answers", watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving, "{service:?}");
        watches.push(watch);
    }
    let busy = unread(&client, &id).await;
    server.terminate();
    for watch in &mut watches {
        let next = within("health answers", watch.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
    drop(busy);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn idle_connections_and_watchers_do_not_hold_it_up() {
    let mut server = Server::start().await;
    let idle = server.client().await;
    idle.blank().await;
    let mut health = HealthClient::new(server.client().await.channel());
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();
    let start = Instant::now();
    server.stop().await;
    assert!(start.elapsed().as_secs() < 8, "it took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_call_in_flight_is_answered() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = large(&client).await;
    let mut stream = unread(&client, &id).await;
    let first = within("the stream begins", stream.message())
        .await
        .unwrap()
        .unwrap()
        .messages
        .len();
    server.terminate();
    until("it is about to stop", async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    let mut read = first;
    while let Some(answer) = within("the stream goes on", stream.message()).await.unwrap() {
        read += answer.messages.len();
    }
    assert_eq!(read, LARGE, "a stream that had begun is read to its end");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_safely() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = large(&client).await;
    let _blocked = unread(&client, &id).await;
    server.terminate();
    until("it is about to stop", async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    server.terminate();
    let start = Instant::now();
    assert_eq!(server.ended().await.code(), Some(128 + 15));
    assert!(start.elapsed() < DEADLINE / 10, "it took {:?}", start.elapsed());
    server.restart().await;
    assert_eq!(server.client_of(&client).await.messages(&id).await.len(), LARGE);
}

#[tokio::test]
async fn new_calls_are_told_to_come_again() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = large(&client).await;
    let mut blocked = unread(&client, &id).await;
    within("the stream begins", blocked.message()).await.unwrap();
    server.terminate();
    until("it is about to stop", async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    let late = client.session_or(&id).await;
    if let Err(status) = late {
        assert!(is_gone(&status), "{status:?}");
    }
    drop(blocked);
    assert_eq!(server.ended().await.code(), Some(0));
}
