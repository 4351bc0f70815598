//! Lists, a page at a time.
//!
//! A list walks the index that has its order, from where the last page ended, some rows a statement: each goes on after
//! the last row of the one before, in one transaction. What SQL can tell of a filter it tells in a column: a row that is
//! turned away is not decoded, but counted. Filters that name few rows have indexes of their own: those rows are looked
//! up and sorted.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::query::{Bound, Page};
use crate::store::room::Room;

mod resumes;
mod sessions;
mod threads;

pub(super) use resumes::resumes;
pub(super) use sessions::sessions;
pub(super) use threads::threads;

/// Rows of the first statement of a page at most; the others have more, for most of their rows are turned away.
const FIRST_ROWS_MAX: usize = 501;

/// Rows of a further statement.
const ROWS_MAX: usize = 2_000;

/// A value of a statement that is put together.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(i64),
    Text(String),
    MaybeText(Option<String>),
    Bytes(Vec<u8>),
    Flag(bool),
}

impl Value {
    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Number(number) => (number, Type::INT8),
            Self::Text(text) => (text, Type::TEXT),
            Self::MaybeText(text) => (text, Type::TEXT),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
            Self::Flag(flag) => (flag, Type::BOOL),
        }
    }
}

/// A statement that is put together, with the values it is run with.
#[derive(Debug, Default)]
struct Sql {
    values: Vec<Value>,
}

impl Sql {
    /// The place of a value in the statement.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn text(&mut self, text: &str) -> String {
        self.bind(Value::Text(text.to_owned()))
    }

    fn number(&mut self, number: i64) -> String {
        self.bind(Value::Number(number))
    }
}

/// Whether so few rows of a table fit a condition that they may be sorted. All values that are bound are its own.
async fn are_few(conn: &Conn, table: &str, condition: &str, values: &[Value]) -> Result<bool, Fault> {
    let sql = format!(
        "SELECT count(*) <= {SCAN_ROWS_MAX} FROM \
         (SELECT 1 FROM {table} WHERE {condition} LIMIT {SCAN_ROWS_MAX} + 1) AS named"
    );
    let operation = "looking how many rows a filter names";
    let values: Vec<_> = values.iter().map(Value::typed).collect();
    let rows = conn.rows_of(operation, &sql, &values).await?;
    Ok(rows
        .first()
        .is_some_and(|row| Columns(row).flag(0).unwrap_or_default()))
}

/// The few rows of a table that fit a condition, in place of the table: `OFFSET 0` keeps the planner from walking it in the
/// order of the list until it has met enough of them.
fn looked_up(table: &str, condition: &str) -> String {
    format!("(SELECT * FROM {table} WHERE {condition} OFFSET 0) AS {table}")
}

/// What is done with the rows of a walk.
struct List<Statement, Read, Key, Size> {
    operation: &'static str,
    /// The column that says whether the filters SQL knows let the row through.
    hit: usize,
    bound: Bound,
    /// The statement that goes on after a key, and its values; it has a limit to come.
    statement: Statement,
    /// Decodes a row; `None`: a filter turns it away.
    read: Read,
    /// Where a row stands, whatever else is wrong with it.
    key: Key,
    /// The bytes that a page counts.
    size: Size,
}

impl<Statement, Read, Key, Size> List<Statement, Read, Key, Size> {
    /// Fills a page after a key. It ends when it is full and there is more, or when too many rows were looked at.
    async fn page<T, K: Clone>(&self, conn: &Conn, after: Option<&K>) -> Result<Page<T, K>, Fault>
    where
        Statement: Fn(Option<&K>, usize) -> (String, Vec<Value>),
        Read: Fn(Columns<'_>) -> Result<Option<T>, Fault>,
        Key: Fn(Columns<'_>) -> Option<K>,
        Size: Fn(&T) -> usize,
    {
        let mut room = Room::of(self.bound);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let (mut looked_at, mut at, mut taken_at) = (0, after.cloned(), None);
        let mut rows_max = self.bound.rows.saturating_add(1).min(FIRST_ROWS_MAX);
        loop {
            let rows = self.rows(conn, at.as_ref(), rows_max).await?;
            for row in &rows {
                let columns = Columns(row);
                if looked_at == SCAN_ROWS_MAX {
                    page.next = at;
                    return Ok(page);
                }
                looked_at += 1;
                at = (self.key)(columns).or(at);
                if columns.flag(self.hit) == Ok(false) {
                    continue;
                }
                let row = match (self.read)(columns) {
                    Ok(Some(row)) => row,
                    Ok(None) => continue,
                    Err(Fault::Damaged { row, reason }) => {
                        tracing::error!(row, reason, "a damaged row is left out of a list");
                        continue;
                    }
                    Err(fault @ Fault::Database { .. }) => return Err(fault),
                };
                if !room.take((self.size)(&row)) {
                    page.next = taken_at;
                    return Ok(page);
                }
                page.rows.push(row);
                taken_at.clone_from(&at);
            }
            if rows.len() < rows_max {
                return Ok(page);
            }
            rows_max = ROWS_MAX;
        }
    }

    async fn rows<K>(&self, conn: &Conn, after: Option<&K>, rows_max: usize) -> Result<Vec<Row>, Fault>
    where
        Statement: Fn(Option<&K>, usize) -> (String, Vec<Value>),
    {
        let (sql, values) = (self.statement)(after, rows_max);
        let values: Vec<_> = values.iter().map(Value::typed).collect();
        conn.rows_of(self.operation, &sql, &values).await
    }
}
