//! A walk through a table: keys come from an index, and each row is read by its key, so that one that cannot be read
//! hides no other.

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{BYTES_MAX, Check, ROWS_MAX};
use crate::store::Error;
use crate::store::record::log_id;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::failed;

/// A table, and what is read of it.
pub(super) struct Table {
    /// What its rows are, in a report.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    /// The columns of its key, in their order.
    pub(super) key: &'static [&'static str],
    /// The columns that are read.
    pub(super) columns: String,
    /// A row by its key.
    pub(super) called: fn(&[Part]) -> String,
}

/// A part of a key, as it is stored: a damaged one need not be text.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Integer(i64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Part {
    /// A name.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).unwrap_or("?"),
            Self::Integer(_) | Self::Blob(_) => "?",
        }
    }

    /// A number.
    pub(super) fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            Self::Text(_) | Self::Blob(_) => -1,
        }
    }

    /// The name of a log or journal.
    pub(super) fn log(&self) -> String {
        match self {
            Self::Blob(bytes) => log_id(bytes).map_or_else(|_| "?".to_owned(), |log| log.to_string()),
            Self::Integer(_) | Self::Text(_) => "?".to_owned(),
        }
    }
}

impl FromSql for Part {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
            // No key has any of these; what comes after them is found all the same.
            ValueRef::Null | ValueRef::Real(_) => Self::Blob(Vec::new()),
        })
    }
}

impl ToSql for Part {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Looks at one row, or at what kept it from being read; says how many bytes of a body that were.
pub(super) trait Look:
    FnMut(&mut Check<'_>, &[Part], Result<Columns<'_>, Error>) -> Result<usize, Error>
{
}

impl<F> Look for F where F: FnMut(&mut Check<'_>, &[Part], Result<Columns<'_>, Error>) -> Result<usize, Error> {}

/// Looks at every row of a table. What goes wrong with one is told of that one.
pub(super) fn walk(check: &mut Check<'_>, table: &Table, mut look: impl Look) {
    let mut reached: Option<Vec<Part>> = None;
    let done = check.steps(None, |check, after: Option<Vec<Part>>| {
        let keys = keys(check.conn, table, after.as_deref())?;
        let (mut bytes, mut seen) = (0, 0);
        for key in &keys {
            match row(check, table, key, &mut look) {
                Ok(len) => bytes += len,
                Err(error) => check.failed(&(table.called)(key), named(error)),
            }
            seen += 1;
            if bytes > BYTES_MAX {
                break;
            }
        }
        check.count(table.kind, seen as u64);
        if bytes > 0 {
            check.count("bytes", bytes as u64);
        }
        reached = keys.get(..seen).and_then(<[_]>::last).cloned().or(reached.take());
        Ok(keys.get(..seen).and_then(<[_]>::last).cloned().map(Some))
    });
    if let Err(error) = done {
        let kind = table.kind;
        let place = reached.map_or_else(String::new, |key| format!(" after {}", (table.called)(&key)));
        check.failed(&format!("{kind}, which are not looked at{place}"), named(error));
    }
}

/// The next keys of a table.
fn keys(conn: &Connection, table: &Table, after: Option<&[Part]>) -> Result<Vec<Vec<Part>>, Error> {
    let failed = failed("reading keys");
    let (name, columns) = (table.name, table.key.join(", "));
    let behind = after.map_or_else(String::new, |after| {
        let marks: Vec<String> = (1..=after.len()).map(|at| format!("?{at}")).collect();
        format!("WHERE ({columns}) > ({})", marks.join(", "))
    });
    let sql = format!("SELECT {columns} FROM {name} {behind} ORDER BY {columns} LIMIT {ROWS_MAX}");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let read = |row: &rusqlite::Row<'_>| (0..table.key.len()).map(|at| row.get(at)).collect();
    let rows = statement.query_map(params_from_iter(after.into_iter().flatten()), read);
    rows.and_then(Iterator::collect).map_err(&failed)
}

fn row(check: &mut Check<'_>, table: &Table, key: &[Part], look: &mut impl Look) -> Result<usize, Error> {
    let failed = failed("reading a row");
    let conn = check.conn;
    let marks = table
        .key
        .iter()
        .zip(1..)
        .map(|(column, at)| format!("{column} = ?{at}"));
    let marks = marks.collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT {} FROM {} WHERE {marks}", table.columns, table.name);
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query(params_from_iter(key)).map_err(&failed)?;
    match rows.next() {
        Ok(Some(row)) => look(check, key, Ok(Columns(row))),
        Ok(None) => look(
            check,
            key,
            Err(Error::corrupt((table.called)(key), "an index alone has it")),
        ),
        Err(error) => look(check, key, Err(named(failed(error)))),
    }
}

/// What the storage said, to be told under the name of who was looked at.
fn named(error: Error) -> Error {
    match error {
        Error::Corrupt { row, reason } if row.starts_with("the database") => {
            Error::unavailable("reading it", reason)
        }
        other => other,
    }
}
