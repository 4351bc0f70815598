//! Trouble from outside: clients that vanish, readers that do not read, disks that are full or closed to writes.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;

use crate::support::build::{asks, entries, named, user};
use crate::support::disk::Disk;
use crate::support::pb::{AppendEntriesRequest, ReadMessagesRequest, Session, Thread};
use crate::support::rng::Rng;
use crate::support::server::Setup;
use crate::support::{Client, Code, Failure, Server, Status, until, within};

const KIB: usize = 1 << 10;

fn append(id: &str, name: &str, bytes: usize) -> AppendEntriesRequest {
    AppendEntriesRequest {
        session_id: id.into(),
        entries: entries([named(name, user(&"x".repeat(bytes)))]),
        request_id: name.into(),
        ..Default::default()
    }
}

async fn ids(client: &Client, session: &str) -> Vec<String> {
    client
        .entries(session)
        .await
        .into_iter()
        .map(|entry| entry.entry_id)
        .collect()
}

#[track_caller]
fn is_unavailable(status: &Status) {
    let failure = Failure::of(status);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::Unavailable, "STORE_UNAVAILABLE"),
        "{status:?}"
    );
}

#[tokio::test]
async fn clients_that_vanish_in_mid_call_harm_nobody() {
    const ROUNDS: usize = 60;
    const CALLS: usize = 8;
    let mut rng = Rng::seeded();
    let server = Server::start().await;
    let steady = server.client().await;
    let id = steady.blank().await;
    let thread = steady.open(Thread::default()).await;
    let turn = steady.start(&thread).await;
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..ROUNDS {
        let gone = server.client_of(&steady).await;
        let calls = (0..CALLS).map(async |n| {
            let name = format!("{round}-{n}");
            if gone.append_entries(append(&id, &name, 4 * KIB)).await.is_ok() {
                acknowledged.lock().unwrap().push(name);
            }
        });
        let items = gone.add_or(&thread, &turn, vec![asks("a"), asks("b")]);
        let all = async { (join_all(calls).await, items.await) };
        let patience = Duration::from_micros(rng.below(6_000));
        // Whoever is not answered by then leaves in the middle of it.
        let _ = tokio::time::timeout(patience, all).await;
    }
    let found = ids(&steady, &id).await;
    assert!(
        acknowledged
            .lock()
            .unwrap()
            .iter()
            .all(|name| found.contains(name))
    );
    assert_eq!(
        steady.items(&thread).await.len() % 2,
        0,
        "a batch is there as a whole or not at all"
    );
    for round in 0..ROUNDS {
        join_all((0..CALLS).map(async |n| {
            let name = format!("{round}-{n}");
            steady.append_entries(append(&id, &name, 4 * KIB)).await.unwrap();
        }))
        .await;
    }
    let all = u64::try_from(ROUNDS * CALLS).unwrap();
    let session = steady.session(&id).await;
    assert_eq!(
        (session.entry_count, session.message_count),
        (all, all),
        "asked again, each is there once"
    );
    let unique: HashSet<_> = ids(&steady, &id).await.into_iter().collect();
    assert_eq!(unique.len() as u64, all);
}

#[tokio::test]
async fn streams_that_are_dropped_or_not_read_hold_up_nobody() {
    const STREAMS: usize = 100;
    let server = Server::start().await;
    let client = server.client().await;
    let id = client.blank().await;
    for n in 0..8 {
        let mebibyte = "m".repeat(KIB * KIB);
        client
            .append(
                &id,
                entries((0..2).map(|m| named(&format!("{n}-{m}"), user(&mebibyte)))),
            )
            .await;
    }
    let request = || ReadMessagesRequest {
        namespace: client.namespace().into(),
        session_id: id.clone(),
        ..Default::default()
    };
    // Those who do not read have a connection, and with it a window, of their own.
    let (lazy, slow) = (server.client_of(&client).await, server.client_of(&client).await);
    let begun = async |client: &Client| {
        within("a stream begins", client.sessions().read_messages(request()))
            .await
            .unwrap()
            .into_inner()
    };
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(begun(&lazy).await);
    }
    let mut late = begun(&slow).await;
    for n in 0..20 {
        within(
            "the server answers",
            client.append_entries(append(&id, &format!("more-{n}"), KIB)),
        )
        .await
        .unwrap();
        within("the server answers", client.session_or(&id))
            .await
            .unwrap();
    }
    drop(streams.split_off(STREAMS / 2));
    let mut count = 0;
    while let Some(answer) = within("a stream goes on", late.message()).await.unwrap() {
        count += answer.messages.len();
    }
    assert_eq!(count, 16, "what it reads was fixed when it began");
    drop(streams);
    assert_eq!(client.messages(&id).await.len(), 36);
    let resident = resident_kib(&server);
    assert!(resident < 600 * 1024, "{resident} KiB are resident");
}

fn resident_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Appends until the disk is full; the names that were acknowledged.
async fn append_until_full(client: &Client, id: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0..2_000 {
        let name = format!("full-{n}");
        match client.append_entries(append(id, &name, 16 * KIB)).await {
            Ok(_) => acknowledged.push(name),
            Err(status) => {
                is_unavailable(&status);
                return acknowledged;
            }
        }
    }
    panic!("the disk is never full");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_recovers() {
    let disk = Disk::of(8 * 1024);
    let mut server = Server::start_with(disk.setup()).await;
    let client = server.client().await;
    let id = client
        .create(Session {
            title: "Full".into(),
            ..Default::default()
        })
        .await
        .session_id;
    let acknowledged = append_until_full(&client, &id).await;
    assert!(acknowledged.len() > 50, "only {} fit", acknowledged.len());

    let found = ids(&client, &id).await;
    assert_eq!(found, acknowledged, "reads go on, and show what was acknowledged");
    let session = client.session(&id).await;
    assert_eq!(
        (session.entry_count, session.title.as_str()),
        (found.len() as u64, "Full")
    );
    for n in 0..3 {
        let large = client
            .append_entries(append(&id, &format!("large-{n}"), 4 * KIB * KIB))
            .await;
        is_unavailable(&large.unwrap_err());
    }

    disk.remount("size=64m");
    let failed = format!("full-{}", acknowledged.len());
    let again = until("writes are taken again", || async {
        client
            .append_entries(append(&id, &failed, 16 * KIB))
            .await
            .inspect_err(is_unavailable)
            .ok()
    })
    .await;
    let mut expected = acknowledged;
    expected.push(failed);
    assert_eq!(again.last_seq, expected.len() as u64);
    client
        .append_entries(append(&id, "after", 16 * KIB))
        .await
        .unwrap();
    expected.push("after".into());
    assert_eq!(ids(&client, &id).await, expected);

    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(ids(&client, &id).await, expected, "and after a restart");
}

#[tokio::test]
async fn a_server_killed_on_a_full_disk_comes_back() {
    let disk = Disk::of(8 * 1024);
    let mut server = Server::start_with(disk.setup()).await;
    let client = server.client().await;
    let id = client.blank().await;
    let acknowledged = append_until_full(&client, &id).await;
    server.kill();
    disk.remount("size=64m");
    server.restart().await;
    let client = server.client_of(&client).await;
    let found = ids(&client, &id).await;
    assert_eq!(found[..acknowledged.len()], acknowledged);
    assert!(found.len() <= acknowledged.len() + 1, "{found:?}");
}

#[tokio::test]
async fn another_file_that_fills_the_disk_is_waited_out() {
    let disk = Disk::of(8 * 1024);
    let server = Server::start_with(disk.setup()).await;
    let client = server.client().await;
    let id = client.blank().await;
    client.append_entries(append(&id, "before", KIB)).await.unwrap();
    let filler = disk.fill();
    let refused = until("the disk is full", || async {
        client
            .append_entries(append(&id, &crate::support::fresh("f"), 64 * KIB))
            .await
            .err()
    });
    is_unavailable(&refused.await);
    let before = ids(&client, &id).await;
    disk.free(&filler);
    until("writes are taken again", || async {
        client.append_entries(append(&id, "after", KIB)).await.ok()
    })
    .await;
    assert_eq!(ids(&client, &id).await, [before, vec!["after".into()]].concat());
}

#[tokio::test]
async fn a_disk_that_is_closed_to_writes_is_said_so() {
    let disk = Disk::of(16 * 1024);
    let mut server = Server::start_with(disk.setup()).await;
    let client = server.client().await;
    let id = client.blank().await;
    client.append_entries(append(&id, "before", KIB)).await.unwrap();
    server.stop().await;
    disk.remount("ro");
    let mut child = server.launch(&server.folder().join("ready"));
    let status = until("it does not start", || {
        std::future::ready(child.try_wait().unwrap())
    })
    .await;
    assert_eq!(status.code(), Some(1), "{}", server.log());
    let log = server.log().to_lowercase();
    assert!(log.contains("read-only") || log.contains("read only"), "{log}");
    disk.remount("rw");
    server.restart().await;
    assert_eq!(ids(&server.client_of(&client).await, &id).await, ["before"]);
}

#[tokio::test]
async fn a_file_that_cannot_grow_is_like_a_full_disk() {
    // Root is not bound by permissions but is by a limit on the size of files; the signal would end the process.
    let runner = [
        "sh",
        "-c",
        r#"trap '' XFSZ; exec prlimit --fsize=4194304 "$0" "$@""#,
    ]
    .map(String::from)
    .to_vec();
    let mut server = Server::start_with(Setup {
        runner,
        ..Setup::default()
    })
    .await;
    let client = server.client().await;
    let id = client.blank().await;
    let acknowledged = append_until_full(&client, &id).await;
    assert_eq!(ids(&client, &id).await, acknowledged);
    server.kill();
    let mut server = server.with(Setup::default());
    server.restart().await;
    let client = server.client_of(&client).await;
    let found = ids(&client, &id).await;
    assert_eq!(found[..acknowledged.len()], acknowledged);
    client.append_entries(append(&id, "after", KIB)).await.unwrap();
}
