//! Everything there is, row by row, each table in the order of its key.
//!
//! What may be large is bounded where it is read: the database sends no more bodies than a page takes.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use super::{copies, engines, entries, items, past_heads, receipts, resumes, sessions, threads};
use crate::domain::query::Bound;
use crate::domain::{
    Effect, Log, LogId, Namespace, Receipt, RequestId, Revision, Seq, SessionId, Time, TurnId,
};
use crate::store::record::entry::with_body;
use crate::store::record::{Damage, column, log_id, number, tally};
use crate::store::room::Room;
use crate::store::survey::{Key, Row, Stretch, Table, stretch};

/// Rows with large texts of one page.
const TEXTS_MAX: usize = 64;

/// A row, and how large it is.
type Read = (Key, usize, Row);

/// The rows after `after`, of one table.
pub(super) async fn survey(conn: &Conn, after: Option<&Key>, bound: Bound) -> Result<Stretch, Fault> {
    let first = after.map_or(Table::Logs, Key::table);
    for table in Table::ALL.into_iter().filter(|table| *table >= first) {
        let after = after.filter(|key| key.table() == table);
        let rows = rows(conn, table, after, bound).await?;
        if !rows.is_empty() {
            let mut room = Room::of(bound);
            let fitting = rows.into_iter().take_while(|(_, bytes, _)| room.take(*bytes));
            return Ok(stretch(fitting.map(|(key, _, row)| (key, row))));
        }
    }
    Ok(Stretch::default())
}

/// What is asked for, and by which parts of the key it goes on.
struct Asked {
    sql: String,
    by: By,
    rows: usize,
}

/// The columns of a table's key.
#[derive(Clone, Copy)]
enum By {
    Log,
    LogAndNumber,
    LogAndId,
    Name,
    NameAndId,
    NameIdAndNumber,
}

fn asked(table: Table, bound: Bound) -> Asked {
    let plain = |sql: String, by| Asked {
        sql,
        by,
        rows: bound.rows,
    };
    let texts = |sql: String| Asked {
        sql,
        by: By::NameAndId,
        rows: bound.rows.min(TEXTS_MAX),
    };
    match table {
        Table::Logs => plain(
            "SELECT l.log, l.path, EXISTS (SELECT 1 FROM log_edges AS e WHERE e.log = l.log), \
             EXISTS (SELECT 1 FROM log_copies AS c WHERE c.copy = l.log) \
             FROM logs AS l WHERE l.log > $1 ORDER BY l.log"
                .to_owned(),
            By::Log,
        ),
        Table::Entries => plain(
            bodies(
                "log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body",
                "entries",
                "log, seq",
                bound,
            ),
            By::LogAndNumber,
        ),
        Table::Sessions => texts(format!(
            "SELECT {} FROM sessions AS s {} WHERE (s.namespace, s.session_id) > ($1, $2) \
             ORDER BY s.namespace, s.session_id",
            sessions::COLUMNS,
            sessions::JOINS
        )),
        Table::PastHeads => plain(
            "SELECT s.revision, s.log, s.tally, s.incomplete_turn, s.time, l.path, s.namespace, s.session_id \
             FROM past_heads AS s LEFT JOIN logs AS l ON l.log = s.log \
             WHERE (s.namespace, s.session_id, s.revision) > ($1, $2, $3) \
             ORDER BY s.namespace, s.session_id, s.revision"
                .to_owned(),
            By::NameIdAndNumber,
        ),
        Table::Epochs => plain(
            "SELECT namespace, epoch FROM epochs WHERE namespace > $1 ORDER BY namespace".to_owned(),
            By::Name,
        ),
        Table::Engines => plain(
            format!(
                "SELECT {} FROM engines WHERE (namespace, engine_id) > ($1, $2) \
                 ORDER BY namespace, engine_id",
                engines::COLUMNS
            ),
            By::NameAndId,
        ),
        Table::Threads => texts(format!(
            "SELECT {} FROM threads AS s {} WHERE (s.namespace, s.thread_id) > ($1, $2) \
             ORDER BY s.namespace, s.thread_id",
            threads::COLUMNS,
            threads::JOINS
        )),
        Table::Turns => plain(
            "SELECT journal, number, turn_id, status, usage, error, start_time, end_time, open_items, change, \
             epoch FROM turns WHERE (journal, turn_id) > ($1, $2) ORDER BY journal, turn_id"
                .to_owned(),
            By::LogAndId,
        ),
        Table::Items => plain(
            bodies(
                "journal, seq, turn_id, item_id, kind, status, change, create_time, end_time, digest, body",
                "items",
                "journal, seq",
                bound,
            ),
            By::LogAndNumber,
        ),
        Table::Resumes => plain(
            format!(
                "SELECT {} FROM resumes AS s {} WHERE (s.namespace, s.resume_id) > ($1, $2) \
                 ORDER BY s.namespace, s.resume_id",
                resumes::COLUMNS,
                resumes::JOINS
            ),
            By::NameAndId,
        ),
        Table::Loose => plain(
            "SELECT log, since FROM loose WHERE log > $1 ORDER BY log".to_owned(),
            By::Log,
        ),
        Table::Receipts => plain(
            "SELECT namespace, request_id, fingerprint, outcome, time FROM receipts \
             WHERE (namespace, request_id) > ($1, $2) ORDER BY namespace, request_id"
                .to_owned(),
            By::NameAndId,
        ),
    }
}

/// Rows with bodies: as many bytes as a page takes, one row at least. The length of a body is told without reading it.
fn bodies(columns: &str, table: &str, key: &str, bound: Bound) -> String {
    let (rows, bytes) = (column(bound.rows as u64), column(bound.bytes as u64));
    format!(
        "SELECT {columns} FROM (SELECT *, row_number() OVER page AS place, \
         sum(octet_length(body)) OVER page AS bytes FROM {table} WHERE ({key}) > ($1, $2) \
         WINDOW page AS (ORDER BY {key} ROWS UNBOUNDED PRECEDING) ORDER BY {key} LIMIT {rows}) AS rows \
         WHERE place = 1 OR bytes <= {bytes}::bigint ORDER BY {key}"
    )
}

/// Rows of a table after a key of it. Keys begin with text or with a name of 16 bytes: nothing comes before the empty one.
async fn rows(conn: &Conn, table: Table, after: Option<&Key>, bound: Bound) -> Result<Vec<Read>, Fault> {
    let Asked { sql, by, rows } = asked(table, bound);
    let Bounds {
        log,
        namespace,
        id,
        number,
    } = Bounds::of(after);
    let (log, name, id): (&(dyn ToSql + Sync), &(dyn ToSql + Sync), &(dyn ToSql + Sync)) =
        (&log, &namespace, &id);
    let number: &(dyn ToSql + Sync) = &number;
    let values = match by {
        By::Log => vec![(log, Type::BYTEA)],
        By::LogAndNumber => vec![(log, Type::BYTEA), (number, Type::INT8)],
        By::LogAndId => vec![(log, Type::BYTEA), (id, Type::TEXT)],
        By::Name => vec![(name, Type::TEXT)],
        By::NameAndId => vec![(name, Type::TEXT), (id, Type::TEXT)],
        By::NameIdAndNumber => vec![(name, Type::TEXT), (id, Type::TEXT), (number, Type::INT8)],
    };
    let sql = format!("{sql} LIMIT {rows}");
    let found = conn.rows_of("surveying", &sql, &values).await?;
    let mut read = Vec::with_capacity(found.len());
    for row in &found {
        read.push(one(conn, table, Columns(row)).await?);
    }
    Ok(read)
}

async fn one(conn: &Conn, table: Table, columns: Columns<'_>) -> Result<Read, Fault> {
    match table {
        Table::Logs => one_log(conn, columns).await,
        Table::Entries => one_entry(columns),
        Table::Sessions => {
            let session = sessions::read(columns)?;
            let key = Key::Session(session.namespace.clone(), session.id.clone());
            let bytes = session.text_bytes();
            Ok((key, bytes, made(Effect::PutSession(Arc::new(session)))))
        }
        Table::PastHeads => one_past_head(columns),
        Table::Epochs => {
            let epoch = || -> Result<(Namespace, u64), Damage> {
                Ok((Namespace::parse(columns.text(0)?)?, number(columns.integer(1)?)?))
            };
            let (ns, epoch) = epoch().map_err(damaged("an epoch"))?;
            Ok((Key::Epoch(ns.clone()), 0, made(Effect::PutEpoch(ns, epoch))))
        }
        Table::Engines => {
            let engine = engines::read(columns)?;
            let key = Key::Engine(engine.namespace.clone(), engine.id.clone());
            Ok((key, 0, made(Effect::PutEngine(Arc::new(engine)))))
        }
        Table::Threads => {
            let thread = threads::read(columns)?;
            let key = Key::Thread(thread.namespace.clone(), thread.id.clone());
            let bytes = thread.text_bytes();
            Ok((key, bytes, made(Effect::PutThread(Arc::new(thread)))))
        }
        Table::Turns => one_turn(columns),
        Table::Items => one_item(columns),
        Table::Resumes => {
            let resume = resumes::read(columns)?;
            let key = Key::Resume(resume.namespace.clone(), resume.id.clone());
            let bytes = resume.text_bytes();
            Ok((key, bytes, made(Effect::PutResume(Arc::new(resume)))))
        }
        Table::Loose => {
            let note = || -> Result<(LogId, Time), Damage> {
                Ok((log_id(columns.blob(0)?)?, Time(columns.integer(1)?)))
            };
            let (log, since) = note().map_err(damaged("a note on a log"))?;
            Ok((Key::Loose(log), 0, made(Effect::Loosen(log, since))))
        }
        Table::Receipts => one_receipt(columns),
    }
}

/// The columns of a key, those that it has not being less than any.
#[derive(Default)]
struct Bounds {
    log: Vec<u8>,
    namespace: String,
    id: String,
    number: i64,
}

impl Bounds {
    fn of(after: Option<&Key>) -> Self {
        let none = Self::default();
        let log = |log: &LogId| log.0.as_bytes().to_vec();
        let named = |ns: &Namespace, id: &str| Self {
            namespace: ns.to_string(),
            id: id.to_owned(),
            ..Self::default()
        };
        let Some(after) = after else { return none };
        match after {
            Key::Log(id) | Key::Loose(id) => Self { log: log(id), ..none },
            Key::Entry(id, seq) | Key::Item(id, seq) => Self {
                log: log(id),
                number: column(seq.0),
                ..none
            },
            Key::Session(ns, id) => named(ns, id.as_str()),
            Key::PastHead(ns, id, revision) => Self {
                number: column(revision.0),
                ..named(ns, id.as_str())
            },
            Key::Epoch(ns) => named(ns, ""),
            Key::Engine(ns, id) => named(ns, id.as_str()),
            Key::Thread(ns, id) => named(ns, id.as_str()),
            Key::Turn(journal, id) => Self {
                log: log(journal),
                id: id.to_string(),
                ..none
            },
            Key::Resume(ns, id) => named(ns, id.as_str()),
            Key::Receipt(ns, id) => named(ns, id.as_str()),
        }
    }
}

fn made(effect: Effect) -> Row {
    Row::Made(vec![effect])
}

/// What a table's row that cannot be read is called.
fn damaged(row: &'static str) -> impl Fn(Damage) -> Fault {
    move |damage| Fault::damaged(row, damage)
}

/// A log with what is noted of it.
async fn one_log(conn: &Conn, columns: Columns<'_>) -> Result<Read, Fault> {
    let id = columns.blob(0).and_then(log_id).map_err(damaged("a log"))?;
    let damaged = |damage| Fault::damaged(format!("log {id}"), damage);
    let path = columns.blob(1).and_then(tally::decode_path).map_err(damaged)?;
    let (keeps, is_copy) = (
        columns.flag(2).map_err(damaged)?,
        columns.flag(3).map_err(damaged)?,
    );
    let released = !keeps && !path.parts().is_empty();
    let mut effects = vec![Effect::OpenLog(Arc::new(Log { id, path }))];
    if released {
        effects.push(Effect::ReleasePath(id));
    }
    if is_copy {
        effects.push(Effect::PutCopy(id, copies::originals(conn, id).await?));
    }
    Ok((Key::Log(id), 0, Row::Made(effects)))
}

fn one_entry(columns: Columns<'_>) -> Result<Read, Fault> {
    let place = || -> Result<(LogId, Seq), Damage> {
        Ok((log_id(columns.blob(0)?)?, Seq(number(columns.integer(1)?)?)))
    };
    let (log, seq) = place().map_err(damaged("an entry"))?;
    let entry = || {
        with_body(
            entries::read_meta(columns)?,
            columns.blob(entries::BODY)?.to_vec(),
        )
    };
    let entry = entry().map_err(|damage| Fault::damaged(format!("entry {seq} of log {log}"), damage))?;
    Ok((Key::Entry(log, seq), entry.body.len(), Row::Entry(entry)))
}

fn one_past_head(columns: Columns<'_>) -> Result<Read, Fault> {
    let name = || -> Result<(Namespace, SessionId, Revision), Damage> {
        let ns = Namespace::parse(columns.text(6)?)?;
        let id = SessionId::parse(columns.text(7)?, "session_id")?;
        Ok((ns, id, Revision(number(columns.integer(0)?)?)))
    };
    let (ns, id, revision) = name().map_err(damaged("a past head"))?;
    let head = past_heads::read(&ns, &id, columns)?;
    Ok((
        Key::PastHead(ns, id, revision),
        0,
        made(Effect::PutPastHead(head)),
    ))
}

fn one_turn(columns: Columns<'_>) -> Result<Read, Fault> {
    let name = || -> Result<(LogId, TurnId), Damage> {
        Ok((
            log_id(columns.blob(0)?)?,
            TurnId::parse(columns.text(2)?, "turn_id")?,
        ))
    };
    let (journal, id) = name().map_err(damaged("a turn"))?;
    let turn = items::read_turn(columns);
    let turn = turn.map_err(|damage| Fault::damaged(format!("turn {id} of journal {journal}"), damage))?;
    let bytes = turn.error.len();
    Ok((
        Key::Turn(journal, id),
        bytes,
        made(Effect::PutTurn(Arc::new(turn))),
    ))
}

fn one_item(columns: Columns<'_>) -> Result<Read, Fault> {
    let place = || -> Result<(LogId, Seq), Damage> {
        Ok((log_id(columns.blob(0)?)?, Seq(number(columns.integer(1)?)?)))
    };
    let (journal, seq) = place().map_err(damaged("an item"))?;
    let item = items::read_item(columns);
    let item = item.map_err(|damage| Fault::damaged(format!("item {seq} of journal {journal}"), damage))?;
    Ok((Key::Item(journal, seq), item.body.len(), Row::Item(item)))
}

fn one_receipt(columns: Columns<'_>) -> Result<Read, Fault> {
    let name = || -> Result<(Namespace, RequestId), Damage> {
        Ok((
            Namespace::parse(columns.text(0)?)?,
            RequestId::parse(columns.text(1)?)?,
        ))
    };
    let (ns, id) = name().map_err(damaged("a receipt"))?;
    let receipt = receipts::row_of(columns).map(|row| (row.outcome.len(), row));
    let receipt = receipt.and_then(|(bytes, row)| Ok((bytes, Receipt::try_from(row)?)));
    let (bytes, receipt) = receipt
        .map_err(|damage| Fault::damaged(format!("receipt {} of namespace {ns}", id.as_str()), damage))?;
    let key = Key::Receipt(ns.clone(), id.clone());
    Ok((key, bytes, made(Effect::PutReceipt(ns, id, receipt))))
}
