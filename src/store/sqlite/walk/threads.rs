//! The list of threads: the last changed first.

use std::sync::Arc;

use rusqlite::{Connection, params_from_iter};

use super::{List, Selector, Sql};
use crate::domain::query::{self, Bound, Page, ThreadKey};
use crate::domain::{Thread, ThreadId, Time};
use crate::store::Error;
use crate::store::record::Code;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{failed, threads};

/// Where `update_time` stands among the columns.
const UPDATE_TIME: usize = 10;

/// A page of threads after `after`.
pub(in crate::store::sqlite) fn threads(
    conn: &Connection,
    query: &query::Threads,
    after: Option<&ThreadKey>,
    bound: Bound,
) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
    let operation = "listing threads";
    let (sql, values) = statement(conn, query, after)?;
    let mut statement = conn.prepare_cached(&sql).map_err(failed(operation))?;
    let mut rows = statement
        .query(params_from_iter(values))
        .map_err(failed(operation))?;
    let read = |columns: Columns<'_>| {
        let mut thread = threads::read(conn, columns)?;
        if !query.admits(&thread) {
            return Ok(None);
        }
        threads::add_texts(conn, &mut thread)?;
        Ok(Some(Arc::new(thread)))
    };
    let key = |columns: Columns<'_>| {
        let update_time = Time(columns.integer(UPDATE_TIME).ok()?);
        Some(ThreadKey {
            update_time,
            id: ThreadId::parse(columns.text(1).ok()?, "thread_id").ok()?,
        })
    };
    let size = |thread: &Arc<Thread>| thread.text_bytes();
    List {
        operation,
        hit: threads::COLUMNS_COUNT,
        bound,
        read,
        key,
        size,
    }
    .page(&mut rows)
}

fn statement(
    conn: &Connection,
    query: &query::Threads,
    after: Option<&ThreadKey>,
) -> Result<(String, Vec<rusqlite::types::Value>), Error> {
    let mut sql = Sql::default();
    let namespace = sql.bind(query.namespace.to_string());
    let mut source = Selector {
        index: "threads_by_update",
        condition: format!("namespace = {namespace}"),
    };
    let named = [
        (
            "threads_by_session",
            "session",
            query.session.as_ref().map(ToString::to_string),
        ),
        (
            "threads_by_engine",
            "engine",
            query.engine.as_ref().map(ToString::to_string),
        ),
    ];
    for (index, column, name) in named {
        let Some(name) = name else { continue };
        let name = sql.bind(name);
        let selector = Selector {
            index,
            condition: format!("namespace = {namespace} AND {column} = {name}"),
        };
        if sql.are_few(conn, "threads", &selector)? {
            source = selector;
            break;
        }
        sql.values.pop();
    }
    let mut hit = vec!["1".to_owned()];
    if !query.states.is_empty() {
        let states: Vec<String> = query
            .states
            .iter()
            .map(|state| state.code().to_string())
            .collect();
        hit.push(format!("state IN ({})", states.join(", ")));
    }
    for (column, name) in [
        ("session", query.session.as_ref().map(ToString::to_string)),
        ("engine", query.engine.as_ref().map(ToString::to_string)),
    ] {
        if let Some(name) = name {
            hit.push(format!("{column} IS {}", sql.bind(name)));
        }
    }
    let mut condition = source.condition;
    if let Some(after) = after {
        let (time, id) = (sql.bind(after.update_time.0), sql.bind(after.id.to_string()));
        condition.push_str(&format!(" AND (update_time, thread_id) < ({time}, {id})"));
    }
    let text = format!(
        "SELECT {}, {} AS hit FROM threads INDEXED BY {} WHERE {condition} \
         ORDER BY update_time DESC, thread_id DESC",
        threads::COLUMNS,
        hit.join(" AND "),
        source.index,
    );
    Ok((text, sql.values))
}
