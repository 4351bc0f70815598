//! Replicas, row by row, and the database's clock, by which their leases are judged: those of replicas may differ.

use std::sync::Arc;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::{Replica, ReplicaId, Time};
use crate::store::record::{Damage, ReplicaRow};

pub(super) const STATEMENTS: &[&str] = &[ONE, ALL, PUT, REMOVE];

/// Nanoseconds by the database's clock; null where a session is told to judge by the time of each commit, as tests do
/// whose time is made up.
macro_rules! clock {
    () => {
        "(SELECT CASE WHEN current_setting('sessiond.clock', true) = 'commit' THEN NULL \
          ELSE (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 END AS clock) AS c"
    };
}

macro_rules! columns {
    () => {
        "c.clock, r.replica, r.incarnation, r.address, r.lease_until, r.join_time"
    };
}

const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM ",
    clock!(),
    " LEFT JOIN replicas AS r ON r.replica = $1"
);

const ALL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM ",
    clock!(),
    " LEFT JOIN replicas AS r ON true ORDER BY r.replica"
);

/// A replica, and the time by the database's clock.
pub(super) async fn replica(
    conn: &Conn,
    id: &ReplicaId,
) -> Result<(Option<Arc<Replica>>, Option<Time>), Fault> {
    let row = conn.row("reading a replica", ONE, &[&id.as_str()]).await?;
    let Some(row) = row else {
        return Err(Fault::damaged("a replica", Damage::new("no time was said")));
    };
    let columns = Columns(&row);
    Ok((read(columns)?.map(Arc::new), clock(columns)?))
}

/// Every replica by name, and the time by the database's clock. One that is damaged is an error: it must not be taken
/// for dead.
pub(super) async fn replicas(conn: &Conn) -> Result<(Vec<Arc<Replica>>, Option<Time>), Fault> {
    let rows = conn.rows("listing replicas", ALL, &[]).await?;
    let (mut replicas, mut time) = (Vec::new(), None);
    for row in &rows {
        let columns = Columns(row);
        time = clock(columns)?;
        replicas.extend(read(columns)?.map(Arc::new));
    }
    Ok((replicas, time))
}

const PUT: &str = "INSERT INTO replicas (replica, incarnation, address, lease_until, join_time) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (replica) DO UPDATE SET incarnation = excluded.incarnation, \
        address = excluded.address, lease_until = excluded.lease_until, join_time = excluded.join_time";

/// Writes a replica.
pub(super) async fn put(conn: &Conn, replica: &Replica) -> Result<(), Fault> {
    let row = ReplicaRow::from(replica);
    conn.run(
        "writing a replica",
        PUT,
        &[
            &row.replica,
            &row.incarnation,
            &row.address.as_bytes(),
            &row.lease_until,
            &row.join_time,
        ],
    )
    .await
    .map(drop)
}

const REMOVE: &str = "DELETE FROM replicas WHERE replica = $1";

/// Removes a replica.
pub(super) async fn remove(conn: &Conn, id: &ReplicaId) -> Result<(), Fault> {
    conn.run("removing a replica", REMOVE, &[&id.as_str()])
        .await
        .map(drop)
}

fn clock(columns: Columns<'_>) -> Result<Option<Time>, Fault> {
    let time = columns.maybe_integer(0);
    let time = time.map_err(|damage| Fault::damaged("the time", damage))?;
    Ok(time.map(Time))
}

fn read(columns: Columns<'_>) -> Result<Option<Replica>, Fault> {
    let row = || -> Result<Option<ReplicaRow<'_>>, Damage> {
        let Some(replica) = columns.maybe_text(1)? else {
            return Ok(None);
        };
        Ok(Some(ReplicaRow {
            replica,
            incarnation: columns.integer(2)?,
            address: columns.written(3)?,
            lease_until: columns.integer(4)?,
            join_time: columns.integer(5)?,
        }))
    };
    let replica = row().and_then(|row| row.map(Replica::try_from).transpose());
    replica.map_err(|damage| {
        let id = columns.maybe_text(1).ok().flatten().unwrap_or("?");
        Fault::damaged(format!("replica {id}"), damage)
    })
}
