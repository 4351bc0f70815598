//! Items of messages: the same that the tally counts, under names that last.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::tests::{block, call, of_next_year, result, text, thinking};
use super::super::{Given, entry};
use super::*;
use crate::domain::{Kind, Limits, Tally};
use crate::pb::content_block::Block;

const NOW: Time = Time(5_000_000_007);

fn image() -> pb::ContentBlock {
    block(Block::Image(pb::ImageBlock::default()))
}

/// The stored entry of a message that follows `before`.
fn stored(before: &Tally, id: &str, message: Envelope) -> Entry {
    let message = Envelope {
        message_id: id.into(),
        ..message
    };
    let given = Given {
        id: None,
        create_time: None,
        kind: Kind::Message,
        body: message.encode_to_vec().into(),
    };
    let new = entry(given, Uuid::nil, NOW, &Limits::default()).expect("valid");
    Entry::following(before, LogId(Uuid::nil()), &new)
}

fn said(role: pb::Role, blocks: &[pb::ContentBlock]) -> Envelope {
    Envelope {
        role: role.into(),
        content: blocks.iter().map(|block| block.encode_to_vec().into()).collect(),
        ..Default::default()
    }
}

fn items(entry: &Entry) -> Vec<Item> {
    let turn = TurnId::parse("t", "turn_id").expect("an id");
    derived(entry, LogId(Uuid::nil()), &turn)
        .expect("a message")
        .items
}

fn kinds(message: Envelope) -> Vec<ItemKind> {
    let entry = stored(&Tally::default(), "m", message);
    items(&entry).iter().map(|item| item.kind).collect()
}

fn content(item: &Item) -> Vec<Bytes> {
    pb::Item::decode(item.body.clone()).expect("an item").content
}

#[test]
fn a_run_of_one_kind_is_an_item_and_so_is_every_call_and_result() {
    use ItemKind::{AgentMessage, AgentReasoning, ToolCall, ToolResult, UserMessage};
    use pb::Role::{Assistant, System, Tool, User};
    let (said_twice, thought) = ([text("a"), text("")], thinking("hm", ""));
    for (role, blocks, expected) in [
        (User, said_twice.to_vec(), vec![UserMessage]),
        (User, vec![text("see"), image(), text("this")], vec![UserMessage]),
        (
            User,
            vec![result("c", vec![]), result("c", vec![])],
            vec![ToolResult, ToolResult],
        ),
        (
            User,
            vec![result("c", vec![]), text("and")],
            vec![ToolResult, UserMessage],
        ),
        (
            Assistant,
            vec![
                thought.clone(),
                thought.clone(),
                text("a"),
                call("c", ""),
                call("c", ""),
                text("b"),
            ],
            vec![AgentReasoning, AgentMessage, ToolCall, ToolCall, AgentMessage],
        ),
        (Tool, vec![text("4"), image()], vec![ToolResult]),
        (Tool, vec![result("c", vec![])], vec![ToolResult]),
        (System, vec![text("rules")], vec![]),
        (Assistant, vec![], vec![]),
    ] {
        assert_eq!(kinds(said(role, &blocks)), expected, "{role:?} {blocks:?}");
    }
    let of_a_sub_agent = Envelope {
        agent_path: "reviewer/2".into(),
        ..said(User, &said_twice)
    };
    assert_eq!(kinds(of_a_sub_agent), []);
}

#[test]
fn blocks_stay_as_they_came_and_facts_are_the_messages() {
    let at = prost_types::Timestamp { seconds: 7, nanos: 1 };
    let message = Envelope {
        role: pb::Role::Assistant.into(),
        content: vec![of_next_year(), call("c", "1e400").encode_to_vec().into()],
        usage: Some(pb::Usage {
            output_tokens: 3,
            ..Default::default()
        }),
        create_time: Some(at),
        ..Default::default()
    };
    let before = stored(&Tally::default(), "first", said(pb::Role::User, &[text("hi")]));
    let entry = stored(&before.meta.tally, "m", message.clone());
    let turn = TurnId::parse("first", "turn_id").expect("an id");
    let found = derived(&entry, LogId(Uuid::from_u128(9)), &turn).expect("a message");
    assert_eq!(found.time, Time(7_000_000_001));
    assert_eq!(found.usage.map(|usage| usage.output_tokens), Some(3));
    assert_eq!(
        found.items.iter().flat_map(content).collect::<Vec<_>>(),
        message.content
    );
    let last = found.items.last().expect("an item");
    assert_eq!(
        (last.seq, last.status, last.change),
        (Seq(3), Status::Completed, 0)
    );
    assert_eq!((last.create_time, last.end_time), (found.time, Some(found.time)));
    assert_eq!(
        (last.turn.as_str(), last.journal),
        ("first", LogId(Uuid::from_u128(9)))
    );
}

#[test]
fn names_are_the_messages_own_and_never_too_long() {
    let long = "x".repeat(ID_CHARS_MAX - 1);
    for (message, expected) in [
        ("m", ["m", "m.2", "m.3"]),
        (
            &long,
            [
                &long,
                &format!("{:032x}.2", xxh3_128(long.as_bytes())),
                &format!("{:032x}.3", xxh3_128(long.as_bytes())),
            ],
        ),
    ] {
        let entry = stored(
            &Tally::default(),
            message,
            said(pb::Role::Assistant, &[call("1", ""), call("2", ""), text("done")]),
        );
        let names: Vec<String> = items(&entry).iter().map(|item| item.id.to_string()).collect();
        assert_eq!(names, expected);
    }
}

fn any_block() -> impl Strategy<Value = pb::ContentBlock> {
    prop_oneof![
        Just(text("words")),
        Just(text(" ")),
        Just(thinking("", "signed")),
        Just(call("c", "{}")),
        Just(result("c", vec![text("4")])),
        Just(image()),
        Just(pb::ContentBlock::default()),
    ]
}

fn any_message() -> impl Strategy<Value = Envelope> {
    let role = prop_oneof![
        Just(pb::Role::User),
        Just(pb::Role::Assistant),
        Just(pb::Role::System),
        Just(pb::Role::Tool)
    ];
    let blocks = prop::collection::vec(any_block(), 0..6);
    (role, blocks, prop::bool::weighted(0.2)).prop_map(|(role, blocks, of_a_sub_agent)| Envelope {
        agent_path: if of_a_sub_agent {
            "inner".into()
        } else {
            String::new()
        },
        ..said(role, &blocks)
    })
}

proptest! {
    #[test]
    fn items_are_those_that_the_tally_counts(messages in prop::collection::vec(any_message(), 0..20)) {
        let (mut before, mut turns) = (Tally::default(), 0);
        for (at, message) in messages.into_iter().enumerate() {
            let entry = stored(&before, &format!("m{at}"), message.clone());
            let found = items(&entry);
            let seqs: Vec<Seq> = found.iter().map(|item| item.seq).collect();
            let expected: Vec<Seq> = (before.items + 1..=entry.meta.tally.items).map(Seq).collect();
            prop_assert_eq!(seqs, expected, "dense, and as many as counted");
            let in_thread = message.agent_path.is_empty() && message.role() != pb::Role::System;
            let kept: Vec<Bytes> = found.iter().flat_map(content).collect();
            prop_assert_eq!(kept, if in_thread { message.content } else { vec![] });
            let starts = in_thread && (entry.meta.mark.is_user_message() || turns == 0);
            turns += u64::from(starts);
            prop_assert_eq!(turns, entry.meta.tally.turns);
            before = entry.meta.tally;
        }
    }
}
