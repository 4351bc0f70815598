//! Who shows a message: of all sessions that share it, the oldest that is neither deleted nor turned away.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::Fault;
use super::lack::indexed_to;
use crate::domain::limits::SHARERS_MAX;
use crate::domain::path::Span;
use crate::domain::search::Query;
use crate::domain::session::State;
use crate::domain::{LogId, Seq, SessionId};
use crate::store::Error;
use crate::store::record::{Code, Damage, column, number};
use crate::store::sqlite::{columns::Columns, copies, failed};

/// The sessions that read a log. `CROSS` keeps the order: a log has few readers, a namespace many sessions.
pub(in crate::store::sqlite) const READERS: &str = "SELECT session_id, create_time, seq FROM sessions \
        WHERE log = ?1 AND namespace = ?2 AND state IN (?3, ?4) AND workspace = ifnull(?5, workspace) \
    UNION ALL SELECT session_id, create_time, to_seq \
        FROM log_edges CROSS JOIN sessions ON sessions.log = log_edges.log \
        WHERE part_log = ?1 AND namespace = ?2 AND state IN (?3, ?4) \
        AND workspace = ifnull(?5, workspace) \
    LIMIT ?6";

/// Sessions by the logs that they read, remembered for one search.
pub(super) struct Sharers<'a> {
    main: &'a Connection,
    index: &'a Connection,
    query: &'a Query,
    readers: HashMap<LogId, Vec<Sharer>>,
    families: HashMap<LogId, Family>,
    titles: HashMap<SessionId, Option<String>>,
}

/// A session that reads a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sharer {
    create_time: i64,
    id: String,
    /// The last seq it reads there.
    to: Seq,
}

/// The logs that upkeep has copied a log's entries to, or where they come from.
#[derive(Debug, Default)]
struct Family {
    /// Where the entries of this log were first, if they are copies.
    originals: Vec<Span>,
    /// Where the entries of this log were copied to.
    copies: Vec<Span>,
}

impl<'a> Sharers<'a> {
    pub(super) fn new(main: &'a Connection, index: &'a Connection, query: &'a Query) -> Self {
        Self {
            main,
            index,
            query,
            readers: HashMap::new(),
            families: HashMap::new(),
            titles: HashMap::new(),
        }
    }

    /// The session that this message is found in, and its title; `None`: nobody shows it, or it is found where it was
    /// copied to.
    pub(super) fn oldest(&mut self, log: LogId, seq: Seq) -> Result<Option<(SessionId, String)>, Fault> {
        if let Some(session) = &self.query.session {
            let shows = session.tip.covers(log, seq);
            return Ok(shows.then(|| (session.id.clone(), session.title.clone())));
        }
        let Some(oldest) = self.oldest_in(log, seq)? else {
            return Ok(None);
        };
        for other in self.same_message(log, seq)? {
            // What is not indexed yet is found here still.
            if indexed_to(self.index, other)?.is_none_or(|to| to < seq) {
                continue;
            }
            let there = self.oldest_in(other, seq)?;
            if there.is_some_and(|there| there < oldest) {
                return Ok(None);
            }
        }
        self.titled(&oldest.id)
    }

    fn oldest_in(&mut self, log: LogId, seq: Seq) -> Result<Option<Sharer>, Error> {
        if !self.readers.contains_key(&log) {
            let found = readers(self.main, self.query, log)?;
            self.readers.insert(log, found);
        }
        let mut readers = self.readers.get(&log).into_iter().flatten();
        Ok(readers.find(|sharer| seq <= sharer.to).cloned())
    }

    /// The other logs that have the same message.
    fn same_message(&mut self, log: LogId, seq: Seq) -> Result<Vec<LogId>, Error> {
        let covers = |span: &&Span| span.after < seq && seq <= span.to;
        let original = self
            .family(log)?
            .originals
            .iter()
            .find(covers)
            .map(|span| span.log);
        let first = original.unwrap_or(log);
        let copies = self
            .family(first)?
            .copies
            .iter()
            .filter(covers)
            .map(|span| span.log);
        let all = copies.chain([first]);
        Ok(all.filter(|other| *other != log).collect())
    }

    fn family(&mut self, log: LogId) -> Result<&Family, Error> {
        if !self.families.contains_key(&log) {
            let family = match family(self.main, log) {
                Ok(family) => family,
                Err(Error::Corrupt { row, reason }) => {
                    tracing::error!(row, reason, "what is copied is not known to a search");
                    Family::default()
                }
                Err(error) => return Err(error),
            };
            self.families.insert(log, family);
        }
        Ok(self.families.entry(log).or_default())
    }

    fn titled(&mut self, id: &str) -> Result<Option<(SessionId, String)>, Fault> {
        let Ok(id) = SessionId::parse(id, "session_id") else {
            return Ok(None);
        };
        if !self.titles.contains_key(&id) {
            let title = title(self.main, self.query, &id)?;
            self.titles.insert(id.clone(), title);
        }
        let title = self.titles.get(&id).cloned().flatten();
        Ok(title.map(|title| (id, title)))
    }
}

fn family(main: &Connection, log: LogId) -> Result<Family, Error> {
    Ok(Family {
        originals: copies::originals(main, log)?,
        copies: copies::copies(main, log)?,
    })
}

/// The title of a session that is there and can be read.
fn title(main: &Connection, query: &Query, id: &SessionId) -> Result<Option<String>, Error> {
    let operation = "reading a title";
    let sql = "SELECT title FROM sessions WHERE namespace = ?1 AND session_id = ?2";
    let mut statement = main.prepare_cached(sql).map_err(failed(operation))?;
    let mut rows = statement
        .query([query.namespace.as_str(), id.as_str()])
        .map_err(failed(operation))?;
    let Some(row) = rows.next().map_err(failed(operation))? else {
        return Ok(None);
    };
    match Columns(row).text(0) {
        Ok(title) => Ok(Some(title.to_owned())),
        Err(damage) => {
            tracing::error!(session = %id, %damage, "a damaged session is left out of a search");
            Ok(None)
        }
    }
}

/// The sessions that read a log and pass the filters, the oldest first.
fn readers(main: &Connection, query: &Query, log: LogId) -> Result<Vec<Sharer>, Error> {
    let operation = "looking who reads a log";
    let mut statement = main.prepare_cached(READERS).map_err(failed(operation))?;
    let values = params![
        log.0.as_bytes(),
        query.namespace.as_str(),
        State::Active.code(),
        State::Archived.code(),
        query.workspace,
        column(SHARERS_MAX as u64),
    ];
    let mut rows = statement.query(values).map_err(failed(operation))?;
    let mut sharers = Vec::new();
    while let Some(row) = rows.next().map_err(failed(operation))? {
        let columns = Columns(row);
        let sharer = || -> Result<Sharer, Damage> {
            Ok(Sharer {
                create_time: columns.integer(1)?,
                id: columns.text(0)?.to_owned(),
                to: Seq(number(columns.integer(2)?)?),
            })
        };
        match sharer() {
            Ok(sharer) => sharers.push(sharer),
            Err(damage) => {
                tracing::error!(%log, %damage, "a damaged session is left out of a search");
            }
        }
    }
    sharers.sort();
    Ok(sharers)
}
