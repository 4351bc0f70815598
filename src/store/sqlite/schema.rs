//! The tables, and how a file comes to have them: ordered steps, each in one transaction.
//!
//! Every key begins with namespace, log or journal. Bodies come last in their rows, so that what stands
//! before them is read without them. A step that has shipped never changes; a new one is added.

use rusqlite::Connection;

/// Marks a file as this program's: `sesd`.
pub(super) const APPLICATION_ID: i32 = 0x7365_7364;

/// The steps, oldest first; a file's `user_version` says how many it has been through.
const STEPS: &[&str] = &[FIRST];

/// The version of a file that has been through all steps.
pub(super) fn known_version() -> i32 {
    i32::try_from(STEPS.len()).expect("steps are written by hand")
}

/// Takes a file of `version` through the steps it lacks.
pub(super) fn migrate(conn: &Connection, version: i32) -> rusqlite::Result<()> {
    for (step, reached) in STEPS.iter().zip(1..).filter(|(_, reached)| *reached > version) {
        let sql = format!(
            "BEGIN IMMEDIATE; {step} PRAGMA application_id = {APPLICATION_ID}; \
             PRAGMA user_version = {reached}; COMMIT;"
        );
        conn.execute_batch(&sql).inspect_err(|_| {
            // Where the transaction ended by itself there is nothing to take back.
            let _ = conn.execute_batch("ROLLBACK");
        })?;
    }
    Ok(())
}

/// `sessions`: an append writes `seq` to `update_time` alone, and so touches the two indexes by
/// update_time and no other. `path_parts` counts the parts of the log's path; upkeep looks for long
/// ones. `title_base` is null where there is no title.
///
/// `filling` has a row while a copy of another store is being put into the file, and says how far it has come.
///
/// `entries` and `items` are heaps with unique indexes: appended to, they go half as fast again as tables
/// in the order of their keys.
const FIRST: &str = "
CREATE TABLE sessions (
    namespace TEXT NOT NULL, session_id TEXT NOT NULL,
    state INTEGER NOT NULL, title TEXT NOT NULL, title_base TEXT, fork_number INTEGER NOT NULL,
    workspace TEXT NOT NULL, starred INTEGER NOT NULL, parent TEXT, origin TEXT, source TEXT, thread_id TEXT,
    labels TEXT NOT NULL, profile TEXT NOT NULL, create_time INTEGER NOT NULL, purge_time INTEGER,
    log BLOB NOT NULL, path_parts INTEGER NOT NULL,
    seq INTEGER NOT NULL, revision INTEGER NOT NULL, generation INTEGER NOT NULL, tally BLOB NOT NULL,
    preview TEXT NOT NULL, update_time INTEGER NOT NULL,
    PRIMARY KEY (namespace, session_id)
) STRICT;
CREATE INDEX sessions_by_update ON sessions (namespace, state, update_time, session_id);
CREATE INDEX sessions_by_workspace ON sessions (namespace, workspace, state, update_time, session_id)
    WHERE workspace <> '';
CREATE INDEX sessions_by_create ON sessions (namespace, state, create_time, session_id);
CREATE INDEX sessions_by_title ON sessions (namespace, state, title, session_id);
CREATE INDEX sessions_by_fork ON sessions (namespace, title_base, fork_number)
    WHERE title_base IS NOT NULL;
CREATE INDEX sessions_by_parent ON sessions (namespace, parent, session_id) WHERE parent IS NOT NULL;
CREATE INDEX sessions_by_origin ON sessions (namespace, origin, session_id) WHERE origin IS NOT NULL;
CREATE INDEX sessions_by_source ON sessions (namespace, source, session_id) WHERE source IS NOT NULL;
CREATE INDEX sessions_by_log ON sessions (log);
CREATE INDEX sessions_by_purge ON sessions (purge_time) WHERE purge_time IS NOT NULL;
CREATE INDEX sessions_by_parts ON sessions (path_parts) WHERE path_parts > 64;

CREATE TABLE session_texts (
    namespace TEXT NOT NULL, session_id TEXT NOT NULL,
    system_prompt TEXT NOT NULL, settings_json TEXT NOT NULL, metadata_json TEXT NOT NULL,
    PRIMARY KEY (namespace, session_id)
) STRICT;

CREATE TABLE logs (
    log BLOB NOT NULL PRIMARY KEY, path BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE log_edges (
    part_log BLOB NOT NULL, log BLOB NOT NULL, to_seq INTEGER NOT NULL,
    PRIMARY KEY (part_log, log)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_copies (
    original BLOB NOT NULL, copy BLOB NOT NULL, after_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL,
    PRIMARY KEY (original, copy, after_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_copies_by_copy ON log_copies (copy);
CREATE TABLE loose (
    log BLOB NOT NULL PRIMARY KEY, since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX loose_by_since ON loose (since);

CREATE TABLE entries (
    log BLOB NOT NULL, seq INTEGER NOT NULL, entry_id TEXT NOT NULL, kind INTEGER NOT NULL,
    flags INTEGER NOT NULL, create_time INTEGER NOT NULL, preview TEXT, tally BLOB NOT NULL,
    digest BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (log, seq)
) STRICT;
CREATE INDEX entries_by_id ON entries (log, entry_id);

CREATE TABLE threads (
    namespace TEXT NOT NULL, thread_id TEXT NOT NULL,
    journal BLOB NOT NULL, base_log BLOB, base_tally BLOB, state INTEGER NOT NULL, session TEXT,
    engine TEXT, profile TEXT NOT NULL, create_time INTEGER NOT NULL,
    epoch INTEGER NOT NULL, active_turn TEXT, turns INTEGER NOT NULL, items INTEGER NOT NULL,
    open_items INTEGER NOT NULL, change INTEGER NOT NULL, marks TEXT NOT NULL,
    update_time INTEGER NOT NULL,
    PRIMARY KEY (namespace, thread_id)
) STRICT;
CREATE INDEX threads_by_update ON threads (namespace, update_time, thread_id);
CREATE INDEX threads_by_session ON threads (namespace, session) WHERE session IS NOT NULL;
CREATE INDEX threads_by_engine ON threads (namespace, engine, epoch) WHERE engine IS NOT NULL;
CREATE INDEX threads_by_journal ON threads (journal);
CREATE INDEX threads_by_base ON threads (base_log) WHERE base_log IS NOT NULL;

CREATE TABLE thread_texts (
    namespace TEXT NOT NULL, thread_id TEXT NOT NULL,
    system_prompt TEXT NOT NULL, settings_json TEXT NOT NULL,
    PRIMARY KEY (namespace, thread_id)
) STRICT;

CREATE TABLE turns (
    journal BLOB NOT NULL, turn_id TEXT NOT NULL, number INTEGER NOT NULL, status INTEGER NOT NULL,
    usage TEXT, error TEXT NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER,
    open_items INTEGER NOT NULL, change INTEGER NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (journal, turn_id)
) STRICT;
CREATE INDEX turns_by_number ON turns (journal, number);
CREATE INDEX turns_by_change ON turns (journal, change);

CREATE TABLE items (
    journal BLOB NOT NULL, seq INTEGER NOT NULL, turn_id TEXT NOT NULL, item_id TEXT NOT NULL,
    kind INTEGER NOT NULL, status INTEGER NOT NULL, change INTEGER NOT NULL,
    create_time INTEGER NOT NULL, end_time INTEGER, digest BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (journal, seq)
) STRICT;
CREATE INDEX items_by_id ON items (journal, turn_id, item_id, seq);
CREATE INDEX items_by_change ON items (journal, change, seq);

CREATE TABLE receipts (
    namespace TEXT NOT NULL, request_id TEXT NOT NULL, fingerprint BLOB NOT NULL,
    outcome TEXT NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (namespace, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_time ON receipts (time);

CREATE TABLE epochs (
    namespace TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE engines (
    namespace TEXT NOT NULL, engine_id TEXT NOT NULL, epoch INTEGER NOT NULL, profile TEXT NOT NULL,
    attach_time INTEGER NOT NULL, detach_time INTEGER, replica TEXT, incarnation INTEGER,
    PRIMARY KEY (namespace, engine_id)
) STRICT;
CREATE INDEX engines_attached ON engines (namespace, engine_id) WHERE detach_time IS NULL;
CREATE INDEX engines_by_detach ON engines (detach_time) WHERE detach_time IS NOT NULL;

CREATE TABLE replicas (
    replica TEXT NOT NULL PRIMARY KEY, incarnation INTEGER NOT NULL, address TEXT NOT NULL,
    lease_until INTEGER NOT NULL, join_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE resumes (
    namespace TEXT NOT NULL, resume_id TEXT NOT NULL, session_id TEXT NOT NULL, thread_id TEXT NOT NULL,
    engine TEXT, state INTEGER NOT NULL, source_log BLOB, source_tally BLOB, rest TEXT NOT NULL,
    declined BLOB, create_time INTEGER NOT NULL, end_time INTEGER, driver TEXT, driver_incarnation INTEGER,
    PRIMARY KEY (namespace, resume_id)
) STRICT;
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
    namespace TEXT NOT NULL, session_id TEXT NOT NULL, revision INTEGER NOT NULL,
    log BLOB NOT NULL, tally BLOB NOT NULL, incomplete_turn INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (namespace, session_id, revision)
) STRICT;
CREATE INDEX past_heads_by_log ON past_heads (log);
CREATE INDEX past_heads_by_time ON past_heads (time);

CREATE TABLE filling (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), reached TEXT
) STRICT;
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::path::PARTS_SOFT_MAX;

    #[test]
    fn long_paths_are_those_that_the_domain_calls_long() {
        assert!(FIRST.contains(&format!("WHERE path_parts > {PARTS_SOFT_MAX};")));
    }

    #[test]
    fn steps_are_taken_once() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn, 0).unwrap();
        let version: i32 = conn
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, known_version());
        migrate(&conn, version).unwrap();
    }
}
