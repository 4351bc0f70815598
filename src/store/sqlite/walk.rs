//! Lists, a page at a time.
//!
//! A list walks the index that has its order, from where the last page ended. What SQL can tell of a
//! filter it tells in a column: a row that is turned away is not decoded, but counted. Filters that name
//! few rows have indexes of their own: those rows are looked up and sorted.

use rusqlite::types::Value;
use rusqlite::{Connection, Rows, params_from_iter};

use super::columns::Columns;
use super::{Room, failed};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::query::{Bound, Page};
use crate::store::Error;

mod resumes;
mod sessions;
mod threads;

pub(super) use resumes::resumes;
pub(super) use sessions::sessions;
#[cfg(test)]
pub(super) use sessions::statement as sessions_statement;
pub(super) use threads::threads;

/// A statement that is put together, with the values it is run with.
#[derive(Debug, Default)]
struct Sql {
    values: Vec<Value>,
}

/// Rows with a filter's index of their own.
#[derive(Debug)]
struct Selector {
    index: &'static str,
    condition: String,
}

/// What is done with the rows of a walk.
struct List<Read, Key, Size> {
    operation: &'static str,
    /// The column that says whether the filters SQL knows let the row through.
    hit: usize,
    bound: Bound,
    /// Decodes a row; `None`: a filter turns it away.
    read: Read,
    /// Where a row stands, whatever else is wrong with it.
    key: Key,
    /// The bytes that a page counts.
    size: Size,
}

impl Sql {
    /// The place of a value in the statement.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Whether so few rows of a table fit `selector` that they may be sorted. Values bound up to now are
    /// all that its condition has.
    fn are_few(&self, conn: &Connection, table: &str, selector: &Selector) -> Result<bool, Error> {
        let Selector { index, condition } = selector;
        let sql = format!(
            "SELECT count(*) <= {SCAN_ROWS_MAX} FROM \
             (SELECT 1 FROM {table} INDEXED BY {index} WHERE {condition} LIMIT {SCAN_ROWS_MAX} + 1)"
        );
        conn.prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row(params_from_iter(&self.values), |row| row.get(0)))
            .map_err(failed("looking how many rows a filter names"))
    }
}

impl<Read, Key, Size> List<Read, Key, Size> {
    /// Fills a page. It ends when it is full and there is more, or when too many rows were looked at.
    fn page<T, K: Clone>(&self, rows: &mut Rows<'_>) -> Result<Page<T, K>, Error>
    where
        Read: Fn(Columns<'_>) -> Result<Option<T>, Error>,
        Key: Fn(Columns<'_>) -> Option<K>,
        Size: Fn(&T) -> usize,
    {
        let mut room = Room::of(self.bound);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let (mut looked_at, mut at, mut taken_at) = (0, None, None);
        while let Some(row) = rows.next().map_err(failed(self.operation))? {
            let columns = Columns(row);
            if looked_at == SCAN_ROWS_MAX {
                page.next = at;
                break;
            }
            looked_at += 1;
            at = (self.key)(columns).or(at);
            if columns.integer(self.hit) == Ok(0) {
                continue;
            }
            let row = match (self.read)(columns) {
                Ok(Some(row)) => row,
                Ok(None) => continue,
                Err(Error::Corrupt { row, reason }) => {
                    tracing::error!(row, reason, "a damaged row is left out of a list");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !room.take((self.size)(&row)) {
                page.next = taken_at;
                break;
            }
            page.rows.push(row);
            taken_at.clone_from(&at);
        }
        Ok(page)
    }
}
