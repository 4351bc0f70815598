//! What the index lacks: of the logs that sessions show, the messages behind how far each is indexed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::todo::{Look, Todo};
use crate::domain::outcome::More;
use crate::domain::path::Span;
use crate::domain::query::Bound;
use crate::domain::search::Unindexed;
use crate::domain::{LogId, Namespace, Seq, SessionId};
use crate::store::Lack;
use crate::store::hints::Name;
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::entries;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::logs::named_log;
use crate::store::record::{Damage, column, log_id, number};
use crate::store::room::Room;

/// Sessions that a look at everything takes at once.
const NAMES_MAX: i64 = 1_000;

pub(super) const LACKING: &str = "SELECT s.namespace, s.session_id, i.log IS NULL OR i.indexed_to < s.seq \
    FROM (SELECT namespace, session_id, log, seq FROM sessions WHERE (namespace, session_id) > ($1, $2) \
        ORDER BY namespace, session_id LIMIT $3) AS s \
    LEFT JOIN search_logs AS i ON i.log = s.log ORDER BY s.namespace, s.session_id";

pub(super) const LACKING_OF: &str = "SELECT s.namespace, s.session_id FROM unnest($1::text[], $2::text[]) AS k (ns, id) \
    JOIN sessions AS s ON s.namespace = k.ns AND s.session_id = k.id LEFT JOIN search_logs AS i ON i.log = s.log \
    WHERE i.log IS NULL OR i.indexed_to < s.seq";

pub(super) const SESSION: &str = "SELECT s.log, s.seq, l.path, i.indexed_to FROM sessions AS s \
    LEFT JOIN logs AS l ON l.log = s.log LEFT JOIN search_logs AS i ON i.log = s.log \
    WHERE s.namespace = $1 AND s.session_id = $2";

pub(super) const REACHED: &str = "SELECT log, indexed_to FROM search_logs WHERE log = ANY ($1)";

/// Looks at what is to be looked at until the bound is reached, or as much was looked at as one call may.
pub(super) async fn lack(conn: &Conn, todo: &mut Todo, bound: Bound) -> Result<Lack, Fault> {
    let mut found = Found {
        conn,
        bound,
        room: Room::of(bound),
        reached: HashMap::new(),
        logs: Vec::new(),
    };
    let first = todo.begin();
    loop {
        // A long session may take all that is left; who had the first half of this call has the second of the next one,
        // so nobody waits for more than one.
        let turn = if found.room.is_half_full() {
            first.other()
        } else {
            first
        };
        let Some((name, turn)) = todo.next(conn, turn).await? else {
            break;
        };
        let before = found.logs.len();
        match (found.look_at(&name).await?, found.logs.len() > before) {
            (More::Done, true) => todo.give_out(name),
            (More::Done, false) => {}
            (More::Left, false) if found.room.rows > 0 => {
                todo.put_back(name, turn);
                break;
            }
            (More::Left, _) => {
                todo.again(name);
                break;
            }
        }
    }
    let done = todo.is_done();
    Ok(Lack {
        logs: found.logs,
        more: if done { More::Done } else { More::Left },
    })
}

/// Those of these sessions of which the index lacks something.
pub(super) async fn lacking(conn: &Conn, names: Vec<Name>) -> Result<Vec<Name>, Fault> {
    let namespaces: Vec<&str> = names.iter().map(|(ns, _)| ns.as_str()).collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let rows = conn
        .rows("looking at sessions", LACKING_OF, &[&namespaces, &ids])
        .await?;
    let text = |row, at| Columns(row).text(at).map(str::to_owned).ok();
    let lacking: HashSet<(String, String)> = rows
        .iter()
        .filter_map(|row| text(row, 0).zip(text(row, 1)))
        .collect();
    let lacks = |(ns, id): &Name| lacking.contains(&(ns.to_string(), id.to_string()));
    Ok(names.into_iter().filter(lacks).collect())
}

/// The next sessions of a look at everything, some at a time: those of which the index lacks something.
pub(super) async fn look_further(conn: &Conn, todo: &mut Todo) -> Result<(), Fault> {
    let Look::Sessions(after) = &todo.all else {
        return Ok(());
    };
    let (ns, id) = after
        .as_ref()
        .map_or(("", ""), |(ns, id)| (ns.as_str(), id.as_str()));
    let began = Instant::now();
    let rows = conn
        .rows("looking at every session", LACKING, &[&ns, &id, &NAMES_MAX])
        .await?;
    let name = |row| -> Option<(Name, bool)> {
        let columns = Columns(row);
        let ns = Namespace::parse(columns.text(0).ok()?).ok()?;
        let id = SessionId::parse(columns.text(1).ok()?, "session_id").ok()?;
        Some(((ns, id), columns.flag(2).ok()?))
    };
    // A name that cannot be read is met again in every list, and logged there.
    let names: Vec<(Name, bool)> = rows.iter().filter_map(name).collect();
    todo.all = match names.last() {
        Some((last, _)) if column(rows.len() as u64) == NAMES_MAX => Look::Sessions(Some(last.clone())),
        Some(_) | None => Look::Over,
    };
    let lacking = names.into_iter().filter(|(_, lacks)| *lacks);
    todo.found(lacking.map(|(name, _)| name));
    todo.spend(began.elapsed());
    Ok(())
}

/// What was found so far.
struct Found<'a> {
    conn: &'a Conn,
    bound: Bound,
    room: Room,
    /// How far a log will be indexed with what was found.
    reached: HashMap<LogId, Seq>,
    logs: Vec<Unindexed>,
}

impl Found<'_> {
    /// Takes what the index lacks of a session, as far as there is room. A row that cannot be read is left out.
    async fn look_at(&mut self, (ns, id): &Name) -> Result<More, Fault> {
        let spans = match self.spans(ns, id).await {
            Ok(spans) => spans,
            Err(Fault::Damaged { row, reason }) => {
                tracing::warn!(row, reason, "a damaged row is not indexed");
                return Ok(More::Done);
            }
            Err(fault @ Fault::Database { .. }) => return Err(fault),
        };
        for span in spans {
            if self.room.rows > 0 && self.room.rows_left() == 0 {
                return Ok(More::Left);
            }
            let (messages, to) = entries::messages(self.conn, span, &mut self.room, self.bound.bytes).await?;
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
    async fn spans(&self, ns: &Namespace, id: &SessionId) -> Result<Vec<Span>, Fault> {
        let operation = "looking where a session ends";
        let row = self
            .conn
            .row(operation, SESSION, &[&ns.as_str(), &id.as_str()])
            .await?;
        let Some(row) = row else {
            return Ok(Vec::new());
        };
        let columns = Columns(&row);
        let damaged = |damage: Damage| Fault::damaged(format!("session {id} of namespace {ns}"), damage);
        let own = columns.blob(0).and_then(log_id).map_err(damaged)?;
        let end = Seq(columns.integer(1).and_then(number).map_err(damaged)?);
        let indexed_to = columns.maybe_integer(3).map_err(damaged)?;
        let indexed_to = indexed_to.map(number).transpose().map_err(damaged)?.map(Seq);
        if let Some(after) = self.reached.get(&own).copied().or(indexed_to) {
            let rest = Span {
                log: own,
                after,
                to: end,
            };
            return Ok((after < end).then_some(rest).into_iter().collect());
        }
        let log = named_log(own.0.as_bytes(), columns.maybe_blob(2).map_err(damaged)?)?;
        let parts = log.path.parts();
        let names: Vec<&[u8]> = parts
            .iter()
            .map(|part| part.log.0.as_bytes().as_slice())
            .collect();
        let mut reached = HashMap::new();
        for row in &self.conn.rows(operation, REACHED, &[&names]).await? {
            let columns = Columns(row);
            let log = columns.blob(0).and_then(log_id).map_err(damaged)?;
            reached.insert(log, Seq(columns.integer(1).and_then(number).map_err(damaged)?));
        }
        reached.extend(self.reached.iter().map(|(log, to)| (*log, *to)));
        let mut spans = Vec::new();
        for part in parts {
            let after = reached.get(&part.log).copied().unwrap_or(Seq::ZERO);
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
}
