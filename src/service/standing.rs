//! What this process is among the replicas of its store: none at all, one whose lease runs, or one that has lost it.
//!
//! What is written for engines and resumes goes under the fence that is found here. Whoever finds out by a refusal that
//! the lease is lost says so at once, so that nothing is done any more on the strength of it.

use std::ops::Not as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::{Fence, Refusal};

/// One incarnation of this process among the replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// What its writes carry; `None`: the service is no replica.
    pub(super) fence: Option<Fence>,
    /// Cancelled when its lease is lost: its engines have to attach anew, and others drive its resumes.
    pub(super) over: CancellationToken,
}

/// What this process is now.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug)]
enum State {
    /// A service that never joined: embedded without a server, or a test.
    Alone(Membership),
    Joined(Membership),
    Lost(Fence),
}

impl Default for State {
    fn default() -> Self {
        Self::Alone(Membership::default())
    }
}

impl Standing {
    /// The incarnation that runs; refused where there is none.
    pub(super) fn membership(&self) -> Result<Membership, Refusal> {
        match &*self.state() {
            State::Alone(membership) | State::Joined(membership) => Ok(membership.clone()),
            State::Lost(fence) => Err(Refusal::ReplicaFenced {
                replica: fence.replica.clone(),
                incarnation: fence.incarnation,
            }),
        }
    }

    /// A new incarnation begins.
    pub(super) fn joined(&self, fence: Fence) {
        *self.state() = State::Joined(Membership {
            fence: Some(fence),
            over: CancellationToken::new(),
        });
    }

    /// The lease of an incarnation is lost; nothing if another one runs by now.
    pub(super) fn lost(&self, fence: &Fence) {
        let mut state = self.state();
        let lost = match &*state {
            State::Joined(membership) if membership.fence.as_ref() == Some(fence) => membership.over.clone(),
            State::Joined(_) | State::Alone(_) | State::Lost(_) => return,
        };
        *state = State::Lost(fence.clone());
        drop(state);
        lost.cancel();
        let (replica, incarnation) = (fence.replica.as_str(), fence.incarnation);
        tracing::warn!(
            replica,
            incarnation,
            "the lease is lost: engines have to attach anew"
        );
    }

    /// Whether the incarnation that this fence names is not the one that runs.
    pub(super) fn is_over(&self, fence: Option<&Fence>) -> bool {
        self.membership()
            .is_ok_and(|membership| membership.fence.as_ref() == fence)
            .not()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A state is whole after any panic that could happen under its lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
