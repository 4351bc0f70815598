//! Which entries are copies: upkeep makes them when it shortens a path, and a search must not find a message twice.

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::failed;
use crate::domain::path::Span;
use crate::domain::{LogId, Seq};
use crate::store::Error;
use crate::store::record::{Damage, column, log_id, number};

/// Where the entries of a log were first, if they are copies; ascending.
pub(super) fn originals(conn: &Connection, copy: LogId) -> Result<Vec<Span>, Error> {
    let sql = "SELECT original, after_seq, to_seq FROM log_copies WHERE copy = ?1 ORDER BY after_seq";
    spans(conn, sql, copy)
}

/// Where the entries of a log were copied to.
pub(super) fn copies(conn: &Connection, original: LogId) -> Result<Vec<Span>, Error> {
    let sql = "SELECT copy, after_seq, to_seq FROM log_copies WHERE original = ?1 ORDER BY copy, after_seq";
    spans(conn, sql, original)
}

/// Notes where the entries of a copy were first.
pub(super) fn put(conn: &Connection, copy: LogId, originals: &[Span]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO log_copies (original, copy, after_seq, to_seq) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = conn.prepare_cached(sql)?;
    for span in originals {
        let (original, copy) = (span.log.0.as_bytes(), copy.0.as_bytes());
        statement.execute(params![original, copy, column(span.after.0), column(span.to.0)])?;
    }
    Ok(())
}

/// Forgets a copy that is removed.
pub(super) fn remove(conn: &Connection, copy: LogId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM log_copies WHERE copy = ?1")?
        .execute([copy.0.as_bytes()])?;
    Ok(())
}

fn spans(conn: &Connection, sql: &str, log: LogId) -> Result<Vec<Span>, Error> {
    let failed = failed("looking for copies");
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query([log.0.as_bytes()]).map_err(&failed)?;
    let mut spans = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let columns = Columns(row);
        let span = || -> Result<Span, Damage> {
            Ok(Span {
                log: log_id(columns.blob(0)?)?,
                after: Seq(number(columns.integer(1)?)?),
                to: Seq(number(columns.integer(2)?)?),
            })
        };
        spans.push(span().map_err(|damage| Error::corrupt(format!("the copies of log {log}"), damage))?);
    }
    Ok(spans)
}
