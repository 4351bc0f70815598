//! A first look at a directory, beside whoever has it: whether it can be served, and what a policy would take from it.
//! Nothing is changed, and no lock is kept.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use rusqlite::{Connection, params};

use super::open::{self, OpenError};
use super::{failed, sessions};
use crate::domain::retention::Policy;
use crate::domain::session::State;
use crate::domain::{Namespace, Time};
use crate::store::Error;
use crate::store::record::{Code as _, column, number};

/// Namespaces that are looked at in one read.
const NAMESPACES_MAX: usize = 10_000;

/// A database that can be read.
#[derive(Debug)]
pub struct Look(Connection);

impl Look {
    /// Whether another process has `dir` now.
    pub fn is_taken(dir: &Path) -> Result<bool, OpenError> {
        let path = open::lock(dir);
        let said = |operation| {
            let path = path.clone();
            move |source| OpenError::Io {
                operation,
                path,
                source,
            }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(said("opening")(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(said("looking at")(error)),
        }
    }

    /// Opens what lies in `dir`, if this program can serve it. A server that starts in this very moment may spoil the
    /// answers, never the data.
    pub fn at(dir: &Path) -> Result<Self, OpenError> {
        open::at_rest(dir).map(Self)
    }

    /// The namespaces that have sessions, by name.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        sessions::namespaces(&self.0, None, NAMESPACES_MAX)
    }

    /// How many sessions a policy would take at `now` if nobody used any: active ones, and archived ones.
    pub fn due(&self, ns: &Namespace, policy: &Policy, now: Time) -> Result<(u64, u64), Error> {
        let sql = "WITH ranked AS (SELECT update_time, starred, row_number() OVER \
                   (PARTITION BY workspace ORDER BY update_time DESC, session_id DESC) AS place \
                   FROM sessions WHERE namespace = ?1 AND state = ?2) \
                   SELECT count(*) FROM ranked WHERE NOT starred \
                   AND (?3 IS NULL OR update_time < ?3) AND (?4 IS NULL OR place > ?4)";
        let count = |state: State, before: Option<Time>, keep: Option<u64>| -> Result<u64, Error> {
            if before.is_none() && keep.is_none() {
                return Ok(0);
            }
            let values = params![
                ns.as_str(),
                state.code(),
                before.map(|time| time.0),
                keep.map(column)
            ];
            let count = self.0.query_row(sql, values, |row| row.get::<_, i64>(0));
            let count = count.map_err(failed("counting what a policy would take"))?;
            number(count).map_err(|damage| Error::corrupt("a count", damage))
        };
        let before = policy.max_age.map(|age| now.before(age));
        let active = count(State::Active, before, policy.keep_per_workspace)?;
        let before = policy.delete_archived_after.map(|age| now.before(age));
        Ok((active, count(State::Archived, before, None)?))
    }
}
