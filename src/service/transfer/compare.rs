//! How a transcript stands to the sessions that came from the same source: entry by entry, in one pass over all of
//! them, as the lines come in.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::domain::query::{Bound, End, Range};
use crate::domain::{Digest, EntryId, NewEntry, Seq, Session, Tip};
use crate::store;

use super::super::{Error, Service};

/// Bytes of a page of one of several sessions that are compared at a time.
const PAGE_BYTES: usize = PAGE_BYTES_MAX / 16;

/// Sessions that have everything the transcript has said so far.
#[derive(Debug)]
pub(super) struct Comparison {
    alive: Vec<Cursor>,
}

/// What the next entry of a transcript is to the sessions it was compared with.
#[derive(Debug)]
pub(super) enum Step {
    /// One of them has it there.
    Known,
    /// This one ends before it.
    Continues(Arc<Session>),
    /// All of them go on with something else; this one is as good as any.
    Diverges(Arc<Session>, Seq),
}

/// The way through a session's entries.
#[derive(Debug)]
struct Cursor {
    session: Arc<Session>,
    at: Seq,
    page: VecDeque<(EntryId, Digest)>,
}

impl Comparison {
    /// With these sessions, the best first; there is one at least.
    pub(super) fn with(sessions: Vec<Arc<Session>>) -> Self {
        let cursor = |session| Cursor {
            session,
            at: Seq::ZERO,
            page: VecDeque::new(),
        };
        Self {
            alive: sessions.into_iter().map(cursor).collect(),
        }
    }

    /// Looks at the transcript's next entry.
    pub(super) async fn step(&mut self, service: &Service, entry: &NewEntry) -> Result<Option<Step>, Error> {
        let (mut same, mut ended) = (Vec::new(), None);
        for (number, cursor) in self.alive.iter_mut().enumerate() {
            match cursor.peek(service).await? {
                Some((id, digest)) if *id == entry.id && *digest == entry.digest => same.push(number),
                Some(_) => {}
                None => ended = ended.or(Some(number)),
            }
        }
        if !same.is_empty() {
            let mut number = 0;
            self.alive.retain(|_| {
                number += 1;
                same.contains(&(number - 1))
            });
            self.alive.iter_mut().for_each(Cursor::advance);
            return Ok(Some(Step::Known));
        }
        let Some(cursor) = self.alive.get(ended.unwrap_or(0)) else {
            return Ok(None);
        };
        if cursor.has(service, &entry.id).await? {
            return Ok(Some(Step::Known));
        }
        let session = cursor.session.clone();
        Ok(Some(match ended {
            Some(_) => Step::Continues(session),
            None => Step::Diverges(session, cursor.at),
        }))
    }

    /// Whether what the transcript has said so far holds an entry of this id.
    pub(super) async fn has(&self, service: &Service, id: &EntryId) -> Result<bool, Error> {
        match self.alive.first() {
            Some(cursor) => cursor.has(service, id).await,
            None => Ok(false),
        }
    }

    /// The session that has what the transcript has: one that has nothing else, if there is one.
    pub(super) fn best(&self) -> Option<&Arc<Session>> {
        let whole = self
            .alive
            .iter()
            .find(|cursor| cursor.at == cursor.session.tip.seq());
        whole.or(self.alive.first()).map(|cursor| &cursor.session)
    }
}

impl Cursor {
    async fn peek(&mut self, service: &Service) -> Result<Option<&(EntryId, Digest)>, Error> {
        let tip = &self.session.tip;
        if self.page.is_empty() && self.at < tip.seq() {
            let range = Range {
                after: self.at,
                to: tip.seq(),
                from: End::Oldest,
            };
            let bound = Bound {
                rows: PAGE_ROWS_MAX,
                bytes: PAGE_BYTES,
            };
            let rows = service.store.entries(&tip.log, range, bound).await?;
            if rows.is_empty() {
                let log = format!("log {}", tip.log.id);
                return Err(store::Error::corrupt(log, "entries are missing").into());
            }
            let rows = rows.into_iter().map(|entry| (entry.meta.id, entry.meta.digest));
            self.page = rows.collect();
        }
        Ok(self.page.front())
    }

    fn advance(&mut self) {
        self.page.pop_front();
        self.at = self.at.next();
    }

    /// Whether what the transcript has said so far holds an entry of this id: a line that is there twice.
    async fn has(&self, service: &Service, id: &EntryId) -> Result<bool, Error> {
        let tip = &self.session.tip;
        let before = Tip {
            log: tip.log.clone(),
            tally: service.tally_at(tip, self.at).await?,
        };
        let known = service
            .store
            .known_entries(&before, std::slice::from_ref(id))
            .await?;
        Ok(!known.is_empty())
    }
}
