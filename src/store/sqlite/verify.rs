//! Looks whether what is stored is as it was written, as far as digests, folds, counts and the rows against each other
//! tell, beside a running server, and changes nothing. A title, a label or a time has no digest: there a row that can be
//! read is all that is asked for.
//!
//! Each walk goes through a table in read transactions of bounded size, so that the write-ahead log can be emptied
//! between them; what a row is held against is read in the row's own transaction, so a server that writes meanwhile is
//! no damage. The check of a table's structure alone is one statement. What is wrong is named by ids, never shown.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use rusqlite::Connection;

use super::open::{self, OpenError};
use crate::domain::Kind;
use crate::domain::entry::Payload;
use crate::store::Error;

mod entries;
mod index;
mod journals;
mod logs;
mod notes;
mod records;
mod rows;
mod sessions;
mod structure;

/// Problems that are named; the rest is counted.
const PROBLEMS_MAX: usize = 1_000;

/// Rows of one read transaction.
const ROWS_MAX: usize = 500;

/// Bytes of bodies of one read transaction, unless one row alone has more.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads the facts of a stored body; `None`: it is no body of that kind. The store itself never opens bodies.
pub type Opener<'a> = &'a dyn Fn(Kind, &Bytes) -> Option<Payload>;

/// Goes through one kind of rows. What it cannot read is a problem, and it goes on.
type Walk = fn(&mut Check<'_>);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much was looked at, by kind.
    pub checked: BTreeMap<&'static str, u64>,
    /// What is wrong, the first of it.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problem_count: u64,
    /// Rows that nobody names and nothing will remove, by kind: lost room, no damage.
    pub garbage: BTreeMap<&'static str, u64>,
    /// What else is to be known, and is no damage: of what is derived, the search index.
    pub notes: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, by ids.
    pub row: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Checks the database in `dir`; without `open`, bodies are held against their digests alone. Blocks; what cannot be
/// read is a problem in the report.
pub fn verify(dir: &Path, open: Option<Opener<'_>>) -> Result<Report, OpenError> {
    let conn = open::beside(dir)?;
    let mut check = Check {
        conn: &conn,
        open,
        report: Report::default(),
    };
    // One more table needs one more line here, and its structure is looked at without.
    let walks: [Walk; 7] = [
        structure::check,
        sessions::check,
        logs::check,
        entries::check,
        journals::check,
        records::check,
        notes::check,
    ];
    for walk in walks {
        walk(&mut check);
    }
    index::check(&mut check, dir);
    Ok(check.report)
}

/// A check while it runs.
struct Check<'a> {
    conn: &'a Connection,
    open: Option<Opener<'a>>,
    report: Report,
}

impl Check<'_> {
    /// So many more rows of a kind were looked at.
    fn count(&mut self, kind: &'static str, rows: u64) {
        *self.report.checked.entry(kind).or_default() += rows;
    }

    /// A row of a kind that nobody names.
    fn garbage(&mut self, kind: &'static str) {
        *self.report.garbage.entry(kind).or_default() += 1;
    }

    /// Takes one part of a walk; what keeps it from going on is a problem.
    fn part(&mut self, what: &str, part: impl FnOnce(&mut Self) -> Result<(), Error>) {
        if let Err(error) = part(self) {
            self.failed(what, error);
        }
    }

    /// Something is wrong.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "errors and literals alike come by value"
    )]
    fn problem(&mut self, row: impl Into<String>, reason: impl ToString) {
        self.report.problem_count += 1;
        if self.report.problems.len() < PROBLEMS_MAX {
            let (row, reason) = (row.into(), reason.to_string());
            self.report.problems.push(Problem { row, reason });
        }
    }

    /// A row, or a walk over rows, could not be read.
    fn failed(&mut self, what: &str, error: Error) {
        match error {
            Error::Corrupt { row, reason } => self.problem(row, reason),
            Error::Unavailable { operation, source } => {
                self.problem(what, format_args!("{operation} failed: {source}"));
            }
            Error::Refused(refusal) => self.problem(what, refusal),
        }
    }

    /// Takes steps, each in a read transaction of its own, until one says that it was the last.
    fn steps<K>(
        &mut self,
        mut key: K,
        mut step: impl FnMut(&mut Self, K) -> Result<Option<K>, Error>,
    ) -> Result<(), Error> {
        let failed = |operation| super::failed(operation);
        loop {
            self.conn
                .execute_batch("BEGIN")
                .map_err(failed("beginning to read"))?;
            let next = step(self, key);
            if !self.conn.is_autocommit() {
                self.conn
                    .execute_batch("COMMIT")
                    .map_err(failed("ending to read"))?;
            }
            match next? {
                Some(next) => key = next,
                None => return Ok(()),
            }
        }
    }
}
