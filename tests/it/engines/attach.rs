//! Attaching: the first frame, lists of who is attached, takeover, silence, leaving, and a server that stops.

use std::collections::BTreeMap;

use crate::support::engine::{hello, quick};
use crate::support::failure::invalid;
use crate::support::pb::attach_request::Frame as Up;
use crate::support::pb::attach_response::Frame as Down;
use crate::support::pb::{
    AttachRequest, Goodbye, Heartbeat, Hello, ListEnginesRequest, ThreadClosed, ThreadOpened,
};
use crate::support::{Code, Server, Wire, fresh, refused, shared, until};

#[tokio::test]
async fn a_hello_is_welcomed_with_an_epoch_that_grows() {
    let client = shared().await;
    let first = Wire::attach(&client, "one").await;
    let second = Wire::attach(&client, "two").await;
    assert!(first.epoch > 0 && second.epoch > first.epoch);
    assert_eq!(first.heartbeat.as_secs(), 5);
    let listed = client.attached().await;
    let shown: Vec<_> = listed.iter().map(|e| (e.engine_id.as_str(), e.epoch)).collect();
    assert_eq!(shown, [("one", first.epoch), ("two", second.epoch)]);
    assert!(
        listed
            .iter()
            .all(|engine| engine.attach_time.is_some() && engine.accepts_resume)
    );
    let elsewhere = client.in_namespace(&fresh("elsewhere"));
    assert!(elsewhere.attached().await.is_empty());
}

#[tokio::test]
async fn an_engine_without_an_id_gets_one() {
    let client = shared().await;
    let _engine = Wire::attach(&client, "").await;
    let listed = client.attached().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].engine_id.len(), 36, "a UUID: {listed:?}");
}

#[tokio::test]
async fn any_other_first_frame_is_refused() {
    let client = shared().await;
    let thread_id = "t".to_owned();
    for first in [
        Up::Heartbeat(Heartbeat {}),
        Up::Goodbye(Goodbye {}),
        Up::ThreadClosed(ThreadClosed { thread_id }),
    ] {
        let attached = Wire::begin(&client, String::new(), first).await;
        invalid(attached, "frame");
    }
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    engine.send(Up::Hello(hello("one"))).await;
    invalid(engine.ended().await, "hello");
    client.without("one").await;
}

#[tokio::test]
async fn what_a_hello_says_is_checked() {
    let client = shared().await;
    let with = |change: fn(&mut Hello)| {
        let mut hello = hello("one");
        change(&mut hello);
        hello
    };
    for (hello, field) in [
        (
            with(|hello| hello.engine_id = "../../etc/passwd".into()),
            "engine_id",
        ),
        (with(|hello| hello.engine_id = "-".into()), "engine_id"),
        (with(|hello| hello.engine_id = "sess bad".into()), "engine_id"),
        (with(|hello| hello.engine_id = "a".repeat(129)), "engine_id"),
        (with(|hello| hello.namespace = "Not one".into()), "namespace"),
    ] {
        invalid(Wire::greet(&client, hello).await, field);
    }
    let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
    for labels in [many, BTreeMap::from([("a".into(), "b".repeat(257))])] {
        let hello = Hello {
            labels,
            ..hello("one")
        };
        let failed = Wire::greet(&client, hello).await.unwrap_err();
        assert_eq!(failed.code(), Code::InvalidArgument, "{failed:?}");
    }
    assert!(client.attached().await.is_empty());
}

#[tokio::test]
async fn what_a_claim_says_is_checked() {
    let client = shared().await;
    for thread_id in ["", "a/b", "..", "sess bad"] {
        let mut engine = Wire::attach(&client, "one").await;
        engine.claims(thread_id, "").await;
        invalid(engine.ended().await, "thread_id");
        client.without("one").await;
    }
    let mut engine = Wire::attach(&client, "one").await;
    engine.claims("thread", "a/b").await;
    invalid(engine.ended().await, "active_turn_id");
    client.without("one").await;
    let mut engine = Wire::attach(&client, "one").await;
    engine.send(Up::ThreadOpened(ThreadOpened::default())).await;
    invalid(engine.ended().await, "thread_id");
    assert!(client.all_threads().await.is_empty());
}

#[tokio::test]
async fn engines_are_listed_in_pages_by_id() {
    let client = shared().await;
    let mut engines = Vec::new();
    for n in [3, 1, 4, 0, 2] {
        let hello = Hello {
            labels: BTreeMap::from([("n".into(), n.to_string())]),
            accepts_resume: n % 2 == 0,
            ..hello(&format!("e{n}"))
        };
        engines.push(Wire::greet(&client, hello).await.unwrap());
    }
    engines[0].opens("thread").await;
    let mut request = ListEnginesRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = client.list_engines(request.clone()).await.unwrap();
        assert!(page.engines.len() <= 2);
        listed.extend(page.engines);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    for (n, engine) in listed.iter().enumerate() {
        assert_eq!(engine.engine_id, format!("e{n}"));
        assert_eq!(engine.labels["n"], n.to_string());
        assert_eq!(engine.accepts_resume, n % 2 == 0);
        assert_eq!((engine.threads, engine.seeds), (u64::from(n == 3), 0));
    }
    assert_eq!(listed.len(), 5);
    let negative = ListEnginesRequest {
        page_size: -1,
        ..Default::default()
    };
    invalid(client.list_engines(negative).await, "page_size");
    let strange = ListEnginesRequest {
        page_token: "strange".into(),
        ..Default::default()
    };
    let strange = client.list_engines(strange).await;
    refused(strange, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn the_same_id_takes_over_under_a_higher_epoch() {
    let client = shared().await;
    let mut older = Wire::attach(&client, "one").await;
    older.opens("thread").await;
    let newer = Wire::attach(&client, "one").await;
    assert!(newer.epoch > older.epoch);
    refused(older.ended().await, Code::Aborted, "STALE_EPOCH");
    let listed = client.attached().await;
    assert_eq!((listed.len(), listed[0].epoch), (1, newer.epoch));
    newer.opens("thread").await;
    until("the list shows the thread", async || {
        (client.attached().await[0].threads == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn three_missed_heartbeats_detach() {
    let client = quick().await;
    let mut silent = Wire::attach(&client, "silent").await;
    let loud = Wire::attach(&client, "loud").await;
    silent.falls_silent();
    let ended = silent.ended().await.unwrap_err();
    assert_ne!(ended.code(), Code::Internal, "{ended:?}");
    client.without("silent").await;
    let listed = client.attached().await;
    assert_eq!((listed.len(), listed[0].epoch), (1, loud.epoch));
}

#[tokio::test]
async fn goodbye_and_the_end_of_the_stream_detach_at_once() {
    let client = shared().await;
    let engine = Wire::attach(&client, "one").await;
    engine.leaves().await;
    client.without("one").await;
    drop(Wire::attach(&client, "two").await);
    client.without("two").await;
}

#[tokio::test]
async fn a_frame_of_next_year_is_ignored() {
    let client = shared().await;
    let engine = Wire::attach(&client, "one").await;
    engine.send_whole(AttachRequest { frame: None }).await;
    engine.opens("thread").await;
    assert_eq!(client.attached().await.len(), 1);
}

#[tokio::test]
async fn a_stop_drains_and_then_ends_the_stream() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let mut engine = Wire::attach(&client, "one").await;
    engine.opens("thread").await;
    server.terminate();
    assert!(matches!(engine.next().await, Ok(Some(Down::Drain(_)))));
    refused(engine.ended().await, Code::Unavailable, "SHUTTING_DOWN");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn many_frames_at_once_are_all_heard() {
    let client = shared().await;
    let engine = Wire::attach(&client, "one").await;
    for n in 0..1_000 {
        engine.send(Up::Heartbeat(Heartbeat {})).await;
        if n % 10 == 0 {
            engine.claims(&format!("t{n}"), "").await;
        }
    }
    engine.opens("last").await;
    assert_eq!(client.all_threads().await.len(), 101);
}
