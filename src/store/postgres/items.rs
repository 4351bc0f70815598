//! The turns and items of a journal.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Row;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::query::{self, Bound};
use crate::domain::turn::{ItemMark, Status};
use crate::domain::{Item, ItemId, LogId, Seq, Time, Turn, TurnId};
use crate::store::record::{Code, Damage, ItemRow, TurnRow, column, log_id, number};
use crate::store::room::Room;

pub(super) const STATEMENTS: &[&str] = &[
    TURNS,
    ALL,
    OF_TURN,
    CHANGED,
    CHANGED_TURNS,
    MARKS,
    PUT_TURN,
    PUT_ITEMS,
    END,
];

/// Where the body stands among the columns of [`read_item`].
const BODY: usize = 10;

macro_rules! turn_columns {
    () => {
        "t.journal, t.number, t.turn_id, t.status, t.usage, t.error, t.start_time, t.end_time, t.open_items, \
         t.change, t.epoch"
    };
}

const TURNS: &str = concat!(
    "SELECT ",
    turn_columns!(),
    " FROM unnest($1::bytea[], $2::text[]) AS k (journal, id) \
      JOIN turns AS t ON t.journal = k.journal AND t.turn_id = k.id"
);

/// A turn's name.
pub(super) type Name = (LogId, TurnId);

/// These turns.
pub(super) async fn turns_named(
    conn: &Conn,
    names: &[Name],
) -> Result<HashMap<Name, Result<Turn, Fault>>, Fault> {
    let journals: Vec<&[u8]> = names
        .iter()
        .map(|(journal, _)| journal.0.as_bytes().as_slice())
        .collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let rows = conn.rows("reading a turn", TURNS, &[&journals, &ids]).await?;
    let mut turns = HashMap::new();
    for row in &rows {
        let columns = Columns(row);
        let name = || -> Result<Name, Damage> {
            let id = TurnId::parse(columns.text(2)?, "turn_id")?;
            Ok((log_id(columns.blob(0)?)?, id))
        };
        // It was asked for by this name.
        if let Ok((journal, id)) = name() {
            let turn = read_turn(columns);
            let turn =
                turn.map_err(|damage| Fault::damaged(format!("turn {id} of journal {journal}"), damage));
            turns.insert((journal, id), turn);
        }
    }
    Ok(turns)
}

/// A turn.
pub(super) async fn turn(conn: &Conn, journal: LogId, id: &TurnId) -> Result<Option<Turn>, Fault> {
    let name = (journal, id.clone());
    let mut found = turns_named(conn, std::slice::from_ref(&name)).await?;
    found.remove(&name).transpose()
}

/// The turns among `ids`, by number.
pub(super) async fn turns(conn: &Conn, journal: LogId, ids: &[TurnId]) -> Result<Vec<Turn>, Fault> {
    let names: Vec<Name> = ids.iter().map(|id| (journal, id.clone())).collect();
    let mut turns = BTreeMap::new();
    for turn in turns_named(conn, &names).await?.into_values() {
        let turn = turn?;
        turns.insert(turn.number, turn);
    }
    Ok(turns.into_values().collect())
}

/// The items that a condition lets through, as many as fit in so many rows and bytes, one at least.
macro_rules! page {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT journal, seq, turn_id, item_id, kind, status, change, create_time, end_time, digest, body \
             FROM (SELECT *, row_number() OVER page AS place, sum(octet_length(body)) OVER page AS bytes \
                FROM items WHERE journal = $1 AND ",
            $condition,
            " WINDOW page AS (ORDER BY ",
            $order,
            " ROWS UNBOUNDED PRECEDING) ORDER BY ",
            $order,
            " LIMIT $2) AS rows WHERE place = 1 OR bytes <= $3::bigint ORDER BY ",
            $order
        )
    };
}

const ALL: &str = page!("seq > $4", "seq");
/// `items_by_id` says where a turn's items are: of those that are not on the page no body is read.
const OF_TURN: &str = page!(
    "seq IN (SELECT seq FROM items WHERE journal = $1 AND turn_id = $5 AND seq > $4 ORDER BY seq LIMIT $2)",
    "seq"
);
const CHANGED: &str = page!("(change, seq) > ($4, $5) AND change <= $6", "change, seq");

/// Items in ascending order.
pub(super) async fn page(
    conn: &Conn,
    journal: LogId,
    query: &query::Items,
    bound: Bound,
) -> Result<Vec<Item>, Fault> {
    let operation = "reading items";
    let room = Room::of(bound);
    let (rows, bytes) = (room.rows_left(), column(bound.bytes as u64));
    let (log, after) = (journal.0.as_bytes().as_slice(), column(query.after.0));
    let rows = match &query.turn {
        None => conn.rows(operation, ALL, &[&log, &rows, &bytes, &after]).await?,
        Some(turn) => {
            conn.rows(operation, OF_TURN, &[&log, &rows, &bytes, &after, &turn.as_str()])
                .await?
        }
    };
    filled(&rows, journal, room)
}

/// Items in the order of their changes.
pub(super) async fn changed(
    conn: &Conn,
    journal: LogId,
    query: &query::ChangedItems,
    bound: Bound,
) -> Result<Vec<Item>, Fault> {
    let room = Room::of(bound);
    let (limit, bytes) = (room.rows_left(), column(bound.bytes as u64));
    let (change, after, to) = (column(query.change), column(query.after.0), column(query.to));
    let log = journal.0.as_bytes().as_slice();
    let rows = conn
        .rows(
            "reading changed items",
            CHANGED,
            &[&log, &limit, &bytes, &change, &after, &to],
        )
        .await?;
    filled(&rows, journal, room)
}

const CHANGED_TURNS: &str = concat!(
    "SELECT ",
    turn_columns!(),
    " FROM turns AS t WHERE t.journal = $1 AND t.change > $2 ORDER BY t.change, t.number LIMIT $3"
);

/// Turns that changed after `after`, in the order of their changes.
pub(super) async fn changed_turns(
    conn: &Conn,
    journal: LogId,
    after: u64,
    rows: usize,
) -> Result<Vec<Turn>, Fault> {
    let log = journal.0.as_bytes().as_slice();
    let rows = conn
        .rows(
            "reading changed turns",
            CHANGED_TURNS,
            &[&log, &column(after), &column(rows as u64)],
        )
        .await?;
    let turn = |row| read_turn(Columns(row));
    let turns: Result<_, Damage> = rows.iter().map(turn).collect();
    turns.map_err(|damage| Fault::damaged(format!("a turn of journal {journal}"), damage))
}

/// As many of the rows as there is room for.
fn filled(rows: &[Row], journal: LogId, mut room: Room) -> Result<Vec<Item>, Fault> {
    let mut items = Vec::new();
    for row in rows {
        let columns = Columns(row);
        let damaged = |damage| {
            let id = columns.text(3).unwrap_or("?");
            Fault::damaged(format!("item {id} of journal {journal}"), damage)
        };
        if !room.take(columns.blob(BODY).map_err(damaged)?.len()) {
            break;
        }
        items.push(read_item(columns).map_err(damaged)?);
    }
    Ok(items)
}

/// `OFFSET 0` keeps the planner from walking all items of the turn.
const MARKS: &str = "SELECT i.item_id, i.seq, i.status, i.create_time FROM unnest($3::text[]) AS k (id) CROSS JOIN LATERAL ( \
        SELECT item_id, seq, status, create_time FROM items \
        WHERE journal = $1 AND turn_id = $2 AND item_id = k.id OFFSET 0) AS i";

/// What the rules need of those items of a turn that are there.
pub(super) async fn marks(
    conn: &Conn,
    journal: LogId,
    turn: &TurnId,
    ids: &[ItemId],
) -> Result<HashMap<ItemId, ItemMark>, Fault> {
    let log = journal.0.as_bytes().as_slice();
    let ids: Vec<&str> = ids.iter().map(ItemId::as_str).collect();
    let rows = conn
        .rows("looking for items", MARKS, &[&log, &turn.as_str(), &ids])
        .await?;
    let mark = |row| -> Result<(ItemId, ItemMark), Damage> {
        let columns = Columns(row);
        let mark = ItemMark {
            seq: Seq(number(columns.integer(1)?)?),
            status: Status::from_code(columns.integer(2)?)?,
            create_time: Time(columns.integer(3)?),
        };
        Ok((ItemId::parse(columns.text(0)?, "item_id")?, mark))
    };
    let marks: Result<_, Damage> = rows.iter().map(mark).collect();
    marks.map_err(|damage| Fault::damaged(format!("an item of journal {journal}"), damage))
}

const PUT_TURN: &str = "INSERT INTO turns (journal, number, turn_id, status, usage, error, start_time, end_time, \
        open_items, change, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (journal, turn_id) DO UPDATE SET status = excluded.status, usage = excluded.usage, \
        error = excluded.error, start_time = excluded.start_time, end_time = excluded.end_time, \
        open_items = excluded.open_items, change = excluded.change, epoch = excluded.epoch";

/// Writes a turn.
pub(super) async fn put_turn(conn: &Conn, turn: &Turn) -> Result<(), Fault> {
    let row = TurnRow::from(turn);
    conn.run(
        "writing a turn",
        PUT_TURN,
        &[
            &row.journal,
            &row.number,
            &row.turn_id,
            &row.status,
            &row.usage.as_deref(),
            &row.error.as_bytes(),
            &row.start_time,
            &row.end_time,
            &row.open_items,
            &row.change,
            &row.epoch,
        ],
    )
    .await
    .map(drop)
}

const PUT_ITEMS: &str = "INSERT INTO items (journal, seq, turn_id, item_id, kind, status, change, create_time, end_time, \
        digest, body) \
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], \
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::bytea[]) \
    ON CONFLICT (journal, seq) DO UPDATE SET kind = excluded.kind, status = excluded.status, \
        change = excluded.change, create_time = excluded.create_time, end_time = excluded.end_time, \
        digest = excluded.digest, body = excluded.body";

/// Writes items of different places, those with a known seq over what is there.
pub(super) async fn put_items(conn: &Conn, items: &[&Item]) -> Result<(), Fault> {
    let rows: Vec<ItemRow<'_>> = items.iter().map(|item| ItemRow::from(*item)).collect();
    let bodies: Vec<&[u8]> = items.iter().map(|item| &item.body[..]).collect();
    conn.run(
        "writing items",
        PUT_ITEMS,
        &[
            &rows.iter().map(|row| row.journal).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.turn_id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.item_id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.status).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.change).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.create_time).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.end_time).collect::<Vec<_>>(),
            &rows.iter().map(|row| &row.digest[..]).collect::<Vec<_>>(),
            &bodies,
        ],
    )
    .await
    .map(drop)
}

const END: &str = "UPDATE items SET status = $3, end_time = $4, change = $5 \
    WHERE journal = $1 AND turn_id = $2 AND status IN ($6, $7)";

/// Gives a turn's queued and running items an end.
pub(super) async fn end(
    conn: &Conn,
    journal: LogId,
    turn: &TurnId,
    (status, time, change): (Status, Time, u64),
) -> Result<(), Fault> {
    let log = journal.0.as_bytes().as_slice();
    conn.run(
        "ending items",
        END,
        &[
            &log,
            &turn.as_str(),
            &status.code(),
            &time.0,
            &column(change),
            &Status::Queued.code(),
            &Status::InProgress.code(),
        ],
    )
    .await
    .map(drop)
}

pub(super) fn read_turn(columns: Columns<'_>) -> Result<Turn, Damage> {
    Turn::try_from(TurnRow {
        journal: columns.blob(0)?,
        number: columns.integer(1)?,
        turn_id: columns.text(2)?,
        status: columns.integer(3)?,
        usage: columns.maybe_text(4)?.map(Into::into),
        error: columns.written(5)?,
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
