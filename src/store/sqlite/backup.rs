//! A copy of the database as one file, made beside a running server.
//!
//! SQLite copies page by page in one read transaction: the copy is what one moment saw, and pages come as they are, so a
//! row that is damaged neither stops it nor is lost. While it runs the write-ahead log cannot be emptied. The file has
//! its name only when it is whole and on disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::open::{self, OpenError};

/// Pages that are copied at once: 16 MiB.
const STEP_PAGES: i32 = 4_096;

/// How often a step that was refused is tried again.
const REFUSED_MAX: usize = 500;

/// How long to wait before that.
const REFUSED_WAIT: Duration = Duration::from_millis(10);

/// What becomes of a file that has the backup's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and there is no backup.
    Kept,
    /// The backup takes its place.
    Replaced,
}

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Its size.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file of that name.
    #[error("{} exists already", .file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The name is that of a file which the server works with.
    #[error("{} belongs to the database itself", .file.display())]
    OwnFile {
        /// The file.
        file: PathBuf,
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

/// Copies the database in `dir` into `file`. Blocks.
pub fn backup(dir: &Path, file: &Path, existing: Existing) -> Result<BackedUp, BackupError> {
    if open::is_own(dir, file) {
        return Err(BackupError::OwnFile {
            file: file.to_owned(),
        });
    }
    let exists = || BackupError::Exists {
        file: file.to_owned(),
    };
    if existing == Existing::Kept && file.exists() {
        return Err(exists());
    }
    let source = open::beside(dir)?;
    let partial = Partial::beside(file)?;
    copy(&source, &partial.0)?;
    let written = File::open(&partial.0).map_err(failed("opening", &partial.0))?;
    written.sync_all().map_err(failed("syncing", &partial.0))?;
    let bytes = written.metadata().map_err(failed("reading", &partial.0))?.len();
    match existing {
        Existing::Replaced => fs::rename(&partial.0, file).map_err(failed("naming", file))?,
        Existing::Kept => match fs::hard_link(&partial.0, file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            // Not every file system has links; there somebody may make a file of that name in this very moment.
            Err(_) if file.exists() => return Err(exists()),
            Err(_) => fs::rename(&partial.0, file).map_err(failed("naming", file))?,
        },
    }
    drop(partial);
    #[cfg(unix)]
    {
        let folder = folder(file);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("syncing", folder))?;
    }
    Ok(BackedUp { bytes })
}

/// The file while it is not whole; it goes with this.
struct Partial(PathBuf);

impl Partial {
    fn beside(file: &Path) -> Result<Self, BackupError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let path = folder(file).join(name);
        // What is there may be another name of a finished backup, which a process of the same number had no time to take
        // back, or lead anywhere: it goes, and is not written to.
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("removing", &path)(error)),
        }
        let made = open::private_file().create_new(true).open(&path);
        made.map_err(failed("making", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has its own name by now, or is worth nothing.
        let _ = fs::remove_file(&self.0);
    }
}

/// Copies all pages as one moment saw them.
fn copy(source: &Connection, into: &Path) -> Result<(), BackupError> {
    let said = |operation| move |source| BackupError::Sqlite { operation, source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(into, flags).map_err(said("opening the copy"))?;
    // Nobody sees the copy before it is whole and synced.
    for name in ["journal_mode", "synchronous"] {
        let set = copy.pragma_update_and_check(None, name, "OFF", |_| Ok(()));
        match set {
            Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => {}
            Err(error) => return Err(said("preparing the copy")(error)),
        }
    }
    source.execute_batch("BEGIN").map_err(said("beginning"))?;
    source
        .query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))
        .map_err(said("beginning"))?;
    let pages = Backup::new(source, &mut copy).map_err(said("beginning"))?;
    let mut refused = 0;
    loop {
        match pages.step(STEP_PAGES).map_err(said("copying"))? {
            StepResult::Done => break,
            StepResult::More => refused = 0,
            // What else there may be is that somebody is in the way for a moment.
            _ => {
                refused += 1;
                if refused > REFUSED_MAX {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(said("copying")(rusqlite::Error::SqliteFailure(busy, None)));
                }
                thread::sleep(REFUSED_WAIT);
            }
        }
    }
    drop(pages);
    copy.close().map_err(|(_, error)| said("closing the copy")(error))
}

/// The folder that a file lies in.
fn folder(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io {
        operation,
        path,
        source,
    }
}
