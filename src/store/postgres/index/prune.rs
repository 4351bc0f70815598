//! What has left the log leaves the index: rows of entries that a sweep has removed.

use std::time::Instant;

use super::todo::{Look, Todo};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::{LogId, Seq};
use crate::store::hints::HINTS_MAX;
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::logs;
use crate::store::record::{column, log_id};

/// Logs of the index that a look at everything takes at once.
const LOGS_MAX: i64 = 1_000;

/// Logs that one call prunes.
const LOGS_AT_ONCE: usize = 200;

/// A log without entries of its own ends where what it inherits does.
pub(in crate::store::postgres) const LOST: &str = "SELECT i.log, l.log IS NULL \
        OR coalesce((SELECT max(e.seq) FROM entries AS e WHERE e.log = i.log), \
            (SELECT max(g.to_seq) FROM log_edges AS g WHERE g.log = i.log), 0) < i.indexed_to \
    FROM (SELECT log, indexed_to FROM search_logs WHERE log > $1 ORDER BY log LIMIT $2) AS i \
    LEFT JOIN logs AS l ON l.log = i.log ORDER BY i.log";

pub(super) const DROP: &str = "DELETE FROM search_messages WHERE (namespace, place) IN ( \
    SELECT namespace, place FROM search_messages WHERE log = $1 AND seq > $2 LIMIT $3)";

pub(super) const SHORTEN: &str = "UPDATE search_logs SET indexed_to = $2 WHERE log = $1 AND indexed_to > $2";
pub(super) const FORGET: &str = "DELETE FROM search_logs WHERE log = $1";

/// Removes what the logs that are to be looked at have lost, as much as one call may.
pub(super) async fn prune(conn: &Conn, todo: &mut Todo) -> Result<(), Fault> {
    if let Look::Logs(after) = todo.all
        && todo.logs.len() < HINTS_MAX
    {
        look_further(conn, todo, after).await?;
    }
    let mut left = column(SCAN_ROWS_MAX as u64);
    for _ in 0..LOGS_AT_ONCE {
        let Some(log) = todo.logs.front().copied() else {
            break;
        };
        let removed = prune_log(conn, log, left).await?;
        left -= removed.min(left);
        if left == 0 {
            // It may not be through with this one.
            break;
        }
        todo.logs.pop_front();
    }
    Ok(())
}

/// The next logs of the index that may have lost entries.
async fn look_further(conn: &Conn, todo: &mut Todo, after: Option<LogId>) -> Result<(), Fault> {
    let began = Instant::now();
    let after = after.map_or_else(Vec::new, |log| log.0.as_bytes().to_vec());
    let rows = conn
        .rows(
            "looking what the search index has lost",
            LOST,
            &[&after, &LOGS_MAX],
        )
        .await?;
    let log = |row| -> Option<(LogId, bool)> {
        let columns = Columns(row);
        Some((columns.blob(0).and_then(log_id).ok()?, columns.flag(1).ok()?))
    };
    let logs: Vec<(LogId, bool)> = rows.iter().filter_map(log).collect();
    todo.all = match logs.last() {
        Some((last, _)) if column(rows.len() as u64) == LOGS_MAX => Look::Logs(Some(*last)),
        Some(_) | None => Look::Sessions(None),
    };
    let lost = logs.into_iter().filter(|(_, is_lost)| *is_lost);
    todo.logs.extend(lost.map(|(log, _)| log));
    todo.spend(began.elapsed());
    Ok(())
}

/// The last entry of a log, or the end of what it inherits; `None`: there is no such log.
async fn stored_to(conn: &Conn, log: LogId) -> Result<Option<Seq>, Fault> {
    let stored = async {
        let Some(stored) = logs::log(conn, log).await? else {
            return Ok(None);
        };
        let last = logs::references(conn, log).await?.last;
        Ok(Some(last.max(stored.path.end())))
    };
    match stored.await {
        Err(Fault::Damaged { row, reason }) => {
            tracing::warn!(row, reason, "what a damaged log has lost is not known");
            Ok(Some(Seq(u64::MAX)))
        }
        other => other,
    }
}

/// Removes at most `max` rows of entries that a log has no more, and says how many.
async fn prune_log(conn: &Conn, log: LogId, max: i64) -> Result<i64, Fault> {
    let operation = "pruning the search index";
    let stored = stored_to(conn, log).await?;
    let (name, to) = (log.0.as_bytes().as_slice(), column(stored.unwrap_or(Seq::ZERO).0));
    let removed = column(conn.run(operation, DROP, &[&name, &to, &max]).await?);
    if removed < max {
        match stored {
            Some(_) => conn.run(operation, SHORTEN, &[&name, &to]).await?,
            None => conn.run(operation, FORGET, &[&name]).await?,
        };
    }
    Ok(removed)
}
