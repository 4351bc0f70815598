//! Export, import elsewhere, export again: byte for byte the same.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::support::build::{
    answer, asks, assistant, at, block, by, call, checkpoint, entries, entry, event, message, named, opaque,
    pointer, says, system, text, thinking, usage, user,
};
use crate::support::pb::content_block::Block;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    AppendEntriesRequest, ExportFormat, ExportSessionRequest, ImportHeader, Message, Role,
    SaveSessionRequest, Session, SessionState, Thread, TitleSource,
};
use crate::support::raw::{field, unary, with_unknown_field};
use crate::support::transfer::{
    export_or, header, import_or, import_parts, imported, jsonl, parts, problems, sum,
};
use crate::support::{Client, pb, shared, until};

/// Goes out, comes in elsewhere, goes out again; what came in.
async fn travels(client: &Client, id: &str) -> Session {
    let elsewhere = shared().await;
    let text = jsonl(client, id).await;
    let answer = imported(&elsewhere, &text).await;
    assert_eq!(problems(&answer), Vec::<String>::new());
    let again = jsonl(&elsewhere, id).await;
    assert_eq!(again, text);
    let (there, here) = (elsewhere.session(id).await, client.session(id).await);
    assert_eq!(answer.sessions, std::slice::from_ref(&there));
    let alike = Session {
        namespace: here.namespace,
        revision: here.revision,
        etag: here.etag,
        thread_id: here.thread_id,
        delete_time: here.delete_time,
        purge_time: here.purge_time,
        state: here.state,
        ..there.clone()
    };
    assert_eq!(alike, client.session(id).await);
    assert_eq!(elsewhere.entries(id).await, client.entries(id).await);
    there
}

fn facts() -> Session {
    Session {
        title: "日本 \"quoted\" 🦀".into(),
        workspace: "/somewhere/a b".into(),
        provider: "p".into(),
        endpoint: "https://e".into(),
        model: "m".into(),
        mode: "plan".into(),
        task_type: "t".into(),
        system_prompt: "line\nline \u{1b}[31m".into(),
        labels: BTreeMap::from([
            ("k".to_owned(), "v\n".to_owned()),
            (String::new(), "e".to_owned()),
        ]),
        settings_json: " {\"n\": 1e400, \"b\":9007199254740993}\n".into(),
        metadata_json: "[\"\\ud800\"]".into(),
        starred: true,
        state: SessionState::Archived.into(),
        ..Default::default()
    }
}

/// Everything that a log may hold.
fn everything() -> Vec<pb::Entry> {
    let precise = prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 123_456_789,
    };
    let thought = block(Block::Thinking(pb::ThinkingBlock {
        thinking: String::new(),
        signature: "sig".into(),
        state_json: "{ \"x\" :1e400}".into(),
    }));
    let image = block(Block::Image(pb::ImageBlock {
        media_type: "image/png".into(),
        source: Some(pb::image_block::Source::Data(vec![0, 255, 1])),
    }));
    let hinted = pb::ContentBlock {
        cache_control_json: "not json".into(),
        ..text(" ")
    };
    let first = Message {
        create_time: Some(precise),
        metadata_json: "{}".into(),
        model: "m2".into(),
        usage: Some(usage(3)),
        turn_id: "turn".into(),
        ..named(
            "named",
            message(Role::Assistant, vec![thought, call("1", "{\"n\":1e400}"), image]),
        )
    };
    let mut log = vec![
        entry(system("rules")),
        entry(user("  first\r\n")),
        entry(first),
        entry(message(Role::User, vec![answer("1", ""), hinted])),
        entry(by("reviewer/2", assistant("said below"))),
        entry(message(Role::Tool, vec![answer("2", "x")])),
        event("[1e400]"),
        entry(message(
            Role::Assistant,
            vec![opaque("{ not parsed"), thinking("hm")],
        )),
        checkpoint(vec![user("in short"), by("sub", assistant("y"))]),
        pointer("named", "named"),
        entry(message(Role::User, vec![])),
        entry(user("last \u{202e}one")),
    ];
    log[6].create_time = Some(at(-5));
    log[6].entry_id = "event-entry".into();
    log
}

#[tokio::test]
async fn everything_comes_back() {
    let client = shared().await;
    let id = client.create(facts()).await.session_id;
    client.append(&id, everything()).await;
    let there = travels(&client, &id).await;
    assert_eq!((there.state(), there.starred), (SessionState::Archived, true));
    assert_eq!(there.title_source(), TitleSource::User);
    assert_eq!(there.preview, "last \u{202e}one");
    assert_eq!(there.usage, Some(usage(3)));
}

#[tokio::test]
async fn what_nobody_knows_yet_comes_back() {
    let client = shared().await;
    let id = client.blank().await;
    let strange = [
        field(3, [field(900, "hologram"), field(8, "{ }")].concat()),
        with_unknown_field(&named("a", message(Role::Assistant, vec![call("1", "1e400")]))),
        field(3, with_unknown_field(&text("x"))),
    ]
    .concat();
    let event = with_unknown_field(&pb::Event::default());
    let context = field(5, field(1, &strange));
    let mut wire = AppendEntriesRequest {
        namespace: client.namespace().into(),
        session_id: id.clone(),
        ..Default::default()
    }
    .encode_to_vec();
    for row in [field(4, &strange), field(6, &event), context] {
        wire.extend(field(3, row));
    }
    unary(&client, "SessionService/AppendEntries", wire)
        .await
        .unwrap();
    travels(&client, &id).await;
}

#[tokio::test]
async fn a_fork_goes_out_whole() {
    let client = shared().await;
    let id = client.create(facts()).await.session_id;
    client.append(&id, everything()).await;
    let fork = client
        .fork(&id, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap();
    assert_eq!(fork.usage.unwrap().cost_micros, 0);
    let more = Message {
        usage: Some(usage(5)),
        ..assistant("on the fork")
    };
    client
        .append(&fork.session_id, entries([user("again"), more]))
        .await;
    let there = travels(&client, &fork.session_id).await;
    assert_eq!(there.origin, fork.origin);
    assert_eq!(
        there.usage.unwrap().cost_micros,
        30,
        "what the fork inherited is not its own"
    );
}

#[tokio::test]
async fn sessions_of_every_kind_come_back() {
    let client = shared().await;
    let empty = client.blank().await;
    travels(&client, &empty).await;

    let part = client
        .create(Session {
            parent_session_id: empty.clone(),
            ..Default::default()
        })
        .await
        .session_id;
    assert_eq!(travels(&client, &part).await.parent_session_id, empty);

    let untitled = client.holding([user("a title")]).await;
    let cleared = Session {
        session_id: untitled.clone(),
        ..Default::default()
    };
    client.update_or(cleared, &["title"]).await.unwrap();
    assert_eq!(travels(&client, &untitled).await.title, "");

    let thread = client
        .open(Thread {
            title: "of the engine".into(),
            ..Default::default()
        })
        .await;
    client.turn(&thread, vec![asks("q"), says("a")]).await;
    let saved = client.save(&thread).await.session.unwrap().session_id;
    assert_eq!(travels(&client, &saved).await.title_source(), TitleSource::Engine);

    let deleted = client.holding([user("gone")]).await;
    client.delete(&deleted).await;
    assert_eq!(travels(&client, &deleted).await.state(), SessionState::Active);
}

#[tokio::test]
async fn large_messages_go_in_pieces() {
    let client = shared().await;
    let long = "é".repeat(1_500_000);
    // Of the second one the readable form has no place beside the bytes.
    let controls = "\u{1}".repeat(15 << 20);
    let id = client.holding([user(&long)]).await;
    client.append(&id, entries([assistant(&controls)])).await;
    let request = ExportSessionRequest {
        session_id: id.clone(),
        format: ExportFormat::Jsonl.into(),
        ..Default::default()
    };
    let chunks = export_or(&client, request).await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.len() <= 2 << 20));
    let text = String::from_utf8(chunks.concat()).unwrap();
    let elsewhere = shared().await;
    let answer = import_parts(
        &elsewhere,
        parts(&elsewhere, header(), text.as_bytes(), 3 << 20, ""),
    )
    .await;
    assert_eq!(problems(&answer.unwrap()), Vec::<String>::new());
    assert!(jsonl(&elsewhere, &id).await == text, "byte for byte");
}

#[tokio::test]
async fn a_message_as_large_as_may_be_comes_back_with_the_id_that_it_was_given() {
    let client = shared().await;
    let around = user(&"x".repeat(15 << 20)).encoded_len() - (15 << 20);
    let said = user(&"x".repeat((16 << 20) - around));
    let id = client.holding([said]).await;
    travels_large(&client, &id).await;
}

async fn travels_large(client: &Client, id: &str) {
    let elsewhere = shared().await;
    let text = jsonl(client, id).await;
    assert_eq!(problems(&imported(&elsewhere, &text).await), Vec::<String>::new());
    assert!(jsonl(&elsewhere, id).await == text, "byte for byte");
}

#[tokio::test]
async fn pieces_end_anywhere() {
    let client = shared().await;
    let id = client.create(facts()).await.session_id;
    client.append(&id, everything()).await;
    let text = jsonl(&client, &id).await;
    for size in [1, 7, 100_000] {
        let elsewhere = shared().await;
        let parts = parts(&elsewhere, header(), text.as_bytes(), size, "");
        let answer = import_parts(&elsewhere, parts).await.unwrap();
        assert_eq!(problems(&answer), Vec::<String>::new());
        assert_eq!(jsonl(&elsewhere, &id).await, text);
    }
}

#[tokio::test]
async fn an_import_may_say_where_it_goes() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = client.create(facts()).await.session_id;
    client.append(&id, everything()).await;
    let text = jsonl(&client, &id).await;
    let header = ImportHeader {
        session_id: Some("mine".into()),
        workspace: Some(" /elsewhere/./x/ ".into()),
        ..header()
    };
    let answer = import_or(&elsewhere, header, &text).await.unwrap();
    assert_eq!(sum(&answer), (vec!["mine".to_owned()], 12, 0));
    let there = elsewhere.session("mine").await;
    assert_eq!(there.workspace, "/elsewhere/x");
    let back = text
        .replace(&id, "mine")
        .replace("/somewhere/a b", "/elsewhere/x");
    assert_eq!(jsonl(&elsewhere, "mine").await, back);
}

#[tokio::test]
async fn what_came_in_is_found_by_its_words() {
    let (client, elsewhere) = (shared().await, shared().await);
    let few = client.holding([user("a rare axolotl")]).await;
    let many = (0..1_200).map(|number| user(&format!("axolotl number {number}")));
    let many = client.holding(many).await;
    for id in [&few, &many] {
        imported(&elsewhere, &jsonl(&client, id).await).await;
    }
    for (query, id) in [("rare axolotl", &few), ("\"number 1199\"", &many)] {
        let found = until("the index has caught up", || async {
            let request = pb::SearchMessagesRequest {
                query: query.into(),
                ..Default::default()
            };
            let mut hits = elsewhere.search_messages(request).await.unwrap().hits;
            hits.pop()
        })
        .await;
        assert_eq!(found.session_id, *id);
    }
}

#[tokio::test]
async fn an_imported_session_is_one_like_others() {
    let (client, elsewhere) = (shared().await, shared().await);
    let thread = client.running(vec![asks("q"), says("a")]).await;
    let saved = client.save(&thread).await.session.unwrap().session_id;
    imported(&elsewhere, &jsonl(&client, &saved).await).await;
    elsewhere.append(&saved, entries([user("goes on")])).await;
    let fork = elsewhere
        .fork(&saved, Point::TurnsFromEnd(0))
        .await
        .session
        .unwrap();
    assert_eq!(fork.message_count, 2);
    let progress = elsewhere.resume(&saved).await;
    assert_eq!(progress.items_written, 3);
    elsewhere
        .turn(&progress.thread_id, vec![asks("more"), says("yes")])
        .await;
    let again = SaveSessionRequest {
        thread_id: progress.thread_id,
        ..Default::default()
    };
    let session = elsewhere.save_session(again).await.unwrap().session.unwrap();
    assert_eq!((session.session_id, session.message_count), (saved, 5));
}
