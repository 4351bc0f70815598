//! Messages on their way into an engine: batches, the window, what counts, and how many seeds run.

use super::{chat, stored, texts};
use crate::support::build::{entry, user};
use crate::support::engine::{configured, hello};
use crate::support::pb::{Hello, ResumeState};
use crate::support::resume::on_engine;
use crate::support::{Wire, shared, until};

#[tokio::test]
async fn batches_have_a_hundred_messages_at_most_and_only_acknowledged_ones_count() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 350).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    assert_eq!(begin.items_total, 350);
    let mut messages = Vec::new();
    while messages.len() < 350 {
        let batch = engine.batch().await;
        assert_eq!(batch.first_index, messages.len() as i64);
        assert!((1..=100).contains(&batch.messages.len()));
        messages.extend(batch.messages);
    }
    assert_eq!(texts(&messages), texts(&chat(350)));
    let progress = client.progress(&started.resume_id).await;
    assert_eq!(
        (progress.state(), progress.items_written),
        (ResumeState::Seeding, 0),
        "sent is not acknowledged"
    );
    assert!(client.session(&session).await.thread_id.is_empty());
    for items in [1, 70, 349] {
        engine.acks(&begin.seed_id, items).await;
        client.written(&started.resume_id, items).await;
    }
    // One that counts less than before says nothing.
    engine.acks(&begin.seed_id, 5).await;
    engine.acks("another", 350).await;
    assert_eq!(
        client.progress(&started.resume_id).await.state(),
        ResumeState::Seeding
    );
    engine.acks(&begin.seed_id, 350).await;
    assert_eq!(engine.committed().await, begin.seed_id);
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(
        (end.state(), end.items_written, end.attempt),
        (ResumeState::Ready, 350, 1)
    );
    let thread = client.thread(&end.thread_id).await;
    assert_eq!(
        (thread.engine_id.as_str(), thread.epoch, &thread.session_id),
        ("one", engine.epoch, &session)
    );
    assert_eq!(client.session(&session).await.thread_id, end.thread_id);
}

#[tokio::test]
async fn a_window_of_messages_is_never_passed() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 1_500).await;
    client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    let mut had = 0;
    while had < 1_000 {
        had += engine.batch().await.messages.len();
    }
    assert_eq!(had, 1_000);
    // Nothing comes until something is acknowledged: the next frame is the one after this acknowledgement.
    engine.acks(&begin.seed_id, 100).await;
    let next = engine.batch().await;
    assert_eq!((next.first_index, next.messages.len()), (1_000, 100));
}

#[tokio::test]
async fn more_than_was_sent_cannot_be_acknowledged() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    engine.acks(&begin.seed_id, 3).await;
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(end.state(), ResumeState::Failed);
    assert!(client.all_threads().await.is_empty());
}

#[tokio::test]
async fn a_message_that_comes_meanwhile_is_seeded_too() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    client.append(&session, vec![entry(user("meanwhile"))]).await;
    engine.acks(&begin.seed_id, 2).await;
    assert_eq!(engine.called_off().await, begin.seed_id);
    let (_, messages) = engine.takes_over().await;
    assert_eq!(texts(&messages).last().unwrap(), "meanwhile");
    let end = client.end_of(&started.resume_id).await;
    assert_eq!((end.state(), end.items_written), (ResumeState::Ready, 3));
}

#[tokio::test]
async fn an_engine_gets_no_more_seeds_than_it_takes() {
    let client = shared().await;
    let one_at_a_time = Hello {
        max_seeds: 1,
        ..hello("one")
    };
    let mut engine = Wire::greet(&client, one_at_a_time).await.unwrap();
    let (first, second) = (stored(&client, 2).await, stored(&client, 2).await);
    let first = client.resuming(on_engine(&first, "one")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    let second = client.resuming(on_engine(&second, "one")).await;
    until("it seeds one", async || {
        (client.attached().await[0].seeds == 1).then_some(())
    })
    .await;
    let waiting = client.progress(&second.resume_id).await;
    assert_eq!((waiting.state(), waiting.start_time), (ResumeState::Queued, None));
    engine.acks(&begin.seed_id, 2).await;
    engine.committed().await;
    engine.takes_over().await;
    for resume in [first, second] {
        assert_eq!(client.end_of(&resume.resume_id).await.state(), ResumeState::Ready);
    }
}

#[tokio::test]
async fn no_more_seeds_run_in_all_than_are_configured() {
    let server = configured("[engines]\nseeds_max = 1\n").await;
    let client = server.client().await;
    let mut one = Wire::attach(&client, "one").await;
    let mut two = Wire::attach(&client, "two").await;
    let (first, second) = (stored(&client, 2).await, stored(&client, 2).await);
    let first = client.resuming(on_engine(&first, "one")).await;
    one.begun().await;
    let second = client.resuming(on_engine(&second, "two")).await;
    assert_eq!(
        client.progress(&second.resume_id).await.state(),
        ResumeState::Queued
    );
    client.cancel(&first.resume_id).await;
    two.takes_over().await;
    assert_eq!(client.end_of(&second.resume_id).await.state(), ResumeState::Ready);
    // One that waits can be called off too.
    let (third, fourth) = (stored(&client, 2).await, stored(&client, 2).await);
    client.resuming(on_engine(&third, "two")).await;
    two.begun().await;
    let waiting = client.resuming(on_engine(&fourth, "one")).await;
    assert_eq!(
        client.cancel(&waiting.resume_id).await.state(),
        ResumeState::Canceled
    );
}
