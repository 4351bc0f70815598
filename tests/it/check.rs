//! `check`: everything that is wrong is said at once, and nothing is changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::build::{entries, user};
use crate::support::server::Setup;
use crate::support::{Cluster, Server, until};

fn checking(line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSIOND_")) {
        command.env_remove(name);
    }
    command
        .arg("check")
        .args(line)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What is found, by level and key; the text of each.
#[track_caller]
fn found(line: &[&str], code: i32) -> Vec<(String, String, String)> {
    let output = checking(&[line, &["--json"]].concat());
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    // How many files a process may have open is the machine's own.
    findings
        .map(|finding| {
            (
                text(finding, "level"),
                text(finding, "key"),
                text(finding, "text"),
            )
        })
        .filter(|(_, key, _)| key != "server.connections_max")
        .collect()
}

#[track_caller]
fn has(found: &[(String, String, String)], level: &str, key: &str, part: &str) {
    let fits = |one: &&(String, String, String)| one.0 == level && one.1 == key && one.2.contains(part);
    assert!(
        found.iter().find(fits).is_some(),
        "{level} {key} {part} in {found:#?}"
    );
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_can_be_served_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let listen = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    assert_eq!(found(&listen, 0), []);
    assert_eq!(names(folder.path()), Vec::<String>::new(), "nothing is made");
    let output = checking(&listen);
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("0 errors, "),
        "for people"
    );
}

#[tokio::test]
async fn a_folder_is_looked_at_beside_its_server() {
    let mut server = Server::start().await;
    let client = server.client().await;
    client
        .append(&client.blank().await, entries([user("hello")]))
        .await;
    let data = server.data();
    let line = ["--listen", server.address(), "--data", data.to_str().unwrap()];
    let running = found(&line, 1);
    has(&running, "error", "data", "another process serves");
    has(&running, "error", "listen", "cannot be had");
    assert_eq!(running.len(), 2, "{running:#?}");
    let address = server.address().to_owned();
    server.stop().await;
    let line = ["--listen", &address, "--data", data.to_str().unwrap()];
    let before = names(&data);
    assert_eq!(found(&line, 0), []);
    assert_eq!(names(&data), before, "no file is left behind");

    let policy = server.folder().join("policy.toml");
    let ns = client.namespace();
    let text = format!("[retention.namespaces.{ns}]\nkeep_per_workspace = 0\nmax_age_days = 0\n");
    fs::write(&policy, text).unwrap();
    let line = [&line[..], &["--config", policy.to_str().unwrap()]].concat();
    assert_eq!(found(&line, 0), []);
    let old = "UPDATE sessions SET update_time = 0";
    let database = data.join("sessiond.db");
    assert_eq!(Connection::open(&database).unwrap().execute(old, ()).unwrap(), 1);
    let text = format!("[retention.namespaces.{ns}]\nmax_age_days = 9\n[retention.namespaces.none]\n");
    fs::write(&policy, text).unwrap();
    let keeping = found(&line, 0);
    has(
        &keeping,
        "warning",
        "retention",
        &format!("up to 1 active sessions of namespace {ns}"),
    );
    has(
        &keeping,
        "warning",
        "retention",
        "namespace none, which has no sessions",
    );

    Connection::open(&database)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    has(&found(&line, 1), "error", "data", "schema version 99");
    fs::write(&database, "notes").unwrap();
    has(&found(&line, 1), "error", "data", "is not a database of sessiond");
}

#[test]
fn everything_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = path("sessiond.toml");
    fs::write(path("notes"), "notes").unwrap();
    let text = format!(
        "listn = 1\nlisten = '0.0.0.0:0'\nuds = '{}'\nready_file = '{}'\ndata = '{}'\n\
         [tls]\ncert = '{}'\nkey = '{}'\n[log]\nfilter = 'info,=,'\n[limits]\nlabels_max = 0\npurge_after_days = 0\n",
        path("notes"),
        path("nowhere/ready"),
        path("notes/data"),
        path("no.crt"),
        path("notes"),
    );
    fs::write(&file, text).unwrap();
    let found = found(&["--config", &file], 1);
    for (level, key, part) in [
        ("error", "listn", "unknown field"),
        ("error", "listen", "--insecure"),
        ("error", "uds", "no socket"),
        ("error", "ready_file", "no folder"),
        ("error", "data", "is no folder"),
        ("error", "tls.cert", "cannot be read"),
        ("error", "tls.key", "no private key"),
        ("error", "log.filter", "cannot be read"),
        ("error", "limits.labels_max", "is 0"),
        ("warning", "limits.purge_after_days", "cannot be restored"),
    ] {
        has(&found, level, key, part);
    }
    assert_eq!(
        names(folder.path()),
        ["notes", "sessiond.toml"],
        "nothing is changed"
    );
}

#[tokio::test]
async fn a_database_is_looked_at_beside_its_replicas() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("sessiond.toml");
    let url = cluster.url();
    let line = ["--listen", "127.0.0.1:0", "--store", url, "--config"];
    let line = [&line[..], &[settings.to_str().unwrap()]].concat();
    let with = |text: &str, code| {
        fs::write(&settings, text).unwrap();
        found(&line, code)
    };
    assert_eq!(with("", 0), []);
    has(
        &with("[store]\nmigrate = false\n", 1),
        "error",
        "store.url",
        "run `sessiond migrate`",
    );
    let away = [
        "--listen",
        "127.0.0.1:0",
        "--store",
        "postgres://me@127.0.0.1:1/d",
    ];
    has(&found(&away, 1), "error", "store.url", "connecting");

    let mut server = Server::start_with(Setup::on(url)).await;
    let client = server.client().await;
    client
        .append(&client.blank().await, entries([user("hello")]))
        .await;
    let ns = client.namespace();
    let policy = format!("[retention.namespaces.{ns}]\nmax_age_days = 9\n[retention.namespaces.none]\n");
    let young = with(&policy, 0);
    has(
        &young,
        "warning",
        "retention",
        "namespace none, which has no sessions",
    );
    assert_eq!(young.len(), 1, "{young:#?}");
    let database = cluster.connect().await;
    database
        .batch_execute("UPDATE sessions SET update_time = 0")
        .await
        .unwrap();
    let old = format!("up to 1 active sessions of namespace {ns}");
    has(&with(&policy, 0), "warning", "retention", &old);

    let many = with("[store]\nlanes = 64\nreaders = 200\n", 0);
    has(
        &many,
        "warning",
        "store.lanes",
        "enough for 1 replicas; 1 others have a lease",
    );
    let few = "ALTER ROLE sessiond CONNECTION LIMIT 5";
    database.batch_execute(few).await.unwrap();
    has(&with("", 1), "error", "store.lanes", "lets this user have 5");
    database
        .batch_execute("ALTER ROLE sessiond CONNECTION LIMIT -1")
        .await
        .unwrap();

    for setting in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
        database.batch_execute(setting).await.unwrap();
    }
    until("the server has read it", async || {
        let fsync: String = database.query_one("SHOW fsync", &[]).await.unwrap().get(0);
        (fsync == "off").then_some(())
    })
    .await;
    has(&with("", 0), "warning", "store.url", "fsync");
    server.stop().await;
}

#[test]
fn a_replica_is_looked_at_as_others_see_it() {
    let nowhere = [
        "--listen",
        "127.0.0.1:0",
        "--store",
        "postgres://me@127.0.0.1:1/d",
    ];
    let open = [&nowhere[..], &["--cluster-listen", "0.0.0.0:0"]].concat();
    let found = found(&open, 1);
    has(
        &found,
        "error",
        "cluster.listen",
        "give all replicas one cluster.secret",
    );
    has(&found, "error", "store.url", "postgres://me@127.0.0.1:1/d");
}
