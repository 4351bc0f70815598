//! The one place where bodies are opened: the wire bytes of messages, checkpoints, events and items.
//!
//! A body is read once, when it is written: [`entry`] and [`item`] check it and count the facts that the rules need.
//! From then on it is bytes. What came in is kept byte for byte, unknown fields and blocks of a later version
//! included; an id or a time that is missing is filled by appending that one field, which is how the wire format
//! sets a field. Content JSON is never parsed; metadata and the data of events are checked for being well-formed
//! without building values.
//!
//! Everything here is pure. Errors name fields relative to the entry or item that was given.

use bytes::{Bytes, BytesMut};
use prost::{DecodeError, Message as _};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::entry::Payload;
use crate::domain::{Digest, EntryId, Invalid, Kind, Limits, NewEntry, Role, Time, TurnId, Usage};
use crate::pb;

mod dangling;
mod derived;
mod item;
mod json;
mod message;
mod sameness;
mod searchable;
pub mod value;

pub use dangling::Dangling;
pub use derived::{Derived, derived};
pub use item::{item, item_blocks, item_to_pb};
pub use json::well_formed;
pub use sameness::Sameness;
pub use searchable::{Searchable, searchable};

use message::Envelope;

/// An entry as a client gives it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The entry_id, if there is one.
    pub id: Option<EntryId>,
    /// The create_time, if there is one.
    pub create_time: Option<Time>,
    /// What the body is.
    pub kind: Kind,
    /// Wire bytes of a Message, Checkpoint or Event.
    pub body: Bytes,
}

/// Checks an entry, counts what the rules need of it, and fills what is missing: an id from `fresh`, the time of the
/// body or else `now`.
///
/// A message's message_id and its entry_id are one. An event's event_id is its producer's and is left alone.
pub fn entry(
    given: Given,
    fresh: impl FnOnce() -> Uuid,
    now: Time,
    limits: &Limits,
) -> Result<NewEntry, Invalid> {
    let field = field(given.kind);
    let max = limits.message_bytes_max;
    if given.body.len() > max {
        return Err(Invalid::limit(field, "message_bytes_max", max as u64));
    }
    match given.kind {
        Kind::Message => message_entry(given, fresh, now, limits),
        Kind::Checkpoint => {
            check_checkpoint(&given.body, limits)?;
            Ok(plain_entry(given, fresh, now, Payload::Checkpoint))
        }
        Kind::Event => {
            let event = pb::Event::decode(given.body.clone()).map_err(|_| malformed("event", "an Event"))?;
            well_formed(&event.data_json, "event.data_json", max)?;
            Ok(plain_entry(given, fresh, now, Payload::Event))
        }
    }
}

/// A message that the service makes of blocks. Its id must be new to the session.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Its id.
    pub id: EntryId,
    /// Who speaks.
    pub role: Role,
    /// Wire bytes of ContentBlocks, in order.
    pub blocks: Vec<Bytes>,
    /// The turn it belongs to.
    pub turn: TurnId,
    /// The model that wrote it; empty when it is not known.
    pub model: String,
    /// What it used; `None` leaves the field out.
    pub usage: Option<Usage>,
    /// When it was said.
    pub create_time: Time,
}

/// The entry of a message whose blocks were checked when they were written; they go in as they are.
pub fn compose(message: &Composed) -> NewEntry {
    let envelope = Envelope {
        message_id: message.id.to_string(),
        role: value::role_to_pb(message.role).into(),
        content: message.blocks.clone(),
        turn_id: message.turn.to_string(),
        model: message.model.clone(),
        usage: message.usage.map(value::usage_to_pb),
        create_time: Some(value::timestamp(message.create_time)),
        ..Envelope::default()
    };
    let blocks = message.blocks.iter();
    let blocks: Vec<_> = blocks
        .map(|block| pb::ContentBlock::decode(block.clone()).unwrap_or_default())
        .collect();
    let facts = message::facts(message.role, &envelope, &blocks);
    let body = Bytes::from(envelope.encode_to_vec());
    NewEntry {
        id: message.id.clone(),
        id_is_fresh: true,
        create_time: message.create_time,
        payload: Payload::Message(facts),
        digest: digest(&body),
        body,
    }
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointBody {
    /// Wire bytes of the messages that stand for everything before.
    pub context: Vec<Bytes>,
    /// The message that sums up what came before; empty for none.
    pub summary_message_id: String,
    /// The last message that the summary covers; empty for none.
    pub last_message_id: String,
}

/// Reads a stored checkpoint.
pub fn checkpoint(body: &Bytes) -> Result<CheckpointBody, DecodeError> {
    let pb::Checkpoint {
        context,
        summary_message_id,
        last_message_id,
        token_count: _,
    } = pb::Checkpoint::decode(body.clone())?;
    Ok(CheckpointBody {
        context,
        summary_message_id: summary_message_id.trim().to_owned(),
        last_message_id: last_message_id.trim().to_owned(),
    })
}

/// The wire bytes of a checkpoint whose context is these messages.
pub fn checkpoint_of(context: Vec<Bytes>) -> Bytes {
    let checkpoint = pb::Checkpoint {
        context,
        ..pb::Checkpoint::default()
    };
    checkpoint.encode_to_vec().into()
}

/// The texts of a message's text blocks, one after another.
pub fn text_of(body: &Bytes) -> Result<String, DecodeError> {
    let mut texts = Vec::new();
    for block in Envelope::decode(body.clone())?.content {
        if let Some(pb::content_block::Block::Text(text)) = pb::ContentBlock::decode(block)?.block {
            texts.push(text.text);
        }
    }
    Ok(texts.join("\n\n"))
}

/// The message_id of a stored message; nothing of its content is decoded.
pub fn message_id(body: &Bytes) -> Result<String, DecodeError> {
    Ok(Envelope::decode(body.clone())?.message_id)
}

/// The facts of a stored body, whatever limits it was written under; `None` if it is no body of its kind.
pub fn payload(kind: Kind, body: &Bytes) -> Option<Payload> {
    match kind {
        Kind::Message => {
            let limits = Limits {
                text_bytes_max: usize::MAX,
                ..Limits::default()
            };
            let (_, facts) = message::read(body, "message", &limits).ok()?;
            Some(Payload::Message(facts))
        }
        Kind::Checkpoint => checkpoint(body).ok().map(|_| Payload::Checkpoint),
        Kind::Event => pb::Event::decode(body.clone()).ok().map(|_| Payload::Event),
    }
}

/// The digest of a body.
pub fn digest(body: &[u8]) -> Digest {
    Digest(xxh3_128(body).to_be_bytes())
}

fn field(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Checkpoint => "checkpoint",
        Kind::Event => "event",
    }
}

fn malformed(field: &str, what: &str) -> Invalid {
    Invalid::new(field, format!("the bytes are not {what}"))
}

fn message_entry(
    given: Given,
    fresh: impl FnOnce() -> Uuid,
    now: Time,
    limits: &Limits,
) -> Result<NewEntry, Invalid> {
    let (message, facts) = message::read(&given.body, "message", limits)?;
    let (id, id_is_fresh) = match (given.id, said_id(&message)?) {
        (Some(entry), Some(said)) if entry != said => {
            return Err(Invalid::new(
                "entry_id",
                "differs from message.message_id; the two are one",
            ));
        }
        (Some(id), _) | (None, Some(id)) => (id, false),
        (None, None) => (EntryId::from_uuid(fresh()), true),
    };
    let said = value::optional_time(message.create_time.as_ref(), "message.create_time")?;
    let create_time = given.create_time.or(said).unwrap_or(now);

    let mut missing = Envelope::default();
    if message.message_id != id.as_str() {
        missing.message_id = id.to_string();
    }
    if message.turn_id != message.turn_id.trim() {
        missing.turn_id = message.turn_id.trim().to_owned();
    }
    if said.is_none() {
        missing.create_time = Some(value::timestamp(create_time));
    }
    let body = with(given.body, &missing);
    let payload = Payload::Message(facts);
    Ok(NewEntry {
        id,
        id_is_fresh,
        create_time,
        payload,
        digest: digest(&body),
        body,
    })
}

fn said_id(message: &Envelope) -> Result<Option<EntryId>, Invalid> {
    if message.message_id.is_empty() {
        return Ok(None);
    }
    EntryId::parse(&message.message_id, "message.message_id").map(Some)
}

/// The bytes with the fields of `missing` behind them; of a field that is there twice, the last counts.
fn with(body: Bytes, missing: &Envelope) -> Bytes {
    let added = missing.encoded_len();
    if added == 0 {
        return body;
    }
    let mut whole = BytesMut::with_capacity(body.len() + added);
    whole.extend_from_slice(&body);
    whole.extend_from_slice(&missing.encode_to_vec());
    whole.freeze()
}

fn plain_entry(given: Given, fresh: impl FnOnce() -> Uuid, now: Time, payload: Payload) -> NewEntry {
    let id_is_fresh = given.id.is_none();
    NewEntry {
        id: given.id.unwrap_or_else(|| EntryId::from_uuid(fresh())),
        id_is_fresh,
        create_time: given.create_time.unwrap_or(now),
        payload,
        digest: digest(&given.body),
        body: given.body,
    }
}

fn check_checkpoint(body: &Bytes, limits: &Limits) -> Result<(), Invalid> {
    let checkpoint =
        pb::Checkpoint::decode(body.clone()).map_err(|_| malformed("checkpoint", "a Checkpoint"))?;
    for (id, field) in [
        (&checkpoint.summary_message_id, "checkpoint.summary_message_id"),
        (&checkpoint.last_message_id, "checkpoint.last_message_id"),
    ] {
        if !id.is_empty() {
            EntryId::parse(id, field)?;
        }
    }
    for (at, message) in checkpoint.context.iter().enumerate() {
        let field = format!("checkpoint.context[{at}]");
        let (message, _) = message::read(message, &field, limits)?;
        if !message.message_id.is_empty() {
            EntryId::parse(&message.message_id, &format!("{field}.message_id"))?;
        }
        value::optional_time(message.create_time.as_ref(), &format!("{field}.create_time"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
