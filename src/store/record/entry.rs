//! An entry's row: what it says about itself, apart from its body.

use bytes::Bytes;

use super::{Code, Damage, column, digest, log_id, number, tally};
use crate::domain::entry::{Kind, Mark};
use crate::domain::message::Role;
use crate::domain::time::Time;
use crate::domain::{Digest, Entry, EntryId, EntryMeta, Seq};

/// The bits of `flags` that hold the role; 0 where there is none.
const ROLE: i64 = 0b111;

/// The bit that says a sub-agent said it.
const IN_SUB_SESSION: i64 = 1 << 3;

/// The bit that says there is a block that is not a tool_result.
const SPEAKS: i64 = 1 << 4;

/// An entry's columns but the body.
#[derive(Debug)]
pub(crate) struct EntryRow<'a> {
    pub(crate) log: &'a [u8],
    pub(crate) seq: i64,
    pub(crate) entry_id: &'a str,
    pub(crate) kind: i64,
    pub(crate) flags: i64,
    pub(crate) create_time: i64,
    pub(crate) preview: Option<&'a str>,
    pub(crate) tally: &'a [u8],
    pub(crate) digest: &'a [u8],
}

impl<'a> EntryRow<'a> {
    /// The columns of `meta`, its tally encoded already.
    pub(crate) fn new(meta: &'a EntryMeta, tally: &'a [u8]) -> Self {
        Self {
            log: meta.log.0.as_bytes(),
            seq: column(meta.seq.0),
            entry_id: meta.id.as_str(),
            kind: meta.mark.kind.code(),
            flags: flags(&meta.mark),
            create_time: meta.create_time.0,
            preview: meta.mark.preview.as_deref(),
            tally,
            digest: &meta.digest.0,
        }
    }
}

impl TryFrom<EntryRow<'_>> for EntryMeta {
    type Error = Damage;

    fn try_from(row: EntryRow<'_>) -> Result<Self, Damage> {
        let seq = Seq(number(row.seq)?);
        let tally = tally::decode(row.tally)?;
        if tally.entries != seq.0 {
            return Err(Damage::new("a tally of another seq"));
        }
        let digest = row
            .digest
            .try_into()
            .map_err(|_| Damage::new("a digest that is not 16 bytes"))?;
        Ok(Self {
            log: log_id(row.log)?,
            seq,
            id: EntryId::parse(row.entry_id, "entry_id")?,
            create_time: Time(row.create_time),
            mark: mark(row.kind, row.flags, row.preview)?,
            tally,
            digest: Digest(digest),
        })
    }
}

/// The entry of `meta` and the body that was stored with it, if it is that body still.
pub(crate) fn with_body(meta: EntryMeta, body: Vec<u8>) -> Result<Entry, Damage> {
    if digest(&body) != meta.digest {
        return Err(Damage::new("a body that its digest does not fit"));
    }
    Ok(Entry {
        meta,
        body: Bytes::from(body),
    })
}

fn flags(mark: &Mark) -> i64 {
    let role = mark.role.map_or(0, Code::code);
    let in_sub_session = if mark.in_sub_session { IN_SUB_SESSION } else { 0 };
    let speaks = if mark.speaks { SPEAKS } else { 0 };
    role | in_sub_session | speaks
}

fn mark(kind: i64, flags: i64, preview: Option<&str>) -> Result<Mark, Damage> {
    let role = match flags & ROLE {
        0 => None,
        code => Some(Role::from_code(code)?),
    };
    let kind = Kind::from_code(kind)?;
    if flags & !(ROLE | IN_SUB_SESSION | SPEAKS) != 0 || role.is_some() != (kind == Kind::Message) {
        return Err(Damage::new("flags that no entry has"));
    }
    Ok(Mark {
        kind,
        role,
        in_sub_session: flags & IN_SUB_SESSION != 0,
        speaks: flags & SPEAKS != 0,
        preview: preview.map(str::to_owned),
    })
}
