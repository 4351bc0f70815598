//! Snapshots and resumes.

use std::time::Duration;

use crate::body::value;
use crate::domain::query;
use crate::domain::resume::{State, Wish};
use crate::domain::{EngineId, Invalid, Limits, Namespace, Resume, ResumeId, SessionId, ThreadId};
use crate::engine::Consistency;
use crate::pb;
use crate::pb::watch_resume_request::Target as Given;
use crate::service::resumes::Target;
use crate::service::snapshots::Snapshot;

use super::{expected, if_any, labels, optional, short, title};
use crate::api::status;

/// What SnapshotFromEngine asks for.
pub(in crate::api) fn snapshot(
    request: &pb::SnapshotFromEngineRequest,
    patience: Option<Duration>,
    limits: &Limits,
) -> Result<Snapshot, Invalid> {
    let consistency = match pb::SnapshotConsistency::try_from(request.consistency) {
        Ok(pb::SnapshotConsistency::Unspecified | pb::SnapshotConsistency::TurnBoundary) => {
            Consistency::TurnBoundary
        }
        Ok(pb::SnapshotConsistency::Immediate) => Consistency::Immediate,
        Err(_) => return Err(Invalid::new("consistency", "must be TURN_BOUNDARY or IMMEDIATE")),
    };
    Ok(Snapshot {
        thread: optional(request.thread_id.as_ref(), "thread_id", ThreadId::parse)?,
        session: optional(request.session_id.as_ref(), "session_id", SessionId::parse)?,
        title: title(request.title.as_ref(), limits)?,
        consistency,
        expected: expected(request.expected_revision),
        patience,
    })
}

/// What Resume asks for.
pub(in crate::api) fn wish(
    request: pb::ResumeRequest,
    limits: &Limits,
) -> Result<(SessionId, Wish), Invalid> {
    let given = |value: Option<String>, field: &str| value.map(|value| short(value, field)).transpose();
    let id = SessionId::parse(&request.session_id, "session_id")?;
    let wish = Wish {
        model: given(request.model, "model")?,
        mode: given(request.mode, "mode")?,
        task_type: given(request.task_type, "task_type")?,
        engine: optional(request.engine_id.as_ref(), "engine_id", EngineId::parse)?,
        labels: labels(request.engine_labels, "engine_labels", limits)?,
        require_engine: request.require_engine,
    };
    Ok((id, wish))
}

/// What WatchResume watches.
pub(in crate::api) fn target(request: &pb::WatchResumeRequest) -> Result<Target, Invalid> {
    match &request.target {
        Some(Given::ResumeId(id)) => ResumeId::parse(id, "resume_id").map(Target::Resume),
        Some(Given::ThreadId(id)) => ThreadId::parse(id, "thread_id").map(Target::Thread),
        None => Err(Invalid::new(
            "target",
            "must be given: a resume_id or a thread_id",
        )),
    }
}

/// What ListResumes asks for.
pub(in crate::api) fn query(
    namespace: Namespace,
    request: &pb::ListResumesRequest,
) -> Result<query::Resumes, Invalid> {
    let mut states = Vec::new();
    for given in &request.states {
        let state = state(*given)?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    let session = request.session_id.as_deref().unwrap_or_default();
    Ok(query::Resumes {
        namespace: Some(namespace),
        states,
        session: if_any(session, "session_id", SessionId::parse)?,
        thread: None,
        engine: None,
    })
}

fn state(given: i32) -> Result<State, Invalid> {
    match pb::ResumeState::try_from(given) {
        Ok(pb::ResumeState::Queued) => Ok(State::Queued),
        Ok(pb::ResumeState::Seeding) => Ok(State::Seeding),
        Ok(pb::ResumeState::Ready) => Ok(State::Ready),
        Ok(pb::ResumeState::Failed) => Ok(State::Failed),
        Ok(pb::ResumeState::Canceled) => Ok(State::Canceled),
        Ok(pb::ResumeState::Unspecified) | Err(_) => Err(Invalid::new(
            "states",
            "must be QUEUED, SEEDING, READY, FAILED or CANCELED",
        )),
    }
}

impl From<&Resume> for pb::ResumeProgress {
    fn from(resume: &Resume) -> Self {
        let state = match resume.state {
            State::Queued => pb::ResumeState::Queued,
            State::Seeding => pb::ResumeState::Seeding,
            State::Ready => pb::ResumeState::Ready,
            State::Failed => pb::ResumeState::Failed,
            State::Canceled => pb::ResumeState::Canceled,
        };
        Self {
            resume_id: resume.id.to_string(),
            thread_id: resume.thread.to_string(),
            session_id: resume.session.to_string(),
            engine_id: resume
                .engine
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            state: state.into(),
            reused: resume.reused,
            items_written: resume.written,
            items_total: resume.total,
            attempt: resume.attempt.max(1),
            error: resume.failure.as_ref().map(status::of_failure),
            create_time: Some(value::timestamp(resume.create_time)),
            start_time: resume.start_time.map(value::timestamp),
            end_time: resume.end_time.map(value::timestamp),
        }
    }
}
