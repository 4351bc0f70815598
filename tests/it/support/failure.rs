//! What an error says to a program, and that it says it as the contract has it.

use std::collections::HashMap;
use std::fmt::Debug;

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

/// An error taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Its status code.
    pub(crate) code: Code,
    /// The reason of its ErrorInfo.
    pub(crate) reason: String,
    /// The metadata of its ErrorInfo.
    pub(crate) metadata: HashMap<String, String>,
    /// The fields that its BadRequest names.
    pub(crate) fields: Vec<String>,
    /// Its text.
    pub(crate) message: String,
}

impl Failure {
    /// Takes `status` apart and checks what holds for every error: one ErrorInfo of the right domain, details that fit
    /// the reason, nothing of the inside in the text.
    #[track_caller]
    pub(crate) fn of(status: &Status) -> Self {
        let details = status.get_error_details_vec();
        let mut infos = details.iter().filter_map(|detail| match detail {
            ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        });
        let Some(info) = infos.next() else {
            panic!("no ErrorInfo: {status:?}")
        };
        assert!(infos.next().is_none(), "more than one ErrorInfo: {status:?}");
        assert_eq!(info.domain, "sessiond", "{status:?}");
        let fields: Vec<_> = details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::BadRequest(bad) => {
                    Some(bad.field_violations.iter().map(|field| field.field.clone()))
                }
                _ => None,
            })
            .flatten()
            .collect();
        let has_retry = details
            .iter()
            .any(|detail| matches!(detail, ErrorDetail::RetryInfo(_)));
        match info.reason.as_str() {
            "FIELD_INVALID" => assert!(!fields.is_empty(), "BadRequest names no field: {status:?}"),
            "LIMIT_EXCEEDED" => assert!(!info.metadata.is_empty(), "the limit is not named: {status:?}"),
            "SHUTTING_DOWN" | "QUEUE_FULL" => assert!(has_retry, "no RetryInfo: {status:?}"),
            _ => {}
        }
        let said = format!("{} {:?}", status.message(), info.metadata).to_lowercase();
        for inside in [
            "panicked",
            "sqlite",
            ".rs:",
            "/tmp/",
            "rusqlite",
            "select ",
            "insert into",
        ] {
            assert!(!said.contains(inside), "the inside shows ({inside}): {status:?}");
        }
        assert!(!status.message().is_empty(), "no text: {status:?}");
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            metadata: info.metadata.clone(),
            fields,
            message: status.message().to_owned(),
        }
    }

    /// Whether any of the metadata is `value`.
    pub(crate) fn names(&self, value: &str) -> bool {
        self.metadata.values().any(|named| named == value)
    }
}

/// The error that a call must have ended with.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T, Status>, code: Code, reason: &str) -> Failure {
    match result {
        Ok(answer) => panic!("{code:?} {reason} expected, answered {answer:?}"),
        Err(status) => {
            assert_eq!(status.code(), code, "{reason} expected: {status:?}");
            let failure = Failure::of(&status);
            assert_eq!(failure.reason, reason, "{status:?}");
            failure
        }
    }
}

/// INVALID_ARGUMENT, FIELD_INVALID, and the end of the path of the field that it names; of a list it may name an
/// element.
#[track_caller]
pub(crate) fn invalid<T: Debug>(result: Result<T, Status>, field: &str) {
    let failure = refused(result, Code::InvalidArgument, "FIELD_INVALID");
    let of_list = |named: &str| named.split('[').next().is_some_and(|list| list.ends_with(field));
    assert!(
        failure
            .fields
            .iter()
            .any(|named| named.ends_with(field) || of_list(named)),
        "BadRequest names {:?}, not {field}",
        failure.fields
    );
}
