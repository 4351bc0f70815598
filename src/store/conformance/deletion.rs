//! Deletion: soft with sub-sessions, restored as it was taken, at once by force, purged when due.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::proposal::{Deletion, SessionCommand, UpkeepCommand};
use crate::domain::session::{Archived, Draft, State};
use crate::domain::{Proposal, Refusal, Revision};
use crate::store::Chore;

use super::Backend;
use super::desk::{Desk, appending};
use super::receipts::deleting;

const SOFT: Deletion = Deletion::Soft {
    purge_after: Duration::from_secs(3_600),
};

async fn child(desk: &Desk, id: &str, parent: &str) {
    let draft = Draft {
        parent: Some(f::session(parent)),
        archived: if id == "archived" {
            Archived::Yes
        } else {
            Archived::No
        },
        ..Draft::default()
    };
    desk.create_as(id, draft).await;
}

fn undeleting(id: &str) -> Proposal {
    f::to_session(SessionCommand::Undelete { id: f::session(id) })
}

async fn state(desk: &Desk, id: &str) -> Option<State> {
    desk.found(id).await.map(|session| session.profile.state)
}

/// root > (child > (grandchild), archived), and a fork of root.
async fn family(desk: &Desk) {
    desk.create("root").await;
    desk.talk("root", "m", 2).await;
    child(desk, "child", "root").await;
    child(desk, "grandchild", "child").await;
    child(desk, "archived", "root").await;
    desk.fork("root", 2, "fork").await;
    desk.create("stranger").await;
}

pub(crate) async fn takes_sub_sessions_with_it(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    family(&desk).await;
    let before = desk.session("root").await;
    let committed = desk.done(deleting("root", SOFT)).await;
    let deleted = committed.session.expect("it still shows");
    let deletion = deleted.profile.deletion.as_ref().expect("it is deleted");
    assert_eq!(deletion.purge_time, desk.now().after(Duration::from_secs(3_600)));
    assert_eq!((deleted.revision, deletion.root.as_str()), (Revision(2), "root"));
    assert_ne!(deleted.etag(), before.etag());
    let desk = desk.restarted(backend).await;
    for id in ["root", "child", "grandchild", "archived"] {
        assert_eq!(state(&desk, id).await, Some(State::Deleted), "{id}");
        let refusal = desk.refused(appending(id, vec![f::event("e")])).await;
        let session = f::session(id);
        assert_eq!(refusal, Refusal::SessionDeleted { session });
    }
    for id in ["fork", "stranger"] {
        assert_eq!(state(&desk, id).await, Some(State::Active), "{id}");
    }
    assert_eq!(desk.ids("root").await, ["m0", "m1"]);
}

pub(crate) async fn restores_what_it_took(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    family(&desk).await;
    desk.done(deleting("child", SOFT)).await;
    let of_child = desk.session("grandchild").await.profile.deletion.clone();
    desk.done(deleting("root", SOFT)).await;
    assert_eq!(
        desk.session("grandchild").await.profile.deletion,
        of_child,
        "what was deleted already stays with its own deletion"
    );
    let desk = desk.restarted(backend).await;
    desk.done(undeleting("root")).await;
    assert_eq!(state(&desk, "root").await, Some(State::Active));
    assert_eq!(state(&desk, "archived").await, Some(State::Archived), "as it was");
    assert_eq!(state(&desk, "child").await, Some(State::Deleted));
    assert_eq!(state(&desk, "grandchild").await, Some(State::Deleted));
    desk.refused(undeleting("root")).await;
    desk.done(undeleting("grandchild")).await;
    assert_eq!(state(&desk, "child").await, Some(State::Deleted));
    desk.done(undeleting("child")).await;
    for id in ["root", "child", "grandchild", "archived"] {
        assert_eq!(desk.session(id).await.profile.deletion, None, "{id}");
        desk.append(id, vec![f::event("alive")]).await;
    }
    assert_eq!(desk.chores().await, []);
}

pub(crate) async fn force_removes_at_once(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    family(&desk).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    desk.save("t", vec![f::assistant("i")]).await;
    desk.done(deleting("child", SOFT)).await;
    desk.done(deleting("root", Deletion::Force)).await;
    desk.done(deleting("of-t", Deletion::Force)).await;
    let desk = desk.restarted(backend).await;
    for id in ["root", "child", "grandchild", "archived", "of-t"] {
        assert_eq!(desk.found(id).await, None, "{id}");
    }
    let thread = desk.thread("t").await;
    assert_eq!((thread.session.clone(), thread.marks.len()), (None, 0));
    assert_eq!(desk.items("t").await.len(), 1, "the thread lives on");
    assert_eq!(desk.ids("fork").await, ["m0", "m1"]);
    desk.done(deleting("stranger", SOFT)).await;
    desk.done(deleting("stranger", Deletion::Force)).await;
    assert_eq!(
        desk.found("stranger").await,
        None,
        "force is the way past the wait"
    );
}

pub(crate) async fn purges_when_due(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    family(&desk).await;
    desk.done(deleting("root", SOFT)).await;
    let purge = |id: &str| {
        f::to_upkeep(UpkeepCommand::Purge {
            session: f::session(id),
        })
    };
    desk.pass(Duration::from_secs(3_590));
    assert_eq!(desk.chores().await, []);
    desk.done(purge("root")).await;
    assert!(desk.found("root").await.is_some(), "it is not due");
    desk.pass(Duration::from_secs(60));
    let desk = desk.restarted(backend).await;
    let mut due = desk.chores().await;
    due.sort_by_key(|chore| format!("{chore:?}"));
    let expected = ["archived", "child", "grandchild", "root"];
    let expected = expected.map(|id| Chore::Purge(desk.ns.clone(), f::session(id)));
    assert_eq!(due, expected);
    let some = desk.store.chores(desk.now(), 2).await.expect("they can be read");
    assert_eq!(some.len(), 2, "no more than asked for");
    desk.done(undeleting("archived")).await;
    for id in ["archived", "root", "child", "grandchild", "nobody", "stranger"] {
        desk.done(purge(id)).await;
    }
    for (id, stands) in [
        ("archived", Some(State::Archived)),
        ("root", None),
        ("child", None),
        ("grandchild", None),
        ("fork", Some(State::Active)),
        ("stranger", Some(State::Active)),
    ] {
        assert_eq!(state(&desk, id).await, stands, "{id}");
    }
    assert_eq!(desk.ids("fork").await, ["m0", "m1"]);
    let archived = desk.session("archived").await;
    assert_eq!(
        archived.profile.parent,
        Some(f::session("root")),
        "a purged parent stays named"
    );
}

pub(crate) async fn a_name_is_free_after_the_purge(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_as("s", super::sessions::full_draft(None)).await;
    desk.talk("s", "m", 3).await;
    desk.done(deleting("s", SOFT)).await;
    let create = f::to_session(SessionCommand::Create {
        id: f::session("s"),
        log: desk.log(),
        draft: Box::default(),
    });
    desk.refused(create.clone()).await;
    desk.done(deleting("s", Deletion::Force)).await;
    desk.done(create).await;
    let made = desk.session("s").await;
    assert_eq!((made.revision, made.preview.as_str()), (Revision(1), ""));
    assert_eq!(made.profile.labels.len(), 0);
    assert_eq!(desk.ids("s").await, [""; 0]);
    desk.append("s", vec![f::event("m0")]).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.ids("s").await, ["m0"]);
}
