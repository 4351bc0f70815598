//! The model: every row in ordered maps. What another backend answers has to be what this one answers.
//!
//! It keeps nothing over a restart, which is what some tests and embedders want. Several services of one process may
//! share one, each through a view of its own ([`Memory::beside`]), as processes share a database.

use std::collections::HashSet;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::entry::EntryMeta;
use crate::domain::fork::Count;
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::query::{self, Bound, End, Page, Range, ResumeKey, SessionKey, ThreadKey};
use crate::domain::search::{self, Found, Indexed, Place};
use crate::domain::{
    Engine, EngineId, Entry, EntryId, Facts, Item, Log, LogId, Namespace, Outcome, PastHead, Proposal,
    Receipt, RequestId, Resume, ResumeId, Revision, Seq, Session, SessionId, Source, Thread, ThreadId, Time,
    Tip, Turn, TurnId,
};

use super::batch::{Verdict, consider, judge};
use super::{Child, Chore, Committed, Error, Lack, Members, Observer, Observers, Store};

#[cfg(test)]
pub(crate) use failures::{Failures, How};
use tables::Tables;

mod engines;
#[cfg(test)]
mod failures;
mod index;
mod survey;
mod tables;
#[cfg(test)]
mod tests;

/// Sessions and threads in memory.
#[derive(Debug, Default)]
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
    observers: Observers,
    shared: bool,
    #[cfg(test)]
    failures: Failures,
}

impl Memory {
    /// An empty store that several services share.
    pub fn shared() -> Self {
        Self {
            shared: true,
            ..Self::default()
        }
    }

    /// Another view of the same rows. Whoever observes it is told of the commits that go through this view alone, as
    /// with a database whose notifications are lost.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            tables: self.tables.clone(),
            ..Self::shared()
        }
    }

    /// Which commits through this view fail.
    #[cfg(test)]
    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic while the lock is held happens before the first row is written: judging comes first.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        #[cfg(test)]
        let is_answered = match self.failures.of(&proposal.command) {
            Some(How::NotTaken) => return Err(failures::failed()),
            Some(How::Hangs) => return std::future::pending().await,
            Some(How::NotAnswered) => false,
            None => true,
        };
        let mut tables = self.tables();
        match judge(&mut Facts::default(), &mut *tables, &proposal, now)? {
            Verdict::Decided(effects, committed) => {
                effects.into_iter().for_each(|effect| tables.write(effect));
                tables.index.news.send_modify(|news| *news = news.wrapping_add(1));
                // Under the lock, so that commits are told of in their order.
                self.observers.tell(&committed.changes);
                #[cfg(test)]
                if !is_answered {
                    return Err(failures::failed());
                }
                Ok(committed)
            }
            Verdict::Refused(refusal) => Err(refusal.into()),
            Verdict::StoreFirst => unreachable!("nothing is pending before the first proposal"),
        }
    }

    async fn consider(&self, proposal: Proposal, now: Time) -> Result<Outcome, Error> {
        consider(&mut *self.tables(), &proposal, now)
    }

    fn observe(&self, observer: &Arc<dyn Observer>) {
        self.observers.add(observer);
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    async fn receipt(&self, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error> {
        Ok(self.tables().receipts.get(&(ns.clone(), id.clone())).cloned())
    }

    async fn session(&self, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Session>>, Error> {
        Ok(self.tables().sessions.get(&(ns.clone(), id.clone())).cloned())
    }

    async fn imported(&self, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error> {
        Ok(self.tables().imported(ns, source))
    }

    async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error> {
        let tables = self.tables();
        let of_states = tables.sessions.values().filter(|session| {
            session.namespace == query.namespace && query.states.contains(&session.profile.state)
        });
        let mut keyed: Vec<_> = of_states
            .map(|session| (query.key(session), session.clone()))
            .collect();
        keyed.sort_by(|(a, _), (b, _)| query.order.compare(a, b));
        if let Some(after) = after {
            keyed.retain(|(key, _)| query.order.compare(key, after).is_gt());
        }
        let scanned = keyed.len().min(SCAN_ROWS_MAX);
        let cut = keyed.get(SCAN_ROWS_MAX).map(|_| keyed[scanned - 1].0.clone());
        let mut admitted: Vec<_> = keyed
            .into_iter()
            .take(scanned)
            .filter(|(_, session)| query.admits(session))
            .collect();
        let full = rows_within(admitted.iter().map(|(_, session)| session.text_bytes()), bound);
        let next = if full < admitted.len() {
            Some(admitted[full - 1].0.clone())
        } else {
            cut
        };
        admitted.truncate(full);
        Ok(Page {
            rows: admitted.into_iter().map(|(_, session)| session).collect(),
            next,
        })
    }

    async fn namespaces(&self, after: Option<&Namespace>, rows: usize) -> Result<Vec<Namespace>, Error> {
        let tables = self.tables();
        let names = tables.sessions.keys().map(|(ns, _)| ns);
        let mut names: Vec<Namespace> = names
            .filter(|ns| after.is_none_or(|after| *ns > after))
            .cloned()
            .collect();
        names.dedup();
        names.truncate(rows);
        Ok(names)
    }

    async fn entries(&self, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error> {
        let tables = self.tables();
        let mut rows = tables.entries_of(log, range.after, range.to);
        match range.from {
            End::Oldest => {
                let full = rows_within(rows.iter().map(|entry| entry.body.len()), bound);
                rows.truncate(full);
            }
            End::Newest => {
                let full = rows_within(rows.iter().rev().map(|entry| entry.body.len()), bound);
                rows.drain(..rows.len() - full);
            }
        }
        Ok(rows)
    }

    async fn log(&self, id: LogId) -> Result<Option<Arc<Log>>, Error> {
        Ok(self.tables().log(id))
    }

    async fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Result<Vec<Child>, Error> {
        Ok(self.tables().children(ns, id, after, rows))
    }

    async fn entry_meta(&self, log: &Log, seq: Seq) -> Result<Option<EntryMeta>, Error> {
        Ok(self.tables().entry(log, seq).map(|entry| entry.meta.clone()))
    }

    async fn entry_by_id(&self, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error> {
        let tables = self.tables();
        let found = tables
            .entries_of(&tip.log, Seq::ZERO, tip.seq())
            .into_iter()
            .find(|entry| entry.meta.id == *id);
        Ok(found)
    }

    async fn known_entries(&self, tip: &Tip, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
        Ok(self
            .tables()
            .known(&tip.log, tip.seq(), ids)
            .into_keys()
            .collect())
    }

    async fn seek(&self, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error> {
        let tables = self.tables();
        let rows = tables.entries_of(&tip.log, Seq::ZERO, tip.seq());
        Ok(rows
            .into_iter()
            .find(|entry| count.of(&entry.meta.tally) > number))
    }

    async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error> {
        Ok(self.tables().threads.get(&(ns.clone(), id.clone())).cloned())
    }

    async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
        let tables = self.tables();
        let of_namespace = tables
            .threads
            .values()
            .filter(|thread| thread.namespace == query.namespace);
        let mut keyed: Vec<_> = of_namespace
            .map(|thread| (thread.key(), thread.clone()))
            .collect();
        keyed.sort_by(|(a, _), (b, _)| b.cmp(a));
        if let Some(after) = after {
            keyed.retain(|(key, _)| key < after);
        }
        let scanned = keyed.len().min(SCAN_ROWS_MAX);
        let cut = keyed.get(SCAN_ROWS_MAX).map(|_| keyed[scanned - 1].0.clone());
        let mut admitted: Vec<_> = keyed
            .into_iter()
            .take(scanned)
            .filter(|(_, thread)| query.admits(thread))
            .collect();
        let full = rows_within(admitted.iter().map(|(_, thread)| thread.text_bytes()), bound);
        let next = if full < admitted.len() {
            Some(admitted[full - 1].0.clone())
        } else {
            cut
        };
        admitted.truncate(full);
        Ok(Page {
            rows: admitted.into_iter().map(|(_, thread)| thread).collect(),
            next,
        })
    }

    async fn turn(&self, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error> {
        Ok(self
            .tables()
            .turns
            .get(&(journal, id.clone()))
            .map(|turn| Turn::clone(turn)))
    }

    async fn turns(&self, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error> {
        let tables = self.tables();
        let found = ids
            .iter()
            .filter_map(|id| tables.turns.get(&(journal, id.clone())));
        let mut turns: Vec<Turn> = found.map(|turn| Turn::clone(turn)).collect();
        turns.sort_by_key(|turn| turn.number);
        turns.dedup_by_key(|turn| turn.number);
        Ok(turns)
    }

    async fn items(&self, journal: LogId, query: &query::Items, bound: Bound) -> Result<Vec<Item>, Error> {
        let tables = self.tables();
        let after = tables.items.range((
            Excluded((journal, query.after)),
            Included((journal, Seq(u64::MAX))),
        ));
        let of_turn = after
            .map(|(_, item)| item)
            .filter(|item| query.turn.as_ref().is_none_or(|turn| *turn == item.turn));
        let mut rows: Vec<Item> = of_turn.cloned().collect();
        let full = rows_within(rows.iter().map(|item| item.body.len()), bound);
        rows.truncate(full);
        Ok(rows)
    }

    async fn engine(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
        Ok(self.tables().engine(ns, id))
    }

    async fn engines(
        &self,
        after: Option<&(Namespace, EngineId)>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        let tables = self.tables();
        let later = tables
            .engines
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| *key > after));
        Ok(later.map(|(_, engine)| engine.clone()).take(rows).collect())
    }

    async fn attached(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        let tables = self.tables();
        let attached = tables.engines.values().filter(|engine| {
            engine.namespace == *ns && engine.is_attached() && after.is_none_or(|after| engine.id > *after)
        });
        Ok(attached.take(rows).cloned().collect())
    }

    async fn members(&self, now: Time) -> Result<Members, Error> {
        Ok(Members {
            replicas: self.tables().replicas.values().cloned().collect(),
            clock: now,
        })
    }

    async fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> Result<u64, Error> {
        Ok(self.tables().threads_held(ns, engine, epoch))
    }

    async fn resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
        Ok(self.tables().resume(ns, id))
    }

    async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
        let tables = self.tables();
        let admitted = tables.resumes.values().filter(|resume| query.admits(resume));
        let mut keyed: Vec<_> = admitted.map(|resume| (resume.key(), resume.clone())).collect();
        keyed.sort_by(|(a, _), (b, _)| b.cmp(a));
        if let Some(after) = after {
            keyed.retain(|(key, _)| key < after);
        }
        let full = rows_within(keyed.iter().map(|(_, resume)| resume.text_bytes()), bound);
        let next = (full < keyed.len()).then(|| keyed[full - 1].0.clone());
        keyed.truncate(full);
        Ok(Page {
            rows: keyed.into_iter().map(|(_, resume)| resume).collect(),
            next,
        })
    }

    async fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Result<Option<Arc<PastHead>>, Error> {
        Ok(self.tables().past_head(ns, session, revision))
    }

    async fn past_heads(
        &self,
        ns: &Namespace,
        session: &SessionId,
        before: Option<Revision>,
        rows: usize,
    ) -> Result<Vec<Arc<PastHead>>, Error> {
        let tables = self.tables();
        let of_session = tables.past_heads.values().rev().filter(|head| {
            let is_before = before.is_none_or(|before| head.revision < before);
            head.namespace == *ns && head.session == *session && is_before
        });
        Ok(of_session.take(rows).cloned().collect())
    }

    async fn changed_turns(&self, journal: LogId, after: u64, rows: usize) -> Result<Vec<Turn>, Error> {
        let tables = self.tables();
        let changed = tables
            .turns
            .values()
            .filter(|turn| turn.journal == journal && turn.change > after);
        let mut changed: Vec<Turn> = changed.map(|turn| Turn::clone(turn)).collect();
        changed.sort_by_key(|turn| (turn.change, turn.number));
        changed.truncate(rows);
        Ok(changed)
    }

    async fn changed_items(
        &self,
        journal: LogId,
        query: &query::ChangedItems,
        bound: Bound,
    ) -> Result<Vec<Item>, Error> {
        let tables = self.tables();
        let all = tables.items.range((journal, Seq::ZERO)..).map(|(_, item)| item);
        let mut changed: Vec<Item> = all
            .take_while(|item| item.journal == journal)
            .filter(|item| query.admits(item))
            .cloned()
            .collect();
        changed.sort_by_key(|item| (item.change, item.seq));
        let full = rows_within(changed.iter().map(|item| item.body.len()), bound);
        changed.truncate(full);
        Ok(changed)
    }

    async fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        Ok(self.tables().lack(bound))
    }

    async fn index(&self, batch: Vec<Indexed>, _through: Option<Time>) -> Result<(), Error> {
        self.tables().put_in_index(batch);
        Ok(())
    }

    fn index_news(&self) -> watch::Receiver<u64> {
        self.tables().index.news.subscribe()
    }

    async fn search(
        &self,
        query: &search::Query,
        after: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        Ok(self.tables().search(query, after, bound))
    }

    async fn chores(&self, now: Time, rows: usize) -> Result<Vec<Chore>, Error> {
        Ok(self.tables().chores(now, rows))
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) {}
}

/// How many rows of these sizes a page takes: one at least.
fn rows_within(sizes: impl Iterator<Item = usize>, bound: Bound) -> usize {
    let mut bytes = 0;
    let fitting = sizes.take(bound.rows).enumerate().take_while(|(at, size)| {
        bytes += size;
        *at == 0 || bytes <= bound.bytes
    });
    fitting.count()
}
