//! The service's own format, without loss: a JSON object a line, a header for the session, then its entries.
//!
//! A body stands there twice: as wire bytes in base64, which is what counts, and in the JSON form of the protos, for
//! readers and their tools. The second one is left out where the line would become too long, and never read back.
//! Left out of the header is what belongs to the place a session is kept at: namespace, revision, etag, thread, times
//! of deletion and purge.
//!
//! A text may hold several sessions: every header begins the next one.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::body::{Given, value};
use crate::domain::proposal::Restored;
use crate::domain::{Entry, EntryId, Kind, Limits, Seq, Session, SessionId, Time};
use crate::pb;

use super::Secrets;

mod facts;

use facts::Facts;

/// What the first field of a header says.
const FORMAT: &str = "sessiond";

/// The version that is written, and the newest that is read.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Header<'a> {
    format: &'a str,
    version: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    session: Facts,
}

#[derive(Serialize)]
struct EntryLine<'a> {
    seq: u64,
    entry_id: &'a str,
    create_time: String,
    kind: &'a str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
}

/// A line, header or entry. What is not named here is not looked at.
#[derive(Deserialize)]
struct AnyLine<'a> {
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default, borrow)]
    session: Option<&'a RawValue>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    entry_id: Option<String>,
    #[serde(default)]
    create_time: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

/// What a line says.
#[derive(Debug)]
pub enum Read {
    /// A session begins.
    Session(Box<Head>),
    /// The session goes on.
    Entry(EntryRead),
}

/// A session's facts, as far as they can be used.
#[derive(Debug)]
pub struct Head {
    /// Its own id.
    pub id: Option<SessionId>,
    /// The rest.
    pub restored: Restored,
    /// What of it cannot be used, and why.
    pub problems: Vec<String>,
}

/// An entry, not looked into yet.
#[derive(Debug)]
pub struct EntryRead {
    /// Its place in the session it comes from.
    pub seq: Option<Seq>,
    /// The entry.
    pub given: Given,
}

/// The header of a session.
pub(super) fn header(session: &Session, secrets: Secrets) -> Vec<u8> {
    let header = Header {
        format: FORMAT,
        version: VERSION,
        redacted: secrets == Secrets::Masked,
        session: Facts::from(session),
    };
    // Numbers, texts and maps with text for keys have a JSON form.
    let mut line = serde_json::to_vec(&header).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Adds the line of an entry.
pub(super) fn entry(entry: &Entry, line_bytes_max: usize, out: &mut Vec<u8>) {
    let kind = entry.meta.mark.kind;
    let body = STANDARD.encode(&entry.body);
    let readable = readable(kind, &entry.body);
    let room = line_bytes_max.saturating_sub(body.len() + LINE_REST_BYTES);
    let readable = readable
        .as_deref()
        .filter(|readable| readable.get().len() <= room);
    let only = |wanted: Kind| readable.filter(|_| wanted == kind);
    let line = EntryLine {
        seq: entry.meta.seq.0,
        entry_id: entry.meta.id.as_str(),
        create_time: time_text(entry.meta.create_time),
        kind: name(kind),
        body: &body,
        message: only(Kind::Message),
        checkpoint: only(Kind::Checkpoint),
        event: only(Kind::Event),
    };
    out.extend(serde_json::to_vec(&line).unwrap_or_default());
    out.push(b'\n');
}

/// Bytes of a line beside the two forms of its body.
const LINE_REST_BYTES: usize = 512;

/// Reads a line, or says what is wrong with it, without a word of what it says. `now` is when a session was archived of
/// which no more is said.
pub fn read(line: &[u8], now: Time, limits: &Limits) -> Result<Read, String> {
    let line: AnyLine<'_> = serde_json::from_slice(line).map_err(|error| unread(&error))?;
    if line.format.is_some() || line.session.is_some() {
        return header_of(&line, now, limits).map(|head| Read::Session(Box::new(head)));
    }
    entry_of(line).map(Read::Entry)
}

fn header_of(line: &AnyLine<'_>, now: Time, limits: &Limits) -> Result<Head, String> {
    if line.format.as_deref() != Some(FORMAT) {
        return Err(format!("format: must be {FORMAT:?}"));
    }
    match line.version {
        Some(1..=VERSION) => {}
        Some(version) => return Err(format!("version: {version} is not known, only up to {VERSION}")),
        None => return Err(String::from("version: is missing")),
    }
    let Some(session) = line.session else {
        return Err(String::from("session: is missing"));
    };
    let facts: Facts =
        serde_json::from_str(session.get()).map_err(|error| format!("session: {}", unread(&error)))?;
    Ok(facts.head(now, limits))
}

fn entry_of(line: AnyLine<'_>) -> Result<EntryRead, String> {
    let said = |invalid: crate::domain::Invalid| invalid.to_string();
    let kind = match line.kind.as_deref() {
        Some("message") => Kind::Message,
        Some("checkpoint") => Kind::Checkpoint,
        Some("event") => Kind::Event,
        Some(_) | None => return Err(String::from("kind: must be message, checkpoint or event")),
    };
    let Some(body) = line.body else {
        return Err(String::from("body: is missing"));
    };
    let body = STANDARD
        .decode(body)
        .map_err(|_| String::from("body: is not base64"))?;
    let id = line.entry_id.filter(|id| !id.is_empty());
    let id = id.map(|id| EntryId::parse(&id, "entry_id").map_err(said));
    let create_time = line.create_time.map(|time| time_of(&time, "create_time"));
    Ok(EntryRead {
        seq: line.seq.map(Seq),
        given: Given {
            id: id.transpose()?,
            create_time: create_time.transpose()?,
            kind,
            body: Bytes::from(body),
        },
    })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Checkpoint => "checkpoint",
        Kind::Event => "event",
    }
}

/// The JSON form that the protos have. A body that has none, as a time may be beyond what that form can say, is there
/// as wire bytes alone.
fn readable(kind: Kind, body: &Bytes) -> Option<Box<RawValue>> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    let message = DynamicMessage::decode(descriptor(kind), body.clone()).ok()?;
    let mut json = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .ok()?;
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
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

/// A time as RFC 3339, to the nanosecond.
fn time_text(time: Time) -> String {
    value::timestamp(time).to_string()
}

fn time_of(text: &str, field: &str) -> Result<Time, String> {
    let time: prost_types::Timestamp = text
        .parse()
        .map_err(|_| format!("{field}: is not a time of RFC 3339"))?;
    value::time(&time, field).map_err(|invalid| invalid.to_string())
}

/// What is wrong with JSON: never the parser's own words, which may hold the line's.
fn unread(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Syntax => "is not JSON",
        Category::Eof => "ends in the middle",
        Category::Data | Category::Io => "has a value of the wrong kind",
    };
    format!("{what}, at column {}", error.column())
}

#[cfg(test)]
mod tests;
