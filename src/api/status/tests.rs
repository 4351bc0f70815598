//! Every refusal has its code, its reason and its details.

use tonic::Code::{
    self, Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, Unavailable,
};
use tonic_types::ErrorDetail;

use super::*;
use crate::domain::session::Etag;
use crate::domain::{EngineId, ItemId, ReplicaId, ResumeId, SessionId, ThreadId, TurnId};
use crate::domain::{Invalid, Noun, Refusal};

fn session() -> SessionId {
    SessionId::parse("s", "id").expect("valid")
}

fn thread() -> ThreadId {
    ThreadId::parse("t", "id").expect("valid")
}

fn turn() -> TurnId {
    TurnId::parse("u", "id").expect("valid")
}

/// `CODE REASON {metadata, sorted} details`.
fn line(status: &Status) -> String {
    let details = status.get_error_details_vec();
    let mut info = None;
    let mut others = Vec::new();
    for detail in details {
        match detail {
            ErrorDetail::ErrorInfo(found) => {
                assert!(info.replace(found).is_none(), "one ErrorInfo");
            }
            ErrorDetail::BadRequest(found) => others.push(format!("bad:{}", found.field_violations[0].field)),
            ErrorDetail::ResourceInfo(found) => {
                others.push(format!("{}:{}", found.resource_type, found.resource_name));
            }
            ErrorDetail::PreconditionFailure(found) => {
                let violation = &found.violations[0];
                others.push(format!("pre:{}:{}", violation.r#type, violation.subject));
            }
            ErrorDetail::QuotaFailure(found) => others.push(format!("quota:{}", found.violations[0].subject)),
            ErrorDetail::RetryInfo(_) => others.push("retry".into()),
            other => panic!("{other:?} is not promised"),
        }
    }
    others.sort();
    let info = info.expect("an ErrorInfo");
    assert_eq!(info.domain, "sessiond");
    let mut metadata: Vec<_> = info
        .metadata
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    metadata.sort();
    format!(
        "{:?} {} [{}] {}",
        status.code(),
        info.reason,
        metadata.join(" "),
        others.join(" ")
    )
}

fn not_found(noun: Noun, id: &str) -> Refusal {
    Refusal::NotFound { noun, id: id.into() }
}

#[test]
fn refusals() {
    let (session, thread, turn) = (session, thread, turn);
    let item = ItemId::parse("i", "id").expect("valid");
    let owner = EngineId::parse("e", "id").expect("valid");
    let table: Vec<(Refusal, Code, &str)> = vec![
        (
            Invalid::new("a.b", "must").into(),
            InvalidArgument,
            "FIELD_INVALID [field=a.b] bad:a.b",
        ),
        (
            Invalid::limit("a", "labels_max", 64).into(),
            InvalidArgument,
            "LIMIT_EXCEEDED [field=a limit=labels_max max=64] bad:a",
        ),
        (
            not_found(Noun::Session, "s"),
            NotFound,
            "SESSION_NOT_FOUND [session_id=s] sessiond.v1.Session:s",
        ),
        (
            not_found(Noun::Revision, "s@3"),
            NotFound,
            "REVISION_NOT_FOUND [revision=3 session_id=s] sessiond.v1.SessionRevision:s@3",
        ),
        (
            not_found(Noun::Thread, "t"),
            NotFound,
            "THREAD_NOT_FOUND [thread_id=t] sessiond.v1.Thread:t",
        ),
        (
            not_found(Noun::Turn, "u"),
            NotFound,
            "TURN_NOT_FOUND [turn_id=u] sessiond.v1.Turn:u",
        ),
        (
            not_found(Noun::Message, "m"),
            NotFound,
            "MESSAGE_NOT_FOUND [message_id=m] sessiond.v1.Message:m",
        ),
        (
            not_found(Noun::Engine, "e"),
            NotFound,
            "ENGINE_NOT_FOUND [engine_id=e] sessiond.v1.Engine:e",
        ),
        (
            not_found(Noun::Resume, "r"),
            NotFound,
            "RESUME_NOT_FOUND [resume_id=r] sessiond.v1.ResumeProgress:r",
        ),
        (
            Refusal::AlreadyExists {
                noun: Noun::Session,
                id: "s".into(),
            },
            AlreadyExists,
            "ALREADY_EXISTS [session_id=s] sessiond.v1.Session:s",
        ),
        (
            Refusal::RequestIdReused,
            InvalidArgument,
            "REQUEST_ID_REUSED [field=request_id] bad:request_id",
        ),
        (
            Refusal::RevisionMismatch {
                session: session(),
                current: 4,
            },
            Aborted,
            "REVISION_MISMATCH [revision=4 session_id=s] ",
        ),
        (
            Refusal::EtagMismatch {
                session: session(),
                current: Etag("x".into()),
            },
            Aborted,
            "REVISION_MISMATCH [etag=x session_id=s] ",
        ),
        (
            Refusal::Moved { session: session() },
            Aborted,
            "REVISION_MISMATCH [session_id=s] retry",
        ),
        (Refusal::StagingLost, Aborted, "STAGING_LOST [] retry"),
        (
            Refusal::ReplicaFenced {
                replica: ReplicaId::parse("a", "replica").expect("valid"),
                incarnation: 7,
            },
            Unavailable,
            "ENGINE_LOST [replica=a] retry",
        ),
        (
            Refusal::ReplicaTaken {
                replica: ReplicaId::parse("a", "replica").expect("valid"),
            },
            Aborted,
            "STALE_EPOCH [replica=a] ",
        ),
        (
            Refusal::ResumeDriven {
                resume: ResumeId::parse("r", "resume_id").expect("valid"),
            },
            Aborted,
            "STALE_EPOCH [resume_id=r] ",
        ),
        (
            Refusal::EngineSuperseded {
                engine: owner.clone(),
                current: 7,
            },
            Aborted,
            "STALE_EPOCH [engine_id=e epoch=7] ",
        ),
        (
            Refusal::EngineNotAttached { thread: thread() },
            FailedPrecondition,
            "ENGINE_NOT_ATTACHED [thread_id=t] pre:ENGINE_NOT_ATTACHED:t",
        ),
        (
            Refusal::NoLiveThread,
            FailedPrecondition,
            "NO_LIVE_THREAD [] pre:NO_LIVE_THREAD:threads",
        ),
        (
            Refusal::NoEngine,
            FailedPrecondition,
            "NO_ENGINE [] pre:NO_ENGINE:engines",
        ),
        (
            Refusal::ThreadMoved { thread: thread() },
            Aborted,
            "REVISION_MISMATCH [thread_id=t] retry",
        ),
        (
            Refusal::ResumeEnded {
                resume: ResumeId::parse("r", "id").expect("valid"),
            },
            FailedPrecondition,
            "RESUME_ENDED [resume_id=r] pre:RESUME_ENDED:r",
        ),
        (
            Refusal::StaleEpoch {
                thread: thread(),
                current: 2,
            },
            Aborted,
            "STALE_EPOCH [epoch=2 thread_id=t] ",
        ),
        (
            Refusal::SessionDiverged {
                session: session(),
                thread: thread(),
            },
            Aborted,
            "SESSION_DIVERGED [session_id=s thread_id=t] ",
        ),
        (
            Refusal::SessionDeleted { session: session() },
            FailedPrecondition,
            "SESSION_DELETED [session_id=s] pre:SESSION_DELETED:s",
        ),
        (
            Refusal::SessionOwned {
                session: session(),
                owner: thread(),
            },
            FailedPrecondition,
            "SESSION_OWNED [session_id=s thread_id=t] pre:SESSION_OWNED:s",
        ),
        (
            Refusal::ThreadOwned {
                thread: thread(),
                owner,
            },
            FailedPrecondition,
            "THREAD_OWNED [engine_id=e thread_id=t] pre:THREAD_OWNED:t",
        ),
        (
            Refusal::ThreadClosed { thread: thread() },
            FailedPrecondition,
            "THREAD_CLOSED [thread_id=t] pre:THREAD_CLOSED:t",
        ),
        (
            Refusal::ThreadEmpty { thread: thread() },
            FailedPrecondition,
            "THREAD_EMPTY [thread_id=t] pre:THREAD_EMPTY:t",
        ),
        (
            Refusal::TurnInProgress {
                thread: thread(),
                turn: None,
            },
            FailedPrecondition,
            "TURN_IN_PROGRESS [thread_id=t] pre:TURN_IN_PROGRESS:t",
        ),
        (
            Refusal::TurnInProgress {
                thread: thread(),
                turn: Some(turn()),
            },
            FailedPrecondition,
            "TURN_IN_PROGRESS [thread_id=t turn_id=u] pre:TURN_IN_PROGRESS:u",
        ),
        (
            Refusal::TurnFinished { turn: turn() },
            FailedPrecondition,
            "TURN_FINISHED [turn_id=u] pre:TURN_FINISHED:u",
        ),
        (
            Refusal::ItemFinished { item },
            FailedPrecondition,
            "ITEM_FINISHED [item_id=i] pre:ITEM_FINISHED:i",
        ),
        (
            Refusal::ForkPointNotUserMessage,
            InvalidArgument,
            "FORK_POINT_NOT_USER_MESSAGE [field=point] bad:point",
        ),
        (
            Refusal::ForkPointNotAssistantMessage,
            InvalidArgument,
            "FORK_POINT_NOT_ASSISTANT_MESSAGE [field=point] bad:point",
        ),
        (
            Refusal::ForkPointOpenToolCall,
            InvalidArgument,
            "FORK_POINT_OPEN_TOOL_CALL [field=point] bad:point",
        ),
        (
            Refusal::ForkPointInSubSession,
            InvalidArgument,
            "FORK_POINT_IN_SUB_SESSION [field=point] bad:point",
        ),
        (
            Refusal::ForkPointOutOfRange { count: 6 },
            OutOfRange,
            "FORK_POINT_OUT_OF_RANGE [count=6 field=point] bad:point",
        ),
        (
            Refusal::IndexOutOfRange { count: 6 },
            OutOfRange,
            "INDEX_OUT_OF_RANGE [count=6] ",
        ),
        (Refusal::CursorExpired, OutOfRange, "CURSOR_EXPIRED [] "),
    ];
    for (refusal, code, expected) in table {
        let status = Status::from(service::Error::from(refusal));
        assert_eq!(line(&status), format!("{code:?} {expected}"));
    }
}

#[test]
fn nothing_of_the_inside_reaches_a_client() {
    let secret = "/var/lib/sessions.db: SELECT";
    for (error, expected) in [
        (
            StoreError::unavailable("commit", secret),
            "Unavailable STORE_UNAVAILABLE [] retry",
        ),
        (StoreError::corrupt(secret, secret), "DataLoss DATA_CORRUPT [] "),
    ] {
        let status = Status::from(service::Error::from(error));
        assert_eq!(line(&status), expected);
        assert!(!format!("{status:?}").contains("SELECT"));
        assert!(!String::from_utf8_lossy(status.details()).contains("SELECT"));
    }
}

#[test]
fn what_the_service_says_itself() {
    for (status, expected) in [
        (
            page_token_invalid(),
            "InvalidArgument PAGE_TOKEN_INVALID [field=page_token] bad:page_token",
        ),
        (shutting_down(), "Unavailable SHUTTING_DOWN [] retry"),
        (deadline_exceeded(), "DeadlineExceeded DEADLINE_EXCEEDED [] "),
        (
            queue_full("appends"),
            "ResourceExhausted QUEUE_FULL [queue=appends] quota:appends retry",
        ),
        (
            request_too_large(9),
            "ResourceExhausted QUOTA_EXCEEDED [limit=request_bytes_max max=9] quota:request_bytes_max",
        ),
        (unauthenticated(), "Unauthenticated UNAUTHENTICATED [] "),
        (
            permission_denied("ns"),
            "PermissionDenied PERMISSION_DENIED [resource=ns] ",
        ),
        (
            unimplemented("Attach"),
            "Unimplemented UNIMPLEMENTED [method=Attach] ",
        ),
        (internal(), "Internal INTERNAL [] "),
    ] {
        assert_eq!(line(&status), expected);
    }
}
