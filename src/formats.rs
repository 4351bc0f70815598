//! Transcript formats: what leaves the service as text, and what comes back from it.
//!
//! Everything here is pure and works on pieces: whoever calls reads and writes, an entry or a line at a time, and
//! nothing is held that grows with the length of a conversation.

use bytes::Bytes;
use prost::DecodeError;

use crate::domain::{Entry, Limits, Session};

pub mod jsonl;
pub mod lines;
mod markdown;
pub mod redact;

/// What a session is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For readers.
    Markdown,
    /// The service's own, without loss.
    Jsonl,
}

/// Whether secrets are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Everything is as it is stored.
    Kept,
    /// Masked, before anything is shortened.
    Masked,
}

/// A session on its way out: the head first, then every entry.
#[derive(Clone, Debug)]
pub struct Export {
    /// As what.
    pub format: Format,
    /// With or without its secrets.
    pub secrets: Secrets,
    /// What a line and the facts in it may have.
    pub limits: Limits,
}

impl Export {
    /// An export for a service with these limits.
    pub fn new(format: Format, secrets: Secrets, limits: &Limits) -> Self {
        Self {
            format,
            secrets,
            limits: limits.clone(),
        }
    }

    /// What comes before the entries. `spoken` is the last user message, where a preview that was cut before anybody
    /// looked for secrets has to be made anew.
    pub fn head(&self, session: &Session, spoken: Option<&Bytes>) -> Result<Vec<u8>, DecodeError> {
        let masked;
        let session = match self.secrets {
            Secrets::Kept => session,
            Secrets::Masked => {
                masked = redact::session(session, spoken, &self.limits)?;
                &masked
            }
        };
        Ok(match self.format {
            Format::Markdown => markdown::head(session).into_bytes(),
            Format::Jsonl => jsonl::header(session, self.secrets),
        })
    }

    /// Adds an entry to what goes out.
    pub fn entry(&self, entry: &Entry, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let masked;
        let entry = match self.secrets {
            Secrets::Kept => entry,
            Secrets::Masked => {
                masked = Entry {
                    meta: entry.meta.clone(),
                    body: redact::body(entry.meta.mark.kind, &entry.body)?,
                };
                &masked
            }
        };
        match self.format {
            Format::Markdown => out.extend_from_slice(markdown::entry(entry)?.as_bytes()),
            Format::Jsonl => jsonl::entry(entry, self.limits.line_bytes_max(), out),
        }
        Ok(())
    }
}
