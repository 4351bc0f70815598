//! The list of resumes: the newest first.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{List, Selector, Sql};
use crate::domain::query::{self, Bound, Page, ResumeKey};
use crate::domain::resume::State;
use crate::domain::{Resume, ResumeId, Time};
use crate::store::Error;
use crate::store::record::Code;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{failed, resumes};

/// Where `create_time` stands among the columns.
const CREATE_TIME: usize = 10;

/// A page of resumes after `after`.
pub(in crate::store::sqlite) fn resumes(
    conn: &Connection,
    query: &query::Resumes,
    after: Option<&ResumeKey>,
    bound: Bound,
) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
    let operation = "listing resumes";
    let (sql, values) = statement(conn, query, after)?;
    let mut statement = conn.prepare_cached(&sql).map_err(failed(operation))?;
    let mut rows = statement
        .query(params_from_iter(values))
        .map_err(failed(operation))?;
    let read = |columns: Columns<'_>| {
        let resume = resumes::read(conn, columns)?;
        Ok(query.admits(&resume).then(|| Arc::new(resume)))
    };
    let key = |columns: Columns<'_>| {
        let create_time = Time(columns.integer(CREATE_TIME).ok()?);
        Some(ResumeKey {
            create_time,
            id: ResumeId::parse(columns.text(1).ok()?, "resume_id").ok()?,
        })
    };
    let size = |resume: &Arc<Resume>| resume.text_bytes();
    List {
        operation,
        hit: resumes::COLUMNS_COUNT,
        bound,
        read,
        key,
        size,
    }
    .page(&mut rows)
}

fn statement(
    conn: &Connection,
    query: &query::Resumes,
    after: Option<&ResumeKey>,
) -> Result<(String, Vec<Value>), Error> {
    let mut sql = Sql::default();
    let names = [
        (
            "resumes_by_session",
            "session_id",
            query.session.as_ref().map(ToString::to_string),
        ),
        (
            "resumes_by_thread",
            "thread_id",
            query.thread.as_ref().map(ToString::to_string),
        ),
        (
            "resumes_by_engine",
            "engine",
            query.engine.as_ref().map(ToString::to_string),
        ),
    ];
    let source = source(conn, query, &names, &mut sql)?;
    let mut hit = vec!["1".to_owned()];
    if !query.states.is_empty() {
        let states: Vec<String> = query
            .states
            .iter()
            .map(|state| state.code().to_string())
            .collect();
        hit.push(format!("state IN ({})", states.join(", ")));
    }
    for (_, column, name) in names {
        if let Some(name) = name {
            hit.push(format!("{column} IS {}", sql.bind(name)));
        }
    }
    let mut condition = source.condition;
    if let Some(after) = after {
        let (time, id) = (sql.bind(after.create_time.0), sql.bind(after.id.to_string()));
        condition.push_str(&format!(" AND (create_time, resume_id) < ({time}, {id})"));
    }
    let text = format!(
        "SELECT {}, {} AS hit FROM resumes INDEXED BY {} WHERE {condition} \
         ORDER BY create_time DESC, resume_id DESC",
        resumes::COLUMNS,
        hit.join(" AND "),
        source.index,
    );
    Ok((text, sql.values))
}

/// The index to walk. A restart looks for what has not ended in all namespaces, and finds no more than that.
fn source(
    conn: &Connection,
    query: &query::Resumes,
    names: &[(&'static str, &str, Option<String>)],
    sql: &mut Sql,
) -> Result<Selector, Error> {
    let Some(namespace) = &query.namespace else {
        let open = !query.states.is_empty() && !query.states.iter().copied().any(State::is_end);
        let (index, condition) = if open {
            ("resumes_open", "end_time IS NULL")
        } else {
            ("resumes_of_all", "1")
        };
        let condition = condition.to_owned();
        return Ok(Selector { index, condition });
    };
    let namespace = sql.bind(namespace.to_string());
    for (index, column, name) in names {
        let Some(name) = name else { continue };
        let name = sql.bind(name.clone());
        let selector = Selector {
            index,
            condition: format!("namespace = {namespace} AND {column} = {name}"),
        };
        if sql.are_few(conn, "resumes", &selector)? {
            return Ok(selector);
        }
        sql.values.pop();
    }
    Ok(Selector {
        index: "resumes_by_create",
        condition: format!("namespace = {namespace}"),
    })
}
