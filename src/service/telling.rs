//! From commits to those who watch.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::store::{Changes, Observer, Store};
use crate::watchers::Watchers;

/// Tells who watches what the commits of a store have changed.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) watchers: Arc<Watchers>,
    /// Told when all that is watched has to be looked at, for something may have been missed.
    pub(super) missed: Notify,
}

impl Telling {
    /// Observes `store` as long as it is kept.
    pub(super) fn of(store: &dyn Store) -> Arc<Self> {
        let telling = Arc::new(Self::default());
        let observer: Arc<dyn Observer> = telling.clone();
        store.observe(&observer);
        telling
    }
}

impl Observer for Telling {
    fn committed(&self, changes: &Changes) {
        for session in &changes.sessions {
            self.watchers.tell_session(session, &changes.entries);
        }
        for (ns, id) in &changes.removed_sessions {
            self.watchers.tell_session_gone(ns, id);
        }
        for thread in &changes.threads {
            self.watchers.tell_thread(thread);
        }
        for (ns, id) in &changes.removed_threads {
            self.watchers.tell_thread_gone(ns, id);
        }
        for resume in &changes.resumes {
            self.watchers.tell_resume(resume);
        }
    }

    fn missed(&self) {
        self.missed.notify_one();
    }
}
