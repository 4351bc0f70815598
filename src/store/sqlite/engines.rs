//! Engines, and the last epoch that each namespace gave.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Rows, params};

use super::columns::Columns;
use super::failed;
use crate::domain::{Engine, EngineId, Namespace};
use crate::store::Error;
use crate::store::record::{Damage, EngineRow, column, number};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "namespace, engine_id, epoch, profile, attach_time, detach_time, replica, \
    incarnation";

/// An engine.
pub(super) fn engine(conn: &Connection, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
    let failed = failed("reading an engine");
    let sql = format!("SELECT {COLUMNS} FROM engines WHERE namespace = ?1 AND engine_id = ?2");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([ns.as_str(), id.as_str()]).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read(Columns(row)).map(Arc::new)).transpose()
}

/// At most `rows` engines of all namespaces after `after`; a damaged one is left out.
pub(super) fn engines(
    conn: &Connection,
    after: Option<&(Namespace, EngineId)>,
    rows: usize,
) -> Result<Vec<Arc<Engine>>, Error> {
    let failed = failed("listing engines");
    let limit = column(rows as u64);
    let (condition, after) = match after {
        Some((ns, id)) => ("(namespace, engine_id) > (?2, ?3)", [ns.as_str(), id.as_str()]),
        None => ("?2 = ?3", ["", ""]),
    };
    // A damaged row does not shorten what is asked for: the statement has no limit.
    let sql =
        format!("SELECT {COLUMNS} FROM engines WHERE {condition} AND ?1 > 0 ORDER BY namespace, engine_id");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let found = statement
        .query(params![limit, after[0], after[1]])
        .map_err(&failed)?;
    taken(found, rows)
}

fn taken(mut rows: Rows<'_>, rows_max: usize) -> Result<Vec<Arc<Engine>>, Error> {
    let mut engines = Vec::new();
    while engines.len() < rows_max
        && let Some(row) = rows.next().map_err(failed("listing engines"))?
    {
        match read(Columns(row)) {
            Ok(engine) => engines.push(Arc::new(engine)),
            Err(Error::Corrupt { row, reason }) => {
                tracing::error!(row, reason, "a damaged row is left out of a list");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(engines)
}

/// At most `rows` attached engines of a namespace after `after`; a damaged one is left out.
pub(super) fn attached(
    conn: &Connection,
    ns: &Namespace,
    after: Option<&EngineId>,
    rows: usize,
) -> Result<Vec<Arc<Engine>>, Error> {
    let failed = failed("listing attached engines");
    let sql = format!(
        "SELECT {COLUMNS} FROM engines WHERE namespace = ?1 AND engine_id > ?2 AND detach_time IS NULL \
         ORDER BY engine_id"
    );
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    // Nothing sorts before the empty text, and no id is empty.
    let after = after.map_or("", EngineId::as_str);
    let found = statement.query([ns.as_str(), after]).map_err(&failed)?;
    taken(found, rows)
}

/// How many threads an engine has claimed under an epoch.
pub(super) fn threads_held(
    conn: &Connection,
    ns: &Namespace,
    engine: &EngineId,
    epoch: u64,
) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM threads WHERE namespace = ?1 AND engine = ?2 AND epoch = ?3";
    let count = conn.prepare_cached(sql).and_then(|mut statement| {
        let values = params![ns.as_str(), engine.as_str(), column(epoch)];
        statement.query_row(values, |row| row.get::<_, i64>(0))
    });
    let count = count.map_err(failed("counting an engine's threads"))?;
    number(count).map_err(|damage| Error::corrupt("a count", damage))
}

/// The last epoch that a namespace gave; 0 where it gave none.
pub(super) fn epoch(conn: &Connection, ns: &Namespace) -> Result<u64, Error> {
    let sql = "SELECT epoch FROM epochs WHERE namespace = ?1";
    let epoch = conn.prepare_cached(sql).and_then(|mut statement| {
        let row = statement.query_row([ns.as_str()], |row| row.get::<_, i64>(0));
        row.optional()
    });
    let epoch = epoch.map_err(failed("reading an epoch"))?.unwrap_or_default();
    number(epoch).map_err(|damage| Error::corrupt(format!("the epoch of namespace {ns}"), damage))
}

/// Writes the last epoch that a namespace gave.
pub(super) fn put_epoch(conn: &Connection, ns: &Namespace, epoch: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO epochs (namespace, epoch) VALUES (?1, ?2)")?
        .execute(params![ns.as_str(), column(epoch)])?;
    Ok(())
}

/// Writes an engine.
pub(super) fn put(conn: &Connection, engine: &Engine) -> rusqlite::Result<()> {
    let sql = "INSERT INTO engines (namespace, engine_id, epoch, profile, attach_time, detach_time, \
        replica, incarnation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET epoch = excluded.epoch, \
        profile = excluded.profile, attach_time = excluded.attach_time, detach_time = excluded.detach_time, \
        replica = excluded.replica, incarnation = excluded.incarnation";
    let row = EngineRow::from(engine);
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.engine_id,
        row.epoch,
        row.profile,
        row.attach_time,
        row.detach_time,
        row.replica,
        row.incarnation,
    ])?;
    Ok(())
}

/// Removes an engine.
pub(super) fn remove(conn: &Connection, ns: &Namespace, id: &EngineId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM engines WHERE namespace = ?1 AND engine_id = ?2")?
        .execute([ns.as_str(), id.as_str()])?;
    Ok(())
}

/// The engine of a row.
pub(super) fn read(columns: Columns<'_>) -> Result<Engine, Error> {
    let row = || -> Result<EngineRow<'_>, Damage> {
        Ok(EngineRow {
            namespace: columns.text(0)?,
            engine_id: columns.text(1)?,
            epoch: columns.integer(2)?,
            profile: columns.text(3)?.into(),
            attach_time: columns.integer(4)?,
            detach_time: columns.maybe_integer(5)?,
            replica: columns.maybe_text(6)?,
            incarnation: columns.maybe_integer(7)?,
        })
    };
    row().and_then(Engine::try_from).map_err(|damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("engine {id} of namespace {ns}"), damage)
    })
}
