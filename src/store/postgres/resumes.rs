//! Resumes, row by row: a row comes with the path of its source.

use std::sync::Arc;

use super::columns::Columns;
use super::conn::{Conn, Values};
use super::fault::Fault;
use super::logs::named_log;
use crate::domain::limits::SWEEP_ROWS_MAX;
use crate::domain::{Namespace, Resume, ResumeId, SessionId, Time};
use crate::store::record::{Damage, ResumeRow, column};

pub(super) const STATEMENTS: &[&str] = &[ONE, OPEN, PUT, DROP];

macro_rules! columns {
    () => {
        "s.namespace, s.resume_id, s.session_id, s.thread_id, s.engine, s.state, s.source_log, s.source_tally, \
         s.rest, s.declined, s.create_time, s.end_time, s.driver, s.driver_incarnation, l.path"
    };
}

macro_rules! joins {
    () => {
        "LEFT JOIN logs AS l ON l.log = s.source_log"
    };
}

/// The columns of [`read`], in its order, of a resume `s` and its source's log `l`.
pub(super) const COLUMNS: &str = columns!();
pub(super) const JOINS: &str = joins!();

/// How many there are.
pub(super) const COLUMNS_COUNT: usize = 15;

const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM resumes AS s ",
    joins!(),
    " WHERE s.namespace = $1 AND s.resume_id = $2"
);

const OPEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM resumes AS s ",
    joins!(),
    " WHERE s.namespace = $1 AND s.session_id = $2 AND s.end_time IS NULL"
);

/// A resume.
pub(super) async fn resume(conn: &Conn, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Fault> {
    one(conn, ONE, &[&ns.as_str(), &id.as_str()]).await
}

/// The resume of a session that has not ended.
pub(super) async fn open(
    conn: &Conn,
    ns: &Namespace,
    session: &SessionId,
) -> Result<Option<Arc<Resume>>, Fault> {
    one(conn, OPEN, &[&ns.as_str(), &session.as_str()]).await
}

async fn one(conn: &Conn, sql: &'static str, values: &Values<'_>) -> Result<Option<Arc<Resume>>, Fault> {
    let row = conn.row("reading a resume", sql, values).await?;
    row.map(|row| read(Columns(&row)).map(Arc::new)).transpose()
}

/// The resume of a row.
pub(super) fn read(columns: Columns<'_>) -> Result<Resume, Fault> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Fault::damaged(format!("resume {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let path = columns.maybe_blob(14).map_err(damaged)?;
    let log = row.source_log.map(|log| named_log(log, path)).transpose()?;
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

const PUT: &str = "INSERT INTO resumes (namespace, resume_id, session_id, thread_id, engine, state, source_log, \
        source_tally, rest, declined, create_time, end_time, driver, driver_incarnation) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
    ON CONFLICT (namespace, resume_id) DO UPDATE SET session_id = excluded.session_id, \
        thread_id = excluded.thread_id, engine = excluded.engine, state = excluded.state, \
        source_log = excluded.source_log, source_tally = excluded.source_tally, rest = excluded.rest, \
        declined = excluded.declined, create_time = excluded.create_time, end_time = excluded.end_time, \
        driver = excluded.driver, driver_incarnation = excluded.driver_incarnation";

/// Writes a resume.
pub(super) async fn put(conn: &Conn, resume: &Resume) -> Result<(), Fault> {
    let row = ResumeRow::from(resume);
    conn.run(
        "writing a resume",
        PUT,
        &[
            &row.namespace,
            &row.resume_id,
            &row.session_id,
            &row.thread_id,
            &row.engine,
            &row.state,
            &row.source_log,
            &row.source_tally.as_deref(),
            &&*row.rest,
            &row.declined,
            &row.create_time,
            &row.end_time,
            &row.driver,
            &row.driver_incarnation,
        ],
    )
    .await
    .map(drop)
}

const DROP: &str = "DELETE FROM resumes WHERE (namespace, resume_id) IN ( \
        SELECT namespace, resume_id FROM resumes WHERE end_time IS NOT NULL AND end_time < $1 \
        ORDER BY end_time, namespace, resume_id LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Forgets the oldest of those that ended before a time.
pub(super) async fn drop_before(conn: &Conn, before: Time) -> Result<(), Fault> {
    conn.run(
        "forgetting resumes",
        DROP,
        &[&before.0, &column(SWEEP_ROWS_MAX as u64)],
    )
    .await
    .map(drop)
}
