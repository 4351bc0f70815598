//! Making and changing threads, and who may write to one.

use std::sync::Arc;

use super::session::set;
use super::{Ruling, turn};
use crate::domain::effect::Effect;
use crate::domain::error::{Noun, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{LogId, Namespace, ThreadId};
use crate::domain::outcome::Outcome;
use crate::domain::proposal::ThreadCommand;
use crate::domain::session;
use crate::domain::thread::{Change, Draft, Profile, Texts, Thread};
use crate::domain::time::Time;

pub(super) fn decide(facts: &Facts, ns: &Namespace, command: &ThreadCommand, now: Time) -> Ruling {
    match command {
        ThreadCommand::Create {
            id,
            journal,
            draft,
            epoch,
        } => create(facts, ns, id, *journal, draft, *epoch, now),
        ThreadCommand::Update { id, change, epoch } => update(owned(facts, ns, id, *epoch)?, change, now),
        ThreadCommand::Delete { id, epoch } => delete(facts, ns, owned(facts, ns, id, *epoch)?, now),
        ThreadCommand::StartTurn { id, turn, epoch } => {
            turn::start(facts, owned(facts, ns, id, *epoch)?, turn, *epoch, now)
        }
        ThreadCommand::AppendItems {
            id,
            turn,
            items,
            epoch,
        } => turn::append_items(facts, owned(facts, ns, id, *epoch)?, turn, items, *epoch, now),
        ThreadCommand::FinishTurn {
            id,
            turn,
            status,
            usage,
            error,
            epoch,
        } => {
            let end = turn::End {
                status: *status,
                usage: *usage,
                error,
            };
            turn::finish(facts, owned(facts, ns, id, *epoch)?, turn, &end, now)
        }
    }
}

/// A thread that a writer of this epoch may write to: while its engine is attached nobody else may, and
/// an epoch counts only while it is the owner's last one.
fn owned<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &ThreadId,
    epoch: Option<u64>,
) -> Result<&'a Arc<Thread>, Refusal> {
    let thread = facts
        .thread(ns, id)
        .flatten()
        .ok_or_else(|| Refusal::no_thread(id))?;
    let owner = thread
        .engine
        .as_ref()
        .and_then(|engine| facts.engine(ns, engine).flatten());
    let current = owner.map_or(thread.epoch, |owner| owner.epoch.max(thread.epoch));
    epoch_is_current(id, epoch, current)?;
    match owner.filter(|owner| epoch.is_none() && owner.is_attached()) {
        Some(owner) => Err(Refusal::ThreadOwned {
            thread: id.clone(),
            owner: owner.id.clone(),
        }),
        None => Ok(thread),
    }
}

fn epoch_is_current(id: &ThreadId, given: Option<u64>, current: u64) -> Result<(), Refusal> {
    match given {
        Some(epoch) if epoch != current => Err(Refusal::StaleEpoch {
            thread: id.clone(),
            current,
        }),
        Some(_) | None => Ok(()),
    }
}

fn create(
    facts: &Facts,
    ns: &Namespace,
    id: &ThreadId,
    journal: LogId,
    draft: &Draft,
    epoch: Option<u64>,
    now: Time,
) -> Ruling {
    if facts.thread(ns, id).flatten().is_some() {
        return Err(Refusal::AlreadyExists {
            noun: Noun::Thread,
            id: id.to_string(),
        });
    }
    epoch_is_current(id, epoch, 0)?;
    let thread = made(ns, id, journal, draft, now);
    Ok((
        vec![Effect::PutThread(Arc::new(thread))],
        Outcome::Thread { thread: id.clone() },
    ))
}

/// A new thread, without an engine and without a base.
pub(super) fn made(ns: &Namespace, id: &ThreadId, journal: LogId, draft: &Draft, now: Time) -> Thread {
    let profile = Profile {
        title: draft.title.clone(),
        setting: draft.setting.clone(),
        labels: draft.labels.clone(),
        texts: Arc::new(draft.texts.clone()),
        state: draft.state,
    };
    Thread {
        namespace: ns.clone(),
        id: id.clone(),
        journal,
        base: None,
        profile: Arc::new(profile),
        session: None,
        engine: None,
        epoch: 0,
        active_turn: None,
        turns: 0,
        items: 0,
        open_items: 0,
        change: 1,
        marks: Vec::new(),
        create_time: now,
        update_time: now,
    }
}

fn update(thread: &Thread, change: &Change, now: Time) -> Ruling {
    let outcome = Outcome::Thread {
        thread: thread.id.clone(),
    };
    let profile = changed(&thread.profile, change);
    if profile == *thread.profile {
        return Ok((Vec::new(), outcome));
    }
    let thread = Thread {
        profile: Arc::new(profile),
        ..thread.touched(now)
    };
    Ok((vec![Effect::PutThread(Arc::new(thread))], outcome))
}

fn changed(before: &Profile, change: &Change) -> Profile {
    let mut profile = before.clone();
    set(&mut profile.title, change.title.as_ref());
    set(&mut profile.setting.workspace, change.workspace.as_ref());
    set(&mut profile.setting.provider, change.provider.as_ref());
    set(&mut profile.setting.endpoint, change.endpoint.as_ref());
    set(&mut profile.setting.model, change.model.as_ref());
    set(&mut profile.setting.mode, change.mode.as_ref());
    set(&mut profile.setting.task_type, change.task_type.as_ref());
    set(&mut profile.labels, change.labels.as_ref());
    set(&mut profile.state, change.state.as_ref());
    let mut texts = Texts::clone(&profile.texts);
    set(&mut texts.system_prompt, change.system_prompt.as_ref());
    set(&mut texts.settings_json, change.settings_json.as_ref());
    profile.texts = Arc::new(texts);
    profile
}

/// Removes a thread whose turns have all ended; sessions it was saved to belong to no thread then.
fn delete(facts: &Facts, ns: &Namespace, thread: &Thread, now: Time) -> Ruling {
    if thread.active_turn.is_some() || thread.open_items > 0 {
        return Err(Refusal::TurnInProgress {
            thread: thread.id.clone(),
            turn: thread.active_turn.clone(),
        });
    }
    let mut effects = vec![
        Effect::RemoveThread(ns.clone(), thread.id.clone()),
        Effect::Loosen(thread.journal, now),
    ];
    effects.extend(thread.base.iter().map(|base| Effect::Loosen(base.log.id, now)));
    let mut named: Vec<_> = thread
        .marks
        .iter()
        .map(|mark| &mark.session)
        .chain(&thread.session)
        .collect();
    named.sort();
    named.dedup();
    for id in named {
        let session = facts.session(ns, id).flatten();
        if let Some(session) = session.filter(|session| session.profile.thread.as_ref() == Some(&thread.id)) {
            let profile = session::Profile {
                thread: None,
                ..session::Profile::clone(&session.profile)
            };
            let after = session::Session {
                profile: Arc::new(profile),
                ..session.touched(now)
            };
            effects.push(Effect::PutSession(Arc::new(after)));
        }
    }
    Ok((
        effects,
        Outcome::Thread {
            thread: thread.id.clone(),
        },
    ))
}
