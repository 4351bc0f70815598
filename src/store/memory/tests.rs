//! The suite on the memory store as it is, and on one that decides many proposals on top of each other
//! before it writes them: what a backend with group commit does.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::Effect;
use crate::store::conformance::{Backend, conformance};
use crate::store::survey::{Fill, Key, Stretch, Survey};

use super::*;

/// Memory has nowhere to come back from: a restart finds the same store.
struct Kept<S> {
    store: Arc<S>,
    filling: Arc<Filling<S>>,
}

impl<S: Default> Default for Kept<S> {
    fn default() -> Self {
        let store = Arc::<S>::default();
        let filling = Filling {
            store: store.clone(),
            reached: Mutex::new(Filled::Whole),
        };
        Self {
            store,
            filling: Arc::new(filling),
        }
    }
}

/// A store while it is filled.
#[derive(Debug)]
struct Filling<S> {
    store: Arc<S>,
    reached: Mutex<Filled>,
}

/// How far it is filled.
#[derive(Clone, Debug, PartialEq)]
enum Filled {
    Whole,
    To(Option<Key>),
}

#[async_trait]
impl<S: Store> Survey for Filling<S> {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        self.store.survey(after, bound).await
    }
}

#[async_trait]
impl<S: Store + AsRef<Memory>> Fill for Filling<S> {
    async fn reached(&self) -> Result<Option<Key>, Error> {
        match self.reached.lock().expect("no panic").clone() {
            Filled::Whole => Ok(None),
            Filled::To(key) => Ok(key),
        }
    }

    async fn adopt(&self, effects: Vec<Effect>, through: Key) -> Result<(), Error> {
        (*self.store).as_ref().adopt(effects, through.clone()).await?;
        *self.reached.lock().expect("no panic") = Filled::To(Some(through));
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        *self.reached.lock().expect("no panic") = Filled::Whole;
        Ok(())
    }
}

impl<S: Store + AsRef<Memory> + Default + 'static> Backend for Kept<S> {
    async fn another(&self) -> Self {
        Self::default()
    }

    async fn fill(&self) -> Result<Arc<dyn Fill>, String> {
        let mut reached = self.filling.reached.lock().expect("no panic");
        if *reached == Filled::Whole {
            if (*self.store).as_ref().tables().is_any() {
                return Err("it is not empty".to_owned());
            }
            *reached = Filled::To(None);
        }
        Ok(self.filling.clone())
    }

    async fn try_open(&self) -> Result<Arc<dyn Store>, String> {
        match *self.filling.reached.lock().expect("no panic") {
            Filled::Whole => Ok(self.store.clone()),
            Filled::To(_) => Err("it is half a copy".to_owned()),
        }
    }

    async fn rows(&self) -> u64 {
        self.store.check().await.expect("it is written");
        (*self.store).as_ref().tables().rows_to_remove()
    }
}

impl AsRef<Memory> for Memory {
    fn as_ref(&self) -> &Memory {
        self
    }
}

impl AsRef<Memory> for Batched {
    fn as_ref(&self) -> &Memory {
        &self.memory
    }
}

conformance!(memory, Kept::<Memory>::default());
conformance!(batched, Kept::<Batched>::default());

/// Proposals decided before the rows of the first are written.
const BATCH: usize = 7;

/// Versions kept over a batch: few enough that forgetting happens too.
const ROWS_KEPT: usize = 20;

/// A store that acknowledges early and writes late; only a reader makes it hurry.
#[derive(Debug, Default)]
struct Batched {
    memory: Memory,
    batch: Mutex<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    facts: Facts,
    effects: Vec<Effect>,
    decided: usize,
}

impl Batched {
    fn write(&self, batch: &mut Batch) {
        let mut tables = self.memory.tables();
        batch.effects.drain(..).for_each(|effect| tables.write(effect));
        tables.index.news.send_modify(|news| *news = news.wrapping_add(1));
        batch.facts.settle(ROWS_KEPT);
        batch.decided = 0;
    }

    /// Memory with everything written.
    fn written(&self) -> &Memory {
        self.write(&mut self.batch.lock().expect("no panic"));
        &self.memory
    }
}

#[async_trait]
impl Survey for Batched {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        self.written().survey(after, bound).await
    }
}

#[async_trait]
impl Store for Batched {
    async fn commit(&self, proposal: Proposal, now: Time) -> Result<Committed, Error> {
        let mut batch = self.batch.lock().expect("no panic");
        for _ in 0..2 {
            let verdict = judge(&mut batch.facts, &mut *self.memory.tables(), &proposal, now)?;
            match verdict {
                Verdict::Decided(effects, committed) => {
                    batch.effects.extend(effects);
                    self.memory.observers.tell(&committed.changes);
                    batch.decided += 1;
                    if batch.decided == BATCH {
                        self.write(&mut batch);
                    }
                    return Ok(committed);
                }
                Verdict::Refused(refusal) => return Err(refusal.into()),
                Verdict::StoreFirst => self.write(&mut batch),
            }
        }
        panic!("nothing is pending, and yet the store cannot tell")
    }

    async fn consider(&self, proposal: Proposal, now: Time) -> Result<Outcome, Error> {
        self.written().consider(proposal, now).await
    }

    fn observe(&self, observer: &Arc<dyn Observer>) {
        self.memory.observe(observer);
    }

    async fn receipt(&self, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error> {
        self.written().receipt(ns, id).await
    }

    async fn session(&self, ns: &Namespace, id: &SessionId) -> Result<Option<Arc<Session>>, Error> {
        self.written().session(ns, id).await
    }

    async fn imported(&self, ns: &Namespace, source: &Source) -> Result<Vec<SessionId>, Error> {
        self.written().imported(ns, source).await
    }

    async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error> {
        self.written().sessions(query, after, bound).await
    }

    async fn namespaces(&self, after: Option<&Namespace>, rows: usize) -> Result<Vec<Namespace>, Error> {
        self.written().namespaces(after, rows).await
    }

    async fn entries(&self, log: &Log, range: Range, bound: Bound) -> Result<Vec<Entry>, Error> {
        self.written().entries(log, range, bound).await
    }

    async fn log(&self, id: LogId) -> Result<Option<Arc<Log>>, Error> {
        self.written().log(id).await
    }

    async fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Result<Vec<Child>, Error> {
        self.written().children(ns, id, after, rows).await
    }

    async fn entry_meta(&self, log: &Log, seq: Seq) -> Result<Option<EntryMeta>, Error> {
        self.written().entry_meta(log, seq).await
    }

    async fn entry_by_id(&self, tip: &Tip, id: &EntryId) -> Result<Option<Entry>, Error> {
        self.written().entry_by_id(tip, id).await
    }

    async fn known_entries(&self, tip: &Tip, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
        self.written().known_entries(tip, ids).await
    }

    async fn seek(&self, tip: &Tip, count: Count, number: u64) -> Result<Option<Entry>, Error> {
        self.written().seek(tip, count, number).await
    }

    async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Option<Arc<Thread>>, Error> {
        self.written().thread(ns, id).await
    }

    async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
        self.written().threads(query, after, bound).await
    }

    async fn turn(&self, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error> {
        self.written().turn(journal, id).await
    }

    async fn turns(&self, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error> {
        self.written().turns(journal, ids).await
    }

    async fn items(&self, journal: LogId, query: &query::Items, bound: Bound) -> Result<Vec<Item>, Error> {
        self.written().items(journal, query, bound).await
    }

    async fn engine(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Arc<Engine>>, Error> {
        self.written().engine(ns, id).await
    }

    async fn engines(
        &self,
        after: Option<&(Namespace, EngineId)>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        self.written().engines(after, rows).await
    }

    async fn attached(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        self.written().attached(ns, after, rows).await
    }

    async fn members(&self, now: Time) -> Result<Members, Error> {
        self.written().members(now).await
    }

    async fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> Result<u64, Error> {
        self.written().threads_held(ns, engine, epoch).await
    }

    async fn resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Option<Arc<Resume>>, Error> {
        self.written().resume(ns, id).await
    }

    async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
        self.written().resumes(query, after, bound).await
    }

    async fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Result<Option<Arc<PastHead>>, Error> {
        self.written().past_head(ns, session, revision).await
    }

    async fn past_heads(
        &self,
        ns: &Namespace,
        session: &SessionId,
        before: Option<Revision>,
        rows: usize,
    ) -> Result<Vec<Arc<PastHead>>, Error> {
        self.written().past_heads(ns, session, before, rows).await
    }

    async fn changed_turns(&self, journal: LogId, after: u64, rows: usize) -> Result<Vec<Turn>, Error> {
        self.written().changed_turns(journal, after, rows).await
    }

    async fn changed_items(
        &self,
        journal: LogId,
        query: &query::ChangedItems,
        bound: Bound,
    ) -> Result<Vec<Item>, Error> {
        self.written().changed_items(journal, query, bound).await
    }

    async fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        self.written().lack(bound).await
    }

    async fn index(&self, batch: Vec<Indexed>, through: Option<Time>) -> Result<(), Error> {
        self.written().index(batch, through).await
    }

    fn index_news(&self) -> watch::Receiver<u64> {
        self.memory.index_news()
    }

    async fn search(
        &self,
        query: &search::Query,
        after: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        self.written().search(query, after, bound).await
    }

    async fn chores(&self, now: Time, rows: usize) -> Result<Vec<Chore>, Error> {
        self.written().chores(now, rows).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.written().check().await
    }

    async fn close(&self) {
        self.written();
    }
}
