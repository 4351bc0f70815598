//! What a configuration must hold to be run: every number between two bounds, and no door open by mistake.

use super::{Cluster, Config, Engines, Error, Limits, Server};
use crate::domain::ReplicaId;
use crate::domain::limits::TITLE_CHARS_MAX;

/// The largest request there can be: it is held in memory whole, and no backend takes a row of a gigabyte.
const REQUEST_BYTES_CEILING: usize = 512 * 1024 * 1024;

impl Config {
    /// Refuses what cannot be run, by key.
    pub fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that keeps this from being run.
    pub fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        self.limits.check(&mut found);
        self.server.check(&mut found);
        self.cluster.check(&mut found);
        self.engines.check(&mut found);
        found.within("store.readers", self.store.readers as u64, 1, 256);
        found.within("store.lanes", self.store.lanes as u64, 1, 64);
        let timeout = self.store.statement_timeout_s;
        found.within("store.statement_timeout_s", timeout, 1, 60 * 60);
        if self.store.url.is_some() {
            found.extend(self.place().err());
        }
        found.within("upkeep.interval_s", self.upkeep.interval_s, 1, 24 * 60 * 60);
        self.retention.check(&mut found);
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            found.refuse("tls", "needs cert and key, or neither");
        }
        if !self.listen.ip().to_canonical().is_loopback() && !self.insecure {
            let rule = format!(
                "{} can be reached by other machines, and whoever reaches it may read and change everything \
                 (TLS encrypts, but lets everybody in); say --insecure if that is what you want",
                self.listen
            );
            found.refuse("listen", rule);
        }
        found
    }
}

impl Limits {
    fn check(&self, found: &mut Vec<Error>) {
        for (key, value, max) in [
            (
                "limits.message_bytes_max",
                self.message_bytes_max,
                REQUEST_BYTES_CEILING,
            ),
            (
                "limits.request_bytes_max",
                self.request_bytes_max,
                REQUEST_BYTES_CEILING,
            ),
            ("limits.batch_entries_max", self.batch_entries_max, 1_000_000),
            ("limits.labels_max", self.labels_max, 10_000),
            ("limits.label_key_chars_max", self.label_key_chars_max, 10_000),
            ("limits.label_value_chars_max", self.label_value_chars_max, 10_000),
            ("limits.title_chars_max", self.title_chars_max, TITLE_CHARS_MAX),
            (
                "limits.text_bytes_max",
                self.text_bytes_max,
                REQUEST_BYTES_CEILING,
            ),
        ] {
            found.within(key, value as u64, 1, max as u64);
        }
        let days = u64::from(self.purge_after_days);
        found.within("limits.purge_after_days", days, 0, 36_500);
        if self.message_bytes_max > self.request_bytes_max {
            found.refuse("limits.message_bytes_max", "is at most limits.request_bytes_max");
        }
    }
}

impl Server {
    fn check(&self, found: &mut Vec<Error>) {
        found.within("server.worker_threads", self.worker_threads as u64, 0, 1_024);
        let connections = self.connections_max as u64;
        found.within("server.connections_max", connections, 1, 1_000_000);
        let streams = u64::from(self.max_concurrent_streams);
        found.within("server.max_concurrent_streams", streams, 1, 1_000_000);
        for (key, value) in [
            (
                "server.http2_keepalive_interval_s",
                self.http2_keepalive_interval_s,
            ),
            ("server.http2_keepalive_timeout_s", self.http2_keepalive_timeout_s),
        ] {
            found.within(key, value, 1, 24 * 60 * 60);
        }
        found.within("server.shutdown_grace_s", self.shutdown_grace_s, 0, 60 * 60);
    }
}

impl Cluster {
    fn check(&self, found: &mut Vec<Error>) {
        found.within("cluster.lease_ms", self.lease_ms, 100, 60 * 60 * 1_000);
        found.within("cluster.renew_ms", self.renew_ms, 10, self.lease_ms / 2);
        if let Some(name) = &self.name
            && let Err(invalid) = ReplicaId::parse(name, "cluster.name")
        {
            found.refuse("cluster.name", invalid.rule);
        }
        if let Some(secret) = &self.secret
            && let Err(rule) = secret.clone().checked()
        {
            found.refuse("cluster.secret", rule);
        }
        if self.secret.is_some() && self.secret_file.is_some() {
            found.refuse("cluster.secret_file", "stands beside cluster.secret; say one");
        }
    }

    /// Refuses what cannot be run beside other replicas.
    pub(crate) fn check_shared(&self) -> Result<(), Error> {
        let ip = self.listen.ip().to_canonical();
        if !ip.is_loopback() && self.secret.is_none() && self.secret_file.is_none() {
            let rule = format!(
                "{} can be reached by other machines; give all replicas one cluster.secret",
                self.listen
            );
            return Err(refused("cluster.listen", rule));
        }
        if ip.is_unspecified() && self.advertise.is_none() {
            let rule =
                "no other replica can reach this one by the address that it listens on; say where it can";
            return Err(refused("cluster.advertise", rule));
        }
        Ok(())
    }
}

impl Engines {
    fn check(&self, found: &mut Vec<Error>) {
        found.within("engines.heartbeat_ms", self.heartbeat_ms, 10, 60 * 60 * 1_000);
        for (key, value, max) in [
            (
                "engines.snapshot_bytes_max",
                self.snapshot_bytes_max,
                REQUEST_BYTES_CEILING,
            ),
            ("engines.seeds_per_engine_max", self.seeds_per_engine_max, 1_000),
            ("engines.seeds_max", self.seeds_max, 100_000),
        ] {
            found.within(key, value as u64, 1, max as u64);
        }
        found.within("engines.seed_silence_s", self.seed_silence_s, 1, 24 * 60 * 60);
    }
}

/// What is wrong, while it is gathered.
pub(super) trait Problems {
    /// One more thing is wrong.
    fn refuse(&mut self, key: &'static str, rule: impl Into<String>);

    /// A number must lie between two.
    fn within(&mut self, key: &'static str, value: u64, min: u64, max: u64) {
        if !(min..=max).contains(&value) {
            self.refuse(key, format!("is {value}, and must be from {min} to {max}"));
        }
    }
}

impl Problems for Vec<Error> {
    fn refuse(&mut self, key: &'static str, rule: impl Into<String>) {
        self.push(refused(key, rule));
    }
}

pub(super) fn refused(key: &'static str, rule: impl Into<String>) -> Error {
    Error::Value {
        key,
        rule: rule.into(),
    }
}
