//! Live engines: what the rest of the program holds of them, and what stands behind it.
//!
//! An [`EngineHandle`] asks for snapshots and seeds threads, each answered through a channel of its own. Behind it
//! runs one [`Connection`]: a task that owns an attachment's state and talks frames, with an engine in another
//! process, or with one in this process ([`Local`]). The [`Registry`] says who is attached.
//!
//! Nothing here writes anything down: which thread is whose stands in the store, and an attachment's epoch fences it.

use std::time::Duration;

mod connection;
mod error;
mod frame;
mod handle;
mod local;
mod registry;
mod replies;
mod seed;

pub use connection::{Claiming, Connection, DRAIN_TIME, Terms};
pub use error::{ClaimError, Ending, Error};
pub use frame::{Claim, Consistency, Declined, Down, Known, Snapshot, SnapshotRequest, Up};
pub use handle::{Attachment, EngineHandle, Place};
pub use local::{Attached, Local};
pub(crate) use local::{Queue, carry};
pub use registry::{Guard, Registry};
pub use seed::Seed;

/// Frames that wait in either direction.
pub const QUEUE_FRAMES_MAX: usize = 256;

/// Heartbeats that may be missed; the next one missed detaches the engine.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;

/// How often a heartbeat is due, unless configured.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
