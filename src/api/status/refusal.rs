//! What the rules refuse: code and reason, what the metadata names, and the detail that fits.

use tonic::{Code, Status};

use crate::domain::{Invalid, Noun, Refusal};
use crate::pb::ErrorReason as Why;

use super::Draft;

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Refusal::from(invalid).into()
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = verdict(&refusal);
        let mut draft = Draft::new(code, reason, refusal.to_string());
        for (key, value) in named(&refusal) {
            draft = draft.with(key, &value);
        }
        detailed(draft, &refusal).finish()
    }
}

fn verdict(refusal: &Refusal) -> (Code, Why) {
    use Code::{
        Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, Unavailable,
    };
    match refusal {
        Refusal::Invalid(Invalid { limit: None, .. }) => (InvalidArgument, Why::FieldInvalid),
        Refusal::Invalid(Invalid { limit: Some(_), .. }) => (InvalidArgument, Why::LimitExceeded),
        Refusal::NotFound { noun, .. } => (NotFound, missing(*noun)),
        Refusal::AlreadyExists { .. } => (AlreadyExists, Why::AlreadyExists),
        Refusal::RequestIdReused => (InvalidArgument, Why::RequestIdReused),
        Refusal::RevisionMismatch { .. } | Refusal::EtagMismatch { .. } | Refusal::Moved { .. } => {
            (Aborted, Why::RevisionMismatch)
        }
        Refusal::StagingLost => (Aborted, Why::StagingLost),
        Refusal::ThreadMoved { .. } => (Aborted, Why::RevisionMismatch),
        Refusal::StaleEpoch { .. } | Refusal::EngineSuperseded { .. } => (Aborted, Why::StaleEpoch),
        Refusal::SessionDiverged { .. } => (Aborted, Why::SessionDiverged),
        Refusal::SessionDeleted { .. } => (FailedPrecondition, Why::SessionDeleted),
        Refusal::SessionOwned { .. } => (FailedPrecondition, Why::SessionOwned),
        Refusal::ThreadOwned { .. } => (FailedPrecondition, Why::ThreadOwned),
        Refusal::EngineNotAttached { .. } => (FailedPrecondition, Why::EngineNotAttached),
        Refusal::NoLiveThread => (FailedPrecondition, Why::NoLiveThread),
        Refusal::NoEngine => (FailedPrecondition, Why::NoEngine),
        Refusal::ResumeEnded { .. } => (FailedPrecondition, Why::ResumeEnded),
        // The replica that spoke is not the one that may any more; the call is safe to send again.
        Refusal::ReplicaFenced { .. } => (Unavailable, Why::EngineLost),
        Refusal::ResumeDriven { .. } | Refusal::ReplicaTaken { .. } => (Aborted, Why::StaleEpoch),
        Refusal::ThreadClosed { .. } => (FailedPrecondition, Why::ThreadClosed),
        Refusal::ThreadEmpty { .. } => (FailedPrecondition, Why::ThreadEmpty),
        Refusal::TurnInProgress { .. } => (FailedPrecondition, Why::TurnInProgress),
        Refusal::TurnFinished { .. } => (FailedPrecondition, Why::TurnFinished),
        Refusal::ItemFinished { .. } => (FailedPrecondition, Why::ItemFinished),
        Refusal::ForkPointNotUserMessage => (InvalidArgument, Why::ForkPointNotUserMessage),
        Refusal::ForkPointNotAssistantMessage => (InvalidArgument, Why::ForkPointNotAssistantMessage),
        Refusal::ForkPointOpenToolCall => (InvalidArgument, Why::ForkPointOpenToolCall),
        Refusal::ForkPointInSubSession => (InvalidArgument, Why::ForkPointInSubSession),
        Refusal::ForkPointOutOfRange { .. } => (OutOfRange, Why::ForkPointOutOfRange),
        Refusal::IndexOutOfRange { .. } => (OutOfRange, Why::IndexOutOfRange),
        Refusal::CursorExpired => (OutOfRange, Why::CursorExpired),
    }
}

fn missing(noun: Noun) -> Why {
    match noun {
        Noun::Session => Why::SessionNotFound,
        Noun::Revision => Why::RevisionNotFound,
        Noun::Thread => Why::ThreadNotFound,
        Noun::Turn => Why::TurnNotFound,
        Noun::Message => Why::MessageNotFound,
        Noun::Engine => Why::EngineNotFound,
        Noun::Resume => Why::ResumeNotFound,
    }
}

/// The metadata: every id and number of the message, and what is present where the caller was late.
fn named(refusal: &Refusal) -> Vec<(&'static str, String)> {
    match refusal {
        Refusal::Invalid(Invalid { limit, .. }) => match limit {
            Some((limit, max)) => vec![("limit", (*limit).to_owned()), ("max", max.to_string())],
            None => vec![],
        },
        Refusal::NotFound {
            noun: Noun::Revision,
            id,
        } => match id.split_once('@') {
            Some((session, revision)) => {
                vec![
                    ("session_id", session.to_owned()),
                    ("revision", revision.to_owned()),
                ]
            }
            None => vec![("revision", id.clone())],
        },
        Refusal::NotFound { noun, id } | Refusal::AlreadyExists { noun, id } => {
            vec![(key(*noun), id.clone())]
        }
        Refusal::RevisionMismatch { session, current } => {
            vec![
                ("session_id", session.to_string()),
                ("revision", current.to_string()),
            ]
        }
        Refusal::EtagMismatch { session, current } => {
            vec![("session_id", session.to_string()), ("etag", current.0.clone())]
        }
        Refusal::StaleEpoch { thread, current } => {
            vec![("thread_id", thread.to_string()), ("epoch", current.to_string())]
        }
        Refusal::EngineSuperseded { engine, current } => {
            vec![("engine_id", engine.to_string()), ("epoch", current.to_string())]
        }
        Refusal::SessionDiverged { session, thread }
        | Refusal::SessionOwned {
            session,
            owner: thread,
        } => {
            vec![
                ("session_id", session.to_string()),
                ("thread_id", thread.to_string()),
            ]
        }
        Refusal::Moved { session } | Refusal::SessionDeleted { session } => {
            vec![("session_id", session.to_string())]
        }
        Refusal::ThreadOwned { thread, owner } => {
            vec![
                ("thread_id", thread.to_string()),
                ("engine_id", owner.to_string()),
            ]
        }
        Refusal::TurnInProgress {
            thread,
            turn: Some(turn),
        } => {
            vec![("thread_id", thread.to_string()), ("turn_id", turn.to_string())]
        }
        Refusal::ThreadClosed { thread }
        | Refusal::ThreadEmpty { thread }
        | Refusal::ThreadMoved { thread }
        | Refusal::EngineNotAttached { thread }
        | Refusal::TurnInProgress { thread, turn: None } => vec![("thread_id", thread.to_string())],
        Refusal::TurnFinished { turn } => vec![("turn_id", turn.to_string())],
        Refusal::ResumeEnded { resume } | Refusal::ResumeDriven { resume } => {
            vec![("resume_id", resume.to_string())]
        }
        Refusal::ReplicaFenced { replica, .. } | Refusal::ReplicaTaken { replica } => {
            vec![("replica", replica.to_string())]
        }
        Refusal::ItemFinished { item } => vec![("item_id", item.to_string())],
        Refusal::ForkPointOutOfRange { count } | Refusal::IndexOutOfRange { count } => {
            vec![("count", count.to_string())]
        }
        Refusal::RequestIdReused
        | Refusal::StagingLost
        | Refusal::NoLiveThread
        | Refusal::NoEngine
        | Refusal::ForkPointNotUserMessage
        | Refusal::ForkPointNotAssistantMessage
        | Refusal::ForkPointOpenToolCall
        | Refusal::ForkPointInSubSession
        | Refusal::CursorExpired => vec![],
    }
}

/// The detail beside ErrorInfo.
fn detailed(draft: Draft, refusal: &Refusal) -> Draft {
    match refusal {
        Refusal::Invalid(Invalid { field, rule, .. }) => draft.field(field, rule),
        Refusal::RequestIdReused => draft.field("request_id", "was used for another request"),
        Refusal::ForkPointNotUserMessage
        | Refusal::ForkPointNotAssistantMessage
        | Refusal::ForkPointOpenToolCall
        | Refusal::ForkPointInSubSession
        | Refusal::ForkPointOutOfRange { .. } => draft.field("point", &refusal.to_string()),
        Refusal::NotFound { noun, id } | Refusal::AlreadyExists { noun, id } => {
            draft.resource(kind(*noun), id)
        }
        Refusal::SessionDeleted { session } | Refusal::SessionOwned { session, .. } => {
            draft.precondition(session)
        }
        Refusal::ThreadOwned { thread, .. }
        | Refusal::ThreadClosed { thread }
        | Refusal::ThreadEmpty { thread }
        | Refusal::EngineNotAttached { thread }
        | Refusal::TurnInProgress { thread, turn: None } => draft.precondition(thread),
        Refusal::TurnInProgress { turn: Some(turn), .. } | Refusal::TurnFinished { turn } => {
            draft.precondition(turn)
        }
        Refusal::ItemFinished { item } => draft.precondition(item),
        Refusal::ResumeEnded { resume } => draft.precondition(resume),
        Refusal::NoLiveThread => draft.precondition(&"threads"),
        Refusal::NoEngine => draft.precondition(&"engines"),
        Refusal::Moved { .. }
        | Refusal::ThreadMoved { .. }
        | Refusal::StagingLost
        | Refusal::ReplicaFenced { .. } => draft.retry(),
        Refusal::RevisionMismatch { .. }
        | Refusal::EtagMismatch { .. }
        | Refusal::StaleEpoch { .. }
        | Refusal::EngineSuperseded { .. }
        | Refusal::ResumeDriven { .. }
        | Refusal::ReplicaTaken { .. }
        | Refusal::SessionDiverged { .. }
        | Refusal::IndexOutOfRange { .. }
        | Refusal::CursorExpired => draft,
    }
}

/// The metadata key that a noun's id stands under.
fn key(noun: Noun) -> &'static str {
    match noun {
        Noun::Session => "session_id",
        Noun::Revision => "revision",
        Noun::Thread => "thread_id",
        Noun::Turn => "turn_id",
        Noun::Message => "message_id",
        Noun::Engine => "engine_id",
        Noun::Resume => "resume_id",
    }
}

/// The proto message of a noun.
fn kind(noun: Noun) -> &'static str {
    match noun {
        Noun::Session => "Session",
        Noun::Revision => "SessionRevision",
        Noun::Thread => "Thread",
        Noun::Turn => "Turn",
        Noun::Message => "Message",
        Noun::Engine => "Engine",
        Noun::Resume => "ResumeProgress",
    }
}
