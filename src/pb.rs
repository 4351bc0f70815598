//! The types of the wire, generated from `proto/sessiond/v1` by `build.rs`.
//!
//! What stands here is the server's side: service traits, and messages in which bodies are [`bytes::Bytes`].
//! Wherever a field has the type `Message`, `Checkpoint` or `Event`, and in [`Item::content`], it holds the
//! encoded message as it came, unknown fields included; the types themselves are generated too, for whoever
//! opens a body.
//!
//! [`client`] is the other side: the same protos untouched, with a client for every service.
//!
//! Both sides are the same on the wire. This module promises nothing about values: they are as a peer sent
//! them.

pub use server::*;

/// The protos as clients see them, as an encoded `google.protobuf.FileDescriptorSet` with imports and
/// comments. This is what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

#[expect(
    clippy::large_enum_variant,
    reason = "generated; frames are few and moved at once"
)]
mod server {
    include!(concat!(env!("OUT_DIR"), "/server/sessiond.v1.rs"));
}

/// The types and clients that a caller uses: every field has the type that the protos give it.
#[expect(
    clippy::large_enum_variant,
    reason = "generated; frames are few and moved at once"
)]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/client/sessiond.v1.rs"));
}

/// What replicas of one store say to each other, both sides; clients never see it.
pub mod cluster {
    include!(concat!(env!("OUT_DIR"), "/cluster/sessiond.cluster.v1.rs"));
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost::encoding::{WireType, encode_key, encode_varint};
    use prost_types::FileDescriptorSet;
    use prost_types::field_descriptor_proto::Type;

    use super::client;

    /// A field of embedded bytes, as a peer would write it.
    fn embedded(tag: u32, body: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut wire);
        encode_varint(body.len() as u64, &mut wire);
        wire.extend_from_slice(body);
        wire
    }

    /// What a peer of next year sends: `known`, and a field that these protos do not have.
    fn with_unknown_field(known: &impl prost::Message) -> Vec<u8> {
        let mut wire = known.encode_to_vec();
        wire.extend(embedded(1000, b"from next year"));
        wire
    }

    fn block() -> client::ContentBlock {
        client::ContentBlock {
            block: Some(client::content_block::Block::ToolUse(client::ToolUseBlock {
                tool_use_id: "call".into(),
                name: "add".into(),
                input_json: r#"{"n":1e400}"#.into(),
            })),
            cache_control_json: String::new(),
        }
    }

    fn message() -> client::Message {
        client::Message {
            message_id: "m1".into(),
            role: client::Role::Assistant.into(),
            content: vec![block()],
            ..Default::default()
        }
    }

    /// An entry whose message holds an unknown field, with one more of them in its block.
    fn entry_wire() -> Vec<u8> {
        let mut body = with_unknown_field(&message());
        body.extend(embedded(3, &with_unknown_field(&block())));
        let mut wire = client::Entry {
            seq: 7,
            entry_id: "m1".into(),
            ..Default::default()
        }
        .encode_to_vec();
        wire.extend(embedded(4, &body));
        wire
    }

    #[test]
    fn entry_comes_back_byte_for_byte() {
        let wire = entry_wire();
        let seen_by_client = client::Entry::decode(&*wire).unwrap();
        assert_ne!(
            seen_by_client.encode_to_vec(),
            wire,
            "a decoded message loses what it does not know"
        );

        let entry = super::Entry::decode(&*wire).unwrap();
        assert_eq!((entry.seq, entry.entry_id.as_str()), (7, "m1"));
        assert_eq!(entry.encode_to_vec(), wire);
    }

    #[test]
    fn every_payload_is_bytes() {
        use client::entry::Payload;
        let checkpoint = client::Checkpoint {
            context: vec![message(), message()],
            token_count: 3,
            ..Default::default()
        };
        let event = client::Event {
            data_json: "{}".into(),
            ..Default::default()
        };
        for payload in [
            Payload::Message(message()),
            Payload::Checkpoint(checkpoint.clone()),
            Payload::Event(event),
        ] {
            let wire = client::Entry {
                payload: Some(payload),
                ..Default::default()
            }
            .encode_to_vec();
            assert_eq!(super::Entry::decode(&*wire).unwrap().encode_to_vec(), wire);
        }
        let opened = super::Checkpoint::decode(&*checkpoint.encode_to_vec()).unwrap();
        assert_eq!(
            opened.context,
            [message().encode_to_vec(), message().encode_to_vec()]
        );
    }

    #[test]
    fn append_request_comes_back_byte_for_byte() {
        let mut wire = client::AppendEntriesRequest {
            namespace: "ns".into(),
            session_id: "s1".into(),
            ..Default::default()
        }
        .encode_to_vec();
        wire.extend(embedded(3, &entry_wire()));
        wire.extend(embedded(3, &entry_wire()));
        wire.extend(embedded(15, b"request-1"));

        let request = super::AppendEntriesRequest::decode(&*wire).unwrap();
        assert_eq!(
            (request.entries.len(), request.request_id.as_str()),
            (2, "request-1")
        );
        assert_eq!(request.encode_to_vec(), wire);
    }

    #[test]
    fn item_content_comes_back_byte_for_byte() {
        let mut wire = client::Item {
            item_id: "i1".into(),
            seq: 2,
            ..Default::default()
        }
        .encode_to_vec();
        wire.extend(embedded(7, &with_unknown_field(&block())));
        wire.extend(embedded(7, &with_unknown_field(&block())));

        let item = super::Item::decode(&*wire).unwrap();
        assert_eq!(
            item.content,
            [with_unknown_field(&block()), with_unknown_field(&block())]
        );
        assert_eq!(item.encode_to_vec(), wire);
    }

    #[test]
    fn absent_body_is_not_an_empty_one() {
        for removed_message in [None, Some(client::Message::default())] {
            let sent = client::ForkSessionResponse {
                session: None,
                removed_message,
            };
            let seen = super::ForkSessionResponse::decode(&*sent.encode_to_vec()).unwrap();
            assert_eq!(seen.removed_message.is_some(), sent.removed_message.is_some());
            assert_eq!(
                client::ForkSessionResponse::decode(&*seen.encode_to_vec()).unwrap(),
                sent
            );
        }
    }

    #[test]
    fn an_opened_message_keeps_its_blocks() {
        let opened = super::Message::decode(&*message().encode_to_vec()).unwrap();
        let Some(super::content_block::Block::ToolUse(call)) = &opened.content[0].block else {
            panic!("not a tool call: {opened:?}")
        };
        assert_eq!(call.input_json, r#"{"n":1e400}"#);
    }

    #[test]
    fn reflection_serves_the_protos_untouched() {
        let set = FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
        let services: Vec<_> = set
            .file
            .iter()
            .flat_map(|file| &file.service)
            .map(|service| service.name())
            .collect();
        assert_eq!(services, ["EngineService", "SessionService", "ThreadService"]);

        let mut messages = set.file.iter().flat_map(|file| &file.message_type);
        let entry = messages.find(|message| message.name() == "Entry").unwrap();
        let payload = entry
            .field
            .iter()
            .find(|field| field.name() == "message")
            .unwrap();
        assert_eq!(
            (payload.r#type(), payload.type_name()),
            (Type::Message, ".sessiond.v1.Message")
        );
        assert!(
            set.file
                .iter()
                .any(|file| file.name() == "google/rpc/status.proto"),
            "imports are part of it"
        );
    }

    /// Lets the text of the contract be checked against the protos: mutations end with their request id, and
    /// every request begins with its namespace.
    #[test]
    fn requests_have_the_shape_that_the_contract_gives_them() {
        let set = FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
        let messages = set.file.iter().filter(|file| file.package() == "sessiond.v1");
        for message in messages.flat_map(|file| &file.message_type) {
            let request = message.name().ends_with("Request");
            if !request || ["AttachRequest", "SnapshotRequest"].contains(&message.name()) {
                continue;
            }
            let first = &message.field[0];
            assert_eq!(
                (first.name(), first.number()),
                ("namespace", 1),
                "{}",
                message.name()
            );
            let (last, others) = message.field.split_last().unwrap();
            assert!(
                others.iter().all(|field| field.name() != "request_id"),
                "{}",
                message.name()
            );
            if last.name() == "request_id" {
                assert!(
                    others.iter().all(|field| field.number() < last.number()),
                    "{}",
                    message.name()
                );
            }
        }
    }
}
