//! The tables, and how a database comes to have them: ordered steps, each in one transaction, all under one advisory
//! lock, so that replicas which start together take each step once.
//!
//! `schema_steps` says which steps were taken. A step also says how old a program may be that still works with what it
//! leaves: an additive step keeps the release before it going, so that replicas are replaced one by one. A database
//! that a later program has changed beyond that is refused untouched.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, IsolationLevel};

use super::fault::{Fault, Said, failed};
use super::open::OpenError;

/// A step: what it does, in SQL, and the version of the oldest program that works with what it leaves.
struct Step {
    name: &'static str,
    sql: &'static str,
    oldest: i64,
}

/// The steps, oldest first. A step that has shipped never changes; a new one is added.
const STEPS: &[Step] = &[
    Step {
        name: "the first tables",
        sql: FIRST,
        oldest: 1,
    },
    Step {
        name: "the search index",
        sql: super::index::TABLES,
        oldest: 1,
    },
];

/// The advisory lock under which steps are taken.
const LOCK: i64 = 0x7365_7373_696f_6e64;

/// How long it is before a lock that somebody else has is asked for again.
const LOCKED_FOR: Duration = Duration::from_millis(500);

/// How often it is asked for while another process takes steps: for ten minutes.
const LOCK_ATTEMPTS_MAX: u32 = 1_200;

/// How often a step is tried that finds a table in use.
const ATTEMPTS_MAX: u32 = 20;

/// What a database lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The steps it has been through.
    pub present: i64,
    /// The steps that this program knows.
    pub known: i64,
}

impl Schema {
    /// Whether nothing is to be done.
    pub fn is_current(&self) -> bool {
        self.present >= self.known
    }
}

/// Whether a database may be used, and what it lacks. Writes nothing.
pub(super) async fn look(client: &Client) -> Result<Schema, OpenError> {
    let failed = |error| OpenError::of(failed("reading the schema's version")(error));
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let sql = "SELECT to_regclass('schema_steps') IS NOT NULL, to_regclass('sessions') IS NOT NULL";
    let row = client.query_one(sql, &[]).await.map_err(failed)?;
    let (is_ours, has_sessions): (bool, bool) = (row.get(0), row.get(1));
    if !is_ours {
        return if has_sessions {
            Err(OpenError::Foreign)
        } else {
            Ok(Schema { present: 0, known })
        };
    }
    let sql = "SELECT coalesce(max(step), 0), coalesce(max(oldest), 0) FROM schema_steps";
    let row = client.query_one(sql, &[]).await.map_err(failed)?;
    let (present, oldest): (i64, i64) = (row.get(0), row.get(1));
    if oldest > known {
        return Err(OpenError::NewerSchema {
            found: present,
            known,
        });
    }
    Ok(Schema { present, known })
}

/// Takes a database through the steps it lacks.
pub(super) async fn migrate(client: &mut Client) -> Result<Schema, OpenError> {
    let fault = |error| OpenError::of(failed("preparing the database")(error));
    let before = look(client).await?;
    if before.is_current() {
        return Ok(before);
    }
    lock(client).await?;
    let done = steps(client).await;
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    done?;
    unlocked.map_err(fault)?;
    Ok(before)
}

/// Waits until nobody else takes steps.
async fn lock(client: &Client) -> Result<(), OpenError> {
    let operation = "waiting for who prepares the database";
    for attempt in 0..LOCK_ATTEMPTS_MAX {
        let locked = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
            .await;
        let locked = locked.and_then(|row| row.try_get(0));
        if locked.map_err(|error| OpenError::of(failed(operation)(error)))? {
            return Ok(());
        }
        if attempt == 0 {
            tracing::info!("another process prepares the database, and is waited for");
        }
        sleep(LOCKED_FOR).await;
    }
    let said = Said::of("another process does not come to an end with it");
    Err(OpenError::of(Fault::Database { operation, said }))
}

async fn steps(client: &mut Client) -> Result<(), OpenError> {
    let fault = |error| OpenError::of(failed("preparing the database")(error));
    // Somebody else may have taken them while this one waited.
    let present = look(client).await?.present;
    for (step, number) in STEPS.iter().zip(1_i64..).filter(|(_, number)| *number > present) {
        let mut attempt = 1;
        while let Err(error) = take(client, step, number).await {
            if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) || attempt == ATTEMPTS_MAX {
                return Err(fault(error));
            }
            tracing::warn!(
                step = number,
                name = step.name,
                "a table is in use, and the step is tried again"
            );
            attempt += 1;
            sleep(LOCKED_FOR).await;
        }
        tracing::info!(
            step = number,
            name = step.name,
            "the database was taken a step further"
        );
    }
    Ok(())
}

/// Takes a step. While it waits for a table, whoever comes for that table waits behind it: so it does not wait for long.
async fn take(client: &mut Client, step: &Step, number: i64) -> Result<(), Error> {
    let begun = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted);
    let transaction = begun.start().await?;
    transaction.batch_execute("SET LOCAL lock_timeout = '3s'").await?;
    transaction.batch_execute(step.sql).await?;
    let sql = "INSERT INTO schema_steps (step, name, oldest) VALUES ($1, $2, $3)";
    transaction
        .execute(sql, &[&number, &step.name, &step.oldest])
        .await?;
    transaction.commit().await
}

/// Names are compared character by character, as everywhere else: `COLLATE "C"`. What somebody wrote (titles,
/// workspaces, previews, large texts, errors) is `bytea`: it may hold U+0000, which text may not, and bytes of UTF-8 have
/// the order of its characters. JSON is text: it writes U+0000 as an escape.
///
/// An index takes no value of more than a third of a page: `workspace_key` and `source_key` are digests of what may be
/// longer.
///
/// Every primary key begins with a namespace, and within it a session, a thread or the like, or with a log: rows that are
/// read together lie together, also where a database is spread over many servers. The exceptions have a few rows, of the
/// whole store, which a spread database has everywhere: `schema_steps`, `store`, `filling`, `search_state`, and
/// `replicas`, a replica being of no namespace.
///
/// Columns of which many rows may have one value (the sub-sessions of one session, the forks that share one log) are called
/// distinct (`n_distinct`): a plan that is kept is for any value, and one made for the most common would walk a namespace to
/// find what few have.
///
/// `filling` has a row while a copy of another store is being put into the database, and says how far it has come.
///
/// `sessions`: an append writes `seq` to `update_time` alone. `path_parts` counts the parts of the log's path; upkeep
/// looks for long ones. `title_base` is null where there is no title.
const FIRST: &str = r#"
CREATE TABLE schema_steps (
    step bigint PRIMARY KEY, name text NOT NULL, oldest bigint NOT NULL, taken timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), identity uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO store DEFAULT VALUES;

CREATE TABLE sessions (
    namespace text COLLATE "C" NOT NULL, session_id text COLLATE "C" NOT NULL,
    state bigint NOT NULL, title bytea NOT NULL, title_base bytea, fork_number bigint NOT NULL,
    workspace bytea NOT NULL, workspace_key bytea, starred boolean NOT NULL,
    parent text COLLATE "C", origin text COLLATE "C", source text COLLATE "C", source_key bytea,
    thread_id text COLLATE "C", labels text NOT NULL, profile text NOT NULL,
    create_time bigint NOT NULL, purge_time bigint, log bytea NOT NULL, path_parts bigint NOT NULL,
    seq bigint NOT NULL, revision bigint NOT NULL, generation bigint NOT NULL, tally bytea NOT NULL,
    preview bytea NOT NULL, update_time bigint NOT NULL,
    PRIMARY KEY (namespace, session_id)
);
CREATE INDEX sessions_by_update ON sessions (namespace, state, update_time, session_id);
CREATE INDEX sessions_by_workspace ON sessions (namespace, workspace_key, state, update_time, session_id)
    WHERE workspace_key IS NOT NULL;
CREATE INDEX sessions_by_create ON sessions (namespace, state, create_time, session_id);
CREATE INDEX sessions_by_title ON sessions (namespace, state, title, session_id);
CREATE INDEX sessions_by_fork ON sessions (namespace, title_base, fork_number) WHERE title_base IS NOT NULL;
CREATE INDEX sessions_by_parent ON sessions (namespace, parent, session_id) WHERE parent IS NOT NULL;
CREATE INDEX sessions_by_origin ON sessions (namespace, origin, session_id) WHERE origin IS NOT NULL;
CREATE INDEX sessions_by_source ON sessions (namespace, source_key, session_id) WHERE source_key IS NOT NULL;
CREATE INDEX sessions_by_log ON sessions (log);
CREATE INDEX sessions_by_purge ON sessions (purge_time) WHERE purge_time IS NOT NULL;
CREATE INDEX sessions_by_parts ON sessions (path_parts) WHERE path_parts > 64;

CREATE TABLE session_texts (
    namespace text COLLATE "C" NOT NULL, session_id text COLLATE "C" NOT NULL,
    system_prompt bytea NOT NULL, settings_json bytea NOT NULL, metadata_json bytea NOT NULL,
    PRIMARY KEY (namespace, session_id)
);

CREATE TABLE logs (log bytea PRIMARY KEY, path bytea NOT NULL);
CREATE TABLE log_edges (
    part_log bytea NOT NULL, log bytea NOT NULL, to_seq bigint NOT NULL,
    PRIMARY KEY (part_log, log)
);
CREATE INDEX log_edges_by_log ON log_edges (log);
CREATE TABLE log_copies (
    original bytea NOT NULL, copy bytea NOT NULL, after_seq bigint NOT NULL, to_seq bigint NOT NULL,
    PRIMARY KEY (original, copy, after_seq)
);
CREATE INDEX log_copies_by_copy ON log_copies (copy);
CREATE TABLE loose (log bytea PRIMARY KEY, since bigint NOT NULL);
CREATE INDEX loose_by_since ON loose (since);

CREATE TABLE entries (
    log bytea NOT NULL, seq bigint NOT NULL, entry_id text COLLATE "C" NOT NULL, kind bigint NOT NULL,
    flags bigint NOT NULL, create_time bigint NOT NULL, preview bytea, tally bytea NOT NULL,
    digest bytea NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE INDEX entries_by_id ON entries (log, entry_id);

CREATE TABLE threads (
    namespace text COLLATE "C" NOT NULL, thread_id text COLLATE "C" NOT NULL,
    journal bytea NOT NULL, base_log bytea, base_tally bytea, state bigint NOT NULL,
    session text COLLATE "C", engine text COLLATE "C", profile text NOT NULL, create_time bigint NOT NULL,
    epoch bigint NOT NULL, active_turn text COLLATE "C", turns bigint NOT NULL, items bigint NOT NULL,
    open_items bigint NOT NULL, change bigint NOT NULL, marks text NOT NULL, update_time bigint NOT NULL,
    PRIMARY KEY (namespace, thread_id)
);
CREATE INDEX threads_by_update ON threads (namespace, update_time, thread_id);
CREATE INDEX threads_by_session ON threads (namespace, session) WHERE session IS NOT NULL;
CREATE INDEX threads_by_engine ON threads (namespace, engine, epoch) WHERE engine IS NOT NULL;
CREATE INDEX threads_by_journal ON threads (journal);
CREATE INDEX threads_by_base ON threads (base_log) WHERE base_log IS NOT NULL;

CREATE TABLE thread_texts (
    namespace text COLLATE "C" NOT NULL, thread_id text COLLATE "C" NOT NULL,
    system_prompt bytea NOT NULL, settings_json bytea NOT NULL,
    PRIMARY KEY (namespace, thread_id)
);

CREATE TABLE turns (
    journal bytea NOT NULL, turn_id text COLLATE "C" NOT NULL, number bigint NOT NULL, status bigint NOT NULL,
    usage text, error bytea NOT NULL, start_time bigint NOT NULL, end_time bigint,
    open_items bigint NOT NULL, change bigint NOT NULL, epoch bigint NOT NULL,
    PRIMARY KEY (journal, turn_id)
);
CREATE INDEX turns_by_number ON turns (journal, number);
CREATE INDEX turns_by_change ON turns (journal, change);

CREATE TABLE items (
    journal bytea NOT NULL, seq bigint NOT NULL, turn_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL, kind bigint NOT NULL, status bigint NOT NULL, change bigint NOT NULL,
    create_time bigint NOT NULL, end_time bigint, digest bytea NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (journal, seq)
);
CREATE INDEX items_by_id ON items (journal, turn_id, item_id, seq);
CREATE INDEX items_by_change ON items (journal, change, seq);

CREATE TABLE receipts (
    namespace text COLLATE "C" NOT NULL, request_id text COLLATE "C" NOT NULL, fingerprint bytea NOT NULL,
    outcome text NOT NULL, time bigint NOT NULL,
    PRIMARY KEY (namespace, request_id)
);
CREATE INDEX receipts_by_time ON receipts (time);

CREATE TABLE epochs (namespace text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL);
CREATE TABLE engines (
    namespace text COLLATE "C" NOT NULL, engine_id text COLLATE "C" NOT NULL, epoch bigint NOT NULL,
    profile text NOT NULL, attach_time bigint NOT NULL, detach_time bigint,
    replica text COLLATE "C", incarnation bigint,
    PRIMARY KEY (namespace, engine_id)
);
CREATE INDEX engines_attached ON engines (namespace, engine_id) WHERE detach_time IS NULL;
CREATE INDEX engines_by_detach ON engines (detach_time) WHERE detach_time IS NOT NULL;

CREATE TABLE replicas (
    replica text COLLATE "C" PRIMARY KEY, incarnation bigint NOT NULL, address bytea NOT NULL,
    lease_until bigint NOT NULL, join_time bigint NOT NULL
);

CREATE TABLE resumes (
    namespace text COLLATE "C" NOT NULL, resume_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL, thread_id text COLLATE "C" NOT NULL, engine text COLLATE "C",
    state bigint NOT NULL, source_log bytea, source_tally bytea, rest text NOT NULL,
    declined bytea, create_time bigint NOT NULL, end_time bigint,
    driver text COLLATE "C", driver_incarnation bigint,
    PRIMARY KEY (namespace, resume_id)
);
CREATE INDEX resumes_by_create ON resumes (namespace, create_time, resume_id);
CREATE INDEX resumes_by_session ON resumes (namespace, session_id);
CREATE INDEX resumes_by_thread ON resumes (namespace, thread_id);
CREATE INDEX resumes_by_engine ON resumes (namespace, engine) WHERE engine IS NOT NULL;
CREATE INDEX resumes_by_source ON resumes (source_log) WHERE end_time IS NULL;
CREATE INDEX resumes_by_end ON resumes (end_time) WHERE end_time IS NOT NULL;
CREATE INDEX resumes_of_all ON resumes (create_time, resume_id);
CREATE INDEX resumes_open ON resumes (create_time, resume_id) WHERE end_time IS NULL;
CREATE UNIQUE INDEX resumes_open_by_session ON resumes (namespace, session_id) WHERE end_time IS NULL;

CREATE TABLE past_heads (
    namespace text COLLATE "C" NOT NULL, session_id text COLLATE "C" NOT NULL, revision bigint NOT NULL,
    log bytea NOT NULL, tally bytea NOT NULL, incomplete_turn boolean NOT NULL, time bigint NOT NULL,
    PRIMARY KEY (namespace, session_id, revision)
);
CREATE INDEX past_heads_by_log ON past_heads (log);
CREATE INDEX past_heads_by_time ON past_heads (time);

CREATE TABLE filling (one boolean PRIMARY KEY DEFAULT true CHECK (one), reached text);

ALTER TABLE sessions ALTER parent SET (n_distinct = -1), ALTER origin SET (n_distinct = -1),
    ALTER title_base SET (n_distinct = -1), ALTER source_key SET (n_distinct = -1), ALTER log SET (n_distinct = -1);
ALTER TABLE log_edges ALTER log SET (n_distinct = -1);
ALTER TABLE log_copies ALTER copy SET (n_distinct = -1);
ALTER TABLE threads ALTER session SET (n_distinct = -1), ALTER engine SET (n_distinct = -1),
    ALTER base_log SET (n_distinct = -1);
ALTER TABLE resumes ALTER session_id SET (n_distinct = -1), ALTER thread_id SET (n_distinct = -1),
    ALTER engine SET (n_distinct = -1), ALTER source_log SET (n_distinct = -1);
ALTER TABLE past_heads ALTER session_id SET (n_distinct = -1), ALTER log SET (n_distinct = -1);
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::path::PARTS_SOFT_MAX;

    /// The first column of each table's primary key.
    fn keys() -> Vec<(&'static str, &'static str)> {
        let steps = STEPS
            .iter()
            .flat_map(|step| step.sql.split("CREATE TABLE ").skip(1));
        let key = |table: &'static str| {
            let (name, rest) = table.split_once(" (").expect("a name");
            let columns = rest.split_once("\n);").map_or(rest, |(columns, _)| columns);
            let first = match columns.split_once("PRIMARY KEY (") {
                Some((_, key)) => key.split([',', ')']).next(),
                // It stands behind its column, which is the first.
                None => columns.split_whitespace().next(),
            };
            (name, first.expect("a column"))
        };
        steps.map(key).collect()
    }

    #[test]
    fn primary_keys_begin_with_a_namespace_or_a_log() {
        let others = keys().into_iter().filter(|(_, first)| {
            let of_logs = ["log", "part_log", "original", "journal"];
            *first != "namespace" && !of_logs.contains(first)
        });
        let others: Vec<&str> = others.map(|(name, _)| name).collect();
        assert_eq!(
            others,
            ["schema_steps", "store", "replicas", "filling", "search_state"]
        );
        assert!(keys().len() > 20);
    }

    #[test]
    fn long_paths_are_those_that_the_domain_calls_long() {
        assert!(FIRST.contains(&format!("WHERE path_parts > {PARTS_SOFT_MAX};")));
    }
}
