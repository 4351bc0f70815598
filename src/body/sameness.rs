//! When two messages are one: a snapshot is compared with what is stored.

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use xxhash_rust::xxh3::Xxh3;

use crate::domain::{Digest, EntryId};

use super::message::Envelope;

/// What a message is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sameness {
    /// Its id; `None`: it has none, or none that could be one.
    pub id: Option<EntryId>,
    /// Of role and content as they came.
    pub said: Digest,
    /// The turn it belongs to; may be empty.
    pub turn: String,
}

impl Sameness {
    /// Of these wire bytes.
    pub fn of(body: &Bytes) -> Result<Self, DecodeError> {
        let envelope = Envelope::decode(body.clone())?;
        let mut hash = Xxh3::new();
        hash.update(&envelope.role.to_be_bytes());
        for block in &envelope.content {
            hash.update(&(block.len() as u64).to_be_bytes());
            hash.update(block);
        }
        Ok(Self {
            id: EntryId::parse(&envelope.message_id, "message_id").ok(),
            said: Digest(hash.digest128().to_be_bytes()),
            turn: envelope.turn_id.trim().to_owned(),
        })
    }

    /// Equal ids, else equal role and content.
    pub fn is(&self, other: &Self) -> bool {
        let same_id = self.id.is_some() && self.id == other.id;
        same_id || self.said == other.said
    }
}
