//! The tables of the configuration, each with its defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Config;
use crate::cluster::Secret;
use crate::domain;
use crate::service::EngineTerms;
use crate::store::place::StoreUrl;
use crate::store::postgres::{Migrate, Options};
use crate::store::sqlite::READERS_DEFAULT;

const DAY_S: u64 = 24 * 60 * 60;

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

/// Other replicas of the same store: nothing of it counts for a store that one process has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Where other replicas are answered; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where other replicas reach this one, as `host:port`; else the address that it listens on.
    pub advertise: Option<String>,
    /// Its name, which one process at a time has; else a new one at each start.
    pub name: Option<String>,
    /// What replicas know each other by; needed where `listen` can be reached by other machines.
    pub secret: Option<Secret>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// How long it is taken for alive without a renewal.
    pub lease_ms: u64,
    /// How often it renews its lease, and looks after what others have left.
    pub renew_ms: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            name: None,
            secret: None,
            secret_file: None,
            lease_ms: 10_000,
            renew_ms: 3_000,
        }
    }
}

/// Engines, and the resumes that seed them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Engines {
    /// How often an engine's heartbeat is due; three missed ones detach it.
    pub heartbeat_ms: u64,
    /// Bytes that a snapshot may have.
    pub snapshot_bytes_max: usize,
    /// Seeds on one engine at a time, unless it says less.
    pub seeds_per_engine_max: usize,
    /// Seeds at a time in all; more resumes wait.
    pub seeds_max: usize,
    /// How long an engine may acknowledge nothing before its seed is given up.
    pub seed_silence_s: u64,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Where it is, as `postgres://…` or `sqlite:DIR`; `None`: SQLite in the data folder.
    pub url: Option<StoreUrl>,
    /// Threads that read SQLite, of which one more writes, or connections that read PostgreSQL.
    pub readers: usize,
    /// Connections that write PostgreSQL.
    pub lanes: usize,
    /// How long one statement of PostgreSQL may take.
    pub statement_timeout_s: u64,
    /// Whether a PostgreSQL database that lacks tables gets them at the start.
    pub migrate: bool,
}

/// What the service does for itself: expiry, purges, sweeps, compaction.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Upkeep {
    /// How often it looks for work.
    pub interval_s: u64,
}

/// Search.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Whether messages are indexed and can be searched.
    pub enabled: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { enabled: true }
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

impl Default for Engines {
    fn default() -> Self {
        let EngineTerms {
            heartbeat,
            snapshot_bytes_max,
            seeds_per_engine_max,
            seeds_max,
            seed_silence,
        } = EngineTerms::default();
        Self {
            heartbeat_ms: u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX),
            snapshot_bytes_max,
            seeds_per_engine_max,
            seeds_max,
            seed_silence_s: seed_silence.as_secs(),
        }
    }
}

impl From<&Engines> for EngineTerms {
    fn from(engines: &Engines) -> Self {
        Self {
            heartbeat: Duration::from_millis(engines.heartbeat_ms),
            snapshot_bytes_max: engines.snapshot_bytes_max,
            seeds_per_engine_max: engines.seeds_per_engine_max,
            seeds_max: engines.seeds_max,
            seed_silence: Duration::from_secs(engines.seed_silence_s),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        let Options {
            lanes,
            statement_timeout,
            readers: _,
            migrate: _,
            replica: _,
        } = Options::default();
        Self {
            url: None,
            readers: READERS_DEFAULT,
            lanes,
            statement_timeout_s: statement_timeout.as_secs(),
            migrate: true,
        }
    }
}

impl From<&Config> for Options {
    fn from(config: &Config) -> Self {
        let store = &config.store;
        Self {
            lanes: store.lanes,
            readers: store.readers,
            statement_timeout: Duration::from_secs(store.statement_timeout_s),
            migrate: if store.migrate { Migrate::Yes } else { Migrate::No },
            replica: config
                .cluster
                .name
                .clone()
                .unwrap_or_else(|| Self::default().replica),
        }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { interval_s: 30 }
    }
}

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
