//! PostgreSQL clusters. One of a test's own, which it may stop and start: the project's script makes it, in a folder that
//! goes with the test; its commits are durable, for that is what is tested. And one that tests share, a schema each.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::{Arc, Weak};

use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The variable that names a cluster which is there already.
const VARIABLE: &str = "SESSIOND_TEST_POSTGRES";

/// The cluster that tests share where none is named: it lives as long as any test uses it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// A cluster that runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    /// Makes one and starts it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sessiond-pg-")
            .tempdir()
            .expect("a folder");
        // The cluster may have another owner than the test.
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("its mode can be set");
        let output = run("start", &folder);
        let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let hint = "scripts/postgres could not start a cluster: is PostgreSQL installed?";
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && url.starts_with("postgres://"),
            "{hint}\n{said}"
        );
        Self { folder, url }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A connection to it, beside those of whoever is tested.
    pub(crate) async fn connect(&self) -> Client {
        let connected = tokio_postgres::connect(&self.url, NoTls).await;
        let (client, connection) = connected.expect("it can be reached");
        tokio::spawn(connection);
        client
    }

    /// Stops it at once, as a crash does.
    pub(crate) fn crash(&self) {
        assert!(run("down", &self.folder).status.success(), "it is not stopped");
    }

    /// Starts it again, where it was.
    pub(crate) fn recover(&self) {
        assert!(
            run("up", &self.folder).status.success(),
            "it does not start again"
        );
    }
}

/// A schema of a test's own in a cluster that others use too. It is dropped with the cluster.
#[derive(Debug)]
pub(crate) struct Schema {
    url: String,
    _cluster: Option<Arc<Cluster>>,
}

impl Schema {
    /// Makes one, empty.
    pub(crate) async fn new() -> Self {
        let (cluster, url) = match std::env::var(VARIABLE) {
            Ok(url) => (None, url),
            Err(_) => {
                let cluster = Self::cluster().await;
                let url = cluster.url.clone();
                (Some(cluster), url)
            }
        };
        let name = format!("test_{}", Uuid::now_v7().simple());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("it is there");
        let connection = tokio::spawn(connection);
        let made = client.batch_execute(&format!("CREATE SCHEMA {name}")).await;
        made.expect("a schema");
        drop(client);
        let _ = connection.await;
        let sign = if url.contains('?') { '&' } else { '?' };
        Self {
            url: format!("{url}{sign}options=-csearch_path%3D{name}"),
            _cluster: cluster,
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn cluster() -> Arc<Cluster> {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Cluster::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What is left of it goes with its folder, or with the machine.
        let _ = run("stop", &self.folder);
    }
}

fn run(what: &str, folder: &TempDir) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres");
    Command::new(script)
        .arg(what)
        .arg(folder.path().join("cluster"))
        .env("SESSIOND_TEST_POSTGRES_FSYNC", "on")
        .output()
        .expect("scripts/postgres can be run")
}
