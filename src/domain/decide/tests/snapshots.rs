//! Snapshots: what an engine holds extends its session, or parts from it and leaves the old head readable.

use super::engines::{attach, claim, detaching};
use super::world::{World, adding, finishing, starting};
use crate::domain::proposal::{Cut, Said, Save, SessionCommand, Snapshot, Written};
use crate::domain::save::plan;
use crate::domain::title::TitleSource;
use crate::domain::turn::Status;
use crate::domain::{NewEntry, Outcome, Proposal, Refusal, Revision, Role, Seq, Tally, Tip, fixture as f};

/// An engine `e` with a thread `t` that has one turn of one item.
fn spoken() -> (World, u64) {
    let mut world = World::new();
    let epoch = attach(&mut world, "e");
    claim(&mut world, "e", epoch, "t", None);
    turn(&mut world, epoch, "u1", "i1");
    (world, epoch)
}

fn turn(world: &mut World, epoch: u64, turn: &str, item: &str) {
    world.done(&starting("t", turn, Some(epoch)));
    let items = vec![f::new_item(item, Status::Completed)];
    world.done(&adding("t", turn, items, Some(epoch)));
    world.done(&finishing("t", turn, Status::Completed, Some(epoch)));
}

fn snapshot(world: &mut World, entries: Vec<NewEntry>) -> Snapshot {
    let (log, thread) = (world.log(), world.thread("t").clone());
    let session = thread.session.clone().unwrap_or_else(|| f::session("s"));
    Snapshot {
        thread: thread.id.clone(),
        journal: thread.journal,
        epoch: thread.epoch,
        items: Seq(thread.items),
        requested: None,
        fresh: f::session("s"),
        title: None,
        expected: None,
        from: world.sessions.get(&session).map(|session| session.tip.clone()),
        cut: None,
        written: Written::Inline { log, entries },
        said: Said::default(),
        delta: false,
        turn_start: None,
    }
}

fn taking(snapshot: Snapshot) -> Proposal {
    f::to_session(SessionCommand::Snapshot(Box::new(snapshot)))
}

fn take(world: &mut World, entries: Vec<NewEntry>) -> Outcome {
    let snapshot = snapshot(world, entries);
    world.done(&taking(snapshot)).outcome
}

fn cut(world: &World, seq: usize) -> Option<Cut> {
    let entries = world.entries("s");
    let tally = seq.checked_sub(1).map(|at| entries[at].meta.tally.clone());
    Some(Cut {
        tally: tally.unwrap_or_default(),
        preview: format!("at {seq}"),
    })
}

fn ids(world: &World) -> Vec<String> {
    let entries = world.entries("s").into_iter();
    entries.map(|entry| entry.meta.id.to_string()).collect()
}

#[test]
fn the_first_makes_the_session_and_the_next_extend_it() {
    let (mut world, epoch) = spoken();
    let made = |message_count, created| Outcome::Snapshot {
        session: f::session("s"),
        message_count,
        created,
        delta: false,
    };
    assert_eq!(take(&mut world, vec![f::user("a", "hello")]), made(1, true));
    let session = world.session("s");
    assert_eq!(
        (session.revision, session.profile.thread.clone()),
        (Revision(1), Some(f::thread("t")))
    );
    turn(&mut world, epoch, "u2", "i2");
    assert_eq!(take(&mut world, vec![f::assistant("b")]), made(2, false));
    assert_eq!(ids(&world), ["a", "b"]);
    assert!(world.past_heads.is_empty());
    let before = world.session("s").clone();
    assert_eq!(take(&mut world, Vec::new()), made(2, false));
    assert_eq!(world.session("s"), &before, "nothing new");
    assert_eq!(world.thread("t").session, Some(f::session("s")));
}

#[test]
fn one_that_diverges_leaves_a_past_head() {
    let (mut world, _) = spoken();
    take(
        &mut world,
        vec![f::user("a", "hello"), f::assistant("b"), f::assistant("c")],
    );
    let before = world.session("s").clone();
    let cut = cut(&world, 1);
    let snapshot = Snapshot {
        cut,
        ..snapshot(&mut world, vec![f::assistant("x")])
    };
    world.done(&taking(snapshot));
    assert_eq!(ids(&world), ["a", "x"]);
    let after = world.session("s");
    assert_eq!(after.revision, before.revision.next());
    assert_eq!(after.preview, "at 1");
    let past = &world.past_heads[&(f::session("s"), before.revision)];
    assert_eq!(past.tip, before.tip);
    let mark = world.thread("t").mark(&f::session("s")).expect("it was saved");
    assert_eq!((mark.seq, mark.messages), (Seq(2), 2));
}

#[test]
fn nothing_is_written_over_what_others_wrote() {
    let (mut world, _) = spoken();
    take(&mut world, vec![f::user("a", "hello")]);
    world.append("s", vec![f::user("z", "from elsewhere")]);
    let diverged = Refusal::SessionDiverged {
        session: f::session("s"),
        thread: f::thread("t"),
    };
    let late = snapshot(&mut world, vec![f::assistant("b")]);
    assert_eq!(world.refused(&taking(late)), diverged);
}

#[test]
fn a_session_of_another_thread_is_refused() {
    let (mut world, epoch) = spoken();
    take(&mut world, vec![f::user("a", "hello")]);
    claim(&mut world, "e", epoch, "other", None);
    let mut theirs = snapshot(&mut world, vec![f::assistant("b")]);
    theirs.thread = f::thread("other");
    theirs.journal = world.thread("other").journal;
    theirs.requested = Some(f::session("s"));
    let owned = Refusal::SessionOwned {
        session: f::session("s"),
        owner: f::thread("t"),
    };
    assert_eq!(world.refused(&taking(theirs)), owned);
}

#[test]
fn a_thread_that_moved_is_anothers() {
    let (mut world, epoch) = spoken();
    let late = snapshot(&mut world, vec![f::user("a", "hello")]);
    world.done(&detaching("e", epoch));
    let other = attach(&mut world, "f");
    claim(&mut world, "f", other, "t", None);
    let moved = Refusal::ThreadMoved {
        thread: f::thread("t"),
    };
    assert_eq!(world.refused(&taking(late)), moved);
}

#[test]
fn an_empty_one_makes_no_session() {
    let (mut world, _) = spoken();
    let empty = snapshot(&mut world, Vec::new());
    let refusal = Refusal::ThreadEmpty {
        thread: f::thread("t"),
    };
    assert_eq!(world.refused(&taking(empty)), refusal);
}

#[test]
fn what_the_engine_says_stands_but_for_a_users_title() {
    let (mut world, _) = spoken();
    let said = |title: &str| Said {
        title: Some(f::title(title)),
        model: "m".to_owned(),
        incomplete_turn: true,
        ..Said::default()
    };
    let first = Snapshot {
        said: said("engine's"),
        ..snapshot(&mut world, vec![f::user("a", "hello")])
    };
    world.done(&taking(first));
    let profile = &world.session("s").profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("engine's", TitleSource::Engine)
    );
    assert_eq!(
        (profile.setting.model.as_str(), profile.incomplete_turn),
        ("m", true)
    );
    let named = Snapshot {
        title: Some(f::title("mine")),
        ..snapshot(&mut world, Vec::new())
    };
    world.done(&taking(named));
    let again = Snapshot {
        said: said("engine's"),
        ..snapshot(&mut world, Vec::new())
    };
    world.done(&taking(again));
    let profile = &world.session("s").profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("mine", TitleSource::User)
    );
}

#[test]
fn a_save_writes_the_whole_turn_that_a_snapshot_caught() {
    let (mut world, epoch) = spoken();
    take(&mut world, vec![f::user("a", "hello")]);
    let items = Seq(world.thread("t").items);
    world.done(&starting("t", "u2", Some(epoch)));
    world.done(&adding(
        "t",
        "u2",
        vec![f::new_item("i2", Status::Completed)],
        Some(epoch),
    ));
    let midway = Snapshot {
        items,
        turn_start: Some(Seq(1)),
        ..snapshot(&mut world, vec![f::assistant("half")])
    };
    world.done(&taking(midway));
    assert_eq!(ids(&world), ["a", "half"]);
    world.done(&finishing("t", "u2", Status::Completed, Some(epoch)));
    let (thread, session) = (world.thread("t").clone(), world.session("s").clone());
    let plan = plan(&thread, Some(&session)).expect("it may be saved");
    assert_eq!((plan.after, plan.back_to), (items, Some(Seq(1))));
    let log = world.log();
    let save = Save {
        thread: thread.id.clone(),
        journal: thread.journal,
        change: thread.change,
        requested: None,
        fresh: f::session("s"),
        title: None,
        expected: None,
        from: Some(session.tip.clone()),
        cut: cut(&world, 1),
        written: Written::Inline {
            log,
            entries: vec![f::assistant("whole")],
        },
    };
    world.done(&f::to_session(SessionCommand::Save(Box::new(save))));
    assert_eq!(ids(&world), ["a", "whole"]);
    let mark = world.thread("t").mark(&f::session("s")).expect("it was saved");
    assert_eq!((mark.turn_start, mark.item), (None, Seq(world.thread("t").items)));
    assert!(
        world
            .past_heads
            .contains_key(&(f::session("s"), session.revision))
    );
}

#[test]
fn what_moved_since_the_reader_looked_is_refused() {
    let (mut world, _) = spoken();
    take(&mut world, vec![f::user("a", "hello")]);
    let late = Snapshot {
        from: Some(Tip {
            tally: Tally::default(),
            ..world.session("s").tip.clone()
        }),
        ..snapshot(&mut world, vec![f::assistant("b")])
    };
    let moved = Refusal::Moved {
        session: f::session("s"),
    };
    assert_eq!(world.refused(&taking(late)), moved);
}

#[test]
fn messages_of_sub_agents_are_not_the_main_agents() {
    let (mut world, _) = spoken();
    let entries = vec![
        f::user("a", "hello"),
        f::in_sub_session("b", Role::User, "inside"),
        f::in_sub_session("c", Role::Assistant, ""),
        f::assistant("d"),
        f::in_sub_session("e", Role::Assistant, ""),
    ];
    take(&mut world, entries);
    let tally = &world.session("s").tip.tally;
    assert_eq!((tally.messages, tally.main, tally.last_main), (5, 2, Seq(4)));
}
