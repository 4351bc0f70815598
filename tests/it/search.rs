//! Search over the wire: what is said is found within a moment, by words, once, and as long as somebody shows it.

use std::process::Command;

use prost_types::Timestamp;

use crate::support::build::{
    answer, assistant, at, by, call, entries, entry, event, message, named, system, text, thinking, user,
};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::rewind_session_request::To;
use crate::support::pb::{self, Message, Role, SearchHit, SearchOrder, Session};
use crate::support::server::Setup;
use crate::support::{Client, Code, Failure, Server, Status, shared, until};

mod pages;
mod trouble;

/// A search for these words.
fn words(query: &str) -> pb::SearchMessagesRequest {
    pb::SearchMessagesRequest {
        query: query.into(),
        ..Default::default()
    }
}

/// Whether a time is not before another.
fn reaches(time: Option<&Timestamp>, other: Option<&Timestamp>) -> bool {
    let key = |time: &Timestamp| (time.seconds, time.nanos);
    time.map(key) >= other.map(key)
}

impl Client {
    /// Waits until everything written so far is indexed.
    async fn indexed(&self) {
        let marker = Session {
            labels: [("marker".to_owned(), String::new())].into(),
            ..Default::default()
        };
        let written = self.create(marker).await.update_time;
        until("the index has caught up", || async {
            let answer = self.search_messages(words("marker")).await.unwrap();
            reaches(answer.indexed_through.as_ref(), written.as_ref()).then_some(())
        })
        .await;
    }

    /// Everything that is found, page by page, once what was written is indexed.
    async fn found(&self, request: pb::SearchMessagesRequest) -> Vec<SearchHit> {
        self.indexed().await;
        self.found_now(request).await
    }

    async fn found_now(&self, mut request: pb::SearchMessagesRequest) -> Vec<SearchHit> {
        let mut hits = Vec::new();
        loop {
            let page = self.search_messages(request.clone()).await.unwrap();
            hits.extend(page.hits);
            if page.next_page_token.is_empty() {
                return hits;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The sessions and messages that are found.
    async fn places(&self, request: pb::SearchMessagesRequest) -> Vec<(String, String)> {
        let hits = self.found(request).await;
        hits.into_iter()
            .map(|hit| (hit.session_id, hit.message_id))
            .collect()
    }

    /// The messages that are found.
    async fn ids(&self, query: &str) -> Vec<String> {
        let places = self.places(words(query)).await;
        places.into_iter().map(|(_, message)| message).collect()
    }

    async fn say(&self, session: &str, messages: impl IntoIterator<Item = Message>) {
        self.append(session, entries(messages)).await;
    }
}

/// The words that a snippet marks.
fn marked(hit: &SearchHit) -> Vec<String> {
    let chars: Vec<char> = hit.snippet.chars().collect();
    let word = |mark: &pb::SearchMark| chars[mark.start as usize..mark.end as usize].iter().collect();
    hit.marks.iter().map(word).collect()
}

#[tokio::test]
async fn messages_are_found_by_their_words() {
    let client = shared().await;
    let session = client
        .holding([
            named("q", user("How do I parse a TOML file in Rust?")),
            named("a", assistant("Use the toml crate: it parses files with serde.")),
            named("s", system("You are a Rust expert.")),
            named("z", user("如何在Rust里解析文件")),
            named("f", user("Crème brûlée, STRASSE")),
        ])
        .await;
    for (query, found) in [
        ("toml", vec!["a", "q"]),
        ("TOML rust", vec!["q"]),
        ("pars*", vec!["a", "q"]),
        ("\"toml file\"", vec!["q"]),
        ("\"file toml\"", vec![]),
        ("解析", vec!["z"]),
        ("析解", vec![]),
        ("rust里", vec!["z"]),
        ("creme straße", vec!["f"]),
        ("toml OR serde", vec![]),
        ("toml -serde", vec!["a"]),
        ("NEAR(toml, crate)", vec![]),
        ("\"unbalanced toml", vec![]),
        ("expert", vec!["s"]),
        ("absent", vec![]),
    ] {
        assert_eq!(client.ids(query).await, found, "{query}");
    }
    let hits = client.found(words("crate toml")).await;
    let hit = &hits[0];
    assert_eq!(
        (hit.session_id.as_str(), hit.message_index),
        (session.as_str(), 1)
    );
    assert_eq!(hit.title, "How do I parse a TOML file in Rust?");
    assert_eq!(hit.role(), Role::Assistant);
    assert_eq!(hit.snippet, "Use the toml crate: it parses files with serde.");
    assert_eq!(marked(hit), ["toml", "crate"]);
    let stored = client.messages(&session).await;
    assert_eq!(hit.create_time, stored[1].create_time);
    let hits = client.found(words("rust")).await;
    let indexes: Vec<i64> = hits.iter().map(|hit| hit.message_index).collect();
    assert_eq!(indexes, [2, -1, 0], "instructions are not in the visible list");
    assert_eq!(client.found(words("解析文件")).await[0].message_index, 2);
}

#[tokio::test]
async fn text_inputs_and_outputs_are_searched_and_nothing_else() {
    let client = shared().await;
    let content = vec![
        text("spoken"),
        thinking("thought"),
        call("id-of-call", r#"{"code":"first\nsecond caf\u00e9"}"#),
        answer("id-of-call", "printed"),
    ];
    let id = client.blank().await;
    let said = by("reviewer", named("m", message(Role::Assistant, content)));
    client
        .append(&id, vec![event(r#"{"happened":1}"#), entry(said)])
        .await;
    for word in ["spoken", "second", "café", "code", "printed"] {
        assert_eq!(client.ids(word).await, ["m"], "{word}");
    }
    for word in ["thought", "nsecond", "happened", "reviewer", "id-of-call", "tool"] {
        assert_eq!(client.ids(word).await, Vec::<String>::new(), "{word}");
    }
    let filler = "x ".repeat(128 * 1024);
    client
        .say(&id, [named("long", user(&format!("inside {filler} outside")))])
        .await;
    assert_eq!(client.ids("inside").await, ["long"]);
    assert_eq!(client.ids("outside").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let client = shared().await;
    let id = client.holding([user("word")]).await;
    let field = |status: Status| {
        let failure = Failure::of(&status);
        assert_eq!(failure.code, Code::InvalidArgument);
        failure.fields[0].clone()
    };
    for query in ["", " ", "\"\"", "*", "!?"] {
        let refused = client.search_messages(words(query)).await.unwrap_err();
        assert_eq!(field(refused), "query", "{query:?}");
    }
    for (request, named) in [
        (
            pb::SearchMessagesRequest {
                roles: vec![0],
                ..words("x")
            },
            "roles",
        ),
        (
            pb::SearchMessagesRequest {
                order: 9,
                ..words("x")
            },
            "order",
        ),
        (
            pb::SearchMessagesRequest {
                page_size: -1,
                ..words("x")
            },
            "page_size",
        ),
        (
            pb::SearchMessagesRequest {
                session_id: Some("a/b".into()),
                ..words("x")
            },
            "session_id",
        ),
        (
            pb::SearchMessagesRequest {
                created_after: Some(Timestamp {
                    seconds: 0,
                    nanos: -1,
                }),
                ..words("x")
            },
            "created_after",
        ),
    ] {
        assert_eq!(field(client.search_messages(request).await.unwrap_err()), named);
    }
    let absent = pb::SearchMessagesRequest {
        session_id: Some(format!("{id}-not")),
        ..words("word")
    };
    let refused = client.search_messages(absent).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn a_shared_message_is_found_once_in_the_oldest_that_shows_it() {
    let client = shared().await;
    let make = |id: &str, workspace: &str| Session {
        session_id: id.into(),
        workspace: workspace.into(),
        ..Default::default()
    };
    client.create(make("root", "/one")).await;
    let said = [
        named("m0", user("shared beginning")),
        named("m1", assistant("shared answer")),
        named("m2", user("shared but cut")),
    ];
    client.say("root", said).await;
    let mut forks = Vec::new();
    for _ in 0..3 {
        let fork = client.fork("root", Point::MessageIndex(2)).await.session.unwrap();
        forks.push(fork.session_id);
    }
    client
        .say(&forks[1], [named("own", user("shared by nobody"))])
        .await;
    let pair = |session: &str, message: &str| (session.to_owned(), message.to_owned());
    let all = [
        pair(&forks[1], "own"),
        pair("root", "m2"),
        pair("root", "m1"),
        pair("root", "m0"),
    ];
    assert_eq!(client.places(words("shared")).await, all);

    let inside = |id: &str| pb::SearchMessagesRequest {
        session_id: Some(id.to_owned()),
        ..words("shared")
    };
    let in_fork = client.found(inside(&forks[1])).await;
    let seen: Vec<_> = in_fork
        .iter()
        .map(|hit| (hit.message_id.as_str(), hit.message_index))
        .collect();
    assert_eq!(
        seen,
        [("own", 2), ("m1", 1), ("m0", 0)],
        "inherited messages count"
    );
    assert!(in_fork.iter().all(|hit| hit.session_id == forks[1]));

    let elsewhere = Session {
        session_id: forks[2].clone(),
        workspace: "/two".into(),
        ..Default::default()
    };
    client.update_or(elsewhere, &["workspace"]).await.unwrap();
    let in_two = pb::SearchMessagesRequest {
        workspace: Some("/two/../two/".into()),
        ..words("shared")
    };
    assert_eq!(
        client.places(in_two).await,
        [pair(&forks[2], "m1"), pair(&forks[2], "m0")]
    );
    let nowhere = pb::SearchMessagesRequest {
        workspace: Some("/two".into()),
        ..inside(&forks[1])
    };
    assert!(client.found(nowhere).await.is_empty());

    client.delete("root").await;
    let left = [
        pair(&forks[1], "own"),
        pair(&forks[0], "m1"),
        pair(&forks[0], "m0"),
    ];
    assert_eq!(client.places(words("shared")).await, left);
    assert!(
        client.found(inside("root")).await.is_empty(),
        "a deleted session shows nothing"
    );
    let undelete = pb::UndeleteSessionRequest {
        session_id: "root".into(),
        ..Default::default()
    };
    client.undelete_session(undelete).await.unwrap();
    assert_eq!(client.places(words("shared")).await, all);
    let purge = pb::DeleteSessionRequest {
        session_id: "root".into(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    assert_eq!(client.places(words("shared")).await, left);
}

#[tokio::test]
async fn filters() {
    let client = shared().await;
    let other = client.in_namespace(&format!("{}-other", client.namespace()));
    let dated = |id: &str, second: i64, said: Message| Message {
        create_time: Some(at(second)),
        ..named(id, said)
    };
    let id = client.blank().await;
    let said = [
        dated("m1", 10, user("word")),
        dated("m2", 30, assistant("word")),
        dated("m3", 20, message(Role::Tool, vec![answer("c", "word")])),
    ];
    client.say(&id, said).await;
    other.holding([named("o", user("word"))]).await;
    assert_eq!(client.ids("word").await, ["m2", "m3", "m1"]);
    assert_eq!(other.ids("word").await, ["o"]);
    let roles = |roles: &[Role]| pb::SearchMessagesRequest {
        roles: roles.iter().map(|role| i32::from(*role)).collect(),
        ..words("word")
    };
    let between = |after: Option<i64>, before: Option<i64>| pb::SearchMessagesRequest {
        created_after: after.map(at),
        created_before: before.map(at),
        ..words("word")
    };
    for (request, found) in [
        (roles(&[Role::User]), vec!["m1"]),
        (roles(&[Role::Assistant, Role::Tool]), vec!["m2", "m3"]),
        (between(Some(10), None), vec!["m2", "m3"]),
        (between(None, Some(30)), vec!["m3", "m1"]),
        (between(Some(10), Some(30)), vec!["m3"]),
        (between(Some(30), None), vec![]),
    ] {
        let places = client.places(request.clone()).await;
        let ids: Vec<String> = places.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, found, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_rewound_away_is_not_found() {
    let client = shared().await;
    let id = client
        .holding((0..4).map(|at| named(&format!("m{at}"), user("word"))))
        .await;
    assert_eq!(client.ids("word").await, ["m3", "m2", "m1", "m0"]);
    client.rewind(&id, To::DropLast(2)).await;
    assert_eq!(client.ids("word").await, ["m1", "m0"]);
    client.say(&id, [named("anew", user("word"))]).await;
    assert_eq!(client.ids("word").await, ["anew", "m1", "m0"]);
    client.rewind(&id, To::ToRevision(2)).await;
    assert_eq!(client.ids("word").await, ["m3", "m2", "m1", "m0"]);
}

#[tokio::test]
async fn secrets_are_masked_before_anything_is_cut() {
    let client = shared().await;
    let secret = format!("sk-{}", "abcdefgh12345678".repeat(20));
    let titled = Session {
        session_id: "s".into(),
        title: "password=hunter2hunter2".into(),
        ..Default::default()
    };
    client.create(titled).await;
    client
        .say("s", [user(&format!("the key is {secret} and no more"))])
        .await;
    let masked = pb::SearchMessagesRequest {
        redact: true,
        ..words("more key")
    };
    let hit = client.found(masked).await.remove(0);
    assert!(!hit.snippet.contains("abcdefgh12345678"), "{}", hit.snippet);
    assert!(!hit.title.contains("hunter2"), "{}", hit.title);
    assert_eq!(marked(&hit), ["key", "more"]);
    let plain = client.found(words("key")).await.remove(0);
    assert!(plain.snippet.contains("abcdefgh12345678"));
    assert!(plain.title.contains("hunter2"));
}

#[tokio::test]
async fn the_best_comes_first_when_that_is_asked_for() {
    let client = shared().await;
    let filler = "and so on ".repeat(100);
    client
        .holding([
            named("often", user("fox fox fox")),
            named("once", user("one fox")),
            named("long", user(&format!("fox {filler}"))),
            named("none", user("a cat")),
        ])
        .await;
    let best = |page_size: i32| pb::SearchMessagesRequest {
        order: SearchOrder::Relevance.into(),
        page_size,
        ..words("fox")
    };
    for page_size in [0, 1, 2] {
        let ids: Vec<String> = client
            .places(best(page_size))
            .await
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        assert_eq!(ids, ["often", "once", "long"], "by {page_size}");
    }
}

#[tokio::test]
async fn the_command_line_finds_and_marks() {
    let client = shared().await;
    let id = client
        .holding([user("the \x1b quick fox"), assistant("a slow fox")])
        .await;
    client.indexed().await;
    let run = |line: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sessiond"))
            .arg("search")
            .args(line)
            .env("SESSIOND_ADDR", client.address())
            .env("SESSIOND_NAMESPACE", client.namespace())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, out) = run(&["quick", "FOX"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains(&id) && out.contains("message 0") && out.contains("the ␛ quick fox"),
        "{out}"
    );
    let (_, out) = run(&["fox", "--role", "assistant", "--session", &id, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json[0]["snippet"], "a slow fox");
    assert_eq!(json[0]["marks"][0], serde_json::json!({"start": 7, "end": 10}));
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert!(run(&["fox", "-n", "1"]).1.contains("there may be more"));
    assert_eq!(run(&["absent"]), (Some(0), "nothing found\n".to_owned()));
    assert_eq!(run(&["?!"]).0, Some(1));
    assert_eq!(run(&[]).0, Some(2));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[search]\nenabled = false\n").unwrap();
    let arguments = vec!["--config".to_owned(), config.display().to_string()];
    let setup = Setup {
        arguments,
        ..Default::default()
    };
    let server = Server::start_with(setup).await;
    let client = server.client().await;
    client.holding([user("word")]).await;
    let refused = client.search_messages(words("word")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(!server.data().join("search.db").exists());
}
