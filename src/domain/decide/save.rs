//! Writing a thread's new messages to its session. The entries were computed on a reader; whether they
//! may be written is decided here, on what thread and session are now.

use std::sync::Arc;

use super::Ruling;
use super::append::{Addition, Moved, derived, head, moved, unmoved};
use super::session::fresh;
use crate::domain::effect::Effect;
use crate::domain::entry::Entry;
use crate::domain::error::Refusal;
use crate::domain::facts::Facts;
use crate::domain::id::{LogId, Namespace, Revision, Seq, SessionId};
use crate::domain::outcome::Outcome;
use crate::domain::path::{Log, Tip};
use crate::domain::proposal::{Save, Written};
use crate::domain::save::{Plan, plan, target};
use crate::domain::session::{Profile, Session, State, Texts};
use crate::domain::thread::{SaveMark, Thread};
use crate::domain::time::Time;
use crate::domain::title::{Title, TitleSource};

pub(super) fn save(facts: &Facts, ns: &Namespace, save: &Save, now: Time) -> Ruling {
    let thread = facts
        .thread(ns, &save.thread)
        .flatten()
        .ok_or_else(|| Refusal::no_thread(&save.thread))?;
    let id = target(thread, save.requested.as_ref(), &save.fresh);
    let session = facts.session(ns, id).flatten();
    let plan = plan(thread, session.map(|session| &**session))?;
    still_as_read(id, thread, session, save)?;
    let (effects, after, created) = match session {
        Some(session) => {
            fresh(session, save.expected)?;
            let (effects, after) = extend(facts, session, thread, save, now)?;
            (effects, after, false)
        }
        None => {
            if save.expected.is_some() {
                return Err(Refusal::RevisionMismatch {
                    session: id.clone(),
                    current: 0,
                });
            }
            let (effects, after) = create(facts, ns, id, thread, &plan, save, now)?;
            (effects, after, true)
        }
    };
    let outcome = Outcome::Saved {
        session: id.clone(),
        message_count: after.tip.tally.visible,
        created,
    };
    Ok((with_mark(effects, thread, &after, now), outcome))
}

/// Thread and session are what the reader saw; else the save has to be computed again.
fn still_as_read(
    id: &SessionId,
    thread: &Thread,
    session: Option<&Arc<Session>>,
    save: &Save,
) -> Result<(), Refusal> {
    let gone = || Refusal::Moved { session: id.clone() };
    if thread.change != save.change || thread.journal != save.journal {
        return Err(gone());
    }
    match (session, &save.from) {
        (Some(session), Some(from)) => unmoved(session, from),
        (None, None) => Ok(()),
        (Some(_), None) | (None, Some(_)) => Err(gone()),
    }
}

/// Adds to the session that the thread was saved to before.
fn extend(
    facts: &Facts,
    session: &Session,
    thread: &Thread,
    save: &Save,
    now: Time,
) -> Result<(Vec<Effect>, Session), Refusal> {
    let (mut effects, after) = match &save.written {
        Written::Inline { entries, .. } => {
            let log = session.tip.log.id;
            let addition = Addition::onto(&session.tip.tally, log, entries, |id| facts.entry(log, id));
            if addition.entries.is_empty() {
                (Vec::new(), Moved::Head(session.clone()))
            } else {
                let after = addition.moved(session, now);
                (vec![Effect::Append(addition.entries)], after)
            }
        }
        Written::Staged { tip, preview, title } => {
            staged(facts, tip)?;
            if !tip.covers(session.tip.log.holder(session.tip.seq()), session.tip.seq()) {
                return Err(Refusal::Moved {
                    session: session.id.clone(),
                });
            }
            let after = moved(session, tip.clone(), preview.clone(), title.as_deref(), now);
            let effects = vec![
                Effect::Fasten(tip.log.id),
                Effect::Loosen(session.tip.log.id, now),
            ];
            (effects, after)
        }
    };
    if session.tip.tally.messages == 0 && thread_is_empty(&after) {
        return Err(Refusal::ThreadEmpty {
            thread: thread.id.clone(),
        });
    }
    let whole = renamed(after, session, thread, save.title.as_ref(), now);
    let unchanged = matches!(&whole, Moved::Head(after) if after == session);
    let (Moved::Head(after) | Moved::Whole(after)) = &whole;
    let after = after.clone();
    if !unchanged {
        effects.push(head(whole));
    }
    Ok((effects, after))
}

fn thread_is_empty(after: &Moved) -> bool {
    let (Moved::Head(session) | Moved::Whole(session)) = after;
    session.tip.tally.messages == 0
}

/// Links the session to its thread, and gives it the title of the request.
fn renamed(after: Moved, before: &Session, thread: &Thread, title: Option<&Title>, now: Time) -> Moved {
    let (Moved::Head(session) | Moved::Whole(session)) = &after;
    let mut profile = Profile::clone(&session.profile);
    profile.thread = Some(thread.id.clone());
    if let Some(title) = title {
        profile.title = title.as_str().to_owned();
        profile.title_source = TitleSource::User;
    } else if is_untitled(before) && !thread.profile.title.is_empty() {
        profile.title.clone_from(&thread.profile.title);
        profile.title_source = TitleSource::Engine;
    }
    if profile == *session.profile {
        return after;
    }
    let touched = if session.generation == before.generation {
        session.touched(now)
    } else {
        session.clone()
    };
    Moved::Whole(Session {
        profile: Arc::new(profile),
        ..touched
    })
}

/// Nobody gave the session a title, and nothing was said that could be one.
fn is_untitled(session: &Session) -> bool {
    session.tip.tally.messages == 0
        && session.profile.title.is_empty()
        && session.profile.title_source == TitleSource::Derived
}

/// Makes the thread's session, on top of what the thread was seeded with.
fn create(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    thread: &Thread,
    plan: &Plan,
    save: &Save,
    now: Time,
) -> Result<(Vec<Effect>, Session), Refusal> {
    let base = plan.base.as_ref();
    let (mut effects, made) = match &save.written {
        Written::Inline { log, entries } => inline(base, *log, entries),
        Written::Staged { tip, preview, title } => {
            staged(facts, tip)?;
            let written = Made {
                tip: tip.clone(),
                preview: preview.clone(),
                title: title.clone(),
            };
            (vec![Effect::Fasten(tip.log.id)], written)
        }
    };
    if made.tip.tally.messages == 0 {
        return Err(Refusal::ThreadEmpty {
            thread: thread.id.clone(),
        });
    }
    let mut profile = profile_of(thread, save.title.as_ref(), now);
    if let Some(title) = derived(&profile, made.title.as_deref(), true) {
        profile.title = title;
    }
    let session = Session {
        namespace: ns.clone(),
        id: id.clone(),
        profile: Arc::new(profile),
        tip: made.tip,
        revision: Revision::FIRST,
        preview: made.preview.unwrap_or_default(),
        generation: 1,
        update_time: now,
    };
    effects.push(Effect::PutSession(Arc::new(session.clone())));
    Ok((effects, session))
}

/// The log of a session that is made, and what its head shows.
struct Made {
    tip: Tip,
    preview: Option<String>,
    title: Option<String>,
}

fn inline(base: Option<&Tip>, log: LogId, entries: &[crate::domain::NewEntry]) -> (Vec<Effect>, Made) {
    let log = Arc::new(base.map_or_else(|| Log::root(log), |base| base.log.child(log, &base.tally)));
    let start = Tip::start_of(log.clone());
    let Addition {
        entries,
        tally,
        preview,
        title,
        ..
    } = Addition::onto(&start.tally, log.id, entries, |_| None::<Seq>);
    let append: Option<Vec<Entry>> = (!entries.is_empty()).then_some(entries);
    let effects = [Effect::OpenLog(log.clone())]
        .into_iter()
        .chain(append.map(Effect::Append))
        .collect();
    (
        effects,
        Made {
            tip: Tip { log, tally },
            preview,
            title,
        },
    )
}

fn staged(facts: &Facts, tip: &Tip) -> Result<(), Refusal> {
    match facts.log(tip.log.id).flatten() {
        Some(log) if *log == tip.log && facts.is_staged_to(&tip.log, tip.seq()) => Ok(()),
        Some(_) | None => Err(Refusal::StagingLost),
    }
}

fn profile_of(thread: &Thread, title: Option<&Title>, now: Time) -> Profile {
    let of_thread = &thread.profile;
    let (title, title_source) = match title {
        Some(title) => (title.as_str().to_owned(), TitleSource::User),
        None if of_thread.title.is_empty() => (String::new(), TitleSource::Derived),
        None => (of_thread.title.clone(), TitleSource::Engine),
    };
    let texts = Texts {
        system_prompt: of_thread.texts.system_prompt.clone(),
        settings_json: of_thread.texts.settings_json.clone(),
        metadata_json: String::new(),
    };
    Profile {
        title,
        title_source,
        setting: of_thread.setting.clone(),
        labels: of_thread.labels.clone(),
        texts: Arc::new(texts),
        state: State::Active,
        starred: false,
        thread: Some(thread.id.clone()),
        origin: None,
        parent: None,
        usage_total: None,
        inherited_cost_micros: 0,
        incomplete_turn: false,
        create_time: now,
        archive_time: None,
        deletion: None,
    }
}

/// The thread remembers how far it was saved, and links to the session it was saved to last.
fn with_mark(mut effects: Vec<Effect>, thread: &Thread, session: &Session, now: Time) -> Vec<Effect> {
    let mark = SaveMark {
        session: session.id.clone(),
        log: session.tip.log.holder(session.tip.seq()),
        seq: session.tip.seq(),
        messages: session.tip.tally.messages,
        item: Seq(thread.items),
    };
    if thread.session.as_ref() == Some(&session.id) && thread.mark(&session.id) == Some(&mark) {
        return effects;
    }
    let mut after = thread.touched(now);
    after.session = Some(session.id.clone());
    after.marks.retain(|known| known.session != session.id);
    after.marks.push(mark);
    effects.push(Effect::PutThread(Arc::new(after)));
    effects
}
