//! Statuses that tonic makes by itself, before a handler runs: given the code and details of ours.
//!
//! They are told by what they lack: every status of this service carries details. One without them, in the head of a
//! response, says that the request could not be read, is too large, or names no method.

use http::Response;
use tonic::{Code, Status};

use crate::domain::{Invalid, Limits};

use super::status;

/// Completes the statuses of responses as they leave; for `tower::util::MapResponseLayer`, around the routes.
pub fn completed<B: Default>(
    limits: &Limits,
) -> impl Fn(Response<B>) -> Response<B> + Clone + Send + Sync + 'static {
    let request_bytes_max = limits.request_bytes_max;
    move |response| {
        let Some(given) = Status::from_header_map(response.headers()) else {
            return response;
        };
        match ours(&given, request_bytes_max) {
            Some(status) => status.into_http(),
            None => response,
        }
    }
}

fn ours(given: &Status, request_bytes_max: usize) -> Option<Status> {
    if !given.details().is_empty() {
        return None;
    }
    match given.code() {
        // Bytes that are no request of this method, or that end too early: the caller's doing.
        Code::Internal => Some(Invalid::new("request", "the bytes are not a request of this method").into()),
        Code::OutOfRange | Code::ResourceExhausted => Some(status::request_too_large(request_bytes_max)),
        Code::Unimplemented => Some(status::unimplemented("this method or compression")),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn complete(status: Status) -> Status {
        let limits = Limits {
            request_bytes_max: 9,
            ..Limits::default()
        };
        let response = completed::<()>(&limits)(status.into_http());
        Status::from_header_map(response.headers()).expect("a status")
    }

    #[test]
    fn what_tonic_says_is_completed() {
        for (given, code, reason) in [
            (Code::Internal, Code::InvalidArgument, "FIELD_INVALID"),
            (Code::OutOfRange, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            (Code::ResourceExhausted, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            (Code::Unimplemented, Code::Unimplemented, "UNIMPLEMENTED"),
        ] {
            let status = complete(Status::new(given, "anything"));
            assert_eq!(status.code(), code);
            assert_eq!(status.get_details_error_info().expect("details").reason, reason);
        }
    }

    #[test]
    fn what_has_details_stays() {
        let ours = status::internal();
        assert_eq!(complete(ours.clone()).details(), ours.details());
        assert_eq!(
            complete(Status::not_found("a health check's")).code(),
            Code::NotFound
        );
    }
}
