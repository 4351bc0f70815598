//! Statuses that no handler made: those of the transport, which know no ErrorInfo, and those of calls that were cut off.
//!
//! A status without details was made by tonic, for everything of ours carries an ErrorInfo. What tonic 0.14 makes:
//!
//! | case | tonic says | clients get |
//! |---|---|---|
//! | request above the limit | OUT_OF_RANGE | RESOURCE_EXHAUSTED, QUOTA_EXCEEDED, QuotaFailure |
//! | ... once decompressed | RESOURCE_EXHAUSTED | the same |
//! | request that cannot be decoded, missing or cut short | INTERNAL | INVALID_ARGUMENT, FIELD_INVALID |
//! | unknown service, method or compression | UNIMPLEMENTED | UNIMPLEMENTED, with the reason |
//!
//! It is told by the code alone, never by the message. Statuses of the health service pass as they are.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::Limits;
use crate::pb::ErrorReason;

/// The `domain` of every ErrorInfo.
const DOMAIN: &str = "sessiond";

/// When a client may try again that a shutdown has sent away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const DETAILS_HEADER: &str = "grpc-status-details-bin";

/// Gives the status in `headers` (or trailers) its ErrorInfo and right code, if tonic made it.
pub(super) fn headers(headers: &mut HeaderMap, limits: &Limits) {
    let Some(code) = headers.get("grpc-status") else {
        return;
    };
    let code = Code::from_bytes(code.as_bytes());
    if code == Code::Ok || headers.contains_key(DETAILS_HEADER) {
        return;
    }
    let status = match code {
        Code::OutOfRange | Code::ResourceExhausted => oversized(limits),
        Code::Internal => undecodable(),
        Code::Unimplemented => unimplemented(),
        _ => return,
    };
    write(&status, headers);
}

/// Writes `status` over the one that may be in `headers`.
pub(super) fn write(status: &Status, headers: &mut HeaderMap) {
    headers.remove("grpc-message");
    headers.remove(DETAILS_HEADER);
    // Only a message that is no header value could fail; ours are constants, and percent-encoded.
    let _ = status.add_header(headers);
}

/// A handler panicked: the log has the place, the client learns nothing of it.
pub(super) fn panicked() -> Status {
    status(
        Code::Internal,
        ErrorReason::Internal,
        "the service failed; its log tells more",
        ErrorDetails::new(),
    )
}

/// The deadline passed.
pub(super) fn late() -> Status {
    let message = "the deadline passed before the call was done";
    status(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        message,
        ErrorDetails::new(),
    )
}

/// The server is about to stop.
pub(super) fn shutting_down() -> Status {
    let retry = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    status(
        Code::Unavailable,
        ErrorReason::ShuttingDown,
        "the service is about to stop",
        retry,
    )
}

fn oversized(limits: &Limits) -> Status {
    let name = "request_bytes_max";
    let max = limits.request_bytes_max.to_string();
    let message = format!("the request is larger than {max} bytes ({name})");
    let mut details = ErrorDetails::with_quota_failure_violation(name, message.as_str());
    let metadata = HashMap::from([("limit".to_owned(), name.to_owned()), ("max".to_owned(), max)]);
    details.set_error_info(reason(ErrorReason::QuotaExceeded), DOMAIN, metadata);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

fn undecodable() -> Status {
    let rule = "the request is not an encoded message of its type";
    let violation = ErrorDetails::with_bad_request_violation("", rule);
    status(Code::InvalidArgument, ErrorReason::FieldInvalid, rule, violation)
}

fn unimplemented() -> Status {
    let message = "there is no such method, or not in this encoding";
    status(
        Code::Unimplemented,
        ErrorReason::Unimplemented,
        message,
        ErrorDetails::new(),
    )
}

fn status(code: Code, why: ErrorReason, message: &'static str, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason(why), DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn reason(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(status: &Status) -> Status {
        let mut map = HeaderMap::new();
        status.add_header(&mut map).expect("headers");
        headers(&mut map, &Limits::default());
        Status::from_header_map(&map).expect("a status")
    }

    #[test]
    fn gives_what_tonic_made_a_reason() {
        for (made, code, reason) in [
            (Code::OutOfRange, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            (Code::ResourceExhausted, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            (Code::Internal, Code::InvalidArgument, "FIELD_INVALID"),
            (Code::Unimplemented, Code::Unimplemented, "UNIMPLEMENTED"),
        ] {
            let status = repaired(&Status::new(made, "what tonic says"));
            let info = status.get_details_error_info().expect("an ErrorInfo");
            assert_eq!((status.code(), info.reason.as_str()), (code, reason));
            assert_eq!(info.domain, DOMAIN);
            assert!(!status.message().contains("tonic"));
        }
        let status = repaired(&Status::out_of_range(""));
        assert_eq!(
            status
                .get_details_quota_failure()
                .expect("a QuotaFailure")
                .violations
                .len(),
            1
        );
    }

    #[test]
    fn leaves_the_rest_alone() {
        let ours = shutting_down();
        let status = repaired(&ours);
        assert_eq!((status.code(), status.details()), (ours.code(), ours.details()));
        assert!(status.get_details_retry_info().is_some());
        assert_eq!(
            repaired(&Status::not_found("service not registered")).details(),
            b""
        );
    }
}
