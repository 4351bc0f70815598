//! Writing what an engine holds of a thread to its session. The comparison was made on a reader; whether
//! what came of it may be written is decided here, on what thread and session are now.

use std::sync::Arc;

use super::Ruling;
use super::append::{Moved, head};
use super::save::{Linked, checked, create, extended, gone, thread_of, with_mark};
use super::session::fresh;
use crate::domain::error::Refusal;
use crate::domain::facts::Facts;
use crate::domain::id::Namespace;
use crate::domain::outcome::Outcome;
use crate::domain::proposal::{Said, Snapshot};
use crate::domain::save::{standing, target};
use crate::domain::session::{Profile, Session, Texts};
use crate::domain::thread::Thread;
use crate::domain::time::Time;
use crate::domain::title::{Title, TitleSource};

pub(super) fn snapshot(facts: &Facts, ns: &Namespace, snapshot: &Snapshot, now: Time) -> Ruling {
    let thread = thread_of(facts, ns, &snapshot.thread)?;
    if thread.journal != snapshot.journal || thread.epoch != snapshot.epoch {
        return Err(Refusal::ThreadMoved {
            thread: thread.id.clone(),
        });
    }
    let id = target(thread, snapshot.requested.as_ref(), &snapshot.fresh);
    let session = facts.session(ns, id).flatten();
    standing(thread, session.map(|session| &**session))?;
    checked(id, session, snapshot.from.as_ref())?;
    let linked = Linked {
        thread,
        cut: snapshot.cut.as_ref(),
        written: &snapshot.written,
    };
    let (mut effects, after, created) = match session {
        Some(session) => {
            fresh(session, snapshot.expected)?;
            let (effects, after) = extended(facts, session, &linked, now)?;
            (effects, after, false)
        }
        None => {
            gone(id, snapshot.expected)?;
            let (effects, after) = create(facts, ns, id, &linked, None, now)?;
            (effects, Moved::Whole(after), true)
        }
    };
    let (Moved::Head(moved) | Moved::Whole(moved)) = &after;
    if moved.tip.tally.messages == 0 && moved.tip.tally.checkpoint.0 == 0 {
        return Err(Refusal::ThreadEmpty {
            thread: thread.id.clone(),
        });
    }
    let whole = told(after, session.map(|session| &**session), thread, snapshot, now);
    let unchanged = matches!((&whole, session), (Moved::Head(after), Some(before)) if *after == **before);
    let (Moved::Head(stands) | Moved::Whole(stands)) = &whole;
    let stands = stands.clone();
    if !unchanged {
        effects.push(head(whole));
    }
    let outcome = Outcome::Snapshot {
        session: id.clone(),
        message_count: stands.tip.tally.visible,
        created,
        delta: snapshot.delta,
    };
    let effects = with_mark(effects, thread, &stands, snapshot.items, snapshot.turn_start, now);
    Ok((effects, outcome))
}

/// The session with what the engine says of it: it keeps its create_time, a USER title, labels and archived
/// state.
fn told(after: Moved, before: Option<&Session>, thread: &Thread, snapshot: &Snapshot, now: Time) -> Moved {
    let (Moved::Head(session) | Moved::Whole(session)) = &after;
    let profile = Profile {
        thread: Some(thread.id.clone()),
        ..said(&session.profile, &snapshot.said, snapshot.title.as_ref())
    };
    if profile == *session.profile {
        return after;
    }
    let counted = before.is_none_or(|before| before.generation != session.generation);
    let touched = if counted {
        session.clone()
    } else {
        session.touched(now)
    };
    Moved::Whole(Session {
        profile: Arc::new(profile),
        ..touched
    })
}

fn said(before: &Profile, said: &Said, title: Option<&Title>) -> Profile {
    let mut profile = before.clone();
    match (title, &said.title, profile.title_source) {
        (Some(title), _, _) => {
            profile.title = title.as_str().to_owned();
            profile.title_source = TitleSource::User;
        }
        (None, Some(title), TitleSource::Derived | TitleSource::Engine) => {
            profile.title = title.as_str().to_owned();
            profile.title_source = TitleSource::Engine;
        }
        (None, Some(_), TitleSource::User) | (None, None, _) => {}
    }
    for (field, value) in [
        (&mut profile.setting.provider, &said.provider),
        (&mut profile.setting.model, &said.model),
        (&mut profile.setting.mode, &said.mode),
        (&mut profile.setting.workspace, &said.workspace),
    ] {
        replace(field, value);
    }
    let mut texts = Texts::clone(&profile.texts);
    replace(&mut texts.system_prompt, &said.system_prompt);
    replace(&mut texts.settings_json, &said.settings_json);
    if texts != *profile.texts {
        profile.texts = Arc::new(texts);
    }
    profile.usage_total = said.usage;
    profile.incomplete_turn = said.incomplete_turn;
    profile
}

/// An empty text leaves what is known.
fn replace(field: &mut String, value: &str) {
    if !value.is_empty() && field != value {
        value.clone_into(field);
    }
}
