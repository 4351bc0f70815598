//! Who watches what. A change moves a channel that carries the newest state; whoever is slow sees several changes as
//! one, never an older one, and nothing waits for him.
//!
//! A channel is there only while somebody listens. The truth is in the store: a watcher first listens, then reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::{Namespace, Resume, ResumeId};

/// How long a stream may be silent before it sends what it sent last again.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How often streams look whether they were silent for that long.
const TICK: Duration = Duration::from_millis(2_500);

type Key = (Namespace, ResumeId);

/// The newest state of a resume; `None`: nothing has happened since somebody began to listen.
pub type News = watch::Receiver<Option<Arc<Resume>>>;

/// Everybody who watches a resume, and the clock that all of them share.
#[derive(Debug)]
pub struct Watchers {
    resumes: Mutex<HashMap<Key, watch::Sender<Option<Arc<Resume>>>>>,
    ticks: watch::Sender<u64>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            resumes: Mutex::default(),
            ticks: watch::Sender::new(0),
        }
    }
}

impl Watchers {
    /// Listens for changes of a resume from now on.
    pub fn listen(&self, ns: &Namespace, id: &ResumeId) -> News {
        let mut resumes = self.resumes();
        let sender = resumes
            .entry((ns.clone(), id.clone()))
            .or_insert_with(|| watch::Sender::new(None));
        sender.subscribe()
    }

    /// Tells who listens that a resume has changed, unless they know something newer. After its end nothing comes.
    pub fn publish(&self, resume: &Arc<Resume>) {
        let key = (resume.namespace.clone(), resume.id.clone());
        let mut resumes = self.resumes();
        let Some(sender) = resumes.get(&key) else {
            return;
        };
        sender.send_if_modified(|known| {
            let news = known.as_ref().is_none_or(|known| resume.is_newer_than(known));
            if news {
                *known = Some(resume.clone());
            }
            news
        });
        if resume.state.is_end() || sender.receiver_count() == 0 {
            resumes.remove(&key);
        }
    }

    /// Forgets a resume that nobody listens to any more.
    pub fn leave(&self, ns: &Namespace, id: &ResumeId) {
        let key = (ns.clone(), id.clone());
        let mut resumes = self.resumes();
        if resumes
            .get(&key)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            resumes.remove(&key);
        }
    }

    /// The clock that heartbeats go by.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Lets the clock run until `stop`.
    pub async fn tick(&self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(TICK);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.ticks.send_modify(|ticks| *ticks += 1);
        }
    }

    fn resumes(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<Option<Arc<Resume>>>>> {
        // A map is whole after any panic that could happen under its lock.
        self.resumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
