//! Engines and servers that go away in mid-seed: what was acknowledged counts, and READY is never said too early.

use super::{chat, stored, texts};
use crate::support::engine::{configured, quick};
use crate::support::pb::{ResumeRequest, ResumeState};
use crate::support::resume::{of_session, on_engine};
use crate::support::{Client, Code, Wire};

/// Takes the beginning of a seed and acknowledges a part of it.
async fn half(client: &Client, engine: &mut Wire, resume_id: &str) -> String {
    let begin = engine.begun().await;
    engine.batch().await;
    engine.acks(&begin.seed_id, 60).await;
    client.written(resume_id, 60).await;
    begin.seed_id
}

#[tokio::test]
async fn a_named_engine_is_awaited_and_goes_on_where_it_was() {
    let client = quick().await;
    let mut engine = Wire::attach(&client, "one").await;
    let mut other = Wire::attach(&client, "two").await;
    let session = stored(&client, 150).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let seed = half(&client, &mut engine, &started.resume_id).await;
    let mut again = Wire::attach(&client, "one").await;
    let begin = again.begun().await;
    assert_eq!((&begin.seed_id, begin.items_total), (&seed, 150));
    let batch = again.batch().await;
    assert_eq!((batch.first_index, batch.messages.len()), (60, 90));
    assert_eq!(texts(&batch.messages), texts(&chat(150)[60..]));
    again.acks(&seed, 150).await;
    assert_eq!(again.committed().await, seed);
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(
        (end.state(), end.attempt, end.engine_id.as_str()),
        (ResumeState::Ready, 2, "one")
    );
    assert_eq!(client.thread(&end.thread_id).await.epoch, again.epoch);
    // The other one heard nothing of it all.
    client.resuming(on_engine(&stored(&client, 2).await, "two")).await;
    assert_eq!(other.begun().await.items_total, 2);
}

#[tokio::test]
async fn a_named_engine_that_does_not_come_back_fails_it() {
    let client = quick().await;
    let mut engine = Wire::attach(&client, "one").await;
    let _other = Wire::attach(&client, "two").await;
    let session = stored(&client, 150).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    half(&client, &mut engine, &started.resume_id).await;
    drop(engine);
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(end.state(), ResumeState::Failed);
    assert_eq!(end.error.unwrap().code, Code::Unavailable as i32);
    assert!(client.all_threads().await.is_empty());
    assert!(client.session(&session).await.thread_id.is_empty());
}

#[tokio::test]
async fn another_engine_takes_it_from_the_beginning() {
    let client = quick().await;
    let mut one = Wire::attach(&client, "one").await;
    let session = stored(&client, 150).await;
    let request = ResumeRequest {
        require_engine: true,
        ..of_session(&session)
    };
    let started = client.resuming(request).await;
    half(&client, &mut one, &started.resume_id).await;
    let mut two = Wire::attach(&client, "two").await;
    drop(one);
    let (_, messages) = two.takes_over().await;
    assert_eq!(texts(&messages), texts(&chat(150)));
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(
        (end.state(), end.attempt, end.engine_id.as_str()),
        (ResumeState::Ready, 2, "two")
    );
}

#[tokio::test]
async fn three_attempts_are_enough() {
    let client = quick().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 150).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    for attempt in 1..=3 {
        engine.begun().await;
        assert_eq!(client.progress(&started.resume_id).await.attempt, attempt);
        engine = Wire::attach(&client, "one").await;
    }
    let end = client.end_of(&started.resume_id).await;
    assert_eq!((end.state(), end.attempt), (ResumeState::Failed, 3));
    assert_eq!(end.error.unwrap().code, Code::Unavailable as i32);
    assert!(client.all_threads().await.is_empty());
}

#[tokio::test]
async fn a_restart_in_mid_seed_carries_on() {
    let mut server = configured("[engines]\nheartbeat_ms = 1000\n").await;
    let client = server.client().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 150).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let seed = half(&client, &mut engine, &started.resume_id).await;
    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    let progress = client.progress(&started.resume_id).await;
    assert!(
        matches!(progress.state(), ResumeState::Seeding | ResumeState::Queued),
        "{progress:?}"
    );
    assert!(client.session(&session).await.thread_id.is_empty());
    let mut again = Wire::attach(&client, "one").await;
    assert_eq!(again.begun().await.seed_id, seed);
    assert_eq!(again.batch().await.first_index, 60);
    again.acks(&seed, 150).await;
    again.committed().await;
    let end = client.end_of(&started.resume_id).await;
    assert_eq!((end.state(), end.items_written), (ResumeState::Ready, 150));

    // The end stands after another one.
    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(client.end_of(&started.resume_id).await, end);
    assert_eq!(client.all_threads().await.len(), 1);
}

#[tokio::test]
async fn after_a_restart_an_engine_that_stays_away_fails_it() {
    let mut server = configured("[engines]\nheartbeat_ms = 200\n").await;
    let client = server.client().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 150).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    half(&client, &mut engine, &started.resume_id).await;
    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(end.state(), ResumeState::Failed);
    assert!(client.all_threads().await.is_empty());
    assert!(client.session(&session).await.thread_id.is_empty());
}
