//! Other replicas of the same store, over gRPC: an internal service on a port of its own.
//!
//! [`Peers`] asks them, [`mount`] answers them. What is asked is either a call that only the replica with an engine can
//! answer, passed on whole and one hop far, or a hint about what the store says anyway. Every call carries the common
//! [`Secret`], where there is one, and names the incarnation that it is meant for. Who lives and where is the store's to
//! say, not this room's.

mod forward;
mod mount;
mod secret;

pub use forward::{Peers, Unanswered};
pub use mount::{Handler, mount};
pub use secret::Secret;
