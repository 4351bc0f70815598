//! What engines did not do: who asked gets a status, whoever watches a resume a failure, and an attachment an end.

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::pb;

use super::{Draft, deadline_exceeded, shutting_down};
use crate::api::convert::engine::status;
use crate::domain::resume::Failure;
use crate::engine::{ClaimError, Declined, Ending, Error};
use crate::pb::ErrorReason as Why;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Lost => lost(None).retry().finish(),
            Error::QueueFull => super::queue_full("engine"),
            Error::TimedOut => deadline_exceeded(),
            Error::Declined(why) => declined(&why),
            Error::TooLarge { max } => {
                let message = format!("the engine's answer has more than {max} bytes (snapshot_bytes_max)");
                Draft::new(Code::ResourceExhausted, Why::QuotaExceeded, message)
                    .with("limit", "snapshot_bytes_max")
                    .with("max", &max)
                    .quota("snapshot_bytes_max")
                    .finish()
            }
            Error::Fault { rule } => faulty(&rule).finish(),
        }
    }
}

fn lost(engine: Option<&str>) -> Draft {
    let draft = Draft::new(
        Code::Unavailable,
        Why::EngineLost,
        "the engine left before it was done",
    );
    match engine {
        Some(engine) => draft.with("engine_id", engine),
        None => draft,
    }
}

/// The engine is attached to another replica, which cannot be asked.
pub fn elsewhere(replica: &str) -> Status {
    let message = "the engine is attached to another replica, which cannot be asked now";
    Draft::new(Code::Unavailable, Why::EngineLost, message)
        .with("replica", replica)
        .retry()
        .finish()
}

/// An engine that breaks the rules is no fault of whoever asked, and will most likely do so again.
fn faulty(rule: &str) -> Draft {
    Draft::new(
        Code::Unavailable,
        Why::EngineFault,
        format!("the engine broke a rule of its stream: {rule}"),
    )
    .with("rule", rule)
}

/// The engine's own code and message, under the reason that says whose they are.
fn declined(why: &Declined) -> Status {
    let given = status(&why.status);
    let code = match Code::from(given.code) {
        Code::Ok => Code::Unknown,
        code => code,
    };
    Draft::new(code, Why::EngineDeclined, given.message).finish()
}

/// Why an attachment ended, for its engine; `None`: as it wanted.
pub fn of_ending(ending: Ending) -> Option<Status> {
    Some(match ending {
        Ending::Goodbye | Ending::Left => return None,
        Ending::Silent => {
            let message = "three heartbeats were missed";
            Draft::new(Code::DeadlineExceeded, Why::EngineLost, message)
                .retry()
                .finish()
        }
        Ending::Superseded => {
            let message = "the engine attached again, and its older attachment is over";
            Draft::new(Code::Aborted, Why::StaleEpoch, message).finish()
        }
        Ending::Forgotten => {
            let message = "the attachment is over in the store; attach again";
            Draft::new(Code::Unavailable, Why::EngineLost, message)
                .retry()
                .finish()
        }
        Ending::Fenced => {
            let message = "this replica of the service has lost its lease; attach again";
            Draft::new(Code::Unavailable, Why::EngineLost, message)
                .retry()
                .finish()
        }
        Ending::Invalid(invalid) => invalid.into(),
        Ending::Claim(ClaimError::Refused(refusal)) => refusal.into(),
        Ending::Claim(ClaimError::Unavailable) => {
            let message = "storage does not answer; attach again";
            Draft::new(Code::Unavailable, Why::StoreUnavailable, message)
                .retry()
                .finish()
        }
        Ending::ShuttingDown => shutting_down(),
    })
}

/// Why a resume failed, as its progress shows it.
pub fn of_failure(failure: &Failure) -> pb::Status {
    let status = match failure {
        Failure::EngineLost { engine } => lost(engine.as_ref().map(|engine| engine.as_str())).finish(),
        Failure::Declined(bytes) => declined(&Declined {
            status: bytes.clone(),
        }),
        Failure::EngineFault { rule } => faulty(rule).finish(),
        Failure::SessionDeleted => Draft::new(
            Code::FailedPrecondition,
            Why::SessionDeleted,
            "the session was deleted",
        )
        .finish(),
        Failure::Moved => Draft::new(
            Code::Aborted,
            Why::RevisionMismatch,
            "session or thread changed each time it was tried",
        )
        .finish(),
        Failure::Damaged => Draft::new(Code::DataLoss, Why::DataCorrupt, "stored data is damaged").finish(),
    };
    // A status that was made here carries itself in this form.
    pb::Status::decode(status.details()).unwrap_or_default()
}
