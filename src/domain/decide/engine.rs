//! Engines: who is attached, which threads they claim, and which turns they have left behind.

use std::sync::Arc;

use super::replica::living;
use super::{Ruling, turn};
use crate::domain::effect::Effect;
use crate::domain::engine::{Engine, Profile};
use crate::domain::error::Refusal;
use crate::domain::facts::Facts;
use crate::domain::id::{EngineId, LogId, Namespace, ThreadId, TurnId};
use crate::domain::outcome::{More, Outcome};
use crate::domain::proposal::EngineCommand;
use crate::domain::replica::Fence;
use crate::domain::thread::{Draft, Thread};
use crate::domain::time::Time;
use crate::domain::turn::{Status, Turn};

/// What a turn says that its engine did not come back to.
const LEFT: &str = "the engine left";

pub(super) fn decide(
    facts: &Facts,
    ns: &Namespace,
    command: &EngineCommand,
    fence: Option<&Fence>,
    now: Time,
) -> Ruling {
    match command {
        EngineCommand::Attach { id, profile } => Ok(attach(facts, ns, id, profile, fence, now)),
        EngineCommand::Detach { id, epoch } => Ok(detach(facts, ns, id, *epoch, fence, now)),
        EngineCommand::OpenThread {
            id,
            epoch,
            thread,
            journal,
            draft,
            active_turn,
        } => {
            let claim = Claim {
                engine: id,
                epoch: *epoch,
                thread,
                active_turn: active_turn.as_ref(),
            };
            open(facts, ns, &claim, *journal, draft, now)
        }
        EngineCommand::CloseThread { id, epoch, thread } => close(facts, ns, id, *epoch, thread, now),
        EngineCommand::Interrupt { id, epoch, thread } => interrupt(facts, ns, id, *epoch, thread, now),
        EngineCommand::Forget { id } => Ok(forget(facts, ns, id)),
    }
}

/// An engine that is attached under this epoch, which fences every command made for it.
pub(super) fn attached<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &EngineId,
    epoch: u64,
) -> Result<&'a Arc<Engine>, Refusal> {
    let engine = facts.engine(ns, id).flatten();
    let superseded = || Refusal::EngineSuperseded {
        engine: id.clone(),
        current: engine.map_or(0, |engine| engine.epoch),
    };
    engine.filter(|engine| engine.is_at(epoch)).ok_or_else(superseded)
}

fn attach(
    facts: &Facts,
    ns: &Namespace,
    id: &EngineId,
    profile: &Profile,
    replica: Option<&Fence>,
    now: Time,
) -> (Vec<Effect>, Outcome) {
    let epoch = facts.epoch(ns) + 1;
    let engine = Engine {
        namespace: ns.clone(),
        id: id.clone(),
        epoch,
        profile: profile.clone(),
        replica: replica.cloned(),
        attach_time: now,
        detach_time: None,
    };
    let effects = vec![
        Effect::PutEpoch(ns.clone(), epoch),
        Effect::PutEngine(Arc::new(engine)),
    ];
    let before = facts.engine(ns, id).flatten();
    let before = before.filter(|before| before.is_attached());
    let outcome = Outcome::Engine {
        engine: id.clone(),
        epoch,
        before: before.and_then(|before| before.replica.clone()),
    };
    (effects, outcome)
}

/// The end of an attachment, told by the replica that has it, or by another one once that replica is gone: whoever looked
/// at who lives may have looked before that one joined.
fn detach(
    facts: &Facts,
    ns: &Namespace,
    id: &EngineId,
    epoch: u64,
    fence: Option<&Fence>,
    now: Time,
) -> (Vec<Effect>, Outcome) {
    let is_of_another = |replica: &Fence| Some(replica) != fence && living(facts, replica, now).is_ok();
    let over = attached(facts, ns, id, epoch).ok();
    let over = over.filter(|engine| !engine.replica.as_ref().is_some_and(is_of_another));
    let left = over.map(|engine| Engine {
        detach_time: Some(now),
        ..Engine::clone(engine)
    });
    let outcome = Outcome::Engine {
        engine: id.clone(),
        epoch,
        before: None,
    };
    (
        left.map(Arc::new).map(Effect::PutEngine).into_iter().collect(),
        outcome,
    )
}

/// A thread that an engine says it runs.
struct Claim<'a> {
    engine: &'a EngineId,
    epoch: u64,
    thread: &'a ThreadId,
    active_turn: Option<&'a TurnId>,
}

fn open(
    facts: &Facts,
    ns: &Namespace,
    claim: &Claim<'_>,
    journal: LogId,
    draft: &Draft,
    now: Time,
) -> Ruling {
    attached(facts, ns, claim.engine, claim.epoch)?;
    let outcome = Outcome::Thread {
        thread: claim.thread.clone(),
    };
    let Some(thread) = facts.thread(ns, claim.thread).flatten() else {
        let thread = Thread {
            engine: Some(claim.engine.clone()),
            epoch: claim.epoch,
            ..Thread::new(ns, claim.thread, journal, draft, now)
        };
        return Ok((vec![Effect::PutThread(Arc::new(thread))], outcome));
    };
    let owner = thread.engine.as_ref().filter(|owner| *owner != claim.engine);
    if let Some(owner) = owner
        && facts
            .engine(ns, owner)
            .flatten()
            .is_some_and(|owner| owner.is_attached())
    {
        return Err(Refusal::ThreadOwned {
            thread: thread.id.clone(),
            owner: owner.clone(),
        });
    }
    let mut after = thread.touched(now);
    after.engine = Some(claim.engine.clone());
    after.epoch = claim.epoch;
    let mut effects = Vec::new();
    let named = claim
        .active_turn
        .filter(|turn| thread.active_turn.as_ref() == Some(turn));
    let vouched = named.and_then(|turn| facts.turn(thread.journal, turn).flatten());
    if let Some(turn) = vouched.filter(|turn| turn.epoch != claim.epoch) {
        effects.push(Effect::PutTurn(Arc::new(Turn {
            epoch: claim.epoch,
            change: after.change,
            ..Turn::clone(turn)
        })));
    } else if thread.engine == after.engine && thread.epoch == after.epoch {
        return Ok((Vec::new(), outcome));
    }
    effects.push(Effect::PutThread(Arc::new(after)));
    Ok((effects, outcome))
}

/// The thread has no engine then; a turn that runs stays until somebody ends it.
fn close(facts: &Facts, ns: &Namespace, id: &EngineId, epoch: u64, thread: &ThreadId, now: Time) -> Ruling {
    attached(facts, ns, id, epoch)?;
    let outcome = Outcome::Thread {
        thread: thread.clone(),
    };
    let held = facts.thread(ns, thread).flatten();
    let Some(held) = held.filter(|thread| thread.engine.as_ref() == Some(id)) else {
        return Ok((Vec::new(), outcome));
    };
    let after = Thread {
        engine: None,
        epoch,
        ..held.touched(now)
    };
    Ok((vec![Effect::PutThread(Arc::new(after))], outcome))
}

/// Ends a turn whose engine is not back, or is back and has not named it. Whatever happened since the time
/// began to run is looked at here: an engine that attached again has a time of its own.
fn interrupt(
    facts: &Facts,
    ns: &Namespace,
    id: &EngineId,
    epoch: u64,
    thread: &ThreadId,
    now: Time,
) -> Ruling {
    let nothing = || (Vec::new(), Outcome::Kept { more: More::Done });
    let thread = facts.thread(ns, thread).flatten();
    let Some(thread) = thread.filter(|thread| thread.engine.as_ref() == Some(id)) else {
        return Ok(nothing());
    };
    let engine = facts.engine(ns, id).flatten();
    if engine.is_some_and(|engine| engine.epoch != epoch) {
        return Ok(nothing());
    }
    let turn = thread.active_turn.as_ref();
    let Some(turn) = turn.and_then(|turn| facts.turn(thread.journal, turn).flatten()) else {
        return Ok(nothing());
    };
    let lives = engine.is_some_and(|engine| engine.is_attached() && turn.epoch == engine.epoch);
    if lives || turn.status.is_end() {
        return Ok(nothing());
    }
    let end = turn::End {
        status: Status::Interrupted,
        usage: None,
        error: LEFT,
    };
    turn::finish(facts, thread, &turn.id, &end, now)
}

fn forget(facts: &Facts, ns: &Namespace, id: &EngineId) -> (Vec<Effect>, Outcome) {
    let gone = facts
        .engine(ns, id)
        .flatten()
        .filter(|engine| !engine.is_attached());
    let effects = gone.map(|_| Effect::RemoveEngine(ns.clone(), id.clone()));
    (effects.into_iter().collect(), Outcome::Kept { more: More::Done })
}
