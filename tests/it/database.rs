//! The database on the command line: migrations, what its connections are called, and what is never shown.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::support::build::{entries, user};
use crate::support::server::Setup;
use crate::support::{Cluster, Server};

const PASSWORD: &str = "correct-horse-battery";

fn sessiond(line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSIOND_")) {
        command.env_remove(name);
    }
    command.args(line).stdin(Stdio::null()).output().unwrap()
}

/// What a command says, after it has ended with this code.
#[track_caller]
fn says(line: &[&str], code: i32) -> String {
    let output = sessiond(line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
    said
}

fn on(url: &str, more: &[&str]) -> Setup {
    let mut setup = Setup::on(url);
    setup.arguments.extend(more.iter().map(|&word| word.to_owned()));
    setup
}

#[tokio::test]
async fn a_database_is_migrated_when_it_is_asked_for() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let lacks = says(&["migrate", "--check", "--store", url], 1);
    assert!(lacks.contains("schema version 0, this program"), "{lacks}");
    let refused = says(
        &["serve", "--listen", "127.0.0.1:0", "--no-migrate", "--store", url],
        1,
    );
    assert!(refused.contains("run `sessiond migrate`"), "{refused}");
    says(&["migrate", "--check", "--store", url], 1);
    let done = says(&["migrate", "--store", url], 0);
    assert!(done.contains("went from schema version 0 to"), "{done}");
    for line in [
        &["migrate", "--check", "--store", url][..],
        &["migrate", "--store", url],
    ] {
        let nothing = says(line, 0);
        assert!(nothing.contains("nothing to do"), "{nothing}");
    }
    let mut server = Server::start_with(on(url, &["--no-migrate", "--cluster-name", "first"])).await;
    server.client().await.blank().await;

    let database = cluster.connect().await;
    let names = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sessiond/first'";
    let named: i64 = database.query_one(names, &[]).await.unwrap().get(0);
    assert!(named >= 4, "lanes, and who listens: {named}");
    server.stop().await;

    // A later program has been here, and this one would do harm.
    let later = "INSERT INTO schema_steps (step, name, oldest) VALUES (99, 'of next year', 99)";
    database.batch_execute(later).await.unwrap();
    for line in [
        &["migrate", "--check", "--store", url][..],
        &["migrate", "--store", url],
    ] {
        let newer = says(line, 1);
        assert!(newer.contains("schema version 99"), "{newer}");
    }
}

#[test]
fn a_store_that_is_none_is_refused_without_its_password() {
    for url in [
        "mysql://me:s3cret@h/d",
        "postgres://me:s3cret@h:port/d",
        "me:s3cret",
    ] {
        let served = says(&["serve", "--store", url], 1);
        let migrated = says(&["migrate", "--store", url], 2);
        let checked = says(&["check", "--listen", "127.0.0.1:0", "--store", url], 1);
        assert!(
            served.contains("store.url") && checked.contains("store.url"),
            "{served}{checked}"
        );
        assert!(migrated.contains("--store"), "{migrated}");
        assert!(
            !format!("{served}{migrated}{checked}").contains("s3cret"),
            "{url}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessiond.toml");
        fs::write(&file, format!("[store]\nurl = \"{url}\"\n")).unwrap();
        let file = says(&["serve", "--config", file.to_str().unwrap()], 1);
        assert!(file.contains("store.url") && !file.contains("s3cret"), "{file}");
    }
    let folder = says(&["migrate", "--store", "sqlite:somewhere"], 2);
    assert!(folder.contains("when it is served"), "{folder}");
}

#[tokio::test]
async fn a_folder_is_a_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("talks");
    let url = format!("sqlite:{}", data.display());
    let mut server = Server::start_with(Setup::on(&url)).await;
    let client = server.client().await;
    let session = client.holding([user("hello")]).await;
    assert!(data.join("sessiond.db").exists() && !server.data().exists());
    server.stop().await;
    let mut server = Server::start_with(Setup {
        data: Some(data),
        ..Setup::default()
    })
    .await;
    let client = server.client_of(&client).await;
    assert_eq!(client.messages(&session).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_password_is_in_no_log() {
    let cluster = Cluster::start();
    let database = cluster.connect().await;
    let user_made = format!("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'");
    database.batch_execute(&user_made).await.unwrap();
    let url = cluster
        .url()
        .replace("sessiond@", &format!("guarded:{PASSWORD}@"));
    let setup = Setup {
        runner: ["env", "SESSIOND_LOG=trace"].map(str::to_owned).to_vec(),
        ..on(&url, &[])
    };
    let mut server = Server::start_with(setup).await;
    let client = server.client().await;
    client
        .append(&client.blank().await, entries([user("hello")]))
        .await;
    cluster.crash();
    client
        .append_or("s", entries([user("nobody is there")]))
        .await
        .unwrap_err();
    cluster.recover();
    server.stop().await;
    let log = server.log();
    assert!(
        log.contains("TRACE") && !log.contains(PASSWORD),
        "the log shows the password"
    );
    let wrong = cluster.url().replace("sessiond@", "guarded:wrong-horse@");
    for line in [&["migrate", "--store", &wrong][..], &["serve", "--store", &wrong]] {
        let refused = says(line, 1);
        assert!(refused.contains("password authentication failed"), "{refused}");
        assert!(!refused.contains("horse"), "{refused}");
    }
}
