//! Everything there is, row by row, each table in the order of its key.

use std::sync::Arc;

use rusqlite::{Connection, ToSql};

use super::columns::Columns;
use super::{
    copies, engines, entries, failed, items, logs, past_heads, receipts, resumes, sessions, threads,
};
use crate::domain::query::Bound;
use crate::domain::{
    Effect, Log, LogId, Namespace, Receipt, RequestId, Revision, Seq, SessionId, Time, TurnId,
};
use crate::store::Error;
use crate::store::record::entry::with_body;
use crate::store::record::{Damage, column, log_id, number, tally};
use crate::store::room::Room;
use crate::store::survey::{Key, Row, Stretch, Table, first_stretch, stretch};

/// The rows after `after`, of one table.
pub(super) fn survey(conn: &Connection, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
    first_stretch(after, |table, after| {
        let mut page = Page {
            conn,
            room: Room::of(bound),
            rows: Vec::new(),
        };
        page.read(table, after)?;
        Ok(stretch(page.rows))
    })
}

/// A page while it fills.
struct Page<'a> {
    conn: &'a Connection,
    room: Room,
    rows: Vec<(Key, Row)>,
}

/// A row, and how large it is.
type Read = (Key, usize, Row);

impl Page<'_> {
    /// Reads rows of a table after a key of it. Keys begin with text or with a name of 16 bytes, so nothing comes before
    /// the empty one.
    fn read(&mut self, table: Table, after: Option<&Key>) -> Result<(), Error> {
        let key = Bounds::of(after);
        let (log, name) = (&key.log[..], (&key.namespace[..], &key.id[..]));
        match table {
            Table::Logs => {
                let sql = "SELECT log, path FROM logs WHERE log > ?1 ORDER BY log";
                self.take(sql, &[&log], one_log)
            }
            Table::Entries => {
                let sql = "SELECT log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body \
                           FROM entries WHERE (log, seq) > (?1, ?2) ORDER BY log, seq";
                self.take(sql, &[&log, &key.number], |_, columns| one_entry(columns))
            }
            Table::Sessions => {
                let sql = format!(
                    "SELECT {} FROM sessions WHERE (namespace, session_id) > (?1, ?2) \
                     ORDER BY namespace, session_id",
                    sessions::COLUMNS
                );
                self.take(&sql, &[&name.0, &name.1], one_session)
            }
            Table::PastHeads => {
                let sql = "SELECT revision, log, tally, incomplete_turn, time, namespace, session_id \
                           FROM past_heads WHERE (namespace, session_id, revision) > (?1, ?2, ?3) \
                           ORDER BY namespace, session_id, revision";
                self.take(sql, &[&name.0, &name.1, &key.number], one_past_head)
            }
            Table::Epochs => {
                let sql = "SELECT namespace, epoch FROM epochs WHERE namespace > ?1 ORDER BY namespace";
                self.take(sql, &[&name.0], |_, columns| one_epoch(columns))
            }
            Table::Engines => {
                let sql = format!(
                    "SELECT {} FROM engines WHERE (namespace, engine_id) > (?1, ?2) \
                     ORDER BY namespace, engine_id",
                    engines::COLUMNS
                );
                self.take(&sql, &[&name.0, &name.1], |_, columns| {
                    let engine = engines::read(columns)?;
                    let key = Key::Engine(engine.namespace.clone(), engine.id.clone());
                    Ok((key, 0, made(Effect::PutEngine(Arc::new(engine)))))
                })
            }
            Table::Threads => {
                let sql = format!(
                    "SELECT {} FROM threads WHERE (namespace, thread_id) > (?1, ?2) \
                     ORDER BY namespace, thread_id",
                    threads::COLUMNS
                );
                self.take(&sql, &[&name.0, &name.1], one_thread)
            }
            Table::Turns => {
                let sql = format!(
                    "SELECT {} FROM turns WHERE (journal, turn_id) > (?1, ?2) ORDER BY journal, turn_id",
                    items::TURN_COLUMNS
                );
                self.take(&sql, &[&log, &name.1], |_, columns| one_turn(columns))
            }
            Table::Items => {
                let sql = format!(
                    "SELECT {} FROM items WHERE (journal, seq) > (?1, ?2) ORDER BY journal, seq",
                    items::ITEM_COLUMNS
                );
                self.take(&sql, &[&log, &key.number], |_, columns| one_item(columns))
            }
            Table::Resumes => {
                let sql = format!(
                    "SELECT {} FROM resumes WHERE (namespace, resume_id) > (?1, ?2) \
                     ORDER BY namespace, resume_id",
                    resumes::COLUMNS
                );
                self.take(&sql, &[&name.0, &name.1], |conn, columns| {
                    let resume = resumes::read(conn, columns)?;
                    let key = Key::Resume(resume.namespace.clone(), resume.id.clone());
                    let bytes = resume.text_bytes();
                    Ok((key, bytes, made(Effect::PutResume(Arc::new(resume)))))
                })
            }
            Table::Loose => {
                let sql = "SELECT log, since FROM loose WHERE log > ?1 ORDER BY log";
                self.take(sql, &[&log], |_, columns| one_note(columns))
            }
            Table::Receipts => {
                let sql = "SELECT fingerprint, outcome, time, namespace, request_id FROM receipts \
                           WHERE (namespace, request_id) > (?1, ?2) ORDER BY namespace, request_id";
                self.take(sql, &[&name.0, &name.1], |_, columns| one_receipt(columns))
            }
        }
    }

    /// Takes rows of a statement while there is room.
    fn take(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl Fn(&Connection, Columns<'_>) -> Result<Read, Error>,
    ) -> Result<(), Error> {
        let failed = failed("surveying");
        let mut statement = self.conn.prepare_cached(sql).map_err(&failed)?;
        let mut rows = statement.query(values).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let (key, bytes, row) = read(self.conn, Columns(row))?;
            if !self.room.take(bytes) {
                break;
            }
            self.rows.push((key, row));
        }
        Ok(())
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
fn damaged(row: &'static str) -> impl Fn(Damage) -> Error {
    move |damage| Error::corrupt(row, damage)
}

/// A log with what is noted of it.
fn one_log(conn: &Connection, columns: Columns<'_>) -> Result<Read, Error> {
    let id = columns.blob(0).and_then(log_id).map_err(damaged("a log"))?;
    let path = columns.blob(1).and_then(tally::decode_path);
    let path = path.map_err(|damage| Error::corrupt(format!("log {id}"), damage))?;
    let log = Log { id, path };
    let released = !logs::keeps(conn, &log)?;
    let originals = copies::originals(conn, id)?;
    let mut effects = vec![Effect::OpenLog(Arc::new(log))];
    if released {
        effects.push(Effect::ReleasePath(id));
    }
    if !originals.is_empty() {
        effects.push(Effect::PutCopy(id, originals));
    }
    Ok((Key::Log(id), 0, Row::Made(effects)))
}

fn one_entry(columns: Columns<'_>) -> Result<Read, Error> {
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
    let entry = entry().map_err(|damage| Error::corrupt(format!("entry {seq} of log {log}"), damage))?;
    Ok((Key::Entry(log, seq), entry.body.len(), Row::Entry(entry)))
}

fn one_session(conn: &Connection, columns: Columns<'_>) -> Result<Read, Error> {
    let mut session = sessions::read(conn, columns)?;
    sessions::add_texts(conn, &mut session)?;
    let key = Key::Session(session.namespace.clone(), session.id.clone());
    let bytes = session.text_bytes();
    Ok((key, bytes, made(Effect::PutSession(Arc::new(session)))))
}

fn one_past_head(conn: &Connection, columns: Columns<'_>) -> Result<Read, Error> {
    let name = || -> Result<(Namespace, SessionId, Revision), Damage> {
        let ns = Namespace::parse(columns.text(5)?)?;
        let id = SessionId::parse(columns.text(6)?, "session_id")?;
        Ok((ns, id, Revision(number(columns.integer(0)?)?)))
    };
    let (ns, id, revision) = name().map_err(damaged("a past head"))?;
    let head = past_heads::read(conn, &ns, &id, columns)?;
    Ok((
        Key::PastHead(ns, id, revision),
        0,
        made(Effect::PutPastHead(head)),
    ))
}

fn one_epoch(columns: Columns<'_>) -> Result<Read, Error> {
    let epoch = || -> Result<(Namespace, u64), Damage> {
        Ok((Namespace::parse(columns.text(0)?)?, number(columns.integer(1)?)?))
    };
    let (ns, epoch) = epoch().map_err(damaged("an epoch"))?;
    Ok((Key::Epoch(ns.clone()), 0, made(Effect::PutEpoch(ns, epoch))))
}

fn one_thread(conn: &Connection, columns: Columns<'_>) -> Result<Read, Error> {
    let mut thread = threads::read(conn, columns)?;
    threads::add_texts(conn, &mut thread)?;
    let key = Key::Thread(thread.namespace.clone(), thread.id.clone());
    let bytes = thread.text_bytes();
    Ok((key, bytes, made(Effect::PutThread(Arc::new(thread)))))
}

fn one_turn(columns: Columns<'_>) -> Result<Read, Error> {
    let name = || -> Result<(LogId, TurnId), Damage> {
        Ok((
            log_id(columns.blob(0)?)?,
            TurnId::parse(columns.text(2)?, "turn_id")?,
        ))
    };
    let (journal, id) = name().map_err(damaged("a turn"))?;
    let turn = items::read_turn(columns);
    let turn = turn.map_err(|damage| Error::corrupt(format!("turn {id} of journal {journal}"), damage))?;
    let bytes = turn.error.len();
    Ok((
        Key::Turn(journal, id),
        bytes,
        made(Effect::PutTurn(Arc::new(turn))),
    ))
}

fn one_item(columns: Columns<'_>) -> Result<Read, Error> {
    let place = || -> Result<(LogId, Seq), Damage> {
        Ok((log_id(columns.blob(0)?)?, Seq(number(columns.integer(1)?)?)))
    };
    let (journal, seq) = place().map_err(damaged("an item"))?;
    let item = items::read_item(columns);
    let item = item.map_err(|damage| Error::corrupt(format!("item {seq} of journal {journal}"), damage))?;
    Ok((Key::Item(journal, seq), item.body.len(), Row::Item(item)))
}

fn one_note(columns: Columns<'_>) -> Result<Read, Error> {
    let note =
        || -> Result<(LogId, Time), Damage> { Ok((log_id(columns.blob(0)?)?, Time(columns.integer(1)?))) };
    let (log, since) = note().map_err(damaged("a note on a log"))?;
    Ok((Key::Loose(log), 0, made(Effect::Loosen(log, since))))
}

fn one_receipt(columns: Columns<'_>) -> Result<Read, Error> {
    let name = || -> Result<(Namespace, RequestId), Damage> {
        Ok((
            Namespace::parse(columns.text(3)?)?,
            RequestId::parse(columns.text(4)?)?,
        ))
    };
    let (ns, id) = name().map_err(damaged("a receipt"))?;
    let receipt = receipts::row_of(columns).map(|row| (row.outcome.len(), row));
    let receipt = receipt.and_then(|(bytes, row)| Ok((bytes, Receipt::try_from(row)?)));
    let (bytes, receipt) = receipt
        .map_err(|damage| Error::corrupt(format!("receipt {} of namespace {ns}", id.as_str()), damage))?;
    let key = Key::Receipt(ns.clone(), id.clone());
    Ok((key, bytes, made(Effect::PutReceipt(ns, id, receipt))))
}
