//! What this process is among the replicas of its store: none at all, one whose lease runs, or one that has lost it.
//!
//! What is written for engines and resumes goes under the fence that is found here. Whoever finds out by a refusal that
//! the lease is lost says so at once, so that nothing is done any more on the strength of it; and so does this process's own
//! clock, where the store has not answered for as long as the lease lasts.

use std::ops::Not as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
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
    /// With when the last renewal that was answered was sent: in the store the lease runs a little longer than from then.
    Joined(Membership, Instant),
    /// With since when.
    Lost(Fence, Instant),
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
            State::Alone(membership) | State::Joined(membership, _) => Ok(membership.clone()),
            State::Lost(fence, _) => Err(Refusal::ReplicaFenced {
                replica: fence.replica.clone(),
                incarnation: fence.incarnation,
            }),
        }
    }

    /// A new incarnation begins, as was asked for at `sent`.
    pub(super) fn joined(&self, fence: Fence, sent: Instant) {
        let membership = Membership {
            fence: Some(fence),
            over: CancellationToken::new(),
        };
        *self.state() = State::Joined(membership, sent);
    }

    /// The lease of an incarnation is renewed, as was asked for at `sent`.
    pub(super) fn renewed(&self, fence: &Fence, sent: Instant) {
        match &mut *self.state() {
            State::Joined(membership, renewed) if membership.fence.as_ref() == Some(fence) => *renewed = sent,
            State::Joined(..) | State::Alone(_) | State::Lost(..) => {}
        }
    }

    /// Until when nobody can have taken this process for dead, with a lease of `life`; `None`: it has none.
    pub(super) fn lives_until(&self, life: Duration) -> Option<(Fence, Instant)> {
        match &*self.state() {
            State::Joined(membership, renewed) => Some((membership.fence.clone()?, *renewed + life)),
            State::Alone(_) | State::Lost(..) => None,
        }
    }

    /// The incarnation whose lease is lost, and for how long it has been.
    pub(super) fn without(&self) -> Option<(Fence, Duration)> {
        match &*self.state() {
            State::Lost(fence, since) => Some((fence.clone(), since.elapsed())),
            State::Joined(..) | State::Alone(_) => None,
        }
    }

    /// The lease of an incarnation is lost; nothing if another one runs by now.
    pub(super) fn lost(&self, fence: &Fence) {
        if self.ended(fence) {
            let (replica, incarnation) = (fence.replica.as_str(), fence.incarnation);
            tracing::warn!(
                replica,
                incarnation,
                "the lease is lost: engines have to attach anew"
            );
        }
    }

    /// The lease of an incarnation is given up.
    pub(super) fn left(&self, fence: &Fence) {
        if self.ended(fence) {
            let (replica, incarnation) = (fence.replica.as_str(), fence.incarnation);
            tracing::debug!(replica, incarnation, "left");
        }
    }

    fn ended(&self, fence: &Fence) -> bool {
        let mut state = self.state();
        let over = match &*state {
            State::Joined(membership, _) if membership.fence.as_ref() == Some(fence) => {
                membership.over.clone()
            }
            State::Joined(..) | State::Alone(_) | State::Lost(..) => return false,
        };
        *state = State::Lost(fence.clone(), Instant::now());
        drop(state);
        over.cancel();
        true
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
