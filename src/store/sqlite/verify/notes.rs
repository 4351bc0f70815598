//! What upkeep notes for itself: which logs may be named by nobody, and which entries are copies.

use super::Check;
use super::rows::{self, Table};
use crate::domain::Seq;
use crate::store::Error;
use crate::store::record::{Damage, log_id, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::logs;

/// All of them.
pub(super) fn check(check: &mut Check<'_>) {
    let loose = Table {
        kind: "loose logs",
        name: "loose",
        key: &["log"],
        columns: "log, since".to_owned(),
        called: |key| format!("the note on log {}", key[0].log()),
    };
    rows::walk(check, &loose, |_, key, columns| {
        let columns = columns?;
        let read = || -> Result<(), Damage> {
            log_id(columns.blob(0)?)?;
            columns.integer(1).map(drop)
        };
        let name = || format!("the note on log {}", key[0].log());
        read()
            .map(|()| 0)
            .map_err(|damage| Error::corrupt(name(), damage))
    });
    let copies = Table {
        kind: "copies",
        name: "log_copies",
        key: &["original", "copy", "after_seq"],
        columns: "original, copy, after_seq, to_seq".to_owned(),
        called: |key| {
            format!(
                "the note on the copy of log {} in log {}",
                key[0].log(),
                key[1].log()
            )
        },
    };
    rows::walk(check, &copies, |check, _, columns| {
        one_copy(check, columns?).map(|()| 0)
    });
}

/// A copy is there, and of some entries; what they were copied of may be gone.
fn one_copy(check: &mut Check<'_>, columns: Columns<'_>) -> Result<(), Error> {
    let read = || -> Result<_, Damage> {
        let [original, copy] = [log_id(columns.blob(0)?)?, log_id(columns.blob(1)?)?];
        let [after, to] = [
            Seq(number(columns.integer(2)?)?),
            Seq(number(columns.integer(3)?)?),
        ];
        Ok((original, copy, after, to))
    };
    let (original, copy, after, to) =
        read().map_err(|damage| Error::corrupt("a note on copied entries", damage))?;
    let name = || format!("the note on the copy of log {original} in log {copy}");
    if after >= to {
        check.problem(name(), "it is of no entries");
    }
    match logs::log(check.conn, copy) {
        Ok(Some(_)) => {}
        Ok(None) => check.garbage("notes on copies"),
        // It is told by itself.
        Err(Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
