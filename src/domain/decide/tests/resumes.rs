//! Resumes: one at a time for a session; a thread is linked when it holds everything, and not before.

use super::engines::{attach, claim, detaching, stale};
use super::world::{World, adding, deleting, finishing, starting};
use crate::domain::proposal::{Deletion, Offer, Open, ResumeCommand, Seat, Seed, SessionCommand, Start};
use crate::domain::proposal::{Save, Written};
use crate::domain::resume::{Failure, State, Wish};
use crate::domain::session::{Draft, Setting};
use crate::domain::turn::Status;
use crate::domain::{Effect, Outcome, Proposal, Refusal, Resume, Seq, fixture as f};
use std::time::Duration;

pub(super) fn opening(id: &str, wish: Wish, offer: Offer) -> Proposal {
    f::to_resume(ResumeCommand::Open(Box::new(Open {
        id: f::resume(id),
        session: f::session("s"),
        wish,
        offer,
        thread: f::thread(&format!("of-{id}")),
    })))
}

/// Opens a resume; the name of the one that answers.
fn open(world: &mut World, id: &str, wish: Wish) -> String {
    match world.done(&opening(id, wish, Offer::Some)).outcome {
        Outcome::Resume { resume } => resume.to_string(),
        other => panic!("not opened: {other:?}"),
    }
}

pub(super) fn resume<'a>(world: &'a World, id: &str) -> &'a Resume {
    &world.resumes[&f::resume(id)]
}

pub(super) fn start(world: &World, id: &str, engine: Option<&str>, seed: Seed) -> Proposal {
    let tip = world.session("s").tip.clone();
    f::to_resume(ResumeCommand::Start(Box::new(Start {
        id: f::resume(id),
        engine: engine.map(f::engine),
        total: tip.tally.visible,
        source: tip,
        seed,
        attempt: resume(world, id).attempt + 1,
        thread: resume(world, id).thread.clone(),
    })))
}

pub(super) fn progress(id: &str, seed: u32, written: u64) -> Proposal {
    f::to_resume(ResumeCommand::Progress {
        id: f::resume(id),
        seed,
        written,
    })
}

pub(super) fn seating(world: &mut World, id: &str, epoch: Option<u64>) -> Proposal {
    f::to_resume(ResumeCommand::Seat(Box::new(Seat {
        id: f::resume(id),
        epoch,
        journal: world.log(),
        system_prompt: "be kind".to_owned(),
    })))
}

/// A session `s` of two messages.
pub(super) fn talked() -> World {
    let mut world = World::new();
    world.create("s", Draft::default());
    world.append("s", vec![f::user("a", "hello"), f::assistant("b")]);
    world
}

/// Takes a resume from its start to its end in `engine`, or in the journal.
fn seat(world: &mut World, id: &str, engine: Option<(&str, u64)>) {
    let starting = start(world, id, engine.map(|(id, _)| id), Seed::Fresh);
    world.done(&starting);
    let seating = seating(world, id, engine.map(|(_, epoch)| epoch));
    world.done(&seating);
}

fn saving(world: &mut World, id: &str) -> Proposal {
    let (log, thread) = (world.log(), world.thread(id).clone());
    f::to_session(SessionCommand::Save(Box::new(Save {
        thread: thread.id.clone(),
        journal: thread.journal,
        change: thread.change,
        requested: None,
        fresh: f::session("fresh"),
        title: None,
        expected: None,
        from: thread.session.map(|id| world.sessions[&id].tip.clone()),
        cut: None,
        written: Written::Inline {
            log,
            entries: vec![f::user("new", "more")],
        },
    })))
}

#[test]
fn concurrent_ones_join() {
    let mut world = talked();
    assert_eq!(open(&mut world, "r", Wish::default()), "r");
    assert_eq!(open(&mut world, "q", Wish::default()), "r");
    assert_eq!(world.resumes.len(), 1);
    assert_eq!(resume(&world, "r").state, State::Queued);
    assert_eq!(world.session("s").profile.thread, None, "nothing is linked yet");
}

#[test]
fn ready_links_the_thread_and_moves_it_to_the_engine() {
    let mut world = talked();
    let epoch = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", Some(("e", epoch)));
    let done = resume(&world, "r");
    assert_eq!((done.state, done.written, &done.source), (State::Ready, 2, &None));
    let thread = world.thread("of-r");
    assert_eq!(
        (thread.engine.clone(), thread.epoch),
        (Some(f::engine("e")), epoch)
    );
    assert_eq!(thread.base, Some(world.session("s").tip.clone()));
    assert_eq!(thread.session, Some(f::session("s")));
    assert_eq!(thread.profile.texts.system_prompt, "be kind");
    assert_eq!(world.session("s").profile.thread, Some(f::thread("of-r")));
}

#[test]
fn settings_are_those_asked_for_then_the_sessions() {
    let mut world = World::new();
    let setting = Setting {
        model: "m".to_owned(),
        task_type: "task".to_owned(),
        ..Setting::default()
    };
    world.create(
        "s",
        Draft {
            setting,
            ..Draft::default()
        },
    );
    world.append("s", vec![f::user("a", "hello")]);
    let wish = Wish {
        task_type: Some("other".to_owned()),
        ..Wish::default()
    };
    open(&mut world, "r", wish);
    seat(&mut world, "r", None);
    let setting = &world.thread("of-r").profile.setting;
    assert_eq!(
        [&setting.model, &setting.mode, &setting.task_type],
        ["m", "agent", "other"]
    );
}

#[test]
fn a_thread_that_holds_the_session_is_used_as_it_is() {
    let mut world = talked();
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", None);
    assert_eq!(open(&mut world, "q", Wish::default()), "q");
    let reused = resume(&world, "q");
    assert_eq!((reused.state, reused.reused), (State::Ready, true));
    assert_eq!((&reused.thread, reused.total), (&f::thread("of-r"), 2));
    let named = Wish {
        require_engine: true,
        ..Wish::default()
    };
    open(&mut world, "p", named);
    assert_eq!(
        resume(&world, "p").state,
        State::Queued,
        "the journal is no engine"
    );
}

#[test]
fn an_engine_that_left_or_lacks_a_label_is_not_used() {
    let mut world = talked();
    let epoch = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", Some(("e", epoch)));
    let labelled = Wish {
        labels: [("gpu".to_owned(), "1".to_owned())].into(),
        ..Wish::default()
    };
    open(&mut world, "q", labelled);
    assert!(!resume(&world, "q").reused);
    world.done(&f::to_resume(ResumeCommand::Cancel { id: f::resume("q") }));
    world.done(&detaching("e", epoch));
    open(&mut world, "p", Wish::default());
    assert!(!resume(&world, "p").reused);
    assert_eq!(
        resume(&world, "p").thread,
        f::thread("of-r"),
        "nothing is lost: seeded again"
    );
}

#[test]
fn the_same_thread_is_seeded_again_and_the_old_engine_is_stale() {
    let mut world = talked();
    let old = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", Some(("e", old)));
    let change = world.thread("of-r").change;
    let new = attach(&mut world, "f");
    let wish = Wish {
        engine: Some(f::engine("f")),
        ..Wish::default()
    };
    open(&mut world, "q", wish);
    seat(&mut world, "q", Some(("f", new)));
    let thread = world.thread("of-r");
    assert_eq!((thread.engine.clone(), thread.epoch), (Some(f::engine("f")), new));
    assert!(thread.change > change);
    assert_eq!(
        world.refused(&starting("of-r", "u", Some(old))),
        stale("of-r", new)
    );
    world.done(&starting("of-r", "u", Some(new)));
}

#[test]
fn unsaved_turns_are_never_lost() {
    let mut world = talked();
    let epoch = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", Some(("e", epoch)));
    open_turn(&mut world, epoch);
    world.done(&detaching("e", epoch));
    open(&mut world, "q", Wish::default());
    assert_eq!(resume(&world, "q").thread, f::thread("of-q"), "another thread");
    let mut starting = start(&world, "q", None, Seed::Fresh);
    if let crate::domain::Command::Resume(ResumeCommand::Start(start)) = &mut starting.command {
        start.thread = f::thread("of-r");
    }
    let moved = Refusal::ThreadMoved {
        thread: f::thread("of-r"),
    };
    assert_eq!(world.refused(&starting), moved);
}

fn open_turn(world: &mut World, epoch: u64) {
    world.done(&starting("of-r", "u", Some(epoch)));
    let item = vec![f::new_item("i", Status::Completed)];
    world.done(&adding("of-r", "u", item, Some(epoch)));
    world.done(&finishing("of-r", "u", Status::Completed, Some(epoch)));
}

#[test]
fn saved_turns_make_no_difference() {
    let mut world = talked();
    let epoch = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    seat(&mut world, "r", Some(("e", epoch)));
    open_turn(&mut world, epoch);
    let save = saving(&mut world, "of-r");
    world.done(&save);
    open(&mut world, "q", Wish::default());
    assert!(resume(&world, "q").reused);
}

#[test]
fn nowhere_to_go_makes_nothing() {
    let mut world = talked();
    let wish = Wish {
        require_engine: true,
        ..Wish::default()
    };
    assert_eq!(world.refused(&opening("r", wish, Offer::None)), Refusal::NoEngine);
    assert!(world.resumes.is_empty());
}

#[test]
fn given_up_or_called_off_a_thread_stays_as_it_was() {
    let failing = ResumeCommand::Fail {
        id: f::resume("q"),
        failure: Failure::Moved,
    };
    let canceling = ResumeCommand::Cancel { id: f::resume("q") };
    for (command, state) in [(failing, State::Failed), (canceling, State::Canceled)] {
        let mut world = talked();
        let epoch = attach(&mut world, "e");
        open(&mut world, "r", Wish::default());
        seat(&mut world, "r", Some(("e", epoch)));
        world.append("s", vec![f::user("c", "from elsewhere")]);
        let (thread, session) = (world.thread("of-r").clone(), world.session("s").clone());
        open(&mut world, "q", Wish::default());
        let starting = start(&world, "q", Some("e"), Seed::Fresh);
        world.done(&starting);
        world.done(&progress("q", 1, 1));
        world.done(&f::to_resume(command.clone()));
        assert_eq!((world.thread("of-r"), world.session("s")), (&thread, &session));
        assert_eq!(
            (resume(&world, "q").state, &resume(&world, "q").source),
            (state, &None)
        );
        assert_eq!(world.done(&f::to_resume(command)).effects, [], "an end is an end");
        let ended = Refusal::ResumeEnded {
            resume: f::resume("q"),
        };
        let seating = seating(&mut world, "q", Some(epoch));
        assert_eq!(world.refused(&seating), ended);
    }
}

#[test]
fn a_deleted_session_ends_its_resume() {
    let soft = Deletion::Soft {
        purge_after: Duration::from_secs(60),
    };
    for mode in [soft, Deletion::Force] {
        let mut world = talked();
        open(&mut world, "r", Wish::default());
        let starting = start(&world, "r", None, Seed::Fresh);
        world.done(&starting);
        let decision = world.done(&deleting("s", mode, None));
        let put = |effect: &Effect| matches!(effect, Effect::PutResume(_));
        assert_eq!(decision.effects.iter().filter(|effect| put(effect)).count(), 1);
        let failed = resume(&world, "r");
        assert_eq!(
            (failed.state, &failed.failure),
            (State::Failed, &Some(Failure::SessionDeleted))
        );
    }
}

#[test]
fn a_session_that_moved_is_not_seated() {
    let mut world = talked();
    open(&mut world, "r", Wish::default());
    let starting = start(&world, "r", None, Seed::Fresh);
    world.done(&starting);
    world.append("s", vec![f::user("c", "late")]);
    let seating = seating(&mut world, "r", None);
    let moved = Refusal::Moved {
        session: f::session("s"),
    };
    assert_eq!(world.refused(&seating), moved);
}

#[test]
fn an_engine_that_attached_again_is_not_seated_under_its_old_epoch() {
    let mut world = talked();
    let old = attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    let starting = start(&world, "r", Some("e"), Seed::Fresh);
    world.done(&starting);
    let new = attach(&mut world, "e");
    let seating = seating(&mut world, "r", Some(old));
    let superseded = Refusal::EngineSuperseded {
        engine: f::engine("e"),
        current: new,
    };
    assert_eq!(world.refused(&seating), superseded);
}

#[test]
fn progress_counts_for_its_seed_and_only_upwards() {
    let mut world = talked();
    attach(&mut world, "e");
    open(&mut world, "r", Wish::default());
    let first = start(&world, "r", Some("e"), Seed::Fresh);
    world.done(&first);
    world.done(&progress("r", 1, 1));
    for (seed, written) in [(1, 1), (1, 0), (1, 3), (2, 2)] {
        assert_eq!(
            world.done(&progress("r", seed, written)).effects,
            [],
            "{seed}, {written}"
        );
    }
    let again = start(&world, "r", Some("e"), Seed::Continued);
    world.done(&again);
    let continued = resume(&world, "r");
    assert_eq!((continued.seed, continued.written, continued.attempt), (1, 1, 2));
    let anew = start(&world, "r", None, Seed::Continued);
    world.done(&anew);
    let anew = resume(&world, "r");
    assert_eq!(
        (anew.seed, anew.written, anew.attempt),
        (2, 0, 3),
        "another engine knows nothing"
    );
}

#[test]
fn a_thread_in_use_elsewhere_is_not_the_sessions() {
    let mut world = talked();
    let epoch = attach(&mut world, "e");
    claim(&mut world, "e", epoch, "of-r", None);
    open(&mut world, "r", Wish::default());
    let starting = start(&world, "r", None, Seed::Fresh);
    let moved = Refusal::ThreadMoved {
        thread: f::thread("of-r"),
    };
    assert_eq!(
        world.refused(&starting),
        moved,
        "a thread of that name is another's"
    );
    assert_eq!(world.thread("of-r").items, Seq::ZERO.0);
}
