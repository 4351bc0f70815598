//! Reading a directory beside whoever has it.

use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{
    LOCK, OpenError, check_header, check_whole, database, failure, judge_version, prepare_reader, reader,
};

/// A connection that only reads. It keeps nobody away and is kept away by nobody, but for a directory that cannot be
/// written to.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Beside {
    conn: Connection,
    /// Held as long as nothing may be written, shared with other readers.
    _lock: Option<File>,
}

impl Deref for Beside {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

/// Opens what lies in `dir`; what is not for this program is refused.
///
/// SQLite reads a database with a write-ahead log by way of two files beside it; where no server has made them, it makes
/// them itself, empty, and leaves them. Where it cannot, on a read-only mount for one, a database that was closed in good
/// order is all in one file and is read as that, with the directory's lock so that no server begins to write meanwhile.
pub(in crate::store::sqlite) fn beside(dir: &Path) -> Result<Beside, OpenError> {
    let file = found(dir)?;
    let opened = reader(&file).and_then(|conn| check(&conn, &file).map(|()| conn));
    match opened {
        Ok(conn) => Ok(Beside { conn, _lock: None }),
        Err(error @ OpenError::Sqlite { .. }) => match still(dir, &file)? {
            Some(beside) => check(&beside, &file).map(|()| beside),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The same for a directory whose lock the caller has.
pub(in crate::store::sqlite) fn at_rest(dir: &Path) -> Result<Connection, OpenError> {
    let file = found(dir)?;
    let conn = match unchanged(&file)? {
        Some(conn) => conn,
        None => reader(&file)?,
    };
    check(&conn, &file)?;
    Ok(conn)
}

fn found(dir: &Path) -> Result<PathBuf, OpenError> {
    let file = database(dir);
    if !file.exists() {
        return Err(OpenError::Missing { file });
    }
    check_header(&file)?;
    Ok(file)
}

/// Whether a database is for this program, of a version that it knows, and whole.
fn check(conn: &Connection, file: &Path) -> Result<(), OpenError> {
    let number = |name| {
        conn.pragma_query_value(None, name, |row| row.get(0))
            .map_err(|source| failure("reading the schema's version", source))
    };
    judge_version(file, number("application_id")?, number("user_version")?)?;
    check_whole(conn, file)
}

/// A database that nobody has and that is all in one file; `None`: it is not so.
fn still(dir: &Path, file: &Path) -> Result<Option<Beside>, OpenError> {
    let Ok(lock) = File::open(dir.join(LOCK)) else {
        return Ok(None);
    };
    match lock.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return Ok(None),
    }
    let conn = unchanged(file)?;
    Ok(conn.map(|conn| Beside {
        conn,
        _lock: Some(lock),
    }))
}

/// A database that is all in one file, and that nobody may write to as long as this is open; `None`: it is not so.
fn unchanged(file: &Path) -> Result<Option<Connection>, OpenError> {
    let Ok(resolved) = file.canonicalize() else {
        return Ok(None);
    };
    let mut log = resolved.clone().into_os_string();
    log.push("-wal");
    if Path::new(&log).metadata().is_ok_and(|log| log.len() > 0) {
        return Ok(None);
    }
    let open = || {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let conn = Connection::open_with_flags(unchanging(&resolved), flags)?;
        prepare_reader(&conn)?;
        Ok(conn)
    };
    let conn = open().map_err(|source| failure("opening a reader", source))?;
    Ok(Some(conn))
}

/// The name by which SQLite takes a file for one that nobody writes.
fn unchanging(file: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_nobody_has_is_read_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("odd #name? 100%");
        drop(super::super::super::Sqlite::open(&dir, 1).unwrap());
        let names = || {
            let names = std::fs::read_dir(&dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.filter(|name| name != "search.db").collect();
            names.sort();
            names
        };
        let before = names();
        let file = database(&dir);
        let read = still(&dir, &file).unwrap().expect("nobody has it");
        check(&read, &file).unwrap();
        assert_eq!(names(), before);
        let begun = super::super::super::Sqlite::open(&dir, 1);
        assert!(matches!(begun, Err(OpenError::Locked { .. })), "it is being read");
        drop(read);
        let begun = super::super::super::Sqlite::open(&dir, 1).unwrap();
        assert!(still(&dir, &file).unwrap().is_none(), "it may be written to");
        drop(begun);
    }
}
