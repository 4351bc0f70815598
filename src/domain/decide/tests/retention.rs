//! Pruning: what is spared, and that every condition is looked at when it is done.

use std::sync::Arc;
use std::time::Duration;

use super::engines::{attach, claim, detaching};
use super::world::{World, appending, deleting, finishing, starting, updating};
use crate::domain::proposal::{
    Deletion, Found, Offer, Open, Prune, ResumeCommand, Save, SessionCommand, Written,
};
use crate::domain::resume::{State as ResumeState, Wish};
use crate::domain::retention::{Action, Rule};
use crate::domain::session::{Archived, Change, Draft, State};
use crate::domain::turn::Status;
use crate::domain::{Outcome, Proposal, Session, Time, fixture as f};

const DELETE: Action = Action::Delete {
    purge_after: Duration::from_secs(3_600),
};

fn rule(action: Action) -> Rule {
    Rule {
        action,
        states: vec![State::Active],
        takes_starred: false,
        before: None,
        arrived_before: None,
    }
}

/// Prunes sessions as they stand now.
fn pruning(world: &World, rule: Rule, ids: &[&str]) -> Proposal {
    let found = ids.iter().map(|id| Found {
        id: f::session(id),
        etag: world.session(id).etag(),
    });
    let found = found.collect();
    f::to_session(SessionCommand::Prune(Box::new(Prune { rule, found })))
}

/// What was taken.
fn taken(world: &mut World, proposal: &Proposal) -> Vec<String> {
    match world.done(proposal).outcome {
        Outcome::Pruned { sessions, count, .. } => {
            assert_eq!(sessions.len() as u64, count);
            sessions.iter().map(ToString::to_string).collect()
        }
        other => panic!("not pruned: {other:?}"),
    }
}

fn prune(world: &mut World, rule: Rule, ids: &[&str]) -> Vec<String> {
    let proposal = pruning(world, rule, ids);
    taken(world, &proposal)
}

fn create(world: &mut World, id: &str, parent: Option<&str>) {
    let parent = parent.map(f::session);
    let draft = Draft {
        parent,
        ..Draft::default()
    };
    world.create(id, draft);
}

fn change(world: &mut World, id: &str, change: Change) {
    world.done(&updating(id, change, None));
}

fn star(world: &mut World, id: &str) {
    let starred = Some(true);
    change(
        world,
        id,
        Change {
            starred,
            ..Change::default()
        },
    );
}

fn archive(world: &mut World, id: &str) {
    let archived = Some(Archived::Yes);
    change(
        world,
        id,
        Change {
            archived,
            ..Change::default()
        },
    );
}

fn state(world: &World, id: &str) -> State {
    world.session(id).profile.state
}

/// A session `of-t` that thread `t` was saved to.
fn saved(world: &mut World) {
    world.create_thread("t");
    world.done(&starting("t", "u", None));
    world.done(&finishing("t", "u", Status::Completed, None));
    let save = Save {
        thread: f::thread("t"),
        journal: world.thread("t").journal,
        change: world.thread("t").change,
        requested: None,
        fresh: f::session("of-t"),
        title: None,
        expected: None,
        from: None,
        cut: None,
        written: Written::Inline {
            log: world.log(),
            entries: vec![f::user("m", "hello")],
        },
    };
    world.done(&f::to_session(SessionCommand::Save(Box::new(save))));
}

#[test]
fn archived_and_starred_ones_go_only_if_they_are_asked_for() {
    let mut world = World::new();
    for id in ["plain", "starred", "archived", "both"] {
        create(&mut world, id, None);
    }
    star(&mut world, "starred");
    star(&mut world, "both");
    archive(&mut world, "archived");
    archive(&mut world, "both");
    let all = ["plain", "starred", "archived", "both"];
    assert_eq!(prune(&mut world, rule(Action::Archive), &all), ["plain"]);
    let archived = Rule {
        states: vec![State::Active, State::Archived],
        ..rule(DELETE)
    };
    assert_eq!(prune(&mut world, archived.clone(), &all), ["plain", "archived"]);
    let starred = Rule {
        takes_starred: true,
        ..rule(DELETE)
    };
    assert_eq!(prune(&mut world, starred.clone(), &all), ["starred"]);
    let both = Rule {
        states: archived.states,
        ..starred
    };
    assert_eq!(prune(&mut world, both.clone(), &all), ["both"]);
    assert_eq!(
        prune(&mut world, both, &all),
        [""; 0],
        "what is deleted is done with"
    );
}

#[test]
fn what_is_archived_is_not_archived_again() {
    let mut world = World::new();
    create(&mut world, "s", None);
    archive(&mut world, "s");
    let before = world.session("s").clone();
    let rule = Rule {
        states: vec![State::Active, State::Archived],
        ..rule(Action::Archive)
    };
    assert_eq!(prune(&mut world, rule, &["s"]), [""; 0]);
    assert_eq!(*world.session("s"), before);
}

#[test]
fn one_that_changed_since_it_was_found_is_left_alone() {
    let mut world = World::new();
    for id in ["appended", "starred", "same"] {
        create(&mut world, id, None);
    }
    let proposal = pruning(&world, rule(DELETE), &["appended", "starred", "same", "same"]);
    world.done(&appending("appended", vec![f::event("e")], None));
    star(&mut world, "starred");
    assert_eq!(taken(&mut world, &proposal), ["same"]);
    assert_eq!(state(&world, "appended"), State::Active);
    assert_eq!(taken(&mut world, &proposal), [""; 0]);
}

#[test]
fn one_that_is_too_young_is_left_alone() {
    let mut world = World::new();
    create(&mut world, "old", None);
    let between = world.now.after(Duration::from_nanos(1));
    create(&mut world, "young", None);
    let rule = Rule {
        before: Some(between),
        ..rule(Action::Archive)
    };
    assert_eq!(prune(&mut world, rule, &["old", "young"]), ["old"]);
    let archived = world.session("old");
    assert_eq!(archived.profile.archive_time, Some(world.now));
    assert_eq!(archived.update_time, world.now);
    let exactly = Rule {
        before: Some(Time(world.session("young").update_time.0)),
        ..self::rule(Action::Archive)
    };
    assert_eq!(prune(&mut world, exactly, &["young"]), [""; 0]);
}

#[test]
fn sub_sessions_go_with_it_unless_one_must_stay() {
    let mut world = World::new();
    let family = |world: &mut World, root: &str| {
        create(world, root, None);
        create(world, &format!("{root}-child"), Some(root));
        create(
            world,
            &format!("{root}-grandchild"),
            Some(&format!("{root}-child")),
        );
    };
    for root in ["a", "b", "c", "d"] {
        family(&mut world, root);
    }
    let mut gone = prune(&mut world, rule(DELETE), &["a-child", "a"]);
    gone.sort();
    assert_eq!(gone, ["a", "a-child", "a-grandchild"], "each once");
    for id in ["a", "a-child", "a-grandchild"] {
        assert_eq!(state(&world, id), State::Deleted);
    }
    star(&mut world, "b-grandchild");
    archive(&mut world, "c-child");
    world.done(&deleting(
        "d-grandchild",
        Deletion::Soft {
            purge_after: Duration::ZERO,
        },
        None,
    ));
    let gone = prune(&mut world, rule(DELETE), &["b", "c", "d"]);
    assert_eq!(
        gone,
        ["d", "d-child"],
        "what is deleted already is in nobody's way"
    );
    let after = world.now;
    let young = Rule {
        before: Some(after),
        states: vec![State::Active, State::Archived],
        ..rule(DELETE)
    };
    world.done(&appending("c-grandchild", vec![f::event("e")], None));
    assert_eq!(prune(&mut world, young, &["c"]), [""; 0], "a part of it is young");
    assert_eq!(
        prune(&mut world, rule(Action::Archive), &["b"]),
        ["b"],
        "archiving takes one alone"
    );
    assert_eq!(state(&world, "b-child"), State::Active);
}

#[test]
fn one_in_use_is_left_alone() {
    let mut world = World::new();
    saved(&mut world);
    create(&mut world, "root", None);
    let epoch = attach(&mut world, "e");
    claim(&mut world, "e", epoch, "t", None);
    for action in [Action::Archive, DELETE] {
        assert_eq!(
            prune(&mut world, rule(action), &["of-t"]),
            [""; 0],
            "an engine holds it"
        );
    }
    world.done(&starting("t", "v", Some(epoch)));
    world.done(&detaching("e", epoch));
    assert_eq!(prune(&mut world, rule(DELETE), &["of-t"]), [""; 0], "a turn runs");
    world.done(&finishing("t", "v", Status::Completed, Some(epoch)));
    let open = Open {
        id: f::resume("r"),
        session: f::session("of-t"),
        wish: Wish::default(),
        offer: Offer::Some,
        thread: f::thread("of-r"),
    };
    world.done(&f::to_resume(ResumeCommand::Open(Box::new(open))));
    assert_eq!(world.resumes[&f::resume("r")].state, ResumeState::Queued);
    assert_eq!(
        prune(&mut world, rule(DELETE), &["of-t"]),
        [""; 0],
        "somebody resumes it"
    );
    let id = f::resume("r");
    world.done(&f::to_resume(ResumeCommand::Cancel { id }));
    assert_eq!(prune(&mut world, rule(DELETE), &["of-t"]), ["of-t"]);
}

#[test]
fn a_record_changes_nothing() {
    let mut world = World::new();
    create(&mut world, "s", None);
    let sessions = vec![f::session("s")];
    let record = SessionCommand::Pruned {
        sessions: sessions.clone(),
        count: 7,
    };
    let proposal = f::under("r", "prune", f::to_session(record));
    let decision = world.done(&proposal);
    assert_eq!(
        decision.outcome,
        Outcome::Pruned {
            sessions,
            count: 7,
            left: Vec::new()
        }
    );
    assert_eq!(decision.effects.len(), 1, "the receipt");
    assert!(world.done(&proposal).replayed);
    assert_eq!(state(&world, "s"), State::Active);
}

#[test]
fn what_an_import_brought_is_as_old_as_it_is_here() {
    let mut world = World::new();
    create(&mut world, "made", None);
    create(&mut world, "brought", None);
    let (arrived, old) = (world.now, Time(world.now.0 - 1_000));
    let session = world
        .sessions
        .get_mut(&f::session("brought"))
        .expect("it is there");
    let mut brought = Session::clone(session);
    brought.update_time = old;
    Arc::make_mut(&mut brought.profile).arrival = Some(arrived);
    *session = Arc::new(brought);
    let by_policy = |before| Rule {
        before: Some(before),
        arrived_before: Some(before),
        ..rule(DELETE)
    };
    assert_eq!(prune(&mut world, by_policy(arrived), &["brought"]), [""; 0]);
    let asked = Rule {
        before: Some(arrived),
        ..rule(Action::Archive)
    };
    assert_eq!(
        prune(&mut world, asked, &["brought"]),
        ["brought"],
        "who asks sees its time"
    );
    let later = by_policy(world.now.after(Duration::from_secs(60)));
    let archived = Rule {
        states: vec![State::Active, State::Archived],
        ..later
    };
    assert_eq!(
        prune(&mut world, archived, &["made", "brought"]),
        ["made", "brought"]
    );
}
