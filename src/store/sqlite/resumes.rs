//! Resumes, row by row.

use std::sync::Arc;

use rusqlite::{Connection, ToSql, params};

use super::columns::Columns;
use super::{failed, logs};
use crate::domain::limits::SWEEP_ROWS_MAX;
use crate::domain::{Namespace, Resume, ResumeId, SessionId, Time};
use crate::store::Error;
use crate::store::record::{Damage, ResumeRow, column, log_id};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "namespace, resume_id, session_id, thread_id, engine, state, source_log, \
    source_tally, rest, declined, create_time, end_time, driver, driver_incarnation";

/// How many there are.
pub(super) const COLUMNS_COUNT: usize = 14;

/// A resume.
pub(super) fn resume(conn: &Connection, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
    one(
        conn,
        "namespace = ?1 AND resume_id = ?2",
        &[&ns.as_str(), &id.as_str()],
    )
}

/// The resume of a session that has not ended.
pub(super) fn open(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
) -> Result<Option<Arc<Resume>>, Error> {
    let condition = "namespace = ?1 AND session_id = ?2 AND end_time IS NULL";
    one(conn, condition, &[&ns.as_str(), &session.as_str()])
}

fn one(conn: &Connection, condition: &str, values: &[&dyn ToSql]) -> Result<Option<Arc<Resume>>, Error> {
    let failed = failed("reading a resume");
    let sql = format!("SELECT {COLUMNS} FROM resumes WHERE {condition}");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query(values).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read(conn, Columns(row)).map(Arc::new)).transpose()
}

/// The resume of a row.
pub(super) fn read(conn: &Connection, columns: Columns<'_>) -> Result<Resume, Error> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("resume {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let log = row.source_log.map(log_id).transpose().map_err(damaged)?;
    let log = log.map(|id| logs::named_log(conn, id)).transpose()?;
    row.resume(log).map_err(damaged)
}

fn row_of(columns: Columns<'_>) -> Result<ResumeRow<'_>, Damage> {
    Ok(ResumeRow {
        namespace: columns.text(0)?,
        resume_id: columns.text(1)?,
        session_id: columns.text(2)?,
        thread_id: columns.text(3)?,
        engine: columns.maybe_text(4)?,
        state: columns.integer(5)?,
        source_log: columns.maybe_blob(6)?,
        source_tally: columns.maybe_blob(7)?.map(Into::into),
        rest: columns.text(8)?.into(),
        declined: columns.maybe_blob(9)?,
        create_time: columns.integer(10)?,
        end_time: columns.maybe_integer(11)?,
        driver: columns.maybe_text(12)?,
        driver_incarnation: columns.maybe_integer(13)?,
    })
}

/// Writes a resume.
pub(super) fn put(conn: &Connection, resume: &Resume) -> rusqlite::Result<()> {
    let sql = "INSERT INTO resumes (namespace, resume_id, session_id, thread_id, engine, state, source_log, \
        source_tally, rest, declined, create_time, end_time, driver, driver_incarnation) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
        ON CONFLICT DO UPDATE SET session_id = excluded.session_id, thread_id = excluded.thread_id, \
        engine = excluded.engine, state = excluded.state, source_log = excluded.source_log, \
        source_tally = excluded.source_tally, rest = excluded.rest, declined = excluded.declined, \
        create_time = excluded.create_time, end_time = excluded.end_time, \
        driver = excluded.driver, driver_incarnation = excluded.driver_incarnation";
    let row = ResumeRow::from(resume);
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.resume_id,
        row.session_id,
        row.thread_id,
        row.engine,
        row.state,
        row.source_log,
        row.source_tally,
        row.rest,
        row.declined,
        row.create_time,
        row.end_time,
        row.driver,
        row.driver_incarnation,
    ])?;
    Ok(())
}

/// Forgets the oldest of those that ended before a time.
pub(super) fn drop_before(conn: &Connection, before: Time) -> rusqlite::Result<()> {
    let sql = "DELETE FROM resumes WHERE (namespace, resume_id) IN ( \
               SELECT namespace, resume_id FROM resumes WHERE end_time IS NOT NULL AND end_time < ?1 \
               ORDER BY end_time, namespace, resume_id LIMIT ?2)";
    conn.prepare_cached(sql)?
        .execute(params![before.0, column(SWEEP_ROWS_MAX as u64)])?;
    Ok(())
}
