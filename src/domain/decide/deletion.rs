//! Deleting sessions, softly or at once, with their sub-sessions; restoring them; the purge.

use std::sync::Arc;

use super::session::{found, unchanged};
use super::{Ruling, resume};
use crate::domain::effect::Effect;
use crate::domain::error::{Invalid, Noun, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{Namespace, SessionId};
use crate::domain::limits::CASCADE_SESSIONS_MAX;
use crate::domain::outcome::Outcome;
use crate::domain::proposal;
use crate::domain::session::{Deletion, Etag, Profile, Session, State};
use crate::domain::thread::Thread;
use crate::domain::time::Time;

pub(super) fn delete(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    mode: proposal::Deletion,
    etag: Option<&Etag>,
    now: Time,
) -> Ruling {
    let session = found(facts, ns, id)?;
    unchanged(session, etag)?;
    let family = members(facts, ns, id)?;
    let mut effects = Vec::new();
    match mode {
        proposal::Deletion::Force => {
            for member in family.into_iter().chain([session]) {
                effects.extend(resume::cut_off(facts, ns, &member.id, now));
                effects.extend(removal(facts, ns, member, &effects, now));
            }
        }
        proposal::Deletion::Soft { purge_after } => {
            if session.profile.state == State::Deleted {
                return Err(Refusal::SessionDeleted { session: id.clone() });
            }
            let deletion = Deletion {
                time: now,
                purge_time: now.after(purge_after),
                root: id.clone(),
            };
            let standing = family
                .into_iter()
                .filter(|member| member.profile.state != State::Deleted);
            for member in standing.chain([session]) {
                effects.extend(soft(facts, ns, member, &deletion, now));
            }
        }
    }
    Ok((effects, Outcome::Session { session: id.clone() }))
}

/// The effects that delete one session softly; its sub-sessions have their own.
pub(super) fn soft(
    facts: &Facts,
    ns: &Namespace,
    session: &Session,
    deletion: &Deletion,
    now: Time,
) -> Vec<Effect> {
    let mut effects = resume::cut_off(facts, ns, &session.id, now);
    effects.push(with_deletion(session, Some(deletion.clone()), now));
    effects
}

pub(super) fn undelete(facts: &Facts, ns: &Namespace, id: &SessionId, now: Time) -> Ruling {
    let session = found(facts, ns, id)?;
    let outcome = Outcome::Session { session: id.clone() };
    let Some(deletion) = &session.profile.deletion else {
        return Err(Refusal::AlreadyExists {
            noun: Noun::Session,
            id: id.to_string(),
        });
    };
    let family = members(facts, ns, id)?;
    let taken = family
        .into_iter()
        .filter(|member| member.profile.deletion.as_ref() == Some(deletion));
    let effects = taken
        .chain([session])
        .map(|member| with_deletion(member, None, now))
        .collect();
    Ok((effects, outcome))
}

/// The effects that remove a session for good. `before` are effects already decided in this command, so
/// that a thread named by several sessions loses all of them.
pub(super) fn removal(
    facts: &Facts,
    ns: &Namespace,
    session: &Session,
    before: &[Effect],
    now: Time,
) -> Vec<Effect> {
    let mut effects = vec![
        Effect::RemoveSession(ns.clone(), session.id.clone()),
        Effect::Loosen(session.tip.log.id, now),
        Effect::DropPastHeads {
            namespace: ns.clone(),
            session: session.id.clone(),
            revision: None,
            time: now,
        },
    ];
    if let Some(id) = &session.profile.thread
        && let Some(thread) = written(before, id).or_else(|| facts.thread(ns, id).flatten().cloned())
    {
        let mut after = thread.touched(now);
        after.marks.retain(|mark| mark.session != session.id);
        after.session = after.session.filter(|linked| *linked != session.id);
        effects.push(Effect::PutThread(Arc::new(after)));
    }
    effects
}

/// The newest version of a thread among effects.
fn written(effects: &[Effect], id: &crate::domain::ThreadId) -> Option<Arc<Thread>> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::PutThread(thread) if thread.id == *id => Some(thread.clone()),
        _ => None,
    })
}

/// The descendants of a session, unless they are too many for one commit.
pub(super) fn members<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &SessionId,
) -> Result<Vec<&'a Arc<Session>>, Refusal> {
    let ids = facts.family(ns, id).map_or(&[][..], Vec::as_slice);
    if ids.len() > CASCADE_SESSIONS_MAX {
        return Err(Invalid::limit(
            "session_id",
            "sub-sessions of one deletion",
            CASCADE_SESSIONS_MAX as u64,
        )
        .into());
    }
    Ok(ids
        .iter()
        .filter_map(|id| facts.session(ns, id).flatten())
        .collect())
}

fn with_deletion(session: &Session, deletion: Option<Deletion>, now: Time) -> Effect {
    let mut profile = Profile::clone(&session.profile);
    profile.state = match (&deletion, profile.archive_time) {
        (Some(_), _) => State::Deleted,
        (None, Some(_)) => State::Archived,
        (None, None) => State::Active,
    };
    profile.deletion = deletion;
    Effect::PutSession(Arc::new(Session {
        profile: Arc::new(profile),
        ..session.touched(now)
    }))
}
