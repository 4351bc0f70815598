//! What else is kept: resumes, past heads, engines, epochs and receipts.

use rusqlite::params;

use super::sessions::against_log;
use super::{Check, ROWS_MAX};
use crate::domain::{EngineId, Namespace, RequestId, Revision, SessionId};
use crate::store::Error;
use crate::store::record::{Damage, column, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{engines, failed, past_heads, receipts, resumes};

/// A key that comes before every other.
const FIRST: (String, String) = (String::new(), String::new());

/// All of them.
pub(super) fn check(check: &mut Check<'_>) -> Result<(), Error> {
    check.steps(0, some_resumes)?;
    check.steps(0, |check, after| {
        let sql = "SELECT namespace, session_id, revision, rowid FROM past_heads WHERE rowid > ?1 \
                   ORDER BY rowid LIMIT ?2";
        by_rowid(check, "past heads", sql, after, one_past_head)
    })?;
    check.steps(0, |check, after| {
        let sql = "SELECT namespace, engine_id, rowid FROM engines WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
        by_rowid(check, "engines", sql, after, one_engine)
    })?;
    check.steps(FIRST, some_receipts)?;
    epochs(check)
}

fn some_resumes(check: &mut Check<'_>, after: i64) -> Result<Option<i64>, Error> {
    let columns = resumes::COLUMNS;
    let sql = format!("SELECT {columns}, rowid FROM resumes WHERE rowid > ?1 ORDER BY rowid LIMIT ?2");
    by_rowid(check, "resumes", &sql, after, |check, columns| {
        let resume = resumes::read(check.conn, columns)?;
        if let Some(source) = &resume.source
            && let Some(reason) = against_log(check, source)?
        {
            let name = format!("resume {} of namespace {}", resume.id, resume.namespace);
            return Err(Error::corrupt(name, reason));
        }
        Ok(())
    })
}

fn one_past_head(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let key = || -> Result<_, Damage> {
        let ns = Namespace::parse(columns.text(0)?)?;
        let id = SessionId::parse(columns.text(1)?, "session_id")?;
        Ok((ns, id, Revision(number(columns.integer(2)?)?)))
    };
    let (ns, id, revision) = key().map_err(|damage| Error::corrupt("a past head", damage))?;
    let head = past_heads::past_head(check.conn, &ns, &id, revision)?;
    let reason = match &head {
        Some(head) => against_log(check, &head.tip)?,
        None => None,
    };
    let name = || format!("revision {revision} of session {id} of namespace {ns}");
    reason.map_or(Ok(()), |reason| Err(Error::corrupt(name(), reason)))
}

fn one_engine(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let key = || -> Result<_, Damage> {
        let ns = Namespace::parse(columns.text(0)?)?;
        Ok((ns, EngineId::parse(columns.text(1)?, "engine_id")?))
    };
    let (ns, id) = key().map_err(|damage| Error::corrupt("an engine", damage))?;
    engines::engine(check.conn, &ns, &id).map(drop)
}

/// Rows that are looked at one by one; the last column is the rowid.
fn by_rowid(
    check: &mut Check<'_>,
    kind: &'static str,
    sql: &str,
    after: i64,
    look: impl Fn(&mut Check<'_>, Columns<'_>) -> Result<(), Error>,
) -> Result<Option<i64>, Error> {
    let failed = failed("checking records");
    let conn = check.conn;
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let rowid = statement.column_count() - 1;
    let mut rows = statement
        .query(params![after, column(ROWS_MAX as u64)])
        .map_err(&failed)?;
    let (mut last, mut seen) = (after, 0);
    while let Some(row) = rows.next().map_err(&failed)? {
        last = row.get(rowid).map_err(&failed)?;
        seen += 1;
        match look(check, Columns(row)) {
            Ok(()) => {}
            Err(error @ Error::Corrupt { .. }) => check.failed(kind, error),
            Err(error) => return Err(error),
        }
    }
    check.count(kind, seen);
    Ok((seen > 0).then_some(last))
}

type Key = (String, String);

fn some_receipts(check: &mut Check<'_>, (ns, id): Key) -> Result<Option<Key>, Error> {
    let failed = failed("checking receipts");
    let conn = check.conn;
    let sql = "SELECT namespace, request_id FROM receipts WHERE (namespace, request_id) > (?1, ?2) \
               ORDER BY namespace, request_id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![ns, id, column(ROWS_MAX as u64)];
    let keys = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)));
    let keys = keys
        .and_then(Iterator::collect::<Result<Vec<Key>, _>>)
        .map_err(&failed)?;
    for (ns, id) in &keys {
        let names = Namespace::parse(ns).and_then(|ns| Ok((ns, RequestId::parse(id)?)));
        let read = match names {
            Ok((ns, id)) => receipts::receipt(conn, &ns, &id).map(drop),
            Err(invalid) => Err(Error::corrupt("a receipt", Damage::from(invalid))),
        };
        match read {
            Ok(()) => {}
            Err(error @ Error::Corrupt { .. }) => check.failed("receipts", error),
            Err(error) => return Err(error),
        }
    }
    check.count("receipts", keys.len() as u64);
    Ok(keys.last().cloned())
}

/// No engine is at an epoch that its namespace has not given.
fn epochs(check: &mut Check<'_>) -> Result<(), Error> {
    let failed = failed("checking epochs");
    let sql = "SELECT namespace, engine_id FROM engines WHERE epoch > \
               ifnull((SELECT epoch FROM epochs WHERE epochs.namespace = engines.namespace), 0)";
    let conn = check.conn;
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query(()).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let [ns, id] = [0, 1].map(|at| Columns(row).text(at).unwrap_or("?"));
        let name = format!("engine {id} of namespace {ns}");
        check.problem(name, "its epoch is one that the namespace has not given yet");
    }
    Ok(())
}
