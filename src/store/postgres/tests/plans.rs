//! By which plans the database runs statements.

use tokio_postgres::types::Type;

use super::{InSchema, told};
use crate::domain::{Namespace, SessionId};
use crate::store::Store as _;
use crate::store::postgres::conn::{Conn, PLANS_KEPT_FOR};
use crate::store::postgres::pool::{Plans, Reading};
use crate::store::postgres::{Options, Postgres, sessions};

/// Tables of a few rows each, which may be walked.
const SMALL: [&str; 2] = ["replicas", "search_state"];

/// Sessions that nobody can have looked at when they were put in.
const SESSIONS: &str = "INSERT INTO SCHEMA.sessions SELECT 'default', 'session-' || n, 0, '', NULL, 0, '', NULL, false, \
    NULL, NULL, NULL, NULL, NULL, '{}', '{}', n, NULL, sha256(n::text::bytea), 0, 0, 1, 1, '', '', n \
    FROM generate_series(1, 20000) AS n";

/// Columns by which no row is to be sifted out: there are indexes for that.
const SIFTED: [&str; 14] = [
    "parent",
    "origin",
    "title_base",
    "source_key",
    "log",
    "copy",
    "session",
    "engine",
    "base_log",
    "turn_id",
    "item_id",
    "session_id",
    "thread_id",
    "source_log",
];

/// Rows that have all in common that rows can: any one value of a column says nothing about how few have it.
const ALIKE: &str = "SET search_path = SCHEMA; \
    INSERT INTO sessions SELECT 'default', 'session-' || n, 0, '', 'title', n, '', 'work', false, 'session-1', 'session-1', \
        'source', 'source', 'thread', '{}', '{}', 1, 1, 'log', 65, 0, 1, 1, '', '', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO session_texts SELECT 'default', 'session-' || n, '', '', '' FROM generate_series(1, 20000) AS n; \
    INSERT INTO logs SELECT int8send(n), '' FROM generate_series(1, 20000) AS n; \
    INSERT INTO log_edges SELECT 'log', int8send(n), 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO log_edges SELECT int8send(n), 'log', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO log_copies SELECT 'log', 'copy', n, n FROM generate_series(1, 20000) AS n; \
    INSERT INTO loose SELECT int8send(n), 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO entries SELECT 'log', n, 'entry-' || n, 0, 0, 1, NULL, '', '', '' FROM generate_series(1, 20000) AS n; \
    INSERT INTO threads SELECT 'default', 'thread-' || n, 'journal', 'log', '', 0, 'session-1', 'engine', '{}', 1, 1, NULL, \
        1, 1, 0, 1, '', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO thread_texts SELECT 'default', 'thread-' || n, '', '' FROM generate_series(1, 20000) AS n; \
    INSERT INTO turns SELECT 'journal', 'turn-' || n, n, 0, NULL, '', 1, NULL, 0, 1, 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO items SELECT 'journal', n, 'turn-' || n / 10, 'item-' || n, 0, 0, 1, 1, NULL, '', '' FROM generate_series(1, 20000) AS n; \
    INSERT INTO receipts SELECT 'default', n, '', '', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO engines SELECT 'default', n, 1, '', 1, NULL, 'replica', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO resumes SELECT 'default', n, 'session-' || n, 'thread', 'engine', 0, 'log', '', '', NULL, 1, NULL, 'replica', 1 \
        FROM generate_series(1, 20000) AS n; \
    INSERT INTO past_heads SELECT 'default', 'session-1', n, 'log', '', false, 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO search_logs SELECT int8send(n), 'default', 1 FROM generate_series(1, 20000) AS n; \
    INSERT INTO search_messages SELECT 'default', n, 'log', n, 1, '', 'word' FROM generate_series(1, 20000) AS n; \
    ANALYZE";

async fn store(schema: &InSchema) -> Postgres {
    let options = Options {
        readers: 1,
        ..Options::default()
    };
    Postgres::open(&schema.url(), &options).await.expect("opened")
}

/// The plan that is kept of each statement that is prepared.
async fn kept(conn: &Conn) -> Vec<(String, String)> {
    let all = "SELECT name, statement, cardinality(parameter_types)::bigint FROM pg_prepared_statements \
        WHERE NOT from_sql AND statement ~ '^(SELECT|INSERT|UPDATE|DELETE|WITH)'";
    let rows = conn
        .rows_of("looking at statements", all, &[])
        .await
        .expect("read");
    let mut plans = Vec::new();
    for row in rows {
        let (name, statement, values): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let nulls = vec!["NULL"; usize::try_from(values).expect("a few")].join(", ");
        let values = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        let sql = format!("EXPLAIN (COSTS OFF) EXECUTE \"{name}\"{values}");
        let lines = conn
            .rows_of("looking at a plan", &sql, &[])
            .await
            .expect(&statement);
        let lines: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        plans.push((statement, lines.join("\n")));
    }
    plans
}

async fn closed(store: &Postgres, reading: Reading) {
    let end = reading.end(Ok::<_, crate::store::Error>(()));
    end.await.expect("given back");
    store.close().await;
}

#[tokio::test]
async fn no_kept_plan_walks_a_table() {
    let schema = InSchema::new().await;
    let store = store(&schema).await;
    let reading = store.pool.one("looking at plans").await.expect("there is one");
    let plans = kept(&reading).await;
    assert!(plans.len() > 80, "{}", plans.len());
    for (statement, plan) in plans {
        for line in plan.lines() {
            let walked = line
                .split_once("Seq Scan on ")
                .map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
            assert!(
                walked.is_none_or(|table| SMALL.contains(&table)),
                "{statement}\n{plan}"
            );
        }
        assert!(
            !plan.contains("Hash Join") && !plan.contains("Merge Join"),
            "{statement}\n{plan}"
        );
    }
    closed(&store, reading).await;
}

/// Whatever most rows have in common, what few rows have is found by its index.
#[tokio::test]
async fn no_kept_plan_is_for_what_is_common() {
    let schema = InSchema::new().await;
    store(&schema).await.close().await;
    told(&ALIKE.replace("SCHEMA", &schema.0)).await;
    let store = store(&schema).await;
    let reading = store.pool.one("looking at plans").await.expect("there is one");
    let plans = kept(&reading).await;
    assert!(plans.len() > 80, "{}", plans.len());
    for (statement, plan) in plans {
        for (_, filter) in plan.lines().filter_map(|line| line.split_once("Filter: ")) {
            let passed = SIFTED.iter().find(|column| {
                let names = filter.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
                let is_named = names.into_iter().any(|name| name == **column);
                is_named && !filter.contains(&format!("{column} IS NULL"))
            });
            assert_eq!(passed, None, "{statement}\n{plan}");
        }
        assert!(!plan.contains("Materialize"), "{statement}\n{plan}");
    }
    closed(&store, reading).await;
}

#[tokio::test]
async fn a_plan_from_when_a_table_was_empty_is_not_kept_when_it_is_full() {
    let schema = InSchema::new().await;
    let store = store(&schema).await;
    let ns = Namespace::parse("default").expect("valid");
    let id = SessionId::parse("session-1", "session_id").expect("valid");
    assert!(store.session(&ns, &id).await.expect("read").is_none());
    told(&SESSIONS.replace("SCHEMA", &schema.0)).await;
    for _ in 0..=PLANS_KEPT_FOR {
        let nobody = SessionId::parse("nobody", "session_id").expect("valid");
        assert!(store.session(&ns, &nobody).await.expect("read").is_none());
    }
    let reading = store.pool.one("looking at plans").await.expect("there is one");
    let plans = kept(&reading).await;
    let (_, plan) = plans
        .iter()
        .find(|(statement, _)| statement == sessions::NAMED)
        .expect("it is prepared");
    assert!(plan.contains("sessions_pkey"), "{plan}");
    closed(&store, reading).await;
}

#[tokio::test]
async fn a_list_is_planned_for_what_it_looks_for() {
    let schema = InSchema::new().await;
    let store = store(&schema).await;
    for (plans, expected) in [
        (Plans::Kept, "force_generic_plan"),
        (Plans::Own, "force_custom_plan"),
    ] {
        let reading = store
            .pool
            .state("looking at a setting", plans)
            .await
            .expect("there is one");
        let setting = "SELECT current_setting($1)";
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] =
            [(&"plan_cache_mode", Type::TEXT)];
        let rows = reading
            .rows_of("looking at a setting", setting, &values)
            .await
            .expect("read");
        assert_eq!(rows[0].get::<_, String>(0), expected);
        reading
            .end(Ok::<_, crate::store::Error>(()))
            .await
            .expect("given back");
    }
    store.close().await;
}
