//! What the index lacks: of the logs that sessions show, the messages behind how far each is indexed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Fault;
use super::keeper::{Look, Todo, Turn};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::outcome::More;
use crate::domain::path::Span;
use crate::domain::query::Bound;
use crate::domain::search::Unindexed;
use crate::domain::{LogId, Namespace, Seq, SessionId};
use crate::store::hints::Name;
use crate::store::record::{column, log_id, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{Room, entries, failed, logs};
use crate::store::{Error, Lack};

/// Sessions that a look at everything takes at once.
const NAMES_MAX: usize = 1_000;

/// Looks at what is to be looked at until the bound is reached, or as much was looked at as one call may.
pub(super) fn lack(
    main: &Connection,
    index: &Connection,
    todo: &mut Todo,
    bound: Bound,
) -> Result<Lack, Fault> {
    let mut found = Found {
        main,
        index,
        room: Room::of(bound),
        reached: HashMap::new(),
        logs: Vec::new(),
    };
    for _ in 0..SCAN_ROWS_MAX {
        if todo.others_are_done() {
            look_further(main, todo)?;
        }
        let Some(name) = todo.next(found.turn()) else {
            break;
        };
        let before = found.logs.len();
        let whole = match found.look_at(&name) {
            Ok(whole) => whole,
            Err(Fault::Store(Error::Corrupt { row, reason })) => {
                tracing::warn!(row, reason, "a damaged session is not indexed");
                More::Done
            }
            Err(fault) => {
                todo.again(name);
                if found.logs.is_empty() {
                    return Err(fault);
                }
                // What was found so far goes in first; whatever is wrong shows again.
                break;
            }
        };
        if whole == More::Left {
            // Others come first: a long session must not keep the short ones waiting.
            todo.again(name);
            break;
        }
        if found.logs.len() > before {
            todo.give_out(name);
        }
    }
    let done = todo.is_done();
    Ok(Lack {
        logs: found.logs,
        more: if done { More::Done } else { More::Left },
    })
}

/// How far a log is indexed; `None`: nobody has looked at it yet.
pub(super) fn indexed_to(index: &Connection, log: LogId) -> Result<Option<Seq>, rusqlite::Error> {
    index
        .prepare_cached("SELECT indexed_to FROM logs WHERE log = ?1")?
        .query_row([log.0.as_bytes()], |row| row.get(0))
        .map(|to: i64| Seq(to.max(0).cast_unsigned()))
        .optional()
}

/// The next sessions of a look at everything.
fn look_further(main: &Connection, todo: &mut Todo) -> Result<(), Error> {
    let Look::Sessions(after) = &todo.all else {
        return Ok(());
    };
    let operation = "looking at every session";
    let sql = "SELECT namespace, session_id FROM sessions WHERE (namespace, session_id) > (?1, ?2) \
               ORDER BY namespace, session_id LIMIT ?3";
    let (ns, id) = after
        .as_ref()
        .map_or(("", ""), |(ns, id)| (ns.as_str(), id.as_str()));
    let mut statement = main.prepare_cached(sql).map_err(failed(operation))?;
    let mut rows = statement
        .query(params![ns, id, column(NAMES_MAX as u64)])
        .map_err(failed(operation))?;
    let mut last = None;
    while let Some(row) = rows.next().map_err(failed(operation))? {
        let columns = Columns(row);
        let name = || -> Option<Name> {
            let ns = Namespace::parse(columns.text(0).ok()?).ok()?;
            Some((ns, SessionId::parse(columns.text(1).ok()?, "session_id").ok()?))
        };
        // A name that cannot be read is met again in every list, and logged there.
        last = name().or(last);
        if let Some(name) = name() {
            todo.again(name);
        }
    }
    todo.looked_at(last.map_or(Look::Over, |last| Look::Sessions(Some(last))));
    Ok(())
}

/// What was found so far.
struct Found<'a> {
    main: &'a Connection,
    index: &'a Connection,
    room: Room,
    /// How far a log will be indexed with what was found.
    reached: HashMap<LogId, Seq>,
    logs: Vec<Unindexed>,
}

impl Found<'_> {
    /// Whose turn it is: what has just been written has the first half of a batch, so that a long session keeps nobody
    /// waiting, nor is kept waiting.
    fn turn(&self) -> Turn {
        if self.room.is_half_full() {
            Turn::Others
        } else {
            Turn::Fresh
        }
    }

    /// Takes what the index lacks of a session, as far as there is room. A row that cannot be read is left out.
    fn look_at(&mut self, (ns, id): &Name) -> Result<More, Fault> {
        for span in self.spans(ns, id)? {
            if self.room.rows > 0 && self.room.rows_left() == 0 {
                return Ok(More::Left);
            }
            let (messages, to) = entries::messages(self.main, span, &mut self.room)?;
            if to == span.after && to < span.to {
                return Ok(More::Left);
            }
            self.reached.insert(span.log, to);
            self.logs.push(Unindexed {
                namespace: ns.clone(),
                log: span.log,
                after: span.after,
                to,
                messages,
            });
            if to < span.to {
                return Ok(More::Left);
            }
        }
        Ok(More::Done)
    }

    /// What of a session's path is not indexed. Its own log comes last: once that was looked at, what it inherits has
    /// been indexed, and never changes.
    fn spans(&self, ns: &Namespace, id: &SessionId) -> Result<Vec<Span>, Fault> {
        let operation = "looking where a session ends";
        let sql = "SELECT log, seq FROM sessions WHERE namespace = ?1 AND session_id = ?2";
        let mut statement = self.main.prepare_cached(sql).map_err(failed(operation))?;
        let mut rows = statement
            .query([ns.as_str(), id.as_str()])
            .map_err(failed(operation))?;
        let Some(row) = rows.next().map_err(failed(operation))? else {
            return Ok(Vec::new());
        };
        let columns = Columns(row);
        let damaged = |damage| Error::corrupt(format!("session {id} of namespace {ns}"), damage);
        let own = columns.blob(0).and_then(log_id).map_err(damaged)?;
        let end = Seq(columns.integer(1).and_then(number).map_err(damaged)?);
        if let Some(after) = self.reached(own)? {
            let rest = Span {
                log: own,
                after,
                to: end,
            };
            return Ok((after < end).then_some(rest).into_iter().collect());
        }
        let log = logs::named_log(self.main, own)?;
        let mut spans = Vec::new();
        for part in log.path.parts() {
            let after = self.reached(part.log)?.unwrap_or(Seq::ZERO);
            if after < part.to {
                spans.push(Span {
                    log: part.log,
                    after,
                    to: part.to,
                });
            }
        }
        // There may be nothing in it yet; that it was looked at is worth a note.
        spans.push(Span {
            log: own,
            after: Seq::ZERO,
            to: end,
        });
        Ok(spans)
    }

    fn reached(&self, log: LogId) -> Result<Option<Seq>, Fault> {
        match self.reached.get(&log) {
            Some(to) => Ok(Some(*to)),
            None => Ok(indexed_to(self.index, log)?),
        }
    }
}
