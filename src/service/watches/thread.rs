//! One who watches a thread.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, WATCH_PAGE_BYTES, WATCH_TURNS_MAX};
use crate::domain::query::{Bound, ChangedItems};
use crate::domain::{Item, Namespace, Refusal, Seq, Thread, ThreadCursor, ThreadId, Turn};
use crate::watchers::{ThreadEar, is_silent_since};

use super::super::{Error, Service};
use super::{ThreadChange, ThreadChanges};

/// Where the reader stands, and what is known of the thread.
struct Watch {
    service: Service,
    ear: ThreadEar,
    ticks: watch::Receiver<u64>,
    thread: Option<Arc<Thread>>,
    cursor: ThreadCursor,
    /// To be told with the next change.
    rewound_to: Option<Seq>,
    /// The version of the thread that the reader has; `None`: nothing was sent yet.
    told: Option<u64>,
    sent: Instant,
    has_ended: bool,
}

impl Service {
    /// Watches a thread from a cursor, or from its first item, until it is deleted.
    pub async fn watch_thread(
        &self,
        ns: &Namespace,
        id: &ThreadId,
        cursor: Option<ThreadCursor>,
    ) -> Result<ThreadChanges, Error> {
        let mut ear = self.live.watchers.thread(ns, id);
        let thread = match ear.heard().flatten() {
            // Another replica may have told the reader what nobody has told here yet.
            Some(known) if cursor.is_some_and(|cursor| self.is_in_doubt_of(&known, cursor)) => {
                let read = self.checked_thread(&known).await?;
                read.ok_or_else(|| Refusal::no_thread(id))?
            }
            Some(thread) => thread,
            None => {
                let thread = self.thread(ns, id).await?;
                self.live.watchers.offer_thread(&thread);
                thread
            }
        };
        let watch = Watch {
            service: self.clone(),
            ear,
            ticks: self.live.watchers.ticks(),
            cursor: cursor.unwrap_or_else(|| ThreadCursor::start_of(&thread)),
            thread: Some(thread),
            rewound_to: None,
            told: None,
            sent: Instant::now(),
            has_ended: false,
        };
        let changes = stream::unfold(watch, |mut watch| async move {
            let change = watch.next().await?;
            watch.has_ended |= change.is_err();
            Some((change, watch))
        });
        Ok(changes.boxed())
    }

    /// Whether a reader has seen what a thread that is known from hearing alone does not have.
    fn is_in_doubt_of(&self, known: &Thread, cursor: ThreadCursor) -> bool {
        let is_behind = cursor.journal != known.journal || cursor.change > known.change;
        self.store.is_shared() && is_behind
    }

    /// The thread as the store has it, for everybody who watches it, too.
    async fn checked_thread(&self, known: &Arc<Thread>) -> Result<Option<Arc<Thread>>, Error> {
        let read = self.store.thread(&known.namespace, &known.id).await?;
        self.live.watchers.correct_thread(known, read.clone());
        Ok(read)
    }
}

impl Watch {
    /// The next change; `None` after the last one.
    async fn next(&mut self) -> Option<Result<ThreadChange, Error>> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Some(thread) = self.ear.heard() {
                self.thread = thread;
            }
            let change = match self.news().await {
                Ok(change) => change,
                Err(error) => return Some(Err(error)),
            };
            if let Some(change) = change {
                return Some(Ok(self.told(change)));
            }
            tokio::select! {
                thread = self.ear.next() => self.thread = thread,
                Ok(()) = self.ticks.changed() => {
                    if is_silent_since(self.sent) {
                        let heartbeat = self.change(Vec::new(), Vec::new());
                        return Some(Ok(self.told(heartbeat)));
                    }
                }
            }
        }
    }

    /// What the reader has not been told yet.
    async fn news(&mut self) -> Result<Option<ThreadChange>, Error> {
        if let Some(known) = &self.thread
            && self.service.is_in_doubt_of(known, self.cursor)
        {
            self.thread = self.service.checked_thread(known).await?;
        }
        let Some(thread) = self.thread.clone() else {
            return Ok(Some(self.change(Vec::new(), Vec::new())));
        };
        if self.cursor.journal != thread.journal {
            let (cursor, kept) = self.cursor.moved_to(&thread);
            self.cursor = cursor;
            self.rewound_to = Some(self.rewound_to.map_or(kept, |lowest| lowest.min(kept)));
        }
        let (items, turns) = if self.cursor.item < thread.base_items() {
            self.shared(&thread).await?
        } else {
            self.own(&thread).await?
        };
        let is_news = !items.is_empty() || !turns.is_empty() || self.rewound_to.is_some();
        if is_news || self.told != Some(thread.change) {
            return Ok(Some(self.change(items, turns)));
        }
        Ok(None)
    }

    /// The next items that the thread shares with a session.
    async fn shared(&mut self, thread: &Thread) -> Result<(Vec<Item>, Vec<Turn>), Error> {
        let page = self
            .service
            .shared_items(thread, self.cursor.item, room(thread))
            .await?;
        self.cursor.item = page.next.unwrap_or_else(|| thread.base_items());
        Ok((page.items, page.turns))
    }

    /// The next own items and turns, in the order of their changes.
    async fn own(&mut self, thread: &Thread) -> Result<(Vec<Item>, Vec<Turn>), Error> {
        let ThreadCursor {
            journal,
            change,
            after,
            ..
        } = self.cursor;
        if change >= thread.change && after == Seq(u64::MAX) {
            return Ok((Vec::new(), Vec::new()));
        }
        let store = &self.service.store;
        // A turn is sent with the last items of its change.
        let told = if after == Seq(u64::MAX) {
            change
        } else {
            change.saturating_sub(1)
        };
        let mut turns = store.changed_turns(journal, told, WATCH_TURNS_MAX).await?;
        let last_turn = turns.last().filter(|_| turns.len() == WATCH_TURNS_MAX);
        let to = last_turn.map_or(thread.change, |turn| turn.change.min(thread.change));
        let query = ChangedItems { change, after, to };
        let items = store.changed_items(journal, &query, room(thread)).await?;
        let is_all = match items.last() {
            Some(last) => {
                let rest = ChangedItems {
                    change: last.change,
                    after: last.seq,
                    to,
                };
                let one = Bound { rows: 1, bytes: 0 };
                store.changed_items(journal, &rest, one).await?.is_empty()
            }
            None => true,
        };
        (self.cursor.change, self.cursor.after) = match items.last() {
            Some(last) if !is_all => (last.change, last.seq),
            Some(_) | None => (to, Seq(u64::MAX)),
        };
        let reached = self.cursor.change;
        turns.retain(|turn| turn.change < reached || (is_all && turn.change == reached));
        Ok((items, turns))
    }

    /// A change that tells of items and turns, and of all that is known beside them.
    fn change(&mut self, items: Vec<Item>, turns: Vec<Turn>) -> ThreadChange {
        ThreadChange {
            items,
            turns,
            thread: self.thread.clone(),
            rewound_to: self.rewound_to.take(),
            deleted: self.thread.is_none(),
            cursor: self.cursor,
        }
    }

    /// Notes what is sent now.
    fn told(&mut self, change: ThreadChange) -> ThreadChange {
        self.sent = Instant::now();
        self.told = change.thread.as_ref().map(|thread| thread.change);
        self.has_ended = change.deleted;
        change
    }
}

/// What a response may hold beside the thread.
fn room(thread: &Thread) -> Bound {
    let rest = PAGE_BYTES_MAX.saturating_sub(thread.text_bytes());
    Bound {
        rows: PAGE_ROWS_MAX,
        bytes: WATCH_PAGE_BYTES.min(rest),
    }
}
