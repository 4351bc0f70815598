//! Putting rows into the index, and how far their logs are indexed with them: one transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Fault, terms};
use crate::domain::search::{Indexed, Place, Row};
use crate::domain::{LogId, Seq, Time};
use crate::store::record::column;

/// Puts a batch in. Of a log that is not where the batch takes it to be nothing is put in: it is looked at again.
pub(super) fn put(index: &Connection, batch: &[Indexed], through: Option<Time>) -> Result<(), Fault> {
    index.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    let mut rows: Vec<(&Indexed, &Row)> = Vec::new();
    let mut numbers = HashMap::new();
    let mut through = through;
    for indexed in batch {
        if let Some(number) = advance(index, indexed)? {
            numbers.insert(indexed.log, number);
            rows.extend(indexed.rows.iter().map(|row| (indexed, row)));
        } else {
            // Something is lacking still.
            through = None;
        }
    }
    // The index wants its rows in the order of their places; rows of one time stay in the order of their log.
    rows.sort_by_key(|(_, row)| row.time);
    let spread = insert(index, &rows, &numbers)?;
    index
        .prepare_cached("UPDATE state SET spread = max(spread, ?1), through = ifnull(?2, through)")?
        .execute(params![spread, through.map(|time| time.0)])?;
    index.prepare_cached("COMMIT")?.execute(())?;
    Ok(())
}

/// Notes how far a log is indexed with a batch; its number, unless it is somewhere else.
fn advance(index: &Connection, indexed: &Indexed) -> Result<Option<i64>, rusqlite::Error> {
    let (log, to) = (indexed.log.0.as_bytes(), column(indexed.to.0));
    let known: Option<(i64, i64)> = index
        .prepare_cached("SELECT id, indexed_to FROM logs WHERE log = ?1")?
        .query_row([log], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((number, at)) if at == column(indexed.after.0) => {
            index
                .prepare_cached("UPDATE logs SET indexed_to = ?2 WHERE id = ?1")?
                .execute([number, to])?;
            Ok(Some(number))
        }
        None if indexed.after == Seq::ZERO => {
            index
                .prepare_cached("INSERT INTO logs (log, namespace, indexed_to) VALUES (?1, ?2, ?3)")?
                .execute(params![log, indexed.namespace.as_str(), to])?;
            Ok(Some(index.last_insert_rowid()))
        }
        Some(_) | None => Ok(None),
    }
}

/// Writes rows in the order of their places, and says how far one lies after the place it wants, at most.
fn insert(
    index: &Connection,
    rows: &[(&Indexed, &Row)],
    numbers: &HashMap<LogId, i64>,
) -> Result<i64, rusqlite::Error> {
    let mut taken = index.prepare_cached("SELECT 1 FROM messages WHERE place = ?1")?;
    let mut message =
        index.prepare_cached("INSERT INTO messages (place, log, seq, time) VALUES (?1, ?2, ?3, ?4)")?;
    let mut words = index.prepare_cached("INSERT INTO search (rowid, scope, words) VALUES (?1, ?2, ?3)")?;
    let (mut last, mut spread) = (None, 0);
    for (indexed, row) in rows {
        let Some(place) = Place::free(row.time, last, |place| taken.exists([place.0]))? else {
            tracing::warn!(log = %indexed.log, seq = %row.seq, "a message finds no place in the search index");
            continue;
        };
        last = Some(place);
        spread = spread.max(place.0.saturating_sub(Place::wanted(row.time).0));
        let number = numbers.get(&indexed.log);
        message.execute(params![place.0, number, column(row.seq.0), row.time.0])?;
        let scope = terms::scope(&indexed.namespace, indexed.log, row.role);
        words.execute(params![place.0, scope, row.words])?;
    }
    Ok(spread)
}
