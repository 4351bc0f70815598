//! The options of every command that talks to a server.

use clap::Args;

use super::error::Error;
use crate::client::{Address, Client};

/// Where the server is, and how to answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// Where the server listens: host:port, http://host:port or unix:PATH.
    #[arg(
        long,
        env = "SESSIOND_ADDR",
        default_value = "127.0.0.1:50551",
        help_heading = "Server"
    )]
    pub(crate) addr: Address,
    /// The namespace to work in; empty means `default`.
    #[arg(
        long,
        env = "SESSIOND_NAMESPACE",
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
        Ok(Client::connect(&self.addr, self.namespace.clone()).await?)
    }
}
