//! Making and changing sessions; appends, saves, forks and deletions have files of their own.

use std::sync::Arc;

use super::{Ruling, append, deletion, fork, import, retention, rewind, save, snapshot};
use crate::domain::effect::Effect;
use crate::domain::error::{Noun, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{LogId, Namespace, Revision, SessionId};
use crate::domain::outcome::Outcome;
use crate::domain::path::{Log, Tip};
use crate::domain::proposal::SessionCommand;
use crate::domain::session::{Archived, Change, Draft, Etag, Profile, Session, State, Texts};
use crate::domain::time::Time;
use crate::domain::title::TitleSource;

pub(super) fn decide(facts: &Facts, ns: &Namespace, command: &SessionCommand, now: Time) -> Ruling {
    match command {
        SessionCommand::Create { id, log, draft } => create(facts, ns, id, *log, draft, now),
        SessionCommand::Update { id, change, etag } => update(facts, ns, id, change, etag.as_ref(), now),
        SessionCommand::Delete { id, mode, etag } => {
            deletion::delete(facts, ns, id, *mode, etag.as_ref(), now)
        }
        SessionCommand::Undelete { id } => deletion::undelete(facts, ns, id, now),
        SessionCommand::Append {
            id,
            entries,
            expected,
        } => append::append(facts, ns, id, entries, *expected, now),
        SessionCommand::Save(save) => save::save(facts, ns, save, now),
        SessionCommand::Snapshot(snapshot) => snapshot::snapshot(facts, ns, snapshot, now),
        SessionCommand::Fork(fork) => fork::fork(facts, ns, fork, now),
        SessionCommand::Rewind(rewind) => rewind::rewind(facts, ns, rewind, now),
        SessionCommand::Prune(prune) => retention::prune(facts, ns, prune, now),
        SessionCommand::Pruned { sessions, count } => {
            let (sessions, count) = (sessions.clone(), *count);
            Ok((
                Vec::new(),
                Outcome::Pruned {
                    sessions,
                    count,
                    left: Vec::new(),
                },
            ))
        }
        SessionCommand::Import(import) => import::import(facts, ns, import, now),
    }
}

/// A session that is there, deleted or not.
pub(super) fn found<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &SessionId,
) -> Result<&'a Arc<Session>, Refusal> {
    facts
        .session(ns, id)
        .flatten()
        .ok_or_else(|| Refusal::no_session(id))
}

/// A session that takes writes.
pub(super) fn writable<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    id: &SessionId,
) -> Result<&'a Arc<Session>, Refusal> {
    let session = found(facts, ns, id)?;
    if session.profile.state == State::Deleted {
        return Err(Refusal::SessionDeleted { session: id.clone() });
    }
    Ok(session)
}

/// An id that no session has, not even a deleted one.
pub(super) fn free(facts: &Facts, ns: &Namespace, id: &SessionId) -> Result<(), Refusal> {
    match facts.session(ns, id).flatten() {
        None => Ok(()),
        Some(_) => Err(Refusal::AlreadyExists {
            noun: Noun::Session,
            id: id.to_string(),
        }),
    }
}

/// The revision is the one the caller last saw, if it matters.
pub(super) fn fresh(session: &Session, expected: Option<Revision>) -> Result<(), Refusal> {
    match expected {
        Some(revision) if revision != session.revision => {
            Err(Refusal::revision(&session.id, session.revision))
        }
        Some(_) | None => Ok(()),
    }
}

/// The etag is the one the caller last saw, if it matters.
pub(super) fn unchanged(session: &Session, etag: Option<&Etag>) -> Result<(), Refusal> {
    match etag {
        Some(etag) if *etag != session.etag() => Err(Refusal::EtagMismatch {
            session: session.id.clone(),
            current: session.etag(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn create(facts: &Facts, ns: &Namespace, id: &SessionId, log: LogId, draft: &Draft, now: Time) -> Ruling {
    free(facts, ns, id)?;
    if let Some(parent) = &draft.parent {
        writable(facts, ns, parent)?;
    }
    let log = Arc::new(Log::root(log));
    let archived = draft.archived == Archived::Yes;
    let profile = Profile {
        title: draft
            .title
            .as_ref()
            .map_or_else(String::new, |title| title.as_str().to_owned()),
        title_source: if draft.title.is_some() {
            TitleSource::User
        } else {
            TitleSource::Derived
        },
        setting: draft.setting.clone(),
        labels: draft.labels.clone(),
        texts: Arc::new(draft.texts.clone()),
        state: if archived { State::Archived } else { State::Active },
        starred: draft.starred,
        thread: None,
        origin: None,
        parent: draft.parent.clone(),
        source: None,
        usage_total: None,
        inherited_cost_micros: 0,
        incomplete_turn: false,
        create_time: now,
        archive_time: archived.then_some(now),
        arrival: None,
        deletion: None,
    };
    let session = Session {
        namespace: ns.clone(),
        id: id.clone(),
        profile: Arc::new(profile),
        tip: Tip::start_of(log.clone()),
        revision: Revision::FIRST,
        preview: String::new(),
        generation: 1,
        update_time: now,
    };
    let effects = vec![Effect::OpenLog(log), Effect::PutSession(Arc::new(session))];
    Ok((effects, Outcome::Session { session: id.clone() }))
}

fn update(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    change: &Change,
    etag: Option<&Etag>,
    now: Time,
) -> Ruling {
    let session = writable(facts, ns, id)?;
    unchanged(session, etag)?;
    let profile = changed(&session.profile, change, now);
    let outcome = Outcome::Session { session: id.clone() };
    if profile == *session.profile {
        return Ok((Vec::new(), outcome));
    }
    let session = Session {
        profile: Arc::new(profile),
        ..session.touched(now)
    };
    Ok((vec![Effect::PutSession(Arc::new(session))], outcome))
}

fn changed(before: &Profile, change: &Change, now: Time) -> Profile {
    let mut profile = before.clone();
    match &change.title {
        Some(Some(title)) => {
            profile.title = title.as_str().to_owned();
            profile.title_source = TitleSource::User;
        }
        Some(None) => {
            profile.title.clear();
            profile.title_source = TitleSource::Derived;
        }
        None => {}
    }
    set(&mut profile.labels, change.labels.as_ref());
    set(&mut profile.starred, change.starred.as_ref());
    set(&mut profile.setting.workspace, change.workspace.as_ref());
    set(&mut profile.setting.provider, change.provider.as_ref());
    set(&mut profile.setting.endpoint, change.endpoint.as_ref());
    set(&mut profile.setting.model, change.model.as_ref());
    set(&mut profile.setting.mode, change.mode.as_ref());
    set(&mut profile.setting.task_type, change.task_type.as_ref());
    let mut texts = Texts::clone(&profile.texts);
    set(&mut texts.system_prompt, change.system_prompt.as_ref());
    set(&mut texts.settings_json, change.settings_json.as_ref());
    set(&mut texts.metadata_json, change.metadata_json.as_ref());
    profile.texts = Arc::new(texts);
    match (change.archived, profile.state) {
        (Some(Archived::Yes), State::Active) => {
            profile.state = State::Archived;
            profile.archive_time = Some(now);
        }
        (Some(Archived::No), State::Archived) => {
            profile.state = State::Active;
            profile.archive_time = None;
        }
        (Some(_) | None, State::Active | State::Archived | State::Deleted) => {}
    }
    profile
}

/// Sets a field that the change names.
pub(super) fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        *field = value.clone();
    }
}
