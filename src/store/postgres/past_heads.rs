//! The heads that sessions have left.

use std::sync::Arc;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use super::logs::named_log;
use crate::domain::{LogId, Namespace, PastHead, Revision, SessionId, Time, Tip};
use crate::store::record::{Damage, column, log_id, number, tally};

pub(super) const STATEMENTS: &[&str] = &[ONE, BEFORE, PUT, LOGS, DROP];

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT s.revision, s.log, s.tally, s.incomplete_turn, s.time, l.path \
             FROM past_heads AS s LEFT JOIN logs AS l ON l.log = s.log \
             WHERE s.namespace = $1 AND s.session_id = $2 AND ",
            $condition
        )
    };
}

const ONE: &str = select!("s.revision = $3");
const BEFORE: &str = select!("s.revision < $3 ORDER BY s.revision DESC LIMIT $4");

/// A head that a session has left.
pub(super) async fn past_head(
    conn: &Conn,
    ns: &Namespace,
    session: &SessionId,
    revision: Revision,
) -> Result<Option<Arc<PastHead>>, Fault> {
    let row = conn
        .row(
            "reading a past head",
            ONE,
            &[&ns.as_str(), &session.as_str(), &column(revision.0)],
        )
        .await?;
    row.map(|row| read(ns, session, Columns(&row))).transpose()
}

/// Heads that a session has left, those before a revision, the newest first. One that is damaged is left out.
pub(super) async fn past_heads(
    conn: &Conn,
    ns: &Namespace,
    session: &SessionId,
    before: Option<Revision>,
    rows_max: usize,
) -> Result<Vec<Arc<PastHead>>, Fault> {
    let before = before.map_or(i64::MAX, |before| column(before.0));
    let limit = column(rows_max as u64);
    let rows = conn
        .rows(
            "listing past heads",
            BEFORE,
            &[&ns.as_str(), &session.as_str(), &before, &limit],
        )
        .await?;
    let mut heads = Vec::new();
    for row in &rows {
        match read(ns, session, Columns(row)) {
            Ok(head) => heads.push(head),
            Err(Fault::Damaged { row, reason }) => {
                tracing::error!(row, reason, "a damaged row is left out of a list");
            }
            Err(fault @ Fault::Database { .. }) => return Err(fault),
        }
    }
    Ok(heads)
}

/// The past head of a row.
pub(super) fn read(
    ns: &Namespace,
    session: &SessionId,
    columns: Columns<'_>,
) -> Result<Arc<PastHead>, Fault> {
    let revision = columns.integer(0).unwrap_or_default();
    let damaged = |damage: Damage| {
        Fault::damaged(
            format!("revision {revision} of session {session} of namespace {ns}"),
            damage,
        )
    };
    let path = columns.maybe_blob(5).map_err(damaged)?;
    let tip = Tip {
        log: named_log(columns.blob(1).map_err(damaged)?, path)?,
        tally: columns.blob(2).and_then(tally::decode).map_err(damaged)?,
    };
    Ok(Arc::new(PastHead {
        namespace: ns.clone(),
        session: session.clone(),
        revision: Revision(number(revision).map_err(damaged)?),
        tip,
        incomplete_turn: columns.flag(3).map_err(damaged)?,
        time: Time(columns.integer(4).map_err(damaged)?),
    }))
}

const PUT: &str = "INSERT INTO past_heads (namespace, session_id, revision, log, tally, incomplete_turn, time) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (namespace, session_id, revision) DO UPDATE SET log = excluded.log, tally = excluded.tally, \
        incomplete_turn = excluded.incomplete_turn, time = excluded.time";

/// Keeps the head that a session leaves.
pub(super) async fn put(conn: &Conn, head: &PastHead) -> Result<(), Fault> {
    conn.run(
        "writing a past head",
        PUT,
        &[
            &head.namespace.as_str(),
            &head.session.as_str(),
            &column(head.revision.0),
            &head.tip.log.id.0.as_bytes().as_slice(),
            &tally::encode(&head.tip.tally),
            &head.incomplete_turn,
            &head.time.0,
        ],
    )
    .await
    .map(drop)
}

/// A range, for the index goes by no `coalesce` of its own column.
const LOGS: &str = "SELECT DISTINCT k.place, p.log \
    FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS k (ns, id, revision, place) \
    JOIN past_heads AS p ON p.namespace = k.ns AND p.session_id = k.id \
        AND p.revision >= coalesce(k.revision, 0) AND p.revision <= coalesce(k.revision, 9223372036854775807) \
    ORDER BY k.place";

/// Heads of a session, all or one.
pub(super) type Left<'a> = (&'a Namespace, &'a SessionId, Option<Revision>);

/// The logs that such heads name, each with the place of those among all.
pub(super) async fn logs(conn: &Conn, left: &[Left<'_>]) -> Result<Vec<(usize, LogId)>, Fault> {
    let namespaces: Vec<&str> = left.iter().map(|(ns, ..)| ns.as_str()).collect();
    let sessions: Vec<&str> = left.iter().map(|(_, session, _)| session.as_str()).collect();
    let revision = |left: &Left<'_>| left.2.map(|revision| column(revision.0));
    let revisions: Vec<Option<i64>> = left.iter().map(revision).collect();
    let rows = conn
        .rows(
            "looking for past heads",
            LOGS,
            &[&namespaces, &sessions, &revisions],
        )
        .await?;
    let mut logs = Vec::with_capacity(rows.len());
    for row in &rows {
        let columns = Columns(row);
        let place = columns
            .integer(0)
            .ok()
            .and_then(|place| usize::try_from(place - 1).ok());
        let Some((place, (_, session, _))) = place.and_then(|place| Some((place, left.get(place)?))) else {
            continue;
        };
        let damaged = |damage: Damage| Fault::damaged(format!("a past head of session {session}"), damage);
        logs.push((place, columns.blob(1).and_then(log_id).map_err(damaged)?));
    }
    Ok(logs)
}

/// A range, as above.
const DROP: &str = "DELETE FROM past_heads \
    WHERE namespace = $1 AND session_id = $2 \
        AND revision >= coalesce($3::bigint, 0) AND revision <= coalesce($3::bigint, 9223372036854775807)";

/// Forgets the heads of a session, all or one.
pub(super) async fn remove(
    conn: &Conn,
    ns: &Namespace,
    session: &SessionId,
    revision: Option<Revision>,
) -> Result<(), Fault> {
    let revision = revision.map(|revision| column(revision.0));
    conn.run(
        "forgetting past heads",
        DROP,
        &[&ns.as_str(), &session.as_str(), &revision],
    )
    .await
    .map(drop)
}
