//! Retention: the policies of namespaces, a bounded number of commits a round.
//!
//! The pruning itself is the service's, through the same door and with the same rules as a call. A look through all
//! namespaces goes on over as many rounds as it takes, each from where the last one stopped, so that what may not go does
//! not keep what comes after it; then the next one is due after an interval.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::Namespace;
use crate::domain::retention::Policies;
use crate::service::retention::{Meter, Place, Retained};
use crate::service::{Error, Service};

use super::Upkeep;

/// Commits of all policies in one round: each puts away fifty sessions at most, and their sub-sessions.
const COMMITS_MAX: usize = 20;

/// The same with those that take nothing: what they looked at is in use, or has parts that stay.
const LOOKS_MAX: usize = 200;

/// Namespaces that the store is asked for at once.
const NAMESPACES_MAX: usize = 100;

/// What is kept how long, and who sees to it.
#[derive(Debug)]
pub struct Retention {
    service: Service,
    policies: Policies,
    interval: Duration,
    /// Commits of one round that take something, and commits in all.
    pace: [usize; 2],
    look: Mutex<Look>,
}

/// A look through all namespaces, over rounds.
#[derive(Clone, Debug, Default)]
struct Look {
    /// When the next one begins: by a clock that nobody sets.
    due: Option<Instant>,
    /// The namespace that was looked at last.
    after: Option<Namespace>,
    /// Whether every namespace was looked at.
    is_through: bool,
    /// Those that have more to do, and where they go on.
    left: BTreeMap<Namespace, Place>,
}

impl Retention {
    /// Policies that `service` carries out, each at least once an interval.
    pub fn new(service: Service, policies: Policies, interval: Duration) -> Self {
        Self {
            service,
            policies,
            interval,
            pace: [COMMITS_MAX, LOOKS_MAX],
            look: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn at_pace(self, pace: [usize; 2]) -> Self {
        Self { pace, ..self }
    }

    fn look(&self) -> std::sync::MutexGuard<'_, Look> {
        // A look is whole after any panic that could happen under its lock.
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with the look that is under way, or begins one if it is due.
    async fn round(&self, upkeep: &Upkeep, stop: &CancellationToken) -> Result<(), Error> {
        if self.policies.are_off() || self.look().due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        let [commits_left, looks_left] = self.pace;
        let mut meter = Meter {
            commits_left,
            looks_left,
            stop: stop.clone(),
        };
        while !self.look().is_through {
            let after = self.look().after.clone();
            let namespaces = self.namespaces(upkeep, after.as_ref()).await?;
            self.look().is_through = namespaces.is_empty();
            for ns in namespaces {
                self.look().after = Some(ns.clone());
                self.one(&ns, None, &mut meter).await;
                if meter.is_spent() {
                    return Ok(());
                }
            }
        }
        // What earlier rounds had to leave comes now.
        let left = self.look().left.clone();
        for (ns, place) in left {
            self.one(&ns, Some(place), &mut meter).await;
            if meter.is_spent() {
                return Ok(());
            }
        }
        let mut look = self.look();
        if look.left.is_empty() {
            *look = Look {
                due: Some(Instant::now() + self.interval),
                ..Look::default()
            };
        }
        Ok(())
    }

    /// Looks at one namespace. One that fails does not keep the others waiting: it comes again in the next look.
    async fn one(&self, ns: &Namespace, from: Option<Place>, meter: &mut Meter) {
        let done = self.service.retain(ns, self.policies.of(ns), from, meter).await;
        match done {
            Ok(done) => {
                tell(ns, &done);
                let mut look = self.look();
                match done.left {
                    Some(place) => drop(look.left.insert(ns.clone(), place)),
                    None => drop(look.left.remove(ns)),
                }
            }
            Err(error) => {
                self.look().left.remove(ns);
                let error: &dyn std::error::Error = &error;
                tracing::warn!(namespace = %ns, error, "retention failed, and will try again");
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
        left,
    } = done;
    if archived + deleted > 0 {
        let more = left.is_some();
        tracing::info!(namespace = %ns, archived, deleted, more, "retention");
    }
}
