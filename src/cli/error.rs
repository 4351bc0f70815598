//! What can go wrong on the command line, how it is said, and what the program then exits with.

use std::error::Error as _;
use std::io;
use std::path::Path;

use super::term::{clean, line};
use crate::client::{ConnectError, Failure, Violation};
use crate::shutdown::Request;

/// The service, a rule, or the world said no.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line itself is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The service said no.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// There is no service.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An id that nothing has.
    #[error("no {noun} matches {text:?}")]
    Unmatched {
        /// What was looked for.
        noun: &'static str,
        /// What was typed.
        text: String,
    },
    /// A number that counts back further than there is anything.
    #[error("no {noun} -{back}: there are {count}")]
    TooFarBack {
        /// What was looked for.
        noun: &'static str,
        /// How far back.
        back: usize,
        /// How many there are.
        count: usize,
    },
    /// A prefix that several ids have.
    #[error("{text:?} could be several {noun}s")]
    Ambiguous {
        /// What was looked for.
        noun: &'static str,
        /// What was typed.
        text: String,
        /// Some of those it could be: id and title.
        candidates: Vec<(String, String)>,
    },
    /// What was typed or piped in cannot be taken.
    #[error("{0}")]
    Input(String),
    /// What came back cannot be used, or is not what it should be.
    #[error("{0}")]
    Answer(String),
    /// The command line is wrong in a way that only shows when it is read as a whole.
    #[error("{0}")]
    Usage(String),
    /// Something that is stored is not as it was written.
    #[error("{count} problems were found")]
    Damaged {
        /// How many.
        count: u64,
    },
    /// A configuration that cannot be run.
    #[error("this configuration cannot be served")]
    Unfit,
    /// A person was asked and said no.
    #[error("nothing was done")]
    Declined,
    /// A signal came first.
    #[error("it was stopped before it was done")]
    Stopped(Request),
    /// A stream could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server that was started here failed.
    #[error("{0:#}")]
    Server(#[from] anyhow::Error),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(status.into())
    }
}

impl Error {
    /// A file that was named and cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Self {
        Self::Input(format!("cannot read {}: {error}", file.display()))
    }

    /// What the program exits with; `None` when the reader of a pipe has left, which is no error of ours.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Usage(_) => Some(EXIT_USAGE),
            Self::Stopped(request) => Some(u8::try_from(request.exit_code()).unwrap_or(EXIT_REFUSED)),
            Self::Refused(_)
            | Self::Connect(_)
            | Self::Unmatched { .. }
            | Self::TooFarBack { .. }
            | Self::Ambiguous { .. }
            | Self::Input(_)
            | Self::Answer(_)
            | Self::Damaged { .. }
            | Self::Unfit
            | Self::Declined
            | Self::Io(_)
            | Self::Server(_) => Some(EXIT_REFUSED),
        }
    }

    /// The error for a reader: one line, then what helps.
    pub(crate) fn report(&self) -> String {
        let mut lines = vec![format!("error: {}", clean(&self.to_string()))];
        match self {
            Self::Refused(failure) => {
                // A violation that the message tells as a whole is not told again.
                let told = |one: &&Violation| failure.message.contains(&one.description);
                lines.extend(
                    failure
                        .violations
                        .iter()
                        .filter(|one| !told(one))
                        .map(|one| format!("  {}: {}", line(&one.field), line(&one.description))),
                );
                if let Some(after) = failure.retry_after {
                    lines.push(format!("  try again in {:.1} s", after.as_secs_f64()));
                }
            }
            Self::Connect(error) => {
                let mut cause = error.source();
                while let Some(deeper) = cause.and_then(|error| error.source()) {
                    cause = Some(deeper);
                }
                if let Some(cause) = cause {
                    lines[0].push_str(&format!(": {}", clean(&cause.to_string())));
                }
                lines.push(
                    "  `sessiond serve` starts a server; --addr or SESSIOND_ADDR says where one is".into(),
                );
            }
            Self::Ambiguous { candidates, .. } => {
                lines.extend(
                    candidates
                        .iter()
                        .map(|(id, title)| format!("  {}  {}", line(id), line(title))),
                );
            }
            Self::Unmatched { .. }
            | Self::TooFarBack { .. }
            | Self::Input(_)
            | Self::Answer(_)
            | Self::Usage(_)
            | Self::Damaged { .. }
            | Self::Unfit
            | Self::Declined
            | Self::Stopped(_)
            | Self::Io(_)
            | Self::Server(_) => {}
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_reason_and_fields() {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "FIELD_INVALID",
            "sessiond",
            [("field".to_owned(), "labels".to_owned())],
        );
        details.add_bad_request_violation("labels", "at most\x1b 64");
        let error = Error::from(Status::with_error_details(
            Code::InvalidArgument,
            "labels is wrong",
            details,
        ));
        assert_eq!(
            error.report(),
            "error: INVALID_ARGUMENT FIELD_INVALID: labels is wrong\n  labels: at most␛ 64"
        );
        assert_eq!(error.exit_code(), Some(EXIT_REFUSED));
    }

    #[test]
    fn an_ambiguous_prefix_lists_what_it_could_be() {
        let error = Error::Ambiguous {
            noun: "session",
            text: "01".into(),
            candidates: vec![("01a".into(), "One".into()), ("01b".into(), "Two".into())],
        };
        assert_eq!(
            error.report(),
            "error: \"01\" could be several sessions\n  01a  One\n  01b  Two"
        );
        assert_eq!(error.exit_code(), Some(EXIT_REFUSED));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert_eq!(Error::Io(io::ErrorKind::BrokenPipe.into()).exit_code(), None);
        assert_eq!(Error::Usage("no".into()).exit_code(), Some(EXIT_USAGE));
    }
}
