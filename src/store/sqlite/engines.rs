//! Engines, the epochs of namespaces, and the heads that sessions have left.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::Columns;
use super::{failed, logs};
use crate::domain::{Engine, EngineId, Namespace, PastHead, Revision, SessionId, Time};
use crate::store::Error;
use crate::store::record::engine::{EngineRow, PastHeadRow};
use crate::store::record::{Damage, column, log_id, number};

const COLUMNS: &str = "namespace, engine_id, epoch, profile, attach_time, detach_time";

/// The last epoch that a namespace gave.
pub(super) fn epoch(conn: &Connection, ns: &Namespace) -> Result<u64, Error> {
    let epoch: Option<i64> = conn
        .prepare_cached("SELECT epoch FROM epochs WHERE namespace = ?1")
        .and_then(|mut statement| statement.query_row([ns.as_str()], |row| row.get(0)).optional())
        .map_err(failed("reading an epoch"))?;
    let damaged = |damage| Error::corrupt(format!("epoch of namespace {ns}"), damage);
    number(epoch.unwrap_or_default()).map_err(damaged)
}

/// Writes the last epoch of a namespace.
pub(super) fn put_epoch(conn: &Connection, ns: &Namespace, epoch: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO epochs (namespace, epoch) VALUES (?1, ?2)")?
        .execute(params![ns.as_str(), column(epoch)])?;
    Ok(())
}

/// An engine.
pub(super) fn engine(conn: &Connection, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
    let failed = failed("reading an engine");
    let sql = format!("SELECT {COLUMNS} FROM engines WHERE namespace = ?1 AND engine_id = ?2");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([ns.as_str(), id.as_str()]).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read(Columns(row)).map(Arc::new)).transpose()
}

/// Engines of all namespaces, by namespace and id; one that cannot be read is left out.
pub(super) fn engines(
    conn: &Connection,
    after: Option<&(Namespace, EngineId)>,
    rows_max: usize,
) -> Result<Vec<Arc<Engine>>, Error> {
    let failed = failed("listing engines");
    let sql = format!(
        "SELECT {COLUMNS} FROM engines WHERE (namespace, engine_id) > (?1, ?2) \
         ORDER BY namespace, engine_id LIMIT ?3"
    );
    let (ns, id) = after.map_or(("", ""), |(ns, id)| (ns.as_str(), id.as_str()));
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement
        .query(params![ns, id, column(rows_max as u64)])
        .map_err(&failed)?;
    let mut engines = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        match read(Columns(row)) {
            Ok(engine) => engines.push(Arc::new(engine)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "a damaged engine is left out of a list");
            }
        }
    }
    Ok(engines)
}

fn read(columns: Columns<'_>) -> Result<Engine, Error> {
    let row = || -> Result<EngineRow<'_>, Damage> {
        Ok(EngineRow {
            namespace: columns.text(0)?,
            engine_id: columns.text(1)?,
            epoch: columns.integer(2)?,
            profile: columns.text(3)?.into(),
            attach_time: columns.integer(4)?,
            detach_time: columns.maybe_integer(5)?,
        })
    };
    row().and_then(Engine::try_from).map_err(|damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("engine {id} of namespace {ns}"), damage)
    })
}

/// Writes an engine.
pub(super) fn put(conn: &Connection, engine: &Engine) -> rusqlite::Result<()> {
    let row = EngineRow::from(engine);
    let sql = "INSERT OR REPLACE INTO engines (namespace, engine_id, epoch, profile, attach_time, detach_time) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.engine_id,
        row.epoch,
        row.profile,
        row.attach_time,
        row.detach_time,
    ])?;
    Ok(())
}

/// Removes an engine.
pub(super) fn remove(conn: &Connection, ns: &Namespace, id: &EngineId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM engines WHERE namespace = ?1 AND engine_id = ?2")?
        .execute([ns.as_str(), id.as_str()])?;
    Ok(())
}

/// How many threads an engine has claimed under an epoch.
pub(super) fn threads_held(
    conn: &Connection,
    ns: &Namespace,
    id: &EngineId,
    epoch: u64,
) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM threads WHERE namespace = ?1 AND engine = ?2 AND epoch = ?3";
    let count: i64 = conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.query_row(params![ns.as_str(), id.as_str(), column(epoch)], |row| row.get(0))
        })
        .map_err(failed("counting an engine's threads"))?;
    number(count).map_err(|damage| Error::corrupt("a count", damage))
}

/// A head that a session has left.
pub(super) fn past_head(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    revision: Revision,
) -> Result<Option<Arc<PastHead>>, Error> {
    let failed = failed("reading a past head");
    let sql = "SELECT namespace, session_id, revision, tally, time, log FROM past_heads \
        WHERE namespace = ?1 AND session_id = ?2 AND revision = ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![ns.as_str(), session.as_str(), column(revision.0)];
    let mut rows = statement.query(values).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    let columns = Columns(row);
    let damaged = |damage: Damage| {
        Error::corrupt(
            format!("revision {revision} of session {session} of namespace {ns}"),
            damage,
        )
    };
    let log = columns.blob(5).and_then(log_id).map_err(damaged)?;
    let log = logs::named_log(conn, log)?;
    let row = || -> Result<PastHeadRow<'_>, Damage> {
        Ok(PastHeadRow {
            namespace: columns.text(0)?,
            session_id: columns.text(1)?,
            revision: columns.integer(2)?,
            tally: columns.blob(3)?.into(),
            time: columns.integer(4)?,
        })
    };
    let head = row().and_then(|row| row.past_head(log)).map_err(damaged)?;
    Ok(Some(Arc::new(head)))
}

/// Keeps the head that a session leaves.
pub(super) fn put_past_head(conn: &Connection, head: &PastHead) -> rusqlite::Result<()> {
    let row = PastHeadRow::from(head);
    let sql = "INSERT OR REPLACE INTO past_heads (namespace, session_id, revision, log, tally, time) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.session_id,
        row.revision,
        head.tip.log.id.0.as_bytes(),
        row.tally,
        row.time,
    ])?;
    Ok(())
}

/// Forgets heads that a session has left, and notes that their logs may be named by nobody.
pub(super) fn drop_past_heads(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    revision: Option<Revision>,
    time: Time,
) -> rusqlite::Result<()> {
    let revision = revision.map(|revision| column(revision.0));
    let which = "namespace = ?1 AND session_id = ?2 AND revision = ifnull(?3, revision)";
    let loosen =
        format!("INSERT OR REPLACE INTO loose (log, since) SELECT log, ?4 FROM past_heads WHERE {which}");
    let values = params![ns.as_str(), session.as_str(), revision, time.0];
    conn.prepare_cached(&loosen)?.execute(values)?;
    conn.prepare_cached(&format!("DELETE FROM past_heads WHERE {which}"))?
        .execute(params![ns.as_str(), session.as_str(), revision])?;
    Ok(())
}
