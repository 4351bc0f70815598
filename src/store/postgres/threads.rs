//! Threads, row by row: a row comes with the path of its base and its texts.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use super::logs::named_log;
use crate::domain::thread::Texts;
use crate::domain::{Namespace, Thread, ThreadId};
use crate::store::record::{Damage, ThreadRow, column};

pub(super) const STATEMENTS: &[&str] = &[NAMED, INSERT, UPDATE, ADVANCE, PUT_TEXTS, DROP_TEXTS, REMOVE];

/// The columns of [`read`], in its order, of a thread `s`, its base's log `l` and its texts `t`.
macro_rules! columns {
    () => {
        "s.namespace, s.thread_id, s.journal, s.base_log, s.base_tally, s.state, s.session, s.engine, s.profile, \
         s.create_time, s.update_time, s.epoch, s.active_turn, s.turns, s.items, s.open_items, s.change, s.marks, \
         l.path, t.system_prompt, t.settings_json"
    };
}

/// What stands beside a thread: its texts, where a condition holds.
macro_rules! joins {
    ($texts:literal) => {
        concat!(
            "LEFT JOIN logs AS l ON l.log = s.base_log LEFT JOIN thread_texts AS t ON ",
            $texts,
            " AND t.namespace = s.namespace AND t.thread_id = s.thread_id"
        )
    };
}

pub(super) const COLUMNS: &str = columns!();
pub(super) const JOINS: &str = joins!("true");
pub(super) const JOINS_OF_HITS: &str = joins!("s.hit");

/// How many columns there are.
pub(super) const COLUMNS_COUNT: usize = 21;

const NAMED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::text[], $2::text[]) AS k (ns, id) \
      JOIN threads AS s ON s.namespace = k.ns AND s.thread_id = k.id ",
    joins!("true")
);

/// A thread's name.
pub(super) type Name = (Namespace, ThreadId);

/// These threads.
pub(super) async fn threads(
    conn: &Conn,
    names: &[Name],
) -> Result<HashMap<Name, Result<Arc<Thread>, Fault>>, Fault> {
    let namespaces: Vec<&str> = names.iter().map(|(ns, _)| ns.as_str()).collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let rows = conn.rows("reading a thread", NAMED, &[&namespaces, &ids]).await?;
    let mut threads = HashMap::new();
    for row in &rows {
        let columns = Columns(row);
        let name = || -> Result<Name, Damage> {
            let id = ThreadId::parse(columns.text(1)?, "thread_id")?;
            Ok((Namespace::parse(columns.text(0)?)?, id))
        };
        // It was asked for by this name.
        if let Ok(name) = name() {
            threads.insert(name, read(columns).map(Arc::new));
        }
    }
    Ok(threads)
}

/// A thread.
pub(super) async fn thread(conn: &Conn, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Fault> {
    let name = (ns.clone(), id.clone());
    let mut found = threads(conn, std::slice::from_ref(&name)).await?;
    found.remove(&name).transpose()
}

/// The thread of a row.
pub(super) fn read(columns: Columns<'_>) -> Result<Thread, Fault> {
    let damaged = |damage: Damage| {
        let [ns, id] = [0, 1].map(|at| columns.text(at).unwrap_or("?"));
        Fault::damaged(format!("thread {id} of namespace {ns}"), damage)
    };
    let row = row_of(columns).map_err(damaged)?;
    let path = columns.maybe_blob(18).map_err(damaged)?;
    let base_log = row.base_log.map(|log| named_log(log, path)).transpose()?;
    let texts = texts_of(columns).map_err(damaged)?;
    row.thread(base_log, Arc::new(texts)).map_err(damaged)
}

fn texts_of(columns: Columns<'_>) -> Result<Texts, Damage> {
    let text =
        |at| -> Result<String, Damage> { Ok(columns.maybe_written(at)?.unwrap_or_default().to_owned()) };
    Ok(Texts {
        system_prompt: text(19)?,
        settings_json: text(20)?,
    })
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

const INSERT: &str = "INSERT INTO threads (namespace, thread_id, journal, base_log, base_tally, state, session, engine, \
        profile, create_time, update_time, epoch, active_turn, turns, items, open_items, change, marks) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";

const UPDATE: &str = "UPDATE threads SET journal = $3, base_log = $4, base_tally = $5, state = $6, session = $7, \
        engine = $8, profile = $9, create_time = $10, update_time = $11, epoch = $12, active_turn = $13, \
        turns = $14, items = $15, open_items = $16, change = $17, marks = $18 \
    WHERE namespace = $1 AND thread_id = $2 AND change = $19 AND journal = $20";

/// Writes a thread's row whole, over the one that was read.
pub(super) async fn put(conn: &Conn, thread: &Thread, before: Option<&Thread>) -> Result<(), Fault> {
    let operation = "writing a thread";
    let row = ThreadRow::from(thread);
    let (profile, marks) = (&*row.profile, &*row.marks);
    let base_tally = row.base_tally.as_deref();
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &row.namespace,
        &row.thread_id,
        &row.journal,
        &row.base_log,
        &base_tally,
        &row.state,
        &row.session,
        &row.engine,
        &profile,
        &row.create_time,
        &row.update_time,
        &row.epoch,
        &row.active_turn,
        &row.turns,
        &row.items,
        &row.open_items,
        &row.change,
        &marks,
    ];
    let Some(before) = before else {
        return conn.run(operation, INSERT, &values).await.map(drop);
    };
    let (change, journal) = (column(before.change), before.journal.0.as_bytes().as_slice());
    values.extend([&change as &(dyn ToSql + Sync), &journal]);
    match conn.run(operation, UPDATE, &values).await? {
        1 => Ok(()),
        _ => Err(Fault::not_as_read(operation)),
    }
}

const ADVANCE: &str = "UPDATE threads SET update_time = $3, active_turn = $4, turns = $5, items = $6, \
        open_items = $7, change = $8, marks = $9 \
    WHERE namespace = $1 AND thread_id = $2 AND change = $10 AND journal = $11";

/// Writes what a turn changes: no index but that by time has it.
pub(super) async fn advance(conn: &Conn, thread: &Thread, before: &Thread) -> Result<(), Fault> {
    let operation = "moving a thread";
    let row = ThreadRow::from(thread);
    let (change, journal) = (column(before.change), before.journal.0.as_bytes().as_slice());
    let changed = conn
        .run(
            operation,
            ADVANCE,
            &[
                &row.namespace,
                &row.thread_id,
                &row.update_time,
                &row.active_turn,
                &row.turns,
                &row.items,
                &row.open_items,
                &row.change,
                &&*row.marks,
                &change,
                &journal,
            ],
        )
        .await?;
    match changed {
        1 => Ok(()),
        _ => Err(Fault::not_as_read(operation)),
    }
}

const PUT_TEXTS: &str = "INSERT INTO thread_texts (namespace, thread_id, system_prompt, settings_json) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (namespace, thread_id) DO UPDATE SET \
        system_prompt = excluded.system_prompt, settings_json = excluded.settings_json";

const DROP_TEXTS: &str = "DELETE FROM thread_texts WHERE namespace = $1 AND thread_id = $2";

/// Writes the large texts.
pub(super) async fn put_texts(conn: &Conn, thread: &Thread) -> Result<(), Fault> {
    let operation = "writing a thread's texts";
    let texts = &*thread.profile.texts;
    let (ns, id) = (thread.namespace.as_str(), thread.id.as_str());
    if *texts == Texts::default() {
        return conn.run(operation, DROP_TEXTS, &[&ns, &id]).await.map(drop);
    }
    let (prompt, settings) = (texts.system_prompt.as_bytes(), texts.settings_json.as_bytes());
    conn.run(operation, PUT_TEXTS, &[&ns, &id, &prompt, &settings])
        .await
        .map(drop)
}

const REMOVE: &str = "WITH texts AS (DELETE FROM thread_texts WHERE namespace = $1 AND thread_id = $2) \
    DELETE FROM threads WHERE namespace = $1 AND thread_id = $2";

/// Removes a thread's rows; its journal is upkeep's.
pub(super) async fn remove(conn: &Conn, ns: &Namespace, id: &ThreadId) -> Result<(), Fault> {
    conn.run("removing a thread", REMOVE, &[&ns.as_str(), &id.as_str()])
        .await
        .map(drop)
}
