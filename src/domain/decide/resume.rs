//! Resumes: one at a time for a session, into one thread; the thread is linked when it holds all of it.

use std::sync::Arc;

use super::Ruling;
use super::engine::attached;
use super::replica::living;
use super::session::writable;
use crate::domain::effect::Effect;
use crate::domain::error::Refusal;
use crate::domain::facts::Facts;
use crate::domain::id::{EngineId, Namespace, ResumeId, Seq, SessionId};
use crate::domain::outcome::Outcome;
use crate::domain::path::Tip;
use crate::domain::proposal::{Offer, Open, ResumeCommand, Seat, Seed, Start};
use crate::domain::replica::Fence;
use crate::domain::resume::{Failure, Resume, State, Step, Wish};
use crate::domain::save::holds;
use crate::domain::seat::seated;
use crate::domain::session::{self, Session};
use crate::domain::thread::{self, Thread};
use crate::domain::time::Time;

pub(super) fn decide(
    facts: &Facts,
    ns: &Namespace,
    command: &ResumeCommand,
    fence: Option<&Fence>,
    now: Time,
) -> Ruling {
    match command {
        ResumeCommand::Open(open) => make(facts, ns, open, fence, now),
        ResumeCommand::Take { id } => inherit(facts, ns, id, fence, now),
        ResumeCommand::Hand {
            id,
            to,
            engine,
            attempt,
            thread,
        } => {
            let resume = driven(facts, ns, id, fence)?;
            living(facts, to, now)?;
            let after = Resume {
                thread: thread.clone(),
                attempt: *attempt.max(&resume.attempt),
                ..resume.as_ref().clone()
            };
            Ok(handed(resume, after, to, engine, now))
        }
        ResumeCommand::Start(start) => {
            driven(facts, ns, &start.id, fence)?;
            begin(facts, ns, start, now)
        }
        ResumeCommand::Progress { id, seed, written } => {
            driven(facts, ns, id, fence)?;
            progress(facts, ns, id, *seed, *written)
        }
        ResumeCommand::Seat(seat) => {
            driven(facts, ns, &seat.id, fence)?;
            take(facts, ns, seat, now)
        }
        ResumeCommand::Fail { id, failure } => {
            let resume = driven(facts, ns, id, fence)?;
            Ok(ended(resume, Step::Fail, Some(failure), now))
        }
        ResumeCommand::Cancel { id } => Ok(ended(found(facts, ns, id)?, Step::Cancel, None, now)),
    }
}

/// A resume that this replica drives: what another one says of it is out of date. One that has ended says so first.
fn driven<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &ResumeId,
    fence: Option<&Fence>,
) -> Result<&'a Arc<Resume>, Refusal> {
    let resume = found(facts, ns, id)?;
    if resume.driver.as_ref() == fence || resume.state.is_end() {
        return Ok(resume);
    }
    Err(Refusal::ResumeDriven { resume: id.clone() })
}

/// Drives on what a replica left that is gone; of two who try, one does.
fn inherit(facts: &Facts, ns: &Namespace, id: &ResumeId, fence: Option<&Fence>, now: Time) -> Ruling {
    let resume = found(facts, ns, id)?;
    if resume.state.is_end() {
        return Err(Refusal::ResumeEnded { resume: id.clone() });
    }
    let other = resume.driver.as_ref().filter(|driver| Some(*driver) != fence);
    if other.is_some_and(|driver| living(facts, driver, now).is_ok()) {
        return Err(Refusal::ResumeDriven { resume: id.clone() });
    }
    Ok(driven_by(resume, fence))
}

/// Another replica drives on. Where its engine is another one, too, what was seeded before counts for nothing.
fn handed(
    resume: &Resume,
    after: Resume,
    to: &Fence,
    engine: &EngineId,
    now: Time,
) -> (Vec<Effect>, Outcome) {
    if resume.state.is_end() {
        return (Vec::new(), outcome(resume));
    }
    let mut effects = Vec::new();
    let mut after = Resume {
        driver: Some(to.clone()),
        engine: Some(engine.clone()),
        ..after
    };
    if resume.engine.as_ref() != Some(engine) {
        effects.extend(loosened(after.source.take().as_ref(), now));
    }
    effects.push(Effect::PutResume(Arc::new(after)));
    (effects, outcome(resume))
}

fn driven_by(resume: &Resume, driver: Option<&Fence>) -> (Vec<Effect>, Outcome) {
    if resume.driver.as_ref() == driver || resume.state.is_end() {
        return (Vec::new(), outcome(resume));
    }
    let after = Resume {
        driver: driver.cloned(),
        ..resume.clone()
    };
    (vec![Effect::PutResume(Arc::new(after))], outcome(resume))
}

/// The effects that end a session's resume because the session is deleted.
pub(super) fn cut_off(facts: &Facts, ns: &Namespace, session: &SessionId, now: Time) -> Vec<Effect> {
    let running = facts.open_resume(ns, session);
    running.map_or_else(Vec::new, |resume| {
        ended(resume, Step::Fail, Some(&Failure::SessionDeleted), now).0
    })
}

fn found<'a>(facts: &'a Facts, ns: &Namespace, id: &ResumeId) -> Result<&'a Arc<Resume>, Refusal> {
    let resume = facts.resume(ns, id).flatten();
    resume.ok_or_else(|| Refusal::no_resume(id))
}

/// One that has not ended.
fn running<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &ResumeId,
    step: Step,
) -> Result<(&'a Arc<Resume>, State), Refusal> {
    let resume = found(facts, ns, id)?;
    let state = resume.state.after(step);
    let ended = || Refusal::ResumeEnded { resume: id.clone() };
    Ok((resume, state.ok_or_else(ended)?))
}

fn outcome(resume: &Resume) -> Outcome {
    Outcome::Resume {
        resume: resume.id.clone(),
    }
}

/// The resume after its end; one that has ended stays as it is.
fn ended(resume: &Resume, step: Step, failure: Option<&Failure>, now: Time) -> (Vec<Effect>, Outcome) {
    let Some(state) = resume.state.after(step) else {
        return (Vec::new(), outcome(resume));
    };
    let mut effects: Vec<Effect> = loosened(resume.source.as_ref(), now).collect();
    let after = Resume {
        state,
        source: None,
        failure: failure.cloned(),
        end_time: Some(now),
        ..resume.clone()
    };
    effects.push(Effect::PutResume(Arc::new(after)));
    (effects, outcome(resume))
}

fn loosened(tip: Option<&Tip>, now: Time) -> impl Iterator<Item = Effect> {
    tip.map(|tip| Effect::Loosen(tip.log.id, now)).into_iter()
}

/// Finds the resume that runs, or the thread that holds the session already; else makes a resume.
fn make(facts: &Facts, ns: &Namespace, open: &Open, fence: Option<&Fence>, now: Time) -> Ruling {
    let session = writable(facts, ns, &open.session)?;
    if let Some(resume) = facts.open_resume(ns, &open.session) {
        return Ok((Vec::new(), outcome(resume)));
    }
    let linked = linked(facts, ns, session);
    let reused = linked.filter(|thread| is_in_use(facts, ns, thread, session, &open.wish));
    if reused.is_none() && open.offer == Offer::None {
        return Err(Refusal::NoEngine);
    }
    let thread = match (reused, linked) {
        (Some(thread), _) => thread.id.clone(),
        (None, Some(thread)) if can_be_seeded_again(thread, session) => thread.id.clone(),
        (None, _) => open.thread.clone(),
    };
    let held = if reused.is_some() {
        session.tip.tally.visible
    } else {
        0
    };
    let resume = Resume {
        namespace: ns.clone(),
        id: open.id.clone(),
        session: open.session.clone(),
        thread,
        wish: open.wish.clone(),
        engine: reused.and_then(|thread| thread.engine.clone()),
        driver: fence.cloned(),
        state: if reused.is_some() {
            State::Ready
        } else {
            State::Queued
        },
        reused: reused.is_some(),
        written: held,
        total: held,
        attempt: 0,
        seed: 0,
        source: None,
        failure: None,
        create_time: now,
        start_time: None,
        end_time: reused.map(|_| now),
    };
    let outcome = outcome(&resume);
    Ok((vec![Effect::PutResume(Arc::new(resume))], outcome))
}

/// The thread that a session belongs to.
fn linked<'a>(facts: &'a Facts, ns: &Namespace, session: &Session) -> Option<&'a Arc<Thread>> {
    let thread = session.profile.thread.as_ref()?;
    facts.thread(ns, thread).flatten()
}

/// Whether a thread can be used as it is: it takes turns, holds the session's newest message, and, where an
/// engine was asked for or held it, a matching engine holds it now.
fn is_in_use(facts: &Facts, ns: &Namespace, thread: &Thread, session: &Session, wish: &Wish) -> bool {
    let holds = thread.mark(&session.id).is_some_and(|mark| holds(session, mark));
    let is_held = || {
        let owner = thread
            .engine
            .as_ref()
            .and_then(|id| facts.engine(ns, id).flatten());
        owner.is_some_and(|owner| owner.is_at(thread.epoch) && wish.admits_engine(owner))
    };
    let fits = (!wish.needs_engine() && thread.engine.is_none()) || is_held();
    thread.profile.state == thread::State::Open && holds && fits
}

/// Whether nothing of a thread is lost when it is seeded again: all its turns are in the session.
fn can_be_seeded_again(thread: &Thread, session: &Session) -> bool {
    let mark = thread.mark(&session.id);
    let saved = mark.filter(|mark| mark.item == Seq(thread.items) && mark.turn_start.is_none());
    // After a rewind the session may lack what it once had of the thread.
    let still = saved.is_some_and(|mark| session.tip.covers(mark.log, mark.seq));
    still && thread.active_turn.is_none() && thread.open_items == 0
}

fn begin(facts: &Facts, ns: &Namespace, start: &Start, now: Time) -> Ruling {
    let (resume, state) = running(facts, ns, &start.id, Step::Start)?;
    let session = writable(facts, ns, &resume.session)?;
    can_take(facts, ns, &start.thread, session)?;
    let continued = start.seed == Seed::Continued && resume.engine == start.engine;
    let after = Resume {
        thread: start.thread.clone(),
        engine: start.engine.clone(),
        state,
        written: if continued { resume.written } else { 0 },
        total: start.total,
        attempt: start.attempt.max(resume.attempt),
        seed: if continued { resume.seed } else { resume.seed + 1 },
        source: Some(start.source.clone()),
        start_time: resume.start_time.or(Some(now)),
        ..Resume::clone(resume)
    };
    let mut effects: Vec<Effect> = loosened(resume.source.as_ref(), now).collect();
    let outcome = outcome(&after);
    effects.push(Effect::PutResume(Arc::new(after)));
    Ok((effects, outcome))
}

/// A thread that a session can be seeded into: there is none of that name, or nothing of it would be lost.
fn can_take<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &crate::domain::ThreadId,
    session: &Session,
) -> Result<Option<&'a Arc<Thread>>, Refusal> {
    match facts.thread(ns, id).flatten() {
        Some(thread) if !can_be_seeded_again(thread, session) => {
            Err(Refusal::ThreadMoved { thread: id.clone() })
        }
        thread => Ok(thread),
    }
}

fn progress(facts: &Facts, ns: &Namespace, id: &ResumeId, seed: u32, written: u64) -> Ruling {
    let (resume, state) = running(facts, ns, id, Step::Progress)?;
    if resume.seed != seed || written <= resume.written || written > resume.total {
        return Ok((Vec::new(), outcome(resume)));
    }
    let after = Resume {
        state,
        written,
        ..Resume::clone(resume)
    };
    Ok((vec![Effect::PutResume(Arc::new(after))], outcome(resume)))
}

/// Seats the thread on the session: from now on it is the session's, and the engine's.
fn take(facts: &Facts, ns: &Namespace, seat: &Seat, now: Time) -> Ruling {
    let (resume, state) = running(facts, ns, &seat.id, Step::Seat)?;
    let session = writable(facts, ns, &resume.session)?;
    let moved = || Refusal::Moved {
        session: session.id.clone(),
    };
    let source = resume.source.as_ref().ok_or_else(moved)?;
    if session.tip.log.id != source.log.id || session.tip.seq() != source.seq() {
        return Err(moved());
    }
    let mut effects: Vec<Effect> = loosened(Some(source), now).collect();
    let epoch = match (&resume.engine, seat.epoch) {
        (Some(engine), Some(epoch)) => attached(facts, ns, engine, epoch)?.epoch,
        (None, None) => {
            let epoch = facts.epoch(ns) + 1;
            effects.push(Effect::PutEpoch(ns.clone(), epoch));
            epoch
        }
        (Some(_), None) | (None, Some(_)) => return Err(moved()),
    };
    let before = can_take(facts, ns, &resume.thread, session)?;
    let thread = Thread {
        engine: resume.engine.clone(),
        epoch,
        ..seated(resume, session, seat, before.map(|thread| &**thread), now)
    };
    if let Some(before) = before {
        effects.push(Effect::Loosen(before.journal, now));
        effects.extend(loosened(before.base.as_ref(), now));
    }
    effects.push(Effect::PutThread(Arc::new(thread)));
    if session.profile.thread.as_ref() != Some(&resume.thread) {
        let profile = session::Profile {
            thread: Some(resume.thread.clone()),
            ..session::Profile::clone(&session.profile)
        };
        let after = Session {
            profile: Arc::new(profile),
            ..session.touched(now)
        };
        effects.push(Effect::PutSession(Arc::new(after)));
    }
    let after = Resume {
        state,
        source: None,
        written: resume.total,
        end_time: Some(now),
        ..Resume::clone(resume)
    };
    effects.push(Effect::PutResume(Arc::new(after)));
    Ok((effects, outcome(resume)))
}
