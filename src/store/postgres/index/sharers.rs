//! Who shows a message: of all sessions that share it, the oldest that is neither deleted nor turned away.

use std::collections::HashMap;

use super::lack::REACHED;
use crate::domain::limits::SHARERS_MAX;
use crate::domain::path::Span;
use crate::domain::search::Query;
use crate::domain::session::State;
use crate::domain::{LogId, Seq, SessionId};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::copies;
use crate::store::postgres::fault::Fault;
use crate::store::record::{Code, Damage, column, number};

/// The sessions that read a log. `OFFSET 0` keeps the planner from walking a namespace for them.
pub(super) const READERS: &str = "SELECT session_id, create_time, seq \
        FROM (SELECT * FROM sessions WHERE log = $1 OFFSET 0) AS s \
        WHERE namespace = $2 AND state IN ($3, $4) AND workspace = coalesce($5, workspace) \
    UNION ALL SELECT s.session_id, s.create_time, e.to_seq \
        FROM (SELECT log, to_seq FROM log_edges WHERE part_log = $1 OFFSET 0) AS e \
        CROSS JOIN LATERAL (SELECT * FROM sessions WHERE log = e.log OFFSET 0) AS s \
        WHERE s.namespace = $2 AND s.state IN ($3, $4) \
        AND s.workspace = coalesce($5, s.workspace) \
    LIMIT $6";

pub(super) const TITLE: &str = "SELECT title FROM sessions WHERE namespace = $1 AND session_id = $2";

/// Sessions by the logs that they read, remembered for one search.
pub(super) struct Sharers<'a> {
    conn: &'a Conn,
    query: &'a Query,
    readers: HashMap<LogId, Vec<Sharer>>,
    families: HashMap<LogId, Family>,
    reached: HashMap<LogId, Option<Seq>>,
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
    pub(super) fn new(conn: &'a Conn, query: &'a Query) -> Self {
        Self {
            conn,
            query,
            readers: HashMap::new(),
            families: HashMap::new(),
            reached: HashMap::new(),
            titles: HashMap::new(),
        }
    }

    /// The session that this message is found in, and its title; `None`: nobody shows it, or it is found where it was
    /// copied to.
    pub(super) async fn oldest(
        &mut self,
        log: LogId,
        seq: Seq,
    ) -> Result<Option<(SessionId, String)>, Fault> {
        if let Some(session) = &self.query.session {
            let shows = session.tip.covers(log, seq);
            return Ok(shows.then(|| (session.id.clone(), session.title.clone())));
        }
        let Some(oldest) = self.oldest_in(log, seq).await? else {
            return Ok(None);
        };
        for other in self.same_message(log, seq).await? {
            // What is not indexed yet is found here still.
            if self.indexed_to(other).await?.is_none_or(|to| to < seq) {
                continue;
            }
            let there = self.oldest_in(other, seq).await?;
            if there.is_some_and(|there| there < oldest) {
                return Ok(None);
            }
        }
        self.titled(&oldest.id).await
    }

    async fn oldest_in(&mut self, log: LogId, seq: Seq) -> Result<Option<Sharer>, Fault> {
        if !self.readers.contains_key(&log) {
            let found = self.readers_of(log).await?;
            self.readers.insert(log, found);
        }
        let mut readers = self.readers.get(&log).into_iter().flatten();
        Ok(readers.find(|sharer| seq <= sharer.to).cloned())
    }

    /// The other logs that have the same message.
    async fn same_message(&mut self, log: LogId, seq: Seq) -> Result<Vec<LogId>, Fault> {
        let covers = |span: &&Span| span.after < seq && seq <= span.to;
        let originals = &self.family(log).await?.originals;
        let original = originals.iter().find(covers).map(|span| span.log);
        let first = original.unwrap_or(log);
        let copies = &self.family(first).await?.copies;
        let copies = copies.iter().filter(covers).map(|span| span.log);
        let all = copies.chain([first]);
        Ok(all.filter(|other| *other != log).collect())
    }

    async fn family(&mut self, log: LogId) -> Result<&Family, Fault> {
        if !self.families.contains_key(&log) {
            let family = Family {
                originals: copies::originals(self.conn, log).await?,
                copies: copies::copies(self.conn, log).await?,
            };
            self.families.insert(log, family);
        }
        Ok(self.families.entry(log).or_default())
    }

    async fn indexed_to(&mut self, log: LogId) -> Result<Option<Seq>, Fault> {
        if let Some(known) = self.reached.get(&log) {
            return Ok(*known);
        }
        let names = vec![log.0.as_bytes().as_slice()];
        let row = self.conn.row("searching", REACHED, &[&names]).await?;
        let to = row.and_then(|row| Columns(&row).integer(1).and_then(number).ok());
        let to = to.map(Seq);
        self.reached.insert(log, to);
        Ok(to)
    }

    async fn titled(&mut self, id: &str) -> Result<Option<(SessionId, String)>, Fault> {
        let Ok(id) = SessionId::parse(id, "session_id") else {
            return Ok(None);
        };
        if !self.titles.contains_key(&id) {
            let title = self.title(&id).await?;
            self.titles.insert(id.clone(), title);
        }
        let title = self.titles.get(&id).cloned().flatten();
        Ok(title.map(|title| (id, title)))
    }

    /// The title of a session that is there and can be read.
    async fn title(&self, id: &SessionId) -> Result<Option<String>, Fault> {
        let values = [self.query.namespace.as_str(), id.as_str()];
        let row = self
            .conn
            .row("reading a title", TITLE, &[&values[0], &values[1]])
            .await?;
        match row.as_ref().map(|row| Columns(row).written(0)) {
            Some(Ok(title)) => Ok(Some(title.to_owned())),
            Some(Err(damage)) => {
                tracing::error!(session = %id, %damage, "a damaged session is left out of a search");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The sessions that read a log and pass the filters, the oldest first.
    async fn readers_of(&self, log: LogId) -> Result<Vec<Sharer>, Fault> {
        let workspace = self.query.workspace.as_ref().map(String::as_bytes);
        let rows = self
            .conn
            .rows(
                "looking who reads a log",
                READERS,
                &[
                    &log.0.as_bytes().as_slice(),
                    &self.query.namespace.as_str(),
                    &State::Active.code(),
                    &State::Archived.code(),
                    &workspace,
                    &column(SHARERS_MAX as u64),
                ],
            )
            .await?;
        let mut sharers = Vec::new();
        for row in &rows {
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
}
