//! The items that the messages of a seeded thread are: derived on read, never stored.
//!
//! Every tool call and every tool result is an item of its own, and so is a run of other blocks of one kind: exactly
//! what [`MessageFacts::items`](crate::domain::MessageFacts) counts when the message is written, so that a tally says
//! which items an entry is. What a sub-agent said and system messages are no items.

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::id::ID_CHARS_MAX;
use crate::domain::turn::{ItemKind, Status};
use crate::domain::{Entry, EntryId, Item, ItemId, LogId, Role, Seq, Time, TurnId, Usage};
use crate::pb;

use super::message::{Envelope, item_kind, starts_item};
use super::value;

/// A message of a seeded thread, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Its items, in order.
    pub items: Vec<Item>,
    /// What it used.
    pub usage: Option<Usage>,
    /// When it was said.
    pub time: Time,
}

/// Opens a stored message as items of `turn` in the thread whose own items lie in `journal`; they are the last of
/// those that the entry's tally counts.
pub fn derived(entry: &Entry, journal: LogId, turn: &TurnId) -> Result<Derived, DecodeError> {
    let envelope = Envelope::decode(entry.body.clone())?;
    let said = value::optional_time(envelope.create_time.as_ref(), "create_time");
    let time = said.ok().flatten().unwrap_or(entry.meta.create_time);
    let runs = runs(&envelope)?;
    let before = entry.meta.tally.items.saturating_sub(runs.len() as u64);
    let items = (1..).zip(runs).map(|(number, run)| Item {
        journal,
        turn: turn.clone(),
        id: item_id(&entry.meta.id, number),
        seq: Seq(before + number),
        kind: run.kind,
        status: Status::Completed,
        create_time: time,
        end_time: Some(time),
        change: 0,
        body: Bytes::from(run.item.encode_to_vec()),
    });
    Ok(Derived {
        items: items.collect(),
        usage: envelope.usage.as_ref().map(value::usage),
        time,
    })
}

/// Blocks that are one item.
struct Run {
    kind: ItemKind,
    item: pb::Item,
}

fn runs(envelope: &Envelope) -> Result<Vec<Run>, DecodeError> {
    let role = value::role(envelope.role).unwrap_or(Role::System);
    let mut runs: Vec<Run> = Vec::new();
    if role == Role::System || !envelope.agent_path.is_empty() {
        return Ok(runs);
    }
    let mut open = None;
    for bytes in &envelope.content {
        let block = pb::ContentBlock::decode(bytes.clone())?;
        let starts = starts_item(&mut open, role, &block);
        match runs.last_mut().filter(|_| !starts) {
            Some(run) => run.item.content.push(bytes.clone()),
            None => runs.push(Run {
                kind: item_kind(role, &block),
                item: pb::Item {
                    content: vec![bytes.clone()],
                    ..pb::Item::default()
                },
            }),
        }
    }
    Ok(runs)
}

/// The name of a message's item with this number, from 1: the message's own for the first, and the same for ever for
/// the others. Where it would be too long, a digest stands for the message's name.
fn item_id(message: &EntryId, number: u64) -> ItemId {
    if number == 1 {
        return ItemId::from(message);
    }
    let name = format!("{message}.{number}");
    let name = if name.len() <= ID_CHARS_MAX {
        name
    } else {
        format!("{:032x}.{number}", xxh3_128(message.as_str().as_bytes()))
    };
    ItemId::parse(&name, "item_id").unwrap_or_else(|_| ItemId::from(message))
}

#[cfg(test)]
mod tests;
