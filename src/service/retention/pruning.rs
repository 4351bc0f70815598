//! One prune of one namespace: it finds what may go, and takes it a few at a time.

use std::collections::{HashMap, HashSet};

use super::walk::Walk;
use super::{Meter, Mode, Pruned};
use crate::body;
use crate::domain::limits::{
    PAGE_BYTES_MAX, PAGE_ROWS_MAX, PRUNE_ABOVE_MAX, PRUNE_SESSIONS_MAX, PRUNED_IDS_MAX,
};
use crate::domain::proposal::{Found, Prune, SessionCommand};
use crate::domain::query::{Bound, SessionKey};
use crate::domain::retention::{Action, Rule};
use crate::domain::session::Session;
use crate::domain::{Command, Digest, Namespace, Outcome, Proposal, SessionId};
use crate::service::{Call, Error, Service, mismatched};
use crate::store;

/// How far a prune came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// The meter ended it behind this session; `None`: before the first.
    CutShort(Option<SessionKey>),
}

/// One prune of one namespace.
pub(super) struct Pruning<'a> {
    service: &'a Service,
    ns: &'a Namespace,
    rule: Rule,
    keep: Option<u64>,
    mode: Mode,
    /// Sessions that stay because they, or sub-sessions of theirs, are kept.
    spared: HashSet<Digest>,
    /// Sessions that are counted: in telling alone, a sub-session is met by itself and with its parent.
    counted: HashSet<Digest>,
    pub(super) pruned: Pruned,
}

impl<'a> Pruning<'a> {
    pub(super) fn new(
        service: &'a Service,
        ns: &'a Namespace,
        rule: Rule,
        keep: Option<u64>,
        mode: Mode,
    ) -> Self {
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

    /// Takes what may go of all that comes after a session.
    pub(super) async fn run(
        &mut self,
        meter: &mut Meter,
        after: Option<SessionKey>,
    ) -> Result<Progress, Error> {
        if self.keep.is_some() && self.rule.action != Action::Archive {
            self.spare().await?;
        }
        let mut walk = Walk::over(self.ns, &self.rule, self.keep, after.clone());
        // What comes up to `done` was taken, or stays.
        let (mut done, mut at) = (after, None);
        let mut found: Vec<Found> = Vec::new();
        while let Some(page) = walk.next(self.service).await? {
            for (session, standing, key) in page {
                if standing == Standing::Kept || !self.may_go(&session) {
                    at = Some(key);
                    continue;
                }
                let mut more = self.above(&session, &found).await?;
                if !found.iter().any(|one| one.id == session.id) {
                    more.push(as_found(&session));
                }
                if !found.is_empty() && found.len() + more.len() > PRUNE_SESSIONS_MAX {
                    if meter.is_spent() {
                        return Ok(Progress::CutShort(done));
                    }
                    self.take(std::mem::take(&mut found), meter).await?;
                    done = at;
                }
                found.extend(more);
                at = Some(key);
            }
            if found.is_empty() {
                done.clone_from(&at);
            }
            if meter.stop.is_cancelled() {
                return Ok(Progress::CutShort(done));
            }
        }
        if found.is_empty() {
            return Ok(Progress::Done);
        }
        if meter.is_spent() {
            return Ok(Progress::CutShort(done));
        }
        self.take(found, meter).await?;
        Ok(Progress::Done)
    }

    /// Whether the session may go, as far as it and the counting tell.
    fn may_go(&self, session: &Session) -> bool {
        // Counting says nothing about a session in which no user spoke; its age may.
        let is_judged =
            self.keep.is_none() || session.tip.tally.has_user_interaction() || self.rule.before.is_some();
        is_judged && self.rule.takes(session) && !self.spared.contains(&digest(session.id.as_str()))
    }

    /// The sessions above one that may go as well, the topmost first, but for those in `found`: a session goes with
    /// what it is a part of, if that can go, and by itself only if not. So it comes back with it, too.
    async fn above(&self, session: &Session, found: &[Found]) -> Result<Vec<Found>, Error> {
        let mut above: Vec<Found> = Vec::new();
        let mut parent = match self.rule.action {
            Action::Archive => None,
            Action::Delete { .. } => session.profile.parent.clone(),
        };
        while let Some(id) = parent.take().filter(|_| above.len() < PRUNE_ABOVE_MAX) {
            if found.iter().chain(&above).any(|one| one.id == id) || id == session.id {
                break;
            }
            match self.service.store.session(self.ns, &id).await {
                Ok(Some(one)) if self.may_go(&one) => {
                    above.push(as_found(&one));
                    parent.clone_from(&one.profile.parent);
                }
                // One that cannot be read is not deleted either.
                Ok(Some(_) | None) | Err(store::Error::Corrupt { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        above.reverse();
        Ok(above)
    }

    /// Finds the sessions that are kept, and those that would take a kept one with them.
    async fn spare(&mut self) -> Result<(), Error> {
        let mut walk = Walk::over(self.ns, &self.rule, self.keep, None);
        while let Some(page) = walk.next(self.service).await? {
            let kept = page
                .into_iter()
                .filter(|(_, standing, _)| *standing == Standing::Kept);
            for (session, ..) in kept {
                self.spared.insert(digest(session.id.as_str()));
                let mut parent = session.profile.parent.clone();
                let mut met = HashSet::new();
                while let Some(id) = parent.take() {
                    self.spared.insert(digest(id.as_str()));
                    if !met.insert(id.clone()) {
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

    /// Takes what was found, in as few commits as its sub-sessions let; one by one where something among it is damaged.
    async fn take(&mut self, mut found: Vec<Found>, meter: &mut Meter) -> Result<(), Error> {
        let mut one_by_one = false;
        while !found.is_empty() {
            let rest = if one_by_one {
                found.split_off(1)
            } else {
                Vec::new()
            };
            match self.commit(found.clone(), meter).await {
                Ok(left) => {
                    found.retain(|one| left.contains(&one.id));
                    found.extend(rest);
                }
                Err(Error::Store(store::Error::Corrupt { row, reason })) if found.len() == 1 => {
                    tracing::error!(row, reason, "a damaged session is not pruned");
                    found = rest;
                }
                Err(Error::Store(store::Error::Corrupt { .. })) => one_by_one = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Those that the commit did not come to.
    async fn commit(&mut self, found: Vec<Found>, meter: &mut Meter) -> Result<Vec<SessionId>, Error> {
        let rule = self.rule.clone();
        let command = Command::Session(SessionCommand::Prune(Box::new(Prune { rule, found })));
        let call = Call {
            namespace: self.ns.clone(),
            request: None,
        };
        meter.looks_left = meter.looks_left.saturating_sub(1);
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
        let (sessions, left) = match outcome {
            Outcome::Pruned { sessions, left, .. } => (sessions, left),
            outcome => return Err(mismatched(&outcome)),
        };
        meter.commits_left = meter
            .commits_left
            .saturating_sub(usize::from(!sessions.is_empty()));
        for id in sessions {
            if !self.counted.insert(digest(id.as_str())) {
                continue;
            }
            self.pruned.count += 1;
            if self.pruned.sessions.len() < PRUNED_IDS_MAX {
                self.pruned.sessions.push(id);
            }
        }
        Ok(left)
    }
}

/// A session as it was found.
fn as_found(session: &Session) -> Found {
    Found {
        id: session.id.clone(),
        etag: session.etag(),
    }
}

/// Where a session stands among those of its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is one of those that are kept.
    Kept,
    /// There are enough before it, or nothing is counted.
    Beyond,
    /// No user has spoken in it: it takes no place, and does not go for the want of one.
    Uncounted,
}

/// How many of each workspace were met.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) keep: Option<u64>,
    pub(super) taken: HashMap<Digest, u64>,
}

impl Places {
    pub(super) fn standing(&mut self, session: &Session) -> Standing {
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

/// What a page of a walk holds.
pub(super) const PAGE: Bound = Bound {
    rows: PAGE_ROWS_MAX,
    bytes: PAGE_BYTES_MAX,
};
