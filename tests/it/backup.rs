//! `backup` and `verify` beside a server and without one, and a store of which one session is damaged.

use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::build::{asks, assistant, entry, says, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{self, Thread};
use crate::support::server::Setup;
use crate::support::transfer::exported;
use crate::support::{Client, Code, Server, refused, until};

/// Runs a command on a data folder.
fn run(command: &str, data: &Path, line: &[&str]) -> Output {
    let mut run = Command::new(env!("CARGO_BIN_EXE_sessiond"));
    run.arg(command).arg("--data").arg(data).args(line);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSIOND_")) {
        run.env_remove(name);
    }
    run.output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What `verify` says, which must end so.
#[track_caller]
fn verified(data: &Path, code: i32) -> Value {
    let output = run("verify", data, &["--json"]);
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A server on a backup.
async fn restored(file: &Path) -> Server {
    let server = Server::stopped(Setup::default());
    std::fs::create_dir(server.data()).unwrap();
    std::fs::copy(file, server.data().join("sessiond.db")).unwrap();
    let mut server = server;
    server.restart().await;
    server
}

impl Client {
    /// A fork from the start on, in which is spoken.
    async fn forked_as(&self, source: &str, id: &str) {
        let request = pb::ForkSessionRequest {
            session_id: source.into(),
            point: Some(Point::UserMessageIndex(0)),
            new_session_id: Some(id.into()),
            ..Default::default()
        };
        self.fork_session(request).await.unwrap();
        let said = vec![entry(user("again")), entry(assistant("so"))];
        self.append(id, said).await;
    }
}

async fn talk(client: &Client, id: &str) {
    client
        .create(pb::Session {
            session_id: id.into(),
            ..Default::default()
        })
        .await;
    client
        .append(
            id,
            vec![entry(user(&format!("{id} asks"))), entry(assistant("answers"))],
        )
        .await;
}

#[tokio::test]
async fn a_backup_made_beside_a_server_is_served() {
    let server = Server::start().await;
    let client = server.client().await;
    talk(&client, "s").await;
    let fork = client
        .fork("s", Point::UserMessageIndex(0))
        .await
        .session
        .unwrap()
        .session_id;
    let thread = client.open(Thread::default()).await;
    client.turn(&thread, vec![asks("q"), says("a")]).await;
    client.save(&thread).await;
    let writing = tokio::spawn({
        let client = client.clone();
        async move {
            for at in 0..10_000 {
                if client
                    .append_or("s", vec![entry(user(&format!("more {at}")))])
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    });
    until("it is written to", async || {
        (client.session("s").await.entry_count > 20).then_some(())
    })
    .await;
    let file = server.folder().join("copy.db");
    let line = [file.to_str().unwrap(), "--json"];
    let output = run("backup", &server.data(), &line);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["bytes"], std::fs::metadata(&file).unwrap().len());
    let found = verified(&server.data(), 0);
    assert_eq!(found["problem_count"], 0, "{found}");
    assert!(found["checked"]["entries"].as_u64().unwrap() > 20);
    writing.abort();

    let again = run("backup", &server.data(), &line);
    assert_eq!(again.status.code(), Some(1), "a file is not replaced unasked");
    let forced = run("backup", &server.data(), &[line[0], "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
    let own = server.data().join("sessiond.db");
    let own = run("backup", &server.data(), &[own.to_str().unwrap(), "--force"]);
    assert_eq!(own.status.code(), Some(1), "{}", said(&own));

    let copy = restored(&file).await;
    let there = copy.client_of(&client).await;
    let messages = there.messages("s").await;
    assert!(messages.len() > 20);
    assert_eq!(messages[..], client.messages("s").await[..messages.len()]);
    assert_eq!(there.session(&fork).await, client.session(&fork).await);
    assert_eq!(there.items(&thread).await, client.items(&thread).await);
    there.append("s", vec![entry(user("goes on"))]).await;
    let nowhere = run("backup", &server.folder().join("nothing"), &[line[0]]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", said(&nowhere));
    assert!(!server.folder().join("nothing").exists(), "nothing is made");
}

#[tokio::test]
async fn one_damaged_session_hides_no_other() {
    for (sql, head, names) in [
        (
            "UPDATE sessions SET profile = '{' WHERE session_id = 'b'",
            Damaged::Row,
            "session b of namespace",
        ),
        (
            "UPDATE sessions SET tally = x'00' WHERE session_id = 'b'",
            Damaged::Row,
            "session b of namespace",
        ),
        (
            "UPDATE entries SET body = CAST('other' AS BLOB) WHERE seq = 1 \
             AND log = (SELECT log FROM sessions WHERE session_id = 'b')",
            Damaged::Entry,
            "in session b of namespace",
        ),
        (
            "UPDATE entries SET tally = x'01' WHERE seq = 2 \
             AND log = (SELECT log FROM sessions WHERE session_id = 'b')",
            Damaged::Entry,
            "in session b of namespace",
        ),
    ] {
        let mut server = Server::start().await;
        let client = server.client().await;
        for id in ["a", "b", "c"] {
            talk(&client, id).await;
        }
        let part = pb::Session {
            session_id: "part-of-b".into(),
            parent_session_id: "b".into(),
            ..Default::default()
        };
        client.create(part).await;
        client.forked_as("b", "fork-of-b").await;
        client.forked_as("fork-of-b", "fork-of-fork").await;
        server.stop().await;
        let changed = Connection::open(server.data().join("sessiond.db"))
            .unwrap()
            .execute(sql, ());
        assert_eq!(changed.unwrap(), 1, "{sql}");
        server.restart().await;
        let client = server.client_of(&client).await;
        looks_damaged(&client, head, sql).await;
        let found = verified(&server.data(), 1);
        let named = found["problems"].as_array().unwrap().iter();
        assert!(
            named
                .clone()
                .any(|problem| problem["row"].as_str().unwrap().contains(names)),
            "{sql}: {found}"
        );
        assert!(!found.to_string().contains("asks"), "content is shown: {found}");
        let file = server.folder().join("copy.db");
        let output = run("backup", &server.data(), &[file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let copy = restored(&file).await;
        looks_damaged(&copy.client_of(&client).await, head, sql).await;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Damaged {
    Row,
    Entry,
}

/// Everything works but what needs the damaged part of session `b`.
async fn looks_damaged(client: &Client, damaged: Damaged, sql: &str) {
    let mut listed: Vec<_> = client.listed(pb::ListSessionsRequest::default()).await;
    listed.sort_by(|a, b| a.session_id.cmp(&b.session_id));
    let listed: Vec<_> = listed.iter().map(|session| session.session_id.as_str()).collect();
    let of_b = ["fork-of-b", "fork-of-fork", "part-of-b"];
    match damaged {
        Damaged::Row => assert_eq!(listed[..2], ["a", "c"], "{sql}"),
        Damaged::Entry => assert_eq!(listed[..3], ["a", "b", "c"], "{sql}"),
    }
    assert_eq!(listed[listed.len() - 3..], of_b, "{sql}");
    in_trees(client, damaged, sql).await;
    elsewhere(client, sql).await;
    for id in ["a", "c"] {
        assert_eq!(client.messages(id).await.len(), 2, "{sql}");
    }
    let fork = client
        .fork("c", Point::UserMessageIndex(0))
        .await
        .session
        .unwrap();
    client.delete(&fork.session_id).await;
    until("what can be read is found", async || {
        let words = pb::SearchMessagesRequest {
            query: "asks".into(),
            ..Default::default()
        };
        let hits = client.search_messages(words).await.unwrap().hits;
        let found = |id: &str| hits.iter().any(|hit| hit.session_id == id);
        (found("a") && found("c")).then_some(())
    })
    .await;
    let read = pb::ReadMessagesRequest {
        session_id: "b".into(),
        ..Default::default()
    };
    refused(client.read_messages(read).await, Code::DataLoss, "DATA_CORRUPT");
    if damaged == Damaged::Row {
        refused(client.session_or("b").await, Code::DataLoss, "DATA_CORRUPT");
        refused(
            client.append_or("b", vec![entry(user("x"))]).await,
            Code::DataLoss,
            "DATA_CORRUPT",
        );
    }
    let prune = pb::PruneSessionsRequest {
        older_than: Some(prost_types::Duration::default()),
        action: pb::PruneAction::Archive.into(),
        dry_run: true,
        ..Default::default()
    };
    let pruned = client.prune_sessions(prune.clone()).await.unwrap();
    assert_eq!(pruned.count, listed.len() as u64, "{sql}");
}

/// Whoever stands above, beside or below it is shown, a page after the other.
async fn in_trees(client: &Client, damaged: Damaged, sql: &str) {
    for page_size in [1, 50] {
        for (asked, ids) in [
            ("fork-of-b", &["b", "fork-of-b", "fork-of-fork"][..]),
            ("fork-of-fork", &["b", "fork-of-b", "fork-of-fork"]),
            ("part-of-b", &["b", "part-of-b"]),
        ] {
            let mut request = pb::GetSessionTreeRequest {
                session_id: asked.into(),
                page_size,
                ..Default::default()
            };
            let mut nodes = Vec::new();
            loop {
                let page = client.get_session_tree(request.clone()).await.unwrap();
                nodes.extend(page.nodes);
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            let shown: Vec<_> = nodes.iter().map(|node| node.session_id.as_str()).collect();
            assert_eq!(shown, ids, "{sql}: {asked}, {page_size} a page");
            let known = nodes[0].message_count > 0;
            assert_eq!(known, damaged == Damaged::Entry, "{sql}");
        }
    }
}

/// What a healthy session can do beside it.
async fn elsewhere(client: &Client, sql: &str) {
    let mut reader = client.reader("a").await;
    reader.until(|reader| reader.entries.len() == 2).await;
    let text = exported(client, "c", pb::ExportFormat::Jsonl, false).await;
    assert_eq!(text.lines().count(), 3, "{sql}");
}

#[tokio::test]
async fn a_damaged_session_is_pruned_by_nobody_and_holds_up_nobody() {
    for sql in [
        "UPDATE sessions SET profile = '{' WHERE session_id = 'b'",
        "UPDATE sessions SET tally = x'00' WHERE session_id = 'b'",
    ] {
        for by_policy in [false, true] {
            let mut server = Server::start().await;
            let client = server.client().await;
            for id in ["a", "b", "c"] {
                talk(&client, id).await;
            }
            let part = pb::Session {
                session_id: "part-of-b".into(),
                parent_session_id: "b".into(),
                ..Default::default()
            };
            client.create(part).await;
            // What it is a part of goes, and it with that: not if it cannot be read.
            let changed = "UPDATE sessions SET parent = 'c' WHERE session_id = 'b'";
            server.stop().await;
            let conn = Connection::open(server.data().join("sessiond.db")).unwrap();
            for sql in [changed, sql] {
                assert_eq!(conn.execute(sql, ()).unwrap(), 1, "{sql}");
            }
            drop(conn);
            if by_policy {
                let path = server.folder().join("config.toml");
                let policy = "[upkeep]\ninterval_s = 1\n[retention]\ninterval_s = 1\nkeep_per_workspace = 1\narchive_first = false\n";
                std::fs::write(&path, policy).unwrap();
                server = server.with(Setup {
                    arguments: vec!["--config".to_owned(), path.display().to_string()],
                    ..Setup::default()
                });
            }
            server.restart().await;
            let client = server.client_of(&client).await;
            if !by_policy {
                let prune = pb::PruneSessionsRequest {
                    older_than: Some(prost_types::Duration::default()),
                    action: pb::PruneAction::Delete.into(),
                    ..Default::default()
                };
                let pruned = client.prune_sessions(prune).await.unwrap();
                assert_eq!(pruned.session_ids.len(), 2, "{sql}: {pruned:?}");
            }
            until("what can be read goes", async || {
                let deleted = async |id: &str| client.session(id).await.state() == pb::SessionState::Deleted;
                (deleted("a").await).then_some(())
            })
            .await;
            assert_eq!(
                client.session("c").await.state(),
                pb::SessionState::Active,
                "{sql}"
            );
            refused(client.session_or("b").await, Code::DataLoss, "DATA_CORRUPT");
        }
    }
}
