//! Logs, whose parts name which, and which may be named by nobody.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::Columns;
use super::failed;
use crate::domain::facts::References;
use crate::domain::limits::{SWEEP_BYTES_MAX, SWEEP_ROWS_MAX};
use crate::domain::{Log, LogId, Seq, Time};
use crate::store::Error;
use crate::store::record::{Damage, column, number, tally};

/// A log.
pub(super) fn log(conn: &Connection, id: LogId) -> Result<Option<Arc<Log>>, Error> {
    let failed = failed("reading a log");
    let sql = "SELECT path FROM logs WHERE log = ?1";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query([id.0.as_bytes()]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    let path = Columns(row).blob(0).and_then(tally::decode_path);
    let path = path.map_err(|damage| Error::corrupt(format!("log {id}"), damage))?;
    Ok(Some(Arc::new(Log { id, path })))
}

/// A log that a row names.
pub(super) fn named_log(conn: &Connection, id: LogId) -> Result<Arc<Log>, Error> {
    log(conn, id)?.ok_or_else(|| Error::corrupt(format!("log {id}"), "it is named, but is not there"))
}

/// Who names a log or journal, and how far it reaches.
pub(super) fn references(conn: &Connection, id: LogId) -> Result<References, Error> {
    let sql = "SELECT \
        EXISTS (SELECT 1 FROM sessions WHERE log = ?1) \
            OR EXISTS (SELECT 1 FROM threads WHERE journal = ?1) \
            OR EXISTS (SELECT 1 FROM threads WHERE base_log = ?1) \
            OR EXISTS (SELECT 1 FROM past_heads WHERE log = ?1) \
            OR EXISTS (SELECT 1 FROM resumes WHERE source_log = ?1 AND end_time IS NULL), \
        (SELECT max(to_seq) FROM log_edges WHERE part_log = ?1), \
        max(ifnull((SELECT max(seq) FROM entries WHERE log = ?1), 0), \
            ifnull((SELECT max(seq) FROM items WHERE journal = ?1), 0), \
            ifnull((SELECT max(number) FROM turns WHERE journal = ?1), 0)), \
        (SELECT since FROM loose WHERE log = ?1)";
    let columns = conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            statement.query_row([id.0.as_bytes()], row)
        })
        .map_err(failed("looking who names a log"))?;
    let (named, inherited_to, last, loose): (bool, Option<i64>, i64, Option<i64>) = columns;
    let seq = |column| number(column).map(Seq);
    let references = || -> Result<References, Damage> {
        Ok(References {
            named,
            inherited_to: inherited_to.map(seq).transpose()?,
            last: seq(last)?,
            loose: loose.map(Time),
        })
    };
    references().map_err(|damage| Error::corrupt(format!("log {id}"), damage))
}

/// Whether a log's path keeps what it names: it has not been released. A path without parts keeps nothing to release.
pub(super) fn keeps(conn: &Connection, log: &Log) -> Result<bool, Error> {
    let Some(part) = log.path.parts().first() else {
        return Ok(true);
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM log_edges WHERE part_log = ?1 AND log = ?2)";
    let kept = conn.prepare_cached(sql).and_then(|mut statement| {
        statement.query_row([part.log.0.as_bytes(), log.id.0.as_bytes()], |row| row.get(0))
    });
    kept.map_err(failed("looking what a log keeps"))
}

/// Makes a log.
pub(super) fn open(conn: &Connection, log: &Log) -> rusqlite::Result<()> {
    let id = log.id.0.as_bytes();
    conn.prepare_cached("INSERT INTO logs (log, path) VALUES (?1, ?2)")?
        .execute(params![id, tally::encode_path(&log.path)])?;
    let mut edge = conn.prepare_cached(
        "INSERT INTO log_edges (part_log, log, to_seq) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET to_seq = max(to_seq, excluded.to_seq)",
    )?;
    for part in log.path.parts() {
        edge.execute(params![part.log.0.as_bytes(), id, column(part.to.0)])?;
    }
    Ok(())
}

/// Removes a log that has no rows. One without a path is a journal, and has no row of its own.
pub(super) fn remove(conn: &Connection, id: LogId) -> rusqlite::Result<()> {
    release(conn, id)?;
    conn.prepare_cached("DELETE FROM logs WHERE log = ?1")?
        .execute([id.0.as_bytes()])?;
    Ok(())
}

/// Removes the edges of a log: its path keeps nothing any more.
pub(super) fn release(conn: &Connection, id: LogId) -> rusqlite::Result<()> {
    let path: Option<Vec<u8>> = conn
        .prepare_cached("SELECT path FROM logs WHERE log = ?1")?
        .query_row([id.0.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(path) = path else { return Ok(()) };
    let path = tally::decode_path(&path)
        .map_err(|damage| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, damage.into()))?;
    let mut edge = conn.prepare_cached("DELETE FROM log_edges WHERE part_log = ?1 AND log = ?2")?;
    for part in path.parts() {
        edge.execute([part.log.0.as_bytes(), id.0.as_bytes()])?;
    }
    Ok(())
}

/// What the rows of a log or journal are asked for before they are removed, and how they are: the length of a body is
/// told without reading it.
const DROPS: [[&str; 2]; 3] = [
    [
        "SELECT seq, length(body) FROM entries WHERE log = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT ?3",
        "DELETE FROM entries WHERE log = ?1 AND seq >= ?2",
    ],
    [
        "SELECT seq, length(body) FROM items WHERE journal = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT ?3",
        "DELETE FROM items WHERE journal = ?1 AND seq >= ?2",
    ],
    [
        "SELECT number, length(error) FROM turns WHERE journal = ?1 AND number > ?2 ORDER BY number DESC LIMIT ?3",
        "DELETE FROM turns WHERE journal = ?1 AND number >= ?2",
    ],
];

/// Removes the last rows of a log or journal, those after `after`, as many as one commit may.
pub(super) fn drop_rows(conn: &Connection, id: LogId, after: Seq) -> rusqlite::Result<()> {
    let bytes_max = column(SWEEP_BYTES_MAX as u64);
    for [select, delete] in DROPS {
        let mut statement = conn.prepare_cached(select)?;
        let values = params![id.0.as_bytes(), column(after.0), column(SWEEP_ROWS_MAX as u64)];
        let mut rows = statement.query(values)?;
        let (mut first, mut bytes) = (None, 0_i64);
        while let Some(row) = rows.next()? {
            bytes = bytes.saturating_add(row.get(1)?);
            if first.is_some() && bytes > bytes_max {
                break;
            }
            first = Some(row.get::<_, i64>(0)?);
        }
        drop(rows);
        if let Some(first) = first {
            conn.prepare_cached(delete)?
                .execute(params![id.0.as_bytes(), first])?;
        }
    }
    Ok(())
}

/// Notes that a log may be named by nobody.
pub(super) fn loosen(conn: &Connection, id: LogId, since: Time) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO loose (log, since) VALUES (?1, ?2)")?
        .execute(params![id.0.as_bytes(), since.0])?;
    Ok(())
}

/// Takes that note back.
pub(super) fn fasten(conn: &Connection, id: LogId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM loose WHERE log = ?1")?
        .execute([id.0.as_bytes()])?;
    Ok(())
}
