//! What a replica has for others: its internal port, where they are told to find it, the secret, and its lease.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Findings, told};
use crate::cluster::Secret;
use crate::config::{Cluster, Config};

/// Renewals that should fit into a lease: two may fail.
const RENEWALS_MIN: u64 = 3;

/// A lease that a slow disk or a paused process outlasts.
const LEASE_SHORT_MS: u64 = 3_000;

/// Looks at what counts for a store that has other replicas.
pub(super) fn look(config: &Config, found: &mut Findings) {
    let cluster = &config.cluster;
    if let Err(problem) = cluster.check_shared() {
        let (key, text) = told(&problem);
        found.error(&key, text);
    }
    port(config, found);
    if let Some(advertise) = &cluster.advertise {
        advertised(advertise, cluster, found);
    }
    if let Some(path) = &cluster.secret_file {
        secret(path, found);
    }
    let (lease, renew) = (cluster.lease_ms, cluster.renew_ms);
    // More than half of it was told of already.
    if renew <= lease / 2 && renew.saturating_mul(RENEWALS_MIN) > lease {
        let text = format!(
            "is {renew}: one renewal that fails may cost the lease; a third of cluster.lease_ms at most, {}",
            lease / RENEWALS_MIN
        );
        found.warning("cluster.renew_ms", text);
    }
    if lease < LEASE_SHORT_MS {
        let text = format!("is {lease}: a replica or database that pauses for so long loses its engines");
        found.warning("cluster.lease_ms", text);
    }
}

fn port(config: &Config, found: &mut Findings) {
    const KEY: &str = "cluster.listen";
    let (listen, clients) = (config.cluster.listen, config.listen);
    if listen.port() == 0 {
        return;
    }
    let (ip, other) = (listen.ip().to_canonical(), clients.ip().to_canonical());
    let meet = ip == other || ip.is_unspecified() || other.is_unspecified();
    if listen.port() == clients.port() && meet {
        found.error(
            KEY,
            format!("{listen} is where clients are served; it needs a port of its own"),
        );
    } else if let Err(error) = TcpListener::bind(listen) {
        found.error(KEY, format!("{listen} cannot be had: {error}"));
    }
}

/// Whether others find this replica where it says it is.
fn advertised(advertise: &str, cluster: &Cluster, found: &mut Findings) {
    const KEY: &str = "cluster.advertise";
    let parts = advertise.rsplit_once(':');
    let Some((host, port)) = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) else {
        found.error(KEY, format!("{advertise} is not HOST:PORT"));
        return;
    };
    if port == 0 {
        found.error(KEY, format!("{advertise}: nobody is reached at port 0"));
    } else if cluster.listen.port() == 0 {
        let text = format!("{advertise} names a port, and cluster.listen takes any that is free");
        found.warning(KEY, text);
    }
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let ip = name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let is_here = name == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    let is_open = !cluster.listen.ip().to_canonical().is_loopback();
    if host.is_empty() || ip.is_some_and(|ip| ip.is_unspecified()) {
        found.error(KEY, format!("{advertise} names no host"));
    } else if is_here && is_open {
        let text =
            format!("{advertise} names each host itself: replicas on other hosts do not find this one");
        found.warning(KEY, text);
    } else if !is_here && !is_open {
        let listen = cluster.listen;
        let text = format!(
            "{advertise} is for other hosts, and cluster.listen, {listen}, is reached from this one alone"
        );
        found.warning(KEY, text);
    }
}

fn secret(path: &Path, found: &mut Findings) {
    const KEY: &str = "cluster.secret_file";
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            found.error(KEY, format!("{} cannot be read: {error}", path.display()));
            return;
        }
    };
    if let Err(rule) = Secret::parse(&text) {
        found.error(KEY, format!("the secret in {} {rule}", path.display()));
    }
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        let text = format!("{} is open to other users: chmod 600", path.display());
        found.warning(KEY, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    /// What is found of these keys of `[cluster]`.
    fn found(keys: &str) -> Vec<(Level, String)> {
        let config: Config = toml::from_str(&format!("[cluster]\n{keys}")).expect("a configuration");
        let mut found = Findings::default();
        look(&config, &mut found);
        let found = found.0.into_iter();
        found.map(|finding| (finding.level, finding.key)).collect()
    }

    fn error(key: &str) -> (Level, String) {
        (Level::Error, format!("cluster.{key}"))
    }

    fn warning(key: &str) -> (Level, String) {
        (Level::Warning, format!("cluster.{key}"))
    }

    #[test]
    fn the_defaults_do_for_several_on_one_host() {
        assert_eq!(found(""), []);
    }

    #[test]
    fn who_is_reached_from_other_hosts_says_where_and_has_a_secret() {
        let open = "listen = '0.0.0.0:0'\n";
        assert_eq!(found(open), [error("listen")], "no secret");
        let open = format!("{open}secret = 'long-enough'\n");
        assert_eq!(found(&open), [error("advertise")], "it is nowhere");
        for (advertise, expected) in [
            ("10.0.0.7:7", vec![warning("advertise")]),
            ("10.0.0.7:0", vec![error("advertise")]),
            ("10.0.0.7", vec![error("advertise")]),
            ("0.0.0.0:0", vec![error("advertise"); 2]),
        ] {
            assert_eq!(
                found(&format!("{open}advertise = '{advertise}'")),
                expected,
                "{advertise}"
            );
        }
        // Ports of one host that nobody is likely to have.
        let fixed = "listen = '0.0.0.0:64219'\nsecret = 'long-enough'\n";
        assert_eq!(found(&format!("{fixed}advertise = 'db.example:64219'")), []);
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let advertise = format!("{fixed}advertise = '{host}:64219'");
            assert_eq!(found(&advertise), [warning("advertise")], "{host}");
        }
        let loopback = "listen = '127.0.0.1:64218'\nadvertise = '10.0.0.7:64218'";
        assert_eq!(found(loopback), [warning("advertise")]);
    }

    #[test]
    fn a_lease_lasts_for_some_renewals() {
        assert_eq!(found("renew_ms = 4000"), [warning("renew_ms")]);
        assert_eq!(found("lease_ms = 900\nrenew_ms = 300"), [warning("lease_ms")]);
    }

    #[test]
    fn a_port_is_of_replicas_or_of_clients() {
        assert_eq!(found("listen = '127.0.0.1:50551'"), [error("listen")]);
    }

    #[test]
    fn a_secret_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let file = format!("secret_file = '{}'", path.display());
        assert_eq!(found(&file), [error("secret_file")], "there is none");
        let write = |text: &str, mode| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode is set");
            found(&file)
        };
        assert_eq!(write("long-enough\n", 0o600), []);
        assert_eq!(write("long-enough\n", 0o604), [warning("secret_file")]);
        assert_eq!(write("short", 0o600), [error("secret_file")]);
    }
}
