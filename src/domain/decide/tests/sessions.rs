//! Freshness, deletion, archiving: who may write to a session, and what of it a write changes.

use std::time::Duration;

use super::world::{World, appending, deleting, updating};
use crate::domain::limits::CASCADE_SESSIONS_MAX;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::session::{Archived, Change, Draft, Etag, State};
use crate::domain::{Effect, Noun, Outcome, Proposal, Refusal, Revision, Seq, Session, fixture as f};

const SOFT: Deletion = Deletion::Soft {
    purge_after: Duration::from_secs(60),
};

fn star(starred: bool) -> Change {
    Change {
        starred: Some(starred),
        ..Change::default()
    }
}

fn undeleting(id: &str) -> Proposal {
    f::to_session(SessionCommand::Undelete { id: f::session(id) })
}

#[test]
fn the_revision_grows_with_the_log_and_the_etag_with_everything() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let steps: [(Proposal, u64, bool); 8] = [
        (appending("s", vec![f::event("a")], None), 1, true),
        (appending("s", vec![f::event("a")], None), 0, false),
        (
            appending("s", vec![f::event("b"), f::event("c")], Some(2)),
            1,
            true,
        ),
        (updating("s", star(true), None), 0, true),
        (updating("s", star(true), None), 0, false),
        (updating("s", Change::default(), None), 0, false),
        (deleting("s", SOFT, None), 0, true),
        (undeleting("s"), 0, true),
    ];
    for (proposal, revisions, changes) in steps {
        let before = world.session("s").clone();
        world.done(&proposal);
        let after = world.session("s");
        assert_eq!(after.revision.0 - before.revision.0, revisions, "{proposal:?}");
        assert_eq!(after.etag() != before.etag(), changes, "{proposal:?}");
        assert_eq!(after.update_time > before.update_time, changes, "{proposal:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_turns_no_time_back() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let before = world.session("s").update_time;
    world.now = world.now.before(Duration::from_secs(3_600));
    world.append("s", vec![f::event("a")]);
    assert_eq!(world.session("s").update_time, before);
}

#[test]
fn stale_writers_lose() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let etag = world.session("s").etag();
    world.append("s", vec![f::event("a")]);
    let current = world.session("s").etag();
    let mismatch = Refusal::EtagMismatch {
        session: f::session("s"),
        current: current.clone(),
    };
    assert_eq!(
        world.refused(&updating("s", star(true), Some(etag.clone()))),
        mismatch
    );
    assert_eq!(world.refused(&deleting("s", SOFT, Some(etag.clone()))), mismatch);
    assert_eq!(
        world.refused(&deleting("s", Deletion::Force, Some(etag))),
        mismatch
    );
    for stale in [1, 3, u64::MAX] {
        let refusal = world.refused(&appending("s", vec![f::event("b")], Some(stale)));
        assert_eq!(refusal, Refusal::revision(&f::session("s"), Revision(2)));
    }
    world.done(&updating("s", star(true), Some(current)));
    let garbage = Some(Etag("garbage".to_owned()));
    assert!(matches!(
        world.refused(&updating("s", star(false), garbage)),
        Refusal::EtagMismatch { .. }
    ));
}

#[test]
fn a_deleted_session_takes_no_write_but_two() {
    let mut world = World::new();
    world.titled("s", "Talk");
    world.append("s", vec![f::user("a", "hello")]);
    world.done(&deleting("s", SOFT, None));
    let deleted = Refusal::SessionDeleted {
        session: f::session("s"),
    };
    let fork = SessionCommand::Fork(Box::new(world.forking("s", 0, "fork")));
    let child = SessionCommand::Create {
        id: f::session("child"),
        log: world.log(),
        draft: Box::new(Draft {
            parent: Some(f::session("s")),
            ..Draft::default()
        }),
    };
    for write in [
        appending("s", vec![f::event("b")], None),
        appending("s", vec![f::user("a", "known")], None),
        updating("s", star(true), None),
        updating("s", Change::default(), None),
        deleting("s", SOFT, None),
        f::to_session(fork),
        f::to_session(child),
    ] {
        assert_eq!(world.refused(&write), deleted, "{write:?}");
    }
    let create = SessionCommand::Create {
        id: f::session("s"),
        log: world.log(),
        draft: Box::default(),
    };
    let taken = Refusal::AlreadyExists {
        noun: Noun::Session,
        id: "s".to_owned(),
    };
    assert_eq!(world.refused(&f::to_session(create)), taken, "its id stays taken");
    world.done(&undeleting("s"));
    world.append("s", vec![f::event("b")]);
    world.done(&deleting("s", SOFT, None));
    world.done(&deleting("s", Deletion::Force, None));
    assert!(world.sessions.is_empty());
}

#[test]
fn an_archived_session_takes_writes_and_stays_archived() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let archived = |archived| Change {
        archived: Some(archived),
        ..Change::default()
    };
    world.done(&updating("s", archived(Archived::Yes), None));
    let since = world.now;
    let state = |session: &Session| (session.profile.state, session.profile.archive_time);
    world.append("s", vec![f::user("a", "hello")]);
    world.done(&updating("s", star(true), None));
    world.done(&updating("s", archived(Archived::Yes), None));
    world.fork("s", 1, "fork");
    assert_eq!(state(world.session("s")), (State::Archived, Some(since)));
    assert_eq!(state(world.session("fork")), (State::Active, None));
    world.done(&deleting("s", SOFT, None));
    world.done(&undeleting("s"));
    assert_eq!(
        state(world.session("s")),
        (State::Archived, Some(since)),
        "as it was"
    );
    world.done(&updating("s", archived(Archived::No), None));
    assert_eq!(state(world.session("s")), (State::Active, None));
}

#[test]
fn restoring_what_is_not_deleted_is_refused() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let stands = Refusal::AlreadyExists {
        noun: Noun::Session,
        id: "s".to_owned(),
    };
    assert_eq!(world.refused(&undeleting("s")), stands);
}

#[test]
fn a_deletion_has_a_limit() {
    let mut world = World::new();
    world.titled("root", "Talk");
    let root = world.sessions[&f::session("root")].clone();
    for at in 0..=CASCADE_SESSIONS_MAX {
        let mut child = Session::clone(&root);
        child.id = f::session(&format!("c{at}"));
        let mut profile = crate::domain::session::Profile::clone(&child.profile);
        profile.parent = Some(root.id.clone());
        child.profile = profile.into();
        world.sessions.insert(child.id.clone(), child.into());
    }
    for mode in [SOFT, Deletion::Force] {
        let refusal = world.refused(&deleting("root", mode, None));
        let Refusal::Invalid(invalid) = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(
            invalid.limit.map(|(_, max)| max),
            Some(CASCADE_SESSIONS_MAX as u64)
        );
    }
}

#[test]
fn an_append_says_where_everything_lies() {
    let mut world = World::new();
    world.titled("s", "Talk");
    let e = |id: &str| f::event(id);
    for (given, first, last, added) in [
        (vec![e("a"), e("b"), e("c")], 1, 3, 3),
        (vec![e("b")], 2, 2, 0),
        (vec![e("d"), e("a"), e("d")], 1, 4, 1),
        (vec![e("x"), e("y"), e("x"), e("z")], 5, 7, 3),
    ] {
        let outcome = Outcome::Appended {
            session: f::session("s"),
            first: Seq(first),
            last: Seq(last),
            added,
        };
        assert_eq!(world.append("s", given).outcome, outcome);
    }
    let refusal = world.refused(&appending("s", Vec::new(), None));
    assert!(matches!(refusal, Refusal::Invalid(_)), "nothing has no place");
}

#[test]
fn an_append_writes_the_profile_only_where_it_changes() {
    let mut world = World::new();
    world.create("s", Draft::default());
    let effects = world.append("s", vec![f::user("a", "Hi")]).effects;
    assert!(
        matches!(effects[..], [Effect::Append(_), Effect::PutSession(_)]),
        "a title was derived"
    );
    let effects = world.append("s", vec![f::user("b", "there")]).effects;
    assert!(matches!(effects[..], [Effect::Append(_), Effect::MoveHead(_)]));
    assert_eq!(world.session("s").preview, "there");
}
