//! A directory that is copied from, and one that is copied into. Whoever has either has its lock: nothing else writes.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::mpsc;

use super::open::{self, Directory, OpenError, failure};
use super::readers::{Readers, Source};
use super::{effects, failed, index, survey};
use crate::domain::Effect;
use crate::domain::query::Bound;
use crate::store::Error;
use crate::store::stored::Stored;
use crate::store::survey::{Fill, Key, Stretch, Survey};

/// A connection with transactions of its own.
#[derive(Debug)]
struct Bare(Connection);

impl Source for Bare {
    fn begin(&self) -> Result<(), rusqlite::Error> {
        Ok(())
    }

    fn end(&self) {}
}

/// A directory that this process has, and one thread with a connection to its database.
#[derive(Debug)]
struct Taken {
    thread: Readers<Bare>,
    _directory: Directory,
}

impl Taken {
    fn over(conn: Connection, directory: Directory) -> Result<Self, OpenError> {
        // Nobody waits for its end but the drop below.
        let (alive, _) = mpsc::channel::<Infallible>(1);
        let thread = Readers::start("copier", &directory.database, [Ok(Bare(conn))], &alive)?;
        Ok(Self {
            thread,
            _directory: directory,
        })
    }

    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        let after = after.cloned();
        let job = move |bare: &Bare| survey::survey(&bare.0, after.as_ref(), bound);
        self.thread.read("surveying", job).await
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.thread.close();
        self.thread.join();
    }
}

/// A directory that is read whole, in one read transaction. Nothing in its database is changed.
#[derive(Debug)]
pub struct Archive(Taken);

impl Archive {
    /// Takes `dir`, in which there must be a whole database. Blocks.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let file = open::database(dir);
        if !file.exists() {
            return Err(OpenError::Missing { file });
        }
        let directory = Directory::take(dir)?;
        let conn = open::at_rest(dir)?;
        let began = conn.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
        began.map_err(|source| failure("beginning to read", source))?;
        Taken::over(conn, directory).map(Self)
    }
}

#[async_trait]
impl Survey for Archive {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        self.0.survey(after, bound).await
    }
}

/// A directory that is filled. Its database opens for nothing else until that is finished.
#[derive(Debug)]
pub struct Filling(Taken);

impl Filling {
    /// Takes `dir`, making it where it is missing, and marks its database as one that is filled; it must be empty, or be
    /// marked already. Blocks.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let directory = Directory::take(dir)?;
        let file: PathBuf = directory.database.clone();
        let conn = open::writer(&file)?;
        if let Err(OpenError::Unfinished { .. }) = open::check_whole(&conn, &file) {
            return Taken::over(conn, directory).map(Self);
        }
        let any = survey::survey(&conn, None, Bound { rows: 1, bytes: 0 });
        // What cannot be read is something, too.
        if any.is_ok_and(|any| any.through.is_none()) {
            // It may index what was here once.
            index::remove(&directory.index).map_err(|source| OpenError::Io {
                operation: "removing",
                path: directory.index.clone(),
                source,
            })?;
            let marked = conn.execute("INSERT INTO filling (one) VALUES (1)", ());
            marked.map_err(|source| failure("marking the database", source))?;
            return Taken::over(conn, directory).map(Self);
        }
        Err(OpenError::NotEmpty { file })
    }
}

#[async_trait]
impl Survey for Filling {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        self.0.survey(after, bound).await
    }
}

#[async_trait]
impl Fill for Filling {
    async fn reached(&self) -> Result<Option<Key>, Error> {
        let reached = |bare: &Bare| -> Result<Option<Key>, Error> {
            let sql = "SELECT reached FROM filling";
            let reached: Option<Option<String>> = bare
                .0
                .query_row(sql, (), |row| row.get(0))
                .optional()
                .map_err(failed("reading how far a copy is"))?;
            let key = reached.flatten().map(|text| Key::decode(&text)).transpose();
            key.map_err(|damage| Error::corrupt("the mark of the copy", damage))
        };
        self.0.thread.read("reading how far a copy is", reached).await
    }

    async fn adopt(&self, effects: Vec<Effect>, through: Key) -> Result<(), Error> {
        let adopt = move |bare: &Bare| {
            let written = adopt(&bare.0, &effects, &through.encode());
            if written.is_err() && !bare.0.is_autocommit() {
                // What was begun is taken back either way; this frees its locks.
                let _ = bare.0.execute_batch("ROLLBACK");
            }
            written.map_err(failed("writing a page of a copy"))
        };
        self.0.thread.read("writing a page of a copy", adopt).await
    }

    async fn finish(&self) -> Result<(), Error> {
        let finish = |bare: &Bare| {
            let unmarked = bare.0.execute("DELETE FROM filling", ());
            unmarked.map_err(failed("finishing a copy"))?;
            // A copy that is whole lies in its file, not in the log beside it.
            open::checkpoint(&bare.0).map_err(failed("finishing a copy"))?;
            Ok(())
        };
        self.0.thread.read("finishing a copy", finish).await
    }
}

/// Writes a page and how far it goes.
fn adopt(conn: &Connection, effects: &[Effect], reached: &str) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    effects::apply(conn, effects, &Stored::default())?;
    conn.execute("UPDATE filling SET reached = ?1", [reached])?;
    conn.execute_batch("COMMIT")
}
