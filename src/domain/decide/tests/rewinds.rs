//! Going back, and back again.

use super::world::World;
use crate::domain::proposal::{Cut, Deletion, Rewind, SessionCommand};
use crate::domain::session::Draft;
use crate::domain::{Effect, Outcome, Proposal, Refusal, Revision, Seq, Tally, Tip, fixture as f};

/// The command that takes `s` back to `seq` of its own log, or of a head that it has left.
fn rewinding(world: &mut World, to: Option<u64>, seq: u64) -> Rewind {
    let log = world.log();
    let session = world.session("s");
    let tip = match to {
        Some(revision) => world.past_heads[&(f::session("s"), Revision(revision))]
            .tip
            .clone(),
        None => session.tip.clone(),
    };
    Rewind {
        session: session.id.clone(),
        from: session.tip.clone(),
        to: to.map(Revision),
        cut: Cut {
            tally: world.tally(&tip, seq),
            preview: "then".to_owned(),
        },
        expected: None,
        log,
    }
}

fn proposed(rewind: Rewind) -> Proposal {
    f::to_session(SessionCommand::Rewind(Box::new(rewind)))
}

/// A session `s` of four messages, at revision 2.
fn talked() -> World {
    let mut world = World::new();
    world.create("s", Draft::default());
    world.append(
        "s",
        vec![
            f::user("a", "hello"),
            f::assistant("b"),
            f::user("c", "more"),
            f::assistant("d"),
        ],
    );
    world
}

#[test]
fn a_head_is_left_and_a_log_opened() {
    let mut world = talked();
    let before = world.session("s").clone();
    let rewind = rewinding(&mut world, None, 1);
    let decision = world.done(&proposed(rewind));
    assert!(matches!(
        &decision.effects[..],
        [Effect::OpenLog(_), Effect::PutPastHead(_), Effect::MoveHead(_)]
    ));
    let expected = Outcome::Rewound {
        session: f::session("s"),
        left: before.revision,
        kept: Seq(1),
        removed: 3,
    };
    assert_eq!(decision.outcome, expected);
    let after = world.session("s");
    assert_eq!(after.revision, Revision(3));
    assert_eq!((after.tip.seq(), &*after.preview), (Seq(1), "then"));
    assert_eq!(
        after.profile.title, before.profile.title,
        "what it was called it is called"
    );
    let head = &world.past_heads[&(f::session("s"), before.revision)];
    assert_eq!((&head.tip, head.time), (&before.tip, world.now));
}

#[test]
fn the_undo_is_a_rewind_too() {
    let mut world = talked();
    let before = world.session("s").tip.tally.clone();
    let rewind = rewinding(&mut world, None, 1);
    world.done(&proposed(rewind));
    world.append("s", vec![f::user("n", "anew")]);
    let undo = rewinding(&mut world, Some(2), 4);
    let decision = world.done(&proposed(undo));
    let expected = Outcome::Rewound {
        session: f::session("s"),
        left: Revision(4),
        kept: Seq(1),
        removed: 1,
    };
    assert_eq!(decision.outcome, expected);
    let after = world.session("s");
    assert_eq!((after.revision, &after.tip.tally), (Revision(5), &before));
    assert!(world.past_heads.contains_key(&(f::session("s"), Revision(4))));
    assert!(
        world.past_heads.contains_key(&(f::session("s"), Revision(2))),
        "it can be undone again"
    );
}

#[test]
fn nothing_to_drop_is_no_change() {
    let mut world = talked();
    let before = world.session("s").clone();
    let rewind = rewinding(&mut world, None, 4);
    assert_eq!(world.done(&proposed(rewind)).effects, []);
    assert_eq!(*world.session("s"), before);
}

#[test]
fn what_is_refused() {
    let mut world = talked();
    let good = rewinding(&mut world, None, 1);
    let unknown = Rewind {
        to: Some(Revision(9)),
        ..good.clone()
    };
    let refusal = Refusal::no_revision(&f::session("s"), Revision(9));
    assert_eq!(world.refused(&proposed(unknown)), refusal);
    let late = Rewind {
        expected: Some(Revision(1)),
        ..good.clone()
    };
    let refusal = Refusal::revision(&f::session("s"), Revision(2));
    assert_eq!(world.refused(&proposed(late)), refusal);
    let past_the_end = Rewind {
        cut: Cut {
            tally: Tally {
                entries: 5,
                ..Tally::default()
            },
            preview: String::new(),
        },
        ..good.clone()
    };
    assert_eq!(
        world.refused(&proposed(past_the_end)),
        Refusal::IndexOutOfRange { count: 4 }
    );
    let moved = Rewind {
        from: Tip {
            tally: Tally::default(),
            ..good.from.clone()
        },
        ..good.clone()
    };
    assert!(matches!(world.refused(&proposed(moved)), Refusal::Moved { .. }));
    let deletion = Deletion::Soft {
        purge_after: std::time::Duration::from_secs(1),
    };
    world.done(&super::world::deleting("s", deletion, None));
    assert!(matches!(
        world.refused(&proposed(good)),
        Refusal::SessionDeleted { .. }
    ));
}
