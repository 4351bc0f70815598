//! Entries over the spans of a log's path.
//!
//! A page is read span by span, several at once: entries are dense, so that it is known how many rows a span has. How
//! much of it fits is told by the database, which knows the length of a body without reading it.

use tokio_postgres::Row;

use super::columns::Columns;
use super::conn::{Asking, Conn, in_order};
use super::fault::Fault;
use super::logs;
use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::path::Span;
use crate::domain::query::{Bound, End, Range};
use crate::domain::{Entry, EntryId, Log, LogId, Seq, Tally, Tip};
use crate::store::record::entry::with_body;
use crate::store::record::{Damage, EntryRow, column, number, tally};
use crate::store::room::Room;

mod places;

pub(super) use places::{Wanted, places, places_of};

pub(super) const STATEMENTS: &[&str] = &[META, OLDEST, NEWEST, MESSAGES, places::PLACES, TALLY, APPEND, AT];

/// Spans that are read at once.
const SPANS_AT_ONCE: usize = 8;

/// Where the body stands among the columns of [`read_meta`].
pub(super) const BODY: usize = 9;

macro_rules! columns {
    () => {
        "log, seq, entry_id, kind, flags, create_time, preview, tally, digest"
    };
}

const META: &str = concat!("SELECT ", columns!(), " FROM entries WHERE log = $1 AND seq = $2");

/// Entries of one span, as many as fit in so many rows and bytes, one at least.
macro_rules! page {
    ($direction:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", body FROM (SELECT *, row_number() OVER page AS place, sum(octet_length(body)) OVER page AS bytes \
                FROM entries WHERE log = $1 AND seq > $2 AND seq <= $3 WINDOW page AS (ORDER BY seq ",
            $direction,
            " ROWS UNBOUNDED PRECEDING) ORDER BY seq ",
            $direction,
            " LIMIT $4) AS rows WHERE place = 1 OR bytes <= $5::bigint ORDER BY seq ",
            $direction
        )
    };
}

const OLDEST: &str = page!("ASC");
const NEWEST: &str = page!("DESC");

/// Entries of a log, inherited ones included, ascending.
pub(super) async fn page(conn: &Conn, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Fault> {
    let mut spans = log.spans(range.after, range.to);
    if range.from == End::Newest {
        spans.reverse();
    }
    let mut page = Pages {
        room: Room::of(bound),
        from: range.from,
        entries: Vec::new(),
    };
    let mut spans = spans.into_iter().peekable();
    while spans.peek().is_some() {
        let (mut next, mut rows) = (Vec::new(), page.room.rows_left());
        while next.len() < SPANS_AT_ONCE
            && rows > 0
            && let Some(span) = spans.next()
        {
            let has = column(span.to.0 - span.after.0);
            next.push((span, rows));
            rows -= has.min(rows);
        }
        let bytes = column(bound.bytes as u64);
        let asking = next.iter().map(|(span, rows)| {
            let sql = match range.from {
                End::Oldest => OLDEST,
                End::Newest => NEWEST,
            };
            Box::pin(rows_of(conn, sql, *span, *rows, bytes)) as Asking<'_, _>
        });
        let found: Vec<Result<Vec<Row>, Fault>> = in_order(asking.collect()).await;
        for ((span, _), rows) in next.iter().zip(found) {
            if page.take(conn, *span, &rows?).await? == Filled::Yes {
                return Ok(page.done());
            }
        }
    }
    Ok(page.done())
}

async fn rows_of(
    conn: &Conn,
    sql: &'static str,
    span: Span,
    rows: i64,
    bytes: i64,
) -> Result<Vec<Row>, Fault> {
    let log = span.log.0.as_bytes().as_slice();
    let (after, to) = (column(span.after.0), column(span.to.0));
    conn.rows("reading entries", sql, &[&log, &after, &to, &rows, &bytes])
        .await
}

/// One entry without its body.
pub(super) async fn meta(conn: &Conn, log: LogId, seq: Seq) -> Result<Option<EntryMeta>, Fault> {
    let row = conn
        .row(
            "reading an entry",
            META,
            &[&log.0.as_bytes().as_slice(), &column(seq.0)],
        )
        .await?;
    row.map(|row| read_meta(Columns(&row)).map_err(|damage| damaged(log, seq, damage)))
        .transpose()
}

/// One entry of those up to a tip, by its id.
pub(super) async fn by_id(conn: &Conn, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Fault> {
    let places = places(conn, &tip.log, tip.seq(), std::slice::from_ref(id)).await?;
    match places.get(id) {
        Some(seq) => entry(conn, tip.log.holder(*seq), *seq).await,
        None => Ok(None),
    }
}

const MESSAGES: &str = concat!(
    "SELECT ",
    columns!(),
    ", CASE WHEN (flags & 7) <> 0 THEN body END FROM (SELECT *, row_number() OVER page AS place, \
        sum(CASE WHEN (flags & 7) <> 0 THEN octet_length(body) ELSE 0 END) OVER page AS bytes FROM entries \
        WHERE log = $1 AND seq > $2 AND seq <= $3 \
        WINDOW page AS (ORDER BY seq ROWS UNBOUNDED PRECEDING) ORDER BY seq LIMIT $4) AS rows \
     WHERE place = 1 OR bytes <= $5::bigint ORDER BY seq"
);

/// Messages of one stretch, as many as there is room for, and how far they go; those that cannot be read are left out.
pub(super) async fn messages(
    conn: &Conn,
    span: Span,
    room: &mut Room,
    bytes: usize,
) -> Result<(Vec<Entry>, Seq), Fault> {
    let limit = room.rows_left();
    let log = span.log.0.as_bytes().as_slice();
    let (after, to, bytes) = (column(span.after.0), column(span.to.0), column(bytes as u64));
    let rows = conn
        .rows(
            "reading what is not indexed",
            MESSAGES,
            &[&log, &after, &to, &limit, &bytes],
        )
        .await?;
    let (mut messages, mut at) = (Vec::new(), span.after);
    for row in &rows {
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
            return Ok((messages, at));
        }
        messages.extend(message);
        at = seq;
    }
    // Where there is nothing more, there is nothing to come back for.
    Ok((messages, if rows.is_empty() { span.to } else { at }))
}

const TALLY: &str = "SELECT tally FROM entries WHERE log = $1 AND seq = $2";

/// The entry with which `count` passes `number`. The path says in which log it lies, and there each
/// step of a binary search reads one tally.
pub(super) async fn seek(conn: &Conn, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Fault> {
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
        let Some(tally) = tally_at(conn, log, middle).await? else {
            return missing(conn, log, middle).await;
        };
        if count.of(&tally) <= number {
            low = middle;
        } else {
            high = middle;
        }
    }
    entry(conn, log, high).await
}

const APPEND: &str = "INSERT INTO entries (log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body) \
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], \
        $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[])";

/// Adds entries at the end of their logs.
pub(super) async fn append(conn: &Conn, entries: &[&Entry]) -> Result<(), Fault> {
    let tallies: Vec<Vec<u8>> = entries
        .iter()
        .map(|entry| tally::encode(&entry.meta.tally))
        .collect();
    let rows = entries.iter().zip(&tallies);
    let rows: Vec<EntryRow<'_>> = rows
        .map(|(entry, tally)| EntryRow::new(&entry.meta, tally))
        .collect();
    let bodies: Vec<&[u8]> = entries.iter().map(|entry| &entry.body[..]).collect();
    conn.run(
        "appending entries",
        APPEND,
        &[
            &rows.iter().map(|row| row.log).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.entry_id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.flags).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.create_time).collect::<Vec<_>>(),
            &rows
                .iter()
                .map(|row| row.preview.map(str::as_bytes))
                .collect::<Vec<_>>(),
            &tallies,
            &rows.iter().map(|row| row.digest).collect::<Vec<_>>(),
            &bodies,
        ],
    )
    .await
    .map(drop)
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
    /// Takes what fits of a span's rows. Entries are dense: a hole between two is an entry that was lost.
    async fn take(&mut self, conn: &Conn, span: Span, rows: &[Row]) -> Result<Filled, Fault> {
        let mut last = None;
        for row in rows {
            let columns = Columns(row);
            let seq = Seq(columns
                .integer(1)
                .and_then(number)
                .map_err(|d| damaged(span.log, span.after, d))?);
            self.follows(conn, span, seq).await?;
            let damaged = |damage| damaged(span.log, seq, damage);
            let body = columns.blob(BODY).map_err(damaged)?;
            if !self.room.take(body.len()) {
                return Ok(Filled::Yes);
            }
            let meta = read_meta(columns).map_err(damaged)?;
            self.entries
                .push(with_body(meta, body.to_vec()).map_err(damaged)?);
            last = Some(seq);
        }
        // A span that did not come to its end was too large; so is one that nothing came of, unless it was swept.
        let ends = match self.from {
            End::Oldest => last.is_some_and(|last| last < span.to),
            End::Newest => last.is_some_and(|last| last > span.after.next()),
        };
        Ok(if ends || self.room.rows_left() == 0 {
            Filled::Yes
        } else {
            Filled::No
        })
    }

    /// Whether `seq` is the next; a log that is asked for more than is its own begins where its path ends.
    async fn follows(&self, conn: &Conn, span: Span, seq: Seq) -> Result<(), Fault> {
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
        let log = logs::log(conn, span.log).await?;
        if last.is_none() && log.is_some_and(|log| log.path.end().next() == seq) {
            return Ok(());
        }
        Err(damaged(span.log, expected, Damage::new("it is missing")))
    }

    fn done(mut self) -> Vec<Entry> {
        if self.from == End::Newest {
            self.entries.reverse();
        }
        self.entries
    }
}

/// One entry; `None`: it was swept.
pub(super) async fn entry(conn: &Conn, log: LogId, seq: Seq) -> Result<Option<Entry>, Fault> {
    let rows = at(conn, &[(log, seq)]).await?;
    match rows.into_iter().next() {
        Some((_, entry)) => entry.map(Some),
        None => missing(conn, log, seq).await,
    }
}

const AT: &str = "SELECT e.log, e.seq, entry_id, kind, flags, create_time, preview, tally, digest, body \
    FROM unnest($1::bytea[], $2::bigint[]) AS k (log, seq) JOIN entries AS e ON e.log = k.log AND e.seq = k.seq";

/// An entry as it was found.
pub(super) type Found = ((LogId, Seq), Result<Entry, Fault>);

/// The entries at these places, those that are there.
pub(super) async fn at(conn: &Conn, places: &[(LogId, Seq)]) -> Result<Vec<Found>, Fault> {
    let logs: Vec<&[u8]> = places
        .iter()
        .map(|(log, _)| log.0.as_bytes().as_slice())
        .collect();
    let seqs: Vec<i64> = places.iter().map(|(_, seq)| column(seq.0)).collect();
    let rows = conn.rows("reading entries", AT, &[&logs, &seqs]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let columns = Columns(row);
        let place = || -> Result<(LogId, Seq), Damage> {
            let log = crate::store::record::log_id(columns.blob(0)?)?;
            Ok((log, Seq(number(columns.integer(1)?)?)))
        };
        let Ok((log, seq)) = place() else { continue };
        let entry = read_meta(columns).and_then(|meta| with_body(meta, columns.blob(BODY)?.to_vec()));
        found.push(((log, seq), entry.map_err(|damage| damaged(log, seq, damage))));
    }
    Ok(found)
}

async fn tally_at(conn: &Conn, log: LogId, seq: Seq) -> Result<Option<Tally>, Fault> {
    let row = conn
        .row(
            "seeking an entry",
            TALLY,
            &[&log.0.as_bytes().as_slice(), &column(seq.0)],
        )
        .await?;
    let tally = row.map(|row| Columns(&row).blob(0).and_then(tally::decode));
    tally.transpose().map_err(|damage| damaged(log, seq, damage))
}

/// An entry that a head counts is gone: swept with its log since the head was read, or lost.
async fn missing(conn: &Conn, log: LogId, seq: Seq) -> Result<Option<Entry>, Fault> {
    if logs::references(conn, log).await?.last < seq {
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
        preview: columns.maybe_written(6)?,
        tally: columns.blob(7)?,
        digest: columns.blob(8)?,
    })
}

fn damaged(log: LogId, seq: Seq, damage: Damage) -> Fault {
    Fault::damaged(format!("entry {seq} of log {log}"), damage)
}
