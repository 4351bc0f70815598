//! Why an engine did not answer, and why an attachment ended.

use super::frame::Declined;
use crate::domain::{Invalid, Refusal};

/// Why an ask came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It left before it answered.
    #[error("the engine left before it answered")]
    Lost,
    /// It does not read its frames; nothing was sent.
    #[error("the engine's queue is full")]
    QueueFull,
    /// It did not answer in time.
    #[error("the engine did not answer in time")]
    TimedOut,
    /// It said no.
    #[error("the engine declined")]
    Declined(Declined),
    /// Its answer has more bytes than are taken.
    #[error("the engine's answer has more than {max} bytes")]
    TooLarge {
        /// The most that are taken.
        max: usize,
    },
    /// It did what no engine may.
    #[error("the engine broke a rule: {rule}")]
    Fault {
        /// Which rule.
        rule: String,
    },
}

/// Why a thread could not be claimed or let go of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The storage did not take it; whoever made the claim has logged why.
    #[error("the claim could not be stored")]
    Unavailable,
}

/// Why an attachment ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The engine said goodbye.
    #[error("the engine said goodbye")]
    Goodbye,
    /// Its stream ended.
    #[error("the engine's stream ended")]
    Left,
    /// It was silent for too long.
    #[error("the engine was silent for too long")]
    Silent,
    /// It attached again.
    #[error("the engine attached again")]
    Superseded,
    /// The store has it as over: another replica took this one's lease for run out, or a copy from before was restored.
    #[error("the attachment is over in the store")]
    Forgotten,
    /// This replica has lost its lease; the engine is free to attach anywhere.
    #[error("the replica has lost its lease")]
    Fenced,
    /// It sent what cannot be.
    #[error(transparent)]
    Invalid(Invalid),
    /// A claim failed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The service stops.
    #[error("the service is about to stop")]
    ShuttingDown,
}
