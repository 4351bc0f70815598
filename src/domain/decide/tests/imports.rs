//! What an import restores, where it goes on, and when what was found out on a reader holds no more.

use super::world::{World, appending, deleting};
use crate::domain::entry::Payload;
use crate::domain::id::Source;
use crate::domain::limits::IMPORT_BRANCHES_MAX;
use crate::domain::outcome::{Imports, Problem};
use crate::domain::path::Tip;
use crate::domain::proposal::{Deletion, Import, Imported, Place, Restored, SessionCommand, Used, Written};
use crate::domain::session::{Draft, Origin, State};
use crate::domain::title::TitleSource;
use crate::domain::{
    Log, MessageFacts, NewEntry, Noun, Outcome, Proposal, Refusal, Role, Seq, Session, SessionId, Tally,
    Time, Usage, fixture as f,
};

fn source() -> Option<Source> {
    Some(Source::parse("file", "source").expect("valid"))
}

fn ids(names: &[&str]) -> Vec<SessionId> {
    names.iter().map(|name| f::session(name)).collect()
}

/// A session of a transcript, its entries with the command.
fn imported(world: &mut World, place: Place, seen: &[&str], entries: Vec<NewEntry>) -> Imported {
    Imported {
        source: source(),
        seen: ids(seen),
        place,
        restored: Restored::default(),
        written: Written::Inline {
            log: world.log(),
            entries,
        },
    }
}

fn importing(sessions: Vec<Imported>) -> Proposal {
    let import = Import {
        sessions,
        sum: Imports::default(),
    };
    f::to_session(SessionCommand::Import(Box::new(import)))
}

fn new(id: &str) -> Place {
    Place::New { id: f::session(id) }
}

fn after(session: &Session) -> Place {
    Place::After {
        session: session.id.clone(),
        from: session.tip.clone(),
    }
}

fn branch(session: &Session, cut: Tally, id: &str) -> Place {
    Place::Branch {
        session: session.id.clone(),
        log: session.tip.log.id,
        cut,
        preview: String::from("before"),
        id: f::session(id),
    }
}

fn costing(id: &str, cost_micros: u64) -> NewEntry {
    let usage = Usage {
        cost_micros,
        input_tokens: 1,
        ..Usage::default()
    };
    let facts = MessageFacts {
        usage,
        ..f::facts(Role::User, id)
    };
    f::entry(id, Payload::Message(facts))
}

/// A session "s" of two messages that came from the source.
fn world() -> World {
    let mut world = World::new();
    let entries = vec![costing("a", 10), costing("b", 20)];
    let first = imported(&mut world, new("s"), &[], entries);
    world.done(&importing(vec![first]));
    world
}

#[test]
fn every_fact_is_restored() {
    let mut world = World::new();
    let usage = Usage {
        input_tokens: 2,
        cost_micros: 5,
        ..Usage::default()
    };
    let restored = Restored {
        title: Some((String::new(), TitleSource::User)),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        starred: true,
        archive_time: Some(Time(3)),
        origin: Some(Origin {
            session: f::session("there"),
            entry_seq: 1,
            message_count: 1,
            root: f::session("root"),
            depth: 2,
        }),
        parent: Some(f::session("nowhere")),
        usage: Some(Used::Summed(usage)),
        incomplete_turn: true,
        create_time: Some(Time(1)),
        update_time: Some(Time(2)),
        ..Restored::default()
    };
    let first = Imported {
        restored: restored.clone(),
        ..imported(
            &mut world,
            new("s"),
            &[],
            vec![costing("a", 10), costing("b", 20)],
        )
    };
    let decision = world.done(&importing(vec![first]));
    assert_eq!(decision.outcome, Outcome::Imported(Imports::default()));
    let session = world.session("s");
    let profile = &session.profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("", TitleSource::User)
    );
    assert_eq!((&profile.labels, profile.starred), (&restored.labels, true));
    assert_eq!(
        (profile.state, profile.archive_time),
        (State::Archived, Some(Time(3)))
    );
    assert_eq!(
        (&profile.origin, &profile.parent),
        (&restored.origin, &restored.parent)
    );
    assert_eq!((profile.create_time, session.update_time), (Time(1), Time(2)));
    assert_eq!((session.usage(), profile.inherited_cost_micros), (usage, 25));
    assert!(profile.incomplete_turn && profile.thread.is_none());
    assert_eq!((session.preview.as_str(), session.revision.0), ("b", 1));
}

#[test]
fn usage_is_the_sum_unless_an_engine_told_it() {
    let told = Usage {
        output_tokens: 9,
        ..Usage::default()
    };
    let sum = Usage {
        input_tokens: 2,
        cost_micros: 30,
        ..Usage::default()
    };
    for (given, found) in [
        (None, sum),
        (Some(Used::Told(told)), told),
        // Lines were left out, or somebody wrote the header by hand.
        (Some(Used::Summed(told)), sum),
        (
            Some(Used::Summed(Usage {
                cost_micros: 31,
                ..sum
            })),
            sum,
        ),
    ] {
        let mut world = World::new();
        let mut first = imported(
            &mut world,
            new("s"),
            &[],
            vec![costing("a", 10), costing("b", 20)],
        );
        first.restored.usage = given;
        world.done(&importing(vec![first]));
        assert_eq!(world.session("s").usage(), found, "{given:?}");
    }
}

#[test]
fn a_missing_title_is_derived() {
    let world = world();
    let profile = &world.session("s").profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("a", TitleSource::Derived)
    );
}

#[test]
fn what_is_longer_goes_on() {
    let mut world = world();
    let before = world.session("s").clone();
    let mut more = imported(&mut world, after(&before), &["s"], vec![f::user("c", "more")]);
    more.restored.title = Some(("Another".into(), TitleSource::User));
    more.restored.update_time = Some(Time(before.update_time.0 + 5));
    world.done(&importing(vec![more]));
    let session = world.session("s");
    assert_eq!(
        (session.tip.seq(), session.revision.0),
        (Seq(3), before.revision.0 + 1)
    );
    assert_eq!(session.update_time, Time(before.update_time.0 + 5));
    assert_eq!(
        (session.preview.as_str(), session.profile.title.as_str()),
        ("more", "a")
    );
    assert_ne!(session.etag(), before.etag());
}

#[test]
fn another_way_is_a_fork() {
    let mut world = world();
    let before = world.session("s").clone();
    let cut = world.entries("s")[0].meta.tally.clone();
    let mut other = imported(
        &mut world,
        branch(&before, cut.clone(), "f"),
        &["s"],
        vec![f::user("x", "other")],
    );
    other.restored.title = Some(("a".into(), TitleSource::Derived));
    other.restored.starred = true;
    let mut untold = imported(
        &mut world,
        branch(&before, cut, "g"),
        &["s"],
        vec![f::assistant("y")],
    );
    untold.restored.title = other.restored.title.clone();
    untold.source = None;
    untold.seen = Vec::new();
    world.done(&importing(vec![other, untold]));
    assert_eq!(*world.session("s"), before);
    let fork = world.session("f");
    let origin = fork.profile.origin.clone().expect("it is a fork");
    assert_eq!(
        (origin.session, origin.entry_seq, origin.depth),
        (f::session("s"), 1, 1)
    );
    assert_eq!(fork.profile.title, "a (fork 1)");
    assert_eq!(
        world.session("g").profile.title,
        "a (fork 2)",
        "none is given twice"
    );
    assert_eq!(world.session("g").preview, "before");
    assert_eq!((fork.usage().cost_micros, fork.usage().input_tokens), (0, 1));
    assert!(!fork.profile.starred);
    assert_eq!(fork.profile.source, source());
    let ids: Vec<_> = world
        .entries("f")
        .iter()
        .map(|entry| entry.meta.id.to_string())
        .collect();
    assert_eq!(ids, ["a", "x"]);
}

#[test]
fn what_has_moved_is_compared_again() {
    let moved = |id: &str| Refusal::Moved {
        session: f::session(id),
    };
    // Another session came from the source meanwhile.
    let mut world = world();
    let stale = imported(&mut world, new("t"), &[], vec![]);
    assert_eq!(world.refused(&importing(vec![stale])), moved("t"));
    // The session was written to.
    let before = world.session("s").clone();
    let stale = imported(&mut world, after(&before), &["s"], vec![f::user("c", "")]);
    world.done(&appending("s", vec![f::event("e")], None));
    assert_eq!(world.refused(&importing(vec![stale])), moved("s"));
    // A fork's log is another one.
    let mut strange = world.session("s").clone();
    strange.tip = Tip::start_of(std::sync::Arc::new(Log::root(world.log())));
    let stale = imported(
        &mut world,
        branch(&strange, Tally::default(), "f"),
        &["s"],
        vec![],
    );
    assert_eq!(world.refused(&importing(vec![stale])), moved("s"));
    // One id twice.
    let twice = [0, 1].map(|_| Imported {
        source: None,
        ..imported(&mut world, new("t"), &[], vec![])
    });
    assert_eq!(world.refused(&importing(twice.into())), moved("t"));
    let staged = Imported {
        source: None,
        written: Written::Staged {
            tip: strange.tip,
            preview: None,
            title: None,
        },
        ..imported(&mut world, new("t"), &[], vec![])
    };
    assert_eq!(world.refused(&importing(vec![staged])), Refusal::StagingLost);
}

#[test]
fn what_is_there_is_left_alone() {
    let mut world = world();
    world.create("other", Draft::default());
    let taken = imported(&mut world, new("other"), &["s"], vec![]);
    let refusal = Refusal::AlreadyExists {
        noun: Noun::Session,
        id: "other".into(),
    };
    assert_eq!(world.refused(&importing(vec![taken])), refusal);
    let before = world.session("s").clone();
    world.done(&deleting(
        "s",
        Deletion::Soft {
            purge_after: std::time::Duration::from_secs(1),
        },
        None,
    ));
    let gone = Refusal::SessionDeleted {
        session: f::session("s"),
    };
    for place in [after(&before), branch(&before, Tally::default(), "f")] {
        let late = imported(&mut world, place, &["s"], vec![f::event("e")]);
        assert_eq!(world.refused(&importing(vec![late])), gone);
    }
}

#[test]
fn branches_of_a_source_are_counted() {
    let mut world = world();
    let source = world.session("s").clone();
    let mut seen = vec![String::from("s")];
    for number in 0..IMPORT_BRANCHES_MAX {
        let id = format!("t{number:02}");
        let names: Vec<&str> = seen.iter().map(String::as_str).collect();
        let entries = vec![f::event(&id)];
        let more = imported(
            &mut world,
            branch(&source, Tally::default(), &id),
            &names,
            entries,
        );
        let decided = world.decide(&importing(vec![more]));
        assert_eq!(decided.is_ok(), number + 1 < IMPORT_BRANCHES_MAX, "{number}");
        seen.push(id);
    }
}

#[test]
fn the_answer_is_kept_with_its_problems() {
    let sum = Imports {
        sessions: ids(&["s"]),
        added: 1,
        skipped: 2,
        problems: vec![Problem {
            line: 3,
            reason: "why".into(),
        }],
    };
    let import = Import {
        sessions: vec![],
        sum: sum.clone(),
    };
    let proposal = f::to_session(SessionCommand::Import(Box::new(import)));
    let proposal = f::under("r", "call", proposal);
    let mut world = World::new();
    assert_eq!(world.done(&proposal).outcome, Outcome::Imported(sum.clone()));
    let again = world.done(&proposal);
    assert_eq!((again.replayed, again.outcome), (true, Outcome::Imported(sum)));
}
