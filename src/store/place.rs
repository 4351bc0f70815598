//! Where a store is, as its URL says: `sqlite:DIR` or `postgres://…`. A URL may hold a password; neither what it means nor
//! what is wrong with it shows that.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::postgres::{Url, UrlError};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A data folder: `sqlite:DIR`.
    Sqlite(PathBuf),
    /// A database: `postgres://…`.
    Postgres(Box<Url>),
}

/// What somebody gave as a store's URL: the place, or why it is none. Anything is taken, so that whoever reads an option, a
/// variable or a file quotes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Result<Place, UrlError>);

impl FromStr for Place {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        match url.strip_prefix("sqlite:") {
            Some("") => Err(UrlError::Scheme),
            Some(folder) => Ok(Self::Sqlite(folder.into())),
            None => Ok(Self::Postgres(Box::new(url.parse()?))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(folder) => write!(f, "sqlite:{}", folder.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl Place {
    /// Whether both are one and the same, whoever goes there and how.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                let real = other.canonicalize();
                one == other
                    || one
                        .canonicalize()
                        .is_ok_and(|one| real.is_ok_and(|real| one == real))
            }
            (Self::Postgres(one), Self::Postgres(other)) => one.is_same_database(other),
            (Self::Sqlite(_), Self::Postgres(_)) | (Self::Postgres(_), Self::Sqlite(_)) => false,
        }
    }
}

impl StoreUrl {
    /// The place, or why it is none.
    pub fn place(&self) -> Result<&Place, UrlError> {
        self.0.as_ref().map_err(UrlError::clone)
    }
}

impl From<&str> for StoreUrl {
    fn from(url: &str) -> Self {
        Self(url.parse())
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(from)?.as_str()))
    }
}

#[cfg(test)]
impl serde::Serialize for StoreUrl {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{self:?}"))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(place) => place.fmt(f),
            Err(error) => write!(f, "StoreUrl({error})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_says_which_store() {
        let place = |url: &str| url.parse::<Place>();
        assert_eq!(place("sqlite:/var/lib/x"), Ok(Place::Sqlite("/var/lib/x".into())));
        assert_eq!(place("sqlite:x"), Ok(Place::Sqlite("x".into())));
        let shown = place("postgresql://u:secret@h/d").map(|place| place.to_string());
        assert_eq!(shown.as_deref(), Ok("postgres://u@h/d"));
        for none in ["", "sqlite:", "/var/lib/x", "mysql://h/d", "postgres:h"] {
            assert_eq!(place(none), Err(UrlError::Scheme), "{none}");
        }
        for what in ["mysql://u:secret@h/d", "postgres://u:secret@h:x/d"] {
            let given = StoreUrl::from(what);
            let error = given.place().expect_err("none");
            assert!(!format!("{given:?}{error}{error:?}").contains("secret"), "{what}");
        }
    }

    #[test]
    fn a_database_is_the_same_whoever_goes_there() {
        let is = |one: &str, other: &str| {
            let place = |url: &str| url.parse::<Place>().expect("a place");
            place(one).is(&place(other))
        };
        assert!(is("postgres://a:x@h/d", "postgres://b@h:5432/d?sslmode=require"));
        assert!(
            is("postgres://d@h", "postgres://b@h/d"),
            "its name is the user's, if none is said"
        );
        assert!(!is("postgres://a@h/d", "postgres://a@h:5433/d"));
        let schema = "postgres://a@h/d?options=-csearch_path%3Dx";
        assert!(is(schema, schema) && !is(schema, "postgres://a@h/d"));
        assert!(is("sqlite:.", "sqlite:./src/..") && !is("sqlite:.", "sqlite:src"));
        assert!(!is("sqlite:d", "postgres://h/d"));
    }
}
