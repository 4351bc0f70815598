//! What an index goes through: kills, damage, a file that is gone, and a command that makes it anew.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use super::*;
use crate::support::within;

/// The server's index.
const INDEX: &str = "search.db";

fn reindex(server: &Server) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sessiond"))
        .args(["reindex", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

#[tokio::test]
async fn everything_acknowledged_is_found_after_kills() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = client.blank().await;
    let mut client = client;
    let mut said = Vec::new();
    for round in 0..4 {
        for number in 0..25 {
            let name = format!("m{round}-{number}");
            client.say(&id, [named(&name, user("word"))]).await;
            said.push(name);
        }
        // In the middle of indexing, as likely as not.
        server.kill();
        server.restart().await;
        client = server.client_of(&client).await;
    }
    let mut found = client.ids("word").await;
    found.reverse();
    assert_eq!(found, said);
}

#[tokio::test]
async fn a_file_that_is_gone_or_damaged_is_made_anew() {
    let mut server = Server::start().await;
    let client = server.client().await;
    client
        .holding((0..50).map(|at| named(&format!("m{at}"), user("word"))))
        .await;
    assert_eq!(client.ids("word").await.len(), 50);
    let index = server.data().join(INDEX);
    server.stop().await;
    fs::remove_file(&index).unwrap();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(client.ids("word").await.len(), 50, "gone");
    server.stop().await;
    fs::write(&index, "this is no database".repeat(1_000)).unwrap();
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(client.ids("word").await.len(), 50, "no database");
    server.stop().await;
    let mut file = fs::OpenOptions::new().write(true).open(&index).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4_096)).unwrap();
    file.write_all(&vec![0x5a; usize::try_from(size - 4_096).unwrap()])
        .unwrap();
    drop(file);
    server.restart().await;
    let client = server.client_of(&client).await;
    until("the index is whole again", || async {
        let answer = client.search_messages(words("word")).await.ok()?;
        (answer.hits.len() == 50).then_some(())
    })
    .await;
    assert!(server.log().contains("damaged"));
}

#[tokio::test]
async fn it_can_be_made_anew_with_the_server_stopped() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let id = client
        .holding((0..30).map(|at| named(&format!("m{at}"), user("word"))))
        .await;
    client.fork(&id, Point::MessageIndex(10)).await;
    let before = client.places(words("word")).await;
    let (code, said) = reindex(&server);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("must be stopped"), "{said}");
    server.stop().await;
    let (code, said) = reindex(&server);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("30 messages indexed in "), "{said}");
    server.restart().await;
    let client = server.client_of(&client).await;
    assert_eq!(client.places(words("word")).await, before);
    let nowhere = Command::new(env!("CARGO_BIN_EXE_sessiond"))
        .args(["reindex", "--data"])
        .arg(server.folder().join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!server.folder().join("nowhere").exists());
}

#[tokio::test]
async fn a_damaged_message_keeps_no_other_from_being_found() {
    let mut server = Server::start().await;
    let client = server.client().await;
    client
        .holding((0..5).map(|at| named(&format!("m{at}"), user("word"))))
        .await;
    client.indexed().await;
    server.kill();
    let database = rusqlite::Connection::open(server.data().join("sessiond.db")).unwrap();
    let damaged = database
        .execute("UPDATE entries SET body = x'00' WHERE entry_id = 'm2'", ())
        .unwrap();
    assert_eq!(damaged, 1);
    drop(database);
    fs::remove_file(server.data().join(INDEX)).unwrap();
    server.restart().await;
    let client = server.client_of(&client).await;
    client.holding([named("later", user("word"))]).await;
    assert_eq!(client.ids("word").await, ["later", "m4", "m3", "m1", "m0"]);
}

#[tokio::test]
async fn readers_that_stop_reading_keep_nobody_from_searching() {
    let server = Server::start().await;
    let client = server.client().await;
    let long = "long ".repeat(100 * 1024);
    let id = client.holding((0..20).map(|_| user(&long))).await;
    client.holding([named("m", user("needle"))]).await;
    client.indexed().await;
    let mut stalled = Vec::new();
    for _ in 0..12 {
        let channel = server.client_of(&client).await.channel();
        let request = pb::ReadMessagesRequest {
            namespace: client.namespace().into(),
            session_id: id.clone(),
            ..Default::default()
        };
        let mut reader = Client::over(channel).sessions();
        // The first messages have come, and no more are asked for.
        let mut stream = reader.read_messages(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        stalled.push(stream);
    }
    for _ in 0..3 {
        let hits = within("a search beside them", client.search_messages(words("needle"))).await;
        assert_eq!(hits.unwrap().hits.len(), 1);
    }
}
