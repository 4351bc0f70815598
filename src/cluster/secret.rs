//! What replicas know each other by. It is compared in constant time and never shown.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// The metadata key that it is sent under.
const KEY: &str = "authorization";

/// What stands before it there.
const SCHEME: &str = "Bearer ";

/// The shortest one.
const CHARS_MIN: usize = 8;

/// A secret that all replicas of a store have. Read from a configuration it is whatever stands there, so that no error
/// of reading quotes it; [`Secret::checked`] says whether it will do.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Checks `text`: visible ASCII, as it is sent in metadata.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self(text.trim().to_owned()).checked()
    }

    /// The same secret, if it can be sent and is not all too short.
    pub fn checked(self) -> Result<Self, &'static str> {
        if self.0.len() < CHARS_MIN {
            return Err("must have 8 characters at least");
        }
        if !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be visible ASCII, without blanks");
        }
        Ok(self)
    }

    /// As it is sent.
    pub(super) fn sent(&self) -> MetadataValue<Ascii> {
        let value = format!("{SCHEME}{}", self.0).parse();
        let mut value: MetadataValue<Ascii> = value.expect("visible ASCII is a header value");
        value.set_sensitive(true);
        value
    }

    /// Turns away who does not have it.
    pub(super) fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let given = metadata.get(KEY).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix(SCHEME));
        let same = given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(self.0.as_bytes())));
        if same {
            return Ok(());
        }
        Err(Status::unauthenticated(
            "the secret of the replicas is missing or another one",
        ))
    }

    /// Puts it into a request's metadata.
    pub(super) fn put(&self, metadata: &mut MetadataMap) {
        metadata.insert(KEY, self.sent());
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_one_passes() {
        let secret = Secret::parse(" correct horse ".trim()).map_err(str::to_owned);
        assert!(secret.is_err(), "blanks");
        let secret = Secret::parse("correct-horse\n").expect("valid");
        let mut metadata = MetadataMap::new();
        assert!(secret.check(&metadata).is_err());
        for other in ["correct-hors", "correct-horsf", "correct-horse-", "wrong-secret"] {
            Secret::parse(other).expect("valid").put(&mut metadata);
            assert!(secret.check(&metadata).is_err(), "{other}");
        }
        secret.put(&mut metadata);
        assert!(secret.check(&metadata).is_ok());
        metadata.insert(KEY, "correct-horse".parse().expect("a value"));
        assert!(secret.check(&metadata).is_err(), "without its scheme");
        assert!(!format!("{secret:?}").contains("horse"));
        assert!(Secret::parse("short").is_err());
    }
}
