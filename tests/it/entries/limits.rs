//! What is too large, and that it is said so.

use prost::Message as _;

use crate::support::build::{asks, checkpoint, entries, event, user};
use crate::support::pb::{AppendEntriesRequest, Item, Message, ReadMessagesRequest, Thread};
use crate::support::raw::{field, stream, unary};
use crate::support::{Client, Code, pb, refused, shared};

const MESSAGE_BYTES_MAX: usize = 16 << 20;
const REQUEST_BYTES_MAX: usize = 64 << 20;
const BATCH_MAX: usize = 10_000;

/// A message that is encoded in so many bytes.
fn of_bytes(bytes: usize) -> Message {
    let mut message = user(&"x".repeat(bytes - 64));
    message.message_id = "large".into();
    let missing = bytes - message.encoded_len();
    message.model = "y".repeat(missing - 2);
    assert_eq!(message.encoded_len(), bytes);
    message
}

async fn sized(
    client: &Client,
    id: &str,
    messages: Vec<Message>,
) -> Result<pb::AppendEntriesResponse, tonic::Status> {
    client.append_or(id, entries(messages)).await
}

#[tokio::test]
async fn a_message_holds_sixteen_mebibytes() {
    let client = shared().await;
    let id = client.blank().await;
    let failure = refused(
        sized(&client, &id, vec![of_bytes(MESSAGE_BYTES_MAX + 1)]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    assert!(failure.names(&MESSAGE_BYTES_MAX.to_string()), "{failure:?}");
    assert_eq!(client.session(&id).await.entry_count, 0);

    let largest = of_bytes(MESSAGE_BYTES_MAX);
    sized(&client, &id, vec![largest.clone()]).await.unwrap();
    let request = ReadMessagesRequest {
        namespace: client.namespace().into(),
        session_id: id,
        ..Default::default()
    };
    let answers = stream(&client, "SessionService/ReadMessages", request.encode_to_vec())
        .await
        .unwrap();
    let read = pb::ReadMessagesResponse::decode(answers[0].clone()).unwrap();
    assert_eq!(read.messages.len(), 1);
    assert!(read.messages[0].content == largest.content, "the text differs");
}

#[tokio::test]
async fn checkpoints_events_and_items_are_bounded_too() {
    let client = shared().await;
    let id = client.blank().await;
    let half = "x".repeat(MESSAGE_BYTES_MAX / 2);
    let two = checkpoint(vec![user(&half), user(&half)]);
    refused(
        client.append_or(&id, vec![two]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    let large = event(&format!("\"{half}{half}\""));
    refused(
        client.append_or(&id, vec![large]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    let item = asks(&format!("{half}{half}"));
    refused(
        client.add_or(&thread, &turn, vec![item]).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
}

#[tokio::test]
async fn a_batch_holds_ten_thousand() {
    let client = shared().await;
    let id = client.blank().await;
    let many = |count: usize| (0..count).map(|n| user(&n.to_string())).collect::<Vec<_>>();
    let failure = refused(
        sized(&client, &id, many(BATCH_MAX + 1)).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    assert!(failure.names("10000"), "{failure:?}");
    assert_eq!(client.session(&id).await.entry_count, 0);
    let appended = sized(&client, &id, many(BATCH_MAX)).await.unwrap();
    assert_eq!(
        (appended.last_seq, appended.session.unwrap().revision),
        (10_000, 2),
        "a batch is one commit"
    );
    assert_eq!(client.messages(&id).await.len(), BATCH_MAX);

    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    let items = |count: usize| {
        vec![
            Item {
                summary: "s".into(),
                ..asks("x")
            };
            count
        ]
    };
    refused(
        client.add_or(&thread, &turn, items(BATCH_MAX + 1)).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    assert_eq!(
        client.add(&thread, &turn, items(BATCH_MAX)).await.last_seq,
        10_000
    );
}

#[tokio::test]
async fn a_request_holds_sixty_four_mebibytes() {
    let client = shared().await;
    let id = client.blank().await;
    let request = AppendEntriesRequest {
        namespace: client.namespace().into(),
        session_id: id.clone(),
        entries: entries([user("one of them")]),
        ..Default::default()
    };
    // What the protos do not know counts too.
    let wire = |bytes: usize| {
        let mut wire = request.encode_to_vec();
        let padding = bytes - wire.len() - field(1000, "").len() - 3;
        wire.extend(field(1000, vec![0; padding]));
        assert_eq!(wire.len(), bytes);
        wire
    };
    let over = unary(
        &client,
        "SessionService/AppendEntries",
        wire(REQUEST_BYTES_MAX + 1),
    )
    .await;
    refused(over, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert_eq!(client.session(&id).await.entry_count, 0);
    unary(&client, "SessionService/AppendEntries", wire(REQUEST_BYTES_MAX))
        .await
        .unwrap();
    assert_eq!(client.session(&id).await.entry_count, 1);
}

#[tokio::test]
async fn a_request_id_has_128_characters() {
    let client = shared().await;
    let create = |request_id: String| pb::CreateSessionRequest {
        request_id,
        ..Default::default()
    };
    client.create_session(create("é".repeat(128))).await.unwrap();
    crate::support::failure::invalid(client.create_session(create("é".repeat(129))).await, "request_id");
}
