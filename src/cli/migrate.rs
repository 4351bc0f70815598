//! `migrate`: takes a database through the steps it lacks, while replicas serve, or says whether it lacks some.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;

use super::error::Error;
use super::stores;
use super::term::Screen;
use crate::store::place::{Place, StoreUrl};
use crate::store::postgres::{self, Postgres, Schema};

/// Take a PostgreSQL database through the schema's steps it lacks. Replicas of this release and the one before it go on
/// meanwhile.
#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// The database, as postgres://user@host/name
    #[arg(long, value_name = "URL", env = "SESSIOND_STORE", hide_env_values = true)]
    store: StoreUrl,
    /// Change nothing; exit with 1 if there is something to do
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let url = match stores::place("--store", &self.store)? {
            Place::Postgres(url) => url,
            Place::Sqlite(_) => {
                let said =
                    "a data folder is taken through its steps when it is served; this is for postgres://…";
                return Err(Error::Usage(said.to_owned()));
            }
        };
        let migrate = if self.check {
            postgres::Migrate::No
        } else {
            postgres::Migrate::Yes
        };
        let schema = Postgres::migrate(url, migrate).await;
        let schema = schema.with_context(|| format!("cannot migrate {url}"))?;
        let Schema { present, known } = schema;
        if schema.is_current() {
            writeln!(screen, "{url} has schema version {present}: nothing to do")?;
            return Ok(());
        }
        if self.check {
            return Err(Error::Input(format!(
                "{url} has schema version {present}, this program {known}"
            )));
        }
        writeln!(screen, "{url} went from schema version {present} to {known}")?;
        Ok(())
    }
}
