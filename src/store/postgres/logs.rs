//! Logs, whose parts name which, and which may be named by nobody.

use std::sync::Arc;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::facts::References;
use crate::domain::limits::{SWEEP_BYTES_MAX, SWEEP_ROWS_MAX};
use crate::domain::{Log, LogId, Seq, Time};
use crate::store::record::{Damage, column, log_id, number, tally};

pub(super) const STATEMENTS: &[&str] = &[
    ONE,
    REFERENCES,
    OPEN,
    OPEN_EDGES,
    REMOVE,
    RELEASE,
    DROP_ENTRIES,
    DROP_ITEMS,
    DROP_TURNS,
    LOOSEN,
    FASTEN,
];

const ONE: &str = "SELECT path FROM logs WHERE log = $1";

/// A log.
pub(super) async fn log(conn: &Conn, id: LogId) -> Result<Option<Arc<Log>>, Fault> {
    let row = conn
        .row("reading a log", ONE, &[&id.0.as_bytes().as_slice()])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let path = Columns(&row).blob(0).and_then(tally::decode_path);
    let path = path.map_err(|damage| Fault::damaged(format!("log {id}"), damage))?;
    Ok(Some(Arc::new(Log { id, path })))
}

/// A log that a row names, of the path that was found beside it.
pub(super) fn named_log(id: &[u8], path: Option<&[u8]>) -> Result<Arc<Log>, Fault> {
    let id = log_id(id).map_err(|damage| Fault::damaged("the name of a log", damage))?;
    let damaged = |damage| Fault::damaged(format!("log {id}"), damage);
    let path = path.ok_or_else(|| damaged(Damage::new("it is named, but is not there")))?;
    let path = tally::decode_path(path).map_err(damaged)?;
    Ok(Arc::new(Log { id, path }))
}

const REFERENCES: &str = "SELECT \
        EXISTS (SELECT 1 FROM sessions WHERE log = $1) \
            OR EXISTS (SELECT 1 FROM threads WHERE journal = $1) \
            OR EXISTS (SELECT 1 FROM threads WHERE base_log = $1) \
            OR EXISTS (SELECT 1 FROM past_heads WHERE log = $1) \
            OR EXISTS (SELECT 1 FROM resumes WHERE source_log = $1 AND end_time IS NULL), \
        (SELECT max(to_seq) FROM log_edges WHERE part_log = $1), \
        greatest((SELECT max(seq) FROM entries WHERE log = $1), (SELECT max(seq) FROM items WHERE journal = $1), \
            (SELECT max(number) FROM turns WHERE journal = $1), 0), \
        (SELECT since FROM loose WHERE log = $1)";

/// Who names a log or journal, and how far it reaches.
pub(super) async fn references(conn: &Conn, id: LogId) -> Result<References, Fault> {
    let row = conn
        .row(
            "looking who names a log",
            REFERENCES,
            &[&id.0.as_bytes().as_slice()],
        )
        .await?;
    let references = || -> Result<References, Damage> {
        let row = row
            .as_ref()
            .ok_or_else(|| Damage::new("nothing was said of it"))?;
        let columns = Columns(row);
        let inherited_to = columns.maybe_integer(1)?.map(number).transpose()?;
        Ok(References {
            named: columns.flag(0)?,
            inherited_to: inherited_to.map(Seq),
            last: Seq(number(columns.integer(2)?)?),
            loose: columns.maybe_integer(3)?.map(Time),
        })
    };
    references().map_err(|damage| Fault::damaged(format!("log {id}"), damage))
}

const OPEN: &str = "INSERT INTO logs (log, path) SELECT * FROM unnest($1::bytea[], $2::bytea[])";

const OPEN_EDGES: &str = "INSERT INTO log_edges (part_log, log, to_seq) \
    SELECT part, log, max(upto) FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS e (part, log, upto) \
    GROUP BY part, log ORDER BY part, log \
    ON CONFLICT (part_log, log) DO UPDATE SET to_seq = greatest(log_edges.to_seq, excluded.to_seq)";

/// Makes logs.
pub(super) async fn open(conn: &Conn, logs: &[Arc<Log>]) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = logs.iter().map(|log| log.id.0.as_bytes().as_slice()).collect();
    let paths: Vec<Vec<u8>> = logs.iter().map(|log| tally::encode_path(&log.path)).collect();
    conn.run("opening logs", OPEN, &[&ids, &paths]).await.map(drop)
}

/// Notes what the paths of logs name.
pub(super) async fn open_edges(conn: &Conn, logs: &[Arc<Log>]) -> Result<(), Fault> {
    let (mut parts, mut ids, mut to): (Vec<&[u8]>, Vec<&[u8]>, Vec<i64>) = Default::default();
    for log in logs {
        for part in log.path.parts() {
            parts.push(part.log.0.as_bytes());
            ids.push(log.id.0.as_bytes());
            to.push(column(part.to.0));
        }
    }
    conn.run("opening logs", OPEN_EDGES, &[&parts, &ids, &to])
        .await
        .map(drop)
}

const REMOVE: &str = "WITH edges AS (DELETE FROM log_edges WHERE log = $1), \
        copied AS (DELETE FROM log_copies WHERE copy = $1) \
    DELETE FROM logs WHERE log = $1";

/// Removes a log that has no rows, its path's edges and the note that it is a copy.
pub(super) async fn remove(conn: &Conn, id: LogId) -> Result<(), Fault> {
    conn.run("removing a log", REMOVE, &[&id.0.as_bytes().as_slice()])
        .await
        .map(drop)
}

const RELEASE: &str = "DELETE FROM log_edges WHERE log = $1";

/// Removes the edges of a log: its path keeps nothing any more.
pub(super) async fn release(conn: &Conn, id: LogId) -> Result<(), Fault> {
    conn.run("releasing a path", RELEASE, &[&id.0.as_bytes().as_slice()])
        .await
        .map(drop)
}

/// The last rows of a log or journal; the length of a body is told without reading it.
macro_rules! drop_last {
    ($table:literal, $log:literal, $seq:literal, $size:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $log,
            " = $1 AND ",
            $seq,
            " >= (SELECT min(seq) FROM (SELECT ",
            $seq,
            " AS seq, row_number() OVER last AS place, sum(octet_length(",
            $size,
            ")::bigint) OVER last AS bytes FROM ",
            $table,
            " WHERE ",
            $log,
            " = $1 AND ",
            $seq,
            " > $2 WINDOW last AS (ORDER BY ",
            $seq,
            " DESC) ORDER BY ",
            $seq,
            " DESC LIMIT $3) AS rows WHERE place = 1 OR bytes <= $4::bigint)"
        )
    };
}

const DROP_ENTRIES: &str = drop_last!("entries", "log", "seq", "body");
const DROP_ITEMS: &str = drop_last!("items", "journal", "seq", "body");
const DROP_TURNS: &str = drop_last!("turns", "journal", "number", "error");

/// What removes rows, a table each.
pub(super) const DROPS: [&str; 3] = [DROP_ENTRIES, DROP_ITEMS, DROP_TURNS];

/// Removes the last rows of a log or journal in one table, those after `after`, as many as one commit may.
pub(super) async fn drop_rows(conn: &Conn, sql: &'static str, id: LogId, after: Seq) -> Result<(), Fault> {
    let (rows, bytes) = (column(SWEEP_ROWS_MAX as u64), column(SWEEP_BYTES_MAX as u64));
    conn.run(
        "removing rows",
        sql,
        &[&id.0.as_bytes().as_slice(), &column(after.0), &rows, &bytes],
    )
    .await
    .map(drop)
}

const LOOSEN: &str = "INSERT INTO loose (log, since) \
    SELECT * FROM unnest($1::bytea[], $2::bigint[]) \
    ON CONFLICT (log) DO UPDATE SET since = excluded.since";

/// Notes that logs may be named by nobody.
pub(super) async fn loosen(conn: &Conn, logs: &[(LogId, Time)]) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = logs.iter().map(|(log, _)| log.0.as_bytes().as_slice()).collect();
    let since: Vec<i64> = logs.iter().map(|(_, since)| since.0).collect();
    conn.run("noting loose logs", LOOSEN, &[&ids, &since])
        .await
        .map(drop)
}

const FASTEN: &str = "DELETE FROM loose WHERE log = ANY ($1)";

/// Takes those notes back.
pub(super) async fn fasten(conn: &Conn, logs: &[LogId]) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = logs.iter().map(|log| log.0.as_bytes().as_slice()).collect();
    conn.run("noting fast logs", FASTEN, &[&ids]).await.map(drop)
}
