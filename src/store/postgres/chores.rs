//! Work that upkeep finds, by indexes that hold nothing else.

use tokio_postgres::types::ToSql;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::limits::{ENGINE_LIFE, PAST_HEAD_LIFE, RECEIPT_LIFE, RESUME_LIFE, STAGING_LIFE};
use crate::domain::{EngineId, Namespace, Revision, SessionId, Time};
use crate::store::Chore;
use crate::store::record::{Damage, column, log_id, number};

pub(super) const STATEMENTS: &[&str] = &[RECEIPTS, PURGES, LOOSE, LONG, RESUMES, HEADS, ENGINES];

const RECEIPTS: &str = "SELECT 1::bigint FROM receipts WHERE time < $2 LIMIT least(1::bigint, $1)";
const PURGES: &str = "SELECT namespace, session_id FROM sessions WHERE purge_time IS NOT NULL AND purge_time <= $2 \
    ORDER BY purge_time LIMIT $1";
const LOOSE: &str = "SELECT log FROM loose WHERE since <= $2 ORDER BY since LIMIT $1";
const LONG: &str = "SELECT namespace, session_id FROM sessions WHERE path_parts > 64 \
    ORDER BY path_parts, namespace, session_id LIMIT $1";
const RESUMES: &str =
    "SELECT 1::bigint FROM resumes WHERE end_time IS NOT NULL AND end_time < $2 LIMIT least(1::bigint, $1)";
const HEADS: &str =
    "SELECT namespace, session_id, revision FROM past_heads WHERE time < $2 ORDER BY time LIMIT $1";
const ENGINES: &str = "SELECT namespace, engine_id FROM engines WHERE detach_time IS NOT NULL AND detach_time < $2 \
    AND NOT EXISTS (SELECT 1 FROM threads \
        WHERE threads.namespace = engines.namespace AND threads.engine = engines.engine_id) \
    ORDER BY detach_time LIMIT $1";

/// At most `rows` pieces of work as of `now`.
pub(super) async fn chores(conn: &Conn, now: Time, rows: usize) -> Result<Vec<Chore>, Fault> {
    let mut found = Found {
        conn,
        rows,
        chores: Vec::new(),
    };
    found
        .add(RECEIPTS, Some(now.before(RECEIPT_LIFE)), |_| {
            Ok(Chore::ExpireReceipts)
        })
        .await?;
    let purge = |columns: Columns<'_>| session(columns).map(|(ns, id)| Chore::Purge(ns, id));
    found.add(PURGES, Some(now), purge).await?;
    let sweep = |columns: Columns<'_>| Ok(Chore::Sweep(log_id(columns.blob(0)?)?));
    found.add(LOOSE, Some(now.before(STAGING_LIFE)), sweep).await?;
    let compact = |columns: Columns<'_>| session(columns).map(|(ns, id)| Chore::Compact(ns, id));
    found.add(LONG, None, compact).await?;
    found
        .add(RESUMES, Some(now.before(RESUME_LIFE)), |_| {
            Ok(Chore::ExpireResumes)
        })
        .await?;
    let head = |columns: Columns<'_>| {
        let (ns, id) = session(columns)?;
        Ok(Chore::ExpireHead(ns, id, Revision(number(columns.integer(2)?)?)))
    };
    found.add(HEADS, Some(now.before(PAST_HEAD_LIFE)), head).await?;
    let engine = |columns: Columns<'_>| {
        let id = EngineId::parse(columns.text(1)?, "engine_id")?;
        Ok(Chore::ForgetEngine(Namespace::parse(columns.text(0)?)?, id))
    };
    found.add(ENGINES, Some(now.before(ENGINE_LIFE)), engine).await?;
    Ok(found.chores)
}

struct Found<'a> {
    conn: &'a Conn,
    rows: usize,
    chores: Vec<Chore>,
}

impl Found<'_> {
    /// Adds what `sql` finds, in the room that is left; a row that cannot be read is left out.
    async fn add(
        &mut self,
        sql: &'static str,
        time: Option<Time>,
        chore: impl Fn(Columns<'_>) -> Result<Chore, Damage>,
    ) -> Result<(), Fault> {
        let left = column((self.rows - self.chores.len().min(self.rows)) as u64);
        let time = time.map(|time| time.0);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&left];
        values.extend(time.as_ref().map(|time| time as &(dyn ToSql + Sync)));
        for row in &self.conn.rows("looking for chores", sql, &values).await? {
            match chore(Columns(row)) {
                Ok(chore) => self.chores.push(chore),
                Err(damage) => tracing::error!(%damage, "a chore cannot be read"),
            }
        }
        Ok(())
    }
}

fn session(columns: Columns<'_>) -> Result<(Namespace, SessionId), Damage> {
    Ok((
        Namespace::parse(columns.text(0)?)?,
        SessionId::parse(columns.text(1)?, "session_id")?,
    ))
}
