//! What the service does for itself, in the background: it forgets old receipts, resumes, past heads and
//! engines, purges deleted sessions, sweeps logs that nobody names, shortens paths, and prunes by policy.
//!
//! The store finds the work, the rules check it again, and every step is one short commit through the same door as any
//! call: nothing here holds up a writer, and nothing is lost when the process ends in the middle. A failure is logged
//! once and tried again in the next round.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::limits::{RECEIPT_LIFE, RESUME_LIFE};
use crate::domain::outcome::More;
use crate::domain::proposal::{EngineCommand, UpkeepCommand};
use crate::domain::{Command, Invalid, LogId, Namespace, Outcome, Proposal, Refusal};
use crate::service::{Clock, Ids};
use crate::store::{Chore, Error, Store};

mod compaction;
mod doubt;
mod indexer;
mod retention;

pub use indexer::{Indexer, Pace};
pub use retention::Retention;

use compaction::Stalled;
use doubt::{Doubt, Trust};

/// How long after the start the first round begins.
const FIRST_ROUND_AFTER: Duration = Duration::from_secs(1);

/// Pieces of work that the store is asked for at once.
const CHORES_MAX: usize = 100;

/// How often it is asked in one round.
const ASKED_MAX: usize = 1_000;

/// Commits that one sweep may take in one round.
const SWEEP_COMMITS_MAX: usize = 10_000;

/// The background work over one store.
#[derive(Clone, Debug)]
pub struct Upkeep {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    stalled: Arc<Stalled>,
    retention: Option<Arc<Retention>>,
}

/// What a round has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Pieces of work.
    pub chores: usize,
    /// Those that failed.
    pub failures: usize,
}

impl Upkeep {
    /// Upkeep of `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            store,
            clock,
            ids,
            stalled: Arc::default(),
            retention: None,
        }
    }

    /// Makes a round every `interval` until `stop`, and ends between two commits.
    pub async fn run(self, interval: Duration, stop: CancellationToken) {
        let mut wait = FIRST_ROUND_AFTER.min(interval);
        let mut doubt = Doubt::at_start(&*self.store, self.clock.now()).await;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            let clock = doubt.look(self.clock.now());
            let done = self.round_by(clock, &stop).await;
            if done.chores > 0 {
                tracing::debug!(chores = done.chores, failures = done.failures, "upkeep");
            }
            if clock == Trust::Trusted {
                self.retain(&stop).await;
            }
            wait = interval;
        }
    }

    /// Does what there is to do now, or as much of it as one round may.
    pub async fn round(&self, stop: &CancellationToken) -> Done {
        self.round_by(Trust::Trusted, stop).await
    }

    async fn round_by(&self, clock: Trust, stop: &CancellationToken) -> Done {
        let mut done = Done::default();
        // What was done or failed, and is found still: not again in this round.
        let mut tried: HashSet<Chore> = HashSet::new();
        for _ in 0..ASKED_MAX {
            let rows = CHORES_MAX + tried.len();
            let chores = match self.store.chores(self.clock.now(), rows).await {
                Ok(chores) => chores,
                Err(error) => {
                    log("finding work", "", &error);
                    done.failures += 1;
                    return done;
                }
            };
            let (still, fresh): (Vec<Chore>, Vec<Chore>) =
                chores.into_iter().partition(|chore| tried.contains(chore));
            tried = still.into_iter().collect();
            if fresh.is_empty() {
                break;
            }
            for chore in fresh {
                if stop.is_cancelled() {
                    return done;
                }
                if self.waits(&chore) || clock == Trust::Doubted && goes_by_age(&chore) {
                    tried.insert(chore);
                    continue;
                }
                done.chores += 1;
                let failed = self.attempt(&chore, stop).await;
                done.failures += usize::from(failed.is_some());
                if matches!(failed, Some(Error::Unavailable { .. })) {
                    return done;
                }
                if failed.is_some() || !comes_in_steps(&chore) {
                    tried.insert(chore);
                }
            }
        }
        done
    }

    /// Does one piece of work, and logs why it failed.
    async fn attempt(&self, chore: &Chore, stop: &CancellationToken) -> Option<Error> {
        let error = self.do_one(chore, stop).await.err()?;
        let (what, id) = name(chore);
        log(what, &id, &error);
        Some(error)
    }

    /// Whether it failed lately in a way that time alone does not mend.
    fn waits(&self, chore: &Chore) -> bool {
        match chore {
            Chore::Compact(ns, id) => self.stalled.waits(ns, id, self.clock.now()),
            Chore::Purge(..)
            | Chore::Sweep(_)
            | Chore::ExpireReceipts
            | Chore::ExpireResumes
            | Chore::ExpireHead(..)
            | Chore::ForgetEngine(..) => false,
        }
    }

    async fn do_one(&self, chore: &Chore, stop: &CancellationToken) -> Result<(), Error> {
        match chore {
            Chore::Purge(ns, id) => {
                let session = id.clone();
                self.keep(ns, UpkeepCommand::Purge { session }).await?;
            }
            Chore::Compact(ns, id) => {
                let done = self.compact(ns, id, stop).await;
                self.stalled.note(ns, id, &done, self.clock.now());
                done?;
            }
            Chore::Sweep(log) => self.sweep(*log, stop).await?,
            Chore::ExpireReceipts => {
                let before = self.clock.now().before(RECEIPT_LIFE);
                self.keep(&nowhere()?, UpkeepCommand::ExpireReceipts { before })
                    .await?;
            }
            Chore::ExpireResumes => {
                let before = self.clock.now().before(RESUME_LIFE);
                self.keep(&nowhere()?, UpkeepCommand::ExpireResumes { before })
                    .await?;
            }
            Chore::ExpireHead(ns, session, revision) => {
                let (session, revision) = (session.clone(), *revision);
                self.keep(ns, UpkeepCommand::ExpireHead { session, revision })
                    .await?;
            }
            Chore::ForgetEngine(ns, id) => {
                let forget = EngineCommand::Forget { id: id.clone() };
                self.commit(ns, Command::Engine(forget)).await?;
            }
        }
        Ok(())
    }

    async fn sweep(&self, log: LogId, stop: &CancellationToken) -> Result<(), Error> {
        let ns = nowhere()?;
        for _ in 0..SWEEP_COMMITS_MAX {
            let more = self.keep(&ns, UpkeepCommand::Sweep { log }).await?;
            if more == More::Done || stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn keep(&self, ns: &Namespace, command: UpkeepCommand) -> Result<More, Error> {
        self.commit(ns, Command::Upkeep(command)).await
    }

    async fn commit(&self, ns: &Namespace, command: Command) -> Result<More, Error> {
        let proposal = Proposal {
            namespace: ns.clone(),
            request: None,
            fence: None,
            command,
        };
        let committed = self.store.commit(proposal, self.clock.now()).await?;
        match committed.outcome {
            Outcome::Kept { more } => Ok(more),
            other => Err(Error::corrupt("an outcome", format!("upkeep did {other:?}"))),
        }
    }
}

/// The namespace of commands that name none.
fn nowhere() -> Result<Namespace, Error> {
    Namespace::parse("").map_err(|invalid: Invalid| Error::Refused(Refusal::from(invalid)))
}

/// Whether it removes for good what a wrong clock alone may call old. What a sweep removes is named by nobody.
fn goes_by_age(chore: &Chore) -> bool {
    match chore {
        Chore::Purge(..)
        | Chore::ExpireReceipts
        | Chore::ExpireResumes
        | Chore::ExpireHead(..)
        | Chore::ForgetEngine(..) => true,
        Chore::Compact(..) | Chore::Sweep(_) => false,
    }
}

/// Whether doing it once may leave as much again to do.
fn comes_in_steps(chore: &Chore) -> bool {
    match chore {
        Chore::ExpireReceipts | Chore::ExpireResumes => true,
        Chore::Purge(..)
        | Chore::Compact(..)
        | Chore::Sweep(_)
        | Chore::ExpireHead(..)
        | Chore::ForgetEngine(..) => false,
    }
}

fn name(chore: &Chore) -> (&'static str, String) {
    match chore {
        Chore::Purge(ns, id) => ("purging a session", format!("{ns}/{id}")),
        Chore::Compact(ns, id) => ("shortening a session's path", format!("{ns}/{id}")),
        Chore::Sweep(log) => ("sweeping a log", log.to_string()),
        Chore::ExpireReceipts => ("forgetting receipts", String::new()),
        Chore::ExpireResumes => ("forgetting resumes", String::new()),
        Chore::ExpireHead(ns, id, revision) => ("forgetting a past head", format!("{ns}/{id}@{revision}")),
        Chore::ForgetEngine(ns, id) => ("forgetting an engine", format!("{ns}/{id}")),
    }
}

fn log(what: &'static str, id: &str, error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(what, id, error, "upkeep failed, and will try again");
}

#[cfg(test)]
mod tests;
