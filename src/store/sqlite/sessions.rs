//! Sessions, row by row.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::{failed, logs};
use crate::domain::limits::{CASCADE_SESSIONS_MAX, IMPORT_BRANCHES_MAX};
use crate::domain::session::Texts;
use crate::domain::{Namespace, Session, SessionId, Source};
use crate::store::record::session::fork_columns;
use crate::store::record::{Damage, SessionRow, column, log_id, number};
use crate::store::{Child, Error};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "namespace, session_id, state, title, workspace, starred, parent, origin, \
    thread_id, labels, profile, create_time, update_time, purge_time, log, seq, revision, generation, \
    tally, preview, source";

/// How many there are.
pub(super) const COLUMNS_COUNT: usize = 21;

/// A session, deleted ones included.
pub(super) fn session(
    conn: &Connection,
    ns: &Namespace,
    id: &SessionId,
) -> Result<Option<Arc<Session>>, Error> {
    let Some(mut session) = one(conn, ns, id)? else {
        return Ok(None);
    };
    add_texts(conn, &mut session)?;
    Ok(Some(Arc::new(session)))
}

/// A session, its texts left empty.
fn one(conn: &Connection, ns: &Namespace, id: &SessionId) -> Result<Option<Session>, Error> {
    let failed = failed("reading a session");
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE namespace = ?1 AND session_id = ?2");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([ns.as_str(), id.as_str()]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    read(conn, Columns(row)).map(Some)
}

/// The session of a row, its texts left empty.
pub(super) fn read(conn: &Connection, columns: Columns<'_>) -> Result<Session, Error> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("session {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let log = logs::named_log(conn, log_id(row.log).map_err(damaged)?)?;
    row.session(log, Arc::default()).map_err(damaged)
}

/// Fills in the large texts.
pub(super) fn add_texts(conn: &Connection, session: &mut Session) -> Result<(), Error> {
    let failed = failed("reading a session's texts");
    let sql = "SELECT system_prompt, settings_json, metadata_json FROM session_texts \
               WHERE namespace = ?1 AND session_id = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let key = [session.namespace.as_str(), session.id.as_str()];
    let mut rows = statement.query(key).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(());
    };
    let columns = Columns(row);
    let text = |at| columns.text(at).map(str::to_owned);
    let texts = || -> Result<Texts, Damage> {
        Ok(Texts {
            system_prompt: text(0)?,
            settings_json: text(1)?,
            metadata_json: text(2)?,
        })
    };
    let texts = texts().map_err(|damage| {
        Error::corrupt(
            format!("session {} of namespace {}", session.id, session.namespace),
            damage,
        )
    })?;
    Arc::make_mut(&mut session.profile).texts = Arc::new(texts);
    Ok(())
}

fn row_of(columns: Columns<'_>) -> Result<SessionRow<'_>, Damage> {
    Ok(SessionRow {
        namespace: columns.text(0)?,
        session_id: columns.text(1)?,
        state: columns.integer(2)?,
        title: columns.text(3)?,
        workspace: columns.text(4)?,
        starred: columns.integer(5)? != 0,
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
        preview: columns.text(19)?,
        source: columns.maybe_text(20)?,
    })
}

/// All descendants of a session, one more than a deletion takes at most.
pub(super) fn family(conn: &Connection, ns: &Namespace, id: &SessionId) -> Result<Vec<SessionId>, Error> {
    let failed = failed("looking for sub-sessions");
    let sql = "WITH RECURSIVE family (id) AS ( \
        SELECT session_id FROM sessions WHERE namespace = ?1 AND parent = ?2 \
        UNION SELECT session_id FROM family JOIN sessions ON namespace = ?1 AND parent = family.id) \
        SELECT id FROM family LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let limit = column(CASCADE_SESSIONS_MAX as u64 + 1);
    let mut rows = statement
        .query(params![ns.as_str(), id.as_str(), limit])
        .map_err(&failed)?;
    let mut family = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let member = Columns(row)
            .text(0)
            .and_then(|member| Ok(SessionId::parse(member, "session_id")?));
        family.push(member.map_err(|damage| Error::corrupt(format!("a sub-session of {id}"), damage))?);
    }
    Ok(family)
}

/// Sessions right below another one by id: its forks, and its sub-sessions. Indexes alone say which they are, so one
/// that cannot be read is told by its id.
pub(super) fn children(
    conn: &Connection,
    ns: &Namespace,
    id: &SessionId,
    after: Option<&SessionId>,
    rows_max: usize,
) -> Result<Vec<Child>, Error> {
    let failed = failed("reading a tree");
    let sql = "SELECT session_id, 0 FROM sessions INDEXED BY sessions_by_origin \
         WHERE namespace = ?1 AND origin = ?2 AND session_id > ?3 \
         UNION ALL SELECT session_id, 1 FROM sessions INDEXED BY sessions_by_parent \
         WHERE namespace = ?1 AND parent = ?2 AND session_id > ?3 ORDER BY session_id";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let after = after.map_or("", SessionId::as_str);
    let mut rows = statement
        .query([ns.as_str(), id.as_str(), after])
        .map_err(&failed)?;
    let mut children: Vec<Child> = Vec::new();
    while children.len() < rows_max
        && let Some(row) = rows.next().map_err(&failed)?
    {
        let columns = Columns(row);
        let child = columns
            .text(0)
            .and_then(|id| Ok(SessionId::parse(id, "session_id")?));
        let (child, by_parent) = match (child, columns.integer(1)) {
            (Ok(child), Ok(by)) => (child, by == 1),
            (Err(damage), _) | (_, Err(damage)) => {
                tracing::error!(%damage, "a damaged row is left out of a tree");
                continue;
            }
        };
        // A fork that is a part of something, too, hangs below what it was forked from.
        if by_parent && is_fork(conn, ns, &child) || children.last().is_some_and(|last| last.id == child) {
            continue;
        }
        let session = match one(conn, ns, &child) {
            Ok(Some(session)) => Some(Arc::new(session)),
            Ok(None) => continue,
            Err(Error::Corrupt { row, reason }) => {
                tracing::error!(row, reason, "a damaged session is an id alone in a tree");
                None
            }
            Err(error) => return Err(error),
        };
        children.push(Child {
            has_children: has_children(conn, ns, &child)?,
            id: child,
            session,
        });
    }
    Ok(children)
}

/// Whether a session has an origin; one of which that cannot be read is shown wherever it may hang.
fn is_fork(conn: &Connection, ns: &Namespace, id: &SessionId) -> bool {
    let sql = "SELECT origin IS NOT NULL FROM sessions WHERE namespace = ?1 AND session_id = ?2";
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([ns.as_str(), id.as_str()], |row| row.get(0)));
    found.unwrap_or(false)
}

/// Whether anything hangs below a session; where that cannot be read, it is looked for.
fn has_children(conn: &Connection, ns: &Namespace, id: &SessionId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_by_origin \
            WHERE namespace = ?1 AND origin = ?2) \
        OR EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_by_parent \
            WHERE namespace = ?1 AND parent = ?2 AND origin IS NULL)";
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([ns.as_str(), id.as_str()], |row| row.get(0)))
        .map_err(failed("reading a tree"));
    match found {
        Err(Error::Corrupt { .. }) => Ok(true),
        other => other,
    }
}

/// Namespaces after `after` that have sessions. Each step seeks the next name: it costs names, not sessions.
pub(super) fn namespaces(
    conn: &Connection,
    after: Option<&Namespace>,
    rows: usize,
) -> Result<Vec<Namespace>, Error> {
    let failed = failed("listing namespaces");
    let sql = "WITH RECURSIVE names (name) AS ( \
        SELECT min(namespace) FROM sessions WHERE namespace > ?1 \
        UNION ALL SELECT (SELECT min(namespace) FROM sessions WHERE namespace > name) FROM names \
            WHERE name IS NOT NULL) \
        SELECT name FROM names WHERE name IS NOT NULL LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let after = after.map_or("", Namespace::as_str);
    let mut found = statement
        .query(params![after, column(rows as u64)])
        .map_err(&failed)?;
    let mut names = Vec::new();
    while let Some(row) = found.next().map_err(&failed)? {
        let name = Columns(row).text(0).and_then(|name| Ok(Namespace::parse(name)?));
        match name {
            Ok(name) => names.push(name),
            Err(damage) => tracing::error!(%damage, "a namespace cannot be read"),
        }
    }
    Ok(names)
}

/// The sessions that were imported from a source, by id, one more than there may be.
pub(super) fn imported(conn: &Connection, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error> {
    let failed = failed("looking for the sessions of a source");
    let sql = "SELECT session_id FROM sessions WHERE namespace = ?1 AND source = ?2 \
               ORDER BY session_id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let limit = column(IMPORT_BRANCHES_MAX as u64 + 1);
    let mut rows = statement
        .query(params![ns.as_str(), source.as_str(), limit])
        .map_err(&failed)?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let id = Columns(row)
            .text(0)
            .and_then(|id| Ok(SessionId::parse(id, "session_id")?));
        ids.push(id.map_err(|damage| Error::corrupt(format!("a session of namespace {ns}"), damage))?);
    }
    Ok(ids)
}

/// The highest fork number among titles of a base.
pub(super) fn highest_fork(conn: &Connection, ns: &Namespace, base: &str) -> Result<Option<u64>, Error> {
    let sql = "SELECT max(fork_number) FROM sessions WHERE namespace = ?1 AND title_base = ?2";
    let highest: Option<i64> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([ns.as_str(), base], |row| row.get(0)))
        .map_err(failed("looking for the highest fork number"))?;
    let highest = highest.map(number).transpose();
    highest.map_err(|damage| Error::corrupt(format!("a fork number of namespace {ns}"), damage))
}

/// Writes a session's row whole.
pub(super) fn put(conn: &Connection, session: &Session) -> rusqlite::Result<()> {
    let sql = "INSERT INTO sessions (namespace, session_id, state, title, title_base, fork_number, \
        workspace, starred, parent, origin, thread_id, labels, profile, create_time, purge_time, log, \
        path_parts, seq, revision, generation, tally, preview, update_time, source) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
        ?21, ?22, ?23, ?24) \
        ON CONFLICT DO UPDATE SET state = excluded.state, title = excluded.title, \
        title_base = excluded.title_base, fork_number = excluded.fork_number, \
        workspace = excluded.workspace, starred = excluded.starred, parent = excluded.parent, \
        origin = excluded.origin, source = excluded.source, thread_id = excluded.thread_id, labels = excluded.labels, \
        profile = excluded.profile, create_time = excluded.create_time, \
        purge_time = excluded.purge_time, log = excluded.log, path_parts = excluded.path_parts, \
        seq = excluded.seq, revision = excluded.revision, generation = excluded.generation, \
        tally = excluded.tally, preview = excluded.preview, update_time = excluded.update_time";
    let row = SessionRow::from(session);
    let (title_base, fork_number) = fork_columns(row.title);
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.session_id,
        row.state,
        row.title,
        title_base,
        fork_number,
        row.workspace,
        row.starred,
        row.parent,
        row.origin,
        row.thread_id,
        row.labels,
        row.profile,
        row.create_time,
        row.purge_time,
        row.log,
        path_parts(session),
        row.seq,
        row.revision,
        row.generation,
        row.tally,
        row.preview,
        row.update_time,
        row.source,
    ])?;
    Ok(())
}

/// Writes what an append changes; the log is that which the row has.
pub(super) fn move_head(conn: &Connection, session: &Session, tally: &[u8]) -> rusqlite::Result<()> {
    let sql = "UPDATE sessions SET seq = ?3, revision = ?4, generation = ?5, tally = ?6, preview = ?7, \
        update_time = ?8 WHERE namespace = ?1 AND session_id = ?2";
    let changed = conn.prepare_cached(sql)?.execute(params![
        session.namespace.as_str(),
        session.id.as_str(),
        column(session.tip.seq().0),
        column(session.revision.0),
        column(session.generation),
        tally,
        session.preview,
        session.update_time.0,
    ])?;
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed))
    }
}

/// Writes the large texts.
pub(super) fn put_texts(conn: &Connection, session: &Session) -> rusqlite::Result<()> {
    let texts = &*session.profile.texts;
    let key = [session.namespace.as_str(), session.id.as_str()];
    if *texts == Texts::default() {
        let sql = "DELETE FROM session_texts WHERE namespace = ?1 AND session_id = ?2";
        conn.prepare_cached(sql)?.execute(key)?;
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO session_texts \
        (namespace, session_id, system_prompt, settings_json, metadata_json) VALUES (?1, ?2, ?3, ?4, ?5)";
    let [ns, id] = key;
    let values = params![
        ns,
        id,
        texts.system_prompt,
        texts.settings_json,
        texts.metadata_json
    ];
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Removes a session's rows; its log is upkeep's.
pub(super) fn remove(conn: &Connection, ns: &Namespace, id: &SessionId) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM sessions WHERE namespace = ?1 AND session_id = ?2",
        "DELETE FROM session_texts WHERE namespace = ?1 AND session_id = ?2",
    ] {
        conn.prepare_cached(sql)?.execute([ns.as_str(), id.as_str()])?;
    }
    Ok(())
}

fn path_parts(session: &Session) -> i64 {
    column(session.tip.log.path.parts().len() as u64)
}
