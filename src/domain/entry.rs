//! One immutable record of a log: a message, a checkpoint or an event.

use bytes::Bytes;

use super::id::{EntryId, LogId, Seq};
use super::message::{MessageFacts, Role};
use super::tally::Tally;
use super::time::Time;

/// 16 bytes of a body as it came (xxh3); equal bodies have equal digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Somebody said something.
    Message,
    /// The context a model is sent starts anew here.
    Checkpoint,
    /// Something to replay that is no message.
    Event,
}

/// An entry that is to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Its id, unique in the session; one already in the log is not added twice.
    pub id: EntryId,
    /// Whether the id was made here, and so cannot be in the log yet.
    pub id_is_fresh: bool,
    /// When it was made.
    pub create_time: Time,
    /// What it carries, with the facts the rules count.
    pub payload: Payload,
    /// Of the body.
    pub digest: Digest,
    /// The wire bytes of the message, checkpoint or event.
    pub body: Bytes,
}

/// The payload's facts, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A message.
    Message(MessageFacts),
    /// A checkpoint.
    Checkpoint,
    /// An event.
    Event,
}

impl Payload {
    /// The kind alone.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Message(_) => Kind::Message,
            Self::Checkpoint => Kind::Checkpoint,
            Self::Event => Kind::Event,
        }
    }
}

/// What a stored entry says about itself without opening its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it carries.
    pub kind: Kind,
    /// Of a message, who speaks.
    pub role: Option<Role>,
    /// Of a message, whether a sub-agent said it.
    pub in_sub_session: bool,
    /// Of a message, whether it has a block that is not a tool_result.
    pub speaks: bool,
    /// Of a user message with text, its first 120 characters.
    pub preview: Option<String>,
}

impl Mark {
    /// What is kept of a payload beside its body.
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Message(facts) => Self {
                kind: Kind::Message,
                role: Some(facts.role),
                in_sub_session: facts.in_sub_session,
                speaks: facts.speaks,
                preview: facts.opening.as_ref().map(|opening| opening.preview.clone()),
            },
            Payload::Checkpoint | Payload::Event => Self {
                kind: payload.kind(),
                role: None,
                in_sub_session: false,
                speaks: false,
                preview: None,
            },
        }
    }

    /// A user message: role USER, with a block that is not a tool_result.
    pub fn is_user_message(&self) -> bool {
        self.role == Some(Role::User) && self.speaks
    }

    /// In the visible list: every message but the system's.
    pub fn is_visible(&self) -> bool {
        self.role.is_some_and(|role| role != Role::System)
    }

    /// In the context view, unless a checkpoint replaces it: every message of the main agent.
    pub fn is_context(&self) -> bool {
        self.role.is_some() && !self.in_sub_session
    }
}

/// A stored entry without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// The log it lies in.
    pub log: LogId,
    /// Its place, as clients see it.
    pub seq: Seq,
    /// Its id.
    pub id: EntryId,
    /// When it was made.
    pub create_time: Time,
    /// What it is.
    pub mark: Mark,
    /// The fold of everything up to and with it.
    pub tally: Tally,
    /// Of the body.
    pub digest: Digest,
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// All but the body.
    pub meta: EntryMeta,
    /// The wire bytes, as they came.
    pub body: Bytes,
}

impl Entry {
    /// The entry that follows `before` in `log`.
    pub fn following(before: &Tally, log: LogId, new: &NewEntry) -> Self {
        let tally = before.with(&new.payload);
        let mark = Mark::of(&new.payload);
        let seq = Seq(tally.entries);
        let (id, create_time, digest) = (new.id.clone(), new.create_time, new.digest);
        Self {
            meta: EntryMeta {
                log,
                seq,
                id,
                create_time,
                mark,
                tally,
                digest,
            },
            body: new.body.clone(),
        }
    }
}
