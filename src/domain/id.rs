//! Names of things: validated once, right for ever.
//!
//! A text id is trimmed, then 1 to 128 characters of `[A-Za-z0-9._:-]`, the first of them
//! `[A-Za-z0-9_]` or anything allowed but `.`, `:` and `-`. Sequence numbers and revisions are
//! newtypes, so that one is never passed for the other.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::error::Invalid;

/// The longest text id, in characters.
pub const ID_CHARS_MAX: usize = 128;

/// The longest source of a transcript, in characters.
pub const SOURCE_CHARS_MAX: usize = 1_024;

/// The longest namespace, in characters.
pub const NAMESPACE_CHARS_MAX: usize = 63;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Trims and checks `value`; `field` is the request field an error names.
            pub fn parse(value: &str, field: &str) -> Result<Self, Invalid> {
                Ok(Self(checked_id(value, field)?.into()))
            }

            /// The id of a new thing.
            pub fn from_uuid(id: Uuid) -> Self {
                Self(id.to_string().into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Names a session within its namespace.
    SessionId
);
text_id!(
    /// Names a thread within its namespace.
    ThreadId
);
text_id!(
    /// Names an engine within its namespace.
    EngineId
);
text_id!(
    /// Names a resume within its namespace.
    ResumeId
);
text_id!(
    /// Names a replica of the service; replicas are in no namespace.
    ReplicaId
);
text_id!(
    /// Names an entry within its session; of a message it is the message_id too.
    EntryId
);
text_id!(
    /// Names a turn within its thread.
    TurnId
);
text_id!(
    /// Names an item within its turn.
    ItemId
);

impl From<&ItemId> for EntryId {
    fn from(id: &ItemId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&EntryId> for ItemId {
    fn from(id: &EntryId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&TurnId> for EntryId {
    fn from(id: &TurnId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&EntryId> for TurnId {
    fn from(id: &EntryId) -> Self {
        Self(id.0.clone())
    }
}

fn checked_id<'a>(value: &'a str, field: &str) -> Result<&'a str, Invalid> {
    let id = value.trim();
    let first_ok = id
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_ok = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'));
    if id.len() > ID_CHARS_MAX {
        return Err(Invalid::new(field, "an id has at most 128 characters"));
    }
    if !first_ok || !rest_ok {
        return Err(Invalid::new(
            field,
            "an id matches [A-Za-z0-9_][A-Za-z0-9._:-]{0,127}",
        ));
    }
    Ok(id)
}

/// The unit of isolation: every id and request_id is unique within one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks `value` against `[a-z0-9][a-z0-9._-]{0,62}`; empty means `default`.
    pub fn parse(value: &str) -> Result<Self, Invalid> {
        if value.is_empty() {
            return Ok(Self("default".into()));
        }
        let first_ok = value
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if !first_ok || !rest_ok || value.len() > NAMESPACE_CHARS_MAX {
            return Err(Invalid::new(
                "namespace",
                "a namespace matches [a-z0-9]([a-z0-9._-]{0,62})",
            ));
        }
        Ok(Self(value.into()))
    }

    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one mutation of a namespace for its retries: 1 to 128 characters, any but control ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Checks `value`; the caller has made sure it is not empty.
    pub fn parse(value: &str) -> Result<Self, Invalid> {
        let chars = value.chars().count();
        if chars == 0 || chars > ID_CHARS_MAX || value.chars().any(char::is_control) {
            return Err(Invalid::new(
                "request_id",
                "a request_id has 1 to 128 characters, none of them a control",
            ));
        }
        Ok(Self(value.into()))
    }

    /// The request id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a transcript is known as, so that the same one is found again: 1 to 1,024 characters, any but control ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(Arc<str>);

impl Source {
    /// Trims and checks `value`; `field` is the request field an error names.
    pub fn parse(value: &str, field: &str) -> Result<Self, Invalid> {
        let source = value.trim();
        let chars = source.chars().count();
        if chars == 0 || source.chars().any(char::is_control) {
            return Err(Invalid::new(
                field,
                "a source is not blank and has no control characters",
            ));
        }
        if chars > SOURCE_CHARS_MAX {
            return Err(Invalid::limit(field, "source_chars_max", SOURCE_CHARS_MAX as u64));
        }
        Ok(Self(source.into()))
    }

    /// A transcript that is known by its session's own id.
    pub fn of(session: &SessionId) -> Self {
        Self(session.0.clone())
    }

    /// A further session in the same transcript.
    #[must_use]
    pub fn part(&self, session: &SessionId) -> Self {
        Self(format!("{self}#{session}").into())
    }

    /// The source as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a log, or the journal of a thread's turns and items; never seen by clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an entry in its session, or of an item in its thread: dense from 1, 0 is "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first.
    pub const ZERO: Self = Self(0);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a session's log has changed, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// That of a new session.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_id() {
        let long = "a".repeat(129);
        for bad in [
            "../../etc/passwd",
            "..\\..\\x",
            "a/b",
            "-",
            "",
            " ",
            "sess bad",
            ".",
            "..",
            "-a",
            ":a",
            &long,
        ] {
            assert!(SessionId::parse(bad, "session_id").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn trims_and_keeps_the_rest() {
        for (given, kept) in [
            (" a ", "a"),
            ("_x", "_x"),
            ("A.b:c-9_", "A.b:c-9_"),
            ("0", "0"),
            ("a..b", "a..b"),
        ] {
            assert_eq!(
                SessionId::parse(given, "session_id").expect("valid").as_str(),
                kept
            );
        }
        assert!(SessionId::parse(&"a".repeat(128), "session_id").is_ok());
    }

    #[test]
    fn namespaces() {
        assert_eq!(Namespace::parse("").expect("valid").as_str(), "default");
        assert!(Namespace::parse("team-1.prod_x").is_ok());
        let long = "a".repeat(64);
        for bad in ["A", ".a", "-a", "a b", " ", &long] {
            assert!(Namespace::parse(bad).is_err(), "{bad:?}");
        }
    }
}
