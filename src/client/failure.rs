//! A failed call, taken apart: its code, its reason, and what is wrong with the request.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call failed, as the service says it: the code, the reason of its ErrorInfo, and the details beside it.
///
/// A status without an ErrorInfo did not come from the service itself, but from the transport or something between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status code.
    pub code: Code,
    /// The reason: a name of `ErrorReason` without its prefix.
    pub reason: Option<String>,
    /// What went wrong, for a reader.
    pub message: String,
    /// What the message names.
    pub metadata: BTreeMap<String, String>,
    /// Which fields are wrong.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// A field that has a value which it cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Failure {
    /// Whether the call failed for this reason.
    pub fn is(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let bad = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()),
            message: message(&status),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            violations: bad
                .iter()
                .map(|one| Violation {
                    field: one.field.clone(),
                    description: one.description.clone(),
                })
                .collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// What the status says; one that the transport made up says little, so that its cause is named too.
fn message(status: &Status) -> String {
    let said = match status.message() {
        "" => status.code().description(),
        said => said,
    };
    let causes = std::iter::successors(status.source(), |&cause| cause.source());
    match causes.last() {
        Some(cause) if cause.to_string() != said => format!("{said}: {cause}"),
        Some(_) | None => said.to_owned(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(code_name(self.code))?;
        // The reason of some codes is the code's own name.
        match self.reason.as_deref() {
            Some(reason) if reason != code_name(self.code) => write!(f, " {reason}")?,
            Some(_) | None => {}
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Failure {}

/// A status code's name as gRPC spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, message: &str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "sessiond", [("thread_id".to_owned(), "t1".to_owned())]);
        details.add_bad_request_violation("session_id", "may not be empty");
        Status::with_error_details(code, message, details)
    }

    #[test]
    fn a_failure_names_code_reason_and_fields() {
        let failure = Failure::from(status(
            Code::FailedPrecondition,
            "TURN_IN_PROGRESS",
            "turn `u` is open",
        ));
        assert_eq!(
            failure.to_string(),
            "FAILED_PRECONDITION TURN_IN_PROGRESS: turn `u` is open"
        );
        assert!(failure.is("TURN_IN_PROGRESS"));
        assert_eq!(failure.metadata["thread_id"], "t1");
        assert_eq!(failure.violations[0].field, "session_id");
    }

    #[test]
    fn a_reason_that_repeats_the_code_is_said_once() {
        let failure = Failure::from(status(Code::AlreadyExists, "ALREADY_EXISTS", "taken"));
        assert_eq!(failure.to_string(), "ALREADY_EXISTS: taken");
    }

    #[test]
    fn a_status_of_the_transport_has_no_reason() {
        let failure = Failure::from(Status::new(Code::Unavailable, ""));
        assert_eq!(failure.reason, None);
        assert!(failure.to_string().starts_with("UNAVAILABLE: "));
    }
}
