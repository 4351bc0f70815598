//! An engine as the store keeps it: who it said it is, and whether it is attached.
//!
//! A thread is an engine's by the thread's own row; this row says which epoch counts for it and whether
//! writes without one are let through.

use std::collections::BTreeMap;

use super::id::{EngineId, Namespace};
use super::replica::Fence;
use super::time::Time;

/// An engine that is or was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Where its id is unique.
    pub namespace: Namespace,
    /// Its id.
    pub id: EngineId,
    /// Of its last attachment; a namespace never gives an epoch twice.
    pub epoch: u64,
    /// What it said of itself then.
    pub profile: Profile,
    /// The replica that it attached to; `None`: to a service that is none.
    pub replica: Option<Fence>,
    /// When it attached.
    pub attach_time: Time,
    /// When it left; `None`: it is attached.
    pub detach_time: Option<Time>,
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Pairs that a resume may choose by.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes sessions to resume.
    pub accepts_resume: bool,
}

impl Engine {
    /// Whether it is attached now.
    pub fn is_attached(&self) -> bool {
        self.detach_time.is_none()
    }

    /// Whether it is attached under this epoch.
    pub fn is_at(&self, epoch: u64) -> bool {
        self.is_attached() && self.epoch == epoch
    }
}
