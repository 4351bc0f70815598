//! The log of a session: appended to, listed, read as messages, and kept byte for byte.

mod bytes;
mod limits;
mod reading;

use crate::support::build::{
    answer, assistant, at, by, call, checkpoint, entries, entry, event, message, named, opaque, system, talk,
    text, thinking, usage, user,
};
use crate::support::failure::invalid;
use crate::support::pb::entry::Payload;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    AppendEntriesRequest, Checkpoint, ContentBlock, Entry, Event, Message, Role, Session,
};
use crate::support::pb::{DocumentBlock, ImageBlock, content_block::Block, document_block, image_block};
use crate::support::{Code, refused, shared};

/// One message with every kind of block.
fn every_block() -> Message {
    let image = ImageBlock {
        media_type: "image/png".into(),
        source: Some(image_block::Source::Data(vec![0, 255, 1])),
    };
    let document = DocumentBlock {
        media_type: "application/pdf".into(),
        name: "a.pdf".into(),
        source: Some(document_block::Source::Uri("https://example/a.pdf".into())),
    };
    let hinted = ContentBlock {
        cache_control_json: "{ \"type\" :1e400}".into(),
        ..text(" kept \n")
    };
    Message {
        message_id: "m".into(),
        role: Role::Assistant.into(),
        content: vec![
            hinted,
            thinking("hm"),
            call("same", r#"{"n":9007199254740993}"#),
            call("same", "1e400"),
            answer("same", "x"),
            crate::support::build::block(Block::Image(image)),
            crate::support::build::block(Block::Document(document)),
            opaque("{\"as\": [it, came"),
            ContentBlock::default(),
        ],
        turn_id: "turn".into(),
        agent_path: String::new(),
        model: "model".into(),
        usage: Some(usage(3)),
        metadata_json: " {}".into(),
        create_time: Some(at(1_000)),
    }
}

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let client = shared().await;
    let id = client.blank().await;
    let given = vec![
        Entry {
            entry_id: "m".into(),
            create_time: Some(at(2_000)),
            ..entry(every_block())
        },
        Entry {
            entry_id: "c".into(),
            create_time: Some(at(2_001)),
            ..checkpoint(vec![every_block(), system("s")])
        },
        Entry {
            entry_id: "e".into(),
            create_time: Some(at(2_002)),
            ..event("{ }")
        },
    ];
    let appended = client.append(&id, given.clone()).await;
    assert_eq!(
        (appended.first_seq, appended.last_seq, appended.entries_added),
        (1, 3, 3)
    );
    let expected: Vec<_> = given
        .into_iter()
        .zip(1..)
        .map(|(entry, seq)| Entry { seq, ..entry })
        .collect();
    assert_eq!(client.entries(&id).await, expected);
    assert_eq!(client.messages(&id).await, [every_block()]);
}

#[tokio::test]
async fn what_is_missing_is_filled_in() {
    let client = shared().await;
    let id = client.blank().await;
    client
        .append(
            &id,
            vec![
                Entry {
                    seq: 99,
                    ..entry(user("a"))
                },
                event(""),
                checkpoint(vec![]),
            ],
        )
        .await;
    let read = client.entries(&id).await;
    assert_eq!(read.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    for entry in &read {
        assert_eq!(entry.entry_id.len(), 36, "a UUIDv7: {entry:?}");
        assert!(entry.create_time.unwrap().seconds > 0);
    }
    let Some(Payload::Message(message)) = &read[0].payload else {
        panic!("{read:?}")
    };
    assert_eq!(message.message_id, read[0].entry_id);
    assert!(message.create_time.is_some());
    assert_eq!(client.entries(&id).await, read, "once and for all");
}

#[tokio::test]
async fn a_message_and_its_entry_have_one_id() {
    let client = shared().await;
    let id = client.blank().await;
    let of_entry = Entry {
        entry_id: "a".into(),
        ..entry(user("1"))
    };
    let of_message = entry(named("b", user("2")));
    let both = Entry {
        entry_id: "c".into(),
        ..entry(named("c", user("3")))
    };
    client.append(&id, vec![of_entry, of_message, both]).await;
    let ids: Vec<_> = client
        .entries(&id)
        .await
        .into_iter()
        .map(|entry| match entry.payload {
            Some(Payload::Message(message)) => (entry.entry_id, message.message_id),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["a", "b", "c"].map(|id| (id.to_owned(), id.to_owned())));

    let two = Entry {
        entry_id: "d".into(),
        ..entry(named("e", user("4")))
    };
    invalid(client.append_or(&id, vec![entry(user("5")), two]).await, "_id");
    assert_eq!(client.session(&id).await.entry_count, 3, "all or nothing");
}

#[tokio::test]
async fn a_known_entry_is_not_added_again() {
    let client = shared().await;
    let id = client.blank().await;
    client
        .append(
            &id,
            entries([named("a", user("first")), named("b", user("second"))]),
        )
        .await;
    let again = client
        .append(
            &id,
            entries([named("b", user("other")), named("c", user("third"))]),
        )
        .await;
    assert_eq!((again.first_seq, again.last_seq, again.entries_added), (2, 3, 1));
    assert_eq!(
        talk(&client.messages(&id).await),
        ["user: first", "user: second", "user: third"]
    );

    let twice = client
        .append(
            &id,
            entries([
                named("d", user("x")),
                named("d", user("y")),
                named("a", user("z")),
            ]),
        )
        .await;
    assert_eq!((twice.first_seq, twice.last_seq, twice.entries_added), (1, 4, 1));
    let before = client.session(&id).await;
    let known = client.append(&id, entries([named("b", user(""))])).await;
    assert_eq!((known.first_seq, known.last_seq, known.entries_added), (2, 2, 0));
    assert_eq!(known.session.unwrap(), before);

    let fork = client
        .fork(&id, Point::MessageIndex(2))
        .await
        .session
        .unwrap()
        .session_id;
    let inherited = client
        .append(&fork, entries([named("b", user("")), named("c", user("mine"))]))
        .await;
    assert_eq!(
        (inherited.first_seq, inherited.last_seq, inherited.entries_added),
        (2, 3, 1)
    );
}

#[tokio::test]
async fn what_cannot_be_an_entry_is_refused_and_nothing_is_added() {
    let client = shared().await;
    let id = client.blank().await;
    let bad = |entry: Entry| vec![crate::support::build::entry(user("good")), entry];
    for (field, bad) in [
        (
            "entries[1].payload",
            bad(Entry {
                entry_id: "e".into(),
                ..Default::default()
            }),
        ),
        ("entries[1].message.role", bad(entry(Message::default()))),
        (
            "entries[1].message.role",
            bad(entry(Message {
                role: 99,
                ..user("a")
            })),
        ),
        (
            "role",
            bad(checkpoint(vec![user("a"), message(Role::Unspecified, vec![])])),
        ),
    ] {
        invalid(client.append_or(&id, bad).await, field);
    }
    invalid(client.append_or(&id, vec![]).await, "entries");
    let session = client.session(&id).await;
    assert_eq!((session.entry_count, session.revision), (0, 1));
}

#[tokio::test]
async fn an_expected_revision_must_be_the_present_one() {
    let client = shared().await;
    let id = client.blank().await;
    let append = |expected_revision| AppendEntriesRequest {
        session_id: id.clone(),
        entries: entries([user("a")]),
        expected_revision,
        ..Default::default()
    };
    assert_eq!(
        client
            .append_entries(append(Some(1)))
            .await
            .unwrap()
            .session
            .unwrap()
            .revision,
        2
    );
    for old in [1, 3, u64::MAX] {
        let failure = refused(
            client.append_entries(append(Some(old))).await,
            Code::Aborted,
            "REVISION_MISMATCH",
        );
        assert!(failure.names("2"), "{failure:?}");
    }
    assert_eq!(
        client
            .append_entries(append(Some(0)))
            .await
            .unwrap()
            .session
            .unwrap()
            .revision,
        3
    );
    assert_eq!(
        client
            .append_entries(append(None))
            .await
            .unwrap()
            .session
            .unwrap()
            .revision,
        4
    );
    assert_eq!(client.session(&id).await.message_count, 3);
}

#[tokio::test]
async fn two_writers_never_both_win_a_revision() {
    let client = shared().await;
    let id = client.blank().await;
    let attempts = (0..32).map(|n| {
        let request = AppendEntriesRequest {
            session_id: id.clone(),
            entries: entries([user(&n.to_string())]),
            expected_revision: Some(1),
            ..Default::default()
        };
        client.append_entries(request)
    });
    let (won, lost): (Vec<_>, Vec<_>) = futures_util::future::join_all(attempts)
        .await
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 31));
    for lost in lost {
        refused(lost, Code::Aborted, "REVISION_MISMATCH");
    }
    assert_eq!(client.session(&id).await.entry_count, 1);
}

#[tokio::test]
async fn the_head_counts_what_the_log_holds() {
    let client = shared().await;
    let id = client.blank().await;
    let told = |session: &Session| {
        (
            session.entry_count,
            session.message_count,
            session.has_user_interaction,
            session.preview.clone(),
        )
    };
    let mut spent = user("  What is\nthis? ");
    spent.usage = Some(usage(1));
    let mut costly = by("reviewer/2", assistant("sub"));
    costly.usage = Some(usage(u64::MAX / 6));
    for (given, expected) in [
        (entry(system("rules")), (1, 0, false, "")),
        (entry(assistant("hello")), (2, 1, false, "")),
        (entry(user(" \n")), (3, 2, false, "")),
        (
            entry(message(Role::User, vec![answer("1", "out")])),
            (4, 3, false, ""),
        ),
        (
            entry(message(Role::Tool, vec![answer("1", "out")])),
            (5, 4, false, ""),
        ),
        (event("{}"), (6, 4, false, "")),
        (entry(spent), (7, 5, true, "What is\nthis?")),
        (
            checkpoint(vec![user("not counted")]),
            (8, 5, true, "What is\nthis?"),
        ),
        (entry(costly), (9, 6, true, "What is\nthis?")),
        (entry(user(&"é".repeat(121))), (10, 7, true, &"é".repeat(120))),
    ] {
        let session = client.append(&id, vec![given]).await.session.unwrap();
        let (entries, messages, interaction, preview) = expected;
        assert_eq!(
            told(&session),
            (entries, messages, interaction, preview.to_owned())
        );
        assert_eq!(client.session(&id).await, session);
    }
    let usage = client.session(&id).await.usage.unwrap();
    assert_eq!(usage.input_tokens, 1 + u64::MAX / 6);
    assert_eq!(usage.cost_micros, u64::MAX, "sums stop at the largest value");
}

#[tokio::test]
async fn events_and_checkpoints_are_entries_of_their_own() {
    let client = shared().await;
    let id = client.blank().await;
    let given = [event(""), checkpoint(vec![])];
    client.append(&id, given.to_vec()).await;
    let read = client.entries(&id).await;
    assert_eq!(read[0].payload, given[0].payload);
    assert_eq!(read[1].payload, Some(Payload::Checkpoint(Checkpoint::default())));
    let bare = Entry {
        payload: Some(Payload::Event(Event::default())),
        ..Default::default()
    };
    client.append(&id, vec![bare]).await;
    assert_eq!(client.messages(&id).await, []);
}
