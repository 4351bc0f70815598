//! A replica: one process that serves a store, alone or beside others, and the lease that says that it lives.
//!
//! Each start of a process joins under an incarnation that the store never gives twice. Whatever a replica writes for
//! an engine that is attached to it, or for a resume that it drives, carries its [`Fence`]: the store takes it only
//! while that incarnation's lease runs. A process that was paused past its lease finds out by its next write. The
//! store's clock judges, so clocks of replicas may differ.

use super::id::ReplicaId;
use super::time::Time;

/// A replica that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name; one process at a time has it.
    pub id: ReplicaId,
    /// Which start of it this is.
    pub incarnation: u64,
    /// Where other replicas reach it: `host:port`; empty where nobody else can.
    pub address: String,
    /// It lives until then, unless it renews.
    pub lease_until: Time,
    /// When it joined.
    pub join_time: Time,
}

/// Who writes: a replica, under one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence {
    /// The replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: u64,
}

impl Replica {
    /// What goes with everything that it writes.
    pub fn fence(&self) -> Fence {
        Fence {
            replica: self.id.clone(),
            incarnation: self.incarnation,
        }
    }

    /// Whether its lease runs at `now`, by the store's clock.
    pub fn lives(&self, now: Time) -> bool {
        now < self.lease_until
    }

    /// Whether it is the one that a fence names.
    pub fn is(&self, fence: &Fence) -> bool {
        self.id == fence.replica && self.incarnation == fence.incarnation
    }
}
