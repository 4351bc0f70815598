//! Moving house with `copy`: the copy is served and shows what its source showed; half a copy is served by nobody.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::restart::{everything, fill};
use crate::support::build::{entries, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{self, ResumeState};
use crate::support::postgres::Cluster;
use crate::support::server::Setup;
use crate::support::{Server, until};

fn sessiond(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
    command.args(line).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSIOND_")) {
        command.env_remove(name);
    }
    command
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.display())
}

fn copying(from: &Path, to: &Path) -> Command {
    sessiond(&["copy", "--json", "--from", &url(from), "--to", &url(to)])
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What a copy says that came to its end.
#[track_caller]
fn copied(from: &Path, to: &Path) -> Value {
    let output = copying(from, to).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that is refused.
#[track_caller]
fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    assert!(output.stdout.is_empty(), "{}", said(&output));
    said(&output)
}

/// A server on another folder.
fn on(data: &Path) -> Server {
    Server::stopped(Setup {
        data: Some(data.to_owned()),
        ..Setup::default()
    })
}

#[tokio::test]
async fn a_copy_is_served_like_its_source() {
    let mut server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    let first = client.resume("one").await;
    assert_eq!(first.state(), ResumeState::Ready);
    let fork = client.fork("one", Point::UserMessageIndex(1)).await;
    let fork = fork.session.unwrap().session_id;
    let request = pb::AppendEntriesRequest {
        session_id: "one".into(),
        entries: entries([user("asked once")]),
        request_id: "once".into(),
        ..Default::default()
    };
    let answer = client.append_entries(request.clone()).await.unwrap();
    let before = everything(&client).await;
    server.stop().await;
    let database = fs::read(server.data().join("sessiond.db")).unwrap();

    let there = server.folder().join("there");
    let report = copied(&server.data(), &there);
    assert_eq!(report["problem_count"], 0, "{report}");
    assert!(report["rows"]["sessions"].as_u64().unwrap() >= 4, "{report}");
    assert!(report["bytes"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(
        fs::read(server.data().join("sessiond.db")).unwrap(),
        database,
        "the source is as it was"
    );
    let verified = sessiond(&["verify", "--json", "--data", there.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));

    let mut moved = on(&there);
    moved.restart().await;
    let client = moved.client_of(&client).await;
    assert_eq!(everything(&client).await, before);
    assert_eq!(
        client.append_entries(request).await.unwrap(),
        answer,
        "a retry is known"
    );
    until("the index is made anew", async || {
        let words = pb::SearchMessagesRequest {
            query: "asked once".into(),
            ..Default::default()
        };
        let hits = client.search_messages(words).await.unwrap().hits;
        (hits.len() == 1).then_some(())
    })
    .await;
    let messages = client.messages("one").await;
    client.append(&fork, entries([user("goes on")])).await;
    assert_eq!(
        client.messages("one").await.len(),
        messages.len(),
        "they stay apart"
    );
    let again = client.resume("one").await;
    assert_eq!(again.state(), ResumeState::Ready);
    let turn = client.thread("thread").await.active_turn_id;
    client.finish("thread", &turn).await;
    client.save("thread").await;
    moved.stop().await;
}

#[tokio::test]
async fn there_and_back_over_postgresql() {
    let mut server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    client.resume("one").await;
    let before = everything(&client).await;
    server.stop().await;
    let cluster = Cluster::start();
    let (home, back) = (url(&server.data()), server.folder().join("back"));
    let copy = |from: &str, to: &str| {
        let output = sessiond(&["copy", "--json", "--from", from, "--to", to])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let there = copy(&home, cluster.url());
    let twice = sessiond(&["copy", "--from", &home, "--to", cluster.url()]);
    assert!(refused(twice, 1).contains("not empty"));
    let check = sessiond(&["check", "--listen", "127.0.0.1:0", "--store", cluster.url()])
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));

    let again = copy(cluster.url(), &url(&back));
    assert_eq!(
        (&again["rows"], &again["bytes"]),
        (&there["rows"], &there["bytes"])
    );
    let mut returned = on(&back);
    returned.restart().await;
    let client = returned.client_of(&client).await;
    assert_eq!(everything(&client).await, before, "there and back");

    let mut moved = Server::start_with(Setup {
        arguments: vec!["--store".into(), cluster.url().into()],
        ..Setup::default()
    })
    .await;
    let client = moved.client_of(&client).await;
    assert_eq!(everything(&client).await, before, "served there");
    client.append("one", entries([user("goes on")])).await;

    let into = refused(sessiond(&["copy", "--from", &home, "--to", cluster.url()]), 1);
    assert!(into.contains("replicas with a lease"), "{into}");
    let third = url(&moved.folder().join("third"));
    let output = sessiond(&["copy", "--json", "--from", cluster.url(), "--to", &third])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(warning.contains("warning: 1 replica may serve"), "{warning}");
    moved.stop().await;
}

#[tokio::test]
async fn what_cannot_be_copied_is_left_alone() {
    let mut server = Server::start().await;
    let client = server.client().await;
    client
        .append(&client.blank().await, entries([user("hello")]))
        .await;
    let there = server.folder().join("there");
    let running = refused(copying(&server.data(), &there), 1);
    assert!(running.contains("must be stopped"), "{running}");
    server.stop().await;
    let nothing = refused(copying(&server.folder().join("nothing"), &there), 1);
    assert!(nothing.contains("there is no"), "{nothing}");
    refused(copying(&server.data(), &server.data()), 2);
    for none in [
        "nowhere",
        "mysql://me:s3cret@h/d",
        "postgres://me:s3cret@h:port/d",
    ] {
        let said = refused(sessiond(&["copy", "--from", none, "--to", &url(&there)]), 2);
        assert!(said.contains("--from: ") && !said.contains("s3cret"), "{said}");
    }
    copied(&server.data(), &there);
    let full = refused(copying(&server.data(), &there), 1);
    assert!(full.contains("not empty"), "{full}");
    on(&there).restart().await;
}

#[tokio::test]
async fn half_a_copy_is_served_by_nobody() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let session = client.blank().await;
    for part in 0..4 {
        let said = (0..2_000).map(|at| user(&format!("{part} {at} {}", "word ".repeat(20))));
        client.append(&session, entries(said)).await;
    }
    let before = client.messages(&session).await;
    server.stop().await;

    let there = server.folder().join("there");
    let mut child = copying(&server.data(), &there)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("a page has arrived", || {
        std::future::ready(has_a_page(&there, &mut child).then_some(()))
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = there.to_str().unwrap();
    let serve = sessiond(&["serve", "--listen", "127.0.0.1:0", "--data", folder]);
    let verify = sessiond(&["verify", "--data", folder]);
    let aside = server.folder().join("backup.db");
    let backup = sessiond(&["backup", "--data", folder, aside.to_str().unwrap()]);
    for command in [serve, verify, backup] {
        let refused = refused(command, 1);
        assert!(refused.contains("half a copy"), "{refused}");
    }
    let report = copied(&server.data(), &there);
    assert_eq!(report["rows"]["entries"], 8_000, "{report}");
    let mut moved = on(&there);
    moved.restart().await;
    assert_eq!(moved.client_of(&client).await.messages(&session).await, before);
}

/// Whether a copy has brought something and is not at its end.
fn has_a_page(folder: &Path, child: &mut Child) -> bool {
    assert_eq!(
        child.try_wait().unwrap(),
        None,
        "it ended before it could be killed"
    );
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(conn) = Connection::open_with_flags(folder.join("sessiond.db"), flags) else {
        return false;
    };
    let reached = conn.query_row("SELECT reached FROM filling", (), |row| {
        row.get::<_, Option<String>>(0)
    });
    matches!(reached, Ok(Some(_)))
}
