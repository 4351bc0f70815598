//! Entries over the spans of a log's path.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::Columns;
use super::{Room, failed, logs};
use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::path::Span;
use crate::domain::query::{Bound, End, Range};
use crate::domain::{Entry, EntryId, Log, LogId, Seq, Tally, Tip};
use crate::store::Error;
use crate::store::record::entry::with_body;
use crate::store::record::{Damage, EntryRow, column, number, tally};

/// Ids that are looked for one by one; more go as one list.
const IDS_ONE_BY_ONE_MAX: usize = 8;

/// Where the body stands among the columns of [`read_meta`].
pub(super) const BODY: usize = 9;

/// Entries of a log, inherited ones included, ascending.
pub(super) fn page(conn: &Connection, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error> {
    let mut spans = log.spans(range.after, range.to);
    let mut page = Pages {
        room: Room::of(bound),
        from: range.from,
        entries: Vec::new(),
    };
    match range.from {
        End::Oldest => {
            for span in spans {
                if page.read(conn, span)? == Filled::Yes {
                    break;
                }
            }
        }
        End::Newest => {
            spans.reverse();
            for span in spans {
                if page.read(conn, span)? == Filled::Yes {
                    break;
                }
            }
            page.entries.reverse();
        }
    }
    Ok(page.entries)
}

/// One entry without its body.
pub(super) fn meta(conn: &Connection, log: LogId, seq: Seq) -> Result<Option<EntryMeta>, Error> {
    let failed = failed("reading an entry");
    let sql = "SELECT log, seq, entry_id, kind, flags, create_time, preview, tally, digest FROM entries \
               WHERE log = ?1 AND seq = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement
        .query(params![log.0.as_bytes(), column(seq.0)])
        .map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read_meta(Columns(row)).map_err(|damage| damaged(log, seq, damage)))
        .transpose()
}

/// One entry of those up to a tip, by its id.
pub(super) fn by_id(conn: &Connection, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error> {
    let places = places(conn, &tip.log, tip.seq(), std::slice::from_ref(id))?;
    places
        .get(id)
        .map_or(Ok(None), |seq| entry(conn, tip.log.holder(*seq), *seq))
}

/// Messages of one stretch, as many as there is room for, and how far they go; those that cannot be read are left out.
pub(super) fn messages(
    conn: &Connection,
    mut span: Span,
    room: &mut Room,
) -> Result<(Vec<Entry>, Seq), Error> {
    let mut messages = Vec::new();
    loop {
        match readable_messages(conn, span, room, &mut messages)? {
            Stretch::Ends(at) => return Ok((messages, at)),
            // A page of the file is damaged. What it holds of this entry is lost to the index, and no more.
            Stretch::Breaks(at) => {
                let Some(broken) = next_seq(conn, span.log, at)?.filter(|seq| *seq < span.to) else {
                    return Ok((messages, span.to));
                };
                span.after = broken;
            }
        }
    }
}

/// How far a stretch could be read.
enum Stretch {
    /// To here, where it or the room ends.
    Ends(Seq),
    /// To here; the next entry cannot be read at all.
    Breaks(Seq),
}

fn readable_messages(
    conn: &Connection,
    span: Span,
    room: &mut Room,
    messages: &mut Vec<Entry>,
) -> Result<Stretch, Error> {
    let failed = failed("reading what is not indexed");
    let sql = "SELECT log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body \
               FROM entries WHERE log = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![span.log.0.as_bytes(), column(span.after.0), column(span.to.0)];
    let mut rows = statement.query(values).map_err(&failed)?;
    let mut at = span.after;
    loop {
        let row = match rows.next().map_err(&failed) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Stretch::Ends(span.to)),
            Err(Error::Corrupt { row, reason }) => {
                tracing::warn!(log = %span.log, after = %at, row, reason, "a damaged entry is not indexed");
                return Ok(Stretch::Breaks(at));
            }
            Err(error) => return Err(error),
        };
        let columns = Columns(row);
        let seq = columns.integer(1).and_then(number).map(Seq);
        let seq = seq.map_err(|damage| damaged(span.log, at, damage))?;
        let read = || -> Result<Option<Entry>, Damage> {
            let meta = read_meta(columns)?;
            match meta.mark.role {
                Some(_) => Ok(Some(with_body(meta, columns.blob(BODY)?.to_vec())?)),
                None => Ok(None),
            }
        };
        let message = read().unwrap_or_else(|damage| {
            tracing::warn!(log = %span.log, %seq, %damage, "a damaged entry is not indexed");
            None
        });
        if !room.take(message.as_ref().map_or(0, |message| message.body.len())) {
            return Ok(Stretch::Ends(at));
        }
        messages.extend(message);
        at = seq;
    }
}

/// The first seq of a log after another one, which its index has.
fn next_seq(conn: &Connection, log: LogId, after: Seq) -> Result<Option<Seq>, Error> {
    let failed = failed("looking for an entry that can be read");
    let sql = "SELECT seq FROM entries WHERE log = ?1 AND seq > ?2 ORDER BY seq LIMIT 1";
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let values = params![log.0.as_bytes(), column(after.0)];
            statement.query_row(values, |row| row.get(0)).optional()
        })
        .map_err(failed)?;
    let seq = found.map(|seq: i64| number(seq).map(Seq)).transpose();
    seq.map_err(|damage| damaged(log, after, damage))
}

/// Where these entries lie among those of a log up to `to`.
pub(super) fn places(
    conn: &Connection,
    log: &Log,
    to: Seq,
    ids: &[EntryId],
) -> Result<HashMap<EntryId, Seq>, Error> {
    let failed = failed("looking for entries");
    let mut found = HashMap::new();
    for span in log.spans(Seq::ZERO, to) {
        let mut take = |rows: &mut rusqlite::Rows<'_>| -> Result<(), Error> {
            while let Some(row) = rows.next().map_err(&failed)? {
                let (id, seq) = read_place(Columns(row)).map_err(|damage| damaged(span.log, to, damage))?;
                if span.after < seq && seq <= span.to {
                    found.entry(id).or_insert(seq);
                }
            }
            Ok(())
        };
        if ids.len() <= IDS_ONE_BY_ONE_MAX {
            let sql = "SELECT entry_id, seq FROM entries WHERE log = ?1 AND entry_id = ?2";
            let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
            for id in ids {
                take(
                    &mut statement
                        .query(params![span.log.0.as_bytes(), id.as_str()])
                        .map_err(&failed)?,
                )?;
            }
        } else {
            let sql = "SELECT entry_id, seq FROM entries WHERE log = ?1 \
                       AND entry_id IN (SELECT value FROM json_each(?2))";
            let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
            let list: Vec<&str> = ids.iter().map(EntryId::as_str).collect();
            let list =
                serde_json::to_string(&list).map_err(|error| Error::unavailable("listing ids", error))?;
            take(
                &mut statement
                    .query(params![span.log.0.as_bytes(), list])
                    .map_err(&failed)?,
            )?;
        }
    }
    Ok(found)
}

/// The entry with which `count` passes `number`. The path says in which log it lies, and there each
/// step of a binary search reads one tally.
pub(super) fn seek(conn: &Connection, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error> {
    if count.of(&tip.tally) <= number {
        return Ok(None);
    }
    let parts = tip.log.path.parts();
    let passed = parts
        .iter()
        .take_while(|part| count.of(&part.tally) <= number)
        .last();
    let (mut low, end) = (passed.map_or(Seq::ZERO, |part| part.to), tip.seq());
    let part = parts
        .iter()
        .find(|part| count.of(&part.tally) > number && part.to <= end);
    let (log, mut high) = part.map_or((tip.log.id, end), |part| (part.log, part.to));
    // What is looked for lies after `low`, up to and with `high`.
    while low.next() < high {
        let middle = Seq(low.0 + (high.0 - low.0) / 2);
        let Some(tally) = tally_at(conn, log, middle)? else {
            return missing(conn, log, middle);
        };
        if count.of(&tally) <= number {
            low = middle;
        } else {
            high = middle;
        }
    }
    entry(conn, log, high)
}

/// Adds entries at the end of their logs.
pub(super) fn append(conn: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO entries (log, seq, entry_id, kind, flags, create_time, preview, tally, digest, \
               body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let mut statement = conn.prepare_cached(sql)?;
    for Entry { meta, body } in entries {
        let tally = tally::encode(&meta.tally);
        let row = EntryRow::new(meta, &tally);
        statement.execute(params![
            row.log,
            row.seq,
            row.entry_id,
            row.kind,
            row.flags,
            row.create_time,
            row.preview,
            row.tally,
            row.digest,
            &body[..],
        ])?;
    }
    Ok(())
}

/// A page while it fills.
struct Pages {
    room: Room,
    from: End,
    entries: Vec<Entry>,
}

#[derive(PartialEq, Eq)]
enum Filled {
    Yes,
    No,
}

impl Pages {
    /// Takes what fits of a span. Entries are dense: a hole between two is an entry that was lost.
    fn read(&mut self, conn: &Connection, span: Span) -> Result<Filled, Error> {
        let failed = failed("reading entries");
        let sql = match self.from {
            End::Oldest => {
                "SELECT log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body \
                 FROM entries WHERE log = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4"
            }
            End::Newest => {
                "SELECT log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body \
                 FROM entries WHERE log = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT ?4"
            }
        };
        let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
        let (after, to) = (column(span.after.0), column(span.to.0));
        let values = params![span.log.0.as_bytes(), after, to, self.room.rows_left()];
        let mut rows = statement.query(values).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let columns = Columns(row);
            let seq = Seq(columns
                .integer(1)
                .and_then(number)
                .map_err(|d| damaged(span.log, span.after, d))?);
            self.follows(conn, span, seq)?;
            let damaged = |damage| damaged(span.log, seq, damage);
            let body = columns.blob(BODY).map_err(damaged)?;
            if !self.room.take(body.len()) {
                return Ok(Filled::Yes);
            }
            let meta = read_meta(columns).map_err(damaged)?;
            self.entries
                .push(with_body(meta, body.to_vec()).map_err(damaged)?);
        }
        Ok(if self.room.rows_left() == 0 {
            Filled::Yes
        } else {
            Filled::No
        })
    }

    /// Whether `seq` is the next; a log that is asked for more than is its own begins where its path ends.
    fn follows(&self, conn: &Connection, span: Span, seq: Seq) -> Result<(), Error> {
        let last = self.entries.last().map(|entry| entry.meta.seq);
        let expected = match (self.from, last) {
            (End::Oldest, None) => span.after.next(),
            (End::Oldest, Some(last)) => last.next(),
            (End::Newest, None) => seq,
            (End::Newest, Some(last)) => Seq(last.0.saturating_sub(1)),
        };
        if seq == expected {
            return Ok(());
        }
        let log = logs::log(conn, span.log)?;
        if last.is_none() && log.is_some_and(|log| log.path.end().next() == seq) {
            return Ok(());
        }
        Err(damaged(span.log, expected, Damage::new("it is missing")))
    }
}

/// One entry; `None`: it was swept.
pub(super) fn entry(conn: &Connection, log: LogId, seq: Seq) -> Result<Option<Entry>, Error> {
    let range = Range {
        after: Seq(seq.0.saturating_sub(1)),
        to: seq,
        from: End::Oldest,
    };
    let found = page(conn, &Log::root(log), range, Bound { rows: 1, bytes: 0 })?.pop();
    found.map_or_else(|| missing(conn, log, seq), |entry| Ok(Some(entry)))
}

fn tally_at(conn: &Connection, log: LogId, seq: Seq) -> Result<Option<Tally>, Error> {
    let failed = failed("seeking an entry");
    let sql = "SELECT tally FROM entries WHERE log = ?1 AND seq = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement
        .query(params![log.0.as_bytes(), column(seq.0)])
        .map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    let tally = row.map(|row| Columns(row).blob(0).and_then(tally::decode));
    tally.transpose().map_err(|damage| damaged(log, seq, damage))
}

/// An entry that a head counts is gone: swept with its log since the head was read, or lost.
fn missing(conn: &Connection, log: LogId, seq: Seq) -> Result<Option<Entry>, Error> {
    if logs::references(conn, log)?.last < seq {
        return Ok(None);
    }
    Err(damaged(log, seq, Damage::new("it is missing")))
}

pub(super) fn read_meta(columns: Columns<'_>) -> Result<EntryMeta, Damage> {
    EntryMeta::try_from(EntryRow {
        log: columns.blob(0)?,
        seq: columns.integer(1)?,
        entry_id: columns.text(2)?,
        kind: columns.integer(3)?,
        flags: columns.integer(4)?,
        create_time: columns.integer(5)?,
        preview: columns.maybe_text(6)?,
        tally: columns.blob(7)?,
        digest: columns.blob(8)?,
    })
}

fn read_place(columns: Columns<'_>) -> Result<(EntryId, Seq), Damage> {
    Ok((
        EntryId::parse(columns.text(0)?, "entry_id")?,
        Seq(number(columns.integer(1)?)?),
    ))
}

fn damaged(log: LogId, seq: Seq, damage: Damage) -> Error {
    Error::corrupt(format!("entry {seq} of log {log}"), damage)
}
