//! The list of threads: the last changed first.

use std::sync::Arc;

use super::{List, Sql, Value, are_few, looked_up};
use crate::domain::query::{self, Bound, Page, ThreadKey};
use crate::domain::{EngineId, SessionId, Thread, ThreadId, Time};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::threads;
use crate::store::record::Code;

/// Where `update_time` stands among the columns.
const UPDATE_TIME: usize = 10;

/// A page of threads after `after`.
pub(in crate::store::postgres) async fn threads(
    conn: &Conn,
    query: &query::Threads,
    after: Option<&ThreadKey>,
    bound: Bound,
) -> Result<Page<Arc<Thread>, ThreadKey>, Fault> {
    let few = few(conn, query).await?;
    let read = |columns: Columns<'_>| {
        let thread = threads::read(columns)?;
        Ok(query.admits(&thread).then(|| Arc::new(thread)))
    };
    let key = |columns: Columns<'_>| {
        let update_time = Time(columns.integer(UPDATE_TIME).ok()?);
        Some(ThreadKey {
            update_time,
            id: ThreadId::parse(columns.text(1).ok()?, "thread_id").ok()?,
        })
    };
    List {
        operation: "listing threads",
        hit: threads::COLUMNS_COUNT,
        bound,
        statement: |after: Option<&ThreadKey>, rows| statement(query, few.as_ref(), after, rows),
        read,
        key,
        size: |thread: &Arc<Thread>| thread.text_bytes(),
    }
    .page(conn, after)
    .await
}

/// Filters by name: the column, and what it has to be.
fn names(query: &query::Threads) -> [(&'static str, Option<&str>); 2] {
    [
        ("session", query.session.as_ref().map(SessionId::as_str)),
        ("engine", query.engine.as_ref().map(EngineId::as_str)),
    ]
}

/// The filter that names few rows, if there is one.
async fn few(conn: &Conn, query: &query::Threads) -> Result<Option<(&'static str, String)>, Fault> {
    for (column, name) in names(query) {
        let Some(name) = name else { continue };
        let values = [query.namespace.as_str(), name].map(|text| Value::Text(text.to_owned()));
        let condition = format!("namespace = $1 AND {column} = $2");
        if are_few(conn, "threads", &condition, &values).await? {
            return Ok(Some((column, name.to_owned())));
        }
    }
    Ok(None)
}

fn statement(
    query: &query::Threads,
    few: Option<&(&'static str, String)>,
    after: Option<&ThreadKey>,
    rows: usize,
) -> (String, Vec<Value>) {
    let mut sql = Sql::default();
    let mut condition = format!("namespace = {}", sql.text(query.namespace.as_str()));
    let mut source = "threads".to_owned();
    if let Some((column, name)) = few {
        source = looked_up(
            "threads",
            &format!("{condition} AND {column} = {}", sql.text(name)),
        );
        condition = "true".to_owned();
    }
    let mut hit = vec!["true".to_owned()];
    if !query.states.is_empty() {
        let states = query.states.iter().map(|state| state.code().to_string());
        hit.push(format!("state IN ({})", states.collect::<Vec<_>>().join(", ")));
    }
    for (column, name) in names(query) {
        if let Some(name) = name {
            hit.push(format!("{column} IS NOT DISTINCT FROM {}", sql.text(name)));
        }
    }
    if let Some(after) = after {
        let (time, id) = (sql.number(after.update_time.0), sql.text(after.id.as_str()));
        condition.push_str(&format!(" AND (update_time, thread_id) < ({time}, {id})"));
    }
    let text = format!(
        "SELECT {}, s.hit FROM (SELECT *, ({}) AS hit FROM {source} WHERE {condition} \
         ORDER BY update_time DESC, thread_id DESC LIMIT {rows}) AS s {} \
         ORDER BY s.update_time DESC, s.thread_id DESC",
        threads::COLUMNS,
        hit.join(" AND "),
        threads::JOINS_OF_HITS,
    );
    (text, sql.values)
}
