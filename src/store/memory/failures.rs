//! A memory that fails as a test wants it: a commit that is picked is not taken, or taken and not answered.

use std::sync::{Mutex, PoisonError};

use crate::domain::Command;
use crate::store::Error;

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing is written, and that is said.
    NotTaken,
    /// It is written, and nobody hears of it.
    NotAnswered,
    /// Nothing is written, and nothing is said.
    Hangs,
}

/// Commits that are to fail.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Vec<Failure>>);

#[derive(Debug)]
struct Failure {
    of: fn(&Command) -> bool,
    how: How,
    times: usize,
}

impl Failures {
    /// Lets the next so many commits of a kind fail.
    pub(crate) fn next(&self, times: usize, how: How, of: fn(&Command) -> bool) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(Failure { of, how, times });
    }

    /// No commit fails any more.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How this commit fails, if it does.
    pub(super) fn of(&self, command: &Command) -> Option<How> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failures = failures.iter_mut();
        let failure = failures.find(|failure| failure.times > 0 && (failure.of)(command))?;
        failure.times -= 1;
        Some(failure.how)
    }
}

/// What is said of a commit that failed.
pub(super) fn failed() -> Error {
    Error::unavailable("a commit", "a test wants it so")
}
