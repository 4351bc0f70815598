//! What is to be done about a replica of the service. A replica is in no namespace; the proposal's one counts its
//! incarnations.

use std::time::Duration;

use crate::domain::id::ReplicaId;
use crate::domain::replica::Fence;

/// What is to be done about a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaCommand {
    /// It joins, under an incarnation that nobody had.
    Join {
        /// Its name.
        id: ReplicaId,
        /// Where others reach it.
        address: String,
        /// How long its lease is; `None`: for ever, as nobody else serves the store.
        life: Option<Duration>,
        /// In whose place.
        over: Over,
    },
    /// It lives on; refused once its lease has run out.
    Renew {
        /// Who.
        fence: Fence,
        /// How long from now.
        life: Duration,
    },
    /// It leaves; nothing if it is gone already.
    Leave {
        /// Who.
        fence: Fence,
    },
    /// Its lease has run out: nothing that it still writes is taken. Nothing if the lease runs after all.
    Expire {
        /// Who.
        fence: Fence,
    },
}

/// Whose name a replica takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Whoever has it: a process that starts is the one that was meant, and the one before is most likely dead.
    Anyone,
    /// Its own last incarnation, or nobody who lives: a process that lost its lease must not push out the one that came in
    /// its place. Its own lease may run in the store still, when it was too long without an answer.
    Own(Fence),
}
