//! JSON for programs: the messages of the protos, in one fixed form.
//!
//! Fields are named as in the protos, enums by name, times in RFC 3339, 64-bit numbers as numbers, bytes in base64, and
//! content JSON (`input_json` and its like) as the text that it is. Fields without a value of their own are there with
//! their default; optional fields and messages only when they are set. Fields stand in alphabetical order.

use std::io::{self, Write};
use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;
use serde_json::ser::Formatter;

use super::error::Error;
use super::term::is_bidi;
use crate::pb;

/// A message that has a name in the protos.
pub(crate) trait Named: Message + Default {
    /// The name, without the package.
    const NAME: &'static str;
}

macro_rules! named {
    ($($name:ident)*) => { $(impl Named for pb::client::$name { const NAME: &'static str = stringify!($name); })* };
}

named! {
    AppendEntriesResponse Engine Entry ForkSessionResponse ImportSessionResponse Item Message PruneSessionsResponse
    ResumeProgress RewindSessionResponse SaveSessionResponse SearchHit Session SessionNode SessionRevision
    SnapshotFromEngineResponse Thread Turn
}

// What the demo prints as calls to make by hand.
#[cfg(test)]
named! { AppendItemsRequest CreateThreadRequest FinishTurnRequest StartTurnRequest }

/// The JSON form of a message.
pub(crate) fn value<M: Named>(message: &M) -> Result<Value, Error> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(false);
    // A time, for one, may be beyond what RFC 3339 can say.
    let unusable = |reason: String| Error::Answer(format!("a {} has no JSON form: {reason}", M::NAME));
    DynamicMessage::decode(descriptor(M::NAME), message.encode_to_vec().as_slice())
        .map_err(|error| unusable(error.to_string()))?
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| unusable(error.to_string()))
}

/// The JSON form of a list.
pub(crate) fn values<M: Named>(messages: &[M]) -> Result<Value, Error> {
    messages.iter().map(value).collect()
}

/// Reads a message from one line of JSON. Fields may be named as in the protos or in lowerCamelCase; one that the protos
/// do not know is an error.
pub(crate) fn parse<M: Named>(text: &str) -> Result<M, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor(M::NAME), &mut json, &options)?;
    json.end()?;
    message.transcode_to().map_err(serde::de::Error::custom)
}

/// Prints a value in one line.
pub(crate) fn print(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    write(out, value)?;
    writeln!(out)
}

/// Prints a value, and the line goes on.
pub(crate) fn write(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    let mut json = serde_json::Serializer::with_formatter(out, Visible);
    Ok(serde::Serialize::serialize(value, &mut json)?)
}

/// Writes characters that could steer a terminal as escapes: the same value, but nothing to obey.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(|char: char| char.is_control() || is_bidi(char)) {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            if let Some(char) = chars.next() {
                // What is looked for lies below U+10000: one escape is enough.
                write!(out, "\\u{:04x}", u32::from(char))?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

fn descriptor(name: &str) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).expect("the protos were compiled"))
        .get_message_by_name(&format!("sessiond.v1.{name}"))
        .expect("the protos have this message")
}

#[cfg(test)]
mod tests {
    use crate::client::play::{block, text};
    use crate::pb::client as pb;

    use super::*;

    #[test]
    fn a_message_has_the_form_that_is_promised() {
        let message = pb::Message {
            message_id: "m".into(),
            role: pb::Role::Assistant.into(),
            content: vec![block(pb::content_block::Block::ToolUse(pb::ToolUseBlock {
                tool_use_id: "x".into(),
                name: "f".into(),
                input_json: r#"{"n":1e400}"#.into(),
            }))],
            usage: Some(pb::Usage {
                input_tokens: 1 << 60,
                ..Default::default()
            }),
            create_time: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            }),
            ..Default::default()
        };
        let json = value(&message).unwrap();
        assert_eq!(json["role"], "ROLE_ASSISTANT");
        assert_eq!(json["usage"]["input_tokens"], 1_u64 << 60);
        assert_eq!(json["create_time"], "1970-01-01T00:00:01.500Z");
        assert_eq!(json["content"][0]["tool_use"]["input_json"], r#"{"n":1e400}"#);
        assert_eq!(json["agent_path"], "");
        assert_eq!(json["content"][0].get("text"), None);
        assert_eq!(parse::<pb::Message>(&json.to_string()).unwrap(), message);
    }

    #[test]
    fn a_time_that_has_no_json_form_is_an_error() {
        let create_time = Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        });
        assert!(
            value(&pb::Message {
                create_time,
                ..Default::default()
            })
            .is_err()
        );
    }

    #[test]
    fn an_entry_is_read_in_either_spelling() {
        let snake = parse::<pb::Entry>(
            r#"{"entry_id":"e","message":{"role":"ROLE_USER","content":[{"text":{"text":"hi"}}]}}"#,
        );
        let camel = parse::<pb::Entry>(
            r#"{"entryId":"e","message":{"role":"ROLE_USER","content":[{"text":{"text":"hi"}}]}}"#,
        );
        assert_eq!(snake.unwrap(), camel.unwrap());
        assert!(parse::<pb::Entry>(r#"{"entry":"e"}"#).is_err());
        assert!(parse::<pb::Entry>("{} {}").is_err());
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        let message = pb::Message {
            content: vec![block(text("a\u{9b}b\u{202e}\x7fc\x1bé"))],
            ..Default::default()
        };
        let mut out = Vec::new();
        print(&mut out, &value(&message).unwrap()).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(r#""a\u009bb\u202e\u007fc\u001bé""#), "{out}");
        assert_eq!(parse::<pb::Message>(&out).unwrap(), message);
    }
}
