//! Stores by their URLs: the one place where a scheme says which backend is opened to be copied.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;

use super::error::Error;
use crate::store::postgres::{self, Options, Url};
use crate::store::sqlite::{Archive, Filling, OpenError};
use crate::store::{Fill, Survey};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A data folder: `sqlite:DIR`.
    Sqlite(PathBuf),
    /// A database: `postgres://…`, which may hold a password and is never shown.
    Postgres(String),
}

/// What is no store's URL.
#[derive(Debug, thiserror::Error)]
#[error("a store is sqlite:DIR or postgres://HOST/DATABASE")]
pub(crate) struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(url: &str) -> Result<Self, NoPlace> {
        if let Some(folder) = url.strip_prefix("sqlite:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Sqlite(folder.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err(NoPlace)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(folder) => write!(f, "sqlite:{}", folder.display()),
            Self::Postgres(url) => match url.parse::<Url>() {
                Ok(url) => url.fmt(f),
                Err(_) => f.write_str("postgres"),
            },
        }
    }
}

impl Place {
    /// Opens what is there to be read whole; nobody else writes to it meanwhile.
    pub(crate) async fn source(&self) -> Result<Box<dyn Survey>, Error> {
        match self {
            Self::Sqlite(folder) => {
                let archive = opened(folder.clone(), Archive::open).await?;
                Ok(Box::new(archive))
            }
            Self::Postgres(url) => {
                let url = parsed(url)?;
                let archive = postgres::Archive::open(&url, &Options::default()).await;
                Ok(Box::new(archive.with_context(|| format!("cannot open {url}"))?))
            }
        }
    }

    /// Opens an empty place, or one in which a copy broke off, to be filled.
    pub(crate) async fn target(&self) -> Result<Box<dyn Fill>, Error> {
        match self {
            Self::Sqlite(folder) => {
                let filling = opened(folder.clone(), Filling::open).await?;
                Ok(Box::new(filling))
            }
            Self::Postgres(url) => {
                let url = parsed(url)?;
                let filling = postgres::Filling::open(&url, &Options::default()).await;
                Ok(Box::new(filling.with_context(|| format!("cannot open {url}"))?))
            }
        }
    }

    /// Whether both are one and the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                one == other
                    || one
                        .canonicalize()
                        .is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
            }
            (Self::Postgres(one), Self::Postgres(other)) => one == other,
            (Self::Sqlite(_), Self::Postgres(_)) | (Self::Postgres(_), Self::Sqlite(_)) => false,
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

/// The URL; what is wrong with it is said without it.
fn parsed(url: &str) -> Result<Url, Error> {
    Ok(url.parse::<Url>().context("the store's URL")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_says_which_store() {
        let place = |url: &str| url.parse::<Place>().ok();
        assert_eq!(
            place("sqlite:/var/lib/x"),
            Some(Place::Sqlite("/var/lib/x".into()))
        );
        assert_eq!(place("sqlite:x"), Some(Place::Sqlite("x".into())));
        let url = "postgresql://u:secret@h/d";
        assert_eq!(place(url), Some(Place::Postgres(url.into())));
        assert!(!place(url).expect("a place").to_string().contains("secret"));
        for none in ["", "sqlite:", "/var/lib/x", "mysql://h/d", "postgres:h"] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
