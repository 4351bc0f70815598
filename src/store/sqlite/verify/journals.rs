//! Threads: their counts are those of their journals; turns and items can be read and have their digests.

use rusqlite::{Row, params};

use super::Check;
use super::logs::is_loose;
use super::rows::{self, Part, Table};
use super::sessions::against_log;
use crate::domain::turn::Status;
use crate::domain::{LogId, Thread};
use crate::store::Error;
use crate::store::record::{Code, Damage, column, log_id};
use crate::store::sqlite::threads::{self, COLUMNS};
use crate::store::sqlite::{failed, items};

/// Every thread, turn and item, and the journals that belong to nobody.
pub(super) fn check(check: &mut Check<'_>) {
    rows::walk(check, &all_threads(), |check, _, columns| {
        let mut thread = threads::read(check.conn, columns?)?;
        threads::add_texts(check.conn, &mut thread)?;
        let name = format!("thread {} of namespace {}", thread.id, thread.namespace);
        for reason in reasons(check, &thread)? {
            check.problem(name.clone(), reason);
        }
        Ok(0)
    });
    let turns = Table {
        kind: "turns",
        name: "turns",
        key: &["journal", "turn_id"],
        columns: items::TURN_COLUMNS.to_owned(),
        called: called_turn,
    };
    rows::walk(check, &turns, |_, key, columns| {
        let damaged = |damage| Error::corrupt(called_turn(key), damage);
        items::read_turn(columns?).map(|_| 0).map_err(damaged)
    });
    let all_items = Table {
        kind: "items",
        name: "items",
        key: &["journal", "seq"],
        columns: items::ITEM_COLUMNS.to_owned(),
        called: |key| format!("item {} of journal {}", key[1].integer(), key[0].log()),
    };
    rows::walk(check, &all_items, |_, key, columns| {
        let columns = columns?;
        let damaged = |damage: Damage| {
            let id = columns.text(3).unwrap_or("?");
            Error::corrupt(format!("item {id} of journal {}", key[0].log()), damage)
        };
        let item = items::read_item(columns).map_err(damaged)?;
        Ok(item.body.len())
    });
    for (kind, sql) in [
        (
            "journals with turns",
            "SELECT min(journal) FROM turns WHERE journal > ?1",
        ),
        (
            "journals with items",
            "SELECT min(journal) FROM items WHERE journal > ?1",
        ),
    ] {
        check.part(kind, |check| {
            check.steps(Vec::new(), |check, after| one_journal(check, kind, sql, &after))
        });
    }
    check.part("texts of threads", |check| {
        let failed = failed("looking for texts without a thread");
        let sql = "SELECT count(*) FROM thread_texts AS texts WHERE NOT EXISTS (SELECT 1 FROM threads \
                   WHERE threads.namespace = texts.namespace AND threads.thread_id = texts.thread_id)";
        let strays: i64 = check.conn.query_row(sql, (), |row| row.get(0)).map_err(failed)?;
        (0..strays).for_each(|_| check.garbage("thread texts"));
        Ok(())
    });
}

fn all_threads() -> Table {
    Table {
        kind: "threads",
        name: "threads",
        key: &["namespace", "thread_id"],
        columns: COLUMNS.to_owned(),
        called: |key| format!("thread {} of namespace {}", key[1].text(), key[0].text()),
    }
}

fn called_turn(key: &[Part]) -> String {
    format!("turn {} of journal {}", key[1].text(), key[0].log())
}

/// What is wrong between a thread, its base and its journal.
fn reasons(check: &Check<'_>, thread: &Thread) -> Result<Vec<&'static str>, Error> {
    let mut reasons = Vec::new();
    let base = thread.base.as_ref();
    if let Some(base) = base
        && against_log(check, base)?.is_some()
    {
        reasons.push("its base is not what its log has there");
    }
    let sql = "SELECT (SELECT count(*) FROM turns WHERE journal = ?1), \
        (SELECT ifnull(max(number), 0) FROM turns WHERE journal = ?1), \
        (SELECT count(*) FROM items WHERE journal = ?1), \
        (SELECT ifnull(max(seq), 0) FROM items WHERE journal = ?1), \
        (SELECT count(*) FROM items WHERE journal = ?1 AND status IN (?2, ?3)), \
        (SELECT count(*) FROM turns WHERE journal = ?1 AND turn_id = ?4 AND status IN (?2, ?3))";
    let failed = failed("checking threads");
    let mut statement = check.conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![
        thread.journal.0.as_bytes(),
        Status::Queued.code(),
        Status::InProgress.code(),
        thread.active_turn.as_ref().map(|turn| turn.as_str()),
    ];
    let counts = |row: &Row<'_>| -> rusqlite::Result<[i64; 6]> {
        Ok([
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ])
    };
    let [turns, last_turn, own_items, last_item, open, active] =
        statement.query_row(values, counts).map_err(&failed)?;
    let base_turns = column(base.map_or(0, |base| base.tally.turns));
    let base_items = column(thread.base_items().0);
    let dense = |count: i64, last: i64, base: i64, all: u64| {
        base + count == column(all) && (count == 0 || last == column(all))
    };
    if !dense(turns, last_turn, base_turns, thread.turns) {
        reasons.push("its turns are not those of its journal");
    }
    if !dense(own_items, last_item, base_items, thread.items) {
        reasons.push("its items are not those of its journal");
    }
    if open != column(thread.open_items) {
        reasons.push("its open items are not those of its journal");
    }
    if active != i64::from(thread.active_turn.is_some()) {
        reasons.push("its active turn is none of its journal's");
    }
    Ok(reasons)
}

/// The next journal: a thread has it, or upkeep will look at it.
fn one_journal(
    check: &mut Check<'_>,
    kind: &'static str,
    sql: &str,
    after: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let failed = failed("checking journals");
    let conn = check.conn;
    let next: Option<Vec<u8>> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([after], |row| row.get(0)))
        .map_err(&failed)?;
    let Some(next) = next else { return Ok(None) };
    let Ok(id) = log_id(&next) else {
        check.problem("a journal", "a name that is not 16 bytes");
        return Ok(Some(next));
    };
    if !has_thread(check, id)? && !is_loose(check, id)? {
        check.garbage(kind);
    }
    Ok(Some(next))
}

fn has_thread(check: &Check<'_>, journal: LogId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM threads WHERE journal = ?1)";
    let mut statement = check
        .conn
        .prepare_cached(sql)
        .map_err(failed("checking journals"))?;
    let found = statement.query_row([journal.0.as_bytes()], |row| row.get(0));
    found.map_err(failed("checking journals"))
}
