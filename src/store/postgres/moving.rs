//! A database that is copied from, in one snapshot, and one that is copied into, under a lock that one copy has.
//!
//! The snapshot is of one moment, whatever replicas write meanwhile; what they write would stay behind, so they should be
//! stopped: how many there are is told. A replica that has the target open already is not told that it is filled: while a
//! lease runs there, it is not filled.

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::conn::Conn;
use super::fault::{Fault, Said, failed};
use super::open::{self, OpenError, Options};
use super::tls::Connector;
use super::url::Url;
use super::{effects, survey};
use crate::domain::Effect;
use crate::domain::query::Bound;
use crate::store::Error;
use crate::store::stored::Stored;
use crate::store::survey::{Fill, Key, Stretch, Survey};

/// The name of the connection that copies.
const APPLICATION: &str = "sessiond/copy";

/// The advisory lock of who fills a database, beside the hash of its name and schema.
const LOCK: i32 = 0x6669_6c6c;

/// What is known of how the tables are filled is of the time when they were empty.
const FINISH: &str = "ANALYZE sessions, session_texts, logs, log_edges, log_copies, loose, entries, threads, \
    thread_texts, turns, items, receipts, epochs, engines, resumes, past_heads; DELETE FROM filling";

/// Refuses a database that a copy has not filled to its end.
pub(super) async fn check_whole(client: &Client) -> Result<(), OpenError> {
    let fault = |error| OpenError::of(failed("looking whether a copy is whole")(error));
    let row = client
        .query_one("SELECT EXISTS (SELECT 1 FROM filling)", &[])
        .await
        .map_err(fault)?;
    if row.get(0) {
        return Err(OpenError::Unfinished);
    }
    Ok(())
}

/// Whether a replica's lease runs, by the database's clock.
macro_rules! lives {
    () => {
        "lease_until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
    };
}

pub(super) use lives;

const LEASES: &str = concat!("SELECT count(*) FROM replicas WHERE ", lives!());

/// A database that is read whole.
#[derive(Debug)]
pub struct Archive {
    conn: Conn,
    served_by: u64,
}

impl Archive {
    /// Opens a database, which must have every table and be whole, and takes its snapshot. Nothing in it is changed.
    pub async fn open(url: &Url, options: &Options) -> Result<Self, OpenError> {
        let connector = Connector::new(url, APPLICATION.to_owned()).map_err(OpenError::of)?;
        let mut client = open::first(url, &connector).await?;
        open::prepared(&mut client, open::Migrate::No).await?;
        check_whole(&client).await?;
        drop(client);
        let conn = Conn::connect(url, &connector, &options.copying()).await;
        let conn = conn.map_err(OpenError::of)?;
        let served_by = leases(&conn).await?;
        let begin = "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SELECT 1 FROM store";
        let begun = conn.batch("beginning to read", begin).await;
        begun.map_err(OpenError::of)?;
        Ok(Self { conn, served_by })
    }

    /// How many replicas had a lease when it was opened. One that has died has it for some seconds yet.
    pub fn served_by(&self) -> u64 {
        self.served_by
    }
}

#[async_trait]
impl Survey for Archive {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        Ok(survey::survey(&self.conn, after, bound).await?)
    }
}

/// A database that is filled. It opens for nothing else until that is finished.
#[derive(Debug)]
pub struct Filling(Mutex<Conn>);

impl Filling {
    /// Opens a database, makes its tables where they are missing, and marks it as one that is filled; it must be empty, or
    /// be marked already.
    pub async fn open(url: &Url, options: &Options) -> Result<Self, OpenError> {
        let connector = Connector::new(url, APPLICATION.to_owned()).map_err(OpenError::of)?;
        let mut client = open::first(url, &connector).await?;
        open::prepared(&mut client, open::Migrate::Yes).await?;
        drop(client);
        let conn = Conn::connect(url, &connector, &options.copying()).await;
        let conn = conn.map_err(OpenError::of)?;
        let sql = format!(
            "SELECT pg_try_advisory_lock({LOCK}, hashtext(current_database() || '.' || current_schema()))"
        );
        let locked = conn.rows_of("locking the database", &sql, &[]).await;
        if !is_true(&locked.map_err(OpenError::of)?) {
            return Err(OpenError::Busy);
        }
        let replicas = leases(&conn).await?;
        if replicas > 0 {
            return Err(OpenError::Served { replicas });
        }
        let marked = conn
            .rows_of("looking for a copy", "SELECT EXISTS (SELECT 1 FROM filling)", &[])
            .await;
        if !is_true(&marked.map_err(OpenError::of)?) {
            let any = survey::survey(&conn, None, Bound { rows: 1, bytes: 0 }).await;
            // What cannot be read is something, too.
            if any.map_or(true, |any| any.through.is_some()) {
                return Err(OpenError::NotEmpty);
            }
            let mark = conn.batch("marking the database", "INSERT INTO filling DEFAULT VALUES");
            mark.await.map_err(OpenError::of)?;
        }
        Ok(Self(Mutex::new(conn)))
    }
}

/// How many replicas have a lease.
async fn leases(conn: &Conn) -> Result<u64, OpenError> {
    let rows = conn.rows_of("looking for replicas", LEASES, &[]).await;
    let rows = rows.map_err(OpenError::of)?;
    let count = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
    Ok(count.unwrap_or_default().unsigned_abs())
}

fn is_true(rows: &[tokio_postgres::Row]) -> bool {
    rows.first()
        .is_some_and(|row| row.try_get::<_, bool>(0).unwrap_or_default())
}

#[async_trait]
impl Survey for Filling {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        let conn = self.0.lock().await;
        Ok(survey::survey(&conn, after, bound).await?)
    }
}

#[async_trait]
impl Fill for Filling {
    async fn reached(&self) -> Result<Option<Key>, Error> {
        let conn = self.0.lock().await;
        let rows = conn
            .rows_of("reading how far a copy is", "SELECT reached FROM filling", &[])
            .await?;
        let reached = rows
            .first()
            .and_then(|row| row.try_get::<_, Option<String>>(0).unwrap_or_default());
        let key = reached.map(|text| Key::decode(&text)).transpose();
        key.map_err(|damage| Error::corrupt("the mark of the copy", damage))
    }

    async fn adopt(&self, effects: Vec<Effect>, through: Key) -> Result<(), Error> {
        let conn = self.0.lock().await;
        let written = adopt(&conn, &effects, &through).await;
        if written.is_err() {
            // What was begun is taken back either way.
            let _ = conn.batch("taking back a page", "ROLLBACK").await;
        }
        Ok(written?)
    }

    async fn finish(&self) -> Result<(), Error> {
        let conn = self.0.lock().await;
        conn.batch("finishing a copy", FINISH).await?;
        Ok(())
    }
}

/// Writes a page and how far it goes.
async fn adopt(conn: &Conn, effects: &[Effect], through: &Key) -> Result<(), Fault> {
    let operation = "writing a page of a copy";
    conn.batch(operation, "BEGIN").await?;
    effects::write(conn, effects, &Stored::default()).await?;
    let reached = through.encode();
    let sql = "UPDATE filling SET reached = $1 RETURNING one";
    let moved = conn
        .rows_of(operation, sql, &[(&reached, tokio_postgres::types::Type::TEXT)])
        .await?;
    if moved.is_empty() {
        return Err(Fault::Database {
            operation,
            said: Said::of("the database is not being filled"),
        });
    }
    conn.batch(operation, "COMMIT").await
}
