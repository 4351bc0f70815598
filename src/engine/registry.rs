//! Who is attached. Which thread is whose stands in the store: an engine holds a thread if the thread names it under the
//! epoch of the attachment found here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::handle::EngineHandle;
use crate::domain::resume::Wish;
use crate::domain::{EngineId, Namespace, Thread};

type Key = (Namespace, EngineId);

/// The attached engines. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engines: Mutex<BTreeMap<Key, EngineHandle>>,
    changes: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            engines: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

/// An engine's place among the attached ones; it is given up when this is dropped, unless a successor has it.
#[derive(Debug)]
pub struct Guard {
    registry: Registry,
    handle: EngineHandle,
}

impl Registry {
    /// Gives an engine its place, and ends its older attachment; `None`: a newer one is there already.
    pub fn attach(&self, handle: EngineHandle) -> Option<Guard> {
        let key = key_of(&handle);
        let mut engines = self.engines();
        let older = engines.get(&key);
        if older.is_some_and(|older| older.attachment().epoch > handle.attachment().epoch) {
            return None;
        }
        if let Some(older) = engines.insert(key, handle.clone()) {
            older.supersede();
        }
        drop(engines);
        self.changed();
        Some(Guard {
            registry: self.clone(),
            handle,
        })
    }

    /// An attached engine.
    pub fn engine(&self, ns: &Namespace, id: &EngineId) -> Option<EngineHandle> {
        let engines = self.engines();
        let handle = engines.get(&(ns.clone(), id.clone()))?;
        handle.is_attached().then(|| handle.clone())
    }

    /// The engine that holds a thread.
    pub fn holder(&self, thread: &Thread) -> Option<EngineHandle> {
        self.engine_at(&thread.namespace, thread.engine.as_ref()?, thread.epoch)
    }

    /// Ends the attachment of an engine that has attached elsewhere under `epoch`, which is a higher one.
    pub fn evict(&self, ns: &Namespace, id: &EngineId, epoch: u64) {
        let engines = self.engines();
        let held = engines.get(&(ns.clone(), id.clone()));
        if let Some(held) = held.filter(|held| held.attachment().epoch < epoch) {
            held.supersede();
        }
    }

    /// All attached engines.
    pub fn all(&self) -> Vec<EngineHandle> {
        let engines = self.engines();
        engines
            .values()
            .filter(|handle| handle.is_attached())
            .cloned()
            .collect()
    }

    /// Ends the attachment of an engine that the store does not have as attached under this epoch.
    pub fn forget(&self, ns: &Namespace, id: &EngineId, epoch: u64) {
        if let Some(held) = self.engine_at(ns, id, epoch) {
            held.forget();
        }
    }

    /// The engine of this name, if it is attached under this epoch.
    pub fn engine_at(&self, ns: &Namespace, id: &EngineId, epoch: u64) -> Option<EngineHandle> {
        let handle = self.engine(ns, id)?;
        (handle.attachment().epoch == epoch).then_some(handle)
    }

    /// The attached engines of a namespace, by id.
    pub fn engines_of(&self, ns: &Namespace) -> Vec<EngineHandle> {
        let engines = self.engines();
        let of_namespace = engines.iter().filter(|((namespace, _), _)| namespace == ns);
        let attached = of_namespace.filter(|(_, handle)| handle.is_attached());
        attached.map(|(_, handle)| handle.clone()).collect()
    }

    /// The least loaded engine that takes resumes and is one that was asked for; `not` only if there is no other.
    pub fn pick(&self, ns: &Namespace, wish: &Wish, not: Option<&EngineId>) -> Option<EngineHandle> {
        let engines = self.engines_of(ns).into_iter().filter(|handle| {
            let attachment = handle.attachment();
            attachment.accepts_resume && wish.admits(&attachment.id, &attachment.labels)
        });
        engines.min_by_key(|handle| (Some(&handle.attachment().id) == not, handle.seeds()))
    }

    /// Tells when somebody has come or gone.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn changed(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    fn engines(&self) -> MutexGuard<'_, BTreeMap<Key, EngineHandle>> {
        // A map is whole after any panic that could happen under its lock.
        self.0.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(handle: &EngineHandle) -> Key {
    let attachment = handle.attachment();
    (attachment.namespace.clone(), attachment.id.clone())
}

impl Drop for Guard {
    fn drop(&mut self) {
        let key = key_of(&self.handle);
        let mut engines = self.registry.engines();
        let epoch = self.handle.attachment().epoch;
        if engines
            .get(&key)
            .is_some_and(|held| held.attachment().epoch == epoch)
        {
            engines.remove(&key);
        }
        drop(engines);
        self.registry.changed();
    }
}
