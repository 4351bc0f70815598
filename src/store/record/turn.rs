//! The rows of turns and items.

use bytes::Bytes;

use super::session::UsageJson;
use super::{Code, Damage, column, digest, from_json, json, log_id, number};
use crate::domain::time::Time;
use crate::domain::turn::{ItemKind, Status};
use crate::domain::{Item, ItemId, Seq, Turn, TurnId, Usage};

/// A turn's columns.
#[derive(Debug)]
pub(crate) struct TurnRow<'a> {
    pub(crate) journal: &'a [u8],
    pub(crate) number: i64,
    pub(crate) turn_id: &'a str,
    pub(crate) status: i64,
    pub(crate) usage: Option<std::borrow::Cow<'a, str>>,
    pub(crate) error: &'a str,
    pub(crate) start_time: i64,
    pub(crate) end_time: Option<i64>,
    pub(crate) open_items: i64,
    pub(crate) change: i64,
    pub(crate) epoch: i64,
}

/// An item's columns but the body.
#[derive(Debug)]
pub(crate) struct ItemRow<'a> {
    pub(crate) journal: &'a [u8],
    pub(crate) seq: i64,
    pub(crate) turn_id: &'a str,
    pub(crate) item_id: &'a str,
    pub(crate) kind: i64,
    pub(crate) status: i64,
    pub(crate) change: i64,
    pub(crate) create_time: i64,
    pub(crate) end_time: Option<i64>,
    pub(crate) digest: [u8; 16],
}

impl<'a> From<&'a Turn> for TurnRow<'a> {
    fn from(turn: &'a Turn) -> Self {
        Self {
            journal: turn.journal.0.as_bytes(),
            number: column(turn.number),
            turn_id: turn.id.as_str(),
            status: turn.status.code(),
            usage: turn.usage.map(|usage| json(&UsageJson::from(usage)).into()),
            error: &turn.error,
            start_time: turn.start_time.0,
            end_time: turn.end_time.map(|time| time.0),
            open_items: column(turn.open_items),
            change: column(turn.change),
            epoch: column(turn.epoch),
        }
    }
}

impl TryFrom<TurnRow<'_>> for Turn {
    type Error = Damage;

    fn try_from(row: TurnRow<'_>) -> Result<Self, Damage> {
        let usage = row
            .usage
            .map(|usage| from_json::<UsageJson>("usage", &usage).map(Usage::from));
        Ok(Self {
            journal: log_id(row.journal)?,
            id: TurnId::parse(row.turn_id, "turn_id")?,
            number: number(row.number)?,
            status: Status::from_code(row.status)?,
            usage: usage.transpose()?,
            error: row.error.to_owned(),
            start_time: Time(row.start_time),
            end_time: row.end_time.map(Time),
            open_items: number(row.open_items)?,
            change: number(row.change)?,
            epoch: number(row.epoch)?,
        })
    }
}

impl<'a> From<&'a Item> for ItemRow<'a> {
    fn from(item: &'a Item) -> Self {
        Self {
            journal: item.journal.0.as_bytes(),
            seq: column(item.seq.0),
            turn_id: item.turn.as_str(),
            item_id: item.id.as_str(),
            kind: item.kind.code(),
            status: item.status.code(),
            change: column(item.change),
            create_time: item.create_time.0,
            end_time: item.end_time.map(|time| time.0),
            digest: digest(&item.body).0,
        }
    }
}

impl ItemRow<'_> {
    /// The item of these columns and the body that was stored with them, if it is that body still.
    pub(crate) fn item(&self, body: Vec<u8>) -> Result<Item, Damage> {
        if digest(&body).0 != self.digest {
            return Err(Damage::new("a body that its digest does not fit"));
        }
        Ok(Item {
            journal: log_id(self.journal)?,
            turn: TurnId::parse(self.turn_id, "turn_id")?,
            id: ItemId::parse(self.item_id, "item_id")?,
            seq: Seq(number(self.seq)?),
            kind: ItemKind::from_code(self.kind)?,
            status: Status::from_code(self.status)?,
            create_time: Time(self.create_time),
            end_time: self.end_time.map(Time),
            change: number(self.change)?,
            body: Bytes::from(body),
        })
    }
}
