//! Resumes.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::columns::Columns;
use super::{Room, failed, logs};
use crate::domain::limits::SWEEP_ROWS_MAX;
use crate::domain::query::{self, Bound, Page, ResumeKey};
use crate::domain::session::ROW_BYTES;
use crate::domain::{Namespace, Resume, ResumeId, SessionId, Time};
use crate::store::Error;
use crate::store::record::resume::ResumeRow;
use crate::store::record::{Code as _, Damage, column, log_id};

const COLUMNS: &str = "namespace, resume_id, session_id, thread_id, engine, state, source_log, source_tally, \
    create_time, end_time, facts";

/// A resume.
pub(super) fn resume(conn: &Connection, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
    one(
        conn,
        "namespace = ?1 AND resume_id = ?2",
        [ns.as_str(), id.as_str()],
    )
}

/// The resume of a session that has not ended.
pub(super) fn open(conn: &Connection, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Resume>>, Error> {
    let condition = "namespace = ?1 AND session_id = ?2 AND end_time IS NULL";
    one(conn, condition, [ns.as_str(), id.as_str()])
}

fn one(conn: &Connection, condition: &str, values: [&str; 2]) -> Result<Option<Arc<Resume>>, Error> {
    let failed = failed("reading a resume");
    let sql = format!("SELECT {COLUMNS} FROM resumes WHERE {condition}");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query(values).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read(conn, Columns(row)).map(Arc::new)).transpose()
}

fn read(conn: &Connection, columns: Columns<'_>) -> Result<Resume, Error> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("resume {id} of namespace {ns}"), damage)
    };
    let row = || -> Result<ResumeRow<'_>, Damage> {
        Ok(ResumeRow {
            namespace: columns.text(0)?,
            resume_id: columns.text(1)?,
            session_id: columns.text(2)?,
            thread_id: columns.text(3)?,
            engine: columns.maybe_text(4)?,
            state: columns.integer(5)?,
            source_log: columns.maybe_blob(6)?,
            source_tally: columns.maybe_blob(7)?.map(Into::into),
            create_time: columns.integer(8)?,
            end_time: columns.maybe_integer(9)?,
            facts: columns.text(10)?.into(),
        })
    };
    let row = row().map_err(damaged)?;
    let log = row.source_log.map(log_id).transpose().map_err(damaged)?;
    let log = log.map(|id| logs::named_log(conn, id)).transpose()?;
    row.resume(log).map_err(damaged)
}

/// A page of resumes, the newest first; one that cannot be read is left out.
pub(super) fn page(
    conn: &Connection,
    query: &query::Resumes,
    after: Option<&ResumeKey>,
    bound: Bound,
) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
    let failed = failed("listing resumes");
    let (sql, values) = statement(query, after);
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(&failed)?;
    let mut room = Room::of(bound);
    let mut page = Page {
        rows: Vec::new(),
        next: None,
    };
    let mut last = None;
    while let Some(row) = rows.next().map_err(&failed)? {
        let resume = match read(conn, Columns(row)) {
            Ok(resume) => resume,
            Err(Error::Corrupt { row, reason }) => {
                tracing::error!(row, reason, "a damaged row is left out of a list");
                continue;
            }
            Err(error) => return Err(error),
        };
        if !room.take(ROW_BYTES) {
            page.next = last;
            break;
        }
        last = Some(resume.key());
        page.rows.push(Arc::new(resume));
    }
    Ok(page)
}

fn statement(query: &query::Resumes, after: Option<&ResumeKey>) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let text = |id: &dyn ToString| Value::Text(id.to_string());
    let mut conditions = vec!["1".to_owned()];
    if let Some(ns) = &query.namespace {
        conditions.push(format!("namespace = {}", bind(text(&ns.as_str()))));
    }
    if let Some(session) = &query.session {
        conditions.push(format!("session_id = {}", bind(text(session))));
    }
    if let Some(thread) = &query.thread {
        conditions.push(format!("thread_id = {}", bind(text(thread))));
    }
    if let Some(engine) = &query.engine {
        conditions.push(format!("engine = {}", bind(text(engine))));
    }
    if !query.states.is_empty() {
        let states: Vec<String> = query
            .states
            .iter()
            .map(|state| state.code().to_string())
            .collect();
        conditions.push(format!("state IN ({})", states.join(", ")));
        if query.states.iter().all(|state| !state.is_end()) {
            conditions.push("end_time IS NULL".to_owned());
        }
    }
    if let Some(after) = after {
        let (time, id) = (bind(Value::Integer(after.create_time.0)), bind(text(&after.id)));
        conditions.push(format!("(create_time, resume_id) < ({time}, {id})"));
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM resumes WHERE {} ORDER BY create_time DESC, resume_id DESC",
        conditions.join(" AND ")
    );
    (sql, values)
}

/// Writes a resume.
pub(super) fn put(conn: &Connection, resume: &Resume) -> rusqlite::Result<()> {
    let row = ResumeRow::from(resume);
    let sql = "INSERT OR REPLACE INTO resumes (namespace, resume_id, session_id, thread_id, engine, state, \
        source_log, source_tally, create_time, end_time, facts) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.resume_id,
        row.session_id,
        row.thread_id,
        row.engine,
        row.state,
        row.source_log,
        row.source_tally,
        row.create_time,
        row.end_time,
        row.facts,
    ])?;
    Ok(())
}

/// Forgets resumes that ended before a time.
pub(super) fn drop_before(conn: &Connection, before: Time) -> rusqlite::Result<()> {
    let sql = "DELETE FROM resumes WHERE rowid IN ( \
        SELECT rowid FROM resumes WHERE end_time IS NOT NULL AND end_time < ?1 LIMIT ?2)";
    conn.prepare_cached(sql)?
        .execute(params![before.0, column(SWEEP_ROWS_MAX as u64)])?;
    Ok(())
}
