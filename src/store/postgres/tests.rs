//! The suite on PostgreSQL, and what is PostgreSQL's own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};

use tokio_postgres::NoTls;
use uuid::Uuid;

use super::{Filling, Options, Postgres, Url};
use crate::store::conformance::{Backend, conformance};
use crate::store::{Fill, Store};

/// The variable that names a cluster which is there already.
const VARIABLE: &str = "SESSIOND_TEST_POSTGRES";

/// The variable that has every table split by the first column of its primary key, into so many parts: as the tables of a
/// distributed PostgreSQL are.
const PARTS_VARIABLE: &str = "SESSIOND_TEST_POSTGRES_PARTS";

/// Splits the tables of schema `SCHEMA` into `PARTS`, but for those of a few rows that belong to no session.
const SPLIT: &str = r"
DO $$
DECLARE t record; whole text;
BEGIN
    FOR t IN
        SELECT c.relname AS name, a.attname AS key
        FROM pg_class c
        JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE c.relnamespace = 'SCHEMA'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
            AND c.relname NOT IN ('store', 'schema_steps', 'replicas', 'filling', 'search_state')
    LOOP
        whole := t.name || '_whole';
        EXECUTE format('ALTER TABLE SCHEMA.%I RENAME TO %I', t.name, whole);
        EXECUTE format('CREATE TABLE SCHEMA.%I (LIKE SCHEMA.%I INCLUDING ALL) PARTITION BY HASH (%I)',
            t.name, whole, t.key);
        FOR part IN 0 .. PARTS - 1 LOOP
            EXECUTE format('CREATE TABLE SCHEMA.%I PARTITION OF SCHEMA.%I FOR VALUES WITH (MODULUS PARTS, REMAINDER %s)',
                t.name || '_' || part, t.name, part);
        END LOOP;
        EXECUTE format('INSERT INTO SCHEMA.%I SELECT * FROM SCHEMA.%I', t.name, whole);
        EXECUTE format('DROP TABLE SCHEMA.%I', whole);
    END LOOP;
END
$$";

/// Each store of the suite has a schema of its own, in one cluster of the process.
struct InSchema(String);

/// A cluster that lives as long as this process: it ends when its input does.
struct Lent {
    url: String,
    _process: Option<Child>,
}

/// Where the tests' databases are.
fn cluster() -> &'static str {
    static CLUSTER: OnceLock<Lent> = OnceLock::new();
    let lent = CLUSTER.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(url) => Lent {
            url,
            _process: None,
        },
        Err(_) => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres");
            let mut process = Command::new(script)
                .arg("lend")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("scripts/postgres can be run");
            let mut url = String::new();
            let output = process.stdout.take().expect("it was piped");
            BufReader::new(output).read_line(&mut url).expect("it can be read");
            let hint = "scripts/postgres could not start a cluster: install PostgreSQL, or set SESSIOND_TEST_POSTGRES";
            assert!(url.starts_with("postgres://"), "{hint}");
            Lent {
                url: url.trim().to_owned(),
                _process: Some(process),
            }
        }
    });
    &lent.url
}

/// Runs statements in the cluster, and gives the first number of the last one's rows.
async fn told(sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(cluster(), NoTls)
        .await
        .expect("it is there");
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.expect("it can be run");
    drop(client);
    let _ = connection.await;
    let number = messages.iter().rev().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()),
        _ => None,
    });
    number.unwrap_or_default()
}

impl InSchema {
    async fn new() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        told(&format!("CREATE SCHEMA {name}")).await;
        Self(name)
    }

    fn url(&self) -> Url {
        self.url_with("%20-csessiond.clock%3Dcommit")
    }

    /// Where leases are judged by the database's clock.
    fn url_by_clock(&self) -> Url {
        self.url_with("")
    }

    fn url_with(&self, options: &str) -> Url {
        let url = cluster();
        let sign = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{sign}options=-csearch_path%3D{}{options}", self.0);
        Url::from_str(&url).expect("a URL")
    }
}

impl Drop for InSchema {
    fn drop(&mut self) {
        let sql = format!("DROP SCHEMA {} CASCADE", self.0);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(told(&sql));
        });
        // A test that has failed says more than this could.
        let _ = dropping.join();
    }
}

impl Backend for InSchema {
    async fn another(&self) -> Self {
        Self::new().await
    }

    async fn fill(&self) -> Result<Arc<dyn Fill>, String> {
        let filling = Filling::open(&self.url(), &Options::default()).await;
        Ok(Arc::new(filling.map_err(|error| error.to_string())?))
    }

    async fn try_open(&self) -> Result<Arc<dyn Store>, String> {
        let options = Options {
            lanes: 2,
            readers: 3,
            ..Options::default()
        };
        let said = |error: super::OpenError| error.to_string();
        if let Ok(parts) = std::env::var(PARTS_VARIABLE) {
            let empty = Postgres::open(&self.url(), &options).await.map_err(said)?;
            empty.close().await;
            told(&SPLIT.replace("SCHEMA", &self.0).replace("PARTS", &parts)).await;
        }
        let store = Postgres::open(&self.url(), &options).await;
        Ok(Arc::new(store.map_err(said)?))
    }

    async fn rows(&self) -> u64 {
        let tables = [
            "logs",
            "log_edges",
            "log_copies",
            "entries",
            "items",
            "turns",
            "loose",
        ];
        let counts = tables.map(|table| format!("(SELECT count(*) FROM {}.{table})", self.0));
        told(&format!("SELECT {}", counts.join(" + ")))
            .await
            .cast_unsigned()
    }
}

mod encryption;
mod family;
mod finding;
mod keeper;
mod lanes;
mod locked;
mod losses;
mod opening;
mod plans;
mod replicas;

conformance!(suite, InSchema::new().await);
