//! What the service does for itself. Each command checks again what the finder of the work saw.

use std::sync::Arc;

use super::deletion::removal;
use super::{Ruling, append};
use crate::domain::effect::Effect;
use crate::domain::entry::Entry;
use crate::domain::error::Refusal;
use crate::domain::facts::{Facts, References};
use crate::domain::id::{LogId, Namespace, Revision, Seq, SessionId};
use crate::domain::limits::{PAST_HEAD_LIFE, STAGING_LIFE};
use crate::domain::outcome::{More, Outcome};
use crate::domain::path::{Log, Tip, originals};
use crate::domain::proposal::UpkeepCommand;
use crate::domain::session::Session;
use crate::domain::thread::Thread;
use crate::domain::time::Time;

pub(super) fn decide(facts: &Facts, ns: &Namespace, command: &UpkeepCommand, now: Time) -> Ruling {
    let effects = match command {
        UpkeepCommand::ExpireReceipts { before } => vec![Effect::DropReceipts { before: *before }],
        UpkeepCommand::ExpireResumes { before } => vec![Effect::DropResumes { before: *before }],
        UpkeepCommand::ExpireHead { session, revision } => expire_head(facts, ns, session, *revision, now),
        UpkeepCommand::Purge { session } => purge(facts, ns, session, now),
        UpkeepCommand::Stage { log, after, entries } => stage(facts, log, *after, entries, now)?,
        UpkeepCommand::Compact { session, from, to } => compact(facts, ns, session, *from, to, now)?,
        UpkeepCommand::Sweep { log } => return Ok(sweep(facts, *log, now)),
    };
    Ok((effects, Outcome::Kept { more: More::Done }))
}

/// Forgets a head that was left long enough ago. The session may have been made anew since it was found, and have left
/// another head at the same revision.
fn expire_head(
    facts: &Facts,
    ns: &Namespace,
    session: &SessionId,
    revision: Revision,
    now: Time,
) -> Vec<Effect> {
    match facts.past_head(ns, session, revision).flatten() {
        Some(head) if head.time < now.before(PAST_HEAD_LIFE) => vec![Effect::DropPastHeads {
            namespace: ns.clone(),
            session: session.clone(),
            revision: Some(revision),
            time: now,
        }],
        Some(_) | None => Vec::new(),
    }
}

/// Removes a deleted session whose time has come; one that was restored meanwhile stays.
fn purge(facts: &Facts, ns: &Namespace, id: &SessionId, now: Time) -> Vec<Effect> {
    let session = facts.session(ns, id).flatten();
    match session {
        Some(session)
            if session
                .profile
                .deletion
                .as_ref()
                .is_some_and(|d| d.purge_time <= now) =>
        {
            removal(facts, ns, session, &[], now)
        }
        Some(_) | None => Vec::new(),
    }
}

/// Writes into a log that nobody names; the first command opens it, and leaves it to the sweep should
/// nothing follow.
fn stage(
    facts: &Facts,
    log: &Arc<Log>,
    after: Seq,
    entries: &[Entry],
    now: Time,
) -> Result<Vec<Effect>, Refusal> {
    let opened = facts.log(log.id).flatten().is_some();
    let mut effects = Vec::new();
    if !facts.is_staged_to(log, after) {
        return Err(Refusal::StagingLost);
    }
    if !opened {
        effects.push(Effect::OpenLog(log.clone()));
    }
    effects.push(Effect::Loosen(log.id, now));
    if !entries.is_empty() {
        effects.push(Effect::Append(entries.into()));
    }
    Ok(effects)
}

/// Makes a session's head name a log with a shorter path and the same entries: not a change of the log
/// that anybody sees, so revision and etag stay.
fn compact(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    from: LogId,
    to: &Arc<Log>,
    now: Time,
) -> Result<Vec<Effect>, Refusal> {
    let session = facts
        .session(ns, id)
        .flatten()
        .ok_or_else(|| Refusal::no_session(id))?;
    if session.tip.log.id != from || to.inherited() != session.tip.tally {
        return Err(Refusal::Moved { session: id.clone() });
    }
    if to
        .path
        .parts()
        .iter()
        .any(|part| facts.log(part.log).flatten().is_none())
    {
        return Err(Refusal::StagingLost);
    }
    let mut copied = session.tip.log.strange_parts(to);
    if copied.any(|part| facts.references(part.log).last < part.to) {
        return Err(Refusal::StagingLost);
    }
    let after = Session {
        tip: Tip::start_of(to.clone()),
        ..Session::clone(session)
    };
    let mut effects = vec![
        Effect::OpenLog(to.clone()),
        append::head(append::Moved::Head(after)),
        Effect::Loosen(from, now),
    ];
    for (copy, spans) in session.tip.log.copied(to) {
        let originals = spans
            .into_iter()
            .flat_map(|span| originals(span, facts.originals(span.log)));
        effects.push(Effect::PutCopy(copy, originals.collect()));
    }
    effects.extend(marked_anew(facts, session, to).map(|thread| Effect::PutThread(Arc::new(thread))));
    Ok(effects)
}

/// The session's thread, its mark naming the log that has the last saved entry now: else the next save
/// would take the copied entry for one that somebody else wrote.
fn marked_anew(facts: &Facts, session: &Session, to: &Log) -> Option<Thread> {
    let id = session.profile.thread.as_ref()?;
    let mut thread = Thread::clone(facts.thread(&session.namespace, id).flatten()?);
    let mark = thread.marks.iter_mut().find(|mark| mark.session == session.id)?;
    if !session.tip.covers(mark.log, mark.seq) {
        return None;
    }
    mark.log = to.holder(mark.seq);
    Some(thread)
}

/// Removes what nobody names and was not said to be wanted lately, bounded rows a commit; of a log that only other logs' paths name, what
/// lies behind the last cut, and what it alone keeps by its own path: a copy may stand in its place.
fn sweep(facts: &Facts, id: LogId, now: Time) -> (Vec<Effect>, Outcome) {
    let References {
        named,
        inherited_to,
        last,
        loose,
    } = facts.references(id);
    let done = |effects| (effects, Outcome::Kept { more: More::Done });
    if named {
        return done(vec![Effect::Fasten(id)]);
    }
    // Somebody is staging it, and has said so since it was found.
    if loose.is_none_or(|since| since > now.before(STAGING_LIFE)) {
        return done(Vec::new());
    }
    let keep = inherited_to.unwrap_or(Seq::ZERO);
    if last > keep {
        let dropping = vec![Effect::DropRows { log: id, after: keep }];
        return (dropping, Outcome::Kept { more: More::Left });
    }
    let mut effects = vec![Effect::Fasten(id)];
    if let Some(log) = facts.log(id).flatten() {
        effects.extend(log.path.parts().iter().map(|part| Effect::Loosen(part.log, now)));
    }
    effects.push(match inherited_to {
        // It is never named again, so nobody reads on from it into its path.
        Some(_) => Effect::ReleasePath(id),
        None => Effect::RemoveLog(id),
    });
    done(effects)
}
