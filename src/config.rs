//! What an operator may set, and where it comes from: flags before environment before file before defaults.
//!
//! [`Config::load`] returns a configuration that can be run, or an [`Error`] that names the key and the file or
//! variable it stands in. Nothing is ignored: an unknown key is refused. `docs/sessiond.toml` lists every key with
//! its default. The environment's names follow from the keys: `limits.message_bytes_max` is
//! `SESSIOND_LIMITS_MESSAGE_BYTES_MAX`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::store::place::Place;

mod check;
mod env;
mod examine;
mod retention;
mod sections;

pub use env::unknown as unknown_variables;
pub use examine::Examined;
pub use retention::{Policy, Retention};
pub use sections::{Cluster, Engines, Limits, Log, LogFormat, Search, Server, Store, Tls, Upkeep};

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
    /// A key of the file says what cannot be.
    #[error("{key} in the configuration file {}: {rule}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong with it.
        rule: String,
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
    /// Other replicas of the same store.
    pub cluster: Cluster,
    /// Engines and resumes.
    pub engines: Engines,
    /// The store.
    pub store: Store,
    /// What the service does for itself.
    pub upkeep: Upkeep,
    /// How long sessions are kept.
    pub retention: Retention,
    /// Search.
    pub search: Search,
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
            cluster: Cluster::default(),
            engines: Engines::default(),
            store: Store::default(),
            upkeep: Upkeep::default(),
            retention: Retention::default(),
            search: Search::default(),
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

    /// Where the store is: where `store.url` says, else in the data folder.
    pub fn place(&self) -> Result<Place, Error> {
        let Some(url) = &self.store.url else {
            return Ok(Place::Sqlite(self.data_folder()?));
        };
        let place = url.place().map_err(|error| Error::Value {
            key: "store.url",
            rule: error.to_string(),
        });
        place.cloned()
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
