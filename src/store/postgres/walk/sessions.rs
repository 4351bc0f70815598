//! The list of sessions, in any of its orders.

use std::sync::Arc;

use super::{List, Sql, Value, are_few, looked_up};
use crate::domain::query::{self, Bound, Order, Page, Place, SessionKey};
use crate::domain::{Session, SessionId, Time};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::sessions;
use crate::store::record::Code;

/// Where the value that orders the rows stands among the columns.
const PLACE: usize = sessions::COLUMNS_COUNT;

/// Where the filters' verdict stands.
const HIT: usize = PLACE + 1;

/// A filter that names few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Few {
    Prefix,
    Origin,
    Parent,
}

/// A page of sessions after `after`, in the query's order.
pub(in crate::store::postgres) async fn sessions(
    conn: &Conn,
    query: &query::Sessions,
    after: Option<&SessionKey>,
    bound: Bound,
) -> Result<Page<Arc<Session>, SessionKey>, Fault> {
    let few = few(conn, query).await?;
    let read = |columns: Columns<'_>| {
        let session = sessions::read(columns)?;
        Ok(query.admits(&session).then(|| Arc::new(session)))
    };
    let key = |columns: Columns<'_>| {
        let place = match query.order {
            Order::UpdateTimeDesc | Order::UpdateTimeAsc | Order::CreateTimeDesc | Order::CreateTimeAsc => {
                Place::Time(Time(columns.integer(PLACE).ok()?))
            }
            Order::TitleAsc | Order::TitleDesc => Place::Title(columns.written(PLACE).ok()?.to_owned()),
        };
        Some(SessionKey {
            place,
            id: SessionId::parse(columns.text(1).ok()?, "session_id").ok()?,
        })
    };
    List {
        operation: "listing sessions",
        hit: HIT,
        bound,
        statement: |after: Option<&SessionKey>, rows| statement(query, few, after, rows),
        read,
        key,
        size: |session: &Arc<Session>| session.text_bytes(),
    }
    .page(conn, after)
    .await
}

/// The statement of some rows and its values.
fn statement(
    query: &query::Sessions,
    few: Option<Few>,
    after: Option<&SessionKey>,
    rows: usize,
) -> (String, Vec<Value>) {
    let mut sql = Sql::default();
    let namespace = sql.text(query.namespace.as_str());
    let mut states: Vec<i64> = query.states.iter().map(|state| state.code()).collect();
    states.sort_unstable();
    states.dedup();
    let hit = hit(query, &mut sql);
    let place = place(query.order);
    let descends = query.order.is_descending();
    let (direction, passed) = if descends { ("DESC", "<") } else { ("ASC", ">") };
    let mut and = String::new();
    if let Some(after) = after {
        let place_after = match &after.place {
            Place::Time(time) => sql.number(time.0),
            Place::Title(title) => sql.bind(Value::Bytes(title.clone().into_bytes())),
        };
        let id = sql.text(after.id.as_str());
        and.push_str(&format!(
            " AND ({place}, session_id) {passed} ({place_after}, {id})"
        ));
    }
    if place == "update_time" {
        // Where a page goes on from a row, that row bounds the walk at this end.
        if let Some(time) = query.updated_after.filter(|_| after.is_none() || descends) {
            and.push_str(&format!(" AND update_time > {}", sql.number(time.0)));
        }
        if let Some(time) = query.updated_before.filter(|_| after.is_none() || !descends) {
            and.push_str(&format!(" AND update_time < {}", sql.number(time.0)));
        }
    }
    let select = |source: &str, states: &str| {
        format!(
            "SELECT *, {place} AS place, {hit} AS hit FROM {source} WHERE {states}{and} \
             ORDER BY {place} {direction}, session_id {direction} LIMIT {rows}"
        )
    };
    let walked = match few {
        Some(few) => {
            let states: Vec<String> = states.iter().map(i64::to_string).collect();
            let condition = condition(query, few, &mut sql);
            let looked_up = looked_up("sessions", &format!("namespace = {namespace}{condition}"));
            select(&looked_up, &format!("state IN ({})", states.join(", ")))
        }
        None => {
            let walk = workspace(query, place, &mut sql);
            let of_state = states
                .iter()
                .map(|state| format!("namespace = {namespace}{walk} AND state = {state}"))
                .map(|walked| format!("({})", select("sessions", &walked)));
            of_state.collect::<Vec<_>>().join(" UNION ALL ")
        }
    };
    let text = format!(
        "SELECT {}, s.place, s.hit FROM (SELECT * FROM ({walked}) AS found \
         ORDER BY place {direction}, session_id {direction} LIMIT {rows}) AS s {} \
         ORDER BY s.place {direction}, s.session_id {direction}",
        sessions::COLUMNS,
        sessions::JOINS_OF_HITS,
    );
    (text, sql.values)
}

/// The column that rows are ordered by; state by state an index has that order.
fn place(order: Order) -> &'static str {
    match order {
        Order::UpdateTimeDesc | Order::UpdateTimeAsc => "update_time",
        Order::CreateTimeDesc | Order::CreateTimeAsc => "create_time",
        Order::TitleAsc | Order::TitleDesc => "title",
    }
}

/// The part of a walk by update that is of one workspace.
fn workspace(query: &query::Sessions, place: &str, sql: &mut Sql) -> String {
    let key = query.workspace.as_ref().and_then(|text| sessions::key(text));
    match key {
        Some(key) if place == "update_time" => {
            format!(" AND workspace_key = {}", sql.bind(Value::Bytes(key)))
        }
        Some(_) | None => String::new(),
    }
}

/// The filter that names few rows, if there is one.
async fn few(conn: &Conn, query: &query::Sessions) -> Result<Option<Few>, Fault> {
    let prefix = query.id_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty());
    let parent = query.parent.as_ref().is_some_and(Option::is_some);
    for (is_asked, few) in [
        (prefix, Few::Prefix),
        (query.origin.is_some(), Few::Origin),
        (parent, Few::Parent),
    ] {
        if !is_asked {
            continue;
        }
        let mut sql = Sql::default();
        let namespace = sql.text(query.namespace.as_str());
        let condition = format!("namespace = {namespace}{}", condition(query, few, &mut sql));
        if are_few(conn, "sessions", &condition, &sql.values).await? {
            return Ok(Some(few));
        }
    }
    Ok(None)
}

fn condition(query: &query::Sessions, few: Few, sql: &mut Sql) -> String {
    let named = |column: &str, id: Option<&SessionId>, sql: &mut Sql| {
        let id = id.map_or("", SessionId::as_str);
        format!(" AND {column} = {}", sql.text(id))
    };
    match few {
        Few::Prefix => {
            let prefix = query.id_prefix.as_deref().unwrap_or_default();
            format!(" AND {}", begins(prefix, sql))
        }
        Few::Origin => named("origin", query.origin.as_ref(), sql),
        Few::Parent => named("parent", query.parent.as_ref().and_then(Option::as_ref), sql),
    }
}

/// The filters that SQL can tell by columns; the domain has the last word on all of them.
fn hit(query: &query::Sessions, sql: &mut Sql) -> String {
    let mut all = vec!["true".to_owned()];
    if let Some(workspace) = &query.workspace {
        let workspace = sql.bind(Value::Bytes(workspace.clone().into_bytes()));
        all.push(format!("workspace = {workspace}"));
    }
    if let Some(starred) = query.starred {
        all.push(format!("starred = {}", sql.bind(Value::Flag(starred))));
    }
    if let Some(origin) = &query.origin {
        let origin = sql.text(origin.as_str());
        all.push(format!("origin IS NOT DISTINCT FROM {origin}"));
    }
    if let Some(parent) = &query.parent {
        let parent = sql.bind(Value::MaybeText(parent.as_ref().map(ToString::to_string)));
        all.push(format!("parent IS NOT DISTINCT FROM {parent}"));
    }
    if let Some(prefix) = &query.id_prefix {
        all.push(begins(prefix, sql));
    }
    if let Some(time) = query.updated_after {
        all.push(format!("update_time > {}", sql.number(time.0)));
    }
    if let Some(time) = query.updated_before {
        all.push(format!("update_time < {}", sql.number(time.0)));
    }
    format!("({})", all.join(" AND "))
}

/// That an id begins so, as a range of the index. What no id can hold no id begins with.
fn begins(prefix: &str, sql: &mut Sql) -> String {
    if prefix.contains('\0') {
        return "false".to_owned();
    }
    let (from, to) = (sql.text(prefix), sql.text(&format!("{prefix}{}", char::MAX)));
    format!("session_id >= {from} AND session_id < {to}")
}
