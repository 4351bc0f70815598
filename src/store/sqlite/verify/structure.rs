//! The structure: pages, rows and indexes of each table, as SQLite sees them.

use super::Check;
use crate::store::Error;
use crate::store::sqlite::failed;

/// Faults of one table that SQLite is asked for.
const FAULTS_MAX: usize = 100;

/// Each table and its indexes, in a statement of its own: the write-ahead log can be emptied between them.
pub(super) fn check(check: &mut Check<'_>) {
    check.part("the structure", tables);
}

fn tables(check: &mut Check<'_>) -> Result<(), Error> {
    let failed = failed("checking the structure");
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' \
                 ORDER BY name";
    let mut statement = check.conn.prepare(names).map_err(&failed)?;
    let names = statement
        .query_map((), |row| row.get::<_, String>(0))
        .map_err(&failed)?;
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(&failed)?;
    for name in names {
        // Only the name of a table makes it a check of this table alone; a limit would make it one of the whole file.
        let sql = format!("PRAGMA integrity_check(\"{}\")", name.replace('"', "\"\""));
        let faults = check.conn.prepare(&sql).and_then(|mut statement| {
            let rows = statement.query_map((), |row| row.get::<_, String>(0))?;
            rows.take(FAULTS_MAX).collect::<Result<Vec<_>, _>>()
        });
        match faults {
            Ok(faults) => {
                for fault in faults.iter().filter(|fault| *fault != "ok") {
                    check.problem(format!("table {name}"), fault);
                }
            }
            Err(error) => check.failed(&name, failed(error)),
        }
        check.count("tables", 1);
    }
    Ok(())
}
