//! The service's own format, without loss: a JSON object a line, a header for the session, then its entries.
//!
//! A body stands there twice: as wire bytes in base64, which is what counts, and in the JSON form of the protos, for
//! readers and their tools. The second one is left out where the line would become too long, and never read back.
//! Left out of the header is what belongs to the place a session is kept at: namespace, revision, etag, thread, times
//! of deletion and purge.
//!
//! A text may hold several sessions: every header begins the next one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::body::{Given, value};
use crate::domain::proposal::Restored;
use crate::domain::{Entry, EntryId, Kind, Limits, Seq, Session, SessionId, Time};

use super::Secrets;

mod facts;
mod readable;
mod told;

use facts::Facts;
use readable::readable;
use told::Told;

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
    #[serde(default, borrow)]
    body: Option<Text<'a>>,
}

/// A text that is not copied where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What shows in a line that cannot be read that it is a header.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(default, borrow)]
    format: Option<&'a RawValue>,
    #[serde(default, borrow)]
    session: Option<&'a RawValue>,
}

/// What a line says.
#[derive(Debug)]
pub enum Read {
    /// A session begins.
    Session(Box<Head>),
    /// The session goes on.
    Entry(EntryRead),
}

/// Why a line cannot be read, without a word of what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A header: nobody knows whose the entries are that follow.
    Header(String),
    /// An entry.
    Entry(String),
    /// Anything: it may have been a header.
    Line(String),
}

impl Unread {
    /// Why.
    pub fn reason(self) -> String {
        match self {
            Self::Header(reason) | Self::Entry(reason) | Self::Line(reason) => reason,
        }
    }
}

/// A session's facts, as far as they can be used.
#[derive(Debug)]
pub struct Head {
    /// Its own id.
    pub id: Option<SessionId>,
    /// The rest.
    pub restored: Restored,
    /// Entries that follow, if it says how many.
    pub entries: Option<u64>,
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
    let room = line_bytes_max.saturating_sub(body.len() + LINE_REST_BYTES);
    let readable = readable(kind, &entry.body, room);
    let readable = readable.as_deref();
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

/// How a line begins that was written as a header.
const HEADER_START: &[u8] = b"{\"format\"";

/// Reads a line. `now` is when a session was archived of which no more is said.
pub fn read(line: &[u8], now: Time, limits: &Limits) -> Result<Read, Unread> {
    let read: AnyLine<'_> = match serde_json::from_slice(line) {
        Ok(read) => read,
        Err(error) => return Err(unreadable(line, &error)),
    };
    if !line.starts_with(b"{") {
        return Err(Unread::Line(String::from("is not an object")));
    }
    if read.format.is_some() || read.session.is_some() {
        let head = header_of(&read, now, limits).map_err(Unread::Header)?;
        return Ok(Read::Session(Box::new(head)));
    }
    entry_of(read).map(Read::Entry).map_err(Unread::Entry)
}

fn unreadable(line: &[u8], error: &serde_json::Error) -> Unread {
    let reason = unread(error);
    if !line.starts_with(b"{") {
        return Unread::Line(reason);
    }
    match serde_json::from_slice::<Marks<'_>>(line) {
        Ok(marks) if marks.format.is_none() && marks.session.is_none() => Unread::Entry(reason),
        Ok(_) => Unread::Header(reason),
        Err(_) if line.starts_with(HEADER_START) => Unread::Header(reason),
        Err(_) => Unread::Line(reason),
    }
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
    if !session.get().starts_with('{') {
        return Err(String::from("session: has a value of the wrong kind"));
    }
    let told: Told =
        serde_json::from_str(session.get()).map_err(|error| format!("session: {}", unread(&error)))?;
    Ok(told.head(now, limits))
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
        .decode(body.0.as_bytes())
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
