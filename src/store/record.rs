//! How rows are stored, whatever stores them: small numbers for enums, a compact form for tallies and
//! paths, JSON for what no index and no rule looks at.
//!
//! Each shape converts from the domain when it is written, and back when it is read; what does not
//! convert back is [`Damage`], never a guess. Which tables there are is up to the backend. What is
//! written here is read by later versions: a shape grows by optional fields, a number is never reused.

use std::fmt::Display;

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::error::Invalid;
use crate::domain::{Digest, LogId};
use uuid::Uuid;

pub(crate) mod code;
pub(crate) mod engine;
pub(crate) mod entry;
pub(crate) mod receipt;
pub(crate) mod replica;
pub(crate) mod resume;
pub(crate) mod session;
pub(crate) mod tally;
pub(crate) mod thread;
pub(crate) mod turn;

pub(crate) use code::Code;
pub(crate) use engine::EngineRow;
pub(crate) use entry::EntryRow;
pub(crate) use replica::ReplicaRow;
pub(crate) use resume::ResumeRow;
pub(crate) use session::SessionRow;
pub(crate) use thread::ThreadRow;
pub(crate) use turn::{ItemRow, TurnRow};

/// Why a stored row cannot be read; never says what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(String);

impl Damage {
    /// Something about the row is not as it was written.
    pub(crate) fn new(what: impl Display) -> Self {
        Self(what.to_string())
    }
}

impl From<Invalid> for Damage {
    fn from(invalid: Invalid) -> Self {
        Self(format!("no valid {}", invalid.field))
    }
}

/// The 16 bytes that a body is known by.
pub(crate) fn digest(body: &[u8]) -> Digest {
    Digest(xxh3_128(body).to_be_bytes())
}

/// A count, seq or number as a signed column; what no column holds is taken for the largest.
pub(crate) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count, seq or number from a column.
pub(crate) fn number(column: i64) -> Result<u64, Damage> {
    u64::try_from(column).map_err(|_| Damage::new("a number below zero"))
}

/// A log's name from its 16 bytes.
pub(crate) fn log_id(bytes: &[u8]) -> Result<LogId, Damage> {
    let id = Uuid::from_slice(bytes).map_err(|_| Damage::new("a log's name that is not 16 bytes"))?;
    Ok(LogId(id))
}

/// A value as a JSON column. Its shapes have no map but of text, and no float: it cannot fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("text keys and whole numbers are always JSON")
}

/// A value from a JSON column; the parser's message is left out, for it may quote the row.
fn from_json<'a, T: serde::Deserialize<'a>>(column: &'static str, text: &'a str) -> Result<T, Damage> {
    serde_json::from_str(text)
        .map_err(|error| Damage::new(format_args!("{column} at {}:{}", error.line(), error.column())))
}
