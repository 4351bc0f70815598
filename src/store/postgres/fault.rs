//! What went wrong with the database, or with a row of it.

use std::error::Error as _;
use std::fmt;

use tokio_postgres::error::SqlState;

use crate::store::Error;
use crate::store::record::Damage;

/// Why a read or a write did not work.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database did not take or give it.
    Database {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        said: Said,
    },
    /// A row is damaged.
    Damaged {
        /// Which, by its ids alone.
        row: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a database says, without what it quotes: details and hints may hold what a client sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) struct Said {
    code: Option<SqlState>,
    text: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({})", self.text, code.code()),
            None => f.write_str(&self.text),
        }
    }
}

impl Said {
    /// A failure that the database has no word for.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self {
            code: None,
            text: text.into(),
        }
    }

    /// Whether it has this code.
    pub(super) fn is(&self, code: &SqlState) -> bool {
        self.code.as_ref() == Some(code)
    }

    /// Whether it says that the connection is good for nothing more.
    pub(super) fn is_of_connection(&self) -> bool {
        let of_connection = [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::INVALID_SQL_STATEMENT_NAME,
            SqlState::FEATURE_NOT_SUPPORTED,
        ];
        // Of class 57 those that a server's operator brings about; a statement that was cancelled is not.
        let is_ending = |code: &SqlState| code.code().starts_with("57P");
        of_connection.iter().any(|code| self.is(code)) || self.code.as_ref().is_some_and(is_ending)
    }
}

impl From<tokio_postgres::Error> for Said {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self {
                code: Some(error.code().clone()),
                text: error.message().to_owned(),
            };
        }
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self { code: None, text }
    }
}

impl Fault {
    /// A row that is not as it was written.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is what a reader has failed with"
    )]
    pub(super) fn damaged(row: impl Into<String>, damage: Damage) -> Self {
        Self::Damaged {
            row: row.into(),
            reason: damage.to_string(),
        }
    }

    /// A write that met another row than it was decided on.
    pub(super) fn not_as_read(operation: &'static str) -> Self {
        Self::Database {
            operation,
            said: Said::of("a row is not as it was read"),
        }
    }

    /// Whether the same may work when it is tried again at once.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Database { said, .. } => {
                said.is(&SqlState::T_R_DEADLOCK_DETECTED) || said.is(&SqlState::T_R_SERIALIZATION_FAILURE)
            }
            Self::Damaged { .. } => false,
        }
    }

    /// Whether the connection is good for nothing more, though it may still be open: the server has become one that only
    /// reads, is going away, or does not know what was prepared.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Database { said, .. } => said.is_of_connection(),
            Self::Damaged { .. } => false,
        }
    }

    /// Whether a statement took longer than it may.
    pub(super) fn is_out_of_time(&self) -> bool {
        match self {
            Self::Database { said, .. } => said.is(&SqlState::QUERY_CANCELED),
            Self::Damaged { .. } => false,
        }
    }

    /// Whether it came at this operation.
    pub(super) fn is_at(&self, tried: &str) -> bool {
        match self {
            Self::Database { operation, .. } => *operation == tried,
            Self::Damaged { .. } => false,
        }
    }

    /// Whether a lock was not to be had in time.
    pub(super) fn is_locked_out(&self) -> bool {
        match self {
            Self::Database { said, .. } => said.is(&SqlState::LOCK_NOT_AVAILABLE),
            Self::Damaged { .. } => false,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damaged { row, reason } => Self::Corrupt { row, reason },
            Fault::Database { operation, said } => {
                let damaged = said.is(&SqlState::DATA_CORRUPTED) || said.is(&SqlState::INDEX_CORRUPTED);
                if damaged {
                    return Self::corrupt(format!("the database, {operation},"), said);
                }
                Self::unavailable(operation, said)
            }
        }
    }
}

/// Turns what a driver says at `operation` into a fault.
pub(super) fn failed(operation: &'static str) -> impl Fn(tokio_postgres::Error) -> Fault {
    move |error| Fault::Database {
        operation,
        said: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_a_server_that_only_reads_is_good_for_nothing() {
        let is_of_connection = |code: &str| {
            let said = Said {
                code: Some(SqlState::from_code(code)),
                text: String::new(),
            };
            said.is_of_connection()
        };
        for code in ["25006", "26000", "0A000", "57P01", "57P03", "57P05"] {
            assert!(is_of_connection(code), "{code}");
        }
        for code in ["57014", "40001", "55P03", "23505"] {
            assert!(!is_of_connection(code), "{code}");
        }
    }
}
