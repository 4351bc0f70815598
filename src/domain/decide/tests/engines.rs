//! Engines: epochs are given once, fence every writer, and say which turns were left behind.

use super::replicas::join;
use super::world::{World, adding, finishing, starting};
use crate::domain::engine::Profile;
use crate::domain::proposal::EngineCommand;
use crate::domain::turn::Status;
use crate::domain::{Outcome, Proposal, Refusal, fixture as f, thread};

/// Attaches an engine; its epoch.
pub(super) fn attach(world: &mut World, id: &str) -> u64 {
    let command = EngineCommand::Attach {
        id: f::engine(id),
        profile: Box::new(Profile::default()),
    };
    match world.done(&f::to_engine(command)).outcome {
        Outcome::Engine { epoch, .. } => epoch,
        other => panic!("not attached: {other:?}"),
    }
}

pub(super) fn detaching(id: &str, epoch: u64) -> Proposal {
    f::to_engine(EngineCommand::Detach {
        id: f::engine(id),
        epoch,
    })
}

fn opening(world: &mut World, id: &str, epoch: u64, thread: &str, turn: Option<&str>) -> Proposal {
    f::to_engine(EngineCommand::OpenThread {
        id: f::engine(id),
        epoch,
        thread: f::thread(thread),
        journal: world.log(),
        draft: Box::new(thread::Draft::default()),
        active_turn: turn.map(f::turn),
    })
}

pub(super) fn claim(world: &mut World, id: &str, epoch: u64, thread: &str, turn: Option<&str>) {
    let command = opening(world, id, epoch, thread, turn);
    world.done(&command);
}

fn closing(id: &str, epoch: u64, thread: &str) -> Proposal {
    f::to_engine(EngineCommand::CloseThread {
        id: f::engine(id),
        epoch,
        thread: f::thread(thread),
    })
}

fn interrupting(id: &str, epoch: u64, thread: &str) -> Proposal {
    f::to_engine(EngineCommand::Interrupt {
        id: f::engine(id),
        epoch,
        thread: f::thread(thread),
    })
}

pub(super) fn stale(thread: &str, current: u64) -> Refusal {
    Refusal::StaleEpoch {
        thread: f::thread(thread),
        current,
    }
}

fn superseded(id: &str, current: u64) -> Refusal {
    Refusal::EngineSuperseded {
        engine: f::engine(id),
        current,
    }
}

fn owned(thread: &str, owner: &str) -> Refusal {
    Refusal::ThreadOwned {
        thread: f::thread(thread),
        owner: f::engine(owner),
    }
}

/// Engine `e` attached, with a turn `u` that runs in its thread `t`.
fn at_work() -> (World, u64) {
    let mut world = World::new();
    let epoch = attach(&mut world, "e");
    claim(&mut world, "e", epoch, "t", None);
    world.done(&starting("t", "u", Some(epoch)));
    (world, epoch)
}

#[test]
fn an_epoch_is_never_given_twice() {
    let mut world = World::new();
    let first = attach(&mut world, "e");
    let second = attach(&mut world, "f");
    let third = attach(&mut world, "e");
    assert!(first < second && second < third);
    world.done(&detaching("e", third));
    world.done(&f::to_engine(EngineCommand::Forget { id: f::engine("e") }));
    assert!(!world.engines.contains_key(&f::engine("e")));
    assert!(attach(&mut world, "e") > third, "also after it was forgotten");
}

#[test]
fn an_attached_engine_is_not_forgotten() {
    let mut world = World::new();
    attach(&mut world, "e");
    let forget = f::to_engine(EngineCommand::Forget { id: f::engine("e") });
    assert_eq!(world.done(&forget).effects, []);
}

#[test]
fn a_late_detach_leaves_the_new_attachment() {
    let mut world = World::new();
    let old = attach(&mut world, "e");
    let new = attach(&mut world, "e");
    assert_eq!(world.done(&detaching("e", old)).effects, []);
    assert!(world.engines[&f::engine("e")].is_at(new));
    world.done(&detaching("e", new));
    assert!(!world.engines[&f::engine("e")].is_attached());
    assert_eq!(
        world.done(&detaching("e", new)).effects,
        [],
        "it has left already"
    );
}

#[test]
fn an_engine_of_a_replica_that_lives_is_detached_by_that_one_alone() {
    let mut world = World::new();
    let (a, b) = (join(&mut world, "a"), join(&mut world, "b"));
    let attaching = f::to_engine(EngineCommand::Attach {
        id: f::engine("e"),
        profile: Box::new(Profile::default()),
    });
    let attached = |outcome| match outcome {
        Outcome::Engine { epoch, before, .. } => (epoch, before),
        other => panic!("not attached: {other:?}"),
    };
    let (_, before) = attached(world.done(&f::fenced(&b, attaching.clone())).outcome);
    assert_eq!(before, None);
    let (epoch, before) = attached(world.done(&f::fenced(&b, attaching.clone())).outcome);
    assert_eq!(before, Some(b.clone()));
    // Whoever looked before this replica joined takes its engines for left behind.
    assert_eq!(world.done(&f::fenced(&a, detaching("e", epoch))).effects, []);
    assert_eq!(world.done(&detaching("e", epoch)).effects, []);
    world.replicas.remove(&b.replica);
    world.done(&f::fenced(&a, detaching("e", epoch)));
    assert!(!world.engines[&f::engine("e")].is_attached());
    let (epoch, before) = attached(world.done(&f::fenced(&a, attaching)).outcome);
    assert_eq!(before, None, "it had left");
    world.done(&f::fenced(&a, detaching("e", epoch)));
    assert!(!world.engines[&f::engine("e")].is_attached());
}

#[test]
fn epochs_fence_writers() {
    let (mut world, epoch) = at_work();
    let item = || vec![f::new_item("i", Status::InProgress)];
    assert_eq!(world.refused(&adding("t", "u", item(), None)), owned("t", "e"));
    assert_eq!(
        world.refused(&adding("t", "u", item(), Some(epoch + 1))),
        stale("t", epoch)
    );
    world.done(&adding("t", "u", item(), Some(epoch)));

    let next = attach(&mut world, "e");
    assert_eq!(
        world.refused(&adding("t", "u", item(), Some(epoch))),
        stale("t", next),
        "taken over, though the thread is not claimed yet"
    );
    claim(&mut world, "e", next, "t", Some("u"));
    world.done(&adding("t", "u", item(), Some(next)));

    world.done(&detaching("e", next));
    assert_eq!(
        world.refused(&adding("t", "u", item(), Some(epoch))),
        stale("t", next)
    );
    world.done(&adding("t", "u", item(), Some(next)));
    world.done(&finishing("t", "u", Status::Interrupted, None));
}

#[test]
fn threads_of_attached_engines_are_not_claimed() {
    let (mut world, epoch) = at_work();
    let other = attach(&mut world, "f");
    let claiming = opening(&mut world, "f", other, "t", None);
    assert_eq!(world.refused(&claiming), owned("t", "e"));
    world.done(&detaching("e", epoch));
    world.done(&claiming);
    assert_eq!(world.thread("t").engine, Some(f::engine("f")));
    let item = vec![f::new_item("i", Status::Completed)];
    assert_eq!(
        world.refused(&adding("t", "u", item, Some(epoch))),
        stale("t", other)
    );
}

#[test]
fn commands_of_a_superseded_attachment_are_refused() {
    let (mut world, old) = at_work();
    let new = attach(&mut world, "e");
    let claiming = opening(&mut world, "e", old, "t", None);
    assert_eq!(world.refused(&claiming), superseded("e", new));
    assert_eq!(world.refused(&closing("e", old, "t")), superseded("e", new));
    world.done(&detaching("e", new));
    assert_eq!(
        world.refused(&closing("e", new, "t")),
        superseded("e", new),
        "it has left"
    );
    assert_eq!(
        world.refused(&closing("x", 1, "t")),
        superseded("x", 0),
        "never seen"
    );
}

#[test]
fn a_claim_said_again_changes_nothing() {
    let (mut world, epoch) = at_work();
    for turn in [None, Some("u"), Some("other")] {
        let claiming = opening(&mut world, "e", epoch, "t", turn);
        assert_eq!(world.done(&claiming).effects, [], "{turn:?}");
    }
}

#[test]
fn a_closed_thread_has_no_engine() {
    let (mut world, epoch) = at_work();
    world.done(&closing("e", epoch, "t"));
    assert_eq!(world.thread("t").engine, None);
    assert_eq!(world.done(&closing("e", epoch, "t")).effects, []);
    assert_eq!(
        world.done(&interrupting("e", epoch, "t")).effects,
        [],
        "of no engine: its turn stays"
    );
    world.done(&finishing("t", "u", Status::Completed, None));
}

#[test]
fn a_turn_that_was_left_is_interrupted() {
    let (mut world, epoch) = at_work();
    world.done(&adding(
        "t",
        "u",
        vec![f::new_item("i", Status::InProgress)],
        Some(epoch),
    ));
    assert_eq!(
        world.done(&interrupting("e", epoch, "t")).effects,
        [],
        "its engine is there"
    );
    world.done(&detaching("e", epoch));
    world.done(&interrupting("e", epoch, "t"));
    assert_eq!(world.turn("t", "u").status, Status::Interrupted);
    assert_eq!(
        (world.thread("t").open_items, &world.thread("t").active_turn),
        (0, &None)
    );
    assert_eq!(
        world.done(&interrupting("e", epoch, "t")).effects,
        [],
        "once is enough"
    );
}

#[test]
fn a_named_turn_lives_and_an_unnamed_one_ends() {
    for (named, status) in [(Some("u"), Status::InProgress), (None, Status::Interrupted)] {
        let (mut world, old) = at_work();
        world.done(&detaching("e", old));
        let new = attach(&mut world, "e");
        claim(&mut world, "e", new, "t", named);
        assert_eq!(
            world.done(&interrupting("e", old, "t")).effects,
            [],
            "the new attachment has a time of its own"
        );
        world.done(&interrupting("e", new, "t"));
        assert_eq!(world.turn("t", "u").status, status, "{named:?}");
    }
}

#[test]
fn a_turn_written_to_again_lives() {
    let (mut world, _) = at_work();
    let new = attach(&mut world, "e");
    claim(&mut world, "e", new, "t", None);
    world.done(&adding(
        "t",
        "u",
        vec![f::new_item("i", Status::Completed)],
        Some(new),
    ));
    assert_eq!(world.done(&interrupting("e", new, "t")).effects, []);
}

#[test]
fn a_thread_claimed_by_another_engine_is_its_own() {
    let (mut world, old) = at_work();
    world.done(&detaching("e", old));
    let other = attach(&mut world, "f");
    claim(&mut world, "f", other, "t", Some("u"));
    assert_eq!(world.done(&interrupting("e", old, "t")).effects, []);
    assert_eq!(world.turn("t", "u").epoch, other);
}
