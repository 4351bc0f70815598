//! Starting again: on the same data, on data that another process holds, and on data that is not for this version.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use crate::support::build::{asks, assistant, at, call, entries, entry, event, message, named, says, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{self, Role, Session, Thread};
use crate::support::server::Setup;
use crate::support::{Client, Server, until};

const DATABASE: &str = "sessiond.db";

/// Some of everything.
pub(crate) async fn fill(client: &Client) {
    let facts = Session {
        session_id: "one".into(),
        title: "One".into(),
        labels: [("a".into(), "b".into())].into(),
        settings_json: "[1e400]".into(),
        starred: true,
        ..Default::default()
    };
    client.create(facts).await;
    let dated = pb::Entry {
        create_time: Some(at(7)),
        ..entry(named("m", message(Role::Assistant, vec![call("1", "{")])))
    };
    client
        .append(
            "one",
            vec![
                entry(user("a")),
                dated,
                event("{}"),
                entry(user("b")),
                entry(assistant("c")),
            ],
        )
        .await;
    client.fork("one", Point::UserMessageIndex(1)).await;
    let sub = Session {
        session_id: "sub".into(),
        parent_session_id: "one".into(),
        ..Default::default()
    };
    client.create(sub).await;
    client.delete("sub").await;
    let thread = client
        .open(Thread {
            thread_id: "thread".into(),
            ..Default::default()
        })
        .await;
    client.turn(&thread, vec![asks("q"), says("a")]).await;
    client.save(&thread).await;
    let turn = client.start(&thread).await;
    client.add(&thread, &turn, vec![asks("still open")]).await;
}

/// Everything that the namespace shows.
pub(crate) async fn everything(client: &Client) -> String {
    let all = pb::ListSessionsRequest {
        states: vec![1, 2, 3],
        ..Default::default()
    };
    let mut seen = String::new();
    for session in client.listed(all).await {
        seen += &format!("{session:?}\n{:?}\n", client.entries(&session.session_id).await);
        seen += &format!("{:?}\n", client.context(&session.session_id).await);
    }
    let threads = client
        .list_threads(pb::ListThreadsRequest::default())
        .await
        .unwrap()
        .threads;
    for thread in threads {
        let list = pb::ListItemsRequest {
            thread_id: thread.thread_id.clone(),
            ..Default::default()
        };
        seen += &format!("{thread:?}\n{:?}\n", client.list_items(list).await.unwrap());
    }
    seen
}

async fn ended(mut child: Child) -> ExitStatus {
    until("the process ends", || {
        std::future::ready(child.try_wait().unwrap())
    })
    .await
}

#[tokio::test]
async fn everything_is_there_after_a_restart_of_either_kind() {
    let mut server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    let before = everything(&client).await;
    server.kill();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(everything(&client).await, before, "after a kill");
    server.stop().await;
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(everything(&client).await, before, "after a stop in good order");
    assert!(!server.folder().join("data").join("sessiond.db-journal").exists());

    client.append("one", entries([user("on it goes")])).await;
    let turn = client.thread("thread").await.active_turn_id;
    client.finish("thread", &turn).await;
    assert_eq!(client.save("thread").await.message_count, 3);
}

#[tokio::test]
async fn a_directory_has_one_server() {
    let server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    let before = everything(&client).await;
    let mut second = Server::stopped(Setup {
        data: Some(server.data()),
        ..Setup::default()
    });
    let ready = second.folder().join("ready");
    let status = ended(second.launch(&ready)).await;
    assert_eq!(status.code(), Some(1));
    assert!(!ready.exists(), "it never was ready");
    let said = second.log();
    assert!(said.contains("lock"), "{said}");
    assert!(
        said.contains("sessiond.lock") || said.contains(server.data().to_str().unwrap()),
        "which one: {said}"
    );

    assert_eq!(everything(&client).await, before);
    client.append("one", entries([user("undisturbed")])).await;
    drop(server);
    second.restart().await;
}

/// What is in the files of a directory, the lock's aside.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    contents.sort();
    contents
}

async fn refuses(server: &Server, word: &str) {
    let before = contents(&server.data());
    let status = ended(server.launch(&server.folder().join("ready"))).await;
    assert_eq!(status.code(), Some(1));
    assert!(
        contents(&server.data()) == before,
        "the files are not what they were"
    );
    let said = server.log().to_lowercase();
    assert!(said.contains(word), "{word} is not in {said}");
}

#[tokio::test]
async fn data_of_a_newer_version_is_refused_and_left_alone() {
    let mut server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    let before = everything(&client).await;
    server.stop().await;
    let database = server.data().join(DATABASE);
    let version = |version: Option<i32>| {
        let conn = rusqlite::Connection::open(&database).unwrap();
        let found: i32 = conn
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        if let Some(version) = version {
            conn.pragma_update(None, "user_version", version).unwrap();
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
                .unwrap();
        }
        found
    };
    let known = version(Some(1_000_000));
    refuses(&server, "version").await;
    version(Some(known));
    server.restart().await;
    assert_eq!(everything(&server.client_of(&client).await).await, before);
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused_and_left_alone() {
    let mut server = Server::stopped(Setup::default());
    fs::create_dir(server.data()).unwrap();
    let database = server.data().join(DATABASE);
    fs::write(
        &database,
        "no database at all, but long enough to hold a header of one hundred bytes. ".repeat(9),
    )
    .unwrap();
    refuses(&server, "not a database").await;
    fs::remove_file(&database).unwrap();
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute_batch("CREATE TABLE mine (a); PRAGMA user_version = 1")
        .unwrap();
    drop(conn);
    refuses(&server, "not a database").await;
    fs::remove_file(&database).unwrap();
    server.restart().await;
}

#[tokio::test]
async fn the_data_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await;
    let client = server.client().await;
    fill(&client).await;
    for file in fs::read_dir(server.data())
        .unwrap()
        .map(|file| file.unwrap().path())
        .chain([server.data()])
    {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", file.display());
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_words() {
    let server = Server::start().await;
    for (arguments, code, word) in [
        (&["--listen", "0.0.0.0:0"][..], 1, "insecure"),
        (&["--listen", server.address()], 1, server.address()),
        (&["--listen", "nowhere"], 2, "nowhere"),
        (&["--config", "no-such-file.toml"], 1, "no-such-file.toml"),
        (&["--tls-cert", "cert.pem"], 2, "tls-key"),
        (&["--nonsense"], 2, "nonsense"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_sessiond"))
            .arg("serve")
            .arg("--data")
            .arg(data.path())
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
