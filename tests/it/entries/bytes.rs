//! Byte for byte: what these protos do not know survives, and what is no message is refused.

use bytes::Bytes;
use prost::Message as _;

use crate::support::build::{assistant, at, call, entries, message, named, text, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    AppendEntriesRequest, AppendItemsRequest, Checkpoint, Entry, Event, Item, ListEntriesRequest,
    ListItemsRequest, Message, MessageView, ReadMessagesRequest, Role, Thread,
};
use crate::support::raw::{field, stream, unary, values, with_unknown_field};
use crate::support::{Client, Code, pb, refused, shared};

/// Tags of Entry's payload.
const MESSAGE: u32 = 4;
const CHECKPOINT: u32 = 5;
const EVENT: u32 = 6;
/// Tag of the rows in requests and answers that this file looks at.
const ENTRIES_OF_REQUEST: u32 = 3;
const ITEMS_OF_REQUEST: u32 = 4;
const ROWS: u32 = 1;
const CONTENT_OF_ITEM: u32 = 7;

/// A block of next year: a kind that nobody knows, with a hint that everybody does.
fn strange_block() -> Vec<u8> {
    [field(900, "hologram"), field(8, "{ }")].concat()
}

/// A message with a field and a block of next year, and fields in an order of its own.
fn strange_message(id: &str) -> Vec<u8> {
    let known = Message {
        create_time: Some(at(5)),
        ..named(id, message(Role::Assistant, vec![call("1", "1e400")]))
    };
    [
        field(3, strange_block()),
        with_unknown_field(&known),
        field(3, with_unknown_field(&text("x"))),
    ]
    .concat()
}

async fn append_raw(client: &Client, id: &str, rows: &[Vec<u8>]) -> Result<Bytes, tonic::Status> {
    let request = AppendEntriesRequest {
        namespace: client.namespace().into(),
        session_id: id.into(),
        ..Default::default()
    };
    let mut wire = request.encode_to_vec();
    for row in rows {
        wire.extend(field(ENTRIES_OF_REQUEST, row));
    }
    unary(client, "SessionService/AppendEntries", wire).await
}

/// The rows of ListEntries as they come over the wire.
async fn rows(client: &Client, id: &str) -> Vec<Vec<u8>> {
    let namespace = client.namespace().into();
    let request = ListEntriesRequest {
        namespace,
        session_id: id.into(),
        ..Default::default()
    };
    let answer = unary(client, "SessionService/ListEntries", request.encode_to_vec())
        .await
        .unwrap();
    values(&answer, ROWS)
}

/// The messages of a view as they come over the wire.
async fn view(client: &Client, id: &str, view: MessageView) -> Vec<Vec<u8>> {
    let namespace = client.namespace().into();
    let request = ReadMessagesRequest {
        namespace,
        session_id: id.into(),
        view: view.into(),
        ..Default::default()
    };
    let answers = stream(client, "SessionService/ReadMessages", request.encode_to_vec())
        .await
        .unwrap();
    answers.iter().flat_map(|answer| values(answer, ROWS)).collect()
}

#[tokio::test]
async fn what_nobody_knows_yet_comes_back_byte_for_byte() {
    let client = shared().await;
    let id = client.blank().await;
    let (first, second) = (strange_message("a"), strange_message("b"));
    let checkpoint = [
        with_unknown_field(&Checkpoint {
            token_count: 7,
            ..Default::default()
        }),
        field(1, &second),
    ]
    .concat();
    let event = with_unknown_field(&Event {
        data_json: "[1e400]".into(),
        ..Default::default()
    });
    let given = [
        field(MESSAGE, &first),
        field(EVENT, &event),
        field(CHECKPOINT, &checkpoint),
    ];
    append_raw(&client, &id, &given).await.unwrap();

    let read = rows(&client, &id).await;
    assert_eq!(values(&read[0], MESSAGE), std::slice::from_ref(&first));
    assert_eq!(values(&read[1], EVENT), [event]);
    assert_eq!(values(&read[2], CHECKPOINT), [checkpoint]);
    let visible = view(&client, &id, MessageView::Visible).await;
    assert_eq!(visible, std::slice::from_ref(&first));
    assert_eq!(view(&client, &id, MessageView::Context).await, [second]);

    client.append(&id, entries([user("cut here")])).await;
    let fork = client
        .fork(&id, Point::UserMessageIndex(0))
        .await
        .session
        .unwrap()
        .session_id;
    assert_eq!(
        rows(&client, &fork).await,
        read,
        "a fork has the very same entries"
    );
}

#[tokio::test]
async fn an_id_and_a_time_are_added_and_the_rest_stays() {
    let client = shared().await;
    let id = client.blank().await;
    let body = with_unknown_field(&user("no id, no time"));
    append_raw(&client, &id, &[field(MESSAGE, &body)]).await.unwrap();
    let read = &values(&rows(&client, &id).await[0], MESSAGE)[0];
    assert!(read.starts_with(&body), "what came is still its beginning");
    let message = Message::decode(&**read).unwrap();
    assert!(!message.message_id.is_empty() && message.create_time.is_some());
    assert_eq!(message.content, [text("no id, no time")]);
}

#[tokio::test]
async fn blocks_of_next_year_survive_threads_and_saves() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn_id = client.start(&thread).await;
    let item = Item {
        kind: pb::ItemKind::AgentMessage.into(),
        status: pb::TurnStatus::Completed.into(),
        ..Default::default()
    };
    let blocks = [
        strange_block(),
        with_unknown_field(&text("said")),
        with_unknown_field(&call("1", "1e400")),
    ];
    let mut row = item.encode_to_vec();
    for block in &blocks {
        row.extend(field(CONTENT_OF_ITEM, block));
    }
    let request = AppendItemsRequest {
        namespace: client.namespace().into(),
        thread_id: thread.clone(),
        turn_id: turn_id.clone(),
        ..Default::default()
    };
    let wire = [request.encode_to_vec(), field(ITEMS_OF_REQUEST, row)].concat();
    unary(&client, "ThreadService/AppendItems", wire).await.unwrap();
    client.finish(&thread, &turn_id).await;

    let namespace = client.namespace().into();
    let list = ListItemsRequest {
        namespace,
        thread_id: thread.clone(),
        ..Default::default()
    };
    let answer = unary(&client, "ThreadService/ListItems", list.encode_to_vec())
        .await
        .unwrap();
    assert_eq!(values(&values(&answer, ROWS)[0], CONTENT_OF_ITEM), blocks);

    let session = client.save(&thread).await.session.unwrap().session_id;
    let saved = view(&client, &session, MessageView::Visible).await;
    assert_eq!(values(&saved[0], 3), blocks);
}

#[tokio::test]
async fn what_is_no_message_is_the_callers_fault() {
    let client = shared().await;
    let id = client.blank().await;
    let bad_utf8 = field(1, [0xff, 0xfe]);
    for (what, row) in [
        ("a torn message", field(MESSAGE, [0x0a, 0x05, b'a'])),
        ("a wrong wire type", field(MESSAGE, [0x08, 0x01])),
        (
            "a torn block",
            field(MESSAGE, [vec![0x10, 0x01], field(3, [0x0a, 0x7f])].concat()),
        ),
        (
            "a text that is no UTF-8",
            field(
                MESSAGE,
                [vec![0x10, 0x01], field(3, field(1, &bad_utf8))].concat(),
            ),
        ),
        (
            "an id that is no UTF-8",
            field(MESSAGE, [vec![0x10, 0x01], bad_utf8.clone()].concat()),
        ),
        ("a torn checkpoint", field(CHECKPOINT, [0x0a, 0x05, b'a'])),
        (
            "a torn message in a checkpoint",
            field(CHECKPOINT, field(1, [0x0a, 0x05])),
        ),
        ("a torn event", field(EVENT, [0x0a, 0x05, b'a'])),
        (
            "an endless number",
            field(MESSAGE, [[0x10].as_slice(), &[0xff; 11]].concat()),
        ),
        ("tag zero", field(MESSAGE, [0x00, 0x00])),
    ] {
        let good = field(MESSAGE, user("good").encode_to_vec());
        let failure = refused(
            append_raw(&client, &id, &[good, row]).await,
            Code::InvalidArgument,
            "FIELD_INVALID",
        );
        assert!(failure.fields[0].starts_with("entries[1]"), "{what}: {failure:?}");
    }
    assert_eq!(client.session(&id).await.entry_count, 0);
}

#[tokio::test]
async fn deep_nesting_is_refused_and_harms_nobody() {
    let client = shared().await;
    let id = client.holding([assistant("before")]).await;
    let mut block = text("deep").encode_to_vec();
    for _ in 0..20_000 {
        block = field(4, field(2, &block));
    }
    let body = [vec![0x10, 0x01], field(3, &block)].concat();
    let answer = append_raw(&client, &id, &[field(MESSAGE, body)]).await;
    refused(answer, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(client.session(&id).await.entry_count, 1);
}

#[tokio::test]
async fn a_request_that_is_no_request_is_the_callers_fault() {
    let client = shared().await;
    for method in [
        "SessionService/CreateSession",
        "SessionService/AppendEntries",
        "SessionService/ReadMessages",
        "ThreadService/AppendItems",
        "ThreadService/ListThreads",
    ] {
        for torn in [
            &[0x0a, 0x05, b'a'][..],
            &[0x08, 0x01],
            &[0xff; 12],
            &[0x0a, 0x02, 0xff, 0xfe],
        ] {
            let answer = stream(&client, method, Bytes::copy_from_slice(torn)).await;
            refused(answer, Code::InvalidArgument, "FIELD_INVALID");
        }
    }
}

#[tokio::test]
async fn entries_read_as_they_were_counted() {
    let client = shared().await;
    let id = client.holding([user("a"), assistant("b")]).await;
    let listed: Vec<_> = rows(&client, &id)
        .await
        .iter()
        .map(|row| Entry::decode(&**row).unwrap())
        .collect();
    assert_eq!(listed, client.entries(&id).await);
    let bodies: Vec<_> = rows(&client, &id)
        .await
        .iter()
        .flat_map(|row| values(row, MESSAGE))
        .collect();
    assert_eq!(view(&client, &id, MessageView::Visible).await, bodies);
}
