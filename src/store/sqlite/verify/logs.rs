//! Logs: every part of a path is there and reaches as far as the path says; edges are the paths turned round; whoever
//! names nobody is noted to be swept.

use rusqlite::OptionalExtension;

use super::Check;
use super::rows::{self, Table};
use crate::domain::facts::References;
use crate::domain::{Log, LogId, Part, Seq};
use crate::store::Error;
use crate::store::record::{Damage, column, log_id, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{entries, failed, logs};

/// Every log, and every edge.
pub(super) fn check(check: &mut Check<'_>) {
    let all_logs = Table {
        kind: "logs",
        name: "logs",
        key: &["log"],
        columns: "log".to_owned(),
        called: |key| format!("log {}", key[0].log()),
    };
    rows::walk(check, &all_logs, |check, _, columns| {
        let id = columns?.blob(0).and_then(log_id);
        let id = id.map_err(|damage| Error::corrupt("a log", damage))?;
        one_log(check, id).map(|()| 0)
    });
    let all_edges = Table {
        kind: "edges",
        name: "log_edges",
        key: &["part_log", "log"],
        columns: "part_log, log, to_seq".to_owned(),
        called: |key| format!("the edge of log {} to log {}", key[1].log(), key[0].log()),
    };
    rows::walk(check, &all_edges, |check, _, columns| {
        one_edge(check, columns?).map(|()| 0)
    });
}

fn one_log(check: &mut Check<'_>, id: LogId) -> Result<(), Error> {
    let conn = check.conn;
    let log = match logs::log(conn, id) {
        Ok(Some(log)) => log,
        Ok(None) => return Ok(()),
        Err(error @ Error::Corrupt { .. }) => {
            check.failed("a log", error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let References {
        named,
        inherited_to,
        last,
        loose,
    } = logs::references(conn, id)?;
    // Nobody reads on from a log that was released into its path: what that names may be gone.
    let released = !named && !log.path.parts().is_empty() && !has_edges(check, &log)?;
    let parts = if released { &[] } else { log.path.parts() };
    let mut start = Seq::ZERO;
    for part in parts {
        if let Some(reason) = part_of(check, &log, start, part)? {
            check.problem(format!("log {id}"), reason);
        }
        start = part.to;
    }
    if !named && loose.is_none() {
        match inherited_to {
            None => check.garbage("logs"),
            Some(to) if last > to => check.garbage("ends of logs"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether any part of a log's path is kept by it.
fn has_edges(check: &Check<'_>, log: &Log) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM log_edges WHERE part_log = ?1 AND log = ?2)";
    let mut statement = check.conn.prepare_cached(sql).map_err(failed("checking logs"))?;
    for part in log.path.parts() {
        let key = [part.log.0.as_bytes(), log.id.0.as_bytes()];
        let found: bool = statement
            .query_row(key, |row| row.get(0))
            .map_err(failed("checking logs"))?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is wrong with a part of a path that begins after `start`.
fn part_of(check: &Check<'_>, log: &Log, start: Seq, part: &Part) -> Result<Option<String>, Error> {
    let (conn, of) = (check.conn, part.log);
    match logs::log(conn, of) {
        Ok(Some(inherited)) if inherited.path.end() > start => {
            return Ok(Some(format!(
                "log {of} of its path begins later than the path needs"
            )));
        }
        Ok(Some(_)) => {}
        Ok(None) => return Ok(Some(format!("log {of} of its path is not there"))),
        // It is told by itself.
        Err(Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let reason = match entries::meta(conn, of, part.to) {
        Ok(Some(meta)) if meta.tally == part.tally => None,
        Ok(Some(_)) => Some(format!(
            "its tally at {} is not that of the entry in log {of}",
            part.to
        )),
        Ok(None) => Some(format!("entry {} of log {of} of its path is missing", part.to)),
        Err(Error::Corrupt { .. }) => None,
        Err(error) => return Err(error),
    };
    if reason.is_some() {
        return Ok(reason);
    }
    let sql = "SELECT to_seq FROM log_edges WHERE part_log = ?1 AND log = ?2";
    let edge: Option<i64> = conn
        .prepare_cached(sql)
        .and_then(|mut edge| {
            let key = [of.0.as_bytes(), log.id.0.as_bytes()];
            edge.query_row(key, |row| row.get(0)).optional()
        })
        .map_err(failed("checking logs"))?;
    Ok((edge != furthest(log, of)).then(|| format!("the edge to log {of} is not what its path has")))
}

/// The last seq that a path takes from another log.
fn furthest(log: &Log, of: LogId) -> Option<i64> {
    let parts = log.path.parts().iter().filter(|part| part.log == of);
    parts.map(|part| column(part.to.0)).max()
}

/// Whether upkeep will look at a log or journal.
pub(super) fn is_loose(check: &Check<'_>, id: LogId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM loose WHERE log = ?1)";
    let mut statement = check.conn.prepare_cached(sql).map_err(failed("checking logs"))?;
    let loose = statement.query_row([id.0.as_bytes()], |row| row.get(0));
    loose.map_err(failed("checking logs"))
}

/// An edge is what the path of its log has.
fn one_edge(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let edge = || -> Result<(LogId, LogId, Seq), Damage> {
        let [part, log] = [log_id(columns.blob(0)?)?, log_id(columns.blob(1)?)?];
        Ok((part, log, Seq(number(columns.integer(2)?)?)))
    };
    let (part, log, to) = edge().map_err(|damage| Error::corrupt("an edge of a log", damage))?;
    match logs::log(check.conn, log) {
        Ok(Some(whole)) if furthest(&whole, part) == Some(column(to.0)) => {}
        Ok(_) => check.problem(format!("the edge of log {log} to log {part}"), "no path has it"),
        // It is told by itself.
        Err(Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
