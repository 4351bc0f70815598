//! The search index: it is derived from what was looked at, and is made anew where it is missing or damaged. So nothing
//! about it is damage; what makes searches find less than there is, is said.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Check, ROWS_MAX};
use crate::domain::Seq;
use crate::domain::facts::References;
use crate::store::Error;
use crate::store::record::{column, log_id};
use crate::store::sqlite::{failed, logs, open};

/// Looks whether it can be read, and is not ahead of the logs.
pub(super) fn check(check: &mut Check<'_>, dir: &Path) {
    let note = match open::index_beside(dir) {
        Ok(Some(index)) => match ahead(check, &index) {
            Ok(0) => "the search index can be read; the words in it were not compared".to_owned(),
            Ok(count) => format!(
                "the search index says of {count} logs that it has more than there is: make it anew with `reindex`"
            ),
            Err(error) => format!("the search index cannot be read: {error}; a damaged one is made anew"),
        },
        Ok(None) => "there is no search index; a server makes one".to_owned(),
        Err(error) => format!("the search index cannot be opened: {error}; a damaged one is made anew"),
    };
    check.report.notes.push(note);
}

/// How many logs that somebody shows end before what the index says of them.
fn ahead(check: &Check<'_>, index: &Connection) -> Result<u64, Error> {
    let failed = failed("reading the search index");
    let sql = "SELECT log, indexed_to FROM logs WHERE log > ?1 ORDER BY log LIMIT ?2";
    let mut statement = index.prepare(sql).map_err(&failed)?;
    let (mut after, mut count) = (Vec::new(), 0);
    loop {
        let rows = statement.query_map(params![after, column(ROWS_MAX as u64)], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        });
        // The index is read first: the logs may have grown since, and not it.
        let rows: Vec<_> = rows.and_then(Iterator::collect).map_err(&failed)?;
        let Some((last, _)) = rows.last() else {
            return Ok(count);
        };
        after.clone_from(last);
        for (log, indexed_to) in rows {
            let Ok(id) = log_id(&log) else { continue };
            let (
                Ok(Some(log)),
                Ok(References {
                    named: true, last, ..
                }),
            ) = (logs::log(check.conn, id), logs::references(check.conn, id))
            else {
                continue;
            };
            count += u64::from(Seq(indexed_to.max(0).cast_unsigned()) > last.max(log.path.end()));
        }
    }
}
