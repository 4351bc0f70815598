//! One who watches a session.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::limits::{PAGE_BYTES_MAX, WATCH_PAGE_BYTES};
use crate::domain::session::State;
use crate::domain::{Cursor, Entry, EntryMeta, Namespace, Refusal, Seq, Session, SessionId, path};
use crate::watchers::{SessionEar, is_silent_since};

use super::super::{Error, Service};
use super::{SessionChange, SessionChanges};

/// Where the reader stands, and what is known of the session.
struct Watch {
    service: Service,
    ear: SessionEar,
    ticks: watch::Receiver<u64>,
    session: Option<Arc<Session>>,
    cursor: Cursor,
    /// To be told with the next change.
    rewound_to: Option<Seq>,
    /// The version of the session that the reader has; `None`: nothing was sent yet.
    told: Option<u64>,
    sent: Instant,
    has_ended: bool,
}

impl Service {
    /// Watches a session from a cursor, or from its first entry, until it is deleted.
    pub async fn watch_session(
        &self,
        ns: &Namespace,
        id: &SessionId,
        cursor: Option<Cursor>,
    ) -> Result<SessionChanges, Error> {
        let mut ear = self.live.watchers.session(ns, id);
        let session = match ear.heard().and_then(|news| news.session) {
            // Another replica may have told the reader what nobody has told here yet.
            Some(known) if cursor.is_some_and(|cursor| self.is_in_doubt(&known, cursor)) => {
                let read = self.checked_session(&known).await?;
                read.ok_or_else(|| Refusal::no_session(id))?
            }
            Some(session) => session,
            None => {
                let session = self.found(ns, id).await?;
                self.live.watchers.offer_session(&session);
                session
            }
        };
        let cursor = cursor.unwrap_or_else(|| Cursor::at(&session.tip, Seq::ZERO, session.revision));
        let mut watch = Watch {
            service: self.clone(),
            ear,
            ticks: self.live.watchers.ticks(),
            session: Some(session),
            cursor,
            rewound_to: None,
            told: None,
            sent: Instant::now(),
            has_ended: false,
        };
        // A cursor that is no good is told at once.
        watch.stand().await?;
        let changes = stream::unfold(watch, |mut watch| async move {
            let change = watch.next().await?;
            watch.has_ended |= change.is_err();
            Some((change, watch))
        });
        Ok(changes.boxed())
    }

    /// Whether a reader has seen what a session that is known from hearing alone does not have.
    fn is_in_doubt(&self, known: &Session, cursor: Cursor) -> bool {
        self.store.is_shared() && !cursor.is_within(&known.tip)
    }

    /// The session as the store has it, for everybody who watches it, too.
    async fn checked_session(&self, known: &Arc<Session>) -> Result<Option<Arc<Session>>, Error> {
        let read = self.store.session(&known.namespace, &known.id).await?;
        self.live.watchers.correct_session(known, read.clone());
        Ok(read)
    }
}

impl Watch {
    /// The next change; `None` after the last one.
    async fn next(&mut self) -> Option<Result<SessionChange, Error>> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Some(news) = self.ear.heard() {
                self.session = news.session;
            }
            let change = match self.news().await {
                Ok(change) => change,
                Err(error) => return Some(Err(error)),
            };
            if let Some(change) = change {
                return Some(Ok(self.told(change)));
            }
            tokio::select! {
                news = self.ear.next() => self.session = news.session,
                Ok(()) = self.ticks.changed() => {
                    if is_silent_since(self.sent) {
                        let heartbeat = self.change(Vec::new());
                        return Some(Ok(self.told(heartbeat)));
                    }
                }
            }
        }
    }

    /// What the reader has not been told yet.
    async fn news(&mut self) -> Result<Option<SessionChange>, Error> {
        self.doubt().await?;
        let Some(session) = self.session.clone() else {
            return Ok(Some(self.change(Vec::new())));
        };
        self.stand().await?;
        let entries = self.after_cursor(&session).await?;
        let is_news = !entries.is_empty() || self.rewound_to.is_some();
        if is_news || self.told != Some(session.generation) {
            return Ok(Some(self.change(entries)));
        }
        Ok(None)
    }

    /// Reads the session where what was heard last is older than what the reader has: it says nothing of a rewind.
    async fn doubt(&mut self) -> Result<(), Error> {
        let Some(known) = &self.session else {
            return Ok(());
        };
        if known.revision < self.cursor.revision && self.service.is_in_doubt(known, self.cursor) {
            self.session = self.service.checked_session(known).await?;
        }
        Ok(())
    }

    /// Where the cursor stands in the log as it is now: a rewind takes it back.
    async fn stand(&mut self) -> Result<(), Error> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let (tip, cursor) = (&session.tip, self.cursor);
        let mut seq = cursor.seq;
        if !cursor.is_within(tip) {
            let log = self.service.store.log(cursor.log).await?;
            let log = log.ok_or(Refusal::CursorExpired)?;
            let shared = path::shared((&log, cursor.seq), (&tip.log, tip.seq()));
            if shared < cursor.seq && !self.is_copied(session).await? {
                seq = shared;
                self.rewound_to = Some(self.rewound_to.map_or(shared, |lowest| lowest.min(shared)));
            }
        }
        self.cursor = Cursor::at(tip, seq, session.revision);
        Ok(())
    }

    /// Whether the entry at the cursor lies in another log only because upkeep has copied it to shorten the path.
    async fn is_copied(&self, session: &Session) -> Result<bool, Error> {
        let (store, cursor) = (&self.service.store, self.cursor);
        let rewound = store
            .past_heads(&session.namespace, &session.id, None, 1)
            .await?
            .iter()
            .any(|head| head.revision >= cursor.revision);
        if rewound || cursor.seq > session.tip.seq() {
            return Ok(false);
        }
        let read = store
            .entry_meta(&crate::domain::Log::root(cursor.log), cursor.seq)
            .await?;
        let stands = store.entry_meta(&session.tip.log, cursor.seq).await?;
        let facts = |meta: EntryMeta| (meta.id, meta.digest, meta.create_time, meta.tally);
        Ok(read.is_some() && read.map(facts) == stands.map(facts))
    }

    /// The entries that follow the cursor, as many as one change holds.
    async fn after_cursor(&mut self, session: &Session) -> Result<Vec<Entry>, Error> {
        if self.cursor.seq >= session.tip.seq() {
            return Ok(Vec::new());
        }
        // The tail is not kept: of many slow readers each would keep another.
        let tail = self.ear.known().map(|news| news.tail).unwrap_or_default();
        let known = tail.after(self.cursor.seq, &session.tip);
        if !known.is_empty() {
            return Ok(known);
        }
        let bytes = WATCH_PAGE_BYTES.min(PAGE_BYTES_MAX.saturating_sub(session.text_bytes()));
        self.service.page_of(&session.tip, self.cursor.seq, bytes).await
    }

    /// A change that tells of `entries`, and of all that is known beside them.
    fn change(&mut self, entries: Vec<Entry>) -> SessionChange {
        let end = self
            .session
            .as_ref()
            .map_or(Seq::ZERO, |session| session.tip.seq());
        if let (Some(session), Some(last)) = (&self.session, entries.last()) {
            self.cursor = Cursor::at(&session.tip, last.meta.seq, session.revision);
        }
        let is_deleted = self
            .session
            .as_ref()
            .is_none_or(|session| session.profile.state == State::Deleted);
        SessionChange {
            entries,
            session: self.session.clone(),
            rewound_to: self.rewound_to.take(),
            deleted: is_deleted && self.cursor.seq >= end,
            cursor: self.cursor,
        }
    }

    /// Notes what is sent now.
    fn told(&mut self, change: SessionChange) -> SessionChange {
        self.sent = Instant::now();
        self.told = change.session.as_ref().map(|session| session.generation);
        self.has_ended = change.deleted;
        change
    }
}
