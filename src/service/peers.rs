//! Other replicas, as far as this one tells them something: a port that `cluster` fills.

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{EngineId, Fence, Namespace, Replica, ResumeId};

/// Tells other replicas what concerns them. All of it stands in the store, too: what is lost on the way is found there
/// within some seconds by whoever it is for.
#[async_trait]
pub trait Peers: Send + Sync + Debug {
    /// It drives this resume from now on.
    async fn drive(&self, to: &Replica, ns: &Namespace, id: &ResumeId);

    /// An engine that was attached to it has attached elsewhere, under this epoch.
    async fn evict(&self, to: &Replica, ns: &Namespace, id: &EngineId, epoch: u64);

    /// Who lives now; connections to others are closed.
    fn keep(&self, living: &BTreeSet<Fence>);
}

/// No other replicas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

#[async_trait]
impl Peers for Nobody {
    async fn drive(&self, _: &Replica, _: &Namespace, _: &ResumeId) {}

    async fn evict(&self, _: &Replica, _: &Namespace, _: &EngineId, _: u64) {}

    fn keep(&self, _: &BTreeSet<Fence>) {}
}
