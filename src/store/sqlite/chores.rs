//! Work that upkeep finds, by indexes that hold nothing else.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::columns::Columns;
use super::failed;
use crate::domain::limits::{ENGINE_LIFE, PAST_HEAD_LIFE, RECEIPT_LIFE, RESUME_LIFE, STAGING_LIFE};
use crate::domain::{EngineId, Namespace, Revision, SessionId, Time};
use crate::store::record::{Damage, column, log_id, number};
use crate::store::{Chore, Error};

/// At most `rows` pieces of work as of `now`.
pub(super) fn chores(conn: &Connection, now: Time, rows: usize) -> Result<Vec<Chore>, Error> {
    let mut found = Found {
        conn,
        rows,
        chores: Vec::new(),
    };
    found.add(
        "SELECT 1 FROM receipts WHERE time < ?2 LIMIT min(1, ?1)",
        Some(now.before(RECEIPT_LIFE)),
        |_| Ok(Chore::ExpireReceipts),
    )?;
    found.add(
        "SELECT namespace, session_id FROM sessions WHERE purge_time IS NOT NULL AND purge_time <= ?2 \
         ORDER BY purge_time LIMIT ?1",
        Some(now),
        |columns| session(columns).map(|(ns, id)| Chore::Purge(ns, id)),
    )?;
    found.add(
        "SELECT log FROM loose WHERE since <= ?2 ORDER BY since LIMIT ?1",
        Some(now.before(STAGING_LIFE)),
        |columns| Ok(Chore::Sweep(log_id(columns.blob(0)?)?)),
    )?;
    found.add(
        "SELECT namespace, session_id FROM sessions WHERE path_parts > 64 LIMIT ?1",
        None,
        |columns| session(columns).map(|(ns, id)| Chore::Compact(ns, id)),
    )?;
    found.add(
        "SELECT 1 FROM resumes WHERE end_time IS NOT NULL AND end_time < ?2 LIMIT min(1, ?1)",
        Some(now.before(RESUME_LIFE)),
        |_| Ok(Chore::ExpireResumes),
    )?;
    found.add(
        "SELECT namespace, session_id, revision FROM past_heads WHERE time < ?2 ORDER BY time LIMIT ?1",
        Some(now.before(PAST_HEAD_LIFE)),
        |columns| {
            let (ns, id) = session(columns)?;
            Ok(Chore::ExpireHead(ns, id, Revision(number(columns.integer(2)?)?)))
        },
    )?;
    found.add(
        "SELECT namespace, engine_id FROM engines WHERE detach_time IS NOT NULL AND detach_time < ?2 \
         AND NOT EXISTS (SELECT 1 FROM threads \
             WHERE threads.namespace = engines.namespace AND threads.engine = engines.engine_id) \
         ORDER BY detach_time LIMIT ?1",
        Some(now.before(ENGINE_LIFE)),
        |columns| {
            let id = EngineId::parse(columns.text(1)?, "engine_id")?;
            Ok(Chore::ForgetEngine(Namespace::parse(columns.text(0)?)?, id))
        },
    )?;
    Ok(found.chores)
}

struct Found<'a> {
    conn: &'a Connection,
    rows: usize,
    chores: Vec<Chore>,
}

impl Found<'_> {
    /// Adds what `sql` finds, in the room that is left; a row that cannot be read is left out.
    fn add(
        &mut self,
        sql: &str,
        time: Option<Time>,
        chore: impl Fn(Columns<'_>) -> Result<Chore, Damage>,
    ) -> Result<(), Error> {
        let failed = failed("looking for chores");
        let left = column((self.rows - self.chores.len().min(self.rows)) as u64);
        let values = [Some(left), time.map(|time| time.0)]
            .into_iter()
            .flatten()
            .map(Value::Integer);
        let mut statement = self.conn.prepare_cached(sql).map_err(&failed)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            match chore(Columns(row)) {
                Ok(chore) => self.chores.push(chore),
                Err(damage) => tracing::error!(%damage, "a chore cannot be read"),
            }
        }
        Ok(())
    }
}

fn session(columns: Columns<'_>) -> Result<(Namespace, SessionId), Damage> {
    Ok((
        Namespace::parse(columns.text(0)?)?,
        SessionId::parse(columns.text(1)?, "session_id")?,
    ))
}
