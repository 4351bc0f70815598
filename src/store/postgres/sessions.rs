//! Sessions, row by row: a row comes with its log's path and its texts.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use super::logs::named_log;
use crate::domain::limits::{CASCADE_SESSIONS_MAX, IMPORT_BRANCHES_MAX};
use crate::domain::session::Texts;
use crate::domain::{Namespace, Session, SessionId, Source};
use crate::store::Child;
use crate::store::record::session::fork_columns;
use crate::store::record::{Damage, SessionRow, column, digest, number, tally};

pub(super) const STATEMENTS: &[&str] = &[
    NAMED,
    FAMILY,
    CHILDREN,
    NAMESPACES,
    IMPORTED,
    HIGHEST_FORK,
    INSERT,
    UPDATE,
    MOVE_HEADS,
    PUT_TEXTS,
    DROP_TEXTS,
    REMOVE,
];

/// The columns of [`read`], in its order, of a session `s`, its log `l` and its texts `t`.
macro_rules! columns {
    () => {
        "s.namespace, s.session_id, s.state, s.title, s.workspace, s.starred, s.parent, s.origin, s.thread_id, \
         s.labels, s.profile, s.create_time, s.update_time, s.purge_time, s.log, s.seq, s.revision, s.generation, \
         s.tally, s.preview, s.source, l.path, t.system_prompt, t.settings_json, t.metadata_json"
    };
}

/// What stands beside a session: its texts, where a condition holds.
macro_rules! joins {
    ($texts:literal) => {
        concat!(
            "LEFT JOIN logs AS l ON l.log = s.log LEFT JOIN session_texts AS t ON ",
            $texts,
            " AND t.namespace = s.namespace AND t.session_id = s.session_id"
        )
    };
}

pub(super) const COLUMNS: &str = columns!();
pub(super) const JOINS: &str = joins!("true");
pub(super) const JOINS_OF_HITS: &str = joins!("s.hit");

/// How many columns there are.
pub(super) const COLUMNS_COUNT: usize = 25;

pub(super) const NAMED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::text[], $2::text[]) AS k (ns, id) \
      JOIN sessions AS s ON s.namespace = k.ns AND s.session_id = k.id ",
    joins!("true")
);

/// A session's name.
pub(super) type Name = (Namespace, SessionId);

/// These sessions, deleted ones included.
pub(super) async fn sessions(
    conn: &Conn,
    names: &[Name],
) -> Result<HashMap<Name, Result<Arc<Session>, Fault>>, Fault> {
    let namespaces: Vec<&str> = names.iter().map(|(ns, _)| ns.as_str()).collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let rows = conn
        .rows("reading a session", NAMED, &[&namespaces, &ids])
        .await?;
    let mut sessions = HashMap::new();
    for row in &rows {
        let columns = Columns(row);
        let name = || -> Result<Name, Damage> {
            let id = SessionId::parse(columns.text(1)?, "session_id")?;
            Ok((Namespace::parse(columns.text(0)?)?, id))
        };
        // It was asked for by this name.
        if let Ok(name) = name() {
            sessions.insert(name, read(columns).map(Arc::new));
        }
    }
    Ok(sessions)
}

/// A session, deleted ones included.
pub(super) async fn session(
    conn: &Conn,
    ns: &Namespace,
    id: &SessionId,
) -> Result<Option<Arc<Session>>, Fault> {
    let name = (ns.clone(), id.clone());
    let mut found = sessions(conn, std::slice::from_ref(&name)).await?;
    found.remove(&name).transpose()
}

/// The session of a row.
pub(super) fn read(columns: Columns<'_>) -> Result<Session, Fault> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Fault::damaged(format!("session {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let log = named_log(row.log, columns.maybe_blob(21).map_err(damaged)?)?;
    let texts = texts_of(columns).map_err(damaged)?;
    row.session(log, Arc::new(texts)).map_err(damaged)
}

fn texts_of(columns: Columns<'_>) -> Result<Texts, Damage> {
    let text =
        |at| -> Result<String, Damage> { Ok(columns.maybe_written(at)?.unwrap_or_default().to_owned()) };
    Ok(Texts {
        system_prompt: text(22)?,
        settings_json: text(23)?,
        metadata_json: text(24)?,
    })
}

fn row_of(columns: Columns<'_>) -> Result<SessionRow<'_>, Damage> {
    Ok(SessionRow {
        namespace: columns.text(0)?,
        session_id: columns.text(1)?,
        state: columns.integer(2)?,
        title: columns.written(3)?,
        workspace: columns.written(4)?,
        starred: columns.flag(5)?,
        parent: columns.maybe_text(6)?,
        origin: columns.maybe_text(7)?,
        thread_id: columns.maybe_text(8)?,
        labels: columns.text(9)?.into(),
        profile: columns.text(10)?.into(),
        create_time: columns.integer(11)?,
        update_time: columns.integer(12)?,
        purge_time: columns.maybe_integer(13)?,
        log: columns.blob(14)?,
        seq: columns.integer(15)?,
        revision: columns.integer(16)?,
        generation: columns.integer(17)?,
        tally: columns.blob(18)?.into(),
        preview: columns.written(19)?,
        source: columns.maybe_text(20)?,
    })
}

/// `OFFSET 0` keeps the planner from walking all sub-sessions of a namespace for each member.
const FAMILY: &str = "WITH RECURSIVE family (id) AS ( \
        SELECT session_id FROM sessions WHERE namespace = $1 AND parent = $2 \
        UNION SELECT s.session_id FROM family CROSS JOIN LATERAL ( \
            SELECT session_id FROM sessions WHERE namespace = $1 AND parent = family.id OFFSET 0) AS s) \
    SELECT id FROM family LIMIT $3";

/// All descendants of a session, one more than a deletion takes at most.
pub(super) async fn family(conn: &Conn, ns: &Namespace, id: &SessionId) -> Result<Vec<SessionId>, Fault> {
    let limit = column(CASCADE_SESSIONS_MAX as u64 + 1);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&ns.as_str(), &id.as_str(), &limit];
    let rows = conn.rows("looking for sub-sessions", FAMILY, &values).await?;
    ids(&rows).map_err(|damage| Fault::damaged(format!("a sub-session of {id}"), damage))
}

fn ids(rows: &[Row]) -> Result<Vec<SessionId>, Damage> {
    let id = |row| Ok(SessionId::parse(Columns(row).text(0)?, "session_id")?);
    rows.iter().map(id).collect()
}

macro_rules! below {
    () => {
        "EXISTS (SELECT 1 FROM sessions AS b WHERE b.namespace = $1 AND b.origin = s.session_id) \
         OR EXISTS (SELECT 1 FROM sessions AS b WHERE b.namespace = $1 AND b.parent = s.session_id \
            AND b.origin IS NULL)"
    };
}

const CHILDREN: &str = concat!(
    "SELECT ",
    columns!(),
    ", ",
    below!(),
    " FROM ((SELECT * FROM sessions WHERE namespace = $1 AND origin = $2 AND session_id > $3 \
        ORDER BY session_id LIMIT $4) \
      UNION ALL (SELECT * FROM sessions WHERE namespace = $1 AND parent = $2 AND origin IS NULL \
        AND session_id > $3 ORDER BY session_id LIMIT $4)) AS s \
      LEFT JOIN logs AS l ON l.log = s.log \
      LEFT JOIN session_texts AS t ON false ORDER BY s.session_id LIMIT $4"
);

/// Sessions right below another one by id: its forks, and its sub-sessions. One that is damaged is an id alone.
pub(super) async fn children(
    conn: &Conn,
    ns: &Namespace,
    id: &SessionId,
    after: Option<&SessionId>,
    rows_max: usize,
) -> Result<Vec<Child>, Fault> {
    let after = after.map_or("", SessionId::as_str);
    let limit = column(rows_max as u64);
    let rows = conn
        .rows(
            "reading a tree",
            CHILDREN,
            &[&ns.as_str(), &id.as_str(), &after, &limit],
        )
        .await?;
    let mut children = Vec::new();
    for row in &rows {
        let columns = Columns(row);
        let id = columns
            .text(1)
            .and_then(|id| Ok(SessionId::parse(id, "session_id")?));
        let id = match id {
            Ok(id) => id,
            Err(damage) => {
                tracing::error!(%damage, "a damaged row is left out of a tree");
                continue;
            }
        };
        let session = match read(columns) {
            Ok(session) => Some(Arc::new(session)),
            Err(Fault::Damaged { row, reason }) => {
                tracing::error!(row, reason, "a damaged session is an id alone in a tree");
                None
            }
            Err(fault @ Fault::Database { .. }) => return Err(fault),
        };
        children.push(Child {
            id,
            session,
            has_children: columns.flag(COLUMNS_COUNT).unwrap_or(true),
        });
    }
    Ok(children)
}

const NAMESPACES: &str = "WITH RECURSIVE names (name) AS ( \
        SELECT min(namespace) FROM sessions WHERE namespace > $1 \
        UNION ALL SELECT (SELECT min(namespace) FROM sessions WHERE namespace > name) FROM names \
            WHERE name IS NOT NULL) \
    SELECT name FROM names WHERE name IS NOT NULL LIMIT $2";

/// Namespaces after `after` that have sessions. Each step seeks the next name: it costs names, not sessions.
pub(super) async fn namespaces(
    conn: &Conn,
    after: Option<&Namespace>,
    rows: usize,
) -> Result<Vec<Namespace>, Fault> {
    let after = after.map_or("", Namespace::as_str);
    let limit = column(rows as u64);
    let rows = conn
        .rows("listing namespaces", NAMESPACES, &[&after, &limit])
        .await?;
    let mut names = Vec::new();
    for row in &rows {
        let name = Columns(row).text(0).and_then(|name| Ok(Namespace::parse(name)?));
        match name {
            Ok(name) => names.push(name),
            Err(damage) => tracing::error!(%damage, "a namespace cannot be read"),
        }
    }
    Ok(names)
}

const IMPORTED: &str = "SELECT session_id FROM sessions WHERE namespace = $1 AND source_key = $2 \
    AND source = $3 ORDER BY session_id LIMIT $4";

/// The sessions that were imported from a source, by id, one more than there may be.
pub(super) async fn imported(conn: &Conn, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Fault> {
    let (key, limit) = (key(source.as_str()), column(IMPORT_BRANCHES_MAX as u64 + 1));
    let rows = conn
        .rows(
            "looking for the sessions of a source",
            IMPORTED,
            &[&ns.as_str(), &key, &source.as_str(), &limit],
        )
        .await?;
    ids(&rows).map_err(|damage| Fault::damaged(format!("a session of namespace {ns}"), damage))
}

/// The last of its index: `max` might be looked for among all of the base.
const HIGHEST_FORK: &str = "SELECT fork_number FROM sessions WHERE namespace = $1 AND title_base = $2 \
    ORDER BY fork_number DESC LIMIT 1";

/// The highest fork number among titles of a base.
pub(super) async fn highest_fork(conn: &Conn, ns: &Namespace, base: &str) -> Result<Option<u64>, Fault> {
    let operation = "looking for the highest fork number";
    let row = conn
        .row(operation, HIGHEST_FORK, &[&ns.as_str(), &base.as_bytes()])
        .await?;
    let highest = row.map_or(Ok(None), |row| Columns(&row).maybe_integer(0));
    let highest = highest.and_then(|highest| highest.map(number).transpose());
    highest.map_err(|damage| Fault::damaged(format!("a fork number of namespace {ns}"), damage))
}

/// What an index has of a text that may be too long for it: one of the same key is looked at.
pub(super) fn key(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| digest(text.as_bytes()).0.to_vec())
}

const INSERT: &str = "INSERT INTO sessions (namespace, session_id, state, title, title_base, fork_number, workspace, \
        workspace_key, starred, parent, origin, source, source_key, thread_id, labels, profile, create_time, \
        purge_time, log, path_parts, seq, revision, generation, tally, preview, update_time) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
        $23, $24, $25, $26)";

const UPDATE: &str = "UPDATE sessions SET state = $3, title = $4, title_base = $5, fork_number = $6, \
        workspace = $7, workspace_key = $8, starred = $9, parent = $10, origin = $11, source = $12, \
        source_key = $13, thread_id = $14, labels = $15, profile = $16, create_time = $17, purge_time = $18, \
        log = $19, path_parts = $20, seq = $21, revision = $22, generation = $23, tally = $24, preview = $25, \
        update_time = $26 \
    WHERE namespace = $1 AND session_id = $2 AND generation = $27 AND revision = $28";

/// Writes a session's row whole, over the one that was read.
pub(super) async fn put(conn: &Conn, session: &Session, before: Option<&Session>) -> Result<(), Fault> {
    let operation = "writing a session";
    let row = SessionRow::from(session);
    let (title_base, fork_number) = fork_columns(row.title);
    let title_base = title_base.map(String::into_bytes);
    let (workspace_key, source_key) = (key(row.workspace), row.source.and_then(key));
    let (title, workspace, preview) = (
        row.title.as_bytes(),
        row.workspace.as_bytes(),
        row.preview.as_bytes(),
    );
    let (labels, profile, tally) = (&*row.labels, &*row.profile, &*row.tally);
    let parts = path_parts(session);
    let mut values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
        &row.namespace,
        &row.session_id,
        &row.state,
        &title,
        &title_base,
        &fork_number,
        &workspace,
        &workspace_key,
        &row.starred,
        &row.parent,
        &row.origin,
        &row.source,
        &source_key,
        &row.thread_id,
        &labels,
        &profile,
        &row.create_time,
        &row.purge_time,
        &row.log,
        &parts,
        &row.seq,
        &row.revision,
        &row.generation,
        &tally,
        &preview,
        &row.update_time,
    ];
    let Some(before) = before else {
        return conn.run(operation, INSERT, &values).await.map(drop);
    };
    let (generation, revision) = (column(before.generation), column(before.revision.0));
    values.extend([
        &generation as &(dyn tokio_postgres::types::ToSql + Sync),
        &revision,
    ]);
    match conn.run(operation, UPDATE, &values).await? {
        1 => Ok(()),
        _ => Err(Fault::not_as_read(operation)),
    }
}

const MOVE_HEADS: &str = "UPDATE sessions AS s SET seq = u.seq, revision = u.revision, generation = u.generation, \
        tally = u.tally, preview = u.preview, update_time = u.update_time \
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[], \
        $8::bigint[], $9::bigint[], $10::bigint[]) \
        AS u (ns, id, seq, revision, generation, tally, preview, update_time, known_generation, known_revision) \
    WHERE s.namespace = u.ns AND s.session_id = u.id AND s.generation = u.known_generation \
        AND s.revision = u.known_revision";

/// A head that has moved, and what it was when it was read.
pub(super) type MovedHead = (Arc<Session>, Arc<Session>);

/// Writes what appends change; the logs are those which the rows have.
pub(super) async fn move_heads(conn: &Conn, heads: &[MovedHead]) -> Result<(), Fault> {
    let operation = "moving heads";
    let of = |column: fn(&Session) -> i64| heads.iter().map(|(head, _)| column(head)).collect::<Vec<i64>>();
    let known = |column: fn(&Session) -> i64| heads.iter().map(|(_, was)| column(was)).collect::<Vec<i64>>();
    let namespaces: Vec<&str> = heads.iter().map(|(head, _)| head.namespace.as_str()).collect();
    let ids: Vec<&str> = heads.iter().map(|(head, _)| head.id.as_str()).collect();
    let tallies: Vec<Vec<u8>> = heads
        .iter()
        .map(|(head, _)| tally::encode(&head.tip.tally))
        .collect();
    let previews: Vec<&[u8]> = heads.iter().map(|(head, _)| head.preview.as_bytes()).collect();
    let changed = conn
        .run(
            operation,
            MOVE_HEADS,
            &[
                &namespaces,
                &ids,
                &of(|head| column(head.tip.seq().0)),
                &of(|head| column(head.revision.0)),
                &of(|head| column(head.generation)),
                &tallies,
                &previews,
                &of(|head| head.update_time.0),
                &known(|was| column(was.generation)),
                &known(|was| column(was.revision.0)),
            ],
        )
        .await?;
    if changed == heads.len() as u64 {
        Ok(())
    } else {
        Err(Fault::not_as_read(operation))
    }
}

const PUT_TEXTS: &str = "INSERT INTO session_texts (namespace, session_id, system_prompt, settings_json, \
        metadata_json) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (namespace, session_id) DO UPDATE SET system_prompt = excluded.system_prompt, \
        settings_json = excluded.settings_json, metadata_json = excluded.metadata_json";

const DROP_TEXTS: &str = "DELETE FROM session_texts WHERE namespace = $1 AND session_id = $2";

/// Writes the large texts.
pub(super) async fn put_texts(conn: &Conn, session: &Session) -> Result<(), Fault> {
    let operation = "writing a session's texts";
    let texts = &*session.profile.texts;
    let (ns, id) = (session.namespace.as_str(), session.id.as_str());
    if *texts == Texts::default() {
        return conn.run(operation, DROP_TEXTS, &[&ns, &id]).await.map(drop);
    }
    let (prompt, settings) = (texts.system_prompt.as_bytes(), texts.settings_json.as_bytes());
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&ns, &id, &prompt, &settings, &texts.metadata_json.as_bytes()];
    conn.run(operation, PUT_TEXTS, &values).await.map(drop)
}

const REMOVE: &str = "WITH texts AS (DELETE FROM session_texts WHERE namespace = $1 AND session_id = $2) \
    DELETE FROM sessions WHERE namespace = $1 AND session_id = $2";

/// Removes a session's rows; its log is upkeep's.
pub(super) async fn remove(conn: &Conn, ns: &Namespace, id: &SessionId) -> Result<(), Fault> {
    conn.run("removing a session", REMOVE, &[&ns.as_str(), &id.as_str()])
        .await
        .map(drop)
}

fn path_parts(session: &Session) -> i64 {
    column(session.tip.log.path.parts().len() as u64)
}
