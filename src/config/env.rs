//! The environment's part of the configuration: which variable sets which key.

use std::ffi::OsString;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, Error, FILE_VARIABLE};

const PREFIX: &str = "SESSIOND_";

/// The tables of the file; a variable's name begins with one, or names a key outside of them.
const SECTIONS: [&str; 10] = [
    "tls",
    "log",
    "limits",
    "server",
    "cluster",
    "engines",
    "store",
    "upkeep",
    "retention",
    "search",
];

/// Keys outside of the tables.
const KEYS: [&str; 5] = ["listen", "uds", "data", "insecure", "ready_file"];

/// The short name of `log.filter`.
const LOG_VARIABLE: &str = "SESSIOND_LOG";

/// The short name of `store.url`.
const STORE_VARIABLE: &str = "SESSIOND_STORE";

/// The variables that may be for sessiond, as text; empty ones count as absent.
pub(super) fn variables(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Error> {
    let mut variables = Vec::new();
    for (name, value) in env {
        let Ok(variable) = name.into_string() else {
            continue;
        };
        if !variable.starts_with(PREFIX) || value.is_empty() {
            continue;
        }
        match value.into_string() {
            Ok(value) => variables.push((variable, value)),
            Err(_) => return Err(Error::NotText { variable }),
        }
    }
    variables.sort();
    Ok(variables)
}

/// Lays variables over the file's `table`.
pub(super) fn overlay(table: &mut Table, variables: &[(String, String)]) -> Result<(), Error> {
    for (variable, raw) in variables {
        let Some((section, key)) = place(variable) else {
            continue;
        };
        let value = value(section, &key, raw).map_err(|source| Error::Variable {
            variable: variable.clone(),
            source: Box::new(source),
        })?;
        put(table, section, key, value);
    }
    Ok(())
}

/// Names of `env` that begin as ours do and mean nothing to the server nor to the command line: a slip of the pen,
/// perhaps. What a cluster's service links put there is left out.
pub fn unknown(env: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let names = env.into_iter().filter_map(|(name, _)| name.into_string().ok());
    names
        .filter(|name| name.starts_with(PREFIX) && place(name).is_none() && !is_known(name))
        .collect()
}

/// Variables that other parts read.
fn is_known(name: &str) -> bool {
    const OTHERS: [&str; 9] = [
        FILE_VARIABLE,
        "SESSIOND_ADDR",
        "SESSIOND_CA",
        "SESSIOND_NAMESPACE",
        "SESSIOND_SEED",
        "SESSIOND_SOAK",
        "SESSIOND_TEST_POSTGRES",
        "SESSIOND_TEST_POSTGRES_FSYNC",
        "SESSIOND_TEST_POSTGRES_TLS",
    ];
    OTHERS.contains(&name) || is_service_link(name)
}

/// What Kubernetes sets for a service whose name begins with `sessiond`: `…_SERVICE_HOST`, `…_PORT_50551_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let port = name.ends_with("_PORT") || name.contains("_PORT_");
    port || name.ends_with("_SERVICE_HOST")
}

/// The table (empty: none) and key that a variable sets, if it looks like one of the configuration.
fn place(variable: &str) -> Option<(&'static str, String)> {
    if variable == LOG_VARIABLE {
        return Some(("log", "filter".to_owned()));
    }
    if variable == STORE_VARIABLE {
        return Some(("store", "url".to_owned()));
    }
    let rest = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    if KEYS.contains(&rest.as_str()) {
        return Some(("", rest));
    }
    if is_service_link(variable) {
        return None;
    }
    SECTIONS.iter().find_map(|section| {
        let key = rest.strip_prefix(section)?.strip_prefix('_')?;
        Some((*section, key.to_owned()))
    })
}

/// The value that the key takes: `raw` read as TOML if the key takes that, else as text.
fn value(section: &'static str, key: &str, raw: &str) -> Result<Value, toml::de::Error> {
    let text = Value::String(raw.to_owned());
    let literal = toml::from_str::<Table>(&format!("v = {raw}"))
        .ok()
        .and_then(|mut table| table.remove("v"));
    let Some(literal) = literal else {
        return accepted(section, key, text);
    };
    let refusal = match accepted(section, key, literal) {
        Ok(value) => return Ok(value),
        Err(refusal) => refusal,
    };
    accepted(section, key, text).map_err(|_| refusal)
}

fn accepted(section: &'static str, key: &str, value: Value) -> Result<Value, toml::de::Error> {
    let mut table = Table::new();
    put(&mut table, section, key.to_owned(), value.clone());
    Config::deserialize(table).map(|_| value)
}

fn put(table: &mut Table, section: &'static str, key: String, value: Value) {
    if section.is_empty() {
        table.insert(key, value);
        return;
    }
    let within = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(within) = within {
        within.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_does_not_know() {
        let env = [
            "SESSIOND_LISTN",
            "SESSIOND_LISTEN",
            "SESSIOND_ADDR",
            "SESSIOND_LIMITS_LABELS_MAX",
            "SESSIOND_PORT_50551_TCP_ADDR",
            "SESSIOND_SERVER_SERVICE_HOST",
            "SESSIOND_SERVICE_PORT",
            "PATH",
        ];
        let env = env.map(|name| (OsString::from(name), OsString::from("1")));
        assert_eq!(unknown(env), ["SESSIOND_LISTN"]);
    }

    #[test]
    fn reads_text_and_numbers() {
        let read = |section, key, raw| value(section, key, raw).map_err(|error| error.message().to_owned());
        assert_eq!(read("", "data", "12"), Ok(Value::String("12".into())));
        assert_eq!(read("", "insecure", "true"), Ok(Value::Boolean(true)));
        assert_eq!(read("limits", "labels_max", "12"), Ok(Value::Integer(12)));
        assert_eq!(
            read("log", "filter", "info,h2=warn"),
            Ok(Value::String("info,h2=warn".into()))
        );
        assert!(read("limits", "labels_max", "many").is_err());
        assert!(read("limits", "label_max", "1").is_err_and(|error| error.contains("label_max")));
    }
}
