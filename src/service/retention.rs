//! Pruning: sessions that are old, or many, are archived or deleted.
//!
//! Candidates are found on readers, a page at a time, the last updated first, and go in short commits that check every
//! condition again: a session that changed after it was found is left alone. Memory holds counts and digests, not
//! sessions. A caller that leaves stops it between two commits; what was done stays done.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::proposal::SessionCommand;
use crate::domain::query::SessionKey;
use crate::domain::retention::{Action, Policy, Rule};
use crate::domain::session::State;
use crate::domain::{Command, Namespace, Outcome, SessionId};

use super::{Call, Error, Service, mismatched};

use pruning::{Progress, Pruning};

mod pruning;
#[cfg(test)]
mod tests;
mod walk;

/// What PruneSessions asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What becomes of the sessions.
    pub action: Deed,
    /// Those that were not updated for this long.
    pub older_than: Option<Duration>,
    /// Those beyond so many of each workspace.
    pub keep_per_workspace: Option<u64>,
    /// Starred ones too.
    pub include_starred: bool,
    /// Archived ones too.
    pub include_archived: bool,
    /// Whether anything is done.
    pub mode: Mode,
}

/// What becomes of sessions that are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are archived.
    Archive,
    /// They are deleted softly.
    Delete,
}

/// Whether a prune does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Act,
    /// It only tells.
    Tell,
}

/// What was pruned, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The first of the sessions.
    pub sessions: Vec<SessionId>,
    /// How many there are.
    pub count: u64,
}

/// How much a policy may do at a time.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Commits that take something.
    pub commits_left: usize,
    /// Commits in all: what may not go is looked at, too.
    pub looks_left: usize,
    /// Ends it between two commits.
    pub stop: CancellationToken,
}

/// What a policy has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Sessions archived.
    pub archived: u64,
    /// Sessions deleted.
    pub deleted: u64,
    /// Where it is to go on, if it did not come to the end.
    pub left: Option<Place>,
}

/// Where a policy goes on: what comes before was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// With which of its steps.
    step: Step,
    /// Behind which session.
    after: Option<SessionKey>,
}

/// What a policy does, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Active sessions go.
    #[default]
    Active,
    /// Archived ones are deleted.
    Archived,
}

impl Meter {
    /// As much as there is.
    fn unbounded() -> Self {
        Self {
            commits_left: usize::MAX,
            looks_left: usize::MAX,
            stop: CancellationToken::new(),
        }
    }

    /// Whether nothing more may be done.
    pub fn is_spent(&self) -> bool {
        self.commits_left == 0 || self.looks_left == 0 || self.stop.is_cancelled()
    }
}

impl Service {
    /// Archives or deletes what `wanted` names. A retry under the same request_id is answered from the record that the
    /// first call leaves at its end; one that was cut off left none, and its retry prunes what is left.
    pub async fn prune_sessions(&self, call: Call, wanted: &Wanted) -> Result<Pruned, Error> {
        // Two calls under one request_id must not share the work: each would know half of it.
        let _turn = match wanted.mode {
            Mode::Act => Some(self.live.prunes.turn(&call.namespace).await),
            Mode::Tell => None,
        };
        if let Some(outcome) = self.replayed(&call).await? {
            return recorded(outcome);
        }
        let now = self.clock.now();
        let mut states = vec![State::Active];
        if wanted.include_archived {
            states.push(State::Archived);
        }
        let rule = Rule {
            action: self.action(wanted.action),
            states,
            takes_starred: wanted.include_starred,
            before: wanted.older_than.map(|age| now.before(age)),
            // Who asks by age sees update times.
            arrived_before: None,
        };
        let mut pruning = Pruning::new(
            self,
            &call.namespace,
            rule,
            wanted.keep_per_workspace,
            wanted.mode,
        );
        pruning.run(&mut Meter::unbounded(), None).await?;
        let Pruned { sessions, count } = pruning.pruned;
        if call.request.is_none() {
            return Ok(Pruned { sessions, count });
        }
        let record = SessionCommand::Pruned { sessions, count };
        let committed = self.commit(call, Command::Session(record)).await?;
        recorded(committed.outcome)
    }

    /// Does what a namespace's policy asks for now, as much as the meter lets, from where it was left. While somebody
    /// prunes the namespace, or another one in the same queue, everything is left.
    pub async fn retain(
        &self,
        ns: &Namespace,
        policy: &Policy,
        from: Option<Place>,
        meter: &mut Meter,
    ) -> Result<Retained, Error> {
        let from = from.unwrap_or_default();
        let mut done = Retained::default();
        let Some(_turn) = self.live.prunes.try_turn(ns) else {
            done.left = Some(from);
            return Ok(done);
        };
        let Place { mut step, mut after } = from;
        if step == Step::Active {
            if policy.max_age.is_some() || policy.keep_per_workspace.is_some() {
                let deed = if policy.archive_first {
                    Deed::Archive
                } else {
                    Deed::Delete
                };
                let rule = self.rule(deed, State::Active, policy.max_age);
                let keep = policy.keep_per_workspace;
                done.left = self
                    .one_step(ns, (rule, keep), (step, after), meter, &mut done)
                    .await?;
            }
            (step, after) = (Step::Archived, None);
        }
        if let Some(age) = policy.delete_archived_after.filter(|_| done.left.is_none()) {
            let rule = self.rule(Deed::Delete, State::Archived, Some(age));
            done.left = self
                .one_step(ns, (rule, None), (step, after), meter, &mut done)
                .await?;
        }
        Ok(done)
    }

    /// What a policy does to sessions of a state that are of an age. Those that an import brought are as old as they
    /// are here, whatever their transcripts say.
    fn rule(&self, deed: Deed, state: State, age: Option<Duration>) -> Rule {
        let before = age.map(|age| self.clock.now().before(age));
        Rule {
            action: self.action(deed),
            states: vec![state],
            takes_starred: false,
            before,
            arrived_before: before,
        }
    }

    /// One step of a policy; where it is to go on, if it did not come to the end.
    async fn one_step(
        &self,
        ns: &Namespace,
        (rule, keep): (Rule, Option<u64>),
        (step, after): (Step, Option<SessionKey>),
        meter: &mut Meter,
        done: &mut Retained,
    ) -> Result<Option<Place>, Error> {
        let archives = rule.action == Action::Archive;
        let mut pruning = Pruning::new(self, ns, rule, keep, Mode::Act);
        let outcome = pruning.run(meter, after).await;
        let count = pruning.pruned.count;
        if archives {
            done.archived += count;
        } else {
            done.deleted += count;
        }
        Ok(match outcome? {
            Progress::Done => None,
            Progress::CutShort(after) => Some(Place { step, after }),
        })
    }

    fn action(&self, deed: Deed) -> Action {
        match deed {
            Deed::Archive => Action::Archive,
            Deed::Delete => Action::Delete {
                purge_after: self.limits.purge_after,
            },
        }
    }
}

fn recorded(outcome: Outcome) -> Result<Pruned, Error> {
    match outcome {
        Outcome::Pruned { sessions, count, .. } => Ok(Pruned { sessions, count }),
        outcome => Err(mismatched(&outcome)),
    }
}
