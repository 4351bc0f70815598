//! Retention: the policies of namespaces, a bounded number of commits a round.
//!
//! The pruning itself is the service's, through the same door and with the same rules as a call. A look through all
//! namespaces goes on over as many rounds as it takes; then the next one is due after an interval.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::retention::Policies;
use crate::domain::{Namespace, Time};
use crate::service::retention::{Meter, Retained};
use crate::service::{Error, Service};

use super::Upkeep;

/// Commits of all policies in one round: each puts away fifty sessions at most, and their sub-sessions.
const COMMITS_MAX: usize = 20;

/// Namespaces that the store is asked for at once.
const NAMESPACES_MAX: usize = 100;

/// What is kept how long, and who sees to it.
#[derive(Debug)]
pub struct Retention {
    service: Service,
    policies: Policies,
    interval: Duration,
    look: Mutex<Look>,
}

/// A look through all namespaces, over rounds.
#[derive(Clone, Debug, Default)]
struct Look {
    /// When the next one begins.
    due: Time,
    /// The namespace that was looked at last.
    after: Option<Namespace>,
    /// Whether some namespace has more to do.
    unfinished: bool,
}

impl Retention {
    /// Policies that `service` carries out, each at least once an interval.
    pub fn new(service: Service, policies: Policies, interval: Duration) -> Self {
        Self {
            service,
            policies,
            interval,
            look: Mutex::default(),
        }
    }

    fn look(&self) -> std::sync::MutexGuard<'_, Look> {
        // A look is whole after any panic that could happen under its lock.
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with the look that is under way, or begins one if it is due.
    async fn round(&self, upkeep: &Upkeep, stop: &CancellationToken) -> Result<(), Error> {
        if self.policies.are_off() || upkeep.clock.now() < self.look().due {
            return Ok(());
        }
        let mut meter = Meter {
            commits_left: COMMITS_MAX,
            stop: stop.clone(),
        };
        let mut from_start = self.look().after.is_none();
        loop {
            let after = self.look().after.clone();
            let namespaces = self.namespaces(upkeep, after.as_ref()).await?;
            if namespaces.is_empty() {
                let mut look = self.look();
                let goes_on = std::mem::take(&mut look.unfinished) && after.is_some() && !from_start;
                look.after = None;
                if !goes_on {
                    look.due = upkeep.clock.now().after(self.interval);
                    return Ok(());
                }
                // What an earlier round had to leave comes now.
                from_start = true;
                continue;
            }
            for ns in namespaces {
                let policy = self.policies.of(&ns);
                // One that fails does not keep the others waiting: it comes again in the next look.
                let done = self.service.retain(&ns, policy, &mut meter).await;
                let mut look = self.look();
                look.unfinished |= done.as_ref().map_or(true, |done| done.cut_short);
                look.after = Some(ns.clone());
                drop(look);
                tell(&ns, &done?);
                if meter.commits_left == 0 || stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }

    /// The next namespaces that may have a policy: by name from the configuration, or, where all others have one too,
    /// from the store.
    async fn namespaces(&self, upkeep: &Upkeep, after: Option<&Namespace>) -> Result<Vec<Namespace>, Error> {
        if !self.policies.default.is_off() {
            return Ok(upkeep.store.namespaces(after, NAMESPACES_MAX).await?);
        }
        let rest = after.map_or(Unbounded, Excluded);
        let named = self.policies.namespaces.range((rest, Unbounded));
        Ok(named.map(|(ns, _)| ns.clone()).take(NAMESPACES_MAX).collect())
    }
}

impl Upkeep {
    /// The same upkeep, which sees to these policies too.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(std::sync::Arc::new(retention));
        self
    }

    /// Does what the policies ask for now, or as much of it as one round may.
    pub async fn retain(&self, stop: &CancellationToken) {
        let Some(retention) = &self.retention else {
            return;
        };
        if let Err(error) = retention.round(self, stop).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "retention failed, and will try again");
        }
    }
}

fn tell(ns: &Namespace, done: &Retained) {
    let Retained {
        archived,
        deleted,
        cut_short,
    } = done;
    if archived + deleted > 0 {
        tracing::info!(namespace = %ns, archived, deleted, more = cut_short, "retention");
    }
}
