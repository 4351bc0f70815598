//! Replicas, row by row. One process has the file, so there is one that lives; what is left of earlier ones says what
//! they left behind.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::failed;
use crate::domain::{Replica, ReplicaId};
use crate::store::Error;
use crate::store::record::{Damage, ReplicaRow};

/// The columns of [`read`], in its order.
const COLUMNS: &str = "replica, incarnation, address, lease_until, join_time";

/// A replica.
pub(super) fn replica(conn: &Connection, id: &ReplicaId) -> Result<Option<Arc<Replica>>, Error> {
    let failed = failed("reading a replica");
    let sql = format!("SELECT {COLUMNS} FROM replicas WHERE replica = ?1");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([id.as_str()]).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    row.map(|row| read(Columns(row)).map(Arc::new)).transpose()
}

/// Every replica, by name. One that is damaged is an error: it must not be taken for dead.
pub(super) fn replicas(conn: &Connection) -> Result<Vec<Arc<Replica>>, Error> {
    let failed = failed("listing replicas");
    let sql = format!("SELECT {COLUMNS} FROM replicas ORDER BY replica");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query(()).map_err(&failed)?;
    let mut replicas = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        replicas.push(Arc::new(read(Columns(row))?));
    }
    Ok(replicas)
}

/// Writes a replica.
pub(super) fn put(conn: &Connection, replica: &Replica) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO replicas (replica, incarnation, address, lease_until, join_time) \
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = ReplicaRow::from(replica);
    conn.prepare_cached(sql)?.execute(params![
        row.replica,
        row.incarnation,
        row.address,
        row.lease_until,
        row.join_time,
    ])?;
    Ok(())
}

/// Removes a replica.
pub(super) fn remove(conn: &Connection, id: &ReplicaId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM replicas WHERE replica = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

fn read(columns: Columns<'_>) -> Result<Replica, Error> {
    let row = || -> Result<ReplicaRow<'_>, Damage> {
        Ok(ReplicaRow {
            replica: columns.text(0)?,
            incarnation: columns.integer(1)?,
            address: columns.text(2)?,
            lease_until: columns.integer(3)?,
            join_time: columns.integer(4)?,
        })
    };
    row().and_then(Replica::try_from).map_err(|damage| {
        let id = columns.text(0).unwrap_or("?");
        Error::corrupt(format!("replica {id}"), damage)
    })
}
