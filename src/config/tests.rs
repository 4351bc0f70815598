//! What is read, what is refused, and what goes before what.

use std::error::Error as _;

use super::*;

const DOCUMENTED: &str = include_str!("../../docs/sessiond.toml");

fn load(text: &str, env: &[(&str, &str)], flags: impl FnOnce(&mut Config)) -> Result<Config, Error> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("sessiond.toml");
    std::fs::write(&path, text).expect("written");
    let env = env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(Some(&path), env, flags)
}

fn told(result: Result<Config, Error>) -> String {
    let error = result.expect_err("refused");
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn flags_come_before_environment_before_file_before_defaults() {
    let text = "data = 'file'\nuds = 'file'\nready_file = 'file'\n[limits]\nlabels_max = 3";
    let env = [
        ("SESSIOND_DATA", "env"),
        ("SESSIOND_UDS", "env"),
        ("SESSIOND_LIMITS_TITLE_CHARS_MAX", "9"),
    ];
    let config = load(text, &env, |config| config.data = Some("flag".into())).expect("a configuration");
    assert_eq!(config.data, Some("flag".into()));
    assert_eq!(config.uds, Some("env".into()));
    assert_eq!(config.ready_file, Some("file".into()));
    assert_eq!((config.limits.labels_max, config.limits.title_chars_max), (3, 9));
    assert_eq!(config.limits.text_bytes_max, Limits::default().text_bytes_max);
    assert_eq!(config.server, Server::default());
}

#[test]
fn the_environment_names_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("s.toml");
    std::fs::write(&path, "uds = 'there'").expect("written");
    let env = [(FILE_VARIABLE.into(), path.into_os_string())];
    assert_eq!(
        Config::load(None, env, |_| ()).expect("a configuration").uds,
        Some("there".into())
    );
}

#[test]
fn an_unknown_key_is_refused_by_name_file_and_line() {
    let told = told(load("insecure = false\n[limits]\nlabel_max = 3\n", &[], |_| ()));
    for part in ["sessiond.toml", "line 3", "label_max"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn a_variable_is_refused_by_name() {
    let unknown = told(load("", &[("SESSIOND_UPKEEP_INTERVAL", "3")], |_| ()));
    assert!(unknown.contains("SESSIOND_UPKEEP_INTERVAL"), "{unknown}");
    let no_number = told(load("", &[("SESSIOND_UPKEEP_INTERVAL_S", "soon")], |_| ()));
    assert!(no_number.contains("SESSIOND_UPKEEP_INTERVAL_S"), "{no_number}");
}

#[test]
fn an_empty_variable_is_none() {
    let config = load("uds = 'file'", &[("SESSIOND_UDS", "")], |_| ()).expect("a configuration");
    assert_eq!(config.uds, Some("file".into()));
}

#[test]
fn a_missing_file_is_named() {
    let told = told(Config::load(Some(Path::new("no/such.toml")), [], |_| ()));
    assert!(told.contains("no/such.toml"), "{told}");
}

#[test]
fn an_address_that_others_reach_has_to_be_asked_for() {
    for (listen, insecure, runs) in [
        ("127.0.0.1:0", false, true),
        ("127.9.9.9:1", false, true),
        ("[::1]:50551", false, true),
        ("[::ffff:127.0.0.1]:1", false, true),
        ("0.0.0.0:50551", false, false),
        ("[::]:50551", false, false),
        ("10.0.0.1:50551", false, false),
        ("0.0.0.0:50551", true, true),
    ] {
        let text = format!("listen = '{listen}'\ninsecure = {insecure}");
        assert_eq!(load(&text, &[], |_| ()).is_ok(), runs, "{text}");
    }
    let encrypted = "listen = '0.0.0.0:1'\n[tls]\ncert = 'c'\nkey = 'k'";
    assert!(told(load(encrypted, &[], |_| ())).contains("--insecure"));
}

#[test]
fn values_have_bounds() {
    for (text, key) in [
        ("[limits]\ntitle_chars_max = 201", "limits.title_chars_max"),
        (
            "[limits]\nmessage_bytes_max = 67108865",
            "limits.message_bytes_max",
        ),
        ("[upkeep]\ninterval_s = 0", "upkeep.interval_s"),
        (
            "[server]\nmax_concurrent_streams = 0",
            "server.max_concurrent_streams",
        ),
        ("[tls]\ncert = 'c'", "tls"),
    ] {
        let told = told(load(text, &[], |_| ()));
        assert!(told.starts_with(&format!("{key}:")), "{told}");
    }
}

#[test]
fn the_documented_file_holds_every_key_with_its_default() {
    let documented: Config = toml::from_str(DOCUMENTED).expect("it parses");
    assert_eq!(documented, Config::default());
    // A line of a comment that is a key is one without a default.
    let line = |line: &'static str| {
        line.strip_prefix("# ")
            .filter(|rest| rest.contains(" = "))
            .unwrap_or(line)
    };
    let whole: Vec<&str> = DOCUMENTED.lines().map(line).collect();
    let whole: toml::Table = toml::from_str(&whole.join("\n")).expect("it parses with everything set");
    let mut full = Config::default();
    for path in [
        &mut full.uds,
        &mut full.data,
        &mut full.ready_file,
        &mut full.tls.cert,
        &mut full.tls.key,
        &mut full.cluster.secret_file,
    ] {
        *path = Some(PathBuf::new());
    }
    for text in [&mut full.cluster.advertise, &mut full.cluster.name] {
        *text = Some(String::new());
    }
    full.cluster.secret = crate::cluster::Secret::parse("a-secret-of-all").ok();
    full.store.url = Some("postgres://host/name".into());
    let keys = |table: &toml::Table| -> Vec<String> {
        let within = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::Table(table) => table.keys().map(|inner| format!("{key}.{inner}")).collect(),
            _ => vec![key.clone()],
        };
        table.iter().flat_map(within).collect()
    };
    assert_eq!(
        keys(&whole),
        keys(&toml::Table::try_from(&full).expect("a table"))
    );
}

#[test]
fn a_replica_that_others_reach_needs_a_secret_and_none_is_shown() {
    let shared = |text: &str| {
        load(text, &[], |_| ())
            .expect("a configuration")
            .cluster
            .check_shared()
    };
    assert!(shared("").is_ok());
    assert!(shared("[cluster]\nlisten = '10.0.0.7:1'").is_err());
    assert!(shared("[cluster]\nlisten = '10.0.0.7:1'\nsecret = 'long-enough'").is_ok());
    let anywhere = "[cluster]\nlisten = '0.0.0.0:1'\nsecret = 'long-enough'";
    assert!(shared(anywhere).is_err(), "nobody reaches 0.0.0.0");
    assert!(shared(&format!("{anywhere}\nadvertise = 'host:1'")).is_ok());
    let told = told(load("[cluster]\nsecret = 'tooshrt'", &[], |_| ()));
    assert!(
        told.contains("cluster.secret") && !told.contains("tooshrt"),
        "{told}"
    );
    let env = [("SESSIOND_CLUSTER_SECRET", "12345678")];
    let config = load("", &env, |_| ()).expect("a configuration");
    assert!(config.cluster.secret.is_some());
    assert!(!format!("{config:?}").contains("12345678"));
    for bad in ["renew_ms = 9000", "lease_ms = 1", "name = 'a/b'"] {
        assert!(load(&format!("[cluster]\n{bad}"), &[], |_| ()).is_err(), "{bad}");
    }
}

#[test]
fn a_store_is_named_by_its_url_and_its_password_shown_nowhere() {
    let url = "postgres://me:s3cret@db.example/talks";
    let config = load("", &[("SESSIOND_STORE", url)], |_| ()).expect("a configuration");
    let shown = format!("{config:?}");
    assert!(
        shown.contains("postgres://me@db.example/talks") && !shown.contains("s3cret"),
        "{shown}"
    );
    let folder = load("[store]\nurl = 'sqlite:/var/lib/talks'\n", &[], |_| ()).expect("a configuration");
    let place = folder.place().expect("a place");
    assert_eq!(place, Place::Sqlite("/var/lib/talks".into()));
    for wrong in ["mysql://me:s3cret@db/talks", "postgres://me:s3cret@db:x/talks"] {
        let error = load("", &[("SESSIOND_STORE", wrong)], |_| ()).expect_err("refused");
        let told = format!("{error} {error:?}");
        assert!(told.contains("store.url") && !told.contains("s3cret"), "{told}");
    }
}
