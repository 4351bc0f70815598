//! The turns and items of a journal.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Rows, params};

use super::columns::Columns;
use super::{Room, failed};
use crate::domain::query::{self, Bound};
use crate::domain::turn::{ItemMark, Status};
use crate::domain::{Item, ItemId, LogId, Seq, Time, Turn, TurnId};
use crate::store::Error;
use crate::store::record::{Code, Damage, ItemRow, TurnRow, column, number};

/// Where the body stands among the columns of [`read_item`].
const BODY: usize = 10;

/// The columns of [`read_turn`], in its order.
pub(super) const TURN_COLUMNS: &str = "journal, number, turn_id, status, usage, error, start_time, end_time, open_items, \
    change, epoch";

/// The columns of [`read_item`], in its order.
pub(super) const ITEM_COLUMNS: &str =
    "journal, seq, turn_id, item_id, kind, status, change, create_time, end_time, digest, body";

/// A turn.
pub(super) fn turn(conn: &Connection, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Error> {
    let failed = failed("reading a turn");
    let sql = format!("SELECT {TURN_COLUMNS} FROM turns WHERE journal = ?1 AND turn_id = ?2");
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement
        .query(params![journal.0.as_bytes(), id.as_str()])
        .map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    let turn = row.map(|row| read_turn(Columns(row))).transpose();
    turn.map_err(|damage| Error::corrupt(format!("turn {id} of journal {journal}"), damage))
}

/// The turns among `ids`, by number.
pub(super) fn turns(conn: &Connection, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Error> {
    let mut turns = BTreeMap::new();
    for id in ids {
        if let Some(turn) = turn(conn, journal, id)? {
            turns.insert(turn.number, turn);
        }
    }
    Ok(turns.into_values().collect())
}

/// Items in ascending order.
pub(super) fn page(
    conn: &Connection,
    journal: LogId,
    query: &query::Items,
    bound: Bound,
) -> Result<Vec<Item>, Error> {
    let failed = failed("reading items");
    let room = Room::of(bound);
    // Those of one turn are found and sorted in the index; the rows are read one by one after that.
    let sql = match &query.turn {
        None => format!(
            "SELECT {ITEM_COLUMNS} FROM items WHERE journal = ?1 AND seq > ?2 AND ?4 IS NULL ORDER BY seq LIMIT ?3"
        ),
        Some(_) => format!(
            "SELECT {ITEM_COLUMNS} FROM items WHERE journal = ?1 AND seq IN ( \
             SELECT seq FROM items WHERE journal = ?1 AND turn_id = ?4 AND seq > ?2 ORDER BY seq LIMIT ?3) \
             ORDER BY seq"
        ),
    };
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let turn = query.turn.as_ref().map(TurnId::as_str);
    let values = params![
        journal.0.as_bytes(),
        column(query.after.0),
        room.rows_left(),
        turn
    ];
    filled(statement.query(values).map_err(&failed)?, journal, room)
}

/// Items in the order of their changes.
pub(super) fn changed(
    conn: &Connection,
    journal: LogId,
    query: &query::ChangedItems,
    bound: Bound,
) -> Result<Vec<Item>, Error> {
    let failed = failed("reading changed items");
    let room = Room::of(bound);
    let sql = format!(
        "SELECT {ITEM_COLUMNS} FROM items INDEXED BY items_by_change \
         WHERE journal = ?1 AND (change, seq) > (?2, ?3) AND change <= ?4 ORDER BY change, seq LIMIT ?5"
    );
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let (change, after, to) = (column(query.change), column(query.after.0), column(query.to));
    let values = params![journal.0.as_bytes(), change, after, to, room.rows_left()];
    filled(statement.query(values).map_err(&failed)?, journal, room)
}

/// Turns that changed after `after`, in the order of their changes.
pub(super) fn changed_turns(
    conn: &Connection,
    journal: LogId,
    after: u64,
    rows: usize,
) -> Result<Vec<Turn>, Error> {
    let failed = failed("reading changed turns");
    let sql = format!(
        "SELECT {TURN_COLUMNS} FROM turns INDEXED BY turns_by_change \
         WHERE journal = ?1 AND change > ?2 ORDER BY change, number LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let values = params![journal.0.as_bytes(), column(after), column(rows as u64)];
    let mut rows = statement.query(values).map_err(&failed)?;
    let mut turns = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let turn = read_turn(Columns(row));
        turns.push(turn.map_err(|damage| Error::corrupt(format!("a turn of journal {journal}"), damage))?);
    }
    Ok(turns)
}

/// As many of the rows as there is room for.
fn filled(mut rows: Rows<'_>, journal: LogId, mut room: Room) -> Result<Vec<Item>, Error> {
    let failed = failed("reading items");
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let columns = Columns(row);
        let damaged = |damage| {
            let id = columns.text(3).unwrap_or("?");
            Error::corrupt(format!("item {id} of journal {journal}"), damage)
        };
        if !room.take(columns.blob(BODY).map_err(damaged)?.len()) {
            break;
        }
        items.push(read_item(columns).map_err(damaged)?);
    }
    Ok(items)
}

/// What the rules need of those items of a turn that are there.
pub(super) fn marks(
    conn: &Connection,
    journal: LogId,
    turn: &TurnId,
    ids: &[ItemId],
) -> Result<HashMap<ItemId, ItemMark>, Error> {
    let failed = failed("looking for items");
    let sql =
        "SELECT seq, status, create_time FROM items WHERE journal = ?1 AND turn_id = ?2 AND item_id = ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut marks = HashMap::new();
    for id in ids {
        let values = params![journal.0.as_bytes(), turn.as_str(), id.as_str()];
        let mut rows = statement.query(values).map_err(&failed)?;
        if let Some(row) = rows.next().map_err(&failed)? {
            let mark = read_mark(Columns(row));
            let mark =
                mark.map_err(|damage| Error::corrupt(format!("item {id} of journal {journal}"), damage))?;
            marks.insert(id.clone(), mark);
        }
    }
    Ok(marks)
}

/// Writes a turn.
pub(super) fn put_turn(conn: &Connection, turn: &Turn) -> rusqlite::Result<()> {
    let sql = "INSERT INTO turns (journal, number, turn_id, status, usage, error, start_time, end_time, \
        open_items, change, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
        ON CONFLICT DO UPDATE SET status = excluded.status, usage = excluded.usage, \
        error = excluded.error, start_time = excluded.start_time, end_time = excluded.end_time, \
        open_items = excluded.open_items, change = excluded.change, epoch = excluded.epoch";
    let row = TurnRow::from(turn);
    conn.prepare_cached(sql)?.execute(params![
        row.journal,
        row.number,
        row.turn_id,
        row.status,
        row.usage,
        row.error,
        row.start_time,
        row.end_time,
        row.open_items,
        row.change,
        row.epoch,
    ])?;
    Ok(())
}

/// Writes items, those with a known seq over what is there.
pub(super) fn put_items(conn: &Connection, items: &[Item]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO items (journal, seq, turn_id, item_id, kind, status, change, create_time, \
        end_time, digest, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
        ON CONFLICT DO UPDATE SET kind = excluded.kind, status = excluded.status, \
        change = excluded.change, create_time = excluded.create_time, end_time = excluded.end_time, \
        digest = excluded.digest, body = excluded.body";
    let mut statement = conn.prepare_cached(sql)?;
    for item in items {
        let row = ItemRow::from(item);
        statement.execute(params![
            row.journal,
            row.seq,
            row.turn_id,
            row.item_id,
            row.kind,
            row.status,
            row.change,
            row.create_time,
            row.end_time,
            row.digest,
            &item.body[..],
        ])?;
    }
    Ok(())
}

/// Gives a turn's queued and running items an end.
pub(super) fn end(
    conn: &Connection,
    journal: LogId,
    turn: &TurnId,
    (status, time, change): (Status, Time, u64),
) -> rusqlite::Result<()> {
    let sql = "UPDATE items SET status = ?3, end_time = ?4, change = ?5 \
               WHERE journal = ?1 AND turn_id = ?2 AND status IN (?6, ?7)";
    conn.prepare_cached(sql)?.execute(params![
        journal.0.as_bytes(),
        turn.as_str(),
        status.code(),
        time.0,
        column(change),
        Status::Queued.code(),
        Status::InProgress.code(),
    ])?;
    Ok(())
}

pub(super) fn read_turn(columns: Columns<'_>) -> Result<Turn, Damage> {
    Turn::try_from(TurnRow {
        journal: columns.blob(0)?,
        number: columns.integer(1)?,
        turn_id: columns.text(2)?,
        status: columns.integer(3)?,
        usage: columns.maybe_text(4)?.map(Into::into),
        error: columns.text(5)?,
        start_time: columns.integer(6)?,
        end_time: columns.maybe_integer(7)?,
        open_items: columns.integer(8)?,
        change: columns.integer(9)?,
        epoch: columns.integer(10)?,
    })
}

pub(super) fn read_item(columns: Columns<'_>) -> Result<Item, Damage> {
    let row = ItemRow {
        journal: columns.blob(0)?,
        seq: columns.integer(1)?,
        turn_id: columns.text(2)?,
        item_id: columns.text(3)?,
        kind: columns.integer(4)?,
        status: columns.integer(5)?,
        change: columns.integer(6)?,
        create_time: columns.integer(7)?,
        end_time: columns.maybe_integer(8)?,
        digest: columns.digest(9)?,
    };
    row.item(columns.blob(BODY)?.to_vec())
}

fn read_mark(columns: Columns<'_>) -> Result<ItemMark, Damage> {
    Ok(ItemMark {
        seq: Seq(number(columns.integer(0)?)?),
        status: Status::from_code(columns.integer(1)?)?,
        create_time: Time(columns.integer(2)?),
    })
}
