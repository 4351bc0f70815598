//! Opening stores by their places, to be copied: the one place where a backend is chosen for that.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::error::Error;
use crate::store::place::{Place, StoreUrl};
use crate::store::postgres::{self, Options};
use crate::store::sqlite::{Archive, Filling, OpenError};
use crate::store::{Fill, Survey};

/// A store that is read whole.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its rows.
    pub(crate) rows: Box<dyn Survey>,
    /// Replicas that serve it meanwhile: what they write from now on stays behind.
    pub(crate) served_by: u64,
}

/// The place that an option names; what is wrong with it is said without it.
pub(crate) fn place<'a>(option: &str, url: &'a StoreUrl) -> Result<&'a Place, Error> {
    url.place()
        .map_err(|error| Error::Usage(format!("{option}: {error}")))
}

/// Opens what is there to be read whole.
pub(crate) async fn source(place: &Place) -> Result<Source, Error> {
    match place {
        Place::Sqlite(folder) => Ok(Source {
            rows: Box::new(opened(folder.clone(), Archive::open).await?),
            served_by: 0,
        }),
        Place::Postgres(url) => {
            let archive = postgres::Archive::open(url, &Options::default()).await;
            let archive = archive.with_context(|| format!("cannot open {url}"))?;
            Ok(Source {
                served_by: archive.served_by(),
                rows: Box::new(archive),
            })
        }
    }
}

/// Opens an empty place, or one in which a copy broke off, to be filled.
pub(crate) async fn target(place: &Place) -> Result<Box<dyn Fill>, Error> {
    match place {
        Place::Sqlite(folder) => {
            let filling = opened(folder.clone(), Filling::open).await?;
            Ok(Box::new(filling))
        }
        Place::Postgres(url) => {
            let filling = postgres::Filling::open(url, &Options::default()).await;
            Ok(Box::new(filling.with_context(|| format!("cannot open {url}"))?))
        }
    }
}

async fn opened<T: Send + 'static>(
    folder: PathBuf,
    open: fn(&Path) -> Result<T, OpenError>,
) -> Result<T, Error> {
    let said = format!("cannot open sqlite:{}", folder.display());
    let opened = tokio::task::spawn_blocking(move || open(&folder)).await;
    opened.context("opening a store was cut short")?.map_err(|error| {
        let said = match &error {
            OpenError::Locked { .. } => "the server must be stopped first".to_owned(),
            OpenError::NewerSchema { .. }
            | OpenError::Foreign { .. }
            | OpenError::ReadOnly { .. }
            | OpenError::Missing { .. }
            | OpenError::Unfinished { .. }
            | OpenError::NotEmpty { .. }
            | OpenError::Damaged { .. }
            | OpenError::Io { .. }
            | OpenError::Sqlite { .. } => said,
        };
        anyhow::Error::new(error).context(said).into()
    })
}
