//! A first look at a database, beside whoever serves it: what its server is set to, who has a lease, and what a policy
//! would take from it. Nothing is changed.

use tokio_postgres::Client;

use super::columns::Columns;
use super::fault::{Fault, failed};
use super::moving;
use super::open::{self, OpenError};
use super::schema::{self, Schema};
use super::tls::Connector;
use super::url::Url;
use crate::domain::retention::Policy;
use crate::domain::session::State;
use crate::domain::{Namespace, Time};
use crate::store::Error;
use crate::store::record::{Code as _, Damage, column, number};

/// The name of the connection that looks.
const APPLICATION: &str = "sessiond/check";

/// Namespaces that are looked at.
const NAMESPACES_MAX: i64 = 10_000;

/// A database that can be read.
#[derive(Debug)]
pub struct Look {
    client: Client,
    schema: Schema,
}

/// What a database's server is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Connections that this user may have in this database, if nobody else had any.
    pub connections_max: u64,
    /// Whether what is committed is on disk.
    pub is_durable: bool,
}

impl Look {
    /// Opens what is at `url`, if this program can serve it or make it so.
    pub async fn at(url: &Url) -> Result<Self, OpenError> {
        let connector = Connector::new(url, APPLICATION.to_owned()).map_err(OpenError::of)?;
        let client = open::first(url, &connector).await?;
        let schema = schema::look(&client).await?;
        if schema.is_current() {
            moving::check_whole(&client).await?;
        }
        Ok(Self { client, schema })
    }

    /// What it lacks.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// What its server is set to.
    pub async fn server(&self) -> Result<Server, Error> {
        let sql = "SELECT least(current_setting('max_connections')::bigint \
                       - current_setting('superuser_reserved_connections')::bigint \
                       - coalesce(current_setting('reserved_connections', true)::bigint, 0), \
                   (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user), \
                   (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())), \
                   current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean";
        let operation = "reading the server's settings";
        let row = self.client.query_one(sql, &[]).await;
        let row = row.map_err(failed(operation)).map_err(Error::from)?;
        let columns = Columns(&row);
        let settings = || -> Result<Server, Damage> {
            Ok(Server {
                connections_max: number(columns.integer(0)?)?,
                is_durable: columns.flag(1)?,
            })
        };
        settings().map_err(|damage| Error::corrupt("the server's settings", damage))
    }

    /// The names of the replicas that have a lease; of a database that lacks tables, none.
    pub async fn replicas(&self) -> Result<Vec<String>, Error> {
        if !self.schema.is_current() {
            return Ok(Vec::new());
        }
        let sql = concat!("SELECT replica FROM replicas WHERE ", moving::lives!());
        self.names("looking for replicas", sql).await
    }

    /// The namespaces that have sessions, by name.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        if !self.schema.is_current() {
            return Ok(Vec::new());
        }
        let sql =
            format!("SELECT DISTINCT namespace FROM sessions ORDER BY namespace LIMIT {NAMESPACES_MAX}");
        let names = self.names("listing namespaces", &sql).await?;
        let parsed = names.iter().map(|name| Namespace::parse(name));
        let parsed = parsed.collect::<Result<_, _>>();
        parsed.map_err(|invalid| Error::corrupt("a namespace", invalid))
    }

    /// How many sessions a policy would take at `now` if nobody used any: active ones, and archived ones.
    pub async fn due(&self, ns: &Namespace, policy: &Policy, now: Time) -> Result<(u64, u64), Error> {
        let before = policy.max_age.map(|age| now.before(age));
        let active = self.count(ns, State::Active, before, policy.keep_per_workspace);
        let active = active.await?;
        let before = policy.delete_archived_after.map(|age| now.before(age));
        let archived = self.count(ns, State::Archived, before, None);
        Ok((active, archived.await?))
    }

    async fn count(
        &self,
        ns: &Namespace,
        state: State,
        before: Option<Time>,
        keep: Option<u64>,
    ) -> Result<u64, Error> {
        if before.is_none() && keep.is_none() {
            return Ok(0);
        }
        let sql = "WITH ranked AS (SELECT update_time, starred, row_number() OVER \
                   (PARTITION BY workspace ORDER BY update_time DESC, session_id DESC) AS place \
                   FROM sessions WHERE namespace = $1 AND state = $2) \
                   SELECT count(*) FROM ranked WHERE NOT starred \
                   AND ($3::bigint IS NULL OR update_time < $3) AND ($4::bigint IS NULL OR place > $4)";
        let (before, keep) = (before.map(|time| time.0), keep.map(column));
        let row = self
            .client
            .query_one(sql, &[&ns.as_str(), &state.code(), &before, &keep])
            .await;
        let row = row.map_err(failed("counting what a policy would take"));
        let row = row.map_err(Error::from)?;
        let count = Columns(&row).integer(0).and_then(number);
        count.map_err(|damage| Error::corrupt("a count", damage))
    }

    async fn names(&self, operation: &'static str, sql: &str) -> Result<Vec<String>, Error> {
        let rows = self.client.query(sql, &[]).await.map_err(failed(operation))?;
        let names = rows.iter().map(|row| Columns(row).text(0).map(str::to_owned));
        let names = names.collect::<Result<_, Damage>>();
        Ok(names.map_err(|damage| Fault::damaged("a name", damage))?)
    }
}
