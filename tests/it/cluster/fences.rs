//! Leases and fences: what a replica that is gone, or only stood still, has left behind, and what it can write no more.

use std::time::Duration;

use sessiond::domain::Time;
use sessiond::pb::client::TurnStatus;
use tonic::Code;

use super::{Grounds, Replica};
use crate::support::build::{entry, user};
use crate::support::pb;
use crate::support::{Failure, Wire, until};

anywhere! {
    a_replica_that_stood_still_writes_nothing_with_its_old_fence
    an_engine_that_attaches_elsewhere_ends_its_older_attachment
    turns_of_a_dead_replicas_engines_are_interrupted
    engines_that_come_with_the_start_stay
    a_replica_that_stops_lets_go_of_everything
    one_writer_wins_a_revision
}

/// Waits until an engine is attached to a replica, as any replica says.
async fn attached_to(client: &crate::support::Client, engine: &str, replica: &str) {
    until("the engine is attached there", async || {
        let attached = client.attached().await;
        let found = attached.iter().find(|found| found.engine_id == engine)?;
        (found.replica == replica).then_some(())
    })
    .await;
}

async fn a_replica_that_stood_still_writes_nothing_with_its_old_fence(grounds: Grounds) {
    // Slow heartbeats: it is the lease that ends the attachment, not silence.
    let a = Replica::start_beating(&grounds, "a", 10_000).await;
    let b = Replica::start_beating(&grounds, "b", 10_000).await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("before").await;
    let frozen = a.freeze().await;
    // What the engine says now waits in the replica's connection.
    engine.claims("meanwhile", "").await;
    at_b.without("e").await;
    drop(frozen);
    let ended = Failure::of(&engine.ended().await.unwrap_err());
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Code::Unavailable, "ENGINE_LOST")
    );
    let request = pb::GetThreadRequest {
        thread_id: "meanwhile".into(),
        ..Default::default()
    };
    let missing = at_b.get_thread(request).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound, "nothing came of it");
    // It joins anew, under another incarnation, and its engine attaches again.
    until("the replica has joined anew", async || {
        let again = Wire::greet(&at_a, crate::support::engine::hello("e")).await;
        again.ok().map(drop)
    })
    .await;
    let engine = Wire::attach(&at_a, "e").await;
    engine.opens("after").await;
    attached_to(&at_b, "e", "a").await;
}

async fn an_engine_that_attaches_elsewhere_ends_its_older_attachment(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut older = Wire::attach(&at_a, "e").await;
    older.opens("t").await;
    let newer = Wire::attach(&at_b, "e").await;
    assert!(newer.epoch > older.epoch);
    let ended = Failure::of(&older.ended().await.unwrap_err());
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Code::Aborted, "STALE_EPOCH")
    );
    newer.opens("t").await;
    for client in [&at_a, &at_b] {
        let attached = client.attached().await;
        let found: Vec<_> = attached
            .iter()
            .map(|engine| (engine.epoch, engine.replica.as_str(), engine.threads))
            .collect();
        assert_eq!(found, [(newer.epoch, "b", 1)]);
    }
}

async fn turns_of_a_dead_replicas_engines_are_interrupted(grounds: Grounds) {
    let (mut a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let start = pb::StartTurnRequest {
        thread_id: "t".into(),
        turn_id: Some("u".into()),
        epoch: Some(engine.epoch),
        ..Default::default()
    };
    at_a.start_turn(start).await.unwrap();
    a.kill();
    until("the turn is over", async || {
        let list = pb::ListItemsRequest {
            thread_id: "t".into(),
            ..Default::default()
        };
        let thread = pb::GetThreadRequest {
            thread_id: "t".into(),
            ..Default::default()
        };
        at_b.list_items(list).await.unwrap();
        let thread = at_b.get_thread(thread).await.unwrap().thread.unwrap();
        thread.active_turn_id.is_empty().then_some(())
    })
    .await;
    let mut reader = at_b.thread_reader("t").await;
    reader.step().await;
    assert_eq!(reader.turns[0].status(), TurnStatus::Interrupted);
    assert!(at_b.attached().await.is_empty());
}

async fn engines_that_come_with_the_start_stay(grounds: Grounds) {
    let mut first = Replica::start(&grounds, "a").await;
    let at_first = first.client().await;
    let engine = Wire::attach(&at_first, "e").await;
    engine.opens("t").await;
    first.kill();
    // The same name at once: nobody waits for the old lease.
    let second = Replica::start(&grounds, "a").await;
    let client = second.client_of(&at_first).await;
    let engine = Wire::attach(&client, "e").await;
    engine.opens("t").await;
    let witness = Replica::start(&grounds, "w").await;
    let at_witness = witness.client_of(&at_first).await;
    // Some renewals and looks later it is still there.
    let store = grounds.store();
    let lease = async || {
        let members = store.members(Time(0)).await.unwrap();
        let mut replicas = members.replicas.iter();
        replicas
            .find(|replica| replica.is(&second.fence))
            .unwrap()
            .lease_until
    };
    let joined = lease().await;
    until("the lease was renewed for longer than it lasts", async || {
        let attached = at_witness.attached().await;
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].epoch, engine.epoch);
        (lease().await > joined.after(Duration::from_secs(3))).then_some(())
    })
    .await;
}

async fn a_replica_that_stops_lets_go_of_everything(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let mut engine = Wire::attach(&at_a, "e").await;
    engine.opens("t").await;
    let stops = tokio::spawn(a.stop());
    let ended = Failure::of(&engine.ended().await.unwrap_err());
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    at_b.without("e").await;
    stops.await.unwrap();
    let engine = Wire::attach(&at_b, "e").await;
    engine.opens("t").await;
}

async fn one_writer_wins_a_revision(grounds: Grounds) {
    let (a, b) = grounds.pair().await;
    let at_a = a.client().await;
    let at_b = b.client_of(&at_a).await;
    let session = at_a.blank().await;
    for round in 0..20 {
        let revision = at_a.session(&session).await.revision;
        let request = |who: &str| pb::AppendEntriesRequest {
            session_id: session.clone(),
            entries: vec![entry(user(&format!("{who} {round}")))],
            expected_revision: Some(revision),
            ..Default::default()
        };
        let (here, there) = tokio::join!(
            at_a.append_entries(request("a")),
            at_b.append_entries(request("b"))
        );
        let lost = [&here, &there].map(|answer| answer.as_ref().err().map(Failure::of));
        let lost: Vec<_> = lost.into_iter().flatten().collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(
            (lost[0].code, lost[0].reason.as_str()),
            (Code::Aborted, "REVISION_MISMATCH")
        );
    }
    assert_eq!(at_b.entries(&session).await.len(), 20);
}
