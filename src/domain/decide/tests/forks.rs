//! What a fork takes along and what it leaves.

use std::collections::BTreeMap;

use super::world::{World, updating};
use crate::domain::entry::Payload;
use crate::domain::proposal::SessionCommand;
use crate::domain::session::{Archived, Change, Draft, Setting, State, Texts};
use crate::domain::title::TitleSource;
use crate::domain::{
    Effect, MessageFacts, NewEntry, Noun, Refusal, Revision, Role, Seq, Usage, fixture as f,
};

fn full() -> Draft {
    let text = |text: &str| text.to_owned();
    Draft {
        title: Some(f::title("Talk")),
        setting: Setting {
            workspace: text("/w"),
            provider: text("p"),
            endpoint: text("e"),
            model: text("m"),
            mode: text("mode"),
            task_type: text("task"),
        },
        labels: BTreeMap::from([(text("k"), text("v"))]),
        texts: Texts {
            system_prompt: text("prompt"),
            settings_json: text("{\"s\":1}"),
            metadata_json: text("{\"m\":1}"),
        },
        starred: true,
        archived: Archived::Yes,
        parent: Some(f::session("parent")),
    }
}

#[test]
fn what_is_copied_and_what_is_not() {
    let mut world = World::new();
    world.create("parent", Draft::default());
    world.create("s", full());
    world.append("s", vec![f::user("a", "hello"), f::assistant("b")]);
    let source = world.session("s").profile.clone();
    let fork = world.fork("s", 1, "fork").clone();
    let profile = &fork.profile;
    assert_eq!(
        (&profile.setting, &profile.labels),
        (&source.setting, &source.labels)
    );
    assert_eq!(profile.texts.system_prompt, source.texts.system_prompt);
    assert_eq!(profile.texts.settings_json, source.texts.settings_json);
    assert_eq!(profile.texts.metadata_json, "");
    assert_eq!(
        (profile.starred, profile.state, profile.archive_time),
        (false, State::Active, None)
    );
    assert_eq!((&profile.thread, &profile.parent), (&None, &None));
    assert_eq!(
        (fork.revision, fork.tip.seq(), profile.create_time),
        (Revision(1), Seq(1), world.now)
    );
    let origin = profile.origin.as_ref().expect("it is a fork");
    assert_eq!((origin.session.as_str(), origin.root.as_str()), ("s", "s"));
    assert_eq!((origin.entry_seq, origin.message_count, origin.depth), (1, 1, 1));
    let again = world.fork("fork", 0, "again");
    let origin = again.profile.origin.as_ref().expect("it is a fork");
    assert_eq!((origin.session.as_str(), origin.root.as_str()), ("fork", "s"));
    assert_eq!((origin.entry_seq, origin.message_count, origin.depth), (0, 0, 2));
}

#[test]
fn two_rows_whatever_the_length() {
    let mut world = World::new();
    world.create("s", Draft::default());
    world.append("s", (0..1_000).map(|at| f::event(&format!("e{at}"))).collect());
    let fork = world.forking("s", 999, "fork");
    let effects = world
        .done(&f::to_session(SessionCommand::Fork(Box::new(fork))))
        .effects;
    assert!(matches!(
        &effects[..],
        [Effect::OpenLog(_), Effect::PutSession(_)]
    ));
    let shared: Vec<_> = world
        .entries("s")
        .iter()
        .take(999)
        .map(|entry| &entry.body)
        .collect();
    let forked: Vec<_> = world.entries("fork").iter().map(|entry| &entry.body).collect();
    assert_eq!(forked, shared);
}

fn costing(id: &str, micros: u64) -> NewEntry {
    let facts = MessageFacts {
        usage: Usage {
            input_tokens: 10,
            cost_micros: micros,
            ..Usage::default()
        },
        ..f::facts(Role::Assistant, "")
    };
    f::entry(id, Payload::Message(facts))
}

#[test]
fn its_cost_starts_at_nothing() {
    let mut world = World::new();
    world.create("s", Draft::default());
    world.append("s", vec![costing("a", 5), costing("b", 7)]);
    let used = |world: &World, id: &str| {
        let usage = world.session(id).usage();
        (usage.cost_micros, usage.input_tokens)
    };
    assert_eq!(used(&world, "s"), (12, 20));
    world.fork("s", 1, "fork");
    assert_eq!(
        used(&world, "fork"),
        (0, 10),
        "tokens are those of the conversation"
    );
    world.append("fork", vec![costing("c", 3)]);
    assert_eq!(used(&world, "fork"), (3, 20));
    world.fork("fork", 2, "again");
    assert_eq!(used(&world, "again"), (0, 20));
    world.append("s", vec![costing("d", u64::MAX)]);
    assert_eq!(used(&world, "s").0, u64::MAX);
    world.fork("s", 3, "rich");
    assert_eq!(used(&world, "rich").0, 0);
}

#[test]
fn a_given_title_is_the_users_and_a_numbered_one_is_not() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let mut fork = world.forking("s", 0, "a");
    fork.title = Some(f::title("Given"));
    world.done(&f::to_session(SessionCommand::Fork(Box::new(fork))));
    let profile = &world.session("a").profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("Given", TitleSource::User)
    );
    let numbered = world.fork("s", 0, "b").profile.title_source;
    assert_eq!(numbered, TitleSource::Derived);
}

#[test]
fn the_id_is_free_and_the_source_is_there() {
    let mut world = World::new();
    world.create("s", Draft::default());
    let mut fork = world.forking("s", 0, "s");
    let taken = Refusal::AlreadyExists {
        noun: Noun::Session,
        id: "s".to_owned(),
    };
    assert_eq!(
        world.refused(&f::to_session(SessionCommand::Fork(Box::new(fork.clone())))),
        taken
    );
    fork.source = f::session("nobody");
    let missing = Refusal::no_session(&f::session("nobody"));
    assert_eq!(
        world.refused(&f::to_session(SessionCommand::Fork(Box::new(fork)))),
        missing
    );
}

#[test]
fn later_changes_of_facts_do_not_show_either() {
    let mut world = World::new();
    world.create("parent", Draft::default());
    world.create("s", full());
    let before = world.fork("s", 0, "fork").clone();
    let change = Change {
        labels: Some(BTreeMap::new()),
        model: Some("other".to_owned()),
        system_prompt: Some("other".to_owned()),
        ..Change::default()
    };
    world.done(&updating("s", change, None));
    assert_eq!(*world.session("fork"), before);
}
