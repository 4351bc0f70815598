//! Where engines are: attached to this replica, or to another one that lives.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::limits::{ENGINES_MAX, PAGE_BYTES_MAX};
use crate::domain::query::{self, Bound};
use crate::domain::resume::{State, Wish};
use crate::domain::{Engine, EngineId, Fence, Namespace, Replica, Resume, Thread};
use crate::engine::EngineHandle;
use crate::store::Members;

use super::engines::Listed;
use super::{Error, Service};

/// Rows that are looked at in one read.
const ROWS_MAX: usize = 500;

/// How often it is looked whether an engine is back at another replica.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The engines of namespaces that somebody waits in, as they were at a time.
pub(super) type Seen = HashMap<Namespace, (Instant, Arc<[Arc<Engine>]>)>;

/// An engine, where it is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Attached to this replica.
    Here(EngineHandle),
    /// Attached to another one.
    There(EngineId, Fence),
}

impl Service {
    /// The attached engines of a namespace after `after`, by id, whichever replica they are attached to.
    pub async fn engines(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<(Vec<Listed>, Option<EngineId>), Error> {
        let mut engines = self.living_engines(ns, after, rows + 1).await?;
        let more = engines.len() > rows;
        engines.truncate(rows);
        let is_elsewhere = |engine: &Arc<Engine>| self.local(engine).is_none();
        let loads = if engines.iter().any(is_elsewhere) {
            self.loads(ns).await?
        } else {
            HashMap::new()
        };
        let mut listed = Vec::with_capacity(engines.len());
        for engine in engines {
            let seeds = match self.local(&engine) {
                Some(handle) => handle.seeds() as u64,
                None => loads.get(&engine.id).copied().unwrap_or_default(),
            };
            let threads = self.store.threads_held(ns, &engine.id, engine.epoch).await?;
            listed.push(Listed {
                engine,
                threads,
                seeds,
            });
        }
        let last = listed.last().map(|listed| listed.engine.id.clone());
        Ok((listed, last.filter(|_| more)))
    }

    /// At most `rows` engines of a namespace after `after` that are attached to a replica that lives.
    pub(super) async fn living_engines(
        &self,
        ns: &Namespace,
        after: Option<&EngineId>,
        rows: usize,
    ) -> Result<Vec<Arc<Engine>>, Error> {
        let members = self.members().await?;
        let mut found = Vec::new();
        let mut after = after.cloned();
        loop {
            let page = self.store.attached(ns, after.as_ref(), ROWS_MAX).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            after = Some(last.id.clone());
            for engine in page {
                if self.is_held(&engine, members.as_ref()) {
                    found.push(engine);
                }
                if found.len() >= rows {
                    return Ok(found);
                }
            }
        }
    }

    /// The least loaded engine that takes resumes and is one that was asked for; `not` only if there is no other.
    pub(super) async fn pick(
        &self,
        ns: &Namespace,
        wish: &Wish,
        not: Option<&EngineId>,
    ) -> Result<Option<Place>, Error> {
        if !self.store.is_shared() {
            return Ok(self.live.registry.pick(ns, wish, not).map(Place::Here));
        }
        let mut engines = self.living_engines(ns, None, ENGINES_MAX).await?;
        engines.retain(|engine| engine.profile.accepts_resume && wish.admits_engine(engine));
        if engines.is_empty() {
            return Ok(None);
        }
        let loads = self.loads(ns).await?;
        // What is as good as the others is taken by chance, so that a rush does not all go to one.
        let chance = self.fresh_id();
        let rank = |engine: &Arc<Engine>| {
            let here = self.local(engine);
            let load = loads.get(&engine.id).copied().unwrap_or_default();
            let load = here
                .as_ref()
                .map_or(load, |handle| load.max(handle.seeds() as u64));
            let mut hash = DefaultHasher::new();
            (chance, engine.id.as_str()).hash(&mut hash);
            (Some(&engine.id) == not, load, hash.finish())
        };
        let picked = engines.iter().min_by_key(|engine| rank(engine));
        Ok(picked.and_then(|engine| self.place_of(engine)))
    }

    /// The engine of this name, if it takes resumes.
    pub(super) async fn taker(&self, ns: &Namespace, id: &EngineId) -> Result<Option<Place>, Error> {
        if !self.store.is_shared() {
            let here = self.live.registry.engine(ns, id);
            let here = here.filter(|handle| handle.attachment().accepts_resume);
            return Ok(here.map(Place::Here));
        }
        // Of an engine that has attached elsewhere since, a handle may be here still.
        let Some(engine) = self.store.engine(ns, id).await? else {
            return Ok(None);
        };
        let members = match self.local(&engine) {
            Some(_) => None,
            None => self.members().await?,
        };
        let takes =
            engine.is_attached() && engine.profile.accepts_resume && self.is_held(&engine, members.as_ref());
        Ok(if takes { self.place_of(&engine) } else { None })
    }

    /// The other replica that a thread's engine is attached to; `None`: it is attached to none.
    pub(super) async fn holder_elsewhere(&self, thread: &Thread) -> Result<Option<Arc<Replica>>, Error> {
        let Some(id) = thread.engine.as_ref().filter(|_| self.store.is_shared()) else {
            return Ok(None);
        };
        let engine = self.store.engine(&thread.namespace, id).await?;
        let engine = engine.filter(|engine| engine.is_at(thread.epoch));
        match engine.and_then(|engine| engine.replica.clone()) {
            Some(fence) => self.peer(&fence).await,
            None => Ok(None),
        }
    }

    /// Whether an engine that was asked for was attached half a second ago: whoever waits for one asks here, so that all
    /// who wait in a namespace cost one look.
    pub(super) async fn was_seen(
        &self,
        ns: &Namespace,
        named: Option<&EngineId>,
        wish: &Wish,
    ) -> Result<bool, Error> {
        let mut seen = self.live.seen_engines.lock().await;
        let is_recent = |at: Instant| at.elapsed() < LOOK_AGAIN;
        let engines = match seen.get(ns) {
            Some((at, engines)) if is_recent(*at) => engines.clone(),
            Some(_) | None => {
                let at = Instant::now();
                let engines: Arc<[_]> = self.living_engines(ns, None, ENGINES_MAX).await?.into();
                seen.retain(|_, (at, _)| is_recent(*at));
                seen.insert(ns.clone(), (at, engines.clone()));
                engines
            }
        };
        drop(seen);
        Ok(engines.iter().any(|engine| match named {
            Some(id) => engine.id == *id,
            None => engine.profile.accepts_resume && wish.admits_engine(engine),
        }))
    }

    /// The handle of an engine that is attached here.
    pub(super) fn local(&self, engine: &Engine) -> Option<EngineHandle> {
        self.live
            .registry
            .engine_at(&engine.namespace, &engine.id, engine.epoch)
    }

    fn place_of(&self, engine: &Arc<Engine>) -> Option<Place> {
        match (self.local(engine), &engine.replica) {
            (Some(handle), _) => Some(Place::Here(handle)),
            (None, Some(fence)) => Some(Place::There(engine.id.clone(), fence.clone())),
            (None, None) => None,
        }
    }

    /// Whether somebody holds the stream of an engine that the store has as attached.
    fn is_held(&self, engine: &Engine, members: Option<&Members>) -> bool {
        if self.local(engine).is_some() {
            return true;
        }
        let elsewhere = engine.replica.as_ref().filter(|fence| !self.is_me(fence));
        let living = elsewhere.zip(members);
        living.is_some_and(|(fence, members)| members.living(fence).is_some())
    }

    /// Who serves the store beside this replica; `None`: nobody can.
    async fn members(&self) -> Result<Option<Members>, Error> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        Ok(Some(self.store.members(self.now()).await?))
    }

    /// How many resumes that have not ended each engine of a namespace has.
    async fn loads(&self, ns: &Namespace) -> Result<HashMap<EngineId, u64>, Error> {
        let query = query::Resumes {
            namespace: Some(ns.clone()),
            states: vec![State::Queued, State::Seeding],
            session: None,
            thread: None,
            engine: None,
        };
        let bound = Bound {
            rows: ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let mut loads = HashMap::new();
        let mut after = None;
        loop {
            let page = self.store.resumes(&query, after.as_ref(), bound).await?;
            let engines = page
                .rows
                .iter()
                .filter_map(|resume: &Arc<Resume>| resume.engine.clone());
            for engine in engines {
                *loads.entry(engine).or_default() += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(loads);
            }
        }
    }
}
