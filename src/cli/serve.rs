//! `sessiond serve`: the process around a [`Server`]: configuration, log, signals, ready file, exit.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::cluster::Secret;
use crate::config::{self, Config};
use crate::server::{Drained, Running, Server};
use crate::shutdown::Requests;
use crate::store::Store;
use crate::store::place::{Place, StoreUrl};
use crate::store::postgres::{Options, Postgres};
use crate::store::sqlite::Sqlite;
use crate::telemetry;

/// Serve sessions until SIGINT or SIGTERM.
///
/// Every option can also stand in the configuration file or in the environment (SESSIOND_LISTEN, SESSIOND_DATA,
/// SESSIOND_LOG, ...). An option comes before the environment, the environment before the file.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Where TCP is served; port 0 takes any free one [default: 127.0.0.1:50551]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Serve a unix socket as well; only its owner may connect
    #[arg(long, value_name = "PATH")]
    uds: Option<PathBuf>,
    /// The folder the data lies in [default: sessiond in the user's data home]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the data lies instead: a PostgreSQL database, as postgres://user@host/name, or sqlite:DIR; better in
    /// SESSIOND_STORE if it has a password
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Refuse a database that lacks tables instead of making them
    #[arg(long)]
    no_migrate: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let --listen be an address that other machines reach: whoever reaches it may do everything
    #[arg(long)]
    insecure: bool,
    /// Write host:port to this file once TCP is served
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// The certificate chain that TCP is encrypted with, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where other replicas of the same store are answered [default: 127.0.0.1:0, any free port]
    #[arg(long, value_name = "ADDR")]
    cluster_listen: Option<SocketAddr>,
    /// Where other replicas reach this one [default: the address of --cluster-listen]
    #[arg(long, value_name = "HOST:PORT")]
    cluster_advertise: Option<String>,
    /// This replica's name [default: a new one at each start]
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// What replicas know each other by; better said by SESSIOND_CLUSTER_SECRET or in a file, where no list of
    /// processes shows it
    #[arg(long, value_name = "SECRET", conflicts_with = "cluster_secret_file")]
    cluster_secret: Option<Secret>,
    /// A file that holds that secret
    #[arg(long, value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,
}

impl Serve {
    /// Serves until the process is asked to stop. The second request to stop ends the process at once.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = Config::load(self.config.as_deref(), std::env::vars_os(), |config| {
            self.set(config)
        })?;
        telemetry::start(&config.log)?;
        for variable in config::unknown_variables(std::env::vars_os()) {
            tracing::warn!(
                variable,
                "this variable of the environment means nothing to sessiond"
            );
        }
        // How many threads serve is configured, so the server has a runtime of its own; this task only waits for it.
        let runtime = runtime(config.server.worker_threads)?;
        tokio::task::spawn_blocking(move || runtime.block_on(serve(config))).await?
    }

    /// The configuration file, if an option names it.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Lays the options over what file and environment say.
    pub(super) fn set(&self, config: &mut Config) {
        let Self {
            listen,
            uds,
            data,
            store,
            no_migrate,
            config: _,
            insecure,
            ready_file,
            tls_cert,
            tls_key,
            cluster_listen,
            cluster_advertise,
            cluster_name,
            cluster_secret,
            cluster_secret_file,
        } = self;
        config.listen = listen.unwrap_or(config.listen);
        config.insecure |= insecure;
        config.cluster.listen = cluster_listen.unwrap_or(config.cluster.listen);
        for (option, key) in [
            (cluster_advertise, &mut config.cluster.advertise),
            (cluster_name, &mut config.cluster.name),
        ] {
            if option.is_some() {
                key.clone_from(option);
            }
        }
        if cluster_secret.is_some() {
            config.cluster.secret.clone_from(cluster_secret);
        }
        config.store.migrate &= !no_migrate;
        if store.is_some() {
            config.store.url.clone_from(store);
        }
        for (option, key) in [
            (uds, &mut config.uds),
            (data, &mut config.data),
            (ready_file, &mut config.ready_file),
            (tls_cert, &mut config.tls.cert),
            (tls_key, &mut config.tls.key),
            (cluster_secret_file, &mut config.cluster.secret_file),
        ] {
            if option.is_some() {
                key.clone_from(option);
            }
        }
    }
}

fn runtime(worker_threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.enable_all().build().context("cannot start the runtime")
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before anything else: a signal that comes while the store is being opened must not be lost.
    let mut requests = Requests::listen().context("cannot listen for signals")?;
    let ready = config.ready_file.clone().map(ReadyFile);
    if let Some(ready) = &ready {
        ready
            .remove()
            .with_context(|| format!("cannot remove the old {}", ready.0.display()))?;
    }
    let store = open(&config).await?;
    let running = match Server::start(&config, store.clone()).await {
        Ok(running) => running,
        Err(error) => {
            store.close().await;
            return Err(error.into());
        }
    };
    announce(&config, &running);
    if let Some(ready) = &ready {
        let written = ready.write(running.addr());
        written.with_context(|| format!("cannot write {}", ready.0.display()))?;
    }

    let request = requests.next().await;
    tracing::info!(?request, grace_s = config.server.shutdown_grace_s, "stopping");
    if let Some(ready) = &ready {
        // The address is not served any more; a file that stays says so wrongly until the next start, no more.
        let _ = ready.remove();
    }
    let drained = tokio::select! {
        drained = running.shutdown() => drained,
        request = requests.next() => {
            tracing::warn!(?request, "stopped at once");
            std::process::exit(request.exit_code());
        }
    };
    match drained {
        Drained::Clean => tracing::info!("stopped"),
        Drained::CutOff { calls } => tracing::warn!(calls, "stopped, with calls cut off"),
    }
    Ok(())
}

/// Opens the store that is configured.
pub(super) async fn open(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.place()? {
        Place::Postgres(url) => {
            let opened = Postgres::open(&url, &Options::from(config)).await;
            Ok(Arc::new(opened.with_context(|| format!("cannot open {url}"))?))
        }
        Place::Sqlite(folder) => {
            let readers = config.store.readers;
            let said = format!("cannot open the data folder {}", folder.display());
            let opened = tokio::task::spawn_blocking(move || Sqlite::open(&folder, readers)).await?;
            Ok(Arc::new(opened.context(said)?))
        }
    }
}

fn announce(config: &Config, running: &Running) {
    let uds = config.uds.as_deref().unwrap_or(Path::new("")).display();
    let internal = running.internal_addr().map(tracing::field::display);
    tracing::info!(addr = %running.addr(), %uds, internal, tls = config.tls.cert.is_some(), "serving");
    if config.insecure && !config.listen.ip().to_canonical().is_loopback() {
        tracing::warn!("whoever reaches this address may read and change everything");
    }
}

/// Tells other programs where the server is.
struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Puts the whole file there at once: who sees it sees all of it.
    fn write(&self, addr: SocketAddr) -> io::Result<()> {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let written = self.0.with_file_name(name);
        fs::write(&written, format!("{addr}\n"))?;
        fs::rename(&written, &self.0)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    #[test]
    fn options_come_before_everything() {
        let words = "serve --listen 127.0.0.1:0 --uds u --data d --ready-file r --tls-cert c --tls-key k";
        let line = Line::try_parse_from(words.split(' ')).expect("a command line");
        let env = [("SESSIOND_UDS".into(), "env".into())];
        let config = Config::load(None, env, |config| line.serve.set(config)).expect("a configuration");
        assert_eq!(config.listen.port(), 0);
        let paths = [
            config.uds,
            config.data,
            config.ready_file,
            config.tls.cert,
            config.tls.key,
        ];
        assert_eq!(
            paths.map(|path| path.expect("set")),
            ["u", "d", "r", "c", "k"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_ready_file_is_written_whole_and_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let ready = ReadyFile(dir.path().join("ready"));
        ready.remove().expect("nothing there");
        ready
            .write(SocketAddr::from(([127, 0, 0, 1], 7)))
            .expect("written");
        assert_eq!(fs::read_to_string(&ready.0).expect("there"), "127.0.0.1:7\n");
        ready.remove().expect("removed");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }
}
