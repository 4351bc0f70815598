//! Sessions.

use crate::body::value;
use crate::domain::query::{self, Order};
use crate::domain::session::{self, Archived, Change, Draft, Etag, Origin, Setting, State, Texts};
use crate::domain::title::{Title, TitleSource};
use crate::domain::{Invalid, Limits, Namespace, Session, SessionId};
use crate::pb;

use super::mask::Mask;
use super::{etag, if_any, json, labels, optional, place, setting, short, text};

const WRITABLE: [&str; 13] = [
    "title",
    "labels",
    "starred",
    "workspace",
    "provider",
    "endpoint",
    "model",
    "mode",
    "task_type",
    "system_prompt",
    "settings_json",
    "metadata_json",
    "state",
];

/// What CreateSession makes.
pub(in crate::api) fn create(
    request: pb::CreateSessionRequest,
    limits: &Limits,
) -> Result<(Option<SessionId>, Draft), Invalid> {
    let id = optional(request.session_id.as_ref(), "session_id", SessionId::parse)?;
    let given = request.session.unwrap_or_default();
    let draft = Draft {
        title: title(&given.title, limits)?,
        setting: setting(
            Setting {
                workspace: given.workspace,
                provider: given.provider,
                endpoint: given.endpoint,
                model: given.model,
                mode: given.mode,
                task_type: given.task_type,
            },
            "session",
        )?,
        labels: labels(given.labels, "session.labels", limits)?,
        texts: Texts {
            system_prompt: text(given.system_prompt, "session.system_prompt", limits)?,
            settings_json: json(given.settings_json, "session.settings_json", limits)?,
            metadata_json: json(given.metadata_json, "session.metadata_json", limits)?,
        },
        starred: given.starred,
        archived: archived(given.state)?.unwrap_or_default(),
        parent: if_any(
            &given.parent_session_id,
            "session.parent_session_id",
            SessionId::parse,
        )?,
    };
    Ok((id, draft))
}

/// What UpdateSession sets.
pub(in crate::api) fn update(
    request: pb::UpdateSessionRequest,
    limits: &Limits,
) -> Result<(SessionId, Change, Option<Etag>), Invalid> {
    let given = request.session.unwrap_or_default();
    let id = SessionId::parse(&given.session_id, "session.session_id")?;
    let mask = Mask::parse(request.update_mask, &WRITABLE)?;
    let short = |path: &str, value: String| {
        mask.pick(path, !value.is_empty(), || {
            short(value, &format!("session.{path}"))
        })
    };
    let json = |path: &str, value: String| {
        mask.pick(path, !value.is_empty(), || {
            json(value, &format!("session.{path}"), limits)
        })
    };
    let change = Change {
        title: mask.pick("title", !given.title.is_empty(), || title(&given.title, limits))?,
        labels: mask.pick("labels", !given.labels.is_empty(), || {
            labels(given.labels, "session.labels", limits)
        })?,
        starred: mask.pick("starred", given.starred, || Ok(given.starred))?,
        workspace: mask.pick("workspace", !given.workspace.is_empty(), || {
            place(&given.workspace, "session.workspace")
        })?,
        provider: short("provider", given.provider)?,
        endpoint: short("endpoint", given.endpoint)?,
        model: short("model", given.model)?,
        mode: short("mode", given.mode)?,
        task_type: short("task_type", given.task_type)?,
        system_prompt: mask.pick("system_prompt", !given.system_prompt.is_empty(), || {
            text(given.system_prompt, "session.system_prompt", limits)
        })?,
        settings_json: json("settings_json", given.settings_json)?,
        metadata_json: json("metadata_json", given.metadata_json)?,
        archived: mask.pick("state", true, || archived(given.state))?.flatten(),
    };
    if mask.names("state") && change.archived.is_none() {
        return Err(Invalid::new("session.state", "must be ACTIVE or ARCHIVED"));
    }
    Ok((id, change, etag(request.etag)))
}

/// What ListSessions asks for.
pub(in crate::api) fn query(
    namespace: Namespace,
    request: pb::ListSessionsRequest,
) -> Result<query::Sessions, Invalid> {
    let parent = request.parent_session_id.as_ref();
    let parent = parent
        .map(|parent| if_any(parent, "parent_session_id", SessionId::parse))
        .transpose()?;
    let origin = request.origin_session_id.as_deref().unwrap_or_default();
    let workspace = request.workspace.as_ref();
    Ok(query::Sessions {
        namespace,
        states: states(&request.states)?,
        workspace: workspace
            .map(|workspace| place(workspace, "workspace"))
            .transpose()?,
        labels: request.labels,
        title_contains: request.title_contains.filter(|part| !part.is_empty()),
        id_prefix: request.session_id_prefix.filter(|prefix| !prefix.is_empty()),
        starred: request.starred,
        has_user_interaction: request.has_user_interaction,
        origin: if_any(origin, "origin_session_id", SessionId::parse)?,
        parent,
        updated_after: value::optional_time(request.updated_after.as_ref(), "updated_after")?,
        updated_before: value::optional_time(request.updated_before.as_ref(), "updated_before")?,
        order: order(request.order_by.as_deref().unwrap_or_default())?,
    })
}

/// A session that is gone, as DeleteSession still answers it.
pub(in crate::api) fn gone(namespace: &Namespace, id: &SessionId) -> pb::Session {
    pb::Session {
        namespace: namespace.to_string(),
        session_id: id.to_string(),
        state: pb::SessionState::Deleted.into(),
        ..pb::Session::default()
    }
}

/// A title of a session's own; an empty one is none.
fn title(value: &str, limits: &Limits) -> Result<Option<Title>, Invalid> {
    if_any(value, "session.title", |value, field| {
        Title::parse(value, field, limits.title_chars_max)
    })
}

/// Whether a session is to be archived; `None`: UNSPECIFIED.
fn archived(state: i32) -> Result<Option<Archived>, Invalid> {
    match pb::SessionState::try_from(state) {
        Ok(pb::SessionState::Unspecified) => Ok(None),
        Ok(pb::SessionState::Active) => Ok(Some(Archived::No)),
        Ok(pb::SessionState::Archived) => Ok(Some(Archived::Yes)),
        Ok(pb::SessionState::Deleted) | Err(_) => Err(Invalid::new(
            "session.state",
            "must be ACTIVE or ARCHIVED; deletion has methods of its own",
        )),
    }
}

fn states(given: &[i32]) -> Result<Vec<State>, Invalid> {
    let mut states = Vec::new();
    for state in given {
        let state = match pb::SessionState::try_from(*state) {
            Ok(pb::SessionState::Active) => State::Active,
            Ok(pb::SessionState::Archived) => State::Archived,
            Ok(pb::SessionState::Deleted) => State::Deleted,
            Ok(pb::SessionState::Unspecified) | Err(_) => {
                return Err(Invalid::new("states", "must be ACTIVE, ARCHIVED or DELETED"));
            }
        };
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(if states.is_empty() {
        vec![State::Active]
    } else {
        states
    })
}

fn order(given: &str) -> Result<Order, Invalid> {
    let words: Vec<&str> = given.split_whitespace().collect();
    match words[..] {
        [] | ["update_time", "desc"] => Ok(Order::UpdateTimeDesc),
        ["update_time"] | ["update_time", "asc"] => Ok(Order::UpdateTimeAsc),
        ["create_time", "desc"] => Ok(Order::CreateTimeDesc),
        ["create_time"] | ["create_time", "asc"] => Ok(Order::CreateTimeAsc),
        ["title", "desc"] => Ok(Order::TitleDesc),
        ["title"] | ["title", "asc"] => Ok(Order::TitleAsc),
        _ => Err(Invalid::new(
            "order_by",
            "must be update_time, create_time or title, with desc or without",
        )),
    }
}

impl From<&Session> for pb::Session {
    fn from(session: &Session) -> Self {
        let session::Profile {
            setting,
            texts,
            deletion,
            ..
        } = &*session.profile;
        let profile = &session.profile;
        Self {
            namespace: session.namespace.to_string(),
            session_id: session.id.to_string(),
            title: profile.title.clone(),
            title_source: title_source(profile).into(),
            workspace: setting.workspace.clone(),
            provider: setting.provider.clone(),
            endpoint: setting.endpoint.clone(),
            model: setting.model.clone(),
            mode: setting.mode.clone(),
            task_type: setting.task_type.clone(),
            system_prompt: texts.system_prompt.clone(),
            labels: profile.labels.clone(),
            settings_json: texts.settings_json.clone(),
            metadata_json: texts.metadata_json.clone(),
            usage: Some(value::usage_to_pb(session.usage())),
            message_count: session.tip.tally.visible,
            entry_count: session.tip.tally.entries,
            has_user_interaction: session.tip.tally.has_user_interaction(),
            revision: session.revision.0,
            etag: session.etag().0,
            state: state_to_pb(profile.state).into(),
            starred: profile.starred,
            thread_id: profile
                .thread
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            origin: profile.origin.as_ref().map(origin_to_pb),
            parent_session_id: profile
                .parent
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            preview: session.preview.clone(),
            incomplete_turn: profile.incomplete_turn,
            create_time: Some(value::timestamp(profile.create_time)),
            update_time: Some(value::timestamp(session.update_time)),
            archive_time: profile
                .archive_time
                .filter(|_| profile.state == State::Archived)
                .map(value::timestamp),
            delete_time: deletion.as_ref().map(|deletion| value::timestamp(deletion.time)),
            purge_time: deletion
                .as_ref()
                .map(|deletion| value::timestamp(deletion.purge_time)),
        }
    }
}

fn title_source(profile: &session::Profile) -> pb::TitleSource {
    if profile.title.is_empty() {
        return pb::TitleSource::Unspecified;
    }
    match profile.title_source {
        TitleSource::Derived => pb::TitleSource::Derived,
        TitleSource::User => pb::TitleSource::User,
        TitleSource::Engine => pb::TitleSource::Engine,
    }
}

fn state_to_pb(state: State) -> pb::SessionState {
    match state {
        State::Active => pb::SessionState::Active,
        State::Archived => pb::SessionState::Archived,
        State::Deleted => pb::SessionState::Deleted,
    }
}

fn origin_to_pb(origin: &Origin) -> pb::Origin {
    pb::Origin {
        session_id: origin.session.to_string(),
        entry_seq: origin.entry_seq,
        message_count: origin.message_count,
        root_session_id: origin.root.to_string(),
        depth: origin.depth,
    }
}

#[cfg(test)]
mod tests;
