//! The heads that sessions have left.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::{failed, logs};
use crate::domain::{Namespace, PastHead, Revision, SessionId, Time, Tip};
use crate::store::Error;
use crate::store::record::{Damage, column, log_id, number, tally};

/// A head that a session has left.
pub(super) fn past_head(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    revision: Revision,
) -> Result<Option<Arc<PastHead>>, Error> {
    let failed = failed("reading a past head");
    let sql = "SELECT revision, log, tally, incomplete_turn, time FROM past_heads \
               WHERE namespace = ?1 AND session_id = ?2 AND revision = ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![ns.as_str(), session.as_str(), column(revision.0)];
    let mut rows = statement.query(values).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    read(conn, ns, session, Columns(row)).map(Some)
}

/// Heads that a session has left, those before a revision, the newest first. One that is damaged is left out.
pub(super) fn past_heads(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    before: Option<Revision>,
    rows_max: usize,
) -> Result<Vec<Arc<PastHead>>, Error> {
    let failed = failed("listing past heads");
    let sql = "SELECT revision, log, tally, incomplete_turn, time FROM past_heads \
               WHERE namespace = ?1 AND session_id = ?2 AND revision < ?3 ORDER BY revision DESC";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let before = before.map_or(i64::MAX, |before| column(before.0));
    let mut rows = statement
        .query(params![ns.as_str(), session.as_str(), before])
        .map_err(&failed)?;
    let mut heads = Vec::new();
    while heads.len() < rows_max
        && let Some(row) = rows.next().map_err(&failed)?
    {
        match read(conn, ns, session, Columns(row)) {
            Ok(head) => heads.push(head),
            Err(Error::Corrupt { row, reason }) => {
                tracing::error!(row, reason, "a damaged row is left out of a list");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(heads)
}

/// The past head of a row.
pub(super) fn read(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    columns: Columns<'_>,
) -> Result<Arc<PastHead>, Error> {
    let revision = columns.integer(0).unwrap_or_default();
    let damaged = |damage: Damage| {
        Error::corrupt(
            format!("revision {revision} of session {session} of namespace {ns}"),
            damage,
        )
    };
    let log = columns.blob(1).and_then(log_id).map_err(damaged)?;
    let tip = Tip {
        log: logs::named_log(conn, log)?,
        tally: columns.blob(2).and_then(tally::decode).map_err(damaged)?,
    };
    Ok(Arc::new(PastHead {
        namespace: ns.clone(),
        session: session.clone(),
        revision: Revision(number(revision).map_err(damaged)?),
        tip,
        incomplete_turn: columns.integer(3).map_err(damaged)? != 0,
        time: Time(columns.integer(4).map_err(damaged)?),
    }))
}

/// Keeps the head that a session leaves.
pub(super) fn put(conn: &Connection, head: &PastHead) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO past_heads (namespace, session_id, revision, log, tally, \
               incomplete_turn, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    conn.prepare_cached(sql)?.execute(params![
        head.namespace.as_str(),
        head.session.as_str(),
        column(head.revision.0),
        head.tip.log.id.0.as_bytes(),
        tally::encode(&head.tip.tally),
        head.incomplete_turn,
        head.time.0,
    ])?;
    Ok(())
}

/// Forgets the heads of a session, all or one, and leaves their logs to the sweep.
pub(super) fn remove(
    conn: &Connection,
    ns: &Namespace,
    session: &SessionId,
    revision: Option<Revision>,
    time: Time,
) -> rusqlite::Result<()> {
    let revision = revision.map(|revision| column(revision.0));
    let heads = "namespace = ?1 AND session_id = ?2 AND revision = ifnull(?3, revision)";
    let loosen = format!(
        "INSERT OR REPLACE INTO loose (log, since) SELECT DISTINCT log, ?4 FROM past_heads WHERE {heads}"
    );
    conn.prepare_cached(&loosen)?
        .execute(params![ns.as_str(), session.as_str(), revision, time.0])?;
    conn.prepare_cached(&format!("DELETE FROM past_heads WHERE {heads}"))?
        .execute(params![ns.as_str(), session.as_str(), revision])?;
    Ok(())
}
