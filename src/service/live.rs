//! What of the service is alive: attached engines, resumes that run, and who watches them. All of it can be lost and
//! found again in the store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Namespace, ResumeId};
use crate::engine::{self, Registry};
use crate::watchers::Watchers;

use super::places::Seen;
use super::standing::Standing;
use super::telling::Telling;

use turns::Turns;

mod turns;

/// Large pages of messages that are held at a time, by all readers.
const LARGE_PAGES_MAX: usize = 8;

/// Searches whose candidates are held at a time: each ends by itself, whatever its caller does.
const SEARCHES_MAX: usize = 8;

/// How engines and resumes are held to time and bounds.
#[derive(Clone, Debug)]
pub struct EngineTerms {
    /// How often an engine's heartbeat is due; three missed ones detach it.
    pub heartbeat: Duration,
    /// Bytes that a snapshot may have.
    pub snapshot_bytes_max: usize,
    /// Seeds on one engine at a time, unless it says less.
    pub seeds_per_engine_max: usize,
    /// Seeds at a time in all.
    pub seeds_max: usize,
    /// How long an engine may acknowledge nothing before its seed is given to another.
    pub seed_silence: Duration,
}

impl Default for EngineTerms {
    fn default() -> Self {
        Self {
            heartbeat: engine::HEARTBEAT_INTERVAL,
            snapshot_bytes_max: 64 * 1024 * 1024,
            seeds_per_engine_max: 4,
            seeds_max: 64,
            seed_silence: Duration::from_secs(60),
        }
    }
}

/// Whoever has this drives a resume; dropped, however that comes, the resume is free.
#[derive(Debug)]
pub(super) struct Driving {
    live: Arc<Live>,
    key: (Namespace, ResumeId),
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.live.driven().remove(&self.key);
    }
}

/// The live part of a service.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) terms: EngineTerms,
    /// What this process is among the replicas.
    pub(super) standing: Standing,
    pub(super) registry: Registry,
    pub(super) watchers: Arc<Watchers>,
    pub(super) telling: Arc<Telling>,
    pub(super) seeds: Semaphore,
    /// Places for large pages of messages that are being read.
    pub(super) large_pages: Arc<Semaphore>,
    /// Places for searches.
    pub(super) searches: Semaphore,
    /// One prune at a time in a namespace.
    pub(super) prunes: Turns,
    /// What has to finish before the store closes.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the service is about to stop.
    pub(super) drain: CancellationToken,
    /// Who was attached at the last look of those who wait for an engine.
    pub(super) seen_engines: tokio::sync::Mutex<Seen>,
    driven: Mutex<HashSet<(Namespace, ResumeId)>>,
}

impl Live {
    pub(super) fn new(terms: EngineTerms, drain: CancellationToken, telling: Arc<Telling>) -> Self {
        Self {
            seeds: Semaphore::new(terms.seeds_max),
            large_pages: Arc::new(Semaphore::new(LARGE_PAGES_MAX)),
            searches: Semaphore::new(SEARCHES_MAX),
            standing: Standing::default(),
            registry: Registry::default(),
            watchers: telling.watchers.clone(),
            telling,
            prunes: Turns::default(),
            tasks: TaskTracker::new(),
            seen_engines: tokio::sync::Mutex::default(),
            driven: Mutex::default(),
            terms,
            drain,
        }
    }

    /// How long an engine that left may take to come back.
    pub(super) fn patience(&self) -> Duration {
        self.terms.heartbeat * engine::HEARTBEATS_MISSED_MAX
    }

    /// The right to drive a resume, until it is dropped; `None`: somebody here has it.
    pub(super) fn take(self: &Arc<Self>, ns: &Namespace, id: &ResumeId) -> Option<Driving> {
        let key = (ns.clone(), id.clone());
        let is_free = self.driven().insert(key.clone());
        is_free.then(|| Driving {
            live: self.clone(),
            key,
        })
    }

    fn driven(&self) -> std::sync::MutexGuard<'_, HashSet<(Namespace, ResumeId)>> {
        // A set is whole after any panic that could happen under its lock.
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
