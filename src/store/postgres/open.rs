//! Opening a database: what may be used, and what its connections are set to.

use std::time::Duration;

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::conn::connected;
use super::fault::{Fault, Said};
use super::schema::{self, Schema};
use super::tls::{Connector, NOTICED};
use super::url::Url;

/// The oldest PostgreSQL that is served with.
const VERSION_MIN: i32 = 130_000;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later version of this program has changed it beyond what this one works with; nothing was touched.
    #[error("the database has schema version {found}, this program knows up to {known}")]
    NewerSchema {
        /// The database's version.
        found: i64,
        /// The last version known.
        known: i64,
    },
    /// It lacks steps, and this program was told not to take them.
    #[error("the database has schema version {found}, this program needs {known}: run `sessiond migrate`")]
    OlderSchema {
        /// The database's version.
        found: i64,
        /// The version that is needed.
        known: i64,
    },
    /// A copy into it has not come to its end.
    #[error(
        "the database is half a copy of another store: run the same `sessiond copy` again to bring it to its end, or drop its tables"
    )]
    Unfinished,
    /// A copy goes into an empty place alone.
    #[error("the database is not empty: a copy goes into an empty place alone")]
    NotEmpty,
    /// Replicas serve it: a copy goes into a place that nobody has.
    #[error(
        "replicas with a lease serve the database ({replicas}): stop them first; one that has died is forgotten in seconds"
    )]
    Served {
        /// How many.
        replicas: u64,
    },
    /// Another copy fills it now.
    #[error("another copy is being put into the database")]
    Busy,
    /// It has tables of these names which are not this program's; nothing was touched.
    #[error("the database has tables that are not sessiond's")]
    Foreign,
    /// The server is too old.
    #[error("PostgreSQL 13 or newer is needed; this is {found}")]
    OldServer {
        /// Its version, as it numbers them.
        found: i32,
    },
    /// The database said no, or nothing.
    #[error("{operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is done about steps that a database lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// They are taken.
    Yes,
    /// The database is refused.
    No,
}

/// How a database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections that write.
    pub lanes: usize,
    /// Connections that read, at most.
    pub readers: usize,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// What is done about steps that it lacks.
    pub migrate: Migrate,
    /// The name of this replica, which its connections bear unless the URL gives them another.
    pub replica: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: 3,
            readers: 4,
            statement_timeout: Duration::from_secs(30),
            migrate: Migrate::Yes,
            replica: std::process::id().to_string(),
        }
    }
}

impl OpenError {
    pub(super) fn of(fault: Fault) -> Self {
        match fault {
            Fault::Database { operation, said } => Self::Database {
                operation,
                source: said.into(),
            },
            Fault::Damaged { row, reason } => Self::Database {
                operation: "reading the database",
                source: Said::of(format!("{row}: {reason}")).into(),
            },
        }
    }
}

impl Options {
    /// What a lane's connection is set to.
    pub(super) fn writing(&self) -> String {
        format!("{} {KEPT_PLANS} {HOLDS_LITTLE}", self.every())
    }

    /// What a connection that reads is set to.
    pub(super) fn reading(&self) -> String {
        format!("{} {KEPT_PLANS}", self.every())
    }

    /// What the connection that keeps the search index is set to.
    pub(super) fn indexing(&self) -> String {
        format!("{} {HOLDS_LITTLE}", self.every())
    }

    /// What a connection that copies is set to: of a large store one statement may take long, and so may the other store.
    pub(super) fn copying(&self) -> String {
        format!(
            "{} SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;",
            self.every()
        )
    }

    /// What every connection is set to. Every statement has indexes to go by, row by row; while tables are small or new
    /// the planner would not take them, and stay with that. Whoever is paused in the middle of a transaction loses it.
    fn every(&self) -> String {
        format!(
            "{NOTICED} SET statement_timeout = {}; SET synchronous_commit = on; SET jit = off; \
             SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
             SET enable_material = off; \
             SET idle_in_transaction_session_timeout = '30s'; \
             SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SET client_min_messages = warning; SET bytea_output = 'hex'; SET standard_conforming_strings = on;",
            self.statement_timeout.as_millis()
        )
    }
}

/// Planning a statement for the values of each execution takes longer than most of them.
const KEPT_PLANS: &str = "SET plan_cache_mode = force_generic_plan;";

/// Keys and rows are waited for, but not for ever, and not held for long by a process that is paused.
const HOLDS_LITTLE: &str = "SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '5s';";

/// What tells one store from another.
pub(super) const IDENTITY: &str = "SELECT uuid_send(identity) FROM store";

/// The identity that `row` says.
pub(super) fn identity(row: &Row) -> Uuid {
    let bytes = row.try_get::<_, &[u8]>(0).unwrap_or_default();
    Uuid::from_slice(bytes).unwrap_or_default()
}

/// A connection for what is done before anything else.
pub(super) async fn first(url: &Url, connector: &Connector) -> Result<Client, OpenError> {
    let (client, _) = connected(url, connector).await.map_err(OpenError::of)?;
    let failed = |error| OpenError::of(super::fault::failed("asking for the server's version")(error));
    client.batch_execute(NOTICED).await.map_err(failed)?;
    let row = client
        .query_one("SELECT current_setting('server_version_num')::integer", &[])
        .await
        .map_err(failed)?;
    let found: i32 = row.get(0);
    if found < VERSION_MIN {
        return Err(OpenError::OldServer { found });
    }
    Ok(client)
}

/// Has the database go through the steps it lacks, or says that it lacks some.
pub(super) async fn prepared(client: &mut Client, migrate: Migrate) -> Result<Schema, OpenError> {
    match migrate {
        Migrate::Yes => schema::migrate(client).await,
        Migrate::No => {
            let schema = schema::look(client).await?;
            if !schema.is_current() {
                return Err(OpenError::OlderSchema {
                    found: schema.present,
                    known: schema.known,
                });
            }
            Ok(schema)
        }
    }
}
