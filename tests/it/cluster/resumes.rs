//! Resumes that are asked for here, driven where the engine is, watched anywhere, and carried on with by others.

use sessiond::pb::client::watch_resume_request::Target;

use tokio_stream::wrappers::ReceiverStream;

use super::{Grounds, Replica};
use crate::support::build::{assistant, user};
use crate::support::pb::{self, ResumeState};
use crate::support::resume::{of_session, on_engine};
use crate::support::{Client, Wire, transfer, until};

anywhere! {
    is_driven_where_the_engine_is_and_watched_anywhere
    goes_on_after_its_replica_died_and_sends_nothing_again
    goes_on_elsewhere_when_its_replica_stops
    another_engine_elsewhere_takes_what_a_dead_replicas_engine_had
    is_called_off_from_anywhere
    is_shared_out_among_engines_of_all_replicas
    what_an_engine_holds_is_not_sent_again_though_nobody_wrote_it_down
    those_asked_for_at_once_anywhere_end_in_one_thread
    goes_on_elsewhere_while_its_replica_still_answers_calls
}

/// A session of so many messages.
async fn stored(client: &Client, messages: usize) -> String {
    let said = (0..messages).map(|at| {
        if at % 2 == 0 {
            user(&format!("message {at}"))
        } else {
            assistant("so")
        }
    });
    client.holding(said).await
}

async fn is_driven_where_the_engine_is_and_watched_anywhere(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let c = Replica::start(&grounds, "c").await;
    let at_a = a.client().await;
    let (at_b, at_c) = (b.client_of(&at_a).await, c.client_of(&at_a).await);
    let mut engine = Wire::attach(&at_a, "e").await;
    for request in [
        on_engine(&stored(&at_b, 250).await, "e"),
        of_session(&stored(&at_b, 3).await),
    ] {
        let session = request.session_id.clone();
        let started = at_b.resuming(request).await;
        let (taken, seen) = tokio::join!(
            engine.takes_over(),
            at_c.watched(Target::ResumeId(started.resume_id.clone()))
        );
        let end = seen.last().unwrap();
        assert_eq!(
            (end.state(), end.engine_id.as_str(), end.attempt),
            (ResumeState::Ready, "e", 1)
        );
        assert_eq!(end.items_written, taken.1.len() as u64);
        let there = at_b.end_of(&started.resume_id).await;
        assert_eq!(there.state(), ResumeState::Ready);
        let thread = at_c.thread(&end.thread_id).await;
        assert_eq!((thread.engine_id.as_str(), thread.session_id), ("e", session));
    }
}

async fn goes_on_after_its_replica_died_and_sends_nothing_again(grounds: Grounds) {
    let (mut a, b) = grounds.pair().await;
    let c = Replica::start(&grounds, "c").await;
    let at_a = a.client().await;
    let (at_b, at_c) = (b.client_of(&at_a).await, c.client_of(&at_a).await);
    let mut engine = Wire::attach(&at_a, "e").await;
    let session = stored(&at_a, 250).await;
    let started = at_a.resuming(on_engine(&session, "e")).await;
    let begin = engine.begun().await;
    let first = engine.batch().await;
    assert_eq!(first.messages.len(), 100);
    engine.acks(&begin.seed_id, 100).await;
    at_b.written(&started.resume_id, 100).await;
    a.kill();
    let watching = at_c.watched(Target::ResumeId(started.resume_id.clone()));
    // The engine comes back elsewhere; whichever replica took over finds it there.
    let goes_on = async {
        let mut engine = Wire::attach(&at_b, "e").await;
        let again = engine.begun().await;
        assert_eq!((&again.seed_id, again.items_total), (&begin.seed_id, 250));
        let mut messages = first.messages;
        while messages.len() < 250 {
            let batch = engine.batch().await;
            assert_eq!(
                batch.first_index,
                messages.len() as i64,
                "what is acknowledged stays"
            );
            messages.extend(batch.messages);
            engine.acks(&begin.seed_id, messages.len() as u64).await;
        }
        assert_eq!(engine.committed().await, begin.seed_id);
        assert_eq!(messages, at_b.context(&session).await);
    };
    let (seen, ()) = tokio::join!(watching, goes_on);
    let end = seen.last().unwrap();
    assert_eq!(
        (end.state(), end.attempt, end.items_written),
        (ResumeState::Ready, 1, 250)
    );
}

async fn goes_on_elsewhere_when_its_replica_stops(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    let session = stored(&at_a, 4).await;
    let started = at_a.resuming(on_engine(&session, "e")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    a.stop().await;
    let mut engine = Wire::attach(&at_b, "e").await;
    let again = engine.begun().await;
    assert_eq!(again.seed_id, begin.seed_id);
    let batch = engine.batch().await;
    assert_eq!((batch.first_index, batch.messages.len()), (0, 4));
    engine.acks(&begin.seed_id, 4).await;
    assert_eq!(engine.committed().await, begin.seed_id);
    assert_eq!(at_b.end_of(&started.resume_id).await.state(), ResumeState::Ready);
}

async fn another_engine_elsewhere_takes_what_a_dead_replicas_engine_had(grounds: Grounds) {
    let (mut a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut one = Wire::attach(&at_a, "one").await;
    let session = stored(&at_a, 4).await;
    let request = pb::ResumeRequest {
        require_engine: true,
        ..of_session(&session)
    };
    let started = at_a.resuming(request).await;
    let begin = one.begun().await;
    let mut two = Wire::attach(&at_b, "two").await;
    a.kill();
    let (thread, messages) = two.takes_over().await;
    assert_eq!(
        (thread.thread_id, messages.len()),
        (begin.thread.unwrap().thread_id, 4)
    );
    let end = at_b.end_of(&started.resume_id).await;
    assert_eq!((end.state(), end.engine_id.as_str()), (ResumeState::Ready, "two"));
}

async fn is_called_off_from_anywhere(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    let session = stored(&at_a, 4).await;
    let started = at_a.resuming(on_engine(&session, "e")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    assert_eq!(
        at_b.cancel(&started.resume_id).await.state(),
        ResumeState::Canceled
    );
    assert_eq!(engine.called_off().await, begin.seed_id);
    assert_eq!(
        at_a.end_of(&started.resume_id).await.state(),
        ResumeState::Canceled
    );
}

async fn is_shared_out_among_engines_of_all_replicas(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut one = Wire::attach(&at_a, "one").await;
    let mut two = Wire::attach(&at_b, "two").await;
    // Each takes one and keeps it open: the next goes to the other.
    let first = at_a.resuming(of_session(&stored(&at_a, 2).await)).await;
    let chosen = until("an engine is chosen", async || {
        let progress = at_a.progress(&first.resume_id).await;
        (!progress.engine_id.is_empty()).then_some(progress.engine_id)
    })
    .await;
    let (busy, free) = if chosen == "one" {
        (&mut one, &mut two)
    } else {
        (&mut two, &mut one)
    };
    busy.begun().await;
    let second = at_a.resuming(of_session(&stored(&at_a, 2).await)).await;
    free.takes_over().await;
    let end = at_b.end_of(&second.resume_id).await;
    assert_eq!(
        (end.state(), end.engine_id == chosen),
        (ResumeState::Ready, false)
    );
    let listed = at_b.attached().await;
    let seeds = listed
        .iter()
        .map(|engine| (engine.engine_id == chosen, engine.seeds));
    assert!(
        seeds
            .into_iter()
            .all(|(is_busy, seeds)| seeds == u64::from(is_busy)),
        "{listed:?}"
    );
}

async fn what_an_engine_holds_is_not_sent_again_though_nobody_wrote_it_down(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    let session = stored(&at_a, 250).await;
    let started = at_a.resuming(on_engine(&session, "e")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    // The replica stands still, and never hears of this.
    let _frozen = a.freeze().await;
    engine.acks(&begin.seed_id, 100).await;
    let mut engine = Wire::attach(&at_b, "e").await;
    let again = engine.begun().await;
    assert_eq!(again.seed_id, begin.seed_id);
    assert_eq!(at_b.progress(&started.resume_id).await.items_written, 0);
    engine.acks(&begin.seed_id, 100).await;
    let mut had = 100;
    while had < 250 {
        let batch = engine.batch().await;
        assert_eq!(batch.first_index, had);
        had += batch.messages.len() as i64;
    }
    engine.acks(&begin.seed_id, 250).await;
    assert_eq!(engine.committed().await, begin.seed_id);
    let end = at_b.end_of(&started.resume_id).await;
    assert_eq!((end.state(), end.items_written), (ResumeState::Ready, 250));
}

async fn those_asked_for_at_once_anywhere_end_in_one_thread(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let c = Replica::start(&grounds, "c").await;
    let at_a = a.client().await;
    let clients = [at_a.clone(), b.client_of(&at_a).await, c.client_of(&at_a).await];
    let session = stored(&at_a, 6).await;
    let resumes = clients.iter().map(|client| client.resumed(of_session(&session)));
    let seen = futures_util::future::join_all(resumes).await;
    let threads: Vec<_> = seen.iter().map(|seen| &seen.last().unwrap().thread_id).collect();
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
    assert_eq!(at_a.all_threads().await.len(), 1);
}

async fn goes_on_elsewhere_while_its_replica_still_answers_calls(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    let session = stored(&at_a, 4).await;
    let started = at_a.resuming(on_engine(&session, "e")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    // A call that lasts as long as it may.
    let (parts, sent) = tokio::sync::mpsc::channel(1);
    let mut sessions = at_a.sessions();
    let call = tokio::spawn(async move { sessions.import_session(ReceiverStream::new(sent)).await });
    for part in transfer::parts(&at_a, transfer::header(), b"one two", 3, "") {
        parts.send(part).await.unwrap();
    }
    at_a.session(&session).await;
    let stops = tokio::spawn(a.stop());
    let mut engine = Wire::attach(&at_b, "e").await;
    let again = engine.begun().await;
    assert_eq!(again.seed_id, begin.seed_id);
    assert_eq!(engine.batch().await.messages.len(), 4);
    engine.acks(&begin.seed_id, 4).await;
    assert_eq!(engine.committed().await, begin.seed_id);
    assert_eq!(at_b.end_of(&started.resume_id).await.state(), ResumeState::Ready);
    assert!(!stops.is_finished(), "it waits for the call");
    drop(parts);
    stops.await.unwrap();
    drop(call.await.unwrap());
}
