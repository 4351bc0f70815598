//! Pruning: sessions that are old, or many, are archived or deleted.
//!
//! Candidates are found on readers, a page at a time, the last updated first, and go in short commits that check every
//! condition again: a session that changed after it was found is left alone. Memory holds counts and digests, not
//! sessions. A caller that leaves stops it between two commits; what was done stays done.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::body;
use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, PRUNE_SESSIONS_MAX, PRUNED_IDS_MAX};
use crate::domain::proposal::{Found, Prune, SessionCommand};
use crate::domain::query::Bound;
use crate::domain::retention::{Action, Policy, Rule};
use crate::domain::session::{Session, State};
use crate::domain::{Command, Digest, Namespace, Outcome, Proposal, SessionId};
use crate::store;

use super::{Call, Error, Service, mismatched};

use walk::Walk;

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
    /// Commits.
    pub commits_left: usize,
    /// Ends it between two commits.
    pub stop: CancellationToken,
}

/// What a policy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Sessions archived.
    pub archived: u64,
    /// Sessions deleted.
    pub deleted: u64,
    /// Whether the meter ended it.
    pub cut_short: bool,
}

impl Meter {
    /// As much as there is.
    fn unbounded() -> Self {
        Self {
            commits_left: usize::MAX,
            stop: CancellationToken::new(),
        }
    }

    fn is_spent(&self) -> bool {
        self.commits_left == 0 || self.stop.is_cancelled()
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
        };
        let mut pruning = Pruning::new(
            self,
            &call.namespace,
            rule,
            wanted.keep_per_workspace,
            wanted.mode,
        );
        pruning.run(&mut Meter::unbounded()).await?;
        let Pruned { sessions, count } = pruning.pruned;
        if call.request.is_none() {
            return Ok(Pruned { sessions, count });
        }
        let record = SessionCommand::Pruned { sessions, count };
        let committed = self.commit(call, Command::Session(record)).await?;
        recorded(committed.outcome)
    }

    /// Does what a namespace's policy asks for now, as much as the meter lets.
    pub async fn retain(
        &self,
        ns: &Namespace,
        policy: &Policy,
        meter: &mut Meter,
    ) -> Result<Retained, Error> {
        let _turn = self.live.prunes.turn(ns).await;
        let now = self.clock.now();
        let mut done = Retained::default();
        if policy.max_age.is_some() || policy.keep_per_workspace.is_some() {
            let rule = Rule {
                action: if policy.archive_first {
                    Action::Archive
                } else {
                    self.action(Deed::Delete)
                },
                states: vec![State::Active],
                takes_starred: false,
                before: policy.max_age.map(|age| now.before(age)),
            };
            let mut pruning = Pruning::new(self, ns, rule, policy.keep_per_workspace, Mode::Act);
            let outcome = pruning.run(meter).await;
            if policy.archive_first {
                done.archived += pruning.pruned.count;
            } else {
                done.deleted += pruning.pruned.count;
            }
            done.cut_short |= outcome? == Progress::CutShort;
        }
        if let Some(age) = policy.delete_archived_after {
            let rule = Rule {
                action: self.action(Deed::Delete),
                states: vec![State::Archived],
                takes_starred: false,
                before: Some(now.before(age)),
            };
            let mut pruning = Pruning::new(self, ns, rule, None, Mode::Act);
            let outcome = pruning.run(meter).await;
            done.deleted += pruning.pruned.count;
            done.cut_short |= outcome? == Progress::CutShort;
        }
        Ok(done)
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

/// How far a prune came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    CutShort,
}

/// One prune of one namespace.
struct Pruning<'a> {
    service: &'a Service,
    ns: &'a Namespace,
    rule: Rule,
    keep: Option<u64>,
    mode: Mode,
    /// Sessions that stay because a sub-session of theirs is kept.
    spared: HashSet<Digest>,
    /// Sessions that are counted: in telling alone, a sub-session is met by itself and with its parent.
    counted: HashSet<Digest>,
    pruned: Pruned,
}

impl<'a> Pruning<'a> {
    fn new(service: &'a Service, ns: &'a Namespace, rule: Rule, keep: Option<u64>, mode: Mode) -> Self {
        Self {
            service,
            ns,
            rule,
            keep,
            mode,
            spared: HashSet::new(),
            counted: HashSet::new(),
            pruned: Pruned::default(),
        }
    }

    async fn run(&mut self, meter: &mut Meter) -> Result<Progress, Error> {
        if self.keep.is_some() && self.rule.action != Action::Archive {
            self.spare_parents().await?;
        }
        let mut walk = self.walk();
        let mut found = Vec::new();
        while let Some(page) = walk.next(self.service).await? {
            for (session, standing) in page {
                let goes = match standing {
                    Standing::Kept => false,
                    Standing::Beyond => true,
                    // Counting says nothing about it; its age may.
                    Standing::Uncounted => self.rule.before.is_some(),
                };
                if !goes || !self.rule.takes(&session) {
                    continue;
                }
                if self.spared.contains(&digest(session.id.as_str())) {
                    continue;
                }
                let etag = session.etag();
                let id = session.id.clone();
                found.push(Found { id, etag });
                if found.len() == PRUNE_SESSIONS_MAX {
                    if meter.is_spent() {
                        return Ok(Progress::CutShort);
                    }
                    meter.commits_left -= 1;
                    self.take(std::mem::take(&mut found)).await?;
                }
            }
        }
        if found.is_empty() {
            return Ok(Progress::Done);
        }
        if meter.is_spent() {
            return Ok(Progress::CutShort);
        }
        meter.commits_left -= 1;
        self.take(found).await?;
        Ok(Progress::Done)
    }

    fn walk(&self) -> Walk {
        Walk::over(self.ns, &self.rule, self.keep)
    }

    /// Finds the sessions that would take a kept one with them.
    async fn spare_parents(&mut self) -> Result<(), Error> {
        let mut walk = self.walk();
        while let Some(page) = walk.next(self.service).await? {
            let kept = page
                .into_iter()
                .filter(|(_, standing)| *standing == Standing::Kept);
            for (session, _) in kept {
                let mut parent = session.profile.parent.clone();
                while let Some(id) = parent.take() {
                    if !self.spared.insert(digest(id.as_str())) {
                        break;
                    }
                    parent = match self.service.store.session(self.ns, &id).await {
                        Ok(found) => found.and_then(|session| session.profile.parent.clone()),
                        // One that cannot be read is not deleted either.
                        Err(store::Error::Corrupt { .. }) => None,
                        Err(error) => return Err(error.into()),
                    };
                }
            }
        }
        Ok(())
    }

    /// Takes what was found, in one commit; one by one where something among it is damaged.
    async fn take(&mut self, found: Vec<Found>) -> Result<(), Error> {
        let few = found.len() == 1;
        match self.commit(found.clone()).await {
            Err(Error::Store(store::Error::Corrupt { row, reason })) if few => {
                tracing::error!(row, reason, "a damaged session is not pruned");
                return Ok(());
            }
            Err(Error::Store(store::Error::Corrupt { .. })) => {}
            other => return other,
        }
        for one in found {
            match self.commit(vec![one]).await {
                Err(Error::Store(store::Error::Corrupt { row, reason })) => {
                    tracing::error!(row, reason, "a damaged session is not pruned");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn commit(&mut self, found: Vec<Found>) -> Result<(), Error> {
        let rule = self.rule.clone();
        let command = Command::Session(SessionCommand::Prune(Box::new(Prune { rule, found })));
        let call = Call {
            namespace: self.ns.clone(),
            request: None,
        };
        let outcome = match self.mode {
            Mode::Act => self.service.commit(call, command).await?.outcome,
            Mode::Tell => {
                let proposal = Proposal {
                    namespace: call.namespace,
                    request: None,
                    fence: None,
                    command,
                };
                let now = self.service.clock.now();
                self.service.store.consider(proposal, now).await?
            }
        };
        for id in recorded(outcome)?.sessions {
            if !self.counted.insert(digest(id.as_str())) {
                continue;
            }
            self.pruned.count += 1;
            if self.pruned.sessions.len() < PRUNED_IDS_MAX {
                self.pruned.sessions.push(id);
            }
        }
        Ok(())
    }
}

/// Where a session stands among those of its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is one of those that are kept.
    Kept,
    /// There are enough before it, or nothing is counted.
    Beyond,
    /// No user has spoken in it: it takes no place, and does not go for the want of one.
    Uncounted,
}

/// How many of each workspace were met.
#[derive(Debug)]
struct Places {
    keep: Option<u64>,
    taken: HashMap<Digest, u64>,
}

impl Places {
    fn standing(&mut self, session: &Session) -> Standing {
        let Some(keep) = self.keep else {
            return Standing::Beyond;
        };
        if !session.tip.tally.has_user_interaction() {
            return Standing::Uncounted;
        }
        let workspace = digest(&session.profile.setting.workspace);
        let taken = self.taken.entry(workspace).or_default();
        if *taken >= keep {
            return Standing::Beyond;
        }
        *taken += 1;
        Standing::Kept
    }
}

/// A name in few bytes.
fn digest(name: &str) -> Digest {
    body::digest(name.as_bytes())
}

fn recorded(outcome: Outcome) -> Result<Pruned, Error> {
    match outcome {
        Outcome::Pruned { sessions, count } => Ok(Pruned { sessions, count }),
        outcome => Err(mismatched(&outcome)),
    }
}

/// What a page of a walk holds.
const PAGE: Bound = Bound {
    rows: PAGE_ROWS_MAX,
    bytes: PAGE_BYTES_MAX,
};
