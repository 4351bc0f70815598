//! Transcript formats: what leaves the service as text, and what comes back from it.
//!
//! Everything here is pure and works on pieces: whoever calls reads and writes, an entry at a time, and nothing is
//! held that grows with the length of a conversation.

pub mod redact;
