//! The list of sessions, in any of its orders.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{List, Selector, Sql};
use crate::domain::query::{self, Bound, Order, Page, Place, SessionKey};
use crate::domain::{Session, SessionId, Time};
use crate::store::Error;
use crate::store::record::Code;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{failed, sessions};

/// Where the value that orders the rows stands among the columns.
const PLACE: usize = sessions::COLUMNS_COUNT;

/// Where the filters' verdict stands.
const HIT: usize = PLACE + 1;

/// A page of sessions after `after`, in the query's order.
pub(in crate::store::sqlite) fn sessions(
    conn: &Connection,
    query: &query::Sessions,
    after: Option<&SessionKey>,
    bound: Bound,
) -> Result<Page<Arc<Session>, SessionKey>, Error> {
    match page(conn, query, after, bound) {
        Err(Error::Corrupt { row, reason }) => {
            tracing::error!(row, reason, "a list goes on past what cannot be read");
            past_damage(conn, query, after, bound)
        }
        page => page,
    }
}

fn page(
    conn: &Connection,
    query: &query::Sessions,
    after: Option<&SessionKey>,
    bound: Bound,
) -> Result<Page<Arc<Session>, SessionKey>, Error> {
    let operation = "listing sessions";
    let (sql, values) = statement(conn, query, after)?;
    let mut statement = conn.prepare_cached(&sql).map_err(failed(operation))?;
    let mut rows = statement
        .query(params_from_iter(values))
        .map_err(failed(operation))?;
    let read = |columns: Columns<'_>| {
        let mut session = sessions::read(conn, columns)?;
        if !query.admits(&session) {
            return Ok(None);
        }
        sessions::add_texts(conn, &mut session)?;
        Ok(Some(Arc::new(session)))
    };
    let key = |columns: Columns<'_>| {
        Some(SessionKey {
            place: place_of(query.order, columns, PLACE)?,
            id: SessionId::parse(columns.text(1).ok()?, "session_id").ok()?,
        })
    };
    let size = |session: &Arc<Session>| session.text_bytes();
    List {
        operation,
        hit: HIT,
        bound,
        read,
        key,
        size,
    }
    .page(&mut rows)
}

/// The same page where a part of the table cannot be read: the index that has the order says which rows there are, and
/// each is read by itself. Slower, as no filter is told by SQL.
fn past_damage(
    conn: &Connection,
    query: &query::Sessions,
    after: Option<&SessionKey>,
    bound: Bound,
) -> Result<Page<Arc<Session>, SessionKey>, Error> {
    let operation = "listing sessions";
    let (sql, values) = keys(query, after);
    let mut statement = conn.prepare_cached(&sql).map_err(failed(operation))?;
    let mut rows = statement
        .query(params_from_iter(values))
        .map_err(failed(operation))?;
    let id = |columns: Columns<'_>| SessionId::parse(columns.text(0).ok()?, "session_id").ok();
    let read = |columns: Columns<'_>| {
        let Some(id) = id(columns) else { return Ok(None) };
        let session = sessions::session(conn, &query.namespace, &id)?;
        Ok(session.filter(|session| query.admits(session)))
    };
    let key = |columns: Columns<'_>| {
        Some(SessionKey {
            place: place_of(query.order, columns, 1)?,
            id: id(columns)?,
        })
    };
    let size = |session: &Arc<Session>| session.text_bytes();
    List {
        operation,
        hit: 2,
        bound,
        read,
        key,
        size,
    }
    .page(&mut rows)
}

/// The keys of the rows after `after`, as the index of the order has them.
fn keys(query: &query::Sessions, after: Option<&SessionKey>) -> (String, Vec<Value>) {
    let mut sql = Sql::default();
    let namespace = sql.bind(query.namespace.to_string());
    let (place, index) = place(query.order);
    let (direction, passed) = if query.order.is_descending() {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let behind = after.map_or_else(String::new, |after| {
        let (at, id) = (bind_place(&mut sql, &after.place), sql.bind(after.id.to_string()));
        format!(" AND ({place}, session_id) {passed} ({at}, {id})")
    });
    let mut states: Vec<i64> = query.states.iter().map(|state| state.code()).collect();
    states.sort_unstable();
    states.dedup();
    let selects = states.iter().map(|state| {
        format!(
            "SELECT session_id, {place} AS place, 1 FROM sessions INDEXED BY {index} \
             WHERE namespace = {namespace} AND state = {state}{behind}"
        )
    });
    let selects = selects.collect::<Vec<_>>().join(" UNION ALL ");
    let order = format!("ORDER BY place {direction}, session_id {direction}");
    (format!("{selects} {order}"), sql.values)
}

/// The value that orders a row.
fn place_of(order: Order, columns: Columns<'_>, at: usize) -> Option<Place> {
    match order {
        Order::UpdateTimeDesc | Order::UpdateTimeAsc | Order::CreateTimeDesc | Order::CreateTimeAsc => {
            Some(Place::Time(Time(columns.integer(at).ok()?)))
        }
        Order::TitleAsc | Order::TitleDesc => Some(Place::Title(columns.text(at).ok()?.to_owned())),
    }
}

fn bind_place(sql: &mut Sql, place: &Place) -> String {
    match place {
        Place::Time(time) => sql.bind(time.0),
        Place::Title(title) => sql.bind(title.clone()),
    }
}

/// The statement of a page and its values.
pub(in crate::store::sqlite) fn statement(
    conn: &Connection,
    query: &query::Sessions,
    after: Option<&SessionKey>,
) -> Result<(String, Vec<Value>), Error> {
    let mut sql = Sql::default();
    let namespace = sql.bind(query.namespace.to_string());
    let mut states: Vec<i64> = query.states.iter().map(|state| state.code()).collect();
    states.sort_unstable();
    states.dedup();
    let few = few(conn, query, &namespace, &mut sql)?;
    let hit = hit(query, &mut sql);
    let (place, by_order) = place(query.order);
    let (direction, passed) = if query.order.is_descending() {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let mut and = String::new();
    if let Some(after) = after {
        let place_after = bind_place(&mut sql, &after.place);
        let id = sql.bind(after.id.to_string());
        and.push_str(&format!(
            " AND ({place}, session_id) {passed} ({place_after}, {id})"
        ));
    }
    if place == "update_time" {
        // Where a page goes on from a row, that row bounds the walk at this end.
        let descends = query.order.is_descending();
        if let Some(time) = query.updated_after.filter(|_| after.is_none() || descends) {
            and.push_str(&format!(" AND update_time > {}", sql.bind(time.0)));
        }
        if let Some(time) = query.updated_before.filter(|_| after.is_none() || !descends) {
            and.push_str(&format!(" AND update_time < {}", sql.bind(time.0)));
        }
    }
    let columns = format!("{}, {place} AS place, {hit} AS hit", sessions::COLUMNS);
    let select = |source: &Selector, states: &str| {
        let Selector { index, condition } = source;
        format!("SELECT {columns} FROM sessions INDEXED BY {index} WHERE {condition} AND {states}{and}")
    };
    let states: Vec<String> = states.iter().map(i64::to_string).collect();
    let selects = match few {
        Some(few) => select(&few, &format!("state IN ({})", states.join(", "))),
        None => {
            let walk = walk(query, &namespace, by_order, &mut sql);
            let of_state = states
                .iter()
                .map(|state| select(&walk, &format!("state = {state}")));
            of_state.collect::<Vec<_>>().join(" UNION ALL ")
        }
    };
    Ok((
        format!("{selects} ORDER BY place {direction}, session_id {direction}"),
        sql.values,
    ))
}

/// The column that rows are ordered by, and the index that has them in that order, state by state.
fn place(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::UpdateTimeDesc | Order::UpdateTimeAsc => ("update_time", "sessions_by_update"),
        Order::CreateTimeDesc | Order::CreateTimeAsc => ("create_time", "sessions_by_create"),
        Order::TitleAsc | Order::TitleDesc => ("title", "sessions_by_title"),
    }
}

/// The walk along an index that has the order.
fn walk(query: &query::Sessions, namespace: &str, by_order: &'static str, sql: &mut Sql) -> Selector {
    let condition = format!("namespace = {namespace}");
    match &query.workspace {
        Some(workspace) if by_order == "sessions_by_update" && !workspace.is_empty() => {
            let workspace = sql.bind(workspace.clone());
            let condition = format!("{condition} AND workspace = {workspace} AND workspace <> ''");
            Selector {
                index: "sessions_by_workspace",
                condition,
            }
        }
        Some(_) | None => Selector {
            index: by_order,
            condition,
        },
    }
}

/// The filter that names few rows, if there is one. Its values alone stay bound.
fn few(
    conn: &Connection,
    query: &query::Sessions,
    namespace: &str,
    sql: &mut Sql,
) -> Result<Option<Selector>, Error> {
    let bound = sql.values.len();
    if let Some(prefix) = query.id_prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
        let condition = format!("namespace = {namespace} AND {}", begins(prefix, sql));
        let selector = Selector {
            index: "sqlite_autoindex_sessions_1",
            condition,
        };
        if sql.are_few(conn, "sessions", &selector)? {
            return Ok(Some(selector));
        }
        sql.values.truncate(bound);
    }
    let named = [
        ("sessions_by_origin", "origin", query.origin.as_ref()),
        (
            "sessions_by_parent",
            "parent",
            query.parent.as_ref().and_then(Option::as_ref),
        ),
    ];
    for (index, column, id) in named {
        let Some(id) = id else { continue };
        let id = sql.bind(id.to_string());
        let selector = Selector {
            index,
            condition: format!("namespace = {namespace} AND {column} = {id}"),
        };
        if sql.are_few(conn, "sessions", &selector)? {
            return Ok(Some(selector));
        }
        sql.values.truncate(bound);
    }
    Ok(None)
}

/// The filters that SQL can tell by columns; the domain has the last word on all of them.
fn hit(query: &query::Sessions, sql: &mut Sql) -> String {
    let mut all = vec!["1".to_owned()];
    if let Some(workspace) = &query.workspace {
        all.push(format!("workspace = {}", sql.bind(workspace.clone())));
    }
    if let Some(starred) = query.starred {
        all.push(format!("starred = {}", sql.bind(starred)));
    }
    if let Some(origin) = &query.origin {
        all.push(format!("origin IS {}", sql.bind(origin.to_string())));
    }
    if let Some(parent) = &query.parent {
        all.push(format!(
            "parent IS {}",
            sql.bind(parent.as_ref().map(ToString::to_string))
        ));
    }
    if let Some(prefix) = &query.id_prefix {
        all.push(begins(prefix, sql));
    }
    if let Some(time) = query.updated_after {
        all.push(format!("update_time > {}", sql.bind(time.0)));
    }
    if let Some(time) = query.updated_before {
        all.push(format!("update_time < {}", sql.bind(time.0)));
    }
    all.join(" AND ")
}

/// That an id begins so, as a range of the index.
fn begins(prefix: &str, sql: &mut Sql) -> String {
    let (from, to) = (
        sql.bind(prefix.to_owned()),
        sql.bind(format!("{prefix}{}", char::MAX)),
    );
    format!("session_id >= {from} AND session_id < {to}")
}
