//! The JSON form of a body, for readers and their tools: as much as fits into a line, and never more than that in memory.

use std::io::{self, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind as FieldKind, MessageDescriptor, SerializeOptions};
use serde_json::value::RawValue;

use crate::domain::Kind;
use crate::domain::limits::READABLE_FIELDS_MAX;
use crate::pb;

/// Messages that are within one another in a body.
const DEPTH_MAX: usize = 100;

/// The JSON form that the protos have, of at most `room` bytes. A body that has none, as a time may be beyond what that
/// form can say, is there as wire bytes alone; so is one of very many fields, each of which costs far more in memory than
/// on the wire.
pub(super) fn readable(kind: Kind, body: &Bytes, room: usize) -> Option<Box<RawValue>> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    let descriptor = descriptor(kind);
    count(body, &descriptor, READABLE_FIELDS_MAX, DEPTH_MAX)?;
    let message = DynamicMessage::decode(descriptor, body.clone()).ok()?;
    let mut json = Bounded {
        text: Vec::new(),
        room,
    };
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .ok()?;
    drop(message);
    RawValue::from_string(String::from_utf8(json.text).ok()?).ok()
}

/// What is left of `fields` once those of a message and of the messages in it are counted; `None`: they are more.
fn count(mut wire: &[u8], of: &MessageDescriptor, mut fields: usize, depth: usize) -> Option<usize> {
    while !wire.is_empty() {
        fields = fields.checked_sub(1)?;
        let (tag, kind) = decode_key(&mut wire).ok()?;
        let length = match kind {
            WireType::Varint => {
                decode_varint(&mut wire).ok()?;
                continue;
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut wire).ok()?).ok()?,
            // Nothing in these protos is a group.
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, rest) = wire.split_at_checked(length)?;
        wire = rest;
        if kind == WireType::LengthDelimited
            && let Some(FieldKind::Message(inner)) = of.get_field(tag).map(|field| field.kind())
        {
            fields = count(value, &inner, fields, depth.checked_sub(1)?)?;
        }
    }
    Some(fields)
}

/// A text that has to fit.
struct Bounded {
    text: Vec<u8>,
    room: usize,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if part.len() > self.room - self.text.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn descriptor(kind: Kind) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let name = match kind {
        Kind::Message => "sessiond.v1.Message",
        Kind::Checkpoint => "sessiond.v1.Checkpoint",
        Kind::Event => "sessiond.v1.Event",
    };
    POOL.get_or_init(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).expect("the protos were compiled"))
        .get_message_by_name(name)
        .expect("the protos have this message")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::client;

    fn said(content: Vec<client::ContentBlock>) -> Bytes {
        let said = client::Message {
            message_id: "m".into(),
            content,
            ..client::Message::default()
        };
        said.encode_to_vec().into()
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let body = said(vec![client::ContentBlock::default()]);
        let whole = r#"{"message_id":"m","content":[{}]}"#;
        let form = |room| readable(Kind::Message, &body, room).map(|form| form.get().to_owned());
        assert_eq!(form(whole.len()).as_deref(), Some(whole));
        assert_eq!(form(whole.len() - 1), None);
        assert_eq!(form(0), None);
    }

    #[test]
    fn very_many_fields_are_not_looked_at() {
        let blocks = |count| vec![client::ContentBlock::default(); count];
        let of = |count| readable(Kind::Message, &said(blocks(count)), usize::MAX).is_some();
        assert!(of(READABLE_FIELDS_MAX - 1));
        assert!(!of(READABLE_FIELDS_MAX));
        // Those within a block count too.
        let result = client::ToolResultBlock {
            content: blocks(READABLE_FIELDS_MAX),
            ..client::ToolResultBlock::default()
        };
        let block = client::ContentBlock {
            block: Some(client::content_block::Block::ToolResult(result)),
            ..client::ContentBlock::default()
        };
        assert!(readable(Kind::Message, &said(vec![block]), usize::MAX).is_none());
    }
}
