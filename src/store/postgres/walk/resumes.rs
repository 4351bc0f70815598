//! The list of resumes: the newest first.

use std::sync::Arc;

use super::{List, Sql, Value, are_few, looked_up};
use crate::domain::query::{self, Bound, Page, ResumeKey};
use crate::domain::resume::State;
use crate::domain::{EngineId, Resume, ResumeId, SessionId, ThreadId, Time};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::resumes;
use crate::store::record::Code;

/// Where `create_time` stands among the columns.
const CREATE_TIME: usize = 10;

/// A page of resumes after `after`.
pub(in crate::store::postgres) async fn resumes(
    conn: &Conn,
    query: &query::Resumes,
    after: Option<&ResumeKey>,
    bound: Bound,
) -> Result<Page<Arc<Resume>, ResumeKey>, Fault> {
    let few = few(conn, query).await?;
    let read = |columns: Columns<'_>| {
        let resume = resumes::read(columns)?;
        Ok(query.admits(&resume).then(|| Arc::new(resume)))
    };
    let key = |columns: Columns<'_>| {
        let create_time = Time(columns.integer(CREATE_TIME).ok()?);
        Some(ResumeKey {
            create_time,
            id: ResumeId::parse(columns.text(1).ok()?, "resume_id").ok()?,
        })
    };
    List {
        operation: "listing resumes",
        hit: resumes::COLUMNS_COUNT,
        bound,
        statement: |after: Option<&ResumeKey>, rows| statement(query, few.as_ref(), after, rows),
        read,
        key,
        size: |resume: &Arc<Resume>| resume.text_bytes(),
    }
    .page(conn, after)
    .await
}

/// Filters by name: the column, and what it has to be.
fn names(query: &query::Resumes) -> [(&'static str, Option<&str>); 3] {
    [
        ("session_id", query.session.as_ref().map(SessionId::as_str)),
        ("thread_id", query.thread.as_ref().map(ThreadId::as_str)),
        ("engine", query.engine.as_ref().map(EngineId::as_str)),
    ]
}

/// The filter that names few rows, if there is one.
async fn few(conn: &Conn, query: &query::Resumes) -> Result<Option<(&'static str, String)>, Fault> {
    let Some(namespace) = &query.namespace else {
        return Ok(None);
    };
    for (column, name) in names(query) {
        let Some(name) = name else { continue };
        let values = [namespace.as_str(), name].map(|text| Value::Text(text.to_owned()));
        let condition = format!("namespace = $1 AND {column} = $2");
        if are_few(conn, "resumes", &condition, &values).await? {
            return Ok(Some((column, name.to_owned())));
        }
    }
    Ok(None)
}

fn statement(
    query: &query::Resumes,
    few: Option<&(&'static str, String)>,
    after: Option<&ResumeKey>,
    rows: usize,
) -> (String, Vec<Value>) {
    let mut sql = Sql::default();
    let mut condition = match &query.namespace {
        Some(namespace) => format!("namespace = {}", sql.text(namespace.as_str())),
        None => "true".to_owned(),
    };
    // Whoever looks for what has not ended finds no more than that.
    if !query.states.is_empty() && !query.states.iter().copied().any(State::is_end) {
        condition.push_str(" AND end_time IS NULL");
    }
    let mut source = "resumes".to_owned();
    if let Some((column, name)) = few {
        source = looked_up(
            "resumes",
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
        let (time, id) = (sql.number(after.create_time.0), sql.text(after.id.as_str()));
        condition.push_str(&format!(" AND (create_time, resume_id) < ({time}, {id})"));
    }
    let text = format!(
        "SELECT {}, s.hit FROM (SELECT *, ({}) AS hit FROM {source} WHERE {condition} \
         ORDER BY create_time DESC, resume_id DESC LIMIT {rows}) AS s {} \
         ORDER BY s.create_time DESC, s.resume_id DESC",
        resumes::COLUMNS,
        hit.join(" AND "),
        resumes::JOINS,
    );
    (text, sql.values)
}
