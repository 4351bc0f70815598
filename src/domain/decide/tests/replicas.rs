//! Replicas: who has joined, whose lease runs by the store's clock, and what is refused to all others.

use std::time::Duration;

use super::world::World;
use crate::domain::engine::Profile;
use crate::domain::facts::Answer;
use crate::domain::proposal::{EngineCommand, Over, ReplicaCommand};
use crate::domain::{Facts, Fence, Need, Outcome, Proposal, Refusal, Time, fixture as f};

const LIFE: Duration = Duration::from_secs(60);

fn joining(id: &str, life: Option<Duration>, over: Over) -> Proposal {
    f::to_replica(ReplicaCommand::Join {
        id: f::replica(id),
        address: format!("{id}:1"),
        life,
        over,
    })
}

/// Joins for a minute.
pub(super) fn join(world: &mut World, id: &str) -> Fence {
    match world.done(&joining(id, Some(LIFE), Over::Anyone)).outcome {
        Outcome::Replica { replica, incarnation } => Fence { replica, incarnation },
        other => panic!("not joined: {other:?}"),
    }
}

fn renewing(fence: &Fence) -> Proposal {
    let fence = fence.clone();
    f::to_replica(ReplicaCommand::Renew { fence, life: LIFE })
}

fn leaving(fence: &Fence) -> Proposal {
    let fence = fence.clone();
    f::to_replica(ReplicaCommand::Leave { fence })
}

fn expiring(fence: &Fence) -> Proposal {
    let fence = fence.clone();
    f::to_replica(ReplicaCommand::Expire { fence })
}

/// Something that a replica does for an engine.
fn attaching(fence: &Fence) -> Proposal {
    let command = EngineCommand::Attach {
        id: f::engine("e"),
        profile: Box::new(Profile::default()),
    };
    f::fenced(fence, f::to_engine(command))
}

fn fenced(fence: &Fence) -> Refusal {
    Refusal::ReplicaFenced {
        replica: fence.replica.clone(),
        incarnation: fence.incarnation,
    }
}

fn pass(world: &mut World, span: Duration) {
    world.now = world.now.after(span);
}

#[test]
fn an_incarnation_is_never_given_twice() {
    let mut world = World::new();
    let first = join(&mut world, "a");
    let other = join(&mut world, "b");
    let second = join(&mut world, "a");
    world.done(&leaving(&second));
    assert!(!world.replicas.contains_key(&f::replica("a")));
    let third = join(&mut world, "a");
    let all = [&first, &other, &second, &third].map(|fence| fence.incarnation);
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
}

#[test]
fn a_fence_counts_while_its_lease_runs() {
    let mut world = World::new();
    let fence = join(&mut world, "a");
    world.done(&attaching(&fence));
    assert_eq!(world.engines[&f::engine("e")].replica, Some(fence.clone()));
    pass(&mut world, Duration::from_secs(50));
    world.done(&renewing(&fence));
    pass(&mut world, Duration::from_secs(50));
    world.done(&attaching(&fence));
    pass(&mut world, LIFE);
    assert_eq!(world.refused(&attaching(&fence)), fenced(&fence));
    assert_eq!(
        world.refused(&renewing(&fence)),
        fenced(&fence),
        "what has run out is not renewed"
    );
    let next = join(&mut world, "a");
    world.done(&attaching(&next));
    assert_eq!(world.refused(&attaching(&fence)), fenced(&fence));
    assert_eq!(
        world.refused(&attaching(&f::fence("nobody", 1))),
        fenced(&f::fence("nobody", 1))
    );
}

#[test]
fn a_process_that_starts_takes_the_name_and_one_that_lost_it_does_not() {
    let mut world = World::new();
    let old = join(&mut world, "a");
    let new = join(&mut world, "a");
    assert_eq!(world.refused(&attaching(&old)), fenced(&old));
    let back = joining("a", Some(LIFE), Over::Own(old.clone()));
    let replica = f::replica("a");
    assert_eq!(world.refused(&back), Refusal::ReplicaTaken { replica });
    world.done(&attaching(&new));
    assert_eq!(world.done(&leaving(&old)).effects, [], "it has no say any more");
    pass(&mut world, LIFE);
    world.done(&back);
}

#[test]
fn a_process_that_gave_itself_up_takes_its_own_place() {
    let mut world = World::new();
    let first = join(&mut world, "a");
    // No renewal was answered: it lives in the store, and nowhere else.
    let again = joining("a", Some(LIFE), Over::Own(first.clone()));
    world.done(&again);
    assert_eq!(world.refused(&attaching(&first)), fenced(&first));
    let replica = f::replica("a");
    assert_eq!(
        world.refused(&again),
        Refusal::ReplicaTaken { replica },
        "another one of its name lives by now"
    );
}

#[test]
fn only_a_lease_that_has_run_out_is_ended() {
    let mut world = World::new();
    let fence = join(&mut world, "a");
    assert_eq!(world.done(&expiring(&fence)).effects, []);
    pass(&mut world, LIFE);
    world.done(&expiring(&fence));
    assert!(world.replicas.is_empty());
    let next = join(&mut world, "a");
    pass(&mut world, LIFE);
    assert_eq!(world.done(&expiring(&fence)).effects, [], "that is another one");
    world.done(&expiring(&next));
}

#[test]
fn the_stores_clock_judges() {
    let mut world = World::new();
    // The clock of whoever asks is far behind, then far ahead.
    world.clock = Some(f::NEW_YEAR.after(Duration::from_secs(86_400)));
    let fence = join(&mut world, "a");
    let until = world.replicas[&fence.replica].lease_until;
    assert_eq!(until, world.clock.expect("set").after(LIFE));
    world.now = f::NEW_YEAR.after(Duration::from_secs(10 * 86_400));
    world.done(&attaching(&fence));
    world.clock = Some(until);
    world.now = f::NEW_YEAR;
    assert_eq!(world.refused(&attaching(&fence)), fenced(&fence));
}

#[test]
fn a_lease_for_ever_needs_no_renewal() {
    let mut world = World::new();
    world.done(&joining("a", None, Over::Anyone));
    let replica = world.replicas[&f::replica("a")].clone();
    assert!(replica.lives(Time(i64::MAX - 1)));
    pass(&mut world, Duration::from_secs(100 * 365 * 86_400));
    world.done(&attaching(&replica.fence()));
}

/// With effects that are written in the middle of a batch the clock is forgotten: what was asked by it is asked again.
#[test]
fn leases_are_judged_by_one_clock_throughout() {
    let need = || Need::Replica(f::replica("a"));
    let learned = |clock| {
        let mut facts = Facts::default();
        facts.learn(need(), Answer::Replica { replica: None, clock });
        facts.settle(usize::MAX);
        facts.knows(&need())
    };
    assert!(!learned(Some(f::NEW_YEAR)));
    assert!(
        learned(None),
        "a store without one is judged by the time of each commit"
    );
}
