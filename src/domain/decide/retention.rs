//! Pruning: a session goes only if every condition holds when it goes, for itself and for its sub-sessions.

use std::collections::HashSet;
use std::sync::Arc;

use super::Ruling;
use super::deletion::{members, soft};
use crate::domain::effect::Effect;
use crate::domain::facts::Facts;
use crate::domain::id::{Namespace, SessionId};
use crate::domain::outcome::Outcome;
use crate::domain::proposal::Prune;
use crate::domain::retention::Action;
use crate::domain::session::{Deletion, Profile, Session, State};
use crate::domain::time::Time;

/// Takes those of the sessions found that may go. One that may not is left alone: that is no error.
pub(super) fn prune(facts: &Facts, ns: &Namespace, prune: &Prune, now: Time) -> Ruling {
    let mut taken: Vec<SessionId> = Vec::new();
    let mut known: HashSet<&SessionId> = HashSet::new();
    let mut effects = Vec::new();
    let (reached, left) = prune.reach(|id| facts.family(ns, id).map_or(0, Vec::len));
    for found in reached {
        let Some(session) = facts.session(ns, &found.id).flatten() else {
            continue;
        };
        let may_go = |session: &Session| prune.rule.takes(session) && !is_in_use(facts, ns, session);
        if known.contains(&found.id) || session.etag() != found.etag || !may_go(session) {
            continue;
        }
        match prune.rule.action {
            Action::Archive => {
                known.insert(&session.id);
                taken.push(session.id.clone());
                effects.push(archived(session, now));
            }
            Action::Delete { purge_after } => {
                // Too many sub-sessions for one commit: nobody but DeleteSession says so.
                let Ok(family) = members(facts, ns, &found.id) else {
                    continue;
                };
                let standing = family
                    .into_iter()
                    .filter(|member| member.profile.state != State::Deleted && !known.contains(&member.id));
                let standing: Vec<&Arc<Session>> = standing.collect();
                if !standing.iter().all(|member| may_go(member)) {
                    continue;
                }
                let deletion = Deletion {
                    time: now,
                    purge_time: now.after(purge_after),
                    root: session.id.clone(),
                };
                for gone in std::iter::once(session).chain(standing) {
                    known.insert(&gone.id);
                    taken.push(gone.id.clone());
                    effects.extend(soft(facts, ns, gone, &deletion, now));
                }
            }
        }
    }
    let count = taken.len() as u64;
    Ok((
        effects,
        Outcome::Pruned {
            sessions: taken,
            count,
            left: left.into_iter().map(|found| found.id.clone()).collect(),
        },
    ))
}

/// Whether an engine holds the session's thread, a turn of it runs, or somebody resumes the session.
fn is_in_use(facts: &Facts, ns: &Namespace, session: &Session) -> bool {
    let thread = session.profile.thread.as_ref();
    let thread = thread.and_then(|id| facts.thread(ns, id).flatten());
    let runs = thread.is_some_and(|thread| thread.active_turn.is_some());
    let is_held = || {
        let thread = thread?;
        let owner = facts.engine(ns, thread.engine.as_ref()?).flatten()?;
        Some(owner.is_at(thread.epoch))
    };
    runs || is_held().unwrap_or(false) || facts.open_resume(ns, &session.id).is_some()
}

fn archived(session: &Session, now: Time) -> Effect {
    let profile = Profile {
        state: State::Archived,
        archive_time: Some(now),
        ..Profile::clone(&session.profile)
    };
    Effect::PutSession(Arc::new(Session {
        profile: Arc::new(profile),
        ..session.touched(now)
    }))
}
