//! Which entries are copies: upkeep makes them when it shortens a path, and a search must not find a message twice.

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::path::Span;
use crate::domain::{LogId, Seq};
use crate::store::record::{Damage, column, log_id, number};

pub(super) const STATEMENTS: &[&str] = &[ORIGINALS, COPIES, PUT];

const ORIGINALS: &str =
    "SELECT original, after_seq, to_seq FROM log_copies WHERE copy = $1 ORDER BY after_seq";
const COPIES: &str =
    "SELECT copy, after_seq, to_seq FROM log_copies WHERE original = $1 ORDER BY copy, after_seq";

/// Where the entries of a log were first, if they are copies; ascending.
pub(super) async fn originals(conn: &Conn, copy: LogId) -> Result<Vec<Span>, Fault> {
    spans(conn, ORIGINALS, copy).await
}

/// Where the entries of a log were copied to.
pub(super) async fn copies(conn: &Conn, original: LogId) -> Result<Vec<Span>, Fault> {
    spans(conn, COPIES, original).await
}

const PUT: &str = "INSERT INTO log_copies (original, copy, after_seq, to_seq) \
    SELECT original, $2, after_seq, to_seq FROM unnest($1::bytea[], $3::bigint[], $4::bigint[]) \
        AS u (original, after_seq, to_seq) \
    ON CONFLICT (original, copy, after_seq) DO UPDATE SET to_seq = excluded.to_seq";

/// Notes where the entries of a copy were first.
pub(super) async fn put(conn: &Conn, copy: LogId, originals: &[Span]) -> Result<(), Fault> {
    let logs: Vec<&[u8]> = originals
        .iter()
        .map(|span| span.log.0.as_bytes().as_slice())
        .collect();
    let after: Vec<i64> = originals.iter().map(|span| column(span.after.0)).collect();
    let to: Vec<i64> = originals.iter().map(|span| column(span.to.0)).collect();
    conn.run(
        "noting copies",
        PUT,
        &[&logs, &copy.0.as_bytes().as_slice(), &after, &to],
    )
    .await
    .map(drop)
}

async fn spans(conn: &Conn, sql: &'static str, log: LogId) -> Result<Vec<Span>, Fault> {
    let rows = conn
        .rows("looking for copies", sql, &[&log.0.as_bytes().as_slice()])
        .await?;
    let span = |row| -> Result<Span, Damage> {
        let columns = Columns(row);
        Ok(Span {
            log: log_id(columns.blob(0)?)?,
            after: Seq(number(columns.integer(1)?)?),
            to: Seq(number(columns.integer(2)?)?),
        })
    };
    let spans: Result<_, Damage> = rows.iter().map(span).collect();
    spans.map_err(|damage| Fault::damaged(format!("the copies of log {log}"), damage))
}
