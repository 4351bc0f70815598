//! The index's file: its tables, and how it comes to be.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::{Connection, OpenFlags};

use super::is_damage;
use crate::domain::{Time, words};
use crate::store::sqlite::open::{BUSY_TIMEOUT, STATEMENTS_KEPT, private_file};

/// Marks a file as an index of this program: `sesi`.
const APPLICATION_ID: i32 = 0x7365_7369;

/// The version of the tables and of the words in them; a file of another one is made anew.
const VERSION: i32 = 1_000 + words::VERSION.cast_signed();

/// Page cache of the keeper, in KiB.
const KEEPER_CACHE_KIB: i32 = 16_384;

/// Page cache of one searcher, in KiB.
const SEARCHER_CACHE_KIB: i32 = 16_384;

/// Pages in the write-ahead log before a commit copies them back: 16 MiB.
const AUTOCHECKPOINT_PAGES: u32 = 4_096;

/// `messages` says where a row of `search` lies; `place` is its rowid there, and orders rows by time, so that the newest
/// matches are the last and a page goes on where the last one ended. `search` has the terms of namespace, log and role
/// in `scope`. Its tokenizer takes what is not ASCII for letters and nothing else apart but what we have not put in:
/// words are taken apart by the domain. Its segments are merged eight at a time, which takes a quarter less time in all
/// than four at a time. `state` has one row: how far the index was when it last was whole, and how far a place lies
/// after the one that its time asks for, at most.
const TABLES: &str = "
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, log BLOB NOT NULL UNIQUE, namespace TEXT NOT NULL, indexed_to INTEGER NOT NULL
) STRICT;
CREATE TABLE messages (
    place INTEGER PRIMARY KEY, log INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL
) STRICT;
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), through INTEGER NOT NULL, spread INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 0);
CREATE VIRTUAL TABLE search USING fts5(
    scope, words, content = '', contentless_delete = 1, tokenize = 'ascii'
);
INSERT INTO search (search, rank) VALUES ('automerge', 8);
";

/// The connection that writes the index in `file`, which is made where it is missing, damaged or of another version.
pub(super) fn keeper(file: &Path) -> Result<Connection, rusqlite::Error> {
    match open(file) {
        Ok(Some(conn)) => Ok(conn),
        Ok(None) => {
            tracing::info!("the search index is of another version, and is made anew");
            anew(file)
        }
        Err(error) if is_damage(&error) => {
            tracing::error!(%error, "the search index is damaged, and is made anew");
            anew(file)
        }
        Err(error) => Err(error),
    }
}

/// A connection that searches.
pub(super) fn searcher(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    prepare(&conn, SEARCHER_CACHE_KIB)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Up to when the index in this connection was whole once.
pub(super) fn through(conn: &Connection) -> Result<Time, rusqlite::Error> {
    conn.query_row("SELECT through FROM state", (), |row| row.get(0).map(Time))
}

/// Removes an index, if there is one.
pub(in crate::store::sqlite) fn remove(file: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(PathBuf::from(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn anew(file: &Path) -> Result<Connection, rusqlite::Error> {
    remove(file).map_err(refused)?;
    open(file)?.ok_or(rusqlite::Error::InvalidQuery)
}

/// `None`: it is of another version.
fn open(file: &Path) -> Result<Option<Connection>, rusqlite::Error> {
    drop(private_file().open(file).map_err(refused)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    prepare(&conn, KEEPER_CACHE_KIB)?;
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let found = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if tables == 0 {
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        let made = format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; \
             PRAGMA user_version = {VERSION}; COMMIT;"
        );
        conn.execute_batch(&made)?;
    } else if found != (APPLICATION_ID, VERSION) {
        return Ok(None);
    }
    // After a crash of the machine the last commits may be lost, and are made again; nothing is ever torn.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES, |_| Ok(()))?;
    Ok(Some(conn))
}

fn prepare(conn: &Connection, cache_kib: i32) -> Result<(), rusqlite::Error> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "temp_store", "MEMORY")
}

/// What the file system says, as SQLite would.
fn refused(error: io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
