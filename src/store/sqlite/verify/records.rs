//! What else is kept: resumes, past heads, engines, epochs and receipts.

use super::Check;
use super::rows::{self, Table};
use super::sessions::against_log;
use crate::domain::{EngineId, Namespace, RequestId, Revision, SessionId};
use crate::store::Error;
use crate::store::record::{Damage, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{engines, failed, past_heads, receipts, resumes};

/// All of them.
pub(super) fn check(check: &mut Check<'_>) {
    let table = |kind, name, key, columns: &str, called| Table {
        kind,
        name,
        key,
        columns: columns.to_owned(),
        called,
    };
    let all_resumes = table(
        "resumes",
        "resumes",
        &["namespace", "resume_id"],
        resumes::COLUMNS,
        |key| format!("resume {} of namespace {}", key[1].text(), key[0].text()),
    );
    rows::walk(check, &all_resumes, |check, _, columns| {
        one_resume(check, columns?).map(|()| 0)
    });
    let columns = "namespace, session_id, revision, log, tally, incomplete_turn, time";
    let all_heads = table(
        "past heads",
        "past_heads",
        &["namespace", "session_id", "revision"],
        columns,
        |key| {
            let (ns, id, revision) = (key[0].text(), key[1].text(), key[2].integer());
            format!("revision {revision} of session {id} of namespace {ns}")
        },
    );
    rows::walk(check, &all_heads, |check, _, columns| {
        one_past_head(check, columns?).map(|()| 0)
    });
    let all_engines = table(
        "engines",
        "engines",
        &["namespace", "engine_id"],
        "namespace, engine_id",
        |key| format!("engine {} of namespace {}", key[1].text(), key[0].text()),
    );
    rows::walk(check, &all_engines, |check, _, columns| {
        one_engine(check, columns?).map(|()| 0)
    });
    let all_receipts = table(
        "receipts",
        "receipts",
        &["namespace", "request_id"],
        "namespace, request_id",
        |key| format!("receipt {} of namespace {}", key[1].text(), key[0].text()),
    );
    rows::walk(check, &all_receipts, |check, _, columns| {
        one_receipt(check, columns?).map(|()| 0)
    });
    check.part("epochs", epochs);
}

fn one_resume(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let resume = resumes::read(check.conn, columns)?;
    if let Some(source) = &resume.source
        && let Some(reason) = against_log(check, source)?
    {
        let name = format!("resume {} of namespace {}", resume.id, resume.namespace);
        return Err(Error::corrupt(name, reason));
    }
    Ok(())
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

fn one_receipt(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let key = || -> Result<_, Damage> {
        Ok((
            Namespace::parse(columns.text(0)?)?,
            RequestId::parse(columns.text(1)?)?,
        ))
    };
    let (ns, id) = key().map_err(|damage| Error::corrupt("a receipt", damage))?;
    receipts::receipt(check.conn, &ns, &id).map(drop)
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
