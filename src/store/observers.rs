//! Who is told of commits.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::Changes;

/// Somebody who is told of every commit of a store, in the order of the commits: once it is durable, before it is
/// answered, and whether or not whoever asked for it still waits. It must not block, nor call the store.
pub trait Observer: Send + Sync + Debug {
    /// A commit has changed this.
    fn committed(&self, changes: &Changes);

    /// Commits of others may have gone untold until now: the tables have to be asked.
    fn missed(&self) {}
}

/// Those who are told, as long as somebody else keeps them.
#[derive(Debug, Default)]
pub struct Observers(RwLock<Vec<Weak<dyn Observer>>>);

impl Observers {
    /// One more is told from now on.
    pub fn add(&self, observer: &Arc<dyn Observer>) {
        // A list is whole after any panic that could happen under its lock.
        let mut observers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|known| known.strong_count() > 0);
        observers.push(Arc::downgrade(observer));
    }

    /// Tells all of them.
    pub fn tell(&self, changes: &Changes) {
        let observers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for observer in observers.iter().filter_map(Weak::upgrade) {
            observer.committed(changes);
        }
    }

    /// Tells all of them that they may have missed something.
    pub fn tell_missed(&self) {
        let observers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for observer in observers.iter().filter_map(Weak::upgrade) {
            observer.missed();
        }
    }
}
