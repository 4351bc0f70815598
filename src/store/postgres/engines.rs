//! Engines, and the last epoch that each namespace gave.

use std::sync::Arc;

use tokio_postgres::Row;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::{Engine, EngineId, Namespace};
use crate::store::record::{Damage, EngineRow, column, number};

pub(super) const STATEMENTS: &[&str] = &[ONE, AFTER, ATTACHED, HELD, EPOCH, PUT_EPOCH, PUT, REMOVE];

macro_rules! columns {
    () => {
        "namespace, engine_id, epoch, profile, attach_time, detach_time, replica, incarnation"
    };
}

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = columns!();

const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM engines WHERE namespace = $1 AND engine_id = $2"
);

/// An engine.
pub(super) async fn engine(conn: &Conn, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Fault> {
    let row = conn
        .row("reading an engine", ONE, &[&ns.as_str(), &id.as_str()])
        .await?;
    row.map(|row| read(Columns(&row)).map(Arc::new)).transpose()
}

const AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM engines WHERE (namespace, engine_id) > ($1, $2) ORDER BY namespace, engine_id LIMIT $3"
);

/// At most `rows` engines of all namespaces after `after`; a damaged one is left out.
pub(super) async fn engines(
    conn: &Conn,
    after: Option<&(Namespace, EngineId)>,
    rows: usize,
) -> Result<Vec<Arc<Engine>>, Fault> {
    let (mut ns, mut id) = after.map_or((String::new(), String::new()), |(ns, id)| {
        (ns.to_string(), id.to_string())
    });
    let mut engines = Vec::new();
    // A damaged row does not shorten what is asked for.
    loop {
        let limit = column((rows - engines.len()) as u64);
        let found = conn.rows("listing engines", AFTER, &[&ns, &id, &limit]).await?;
        take(&found, &mut engines)?;
        if let Some(row) = found.last() {
            let columns = Columns(row);
            columns.text(0).unwrap_or_default().clone_into(&mut ns);
            columns.text(1).unwrap_or_default().clone_into(&mut id);
        }
        if engines.len() >= rows || column(found.len() as u64) < limit {
            return Ok(engines);
        }
    }
}

const ATTACHED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM engines WHERE namespace = $1 AND engine_id > $2 AND detach_time IS NULL ORDER BY engine_id LIMIT $3"
);

/// At most `rows` engines of a namespace that are attached, by id after `after`; a damaged one is left out.
pub(super) async fn attached(
    conn: &Conn,
    ns: &Namespace,
    after: Option<&EngineId>,
    rows: usize,
) -> Result<Vec<Arc<Engine>>, Fault> {
    // Nothing sorts before the empty text, and no id is empty.
    let mut id = after.map_or(String::new(), ToString::to_string);
    let mut engines = Vec::new();
    loop {
        let limit = column((rows - engines.len()) as u64);
        let found = conn
            .rows("listing attached engines", ATTACHED, &[&ns.as_str(), &id, &limit])
            .await?;
        take(&found, &mut engines)?;
        if engines.len() >= rows || column(found.len() as u64) < limit {
            return Ok(engines);
        }
        if let Some(row) = found.last() {
            Columns(row).text(1).unwrap_or_default().clone_into(&mut id);
        }
    }
}

/// Adds the engines of these rows; a damaged one is left out.
fn take(rows: &[Row], engines: &mut Vec<Arc<Engine>>) -> Result<(), Fault> {
    for row in rows {
        match read(Columns(row)) {
            Ok(engine) => engines.push(Arc::new(engine)),
            Err(Fault::Damaged { row, reason }) => {
                tracing::error!(row, reason, "a damaged row is left out of a list");
            }
            Err(fault @ Fault::Database { .. }) => return Err(fault),
        }
    }
    Ok(())
}

const HELD: &str = "SELECT count(*) FROM threads WHERE namespace = $1 AND engine = $2 AND epoch = $3";

/// How many threads an engine has claimed under an epoch.
pub(super) async fn threads_held(
    conn: &Conn,
    ns: &Namespace,
    engine: &EngineId,
    epoch: u64,
) -> Result<u64, Fault> {
    let operation = "counting an engine's threads";
    let row = conn
        .row(operation, HELD, &[&ns.as_str(), &engine.as_str(), &column(epoch)])
        .await?;
    let count = row.map_or(Ok(0), |row| Columns(&row).integer(0));
    let count = count.and_then(number);
    count.map_err(|damage| Fault::damaged("a count", damage))
}

const EPOCH: &str = "SELECT epoch FROM epochs WHERE namespace = $1";

/// The last epoch that a namespace gave; 0 where it gave none.
pub(super) async fn epoch(conn: &Conn, ns: &Namespace) -> Result<u64, Fault> {
    let row = conn.row("reading an epoch", EPOCH, &[&ns.as_str()]).await?;
    let epoch = row.map_or(Ok(0), |row| Columns(&row).integer(0));
    let epoch = epoch.and_then(number);
    epoch.map_err(|damage| Fault::damaged(format!("the epoch of namespace {ns}"), damage))
}

const PUT_EPOCH: &str = "INSERT INTO epochs (namespace, epoch) VALUES ($1, $2) \
    ON CONFLICT (namespace) DO UPDATE SET epoch = excluded.epoch";

/// Writes the last epoch that a namespace gave.
pub(super) async fn put_epoch(conn: &Conn, ns: &Namespace, epoch: u64) -> Result<(), Fault> {
    conn.run("writing an epoch", PUT_EPOCH, &[&ns.as_str(), &column(epoch)])
        .await
        .map(drop)
}

const PUT: &str = concat!(
    "INSERT INTO engines (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (namespace, engine_id) DO UPDATE SET \
        epoch = excluded.epoch, profile = excluded.profile, attach_time = excluded.attach_time, \
        detach_time = excluded.detach_time, replica = excluded.replica, incarnation = excluded.incarnation"
);

/// Writes an engine.
pub(super) async fn put(conn: &Conn, engine: &Engine) -> Result<(), Fault> {
    let row = EngineRow::from(engine);
    conn.run(
        "writing an engine",
        PUT,
        &[
            &row.namespace,
            &row.engine_id,
            &row.epoch,
            &&*row.profile,
            &row.attach_time,
            &row.detach_time,
            &row.replica,
            &row.incarnation,
        ],
    )
    .await
    .map(drop)
}

const REMOVE: &str = "DELETE FROM engines WHERE namespace = $1 AND engine_id = $2";

/// Removes an engine.
pub(super) async fn remove(conn: &Conn, ns: &Namespace, id: &EngineId) -> Result<(), Fault> {
    conn.run("removing an engine", REMOVE, &[&ns.as_str(), &id.as_str()])
        .await
        .map(drop)
}

/// The engine of a row.
pub(super) fn read(columns: Columns<'_>) -> Result<Engine, Fault> {
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
        Fault::damaged(format!("engine {id} of namespace {ns}"), damage)
    })
}
