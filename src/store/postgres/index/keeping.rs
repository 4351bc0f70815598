//! Who keeps the index: the replica whose name `search_state` has, until a time of the database's clock.

use std::time::Duration;

use uuid::Uuid;

use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::record::column;

/// How long a replica keeps the index that says no more that it does.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10);

/// How often it says so.
pub(super) const RENEWS_EVERY: Duration = Duration::from_secs(1);

/// A time that is further away than any could be is of a clock that was set back since. The index is whole up to a second
/// ago where nothing is known to be missing: a write may be on its way. A database that is told to judge by the time of
/// each commit has no time of its own to say that by.
pub(super) const KEEP: &str = "UPDATE search_state AS s SET keeper = $1, kept_until = c.now + $2, \
        through = CASE WHEN $3 AND current_setting('sessiond.clock', true) IS DISTINCT FROM 'commit' \
            THEN greatest(s.through, (c.now - 1000) * 1000000) ELSE s.through END \
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS c \
    WHERE s.one AND (s.keeper = $1 OR s.kept_until <= c.now OR s.kept_until > c.now + $2)";

pub(super) const LEAVE: &str = "UPDATE search_state SET kept_until = 0 WHERE one AND keeper = $1";

pub(super) const HOLDS: &str = "SELECT one FROM search_state WHERE one AND keeper = $1 FOR UPDATE";

/// Whether the index is known to hold all that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Whole,
    Nothing,
}

/// Keeps the index from now on, or further on; `false`: another one does.
pub(super) async fn keep(conn: &Conn, name: Uuid, known: Known) -> Result<bool, Fault> {
    let kept_for = column(KEPT_FOR.as_millis() as u64);
    let is_whole = known == Known::Whole;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&name.as_bytes().as_slice(), &kept_for, &is_whole];
    Ok(conn.run("keeping the search index", KEEP, &values).await? == 1)
}

/// Whether it is this one, until the transaction is over.
pub(super) async fn holds(conn: &Conn, name: Uuid) -> Result<bool, Fault> {
    let name = name.as_bytes().as_slice();
    Ok(conn.row("indexing", HOLDS, &[&name]).await?.is_some())
}

/// Keeps it no more.
pub(super) async fn leave(conn: &Conn, name: Uuid) -> Result<(), Fault> {
    let name = name.as_bytes().as_slice();
    conn.run("leaving the search index", LEAVE, &[&name])
        .await
        .map(drop)
}
