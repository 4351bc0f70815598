//! The PostgreSQL store under one replica and under three, beside the bare database, and what a hop costs.
//!
//! The database is a private one with durable commits, on the disk that the target folder is on; the project's script
//! makes it, with the programs of PostgreSQL that the machine has. One replica and three have a database each in it, so
//! that they can be measured in turn while nobody hears of the others' work. What the bare database is given is what an
//! append writes, row for row.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tonic::transport::Channel;

use crate::Plan;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::Span;
use crate::report::Table;

mod appends;
mod bare;
pub(crate) mod cluster;
mod growth;
mod reads;
mod resumes;
mod snapshots;

use bare::Bare;
use cluster::Cluster;

/// Connections of clients, spread evenly over the replicas.
const CONNECTIONS: usize = 3;

/// Connections of one replica that write, as it has them unless told otherwise.
const LANES: usize = 3;

/// Connections of one replica that read.
const READERS: usize = 4;

/// Sessions that are written to and read.
const SESSIONS: usize = 64;

/// Messages of a session that is read as a whole.
const MESSAGES: usize = 1_000;

/// How long reads are counted: what they cost does not depend on what was read before.
const READING_TIME: Span = Span {
    warm_up: Duration::from_millis(200),
    counted: Duration::from_secs(1),
};

/// Variables of a replica without a search index.
const WITHOUT_INDEX: &[(&str, &str)] = &[("SESSIOND_SEARCH_ENABLED", "false")];

/// Replicas of one database, and what lies in it.
struct Replicas {
    /// The database.
    url: String,
    children: Vec<Child>,
    /// A connection of each client's own.
    channels: Vec<Channel>,
    /// Sessions that are empty at first.
    session_ids: Vec<String>,
    /// A session of [`MESSAGES`] messages.
    filled: String,
}

impl Replicas {
    /// So many replicas of a new database.
    async fn start(
        plan: Plan,
        cluster: &Cluster,
        name: &str,
        count: usize,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let url = cluster.create(name).await?;
        let mut variables = vec![("SESSIOND_STORE", url.as_str())];
        variables.extend(more);
        let mut children = Vec::new();
        for _ in 0..count {
            children.push(Child::sessiond_with(plan.workers, &variables)?);
        }
        let mut channels = Vec::new();
        for number in 0..CONNECTIONS {
            channels.extend(client::connect(children[number % count].address(), 1).await?);
        }
        let mut client = Sessions::new(channels[0].clone());
        let session_ids = client::create_sessions(&client, SESSIONS).await?;
        let filled = client::filled_session(&mut client, MESSAGES).await?;
        Ok(Self {
            url,
            children,
            channels,
            session_ids,
            filled,
        })
    }

    /// Where a replica serves.
    fn address(&self, number: usize) -> &str {
        self.children[number].address()
    }

    /// A client of a replica.
    fn client(&self, number: usize) -> Sessions {
        Sessions::new(self.channels[number].clone())
    }

    fn count(&self) -> usize {
        self.children.len()
    }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let cluster = Cluster::start()?;
    let one = Replicas::start(plan, &cluster, "one", 1, &[]).await?;
    let three = Replicas::start(plan, &cluster, "three", 3, &[]).await?;
    let bare = Bare::new(&cluster, &one).await?;
    let mut tables = Vec::new();
    tables.extend(
        appends::measure(plan, &bare, &cluster, &one, &three)
            .await
            .context("appends")?,
    );
    tables.push(reads::measure(plan, &one, &three).await.context("reads")?);
    tables.push(
        snapshots::measure(plan, &one, &three)
            .await
            .context("snapshots")?,
    );
    tables.push(resumes::measure(plan, &one, &three).await.context("resumes")?);
    tables.push(
        growth::clients(plan, &bare, &three)
            .await
            .context("more clients")?,
    );
    drop((one, three));
    tables.push(growth::rows(plan, &cluster).await.context("more rows")?);
    Ok(tables)
}
