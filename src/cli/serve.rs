//! `serve`: runs the server.

use clap::Args;

/// Run the server.
#[derive(Args, Debug)]
pub struct Serve {}

impl Serve {
    /// Runs until it is told to stop.
    pub async fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("there is no server in this build")
    }
}
