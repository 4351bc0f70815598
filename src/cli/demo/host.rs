//! The server of a demo: the one that `serve` runs, in this process, on a folder that may be a temporary one.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::error::Error;
use super::super::serve;
use crate::client::Address;
use crate::config::Config;
use crate::server::{Running, Server, StartError};

/// A server that runs, and the folder that its data lies in.
#[derive(Debug)]
pub(super) struct Host {
    running: Running,
    address: Address,
    folder: PathBuf,
    /// Removes the folder at the end if it is a temporary one.
    _temporary: Option<Temporary>,
}

/// A folder that goes away with its owner.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Host {
    /// Starts a server. Unless an address is asked for, any free port will do if the usual one is taken.
    pub(super) async fn start(data: Option<PathBuf>, listen: Option<SocketAddr>) -> Result<Self, Error> {
        let temporary = data.is_none().then(Temporary::make).transpose()?;
        let folder = match (&data, &temporary) {
            (Some(folder), _) | (None, Some(Temporary(folder))) => folder.clone(),
            (None, None) => PathBuf::new(),
        };
        let mut config = Config {
            data: Some(folder.clone()),
            ..Config::default()
        };
        config.listen = listen.unwrap_or(config.listen);
        let store = serve::open(&config).await?;
        let running = match Server::start(&config, store.clone()).await {
            Err(StartError::Listen { source, .. })
                if listen.is_none() && source.kind() == io::ErrorKind::AddrInUse =>
            {
                config.listen.set_port(0);
                Server::start(&config, store).await
            }
            started => started,
        }
        .context("cannot start a server")?;
        let address = running
            .addr()
            .to_string()
            .parse()
            .context("an address that was bound")?;
        Ok(Self {
            running,
            address,
            folder,
            _temporary: temporary,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Where its data lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it in good order.
    pub(super) async fn stop(self) {
        self.running.shutdown().await;
    }
}

impl Temporary {
    fn make() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("sessiond-demo-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left in a folder for temporary files goes some day anyhow.
        let _ = fs::remove_dir_all(&self.0);
    }
}
