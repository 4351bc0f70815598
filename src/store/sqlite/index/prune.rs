//! What has left the log leaves the index: rows of entries that a sweep has removed.

use rusqlite::{Connection, params};

use super::keeper::{Look, Todo};
use super::{Fault, terms};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::{LogId, Seq};
use crate::store::Error;
use crate::store::record::{column, log_id};
use crate::store::sqlite::logs;

/// Logs of the index that a look at everything takes at once.
const LOGS_MAX: usize = 1_000;

/// Removes what the logs that are to be looked at have lost, as much as one call may.
pub(super) fn prune(main: &Connection, index: &Connection, todo: &mut Todo) -> Result<(), Fault> {
    if let Look::Logs(after) = todo.all {
        look_further(main, index, todo, after)?;
    }
    let mut left = SCAN_ROWS_MAX;
    while let Some(log) = todo.logs.pop_front() {
        let removed = match prune_log(main, index, log, left) {
            Ok(removed) => removed,
            Err(fault) => {
                todo.logs.push_front(log);
                return Err(fault);
            }
        };
        // That it was looked at counts as well.
        left -= removed.max(1).min(left);
        if left == 0 {
            // It may not be through with this one.
            todo.logs.push_front(log);
            break;
        }
    }
    Ok(())
}

/// The next logs of the index that have lost entries.
fn look_further(main: &Connection, index: &Connection, todo: &mut Todo, after: i64) -> Result<(), Fault> {
    let sql = "SELECT id, log, indexed_to FROM logs WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = index.prepare_cached(sql)?;
    let mut rows = statement.query(params![after, column(LOGS_MAX as u64)])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        let log: Vec<u8> = row.get(1)?;
        let Ok(log) = log_id(&log) else { continue };
        let indexed_to: i64 = row.get(2)?;
        if stored_to(main, log)?.is_none_or(|stored| column(stored.0) < indexed_to) {
            todo.logs.push_back(log);
        }
    }
    todo.all = last.map_or(Look::Sessions(None), Look::Logs);
    Ok(())
}

/// The last entry of a log, or the end of what it inherits; `None`: there is no such log.
fn stored_to(main: &Connection, log: LogId) -> Result<Option<Seq>, Fault> {
    let stored = || -> Result<Option<Seq>, Error> {
        let Some(stored) = logs::log(main, log)? else {
            return Ok(None);
        };
        Ok(Some(logs::references(main, log)?.last.max(stored.path.end())))
    };
    match stored() {
        Ok(stored) => Ok(stored),
        Err(Error::Corrupt { row, reason }) => {
            tracing::warn!(row, reason, "what a damaged log has lost is not known");
            Ok(Some(Seq(u64::MAX)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes at most `max` rows of entries that a log has no more, and says how many.
fn prune_log(main: &Connection, index: &Connection, log: LogId, max: usize) -> Result<usize, Fault> {
    let stored = stored_to(main, log)?;
    let to = column(stored.unwrap_or(Seq::ZERO).0);
    let sql = "SELECT place FROM search CROSS JOIN messages ON place = search.rowid \
               WHERE search MATCH ?1 AND seq > ?2 LIMIT ?3";
    let rows_max = column(max as u64);
    let places: Vec<i64> = index
        .prepare_cached(sql)?
        .query_map(params![terms::rows_of(log), to, rows_max], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    index.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    for place in &places {
        index
            .prepare_cached("DELETE FROM search WHERE rowid = ?1")?
            .execute([place])?;
        index
            .prepare_cached("DELETE FROM messages WHERE place = ?1")?
            .execute([place])?;
    }
    if places.len() < max {
        let log = log.0.as_bytes();
        match stored {
            Some(_) => index
                .prepare_cached("UPDATE logs SET indexed_to = min(indexed_to, ?2) WHERE log = ?1")?
                .execute(params![log, to])?,
            None => index
                .prepare_cached("DELETE FROM logs WHERE log = ?1")?
                .execute([log])?,
        };
    }
    index.prepare_cached("COMMIT")?.execute(())?;
    Ok(places.len())
}
