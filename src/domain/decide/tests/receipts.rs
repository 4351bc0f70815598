//! Receipts come first, whatever else is wrong; a refusal leaves none.

use super::replicas::join;
use super::world::{World, appending, deleting, starting};
use crate::domain::engine::Profile;
use crate::domain::proposal::{Deletion, EngineCommand};
use crate::domain::{Effect, Noun, Outcome, Refusal, fixture as f};

#[test]
fn a_retry_answers_what_the_first_call_did() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let call = f::under("r", "call", appending("s", vec![f::user("a", "hello")], Some(1)));
    let first = world.done(&call);
    assert!(!first.replayed);
    assert!(
        matches!(first.effects.last(), Some(Effect::PutReceipt(..))),
        "in the same transaction"
    );
    world.append("s", vec![f::event("b")]);
    let retry = world.done(&call);
    assert!(retry.replayed, "though its revision is long gone");
    assert_eq!((retry.effects, retry.outcome), (Vec::new(), first.outcome));
}

#[test]
fn a_retry_is_not_told_where_an_engine_was_attached_before() {
    let mut world = World::new();
    let replica = join(&mut world, "a");
    let attaching = f::to_engine(EngineCommand::Attach {
        id: f::engine("e"),
        profile: Box::new(Profile::default()),
    });
    world.done(&f::fenced(&replica, attaching.clone()));
    let call = f::under("r", "call", f::fenced(&replica, attaching));
    let (first, retry) = (world.done(&call).outcome, world.done(&call).outcome);
    let Outcome::Engine {
        engine,
        epoch,
        before,
    } = first
    else {
        panic!("not attached: {first:?}");
    };
    assert_eq!(before, Some(replica));
    let kept = Outcome::Engine {
        engine,
        epoch,
        before: None,
    };
    assert_eq!(retry, kept);
}

#[test]
fn it_is_looked_up_before_every_other_check() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let call = |content| f::under("r", content, appending("s", vec![f::event("a")], None));
    let first = world.done(&call("one"));
    for other in [
        appending("nobody", vec![f::event("a")], None),
        appending("s", vec![], Some(99)),
        starting("nobody", "u", Some(9)),
    ] {
        let refusal = world.refused(&f::under("r", "two", other.clone()));
        assert_eq!(refusal, Refusal::RequestIdReused);
        let same = world.done(&f::under("r", "one", other));
        assert_eq!(same.outcome, first.outcome, "the fingerprint says it is the same");
    }
    world.done(&deleting("s", Deletion::Force, None));
    assert!(
        world.done(&call("one")).replayed,
        "even where the session is gone"
    );
}

#[test]
fn a_refusal_leaves_no_receipt() {
    let mut world = World::new();
    let call = f::under("r", "call", appending("s", vec![f::event("a")], None));
    let missing = Refusal::NotFound {
        noun: Noun::Session,
        id: "s".to_owned(),
    };
    assert_eq!(world.refused(&call), missing);
    world.titled("s", "Talk");
    assert!(!world.done(&call).replayed);
}

#[test]
fn what_changes_nothing_is_recorded_too() {
    let mut world = World::new();
    world.titled("s", "Talk");
    world.append("s", vec![f::event("a")]);
    let call = f::under("r", "call", appending("s", vec![f::event("a")], None));
    let decision = world.done(&call);
    assert_eq!(decision.effects.len(), 1, "the receipt alone");
    assert!(matches!(decision.outcome, Outcome::Appended { added: 0, .. }));
    assert!(world.done(&call).replayed);
}
