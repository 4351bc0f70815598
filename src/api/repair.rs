//! Statuses that no handler made but the transport, which knows no ErrorInfo.
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

use http::HeaderMap;
use tonic::{Code, Status};

use super::status;
use crate::domain::{Invalid, Limits};

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
        Code::OutOfRange | Code::ResourceExhausted => status::request_too_large(limits.request_bytes_max),
        Code::Internal => Invalid::new("request", "is no encoded message of its type").into(),
        Code::Unimplemented => status::unimplemented("this method, or its compression,"),
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

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

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
            assert_eq!(info.domain, status::DOMAIN);
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
        let ours = status::shutting_down();
        let status = repaired(&ours);
        assert_eq!((status.code(), status.details()), (ours.code(), ours.details()));
        assert!(status.get_details_retry_info().is_some());
        assert_eq!(
            repaired(&Status::not_found("service not registered")).details(),
            b""
        );
    }
}
