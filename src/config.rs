//! What an operator may set, and where it comes from: flags before environment before file before defaults.
//!
//! [`Config::load`] returns a configuration that can be run, or an [`Error`] that names the key and the file or
//! variable it stands in. Nothing is ignored: an unknown key is refused. `docs/sessiond.toml` lists every key with
//! its default. The environment's names follow from the keys: `limits.message_bytes_max` is
//! `SESSIOND_LIMITS_MESSAGE_BYTES_MAX`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::domain;
use crate::store::sqlite::READERS_DEFAULT;

mod check;
mod env;

pub use env::unknown as unknown_variables;

/// The port where none is said.
pub const PORT_DEFAULT: u16 = 50_551;

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "SESSIOND_CONFIG";

/// Why there is no configuration to run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says what cannot be; the source names line and key.
    #[error("the configuration file {} is refused", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A variable says what cannot be.
    #[error("the environment variable {variable} is refused")]
    Variable {
        /// Which variable.
        variable: String,
        /// What is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A variable is not text.
    #[error("the environment variable {variable} is not UTF-8")]
    NotText {
        /// Which variable.
        variable: String,
    },
    /// A value is readable, but nothing to run with.
    #[error("{key}: {rule}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it must be.
        rule: String,
    },
}

/// Everything that may be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where TCP is served; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where a unix socket is served as well.
    pub uds: Option<PathBuf>,
    /// The folder the data lies in; [`Config::data_folder`] fills in the default.
    pub data: Option<PathBuf>,
    /// Whether `listen` may be an address that other machines reach.
    pub insecure: bool,
    /// A file that holds the TCP address, as `host:port` and a line end, while it is served.
    pub ready_file: Option<PathBuf>,
    /// Encryption of TCP.
    pub tls: Tls,
    /// What is logged, and how.
    pub log: Log,
    /// How large things may be.
    pub limits: Limits,
    /// The server itself.
    pub server: Server,
    /// The store.
    pub store: Store,
    /// What the service does for itself.
    pub upkeep: Upkeep,
}

/// Encryption of TCP: both files, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, in PEM.
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Levels by target, as tracing-subscriber's `EnvFilter` reads them.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: an object a line.
    Json,
}

/// How large things may be; see [`domain::Limits`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of domain::Limits")]
pub struct Limits {
    pub message_bytes_max: usize,
    pub request_bytes_max: usize,
    pub batch_entries_max: usize,
    pub labels_max: usize,
    pub label_key_chars_max: usize,
    pub label_value_chars_max: usize,
    pub title_chars_max: usize,
    pub text_bytes_max: usize,
    pub purge_after_days: u32,
}

/// The server itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Threads that serve; 0 means one for every core.
    pub worker_threads: usize,
    /// Connections at once, of TCP and of the unix socket each; more wait until one closes.
    pub connections_max: usize,
    /// Calls at once on one connection; more wait until one ends.
    pub max_concurrent_streams: u32,
    /// How long a connection may be silent before it is asked whether it is there.
    pub http2_keepalive_interval_s: u64,
    /// How long it has to answer that.
    pub http2_keepalive_timeout_s: u64,
    /// How long calls may go on after a shutdown was asked for.
    pub shutdown_grace_s: u64,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Threads that read; one writes.
    pub readers: usize,
}

/// What the service does for itself: expiry, purges, sweeps, compaction.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Upkeep {
    /// How often it looks for work.
    pub interval_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_DEFAULT)),
            uds: None,
            data: None,
            insecure: false,
            ready_file: None,
            tls: Tls::default(),
            log: Log::default(),
            limits: Limits::default(),
            server: Server::default(),
            store: Store::default(),
            upkeep: Upkeep::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let domain::Limits {
            message_bytes_max,
            request_bytes_max,
            batch_entries_max,
            labels_max,
            label_key_chars_max,
            label_value_chars_max,
            title_chars_max,
            text_bytes_max,
            purge_after,
        } = domain::Limits::default();
        Self {
            message_bytes_max,
            request_bytes_max,
            batch_entries_max,
            labels_max,
            label_key_chars_max,
            label_value_chars_max,
            title_chars_max,
            text_bytes_max,
            purge_after_days: u32::try_from(purge_after.as_secs() / DAY_S).unwrap_or(u32::MAX),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            worker_threads: 0,
            connections_max: 10_000,
            max_concurrent_streams: 10_000,
            http2_keepalive_interval_s: 30,
            http2_keepalive_timeout_s: 20,
            shutdown_grace_s: 10,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            readers: READERS_DEFAULT,
        }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { interval_s: 30 }
    }
}

const DAY_S: u64 = 24 * 60 * 60;

impl From<&Limits> for domain::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            message_bytes_max: limits.message_bytes_max,
            request_bytes_max: limits.request_bytes_max,
            batch_entries_max: limits.batch_entries_max,
            labels_max: limits.labels_max,
            label_key_chars_max: limits.label_key_chars_max,
            label_value_chars_max: limits.label_value_chars_max,
            title_chars_max: limits.title_chars_max,
            text_bytes_max: limits.text_bytes_max,
            purge_after: Duration::from_secs(u64::from(limits.purge_after_days) * DAY_S),
        }
    }
}

impl Config {
    /// Reads `file` (else the one that [`FILE_VARIABLE`] names, else none), lays the variables of `env` over it and
    /// has `flags` set the rest, then checks the whole.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        flags: impl FnOnce(&mut Self),
    ) -> Result<Self, Error> {
        let variables = env::variables(env)?;
        let named = variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = named.map(|(_, value)| PathBuf::from(value));
        let mut table = match file.map(Path::to_owned).or(named) {
            Some(path) => read(&path)?,
            None => toml::Table::new(),
        };
        env::overlay(&mut table, &variables)?;
        let refused = |source: toml::de::Error| Error::Value {
            key: "configuration",
            rule: source.message().to_owned(),
        };
        let mut config: Self = table.try_into().map_err(refused)?;
        flags(&mut config);
        config.check()?;
        Ok(config)
    }

    /// The folder the data lies in: `data`, else `sessiond` in the user's data home.
    pub fn data_folder(&self) -> Result<PathBuf, Error> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let home = etcetera::choose_base_strategy().map_err(|_| Error::Value {
            key: "data",
            rule: "there is no home directory to derive it from; say --data".to_owned(),
        })?;
        Ok(home.data_dir().join("sessiond"))
    }
}

fn read(path: &Path) -> Result<toml::Table, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    // Read as what it must be first: only an error against the text knows its line.
    let refused = |source| Error::File {
        path: path.to_owned(),
        source: Box::new(source),
    };
    toml::from_str::<Config>(&text).map_err(refused)?;
    toml::from_str(&text).map_err(refused)
}

#[cfg(test)]
mod tests;
