//! The options of every command that talks to a server.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::error::Error;
use crate::client::{Address, Client};

/// Where the server is, and how to answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// Where the server listens: host:port, http://host:port, https://host:port or unix:PATH.
    #[arg(
        long,
        env = "SESSIOND_ADDR",
        hide_env_values = true,
        default_value = "127.0.0.1:50551",
        help_heading = "Server"
    )]
    pub(crate) addr: Address,
    /// The certificate, in PEM, that an https:// server must show, or that of the authority which signed it.
    #[arg(
        long,
        env = "SESSIOND_CA",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Server"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// The namespace to work in; empty means `default`.
    #[arg(
        long,
        env = "SESSIOND_NAMESPACE",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME",
        help_heading = "Server"
    )]
    pub(crate) namespace: String,
    /// Print JSON for programs; `sessiond help` tells its form.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl Remote {
    /// Connects to the server.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        let authority = match &self.ca {
            Some(file) => Some(fs::read(file).map_err(|error| Error::unreadable(file, &error))?),
            None if self.addr.is_encrypted() => {
                return Err(Error::Usage(
                    "--ca says whose certificate an https:// address must show".into(),
                ));
            }
            None => None,
        };
        Ok(Client::connect_trusting(&self.addr, self.namespace.clone(), authority.as_deref()).await?)
    }
}
