//! The one table from what went wrong to the status that a client gets.
//!
//! Every status carries exactly one ErrorInfo of the domain `sessiond`, whose reason is a name of
//! [`ErrorReason`] without its prefix and whose metadata holds what the message names. No path, SQL or panic text is
//! in any of them: what a client cannot act on is logged here, once, by ids, and only named in the status.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::pb::ErrorReason;
use crate::service::{self, StoreError};

mod engine;
mod refusal;

pub use engine::{elsewhere, of_ending, of_failure};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "sessiond";

/// When a client may try again what failed because the service could not do it now.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Causes of an error that are logged.
const CAUSES_MAX: usize = 8;

/// A status in the making: its code, reason, message and metadata, and details that fit.
struct Draft {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Draft {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        let (message, metadata, details) = (message.into(), HashMap::new(), ErrorDetails::new());
        Self {
            code,
            reason,
            message,
            metadata,
            details,
        }
    }

    fn with(mut self, key: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// A field of the request is to blame.
    fn field(mut self, field: &str, rule: &str) -> Self {
        self.details.add_bad_request_violation(field, rule);
        self.with("field", field)
    }

    /// A resource is missing or taken.
    fn resource(mut self, kind: &str, name: &str) -> Self {
        self.details
            .set_resource_info(format!("sessiond.v1.{kind}"), name, "", self.message.as_str());
        self
    }

    /// The state of `subject` is in the way.
    fn precondition(mut self, subject: &impl ToString) -> Self {
        let message = self.message.clone();
        self.details
            .add_precondition_failure_violation(name(self.reason), subject.to_string(), message);
        self
    }

    fn quota(mut self, subject: &str) -> Self {
        let message = self.message.clone();
        self.details.add_quota_failure_violation(subject, message);
        self
    }

    fn retry(mut self) -> Self {
        self.details.set_retry_info(Some(RETRY_AFTER));
        self
    }

    fn finish(mut self) -> Status {
        self.details
            .set_error_info(name(self.reason), DOMAIN, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

/// The reason as ErrorInfo names it.
fn name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl From<service::Error> for Status {
    fn from(error: service::Error) -> Self {
        match error {
            service::Error::Engine(error) => error.into(),
            // Whoever can pass the call on does so and never asks for a status.
            service::Error::Elsewhere(replica) => engine::elsewhere(replica.id.as_str()),
            service::Error::Store(StoreError::Refused(refusal)) => refusal.into(),
            service::Error::Store(StoreError::Unavailable { operation, source }) => {
                tracing::error!(operation, error = chain(&*source), "the store does not answer");
                let message = "storage does not answer; it is not known whether the call took effect";
                Draft::new(Code::Unavailable, ErrorReason::StoreUnavailable, message)
                    .retry()
                    .finish()
            }
            service::Error::Store(StoreError::Corrupt { row, reason }) => {
                tracing::error!(row, reason, "stored data is damaged");
                Draft::new(Code::DataLoss, ErrorReason::DataCorrupt, "stored data is damaged").finish()
            }
        }
    }
}

/// An error and what caused it, for the log.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source()).take(CAUSES_MAX);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The page token is not one of this list, or belongs to other filters.
pub fn page_token_invalid() -> Status {
    let rule = "is not a token of this list with these filters";
    let message = format!("page_token: {rule}");
    Draft::new(Code::InvalidArgument, ErrorReason::PageTokenInvalid, message)
        .field("page_token", rule)
        .finish()
}

/// The service is about to stop; ends streams too.
pub fn shutting_down() -> Status {
    Draft::new(
        Code::Unavailable,
        ErrorReason::ShuttingDown,
        "the service is about to stop",
    )
    .retry()
    .finish()
}

/// The deadline passed before the call was done.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed before the call was done";
    Draft::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).finish()
}

/// A queue named `queue` is full.
pub fn queue_full(queue: &str) -> Status {
    let draft = Draft::new(
        Code::ResourceExhausted,
        ErrorReason::QueueFull,
        format!("{queue} is full"),
    );
    draft.with("queue", queue).quota(queue).retry().finish()
}

/// The request is larger than `bytes_max`.
pub fn request_too_large(bytes_max: usize) -> Status {
    let message = format!("a request has at most {bytes_max} bytes (request_bytes_max)");
    Draft::new(Code::ResourceExhausted, ErrorReason::QuotaExceeded, message)
        .with("limit", "request_bytes_max")
        .with("max", &bytes_max)
        .quota("request_bytes_max")
        .finish()
}

/// Credentials are missing or not valid.
pub fn unauthenticated() -> Status {
    let message = "credentials are missing or not valid";
    Draft::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message).finish()
}

/// The caller has no right to `resource`.
pub fn permission_denied(resource: &str) -> Status {
    let message = format!("no right to {resource}");
    Draft::new(Code::PermissionDenied, ErrorReason::PermissionDenied, message)
        .with("resource", resource)
        .finish()
}

/// `what` is not in this service as it is built or configured.
pub fn unimplemented(what: &str) -> Status {
    let message = format!("{what} is not implemented");
    Draft::new(Code::Unimplemented, ErrorReason::Unimplemented, message)
        .with("method", what)
        .finish()
}

/// The format `name` is not read or written by this version.
pub fn format_unimplemented(name: &str) -> Status {
    let message = format!("the format {name} is not implemented");
    Draft::new(Code::Unimplemented, ErrorReason::Unimplemented, message)
        .with("format", name)
        .finish()
}

/// A fault of the service itself. Whoever makes this status has logged the fault.
pub fn internal() -> Status {
    Draft::new(
        Code::Internal,
        ErrorReason::Internal,
        "a fault of the service itself",
    )
    .finish()
}

#[cfg(test)]
mod tests;
