//! Threads and turns.

use crate::body::value;
use crate::domain::query;
use crate::domain::session::Setting;
use crate::domain::thread::{Change, Draft, State, Texts};
use crate::domain::title::Title;
use crate::domain::turn::Status;
use crate::domain::{EngineId, Invalid, Limits, Namespace, SessionId, Thread, ThreadId, Turn, TurnId, Usage};
use crate::pb;

use super::mask::Mask;
use super::{if_any, json, labels, optional, place, setting, short, text};

const WRITABLE: [&str; 11] = [
    "title",
    "workspace",
    "provider",
    "endpoint",
    "model",
    "mode",
    "task_type",
    "system_prompt",
    "labels",
    "settings_json",
    "state",
];

/// What CreateThread makes.
pub(in crate::api) fn create(
    request: pb::CreateThreadRequest,
    limits: &Limits,
) -> Result<(Option<ThreadId>, Draft), Invalid> {
    let id = optional(request.thread_id.as_ref(), "thread_id", ThreadId::parse)?;
    let given = request.thread.unwrap_or_default();
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
            "thread",
        )?,
        labels: labels(given.labels, "thread.labels", limits)?,
        texts: Texts {
            system_prompt: text(given.system_prompt, "thread.system_prompt", limits)?,
            settings_json: json(given.settings_json, "thread.settings_json", limits)?,
        },
        state: state(given.state, "thread.state")?.unwrap_or_default(),
    };
    Ok((id, draft))
}

/// What UpdateThread sets.
pub(in crate::api) fn update(
    request: pb::UpdateThreadRequest,
    limits: &Limits,
) -> Result<(ThreadId, Change), Invalid> {
    let given = request.thread.unwrap_or_default();
    let id = ThreadId::parse(&given.thread_id, "thread.thread_id")?;
    let mask = Mask::parse(request.update_mask, &WRITABLE)?;
    let short = |path: &str, value: String| {
        mask.pick(path, !value.is_empty(), || {
            short(value, &format!("thread.{path}"))
        })
    };
    let change = Change {
        title: mask.pick("title", !given.title.is_empty(), || title(&given.title, limits))?,
        workspace: mask.pick("workspace", !given.workspace.is_empty(), || {
            place(&given.workspace, "thread.workspace")
        })?,
        provider: short("provider", given.provider)?,
        endpoint: short("endpoint", given.endpoint)?,
        model: short("model", given.model)?,
        mode: short("mode", given.mode)?,
        task_type: short("task_type", given.task_type)?,
        system_prompt: mask.pick("system_prompt", !given.system_prompt.is_empty(), || {
            text(given.system_prompt, "thread.system_prompt", limits)
        })?,
        labels: mask.pick("labels", !given.labels.is_empty(), || {
            labels(given.labels, "thread.labels", limits)
        })?,
        settings_json: mask.pick("settings_json", !given.settings_json.is_empty(), || {
            json(given.settings_json, "thread.settings_json", limits)
        })?,
        state: mask
            .pick("state", true, || state(given.state, "thread.state"))?
            .flatten(),
    };
    if mask.names("state") && change.state.is_none() {
        return Err(Invalid::new("thread.state", "must be OPEN, CLOSED or ARCHIVED"));
    }
    Ok((id, change))
}

/// What ListThreads asks for.
pub(in crate::api) fn query(
    namespace: Namespace,
    request: &pb::ListThreadsRequest,
) -> Result<query::Threads, Invalid> {
    let mut states = Vec::new();
    for given in &request.states {
        let Some(state) = state(*given, "states")? else {
            return Err(Invalid::new("states", "must be OPEN, CLOSED or ARCHIVED"));
        };
        if !states.contains(&state) {
            states.push(state);
        }
    }
    let session = request.session_id.as_deref().unwrap_or_default();
    let engine = request.engine_id.as_deref().unwrap_or_default();
    Ok(query::Threads {
        namespace,
        states,
        session: if_any(session, "session_id", SessionId::parse)?,
        engine: if_any(engine, "engine_id", EngineId::parse)?,
    })
}

/// The end of a turn.
#[derive(Clone, Debug)]
pub(in crate::api) struct Finish {
    pub(in crate::api) thread: ThreadId,
    pub(in crate::api) turn: TurnId,
    pub(in crate::api) status: Status,
    pub(in crate::api) usage: Option<Usage>,
    pub(in crate::api) error: String,
}

/// How FinishTurn ends a turn.
pub(in crate::api) fn finish(request: pb::FinishTurnRequest) -> Result<Finish, Invalid> {
    let status = value::status(request.status).filter(|status| status.is_end());
    let Some(status) = status else {
        return Err(Invalid::new(
            "status",
            "must be COMPLETED, FAILED, INTERRUPTED or CANCELED",
        ));
    };
    Ok(Finish {
        thread: ThreadId::parse(&request.thread_id, "thread_id")?,
        turn: TurnId::parse(&request.turn_id, "turn_id")?,
        status,
        usage: request.usage.as_ref().map(value::usage),
        error: short(request.error.unwrap_or_default(), "error")?,
    })
}

/// Thread and turn of a StartTurn.
pub(in crate::api) fn start(request: &pb::StartTurnRequest) -> Result<(ThreadId, Option<TurnId>), Invalid> {
    let thread = ThreadId::parse(&request.thread_id, "thread_id")?;
    Ok((
        thread,
        optional(request.turn_id.as_ref(), "turn_id", TurnId::parse)?,
    ))
}

/// A thread that is gone, as DeleteThread still answers it.
pub(in crate::api) fn gone(namespace: &Namespace, id: &ThreadId) -> pb::Thread {
    pb::Thread {
        namespace: namespace.to_string(),
        thread_id: id.to_string(),
        ..pb::Thread::default()
    }
}

fn title(value: &str, limits: &Limits) -> Result<String, Invalid> {
    let parse = |value: &str, field: &str| Title::parse(value, field, limits.title_chars_max);
    let title = if_any(value, "thread.title", parse)?;
    Ok(title.map(|title| title.as_str().to_owned()).unwrap_or_default())
}

/// `None`: UNSPECIFIED.
fn state(given: i32, field: &str) -> Result<Option<State>, Invalid> {
    match pb::ThreadState::try_from(given) {
        Ok(pb::ThreadState::Unspecified) => Ok(None),
        Ok(pb::ThreadState::Open) => Ok(Some(State::Open)),
        Ok(pb::ThreadState::Closed) => Ok(Some(State::Closed)),
        Ok(pb::ThreadState::Archived) => Ok(Some(State::Archived)),
        Err(_) => Err(Invalid::new(field, "must be OPEN, CLOSED or ARCHIVED")),
    }
}

impl From<&Thread> for pb::Thread {
    fn from(thread: &Thread) -> Self {
        let profile = &thread.profile;
        let setting = &profile.setting;
        let state = match profile.state {
            State::Open => pb::ThreadState::Open,
            State::Closed => pb::ThreadState::Closed,
            State::Archived => pb::ThreadState::Archived,
        };
        Self {
            namespace: thread.namespace.to_string(),
            thread_id: thread.id.to_string(),
            session_id: thread
                .session
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            title: profile.title.clone(),
            workspace: setting.workspace.clone(),
            provider: setting.provider.clone(),
            endpoint: setting.endpoint.clone(),
            model: setting.model.clone(),
            mode: setting.mode.clone(),
            task_type: setting.task_type.clone(),
            system_prompt: profile.texts.system_prompt.clone(),
            labels: profile.labels.clone(),
            settings_json: profile.texts.settings_json.clone(),
            engine_id: thread
                .engine
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            epoch: thread.epoch,
            state: state.into(),
            active_turn_id: thread
                .active_turn
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            turn_count: thread.turns,
            item_count: thread.items,
            head_seq: thread.items,
            create_time: Some(value::timestamp(thread.create_time)),
            update_time: Some(value::timestamp(thread.update_time)),
        }
    }
}

impl From<&Turn> for pb::Turn {
    fn from(turn: &Turn) -> Self {
        Self {
            turn_id: turn.id.to_string(),
            status: value::status_to_pb(turn.status).into(),
            usage: turn.usage.map(value::usage_to_pb),
            error: turn.error.clone(),
            start_time: Some(value::timestamp(turn.start_time)),
            end_time: turn.end_time.map(value::timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    #[test]
    fn updates_open_and_close() {
        let updated = |state: i32, paths: &[&str]| {
            let thread = pb::Thread {
                thread_id: "t".into(),
                state,
                ..Default::default()
            };
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let update_mask = Some(FieldMask { paths });
            let request = pb::UpdateThreadRequest {
                thread: Some(thread),
                update_mask,
                ..Default::default()
            };
            update(request, &Limits::default())
                .map(|(_, change)| change)
                .map_err(|invalid| invalid.field)
        };
        let state = |state| Change {
            state: Some(state),
            ..Change::default()
        };
        assert_eq!(updated(2, &["state"]), Ok(state(State::Closed)));
        assert_eq!(updated(1, &[]), Ok(state(State::Open)));
        assert_eq!(updated(0, &[]), Ok(Change::default()));
        assert_eq!(updated(0, &["state"]), Err("thread.state".into()));
        assert_eq!(updated(9, &["state"]), Err("thread.state".into()));
        assert_eq!(updated(1, &["metadata_json"]), Err("update_mask".into()));
    }

    #[test]
    fn only_end_states_finish() {
        for (status, is_end) in [
            (0, false),
            (1, false),
            (2, false),
            (3, true),
            (4, true),
            (5, true),
            (6, true),
            (7, false),
        ] {
            let (thread_id, turn_id) = ("t".into(), "u".into());
            let request = pb::FinishTurnRequest {
                thread_id,
                turn_id,
                status,
                ..Default::default()
            };
            assert_eq!(finish(request).is_ok(), is_end, "{status}");
        }
    }

    #[test]
    fn lists_name_states() {
        let query = |states: Vec<i32>| {
            let namespace = Namespace::parse("")?;
            query(
                namespace,
                &pb::ListThreadsRequest {
                    states,
                    engine_id: Some(String::new()),
                    ..Default::default()
                },
            )
        };
        assert_eq!(query(vec![]).map(|query| query.states), Ok(vec![]));
        assert_eq!(
            query(vec![3, 1, 3]).map(|query| query.states),
            Ok(vec![State::Archived, State::Open])
        );
        assert_eq!(query(vec![0]).expect_err("invalid").field, "states");
    }
}
