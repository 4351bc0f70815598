//! A fork shares what lies before its cut, for nothing, and neither side ever sees what the other adds.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::session::{Change, Draft};
use crate::domain::{Refusal, Revision, Seq};

use super::Backend;
use super::desk::{Desk, appending, forked};
use super::receipts::deleting;
use super::sessions::updating;

pub(crate) async fn share_and_never_show_later_changes(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    desk.talk("a", "m", 6).await;
    let whole = desk.entries("a").await;
    let fork = desk.fork("a", 4, "b").await;
    assert_eq!((fork.revision, fork.tip.seq()), (Revision(1), Seq(4)));
    assert_eq!(fork.preview, "m asks 2", "the last user text before the cut");
    let origin = fork.profile.origin.as_ref().expect("it is a fork");
    assert_eq!((origin.entry_seq, origin.message_count, origin.depth), (4, 4, 1));
    assert_eq!(
        desk.entries("b").await,
        whole[..4],
        "ids, seqs and times are kept"
    );
    desk.append("a", vec![f::user("later", "on the source")]).await;
    desk.append("b", vec![f::user("m4", "its own fifth")]).await;
    assert_eq!(desk.ids("a").await, ["m0", "m1", "m2", "m3", "m4", "m5", "later"]);
    assert_eq!(desk.ids("b").await, ["m0", "m1", "m2", "m3", "m4"]);
    assert_ne!(desk.entries("b").await[4], whole[4]);
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.entries("a").await[..6], whole);
    desk.done(deleting("a", Deletion::Force)).await;
    assert_eq!(
        desk.entries("b").await[..4],
        whole[..4],
        "a deletion never touches a fork"
    );
}

pub(crate) async fn at_the_start_and_the_ends(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    desk.fork("a", 0, "of-nothing").await;
    desk.talk("a", "a", 3).await;
    for (source, cut, id) in [
        ("a", 0, "at-0"),
        ("a", 3, "at-end"),
        ("at-end", 3, "of-empty-own-log"),
        ("of-empty-own-log", 2, "inside-inherited"),
        ("inside-inherited", 2, "again"),
        ("at-0", 0, "nothing-again"),
        ("of-nothing", 0, "of-nothing-again"),
    ] {
        let fork = desk.fork(source, cut, id).await;
        assert_eq!(fork.tip.seq(), Seq(cut));
    }
    let desk = desk.restarted(backend).await;
    for (id, kept) in [
        ("of-nothing", 0),
        ("at-0", 0),
        ("at-end", 3),
        ("of-empty-own-log", 3),
        ("inside-inherited", 2),
        ("again", 2),
        ("nothing-again", 0),
        ("of-nothing-again", 0),
    ] {
        desk.append(id, vec![f::event("own"), f::event("a0")]).await;
        let mut expected: Vec<&str> = ["a0", "a1", "a2"][..kept].to_vec();
        expected.push("own");
        if kept == 0 {
            expected.push("a0");
        }
        assert_eq!(desk.ids(id).await, expected, "{id}");
    }
    assert_eq!(desk.ids("a").await, ["a0", "a1", "a2"]);
}

pub(crate) async fn of_forks_of_forks(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let mut plain = vec![vec!["m0".to_owned(), "m1".to_owned()]];
    desk.create("s0").await;
    desk.talk("s0", "m", 2).await;
    for depth in 1..70_usize {
        let (source, id) = (format!("s{}", depth - 1), format!("s{depth}"));
        let cut = plain[depth - 1].len() - usize::from(depth % 3 == 0);
        desk.fork(&source, cut as u64, &id).await;
        let own = format!("e{depth}");
        desk.append(&id, vec![f::event(&own)]).await;
        let mut copy = plain[depth - 1][..cut].to_vec();
        copy.push(own);
        plain.push(copy);
    }
    let desk = desk.restarted(backend).await;
    for (depth, expected) in plain.iter().enumerate() {
        assert_eq!(
            desk.ids(&format!("s{depth}")).await,
            *expected,
            "at depth {depth}"
        );
    }
    let last = desk.session("s69").await;
    let origin = last.profile.origin.as_ref().expect("it is a fork");
    assert_eq!((origin.depth, origin.root.as_str()), (69, "s0"));
}

async fn titled(desk: &Desk, id: &str, title: &str) {
    let draft = Draft {
        title: Some(f::title(title)),
        ..Draft::default()
    };
    desk.create_as(id, draft).await;
}

async fn fork_title(desk: &Desk, source: &str, id: &str) -> String {
    desk.fork(source, 0, id).await.profile.title.clone()
}

pub(crate) async fn numbers(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    titled(&desk, "a", "My Session").await;
    assert_eq!(fork_title(&desk, "a", "a1").await, "My Session (fork 1)");
    assert_eq!(fork_title(&desk, "a1", "a2").await, "My Session (fork 2)");
    titled(&desk, "a5", "My Session (fork 5)").await;
    assert_eq!(fork_title(&desk, "a", "a6").await, "My Session (fork 6)");
    titled(&desk, "b", "B (fork 99)").await;
    assert_eq!(fork_title(&desk, "b", "b100").await, "B (fork 100)");
    titled(&desk, "c", "My Session (branched)").await;
    assert_eq!(
        fork_title(&desk, "c", "c1").await,
        "My Session (branched) (fork 1)"
    );
    titled(&desk, "d", "A (fork 2) B").await;
    assert_eq!(fork_title(&desk, "d", "d1").await, "A (fork 2) B (fork 1)");
    for (id, title) in [("e1", "E (fork 1)"), ("e2", "E (fork 2)"), ("e3", "E (fork 3)")] {
        titled(&desk, id, title).await;
    }
    assert_eq!(fork_title(&desk, "e2", "e4").await, "E (fork 4)");
    let soft = Deletion::Soft {
        purge_after: Duration::from_secs(60),
    };
    desk.done(deleting("e4", soft)).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(
        fork_title(&desk, "e2", "e5").await,
        "E (fork 5)",
        "deleted ones count"
    );
    desk.done(deleting("e5", Deletion::Force)).await;
    assert_eq!(
        fork_title(&desk, "e2", "e5").await,
        "E (fork 5)",
        "purged ones are gone"
    );
    let renamed = Change {
        title: Some(Some(f::title("Something else"))),
        ..Change::default()
    };
    desk.done(updating("e5", renamed, None)).await;
    assert_eq!(
        fork_title(&desk, "e1", "e6").await,
        "E (fork 5)",
        "a title that is gone does not count"
    );
    desk.create("untitled").await;
    assert_eq!(
        fork_title(&desk, "untitled", "u1").await,
        "",
        "no title, no fork title"
    );
    titled(&desk, "case", "my session").await;
    assert_eq!(fork_title(&desk, "case", "case1").await, "my session (fork 1)");
    titled(&desk, "tab", "My Session  (fork 7)").await;
    assert_eq!(
        fork_title(&desk, "a", "a8").await,
        "My Session (fork 8)",
        "the same base"
    );
    titled(&desk, "bare", "(fork 3)").await;
    assert_eq!(fork_title(&desk, "bare", "bare4").await, "(fork 4)");
}

pub(crate) async fn huge_numbers(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for (id, number) in [
        ("a", "18446744073709551615"),
        ("b", "9223372036854775807"),
        ("c", "9223372036854775808"),
        ("d", "99999999999999999999999999"),
        ("e", "000000000000000000000000007"),
    ] {
        titled(&desk, id, &format!("{id} (fork {number})")).await;
        let title = fork_title(&desk, id, &format!("{id}-fork")).await;
        assert_ne!(title, desk.session(id).await.profile.title);
        assert!(title.chars().count() <= 200);
    }
    assert_eq!(desk.session("e-fork").await.profile.title, "e (fork 8)");
}

pub(crate) async fn shortened_bases(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let long = "é".repeat(200);
    titled(&desk, "a", &long).await;
    let mut source = "a".to_owned();
    for number in 1..=11 {
        let id = format!("a{number}");
        let title = fork_title(&desk, &source, &id).await;
        assert!(title.ends_with(&format!(" (fork {number})")), "{title}");
        assert!(title.chars().count() <= 200);
        if number % 2 == 0 {
            source = id;
        }
    }
    assert_eq!(desk.session("a11").await.profile.title.chars().count(), 200);
}

pub(crate) async fn moved_sources_are_refused(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    desk.talk("a", "m", 4).await;
    let moved = Refusal::Moved {
        session: f::session("a"),
    };
    let mut fork = desk.forking("a", 2, "b").await;
    desk.append("a", vec![f::event("more")]).await;
    desk.done(forked(fork.clone())).await;
    fork.id = f::session("c");
    fork.log = desk.log();
    fork.source_log = desk.log();
    assert_eq!(desk.refused(forked(fork)).await, moved);
    let mut fork = desk.forking("a", 5, "d").await;
    fork.cut.entries = 6;
    assert_eq!(desk.refused(forked(fork.clone())).await, moved);
    desk.done(deleting("a", Deletion::Force)).await;
    desk.create("a").await;
    desk.append("a", vec![f::event("m0")]).await;
    fork.cut.entries = 1;
    assert_eq!(
        desk.refused(forked(fork)).await,
        moved,
        "another session of that name"
    );
    desk.done(deleting(
        "b",
        Deletion::Soft {
            purge_after: Duration::ZERO,
        },
    ))
    .await;
    let fork = desk.forking("b", 2, "e").await;
    let deleted = Refusal::SessionDeleted {
        session: f::session("b"),
    };
    assert_eq!(desk.refused(forked(fork)).await, deleted);
    desk.done(f::to_session(SessionCommand::Undelete { id: f::session("b") }))
        .await;
    desk.done(appending("b", vec![f::event("alive")])).await;
}
