//! Who drives a resume: the replica that opened it, the one it was handed to, or the one that takes it over.

use super::engines::attach;
use super::replicas::join;
use super::resumes::{opening, progress, resume, seating, start, talked};
use super::world::World;
use crate::domain::proposal::{Offer, ResumeCommand, Seed, Start};
use crate::domain::resume::{State, Wish};
use crate::domain::{Effect, Fence, Proposal, Refusal, fixture as f};

fn taking(id: &str) -> Proposal {
    f::to_resume(ResumeCommand::Take { id: f::resume(id) })
}

fn handing(id: &str, to: &Fence, engine: &str, attempt: u32) -> Proposal {
    f::to_resume(ResumeCommand::Hand {
        id: f::resume(id),
        to: to.clone(),
        engine: f::engine(engine),
        attempt,
        thread: f::thread(&format!("of-{id}")),
    })
}

fn driven(id: &str) -> Refusal {
    Refusal::ResumeDriven {
        resume: f::resume(id),
    }
}

#[test]
fn whoever_opens_it_drives_it_and_nobody_else() {
    let mut world = talked();
    let (a, b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.done(&f::fenced(&a, opening("r", Wish::default(), Offer::Some)));
    assert_eq!(resume(&world, "r").driver, Some(a.clone()));
    let starting = start(&world, "r", None, Seed::Fresh);
    assert_eq!(world.refused(&f::fenced(&b, starting.clone())), driven("r"));
    assert_eq!(
        world.refused(&starting),
        driven("r"),
        "nor one that is no replica"
    );
    assert_eq!(world.refused(&f::fenced(&b, taking("r"))), driven("r"));
    world.done(&f::fenced(&a, starting));
    assert_eq!(world.refused(&f::fenced(&b, progress("r", 1, 1))), driven("r"));
    world.done(&f::to_resume(ResumeCommand::Cancel { id: f::resume("r") }));
    assert_eq!(resume(&world, "r").state, State::Canceled, "anybody calls it off");
}

#[test]
fn of_two_who_take_over_one_does() {
    let mut world = talked();
    let (a, b, c) = (
        join(&mut world, "a"),
        join(&mut world, "b"),
        join(&mut world, "c"),
    );
    world.done(&f::fenced(&a, opening("r", Wish::default(), Offer::Some)));
    let starting = start(&world, "r", None, Seed::Fresh);
    world.done(&f::fenced(&a, starting));
    // The one that drove it is back under another incarnation.
    let a2 = join(&mut world, "a");
    world.done(&f::fenced(&b, taking("r")));
    assert_eq!(resume(&world, "r").driver, Some(b.clone()));
    assert_eq!(world.refused(&f::fenced(&c, taking("r"))), driven("r"));
    assert_eq!(world.refused(&f::fenced(&a2, taking("r"))), driven("r"));
    assert_eq!(world.done(&f::fenced(&b, taking("r"))).effects, []);
    let seating = seating(&mut world, "r", None);
    assert!(matches!(
        world.refused(&f::fenced(&a, seating.clone())),
        Refusal::ReplicaFenced { .. }
    ));
    world.done(&f::fenced(&b, seating));
    let ended = Refusal::ResumeEnded {
        resume: f::resume("r"),
    };
    assert_eq!(world.refused(&f::fenced(&c, taking("r"))), ended);
}

#[test]
fn it_is_handed_to_the_replica_that_has_the_engine() {
    let mut world = talked();
    let (a, b) = (join(&mut world, "a"), join(&mut world, "b"));
    let epoch = attach(&mut world, "e");
    world.done(&f::fenced(&a, opening("r", Wish::default(), Offer::Some)));
    assert_eq!(
        world.refused(&f::fenced(&b, handing("r", &b, "e", 1))),
        driven("r")
    );
    let gone = f::fence("gone", 7);
    assert!(matches!(
        world.refused(&f::fenced(&a, handing("r", &gone, "e", 1))),
        Refusal::ReplicaFenced { .. }
    ));
    world.done(&f::fenced(&a, handing("r", &b, "e", 1)));
    let handed = resume(&world, "r");
    assert_eq!((&handed.driver, handed.attempt), (&Some(b.clone()), 1));
    let seat = |world: &mut World, fence: &Fence| {
        let start = Start {
            id: f::resume("r"),
            engine: Some(f::engine("e")),
            total: 2,
            source: world.session("s").tip.clone(),
            seed: Seed::Fresh,
            attempt: 1,
            thread: f::thread("of-r"),
        };
        let start = f::to_resume(ResumeCommand::Start(Box::new(start)));
        world.done(&f::fenced(fence, start));
        world.done(&f::fenced(fence, progress("r", 1, 1)));
    };
    seat(&mut world, &b);
    // The same engine elsewhere goes on where it was; another one begins.
    world.done(&f::fenced(&b, handing("r", &a, "e", 2)));
    let handed = resume(&world, "r");
    assert_eq!((handed.written, handed.source.is_some()), (1, true));
    let decision = world.done(&f::fenced(&a, handing("r", &b, "f", 3)));
    let loosened = decision.effects.iter();
    let loosened = loosened.filter(|effect| matches!(effect, Effect::Loosen(..)));
    assert_eq!(loosened.count(), 1, "nobody names the old source's log any more");
    let handed = resume(&world, "r");
    assert_eq!((&handed.source, handed.attempt), (&None, 3));
    assert!(epoch > 0);
}
