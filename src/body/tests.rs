//! Bodies: byte for byte what came in, checked and counted once.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use uuid::Uuid;

use super::*;
use crate::domain::MessageFacts;
use crate::pb::content_block::Block;

const NOW: Time = Time(5_000_000_007);

pub(super) fn block(block: Block) -> pb::ContentBlock {
    pb::ContentBlock {
        block: Some(block),
        ..Default::default()
    }
}

pub(super) fn text(text: &str) -> pb::ContentBlock {
    block(Block::Text(pb::TextBlock { text: text.into() }))
}

pub(super) fn thinking(text: &str, signature: &str) -> pb::ContentBlock {
    let (thinking, signature) = (text.into(), signature.into());
    block(Block::Thinking(pb::ThinkingBlock {
        thinking,
        signature,
        ..Default::default()
    }))
}

pub(super) fn call(id: &str, input_json: &str) -> pb::ContentBlock {
    let (tool_use_id, name, input_json) = (id.into(), "run".into(), input_json.into());
    block(Block::ToolUse(pb::ToolUseBlock {
        tool_use_id,
        name,
        input_json,
    }))
}

pub(super) fn result(id: &str, content: Vec<pb::ContentBlock>) -> pb::ContentBlock {
    block(Block::ToolResult(pb::ToolResultBlock {
        tool_use_id: id.into(),
        content,
        is_error: false,
    }))
}

/// A block whose kind comes next year: field 99, length-delimited.
pub(super) fn of_next_year() -> Bytes {
    Bytes::from_static(b"\x9a\x06\x03new")
}

fn message(role: pb::Role, content: Vec<pb::ContentBlock>) -> pb::Message {
    pb::Message {
        role: role.into(),
        content,
        ..Default::default()
    }
}

fn given(kind: Kind, body: impl Into<Bytes>) -> Given {
    Given {
        id: None,
        create_time: None,
        kind,
        body: body.into(),
    }
}

fn read(given: Given) -> Result<NewEntry, Invalid> {
    entry(given, || Uuid::from_u128(7), NOW, &Limits::default())
}

fn facts(message: &pb::Message) -> MessageFacts {
    match read(given(Kind::Message, message.encode_to_vec()))
        .expect("valid")
        .payload
    {
        Payload::Message(facts) => facts,
        Payload::Checkpoint | Payload::Event => panic!("a message"),
    }
}

fn refused(given: Given) -> String {
    read(given).expect_err("invalid").field
}

fn user(content: Vec<pb::ContentBlock>) -> pb::Message {
    message(pb::Role::User, content)
}

#[test]
fn only_what_is_missing_is_added_behind() {
    let mut bytes = BytesMut::from(&user(vec![call("c", "[1e400, 9007199254740993")]).encode_to_vec()[..]);
    bytes.put_slice(b"\x1a\x06");
    bytes.put_slice(&of_next_year());
    bytes.put_slice(b"\xfa\x7f\x02hi");
    let bytes = bytes.freeze();

    let entry = read(given(Kind::Message, bytes.clone())).expect("valid");
    assert_eq!(entry.body[..bytes.len()], bytes[..]);
    assert_eq!(entry.id.as_str(), Uuid::from_u128(7).to_string());
    assert!(entry.id_is_fresh);
    assert_eq!(entry.digest, digest(&entry.body));
    let stored = pb::Message::decode(entry.body.clone()).expect("a message");
    assert_eq!(stored.message_id, entry.id.as_str());
    assert_eq!(stored.create_time, Some(value::timestamp(NOW)));
    assert_eq!(message_id(&entry.body).expect("a message"), entry.id.as_str());

    let again = read(given(Kind::Message, entry.body.clone())).expect("valid");
    assert_eq!(
        (again.body, again.create_time, again.id_is_fresh),
        (entry.body, NOW, false)
    );
}

#[test]
fn a_message_id_is_the_entry_id() {
    let said = |id: &str| {
        pb::Message {
            message_id: id.into(),
            ..user(vec![])
        }
        .encode_to_vec()
    };
    let with_id = |id: &str, body: Vec<u8>| Given {
        id: Some(EntryId::parse(id, "entry_id").expect("an id")),
        ..given(Kind::Message, body)
    };
    assert_eq!(refused(with_id("a", said("b"))), "entry_id");
    assert_eq!(refused(given(Kind::Message, said("a/b"))), "message.message_id");
    for entry in [
        with_id("a", said("a")),
        with_id("a", said("")),
        given(Kind::Message, said(" a ")),
    ] {
        let entry = read(entry).expect("valid");
        assert_eq!(entry.id.as_str(), "a");
        assert_eq!(message_id(&entry.body).expect("a message"), "a");
    }
}

#[test]
fn times_come_from_the_entry_then_the_body_then_the_clock() {
    let said = pb::Message {
        create_time: Some(value::timestamp(Time(1))),
        ..user(vec![])
    }
    .encode_to_vec();
    assert_eq!(
        read(given(Kind::Message, said.clone()))
            .expect("valid")
            .create_time,
        Time(1)
    );
    let entry = Given {
        create_time: Some(Time(2)),
        ..given(Kind::Message, said)
    };
    assert_eq!(read(entry).expect("valid").create_time, Time(2));
    let late = pb::Message {
        create_time: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..user(vec![])
    };
    assert_eq!(
        refused(given(Kind::Message, late.encode_to_vec())),
        "message.create_time"
    );
}

#[test]
fn refuses_what_cannot_be() {
    let torn = b"\x1a\x09\x0a".as_slice();
    for (kind, body, field) in [
        (Kind::Message, torn.to_vec(), "message"),
        (
            Kind::Message,
            b"\x10\x01\x1a\x01\x0a".to_vec(),
            "message.content[0]",
        ),
        (Kind::Checkpoint, torn.to_vec(), "checkpoint"),
        (Kind::Event, torn.to_vec(), "event"),
        (Kind::Message, vec![], "message.role"),
        (Kind::Message, b"\x10\x09".to_vec(), "message.role"),
        (Kind::Message, b"\x10\x01\x22\x03a/b".to_vec(), "message.turn_id"),
        (
            Kind::Message,
            b"\x10\x01\x42\x01{".to_vec(),
            "message.metadata_json",
        ),
        (Kind::Event, b"\x22\x01{".to_vec(), "event.data_json"),
        (
            Kind::Checkpoint,
            b"\x0a\x00".to_vec(),
            "checkpoint.context[0].role",
        ),
        (
            Kind::Checkpoint,
            b"\x1a\x01/".to_vec(),
            "checkpoint.summary_message_id",
        ),
    ] {
        assert_eq!(refused(given(kind, body)), field);
    }
    let limits = Limits {
        message_bytes_max: 3,
        ..Limits::default()
    };
    let long = entry(given(Kind::Event, vec![0; 4]), Uuid::nil, NOW, &limits).expect_err("too long");
    assert_eq!(
        (long.field.as_str(), long.limit),
        ("event", Some(("message_bytes_max", 3)))
    );
}

#[test]
fn refuses_what_clients_could_not_read() {
    let nested = |depth: usize| (0..depth).fold(text("in"), |inner, _| result("c", vec![inner]));
    let body = |depth| given(Kind::Message, user(vec![nested(depth)]).encode_to_vec());
    assert!(read(body(32)).is_ok());
    assert_eq!(refused(body(33)), "message.content[0]");
    assert_eq!(refused(body(60)), "message.content[0]");
}

#[test]
fn checkpoints_and_events_stay_as_they_came() {
    let context = user(vec![text("so far")]).encode_to_vec();
    let mut bytes = vec![0x0a, u8::try_from(context.len()).expect("short")];
    bytes.extend(&context);
    bytes.extend(b"\x1a\x01s\x22\x01l\xfa\x7f\x02hi");
    let entry = read(given(Kind::Checkpoint, bytes.clone())).expect("valid");
    assert_eq!((entry.body.to_vec(), entry.create_time), (bytes, NOW));
    let read_back = checkpoint(&entry.body).expect("a checkpoint");
    assert_eq!(read_back.context, [Bytes::from(context)]);
    assert_eq!(
        (&*read_back.summary_message_id, &*read_back.last_message_id),
        ("s", "l")
    );

    let event = pb::Event {
        event_id: "any text".into(),
        data_json: "[1e400]".into(),
        ..Default::default()
    };
    let bytes = Bytes::from(event.encode_to_vec());
    let entry = read(given(Kind::Event, bytes.clone())).expect("valid");
    assert_eq!((entry.body, entry.id_is_fresh), (bytes, true));
}

#[test]
fn user_interaction_is_a_text_that_is_not_blank() {
    for (message, has) in [
        (message(pb::Role::Assistant, vec![text("hello")]), false),
        (user(vec![text("hello")]), true),
        (user(vec![text(" \n\t")]), false),
        (user(vec![result("c", vec![text("out")])]), false),
        (user(vec![text(" "), text("second")]), true),
    ] {
        assert_eq!(facts(&message).opening.is_some(), has, "{message:?}");
    }
}

#[test]
fn openings() {
    let opening = |texts: &[&str]| {
        let opening = facts(&user(texts.iter().map(|line| text(line)).collect()))
            .opening
            .expect("a text");
        (opening.preview, opening.title)
    };
    let own = |preview: &str, title: &str| (preview.to_owned(), title.to_owned());
    assert_eq!(
        opening(&["", " Line 1\nLine 2", "x"]),
        own("Line 1\nLine 2", "Line 1")
    );
    let meta = "<turn_meta>x</turn_meta>";
    assert_eq!(opening(&[meta, "Ask"]), own(meta, "Ask"));
    assert_eq!(opening(&[meta]), own(meta, ""));
    let long = "é".repeat(130);
    assert_eq!(
        opening(&[&long]),
        own(&"é".repeat(120), &format!("{}...", "é".repeat(47)))
    );
}

#[test]
fn whoever_does_more_than_answer_a_call_speaks() {
    assert!(!facts(&user(vec![])).speaks);
    assert!(!facts(&user(vec![result("c", vec![])])).speaks);
    assert!(facts(&user(vec![result("c", vec![]), text("and")])).speaks);
    let mut unknown = user(vec![]).encode_to_vec();
    unknown.extend(b"\x1a\x06");
    unknown.extend(of_next_year());
    let Payload::Message(facts) = read(given(Kind::Message, unknown)).expect("valid").payload else {
        panic!("a message")
    };
    assert!(facts.speaks);
}

#[test]
fn items_are_runs_of_one_kind_and_single_calls() {
    let assistant = message(
        pb::Role::Assistant,
        vec![
            thinking("a", ""),
            thinking("b", ""),
            text("c"),
            text("d"),
            call("1", ""),
            call("1", ""),
            text("e"),
        ],
    );
    let counted = facts(&assistant);
    assert_eq!((counted.items, counted.tool_uses.len()), (5, 2));
    let results = user(vec![
        result("1", vec![]),
        result("2", vec![]),
        text("f"),
        text("g"),
    ]);
    let answered = facts(&results);
    assert_eq!((answered.items, answered.tool_results.len()), (3, 2));
    assert_eq!(answered.tool_results[0], counted.tool_uses[0]);
    assert_eq!(facts(&message(pb::Role::System, vec![text("s")])).items, 0);
}

#[test]
fn composed_messages_are_like_given_ones() {
    let usage = Usage {
        output_tokens: 3,
        ..Usage::default()
    };
    let composed = compose(&Composed {
        id: EntryId::parse("m", "entry_id").expect("an id"),
        role: Role::Assistant,
        blocks: vec![call("c", "{}").encode_to_vec().into(), of_next_year()],
        turn: TurnId::parse("t", "turn_id").expect("an id"),
        model: "large".into(),
        usage: Some(usage),
        create_time: NOW,
    });
    let entry = read(given(Kind::Message, composed.body.clone())).expect("valid");
    assert_eq!(
        NewEntry {
            id_is_fresh: true,
            ..entry
        },
        composed
    );
    let Payload::Message(facts) = composed.payload else {
        panic!("a message")
    };
    assert_eq!((facts.usage, facts.items, facts.tool_uses.len()), (usage, 2, 1));
}
