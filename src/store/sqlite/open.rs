//! Opening a directory: who may, what is in it, and what connections are set to.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{self, APPLICATION_ID, known_version};

/// The database within the directory.
const DATABASE: &str = "sessiond.db";

/// The search index beside it.
const INDEX: &str = "search.db";

/// The file whose lock says that a process has the directory.
const LOCK: &str = "sessiond.lock";

/// How long a statement waits for another connection of this process.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages in the write-ahead log before a commit copies them back: 64 MiB. At SQLite's own 1,000 appends
/// go half as fast.
const AUTOCHECKPOINT_PAGES: u32 = 16_384;

/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: i32 = 32_768;

/// Page cache of one reader, in KiB.
const READER_CACHE_KIB: i32 = 8_192;

/// Statements that a connection keeps prepared.
pub(super) const STATEMENTS_KEPT: usize = 128;

/// Bytes of a database file that tell what it is.
const HEADER_BYTES: u64 = 100;

pub(super) use beside::{at_rest, beside};

mod beside;

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another process holds the lock {}", .lock.display())]
    Locked {
        /// The lock's file.
        lock: PathBuf,
    },
    /// A later version of this program wrote it; nothing was touched.
    #[error("the database has schema version {found}, this program knows up to {known}")]
    NewerSchema {
        /// The file's version.
        found: i32,
        /// The last version known.
        known: i32,
    },
    /// The file is no database of this program; nothing was touched.
    #[error("{} is not a database of sessiond", .file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be written to.
    #[error("{} is read-only", .file.display())]
    ReadOnly {
        /// The file.
        file: PathBuf,
    },
    /// There is no database to read.
    #[error("there is no {}", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A copy into it has not come to its end.
    #[error(
        "{} is half a copy of another store: run the same `sessiond copy` again to bring it to its end, or remove it",
        .file.display()
    )]
    Unfinished {
        /// The file.
        file: PathBuf,
    },
    /// A copy goes into an empty place alone.
    #[error("{} is not empty: a copy goes into an empty place alone", .file.display())]
    NotEmpty {
        /// The file.
        file: PathBuf,
    },
    /// The file's structure is damaged.
    #[error("the database is damaged")]
    Damaged {
        /// What SQLite found.
        #[source]
        source: rusqlite::Error,
    },
    /// The file system said no.
    #[error("{operation} {}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// SQLite said no.
    #[error("{operation}")]
    Sqlite {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
}

/// A directory that this process has, until the lock is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its database.
    pub(super) database: PathBuf,
    /// Its search index, which may not be there.
    pub(super) index: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes `dir` where it is missing, and takes its lock.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io {
                operation,
                path,
                source,
            }
        };
        private_dir().create(dir).map_err(io("creating", dir))?;
        let path = lock(dir);
        let held = private_file().open(&path).map_err(io("opening", &path))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { lock: path }),
            Err(TryLockError::Error(source)) => return Err(io("locking", &path)(source)),
        }
        let database = database(dir);
        check_header(&database)?;
        drop(private_file().open(&database).map_err(io("opening", &database))?);
        #[cfg(unix)]
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io("syncing", dir))?;
        Ok(Self {
            database,
            index: dir.join(INDEX),
            _lock: held,
        })
    }
}

/// Where the database of a directory is.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join(DATABASE)
}

/// Where the lock of a directory is.
pub(super) fn lock(dir: &Path) -> PathBuf {
    dir.join(LOCK)
}

/// The connection that writes. The file has the newest schema then.
pub(super) fn writer(file: &Path) -> Result<Connection, OpenError> {
    let failed = |operation| move |source| failure(operation, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags).map_err(failed("opening the database"))?;
    if conn.is_readonly("main").map_err(failed("opening the database"))? {
        return Err(OpenError::ReadOnly {
            file: file.to_owned(),
        });
    }
    let version = checked_version(&conn, file)?;
    prepare_writer(&conn, version).map_err(failed("preparing the database"))?;
    Ok(conn)
}

/// A connection that reads.
pub(super) fn reader(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(file, flags)?;
        prepare_reader(&conn)?;
        Ok(conn)
    };
    open().map_err(|source| failure("opening a reader", source))
}

fn prepare_reader(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    // A list that is sorted needs no disk: it works when that is full, too.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "query_only", true)
}

/// Refuses a file that a copy has not filled to its end.
pub(super) fn check_whole(conn: &Connection, file: &Path) -> Result<(), OpenError> {
    let filling = conn.query_row("SELECT EXISTS (SELECT 1 FROM filling)", (), |row| row.get(0));
    if filling.map_err(|source| failure("looking whether a copy is whole", source))? {
        return Err(OpenError::Unfinished {
            file: file.to_owned(),
        });
    }
    Ok(())
}

/// The search index of a directory, read; `None`: there is none.
pub(super) fn index_beside(dir: &Path) -> Result<Option<Connection>, OpenError> {
    let file = dir.join(INDEX);
    file.exists().then(|| reader(&file)).transpose()
}

/// Whether `file` is one that a process which has `dir` works with, by whatever name.
pub(super) fn is_own(dir: &Path, file: &Path) -> bool {
    // What lies beside a database that is linked to lies beside what the link leads to.
    let names = [dir.join(DATABASE), dir.join(INDEX), dir.join(LOCK)];
    let resolved = names.iter().filter_map(|name| name.canonicalize().ok());
    let Some((folder, name)) = place(file) else {
        return false;
    };
    let mut own = names
        .iter()
        .cloned()
        .chain(resolved)
        .filter_map(|own| place(&own));
    let is_named = own.any(|(beside, own)| beside == folder && name.starts_with(&own));
    is_named || names.iter().any(|own| is_same(own, file))
}

/// The folder and the name of a file, which need not be there.
fn place(file: &Path) -> Option<(PathBuf, String)> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some((folder, file.file_name()?.to_string_lossy().into_owned()))
}

/// Whether two names lead to one file.
#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// Whether two names lead to one file.
#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.canonicalize().ok();
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// Refuses what is not for this program by the file's first bytes, before SQLite opens it and writes.
/// A file that was cut off while it was made has to be rolled back first, and is looked at then.
fn check_header(file: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        operation: "reading",
        path: file.to_owned(),
        source,
    };
    if file.with_extension("db-journal").exists() {
        return Ok(());
    }
    let mut header = Vec::new();
    match File::open(file) {
        Ok(opened) => opened.take(HEADER_BYTES).read_to_end(&mut header).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if header.is_empty() {
        return Ok(());
    }
    let foreign = || OpenError::Foreign {
        file: file.to_owned(),
    };
    let number = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_be_bytes).ok_or_else(foreign)
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(foreign());
    }
    judge_version(file, number(68)?, number(60)?)
}

/// The version that SQLite sees, which may be ahead of the file's first bytes after a crash.
fn checked_version(conn: &Connection, file: &Path) -> Result<i32, OpenError> {
    let failed = |source| failure("reading the schema's version", source);
    let number = |name| {
        conn.pragma_query_value(None, name, |row| row.get(0))
            .map_err(failed)
    };
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(failed)?;
    if (application, version, tables) != (0, 0, 0) {
        judge_version(file, application, version)?;
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(failed)?;
    Ok(version)
}

fn judge_version(file: &Path, application: i32, found: i32) -> Result<(), OpenError> {
    let known = known_version();
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign {
            file: file.to_owned(),
        });
    }
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    Ok(())
}

/// The first step is written before there is a write-ahead log, and later ones are copied back from it
/// at once: the file's first bytes tell its version.
fn prepare_writer(conn: &Connection, version: i32) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    schema::migrate(conn, version)?;
    // Where it cannot be had, on a network's file system for one, SQLite says which mode it stays in.
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "journal_mode stays {mode}"
        )));
    }
    conn.pragma_update_and_check(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES, |_| Ok(()))?;
    if version < known_version() {
        checkpoint(conn)?;
    }
    Ok(())
}

/// Copies the whole write-ahead log back and empties it; what is committed then lies in the database
/// file, synced. Says whether that worked out: a reader may be in the way.
pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| {
        Ok(row.get::<_, i64>(0)? == 0)
    })
}

/// Writes a page as it is: whether the disk takes writes.
pub(super) fn rewrite_version(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "user_version", known_version())
}

pub(super) fn failure(operation: &'static str, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { source },
        Some(_) | None => OpenError::Sqlite { operation, source },
    }
}

/// Directories for the owner alone.
fn private_dir() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Files for the owner alone, made where they are missing.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
