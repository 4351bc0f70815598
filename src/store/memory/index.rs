//! The search index: every row, looked at one by one.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::tables::Tables;
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::outcome::More;
use crate::domain::path::Span;
use crate::domain::query::{Bound, Page};
use crate::domain::search::{Found, Hit, Indexed, Place, Query, Reach, Row, Unindexed};
use crate::domain::session::State;
use crate::domain::{Entry, LogId, Namespace, Seq, Session};
use crate::store::Lack;

use super::rows_within;

#[derive(Debug)]
pub(super) struct Index {
    rows: BTreeMap<Place, (Namespace, LogId, Row)>,
    /// How far each log is indexed.
    to: BTreeMap<LogId, Seq>,
    pub(super) news: watch::Sender<u64>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            to: BTreeMap::new(),
            news: watch::Sender::new(0),
        }
    }
}

impl Tables {
    pub(super) fn lack(&mut self, bound: Bound) -> Lack {
        let rows = self.index.rows.iter();
        let gone = rows.filter(|(_, (_, log, row))| self.entry_in(*log, row.seq).is_none());
        let gone: Vec<Place> = gone.map(|(place, _)| *place).collect();
        for place in gone {
            self.index.rows.remove(&place);
        }
        let mut logs: Vec<Unindexed> = self.behind().collect();
        // Two sessions may show the same log.
        logs.sort_by_key(|log| (log.log, log.to));
        logs.dedup_by(|later, earlier| {
            let same = later.log == earlier.log;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let (mut left, mut more) = (bound, More::Done);
        for log in &mut logs {
            let size = |message: &Entry| message.body.len();
            let full = rows_within(log.messages.iter().map(size), left);
            if full < log.messages.len() {
                more = More::Left;
                log.messages.truncate(full);
                log.to = log.messages.last().map_or(log.after, |message| message.meta.seq);
            }
            let bytes: usize = log.messages.iter().map(size).sum();
            left = Bound {
                rows: left.rows - full,
                bytes: left.bytes.saturating_sub(bytes),
            };
        }
        logs.retain(|log| log.after < log.to);
        Lack { logs, more }
    }

    pub(super) fn put_in_index(&mut self, batch: Vec<Indexed>) {
        let mut rows = Vec::new();
        for indexed in batch {
            let at = self.index.to.get(&indexed.log).copied().unwrap_or(Seq::ZERO);
            if at == indexed.after {
                self.index.to.insert(indexed.log, indexed.to);
                let (ns, log) = (indexed.namespace, indexed.log);
                rows.extend(indexed.rows.into_iter().map(|row| (ns.clone(), log, row)));
            }
        }
        rows.sort_by_key(|(_, _, row)| row.time);
        let mut last = None;
        for row in rows {
            let is_taken =
                |place: Place| Ok::<_, std::convert::Infallible>(self.index.rows.contains_key(&place));
            if let Ok(Some(place)) = Place::free(row.2.time, last, is_taken) {
                last = Some(place);
                self.index.rows.insert(place, row);
            }
        }
    }

    pub(super) fn search(&self, query: &Query, after: Option<Place>, bound: Bound) -> Found {
        let older = self.index.rows.iter().rev();
        let older = older.filter(|(place, _)| after.is_none_or(|after| **place < after));
        let in_index = older.filter(|(_, (ns, log, row))| {
            let in_session = query.session.as_ref().is_none_or(|session| {
                let spans = session.tip.log.spans(Seq::ZERO, session.tip.seq());
                spans.iter().any(|span| span.log == *log)
            });
            *ns == query.namespace
                && in_session
                && (query.roles.is_empty() || query.roles.contains(&row.role))
                && query.words.accepts(&row.words)
        });
        let matches: Vec<_> = in_index.collect();
        let cut = matches.get(SCAN_ROWS_MAX).map(|_| *matches[SCAN_ROWS_MAX - 1].0);
        let mut hits: Vec<Hit> = matches
            .into_iter()
            .take(SCAN_ROWS_MAX)
            .filter_map(|(place, (_, log, row))| self.hit(query, *place, *log, row))
            .collect();
        let full = rows_within(hits.iter().map(|hit| hit.entry.body.len()), bound);
        let next = if full < hits.len() {
            Some(hits[full - 1].place)
        } else {
            cut
        };
        hits.truncate(full);
        Found {
            page: Page { rows: hits, next },
            reach: self.reach(),
        }
    }

    fn hit(&self, query: &Query, place: Place, log: LogId, row: &Row) -> Option<Hit> {
        if !query.admits(row.time) {
            return None;
        }
        let entry = self.entry_in(log, row.seq)?.clone();
        let (session, title) = match &query.session {
            Some(session) => {
                let shows = session.tip.covers(log, row.seq);
                shows.then(|| (session.id.clone(), session.title.clone()))?
            }
            None => {
                let oldest = self.oldest(query, log, row.seq)?;
                (oldest.id.clone(), oldest.profile.title.clone())
            }
        };
        Some(Hit {
            session,
            title,
            entry,
            time: row.time,
            place,
        })
    }

    /// The oldest living session that shows a message, if it shows it in this log.
    fn oldest(&self, query: &Query, log: LogId, seq: Seq) -> Option<&Session> {
        let living = self.sessions.values().filter(|session| {
            session.namespace == query.namespace
                && session.profile.state != State::Deleted
                && query
                    .workspace
                    .as_ref()
                    .is_none_or(|workspace| *workspace == session.profile.setting.workspace)
        });
        let shows = |session: &&Session| {
            let holder = session.tip.log.holder(seq);
            let is_indexed = self.index.to.get(&holder).is_some_and(|to| seq <= *to);
            seq <= session.tip.seq()
                && (holder == log || (is_indexed && self.first(holder, seq) == self.first(log, seq)))
        };
        let oldest = living
            .map(|session| &**session)
            .filter(shows)
            .min_by_key(|session| (session.profile.create_time, session.id.clone()))?;
        (oldest.tip.log.holder(seq) == log).then_some(oldest)
    }

    /// Where an entry was first, if it is a copy.
    fn first(&self, log: LogId, seq: Seq) -> LogId {
        let originals = self.copies.get(&log).into_iter().flatten();
        let mut covering = originals.filter(|span| span.after < seq && seq <= span.to);
        covering.next().map_or(log, |span| span.log)
    }

    /// What is not indexed.
    fn behind(&self) -> impl Iterator<Item = Unindexed> {
        self.sessions.values().flat_map(|session| {
            let spans = session.tip.log.spans(Seq::ZERO, session.tip.seq());
            spans.into_iter().filter_map(|span| self.lacking(session, span))
        })
    }

    fn lacking(&self, session: &Session, span: Span) -> Option<Unindexed> {
        let after = self.index.to.get(&span.log).copied().unwrap_or(Seq::ZERO);
        let messages = self.own_entries(span.log, after, span.to);
        (after < span.to).then(|| Unindexed {
            namespace: session.namespace.clone(),
            log: span.log,
            after,
            to: span.to,
            messages: messages
                .into_iter()
                .filter(|entry| entry.meta.mark.role.is_some())
                .collect(),
        })
    }

    fn reach(&self) -> Reach {
        let oldest = self.behind().next();
        // When it was written is not kept here: nothing is promised.
        oldest.map_or(Reach::All, |_| Reach::Until(crate::domain::Time(0)))
    }
}
