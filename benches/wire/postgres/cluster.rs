//! A PostgreSQL of this process's own. The project's script makes it, and removes it when this process ends, however
//! that comes about.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child as Process, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::child;

/// The database that every cluster has.
const FIRST: &str = "/postgres";

/// A cluster that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    process: Process,
    url: String,
    // Goes after the cluster in it.
    _folder: TempDir,
}

impl Cluster {
    /// Makes one and starts it; its commits are durable.
    pub(crate) fn start() -> Result<Self> {
        let folder = child::folder()?;
        // The cluster may have another owner than this process.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres"))
            .arg("lend")
            .env("TMPDIR", folder.path())
            .env("SESSIOND_TEST_POSTGRES_FSYNC", "on")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("scripts/postgres")?;
        let output = process.stdout.take().context("its output")?;
        let mut cluster = Self {
            process,
            url: String::new(),
            _folder: folder,
        };
        BufReader::new(output).read_line(&mut cluster.url)?;
        ensure!(
            cluster.url.starts_with("postgres://"),
            "scripts/postgres could not start a cluster: is PostgreSQL installed?"
        );
        cluster.url.truncate(cluster.url.trim_end().len());
        Ok(cluster)
    }

    /// Makes a database; its URL.
    pub(crate) async fn create(&self, name: &str) -> Result<String> {
        let client = connect(&self.url).await?;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let server = self.url.strip_suffix(FIRST).context("a database of the server")?;
        Ok(format!("{server}/{name}"))
    }

    /// The bytes of a database, tables and indexes.
    pub(crate) async fn stored_bytes(url: &str) -> Result<i64> {
        let asked = "SELECT pg_database_size(current_database())";
        Ok(connect(url).await?.query_one(asked, &[]).await?.get(0))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input tells the script to remove it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A connection that has the settings of the server's own ones, as far as they make a difference here.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // It ends with its client; whoever waits for an answer then is told.
        let _ = connection.await;
    });
    let settings = "SET synchronous_commit = on; SET enable_seqscan = off; SET jit = off;";
    client.batch_execute(settings).await?;
    Ok(client)
}
