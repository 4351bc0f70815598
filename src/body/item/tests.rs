//! Items: what is kept of them, and the blocks they give a message.

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use super::super::tests::{call, of_next_year, result, text, thinking};
use super::*;
use crate::domain::turn::Status;
use crate::domain::{LogId, Seq, Time, TurnId};

const NOW: Time = Time(5_000_000_007);

fn stored(given: pb::Item) -> Item {
    let item = item(given, || Uuid::from_u128(7), &Limits::default()).expect("valid");
    Item {
        journal: LogId(Uuid::nil()),
        turn: TurnId::parse("t", "turn_id").expect("an id"),
        id: item.id,
        seq: Seq(4),
        kind: item.kind,
        status: item.status,
        create_time: item.create_time.unwrap_or(NOW),
        end_time: item.end_time,
        change: 1,
        body: item.body,
    }
}

fn raw_item(kind: pb::ItemKind, content: Vec<Bytes>) -> pb::Item {
    let status = pb::TurnStatus::InProgress.into();
    pb::Item {
        kind: kind.into(),
        status,
        content,
        ..Default::default()
    }
}

#[test]
fn items_come_back_as_they_went() {
    let given = pb::Item {
        item_id: " i ".into(),
        turn_id: "ignored".into(),
        seq: 9,
        summary: " s ".into(),
        metadata_json: "{\"a\":1e400}".into(),
        create_time: Some(value::timestamp(Time(3))),
        ..raw_item(
            pb::ItemKind::ToolCall,
            vec![of_next_year(), text("").encode_to_vec().into()],
        )
    };
    let back = item_to_pb(&stored(given.clone())).expect("an item");
    assert_eq!(
        back,
        pb::Item {
            item_id: "i".into(),
            turn_id: "t".into(),
            seq: 4,
            ..given
        }
    );
    let fresh = stored(raw_item(pb::ItemKind::Status, vec![]));
    assert_eq!(fresh.id, ItemId::from_uuid(Uuid::from_u128(7)));
    assert_eq!((fresh.kind, fresh.status), (ItemKind::Status, Status::InProgress));
}

#[test]
fn refuses_items_that_cannot_be() {
    let good = raw_item(pb::ItemKind::ToolCall, vec![]);
    for (given, field) in [
        (
            pb::Item {
                kind: 0,
                ..good.clone()
            },
            "kind",
        ),
        (
            pb::Item {
                kind: 99,
                ..good.clone()
            },
            "kind",
        ),
        (
            pb::Item {
                status: 0,
                ..good.clone()
            },
            "status",
        ),
        (
            pb::Item {
                item_id: "a/b".into(),
                ..good.clone()
            },
            "item_id",
        ),
        (
            pb::Item {
                metadata_json: "{".into(),
                ..good.clone()
            },
            "metadata_json",
        ),
        (
            pb::Item {
                content: vec![Bytes::from_static(b"\x0a\x09")],
                ..good
            },
            "content[0]",
        ),
    ] {
        assert_eq!(
            item(given, Uuid::nil, &Limits::default())
                .expect_err("invalid")
                .field,
            field
        );
    }
}

fn blocks(kind: pb::ItemKind, summary: &str, content: &[pb::ContentBlock]) -> Vec<pb::ContentBlock> {
    let content = content.iter().map(|block| block.encode_to_vec().into()).collect();
    let item = stored(pb::Item {
        summary: summary.into(),
        ..raw_item(kind, content)
    });
    let blocks = item_blocks(&item.body, item.kind).expect("an item");
    blocks
        .into_iter()
        .map(|block| pb::ContentBlock::decode(block).expect("a block"))
        .collect()
}

#[test]
fn blank_text_and_thinking_are_left_out() {
    let kept = vec![text(" a\n"), thinking("", "signed"), call("", "")];
    let mut all = kept.clone();
    all.extend([text(" \n"), thinking(" ", ""), text("")]);
    assert_eq!(blocks(pb::ItemKind::AgentMessage, "summary", &all), kept);
    assert_eq!(blocks(pb::ItemKind::AgentMessage, "summary", &[text("")]), []);
    let unknown = stored(raw_item(pb::ItemKind::AgentMessage, vec![of_next_year()]));
    assert_eq!(
        item_blocks(&unknown.body, unknown.kind).expect("an item"),
        [of_next_year()]
    );
}

#[test]
fn tool_results_are_kept() {
    let blank = result("c", vec![text("")]);
    assert_eq!(
        blocks(pb::ItemKind::ToolResult, "", std::slice::from_ref(&blank)),
        [blank]
    );
    assert_eq!(
        blocks(pb::ItemKind::ToolResult, "", &[text("out")]),
        [result("", vec![text("out")])]
    );
    assert_eq!(blocks(pb::ItemKind::ToolResult, "", &[]), [result("", vec![])]);
    assert_eq!(
        blocks(pb::ItemKind::ToolResult, " ", &[]),
        [result("", vec![text(" ")])]
    );
}

#[test]
fn an_item_without_content_counts_as_its_summary() {
    assert_eq!(blocks(pb::ItemKind::UserMessage, " hi ", &[]), [text(" hi ")]);
    assert_eq!(
        blocks(pb::ItemKind::AgentReasoning, "hm", &[]),
        [thinking("hm", "")]
    );
    assert_eq!(blocks(pb::ItemKind::UserMessage, " ", &[]), []);
    let Some(Block::ToolUse(call)) = &blocks(pb::ItemKind::ToolCall, "ls", &[])[0].block else {
        panic!("a tool call")
    };
    assert_eq!(call.name, "ls");
}
