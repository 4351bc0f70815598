//! Writing a thread's new messages to its session. The entries were computed on a reader; whether they
//! may be written is decided here, on what thread and session are now.

use std::sync::Arc;

use super::Ruling;
use super::append::{Addition, Moved, derived, head, moved, unmoved};
use super::rewind::left;
use super::session::fresh;
use crate::domain::effect::Effect;
use crate::domain::entry::Entry;
use crate::domain::error::{Invalid, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{LogId, Namespace, Revision, Seq, SessionId, ThreadId};
use crate::domain::outcome::Outcome;
use crate::domain::path::{Log, PARTS_HARD_MAX, Tip};
use crate::domain::proposal::{Cut, Save, Written};
use crate::domain::save::{plan, target};
use crate::domain::session::{Profile, Session, State, Texts};
use crate::domain::thread::{SaveMark, Thread};
use crate::domain::time::Time;
use crate::domain::title::{Title, TitleSource};

pub(super) fn save(facts: &Facts, ns: &Namespace, save: &Save, now: Time) -> Ruling {
    let thread = thread_of(facts, ns, &save.thread)?;
    let id = target(thread, save.requested.as_ref(), &save.fresh);
    let session = facts.session(ns, id).flatten();
    plan(thread, session.map(|session| &**session))?;
    if thread.change != save.change || thread.journal != save.journal {
        return Err(Refusal::Moved { session: id.clone() });
    }
    checked(id, session, save.from.as_ref())?;
    let linked = Linked {
        thread,
        cut: save.cut.as_ref(),
        written: &save.written,
    };
    let (effects, after, created) = match session {
        Some(session) => {
            fresh(session, save.expected)?;
            let (effects, after) = extend(facts, session, &linked, save.title.as_ref(), now)?;
            (effects, after, false)
        }
        None => {
            gone(id, save.expected)?;
            let (mut effects, made) = create(facts, ns, id, &linked, save.title.as_ref(), now)?;
            if made.tip.tally.messages == 0 {
                return Err(Refusal::ThreadEmpty {
                    thread: thread.id.clone(),
                });
            }
            effects.push(Effect::PutSession(Arc::new(made.clone())));
            (effects, made, true)
        }
    };
    let outcome = Outcome::Saved {
        session: id.clone(),
        message_count: after.tip.tally.visible,
        created,
    };
    let effects = with_mark(effects, thread, &after, Seq(thread.items), None, now);
    Ok((effects, outcome))
}

/// A thread, and what is written of it.
pub(super) struct Linked<'a> {
    pub(super) thread: &'a Thread,
    pub(super) cut: Option<&'a Cut>,
    pub(super) written: &'a Written,
}

/// A thread that is there.
pub(super) fn thread_of<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &ThreadId,
) -> Result<&'a Arc<Thread>, Refusal> {
    facts
        .thread(ns, id)
        .flatten()
        .ok_or_else(|| Refusal::no_thread(id))
}

/// The session is what the reader saw; else what was read has to be computed again.
pub(super) fn checked(
    id: &SessionId,
    session: Option<&Arc<Session>>,
    from: Option<&Tip>,
) -> Result<(), Refusal> {
    match (session, from) {
        (Some(session), Some(from)) => unmoved(session, from),
        (None, None) => Ok(()),
        (Some(_), None) | (None, Some(_)) => Err(Refusal::Moved { session: id.clone() }),
    }
}

/// A caller that expects a revision expects a session.
pub(super) fn gone(id: &SessionId, expected: Option<Revision>) -> Result<(), Refusal> {
    match expected {
        Some(_) => Err(Refusal::RevisionMismatch {
            session: id.clone(),
            current: 0,
        }),
        None => Ok(()),
    }
}

/// Adds to the session that the thread was saved to before.
fn extend(
    facts: &Facts,
    session: &Session,
    linked: &Linked<'_>,
    title: Option<&Title>,
    now: Time,
) -> Result<(Vec<Effect>, Session), Refusal> {
    let (mut effects, after) = extended(facts, session, linked, now)?;
    if session.tip.tally.messages == 0 && thread_is_empty(&after) {
        return Err(Refusal::ThreadEmpty {
            thread: linked.thread.id.clone(),
        });
    }
    let whole = renamed(after, session, linked, title, now);
    let unchanged = matches!(&whole, Moved::Head(after) if after == session);
    let (Moved::Head(after) | Moved::Whole(after)) = &whole;
    let after = after.clone();
    if !unchanged {
        effects.push(head(whole));
    }
    Ok((effects, after))
}

/// The session with what is written at its end, or at the cut that it goes back to.
pub(super) fn extended(
    facts: &Facts,
    session: &Session,
    linked: &Linked<'_>,
    now: Time,
) -> Result<(Vec<Effect>, Moved), Refusal> {
    let Some(cut) = linked.cut else {
        return appended(facts, session, linked.written, now);
    };
    let kept = Tip {
        log: session.tip.log.clone(),
        tally: cut.tally.clone(),
    };
    if let Written::Staged { tip, .. } = linked.written {
        still_covers(session, tip, &kept)?;
    }
    let (mut effects, made) = made_on(facts, Some(&kept), linked.written)?;
    if made.tip.log.path.parts().len() > PARTS_HARD_MAX {
        return Err(Invalid::limit("session_id", "rewinds of rewinds", PARTS_HARD_MAX as u64).into());
    }
    effects.push(Effect::PutPastHead(Arc::new(left(session, now))));
    let preview = made.preview.unwrap_or_else(|| cut.preview.clone());
    let after = moved(session, made.tip, Some(preview), made.title.as_deref(), now);
    Ok((effects, after))
}

/// The session with what is written at its end.
pub(super) fn appended(
    facts: &Facts,
    session: &Session,
    written: &Written,
    now: Time,
) -> Result<(Vec<Effect>, Moved), Refusal> {
    match written {
        Written::Inline { entries, .. } => {
            let log = session.tip.log.id;
            let addition = Addition::onto(&session.tip.tally, log, entries, |id| facts.entry(log, id));
            if addition.entries.is_empty() {
                return Ok((Vec::new(), Moved::Head(session.clone())));
            }
            let after = addition.moved(session, now);
            Ok((vec![Effect::Append(addition.entries.into())], after))
        }
        Written::Staged { tip, preview, title } => {
            staged(facts, tip)?;
            still_covers(session, tip, &session.tip)?;
            let after = moved(session, tip.clone(), preview.clone(), title.as_deref(), now);
            let effects = vec![
                Effect::Fasten(tip.log.id),
                Effect::Loosen(session.tip.log.id, now),
            ];
            Ok((effects, after))
        }
    }
}

/// The staged log goes on from where the session is kept.
fn still_covers(session: &Session, staged: &Tip, kept: &Tip) -> Result<(), Refusal> {
    if staged.covers(kept.log.holder(kept.seq()), kept.seq()) {
        return Ok(());
    }
    Err(Refusal::Moved {
        session: session.id.clone(),
    })
}

fn thread_is_empty(after: &Moved) -> bool {
    let (Moved::Head(session) | Moved::Whole(session)) = after;
    session.tip.tally.messages == 0
}

/// Links the session to its thread, and gives it the title of the request.
fn renamed(after: Moved, before: &Session, linked: &Linked<'_>, title: Option<&Title>, now: Time) -> Moved {
    let thread = linked.thread;
    let (Moved::Head(session) | Moved::Whole(session)) = &after;
    let mut profile = Profile::clone(&session.profile);
    profile.thread = Some(thread.id.clone());
    profile.incomplete_turn &= linked.cut.is_none();
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

/// The thread's session, on top of what the thread was seeded with; its row is left to be written.
pub(super) fn create(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    linked: &Linked<'_>,
    title: Option<&Title>,
    now: Time,
) -> Result<(Vec<Effect>, Session), Refusal> {
    let kept = linked.thread.base.as_ref().map(|base| Tip {
        log: base.log.clone(),
        tally: linked.cut.map_or(&base.tally, |cut| &cut.tally).clone(),
    });
    let (effects, made) = made_on(facts, kept.as_ref(), linked.written)?;
    let mut profile = profile_of(linked.thread, title, now);
    let has_messages = made.tip.tally.messages > 0;
    let candidate = made.title.as_deref();
    if let Some(title) = derived(&profile.title, profile.title_source, candidate, has_messages) {
        profile.title = title;
    }
    let session = Session {
        namespace: ns.clone(),
        id: id.clone(),
        profile: Arc::new(profile),
        tip: made.tip,
        revision: Revision::FIRST,
        preview: made.preview.unwrap_or_else(|| preview_of(linked.cut)),
        generation: 1,
        update_time: now,
    };
    Ok((effects, session))
}

/// What stands before everything that is written, where the reader has looked it up.
fn preview_of(cut: Option<&Cut>) -> String {
    cut.map(|cut| cut.preview.clone()).unwrap_or_default()
}

/// The log of a session that is made, and what its head shows.
pub(super) struct Made {
    pub(super) tip: Tip,
    pub(super) preview: Option<String>,
    pub(super) title: Option<String>,
}

/// A log with what is written on top of `base`.
pub(super) fn made_on(
    facts: &Facts,
    base: Option<&Tip>,
    written: &Written,
) -> Result<(Vec<Effect>, Made), Refusal> {
    match written {
        Written::Inline { log, entries } => Ok(inline(base, *log, entries)),
        Written::Staged { tip, preview, title } => {
            staged(facts, tip)?;
            let made = Made {
                tip: tip.clone(),
                preview: preview.clone(),
                title: title.clone(),
            };
            Ok((vec![Effect::Fasten(tip.log.id)], made))
        }
    }
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
    let append: Option<Arc<[Entry]>> = (!entries.is_empty()).then(|| entries.into());
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
        source: None,
        usage_total: None,
        inherited_cost_micros: 0,
        incomplete_turn: false,
        create_time: now,
        archive_time: None,
        arrival: None,
        deletion: None,
    }
}

/// The thread remembers how far it was saved, and links to the session it was saved to last.
pub(super) fn with_mark(
    mut effects: Vec<Effect>,
    thread: &Thread,
    session: &Session,
    item: Seq,
    turn_start: Option<Seq>,
    now: Time,
) -> Vec<Effect> {
    let mark = SaveMark {
        session: session.id.clone(),
        log: session.tip.log.holder(session.tip.seq()),
        seq: session.tip.seq(),
        messages: session.tip.tally.messages,
        item,
        turn_start,
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
