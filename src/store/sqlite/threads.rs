//! Threads, row by row.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::{failed, logs};
use crate::domain::thread::Texts;
use crate::domain::{Namespace, Thread, ThreadId};
use crate::store::Error;
use crate::store::record::{Damage, ThreadRow, log_id};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "namespace, thread_id, journal, base_log, base_tally, state, session, engine, \
    profile, create_time, update_time, epoch, active_turn, turns, items, open_items, change, marks";

/// How many there are.
pub(super) const COLUMNS_COUNT: usize = 18;

/// A thread.
pub(super) fn thread(conn: &Connection, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error> {
    let failed = failed("reading a thread");
    let sql = format!("SELECT {COLUMNS} FROM threads WHERE namespace = ?1 AND thread_id = ?2");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([ns.as_str(), id.as_str()]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    let mut thread = read(conn, Columns(row))?;
    add_texts(conn, &mut thread)?;
    Ok(Some(Arc::new(thread)))
}

/// The thread of a row, its texts left empty.
pub(super) fn read(conn: &Connection, columns: Columns<'_>) -> Result<Thread, Error> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Error::corrupt(format!("thread {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let base_log = row.base_log.map(log_id).transpose().map_err(damaged)?;
    let base_log = base_log.map(|id| logs::named_log(conn, id)).transpose()?;
    row.thread(base_log, Arc::default()).map_err(damaged)
}

/// Fills in the large texts.
pub(super) fn add_texts(conn: &Connection, thread: &mut Thread) -> Result<(), Error> {
    let failed = failed("reading a thread's texts");
    let sql = "SELECT system_prompt, settings_json FROM thread_texts WHERE namespace = ?1 AND thread_id = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement
        .query([thread.namespace.as_str(), thread.id.as_str()])
        .map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(());
    };
    let columns = Columns(row);
    let text = |at| columns.text(at).map(str::to_owned);
    let texts = || -> Result<Texts, Damage> {
        Ok(Texts {
            system_prompt: text(0)?,
            settings_json: text(1)?,
        })
    };
    let texts = texts().map_err(|damage| {
        Error::corrupt(
            format!("thread {} of namespace {}", thread.id, thread.namespace),
            damage,
        )
    })?;
    Arc::make_mut(&mut thread.profile).texts = Arc::new(texts);
    Ok(())
}

fn row_of(columns: Columns<'_>) -> Result<ThreadRow<'_>, Damage> {
    Ok(ThreadRow {
        namespace: columns.text(0)?,
        thread_id: columns.text(1)?,
        journal: columns.blob(2)?,
        base_log: columns.maybe_blob(3)?,
        base_tally: columns.maybe_blob(4)?.map(Into::into),
        state: columns.integer(5)?,
        session: columns.maybe_text(6)?,
        engine: columns.maybe_text(7)?,
        profile: columns.text(8)?.into(),
        create_time: columns.integer(9)?,
        update_time: columns.integer(10)?,
        epoch: columns.integer(11)?,
        active_turn: columns.maybe_text(12)?,
        turns: columns.integer(13)?,
        items: columns.integer(14)?,
        open_items: columns.integer(15)?,
        change: columns.integer(16)?,
        marks: columns.text(17)?.into(),
    })
}

/// Writes a thread's row whole.
pub(super) fn put(conn: &Connection, thread: &Thread) -> rusqlite::Result<()> {
    let sql = "INSERT INTO threads (namespace, thread_id, journal, base_log, base_tally, state, session, \
        engine, profile, create_time, update_time, epoch, active_turn, turns, items, open_items, change, \
        marks) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
        ON CONFLICT DO UPDATE SET journal = excluded.journal, base_log = excluded.base_log, \
        base_tally = excluded.base_tally, state = excluded.state, session = excluded.session, \
        engine = excluded.engine, profile = excluded.profile, create_time = excluded.create_time, \
        update_time = excluded.update_time, epoch = excluded.epoch, active_turn = excluded.active_turn, \
        turns = excluded.turns, items = excluded.items, open_items = excluded.open_items, \
        change = excluded.change, marks = excluded.marks";
    let row = ThreadRow::from(thread);
    conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.thread_id,
        row.journal,
        row.base_log,
        row.base_tally,
        row.state,
        row.session,
        row.engine,
        row.profile,
        row.create_time,
        row.update_time,
        row.epoch,
        row.active_turn,
        row.turns,
        row.items,
        row.open_items,
        row.change,
        row.marks,
    ])?;
    Ok(())
}

/// Writes what a turn changes: no index but that by time has it.
pub(super) fn advance(conn: &Connection, thread: &Thread) -> rusqlite::Result<()> {
    let sql = "UPDATE threads SET update_time = ?3, active_turn = ?4, turns = ?5, items = ?6, \
        open_items = ?7, change = ?8, marks = ?9 WHERE namespace = ?1 AND thread_id = ?2";
    let row = ThreadRow::from(thread);
    let changed = conn.prepare_cached(sql)?.execute(params![
        row.namespace,
        row.thread_id,
        row.update_time,
        row.active_turn,
        row.turns,
        row.items,
        row.open_items,
        row.change,
        row.marks,
    ])?;
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed))
    }
}

/// Writes the large texts.
pub(super) fn put_texts(conn: &Connection, thread: &Thread) -> rusqlite::Result<()> {
    let texts = &*thread.profile.texts;
    let [ns, id] = [thread.namespace.as_str(), thread.id.as_str()];
    if *texts == Texts::default() {
        let sql = "DELETE FROM thread_texts WHERE namespace = ?1 AND thread_id = ?2";
        conn.prepare_cached(sql)?.execute([ns, id])?;
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO thread_texts (namespace, thread_id, system_prompt, settings_json) \
        VALUES (?1, ?2, ?3, ?4)";
    conn.prepare_cached(sql)?
        .execute(params![ns, id, texts.system_prompt, texts.settings_json])?;
    Ok(())
}

/// Removes a thread's rows; its journal is upkeep's.
pub(super) fn remove(conn: &Connection, ns: &Namespace, id: &ThreadId) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM threads WHERE namespace = ?1 AND thread_id = ?2",
        "DELETE FROM thread_texts WHERE namespace = ?1 AND thread_id = ?2",
    ] {
        conn.prepare_cached(sql)?.execute([ns.as_str(), id.as_str()])?;
    }
    Ok(())
}
