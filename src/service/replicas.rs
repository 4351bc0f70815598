//! This process as a replica: it joins, renews its lease, and looks after what others have left behind.
//!
//! Everything here is level-triggered: a look compares what the store says with who lives, and does what is to be done
//! through the one write door. Whatever a look did not come to, the next one finds. Two replicas that look at the same
//! time do the same: the store takes one of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, timeout_at};

use crate::domain::limits::PAGE_BYTES_MAX;
use crate::domain::proposal::{EngineCommand, Over, ReplicaCommand};
use crate::domain::query::{self, Bound};
use crate::domain::resume::State;
use crate::domain::{
    Command, Engine, EngineId, Fence, Namespace, Outcome, Refusal, Replica, ReplicaId, ResumeId,
};
use crate::store;

use super::engines::{Left, call};
use super::resumes::Beginning;
use super::{Error, Service, mismatched};

mod attachments;
#[cfg(test)]
mod tests;

/// Rows that are looked at in one read.
const ROWS_MAX: usize = 500;

/// How a process takes part among those that serve its store.
#[derive(Clone, Debug)]
pub struct ReplicaTerms {
    /// Its name.
    pub id: ReplicaId,
    /// Where others reach it; empty where there are none.
    pub address: String,
    /// How long it lives without a renewal; `None`: for ever, as nobody else serves the store.
    pub lease: Option<Duration>,
    /// How often it renews, and looks after what others left.
    pub renew: Duration,
}

impl ReplicaTerms {
    /// How often a replica that nobody is beside looks after what an earlier start has left.
    const LOOK: Duration = Duration::from_secs(3);

    /// The terms of the only one that can serve its store.
    pub fn alone() -> Self {
        Self {
            id: ReplicaId::parse("local", "replica").expect("a name"),
            address: String::new(),
            lease: None,
            renew: Self::LOOK,
        }
    }
}

/// Who was seen to live at the last look; `None`: there was none yet.
type Seen = Option<BTreeSet<Fence>>;

impl Service {
    /// Joins the replicas of the store. From now on whatever an earlier start of this process left is left behind, and
    /// engines that attach are not.
    pub async fn join(&self, terms: &ReplicaTerms) -> Result<(), Error> {
        self.joined(terms, Over::Anyone).await
    }

    /// Renews the lease, joins anew where it is lost, and looks after what replicas that are gone have left behind;
    /// for as long as it runs.
    pub async fn stay(&self, terms: &ReplicaTerms) {
        // A look may take long; the lease must not wait for it.
        let renewals = async {
            let mut beat = beat(terms);
            loop {
                let renewed = async {
                    beat.tick().await;
                    self.renewed(terms).await
                };
                let standing = &self.live.standing;
                let renewed = match terms.lease.and_then(|life| standing.lives_until(life)) {
                    None => renewed.await,
                    Some((fence, until)) => match timeout_at(until, renewed).await {
                        Ok(renewed) => renewed,
                        Err(_) => {
                            // Whether the store takes it for dead or cannot be reached: its engines are free to go.
                            standing.lost(&fence);
                            continue;
                        }
                    },
                };
                if let Err(error) = renewed {
                    not_renewed(&error);
                }
            }
        };
        let looks = async {
            let mut beat = beat(terms);
            let mut seen: Seen = None;
            loop {
                beat.tick().await;
                if let Err(error) = self.look(&mut seen).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "what others left behind cannot be looked after yet");
                }
            }
        };
        tokio::select! {
            () = renewals => {}
            () = looks => {}
        }
    }

    /// Gives the lease up: what is still open here is left to others at once.
    pub async fn leave(&self) {
        let Ok(Some(fence)) = self.fence() else { return };
        let command = Command::Replica(ReplicaCommand::Leave { fence: fence.clone() });
        if let Err(error) = self.commit(call(&replicas()), command).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the lease is not given up; it will run out");
        }
        self.live.standing.left(&fence);
    }

    /// Whether this replica has been without a lease for longer than one lasts: others may do what it cannot.
    pub fn is_cut_off(&self, terms: &ReplicaTerms) -> bool {
        let without = self.live.standing.without();
        let left = without.zip(terms.lease);
        left.is_some_and(|((_, since), life)| since > life)
    }

    /// What is written here for engines and resumes carries this; refused while the lease is lost.
    pub fn fence(&self) -> Result<Option<Fence>, Error> {
        Ok(self.live.standing.membership()?.fence)
    }

    /// Whether this is the present incarnation of this replica.
    pub(super) fn is_me(&self, fence: &Fence) -> bool {
        self.fence().is_ok_and(|own| own.as_ref() == Some(fence))
    }

    /// Looks at a resume that this replica was told to drive.
    pub async fn drive_handed(&self, ns: &Namespace, id: &ResumeId) -> Result<(), Error> {
        let resume = self.found_resume(ns, id).await?;
        if resume.driver == self.fence()? && !resume.state.is_end() {
            self.drive(&resume, Beginning::CarriedOn);
        }
        Ok(())
    }

    /// Ends the attachment of an engine that has attached elsewhere under a higher epoch.
    pub fn evict(&self, ns: &Namespace, id: &EngineId, epoch: u64) {
        self.live.registry.evict(ns, id, epoch);
    }

    async fn joined(&self, terms: &ReplicaTerms, over: Over) -> Result<(), Error> {
        let command = Command::Replica(ReplicaCommand::Join {
            id: terms.id.clone(),
            address: terms.address.clone(),
            life: terms.lease,
            over,
        });
        let sent = Instant::now();
        let outcome = self.commit(call(&replicas()), command).await?.outcome;
        let Outcome::Replica { replica, incarnation } = outcome else {
            return Err(mismatched(&outcome));
        };
        tracing::info!(replica = replica.as_str(), incarnation, "joined");
        self.live.standing.joined(Fence { replica, incarnation }, sent);
        Ok(())
    }

    async fn renewed(&self, terms: &ReplicaTerms) -> Result<(), Error> {
        if let Some((last, _)) = self.live.standing.without() {
            return self.joined(terms, Over::Own(last)).await;
        }
        let membership = self.live.standing.membership()?;
        let (Some(fence), Some(life)) = (membership.fence, terms.lease) else {
            return Ok(());
        };
        let command = Command::Replica(ReplicaCommand::Renew {
            fence: fence.clone(),
            life,
        });
        let sent = Instant::now();
        match self.commit(call(&replicas()), command).await {
            Err(Error::Store(store::Error::Refused(Refusal::ReplicaFenced { .. }))) => {
                self.live.standing.lost(&fence);
                self.joined(terms, Over::Own(fence)).await
            }
            renewed => {
                renewed?;
                self.live.standing.renewed(&fence, sent);
                Ok(())
            }
        }
    }

    /// One look at who lives and what the others left.
    async fn look(&self, seen: &mut Seen) -> Result<(), Error> {
        if self.live.standing.membership().is_err() {
            // Without a lease there is nothing to be done for others.
            return Ok(());
        }
        let living = self.living().await?;
        if seen.as_ref() != Some(&living) {
            self.peers.keep(&living);
            let mut left = Vec::new();
            let recovered = self.recover(&living, seen, &mut left).await;
            self.interrupt_later(left);
            recovered?;
            *seen = Some(living.clone());
        }
        self.carry_on(&living).await?;
        self.compare_attachments().await
    }

    /// Who lives; a lease that has run out is ended first, so that nothing under it can be written any more.
    async fn living(&self) -> Result<BTreeSet<Fence>, Error> {
        let members = self.store.members(self.now()).await?;
        let mut living = BTreeSet::new();
        for replica in &members.replicas {
            let fence = replica.fence();
            if replica.lives(members.clock) {
                living.insert(fence);
                continue;
            }
            tracing::warn!(
                replica = fence.replica.as_str(),
                fence.incarnation,
                "its lease has run out"
            );
            let command = Command::Replica(ReplicaCommand::Expire { fence });
            self.commit(call(&replicas()), command).await?;
        }
        Ok(living)
    }

    /// Engines whose replica is gone are not attached, whatever the store says; they have as long to come back as
    /// those that left. Who attaches meanwhile to a replica that joined after the look is left alone by the rule itself.
    async fn recover(
        &self,
        living: &BTreeSet<Fence>,
        seen: &Seen,
        left: &mut Vec<Left>,
    ) -> Result<(), Error> {
        let is_living = |engine: &Engine| match &engine.replica {
            Some(fence) => living.contains(fence),
            None => false,
        };
        // Of those that were detached before, only the ones whose replica has not seen their time to its end.
        let was_waiting = |engine: &Engine| match (seen, &engine.replica) {
            (Some(seen), Some(fence)) => seen.contains(fence),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut after: Option<(Namespace, EngineId)> = None;
        loop {
            let engines = self.store.engines(after.as_ref(), ROWS_MAX).await?;
            let Some(last) = engines.last() else {
                return Ok(());
            };
            after = Some((last.namespace.clone(), last.id.clone()));
            for engine in engines.iter().filter(|engine| !is_living(engine)) {
                if engine.is_attached() {
                    self.detach_left(engine).await?;
                } else if !was_waiting(engine) {
                    continue;
                }
                left.push(Left {
                    namespace: engine.namespace.clone(),
                    id: engine.id.clone(),
                    epoch: engine.epoch,
                });
            }
        }
    }

    async fn detach_left(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        let command = EngineCommand::Detach {
            id: engine.id.clone(),
            epoch: engine.epoch,
        };
        let fence = self.fence()?;
        self.commit_as(call(&engine.namespace), fence, Command::Engine(command))
            .await?;
        Ok(())
    }

    /// Drives on resumes whose replica is gone, and those that were handed to this one.
    async fn carry_on(&self, living: &BTreeSet<Fence>) -> Result<(), Error> {
        let query = query::Resumes {
            namespace: None,
            states: vec![State::Queued, State::Seeding],
            session: None,
            thread: None,
            engine: None,
        };
        let bound = Bound {
            rows: ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let own = self.fence()?;
        let mut after = None;
        loop {
            let page = self.store.resumes(&query, after.as_ref(), bound).await?;
            for resume in &page.rows {
                let is_driven = resume
                    .driver
                    .as_ref()
                    .is_some_and(|driver| living.contains(driver));
                if !is_driven || resume.driver == own {
                    self.drive(resume, Beginning::CarriedOn);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The replica that a fence names, if it lives and is another one.
    pub(super) async fn peer(&self, fence: &Fence) -> Result<Option<Arc<Replica>>, Error> {
        if !self.store.is_shared() || self.is_me(fence) {
            return Ok(None);
        }
        let members = self.store.members(self.now()).await?;
        Ok(members.living(fence).cloned())
    }
}

fn not_renewed(error: &Error) {
    let cause: &dyn std::error::Error = error;
    if let Error::Store(store::Error::Refused(Refusal::ReplicaTaken { replica })) = error {
        tracing::error!(
            replica = replica.as_str(),
            "another process has this replica's name (cluster.name): it joined in this one's place, and this one takes no \
             engines"
        );
    } else {
        tracing::warn!(error = cause, "the lease is not renewed yet");
    }
}

fn beat(terms: &ReplicaTerms) -> Interval {
    let mut beat = tokio::time::interval(terms.renew);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Replicas are in no namespace; the default one counts their incarnations.
fn replicas() -> Namespace {
    Namespace::parse("").expect("the default namespace is one")
}
