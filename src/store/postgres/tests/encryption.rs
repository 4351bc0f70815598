//! Servers that encrypt, and ask who comes: what each `sslmode` takes for good, and that no password is ever shown.

use std::error::Error as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr as _;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{cluster, told};
use crate::store::Store as _;
use crate::store::postgres::tls::Connector;
use crate::store::postgres::{Migrate, OpenError, Options, Postgres, Url};

/// A name that the certificate has; the address that the server listens on it has not.
const NAME: &str = "localhost";

/// The password of the one user who is asked for one.
const PASSWORD: &str = "correct-horse-battery";

/// A cluster of the test's own that encrypts, with certificates of its own.
struct Encrypting {
    folder: TempDir,
    port: u16,
}

/// Writes a new authority to `ca`; what signs with it.
fn authority(ca: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, ca.display().to_string());
    let key = KeyPair::generate().expect("a key");
    let signed = params.self_signed(&key).expect("a certificate");
    fs::write(ca, signed.pem()).expect("written");
    Issuer::new(params, key)
}

impl Encrypting {
    fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sessiond-pg-")
            .tempdir()
            .expect("a folder");
        // The cluster may have another owner than the test.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its mode is set");
        let issuer = authority(&folder.path().join("ca.pem"));
        authority(&folder.path().join("other.pem"));
        let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &issuer).expect("a certificate");
        fs::write(folder.path().join("server.crt"), signed.pem()).expect("written");
        fs::write(folder.path().join("server.key"), key.serialize_pem()).expect("written");
        let output = Self::script("start", &folder);
        let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "scripts/postgres could not start a cluster: {said}"
        );
        let port = url
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        Self {
            folder,
            port: port.expect("its URL has a port"),
        }
    }

    fn script(what: &str, folder: &TempDir) -> Output {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres"))
            .arg(what)
            .arg(folder.path().join("cluster"))
            .env("SESSIOND_TEST_POSTGRES_TLS", folder.path())
            .output()
            .expect("scripts/postgres can be run")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A URL of it.
    fn url(&self, user: &str, host: &str, query: &str) -> Url {
        let url = format!("postgres://{user}@{host}:{}/postgres?{query}", self.port);
        Url::from_str(&url).expect("a URL")
    }

    /// Whether a connection over this URL is encrypted, or why there is none.
    async fn is_encrypted(&self, user: &str, host: &str, query: &str) -> Result<bool, String> {
        let url = self.url(user, host, query);
        let found = async {
            let connector = Connector::new(&url, "sessiond/test".to_owned()).map_err(OpenError::of)?;
            let (client, _) = connector.connect(&url).await.map_err(OpenError::of)?;
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok(client.query_one(sql, &[]).await.expect("it can be asked").get(0))
        };
        found.await.map_err(|error| said(&error))
    }
}

impl Drop for Encrypting {
    fn drop(&mut self) {
        let _ = Self::script("stop", &self.folder);
    }
}

/// An error as an operator sees it.
fn said(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_encrypts_is_trusted_as_sslmode_says() {
    let server = Encrypting::start();
    let root = |name: &str| format!("sslrootcert={}", server.file(name).display());
    let is_encrypted = async |host: &str, query: &str| server.is_encrypted("sessiond", host, query).await;
    for (query, encrypted) in [
        ("sslmode=disable", false),
        ("sslmode=prefer", true),
        ("sslmode=require", true),
    ] {
        assert_eq!(is_encrypted("127.0.0.1", query).await, Ok(encrypted), "{query}");
    }
    let (own, other) = (root("ca.pem"), root("other.pem"));
    let full = format!("sslmode=verify-full&{own}");
    assert_eq!(is_encrypted(NAME, &full).await, Ok(true));
    let another_name = is_encrypted("127.0.0.1", &full)
        .await
        .expect_err("it has another name");
    assert!(another_name.contains("not valid for name"), "{another_name}");
    let of_any_name = format!("sslmode=verify-ca&{own}");
    assert_eq!(is_encrypted("127.0.0.1", &of_any_name).await, Ok(true));
    for mode in ["verify-ca", "verify-full"] {
        let query = format!("sslmode={mode}&{other}");
        let another = is_encrypted(NAME, &query)
            .await
            .expect_err("another one has signed it");
        assert!(another.contains("UnknownIssuer"), "{another}");
    }
    let missing = format!("sslmode=verify-full&{}", root("none.pem"));
    let missing = is_encrypted(NAME, &missing).await.expect_err("no such file");
    assert!(
        missing.contains("certificate") && missing.contains("none.pem"),
        "{missing}"
    );
    let empty = format!("sslmode=verify-full&{}", root("server.key"));
    let empty = is_encrypted(NAME, &empty).await.expect_err("no certificate");
    assert!(empty.contains("no certificate in PEM"), "{empty}");
    // The store itself.
    let url = server.url("sessiond", NAME, &full);
    let store = Postgres::open(&url, &Options::default())
        .await
        .expect("it is opened");
    store.check().await.expect("writes are taken");
    store.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_encrypt_is_refused_where_it_has_to() {
    let url = Url::from_str(&format!("{}?sslmode=require", cluster())).expect("a URL");
    let error = Postgres::migrate(&url, Migrate::No)
        .await
        .expect_err("it does not encrypt");
    assert!(
        said(&error).contains("server does not support TLS"),
        "{}",
        said(&error)
    );
    assert_eq!(told("SELECT 1").await, 1, "it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_and_shown_nowhere() {
    let server = Encrypting::start();
    let url = server.url("sessiond", NAME, "sslmode=require");
    let connector = Connector::new(&url, "sessiond/test".to_owned()).expect("a connector");
    let (client, _) = connector.connect(&url).await.expect("it is there");
    let sql = format!("CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'");
    client.batch_execute(&sql).await.expect("a user is made");
    for query in ["sslmode=require", "sslmode=disable"] {
        let come = async |user: &str| server.is_encrypted(user, "127.0.0.1", query).await;
        let right = come(&format!("guarded:{PASSWORD}")).await;
        assert_eq!(right, Ok(query == "sslmode=require"));
        let wrong = come("guarded:wrong-horse-battery")
            .await
            .expect_err("a wrong one");
        assert!(wrong.contains("password authentication failed"), "{wrong}");
        let none = come("guarded").await.expect_err("none");
        assert!(none.contains("password missing"), "{none}");
        assert!(!format!("{wrong}{none}").contains("horse"), "{wrong} {none}");
    }
}
