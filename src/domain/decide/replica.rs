//! Replicas: who has joined, whose lease runs, and whose writes are therefore taken.

use std::sync::Arc;

use super::Ruling;
use crate::domain::effect::Effect;
use crate::domain::error::Refusal;
use crate::domain::facts::Facts;
use crate::domain::id::{Namespace, ReplicaId};
use crate::domain::outcome::{More, Outcome};
use crate::domain::proposal::{Over, ReplicaCommand};
use crate::domain::replica::{Fence, Replica};
use crate::domain::time::Time;

/// A lease that nobody has to renew.
const FOR_EVER: Time = Time(i64::MAX);

pub(super) fn decide(facts: &Facts, ns: &Namespace, command: &ReplicaCommand, now: Time) -> Ruling {
    // Leases are judged by the store's clock: those of replicas may differ.
    let now = facts.clock().unwrap_or(now);
    match command {
        ReplicaCommand::Join {
            id,
            address,
            life,
            over,
        } => {
            let lease_until = life.map_or(FOR_EVER, |life| now.after(life));
            join(facts, ns, id, address, lease_until, over, now)
        }
        ReplicaCommand::Renew { fence, life } => {
            let replica = living(facts, fence, now)?;
            let renewed = Replica {
                lease_until: now.after(*life),
                ..Replica::clone(replica)
            };
            Ok((vec![Effect::PutReplica(Arc::new(renewed))], outcome(fence)))
        }
        ReplicaCommand::Leave { fence } => Ok(remove(facts, fence, |_| true)),
        ReplicaCommand::Expire { fence } => Ok(remove(facts, fence, |replica| !replica.lives(now))),
    }
}

/// A replica whose lease runs, which fences every proposal that it makes for an engine or a resume.
pub(super) fn living<'a>(facts: &'a Facts, fence: &Fence, now: Time) -> Result<&'a Arc<Replica>, Refusal> {
    let now = facts.clock().unwrap_or(now);
    let replica = facts.replica(&fence.replica).flatten();
    let fenced = || Refusal::ReplicaFenced {
        replica: fence.replica.clone(),
        incarnation: fence.incarnation,
    };
    let living = replica.filter(|replica| replica.is(fence) && replica.lives(now));
    living.ok_or_else(fenced)
}

fn join(
    facts: &Facts,
    ns: &Namespace,
    id: &ReplicaId,
    address: &str,
    lease_until: Time,
    over: &Over,
    now: Time,
) -> Ruling {
    let before = facts.replica(id).flatten();
    let is_taken = match over {
        Over::Anyone => false,
        Over::Own(last) => before.is_some_and(|before| !before.is(last) && before.lives(now)),
    };
    if is_taken {
        return Err(Refusal::ReplicaTaken { replica: id.clone() });
    }
    // The counter of epochs, which never goes back, also when the row of the replica was removed.
    let incarnation = facts.epoch(ns) + 1;
    let replica = Replica {
        id: id.clone(),
        incarnation,
        address: address.to_owned(),
        lease_until,
        join_time: now,
    };
    let outcome = outcome(&replica.fence());
    let effects = vec![
        Effect::PutEpoch(ns.clone(), incarnation),
        Effect::PutReplica(Arc::new(replica)),
    ];
    Ok((effects, outcome))
}

fn remove(facts: &Facts, fence: &Fence, is_over: impl Fn(&Replica) -> bool) -> (Vec<Effect>, Outcome) {
    let replica = facts.replica(&fence.replica).flatten();
    let over = replica.filter(|replica| replica.is(fence) && is_over(replica));
    let effects = over.map(|replica| Effect::RemoveReplica(replica.id.clone()));
    (effects.into_iter().collect(), Outcome::Kept { more: More::Done })
}

fn outcome(fence: &Fence) -> Outcome {
    Outcome::Replica {
        replica: fence.replica.clone(),
        incarnation: fence.incarnation,
    }
}
