//! Policies, carried out by rounds.

use super::*;
use crate::domain::limits::PRUNE_SESSIONS_MAX;
use crate::domain::retention::{Policies, Policy};
use crate::domain::session::{Change, State};
use crate::domain::{Limits, fixture as f};
use crate::service::Service;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A bench whose upkeep sees to these policies, at most once an hour.
fn keeping(policies: Policies) -> Bench {
    keeping_at(policies, [20, 200])
}

/// The same, with so many commits a round that take something, and in all.
fn keeping_at(policies: Policies, pace: [usize; 2]) -> Bench {
    let bench = Bench::new();
    let ids = Arc::new(TimeOrderedIds);
    let service = Service::new(bench.store.clone(), bench.clock.clone(), ids, Limits::default());
    let retention = Retention::new(service, policies, HOUR).at_pace(pace);
    Bench {
        upkeep: bench.upkeep.clone().with_retention(retention),
        ..bench
    }
}

fn for_all(default: Policy) -> Policies {
    Policies {
        default,
        ..Policies::default()
    }
}

impl Bench {
    /// A round of policies.
    async fn retain(&self) {
        self.upkeep.retain(&CancellationToken::new()).await;
    }

    async fn state(&self, id: &str) -> Option<State> {
        let session = self.session(&session_id(id)).await;
        session.map(|session| session.profile.state)
    }

    /// A session in which a user speaks.
    async fn spoken(&self, id: &str) {
        let session = self.create(id, None).await;
        let entries = vec![f::user("m", "hello")];
        let (id, expected) = (session.id.clone(), None);
        let append = SessionCommand::Append {
            id,
            entries,
            expected,
        };
        self.commit(None, append).await;
    }

    async fn change(&self, id: &str, change: Change) {
        let update = SessionCommand::Update {
            id: session_id(id),
            change: Box::new(change),
            etag: None,
        };
        self.commit(None, update).await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_ones_are_archived_and_deleted_later() {
    let policy = Policy {
        max_age: Some(10 * DAY),
        archive_first: true,
        delete_archived_after: Some(20 * DAY),
        ..Policy::default()
    };
    let bench = keeping(for_all(policy));
    for id in ["old", "starred", "touched"] {
        bench.create(id, None).await;
    }
    let starred = Some(true);
    bench
        .change(
            "starred",
            Change {
                starred,
                ..Change::default()
            },
        )
        .await;
    bench.clock.forward(9 * DAY);
    bench.spoken("young").await;
    let touched = bench.session(&session_id("touched")).await.expect("there");
    bench.append(&touched, 1).await;
    bench.clock.forward(2 * DAY);
    bench.retain().await;
    for (id, state) in [
        ("old", State::Archived),
        ("starred", State::Active),
        ("touched", State::Active),
        ("young", State::Active),
    ] {
        assert_eq!(bench.state(id).await, Some(state), "{id}");
    }
    bench.clock.forward(20 * DAY);
    tokio::time::advance(HOUR).await;
    bench.retain().await;
    assert_eq!(bench.state("old").await, Some(State::Archived), "not yet");
    assert_eq!(bench.state("young").await, Some(State::Archived));
    bench.clock.forward(DAY);
    tokio::time::advance(HOUR).await;
    bench.retain().await;
    assert_eq!(bench.state("old").await, Some(State::Deleted));
    assert_eq!(bench.state("young").await, Some(State::Archived));
    assert_eq!(bench.state("starred").await, Some(State::Active));
    bench.clock.forward(30 * DAY);
    bench.round().await;
    assert_eq!(bench.state("old").await, None, "purged as what is deleted");
}

#[tokio::test]
async fn each_namespace_has_its_policy_and_most_have_none() {
    let (ns, keep) = (f::namespace(), Some(1));
    let own = Policy {
        keep_per_workspace: keep,
        ..Policy::default()
    };
    let other = crate::domain::Namespace::parse("other").expect("valid");
    for (namespaces, state) in [
        ([(ns, own.clone())].into(), State::Deleted),
        ([(other, own)].into(), State::Active),
    ] {
        let bench = keeping(Policies {
            default: Policy::default(),
            namespaces,
        });
        for id in ["a", "b"] {
            bench.spoken(id).await;
            bench.clock.forward(HOUR);
        }
        bench.create("silent", None).await;
        bench.retain().await;
        assert_eq!(bench.state("a").await, Some(state));
        for id in ["b", "silent"] {
            assert_eq!(bench.state(id).await, Some(State::Active), "{id}");
        }
    }
}

#[tokio::test]
async fn a_round_does_a_bounded_part_and_the_next_goes_on() {
    let policy = Policy {
        max_age: Some(DAY),
        archive_first: true,
        ..Policy::default()
    };
    let bench = keeping(for_all(policy));
    let count = 25 * PRUNE_SESSIONS_MAX;
    for at in 0..count {
        bench.create(&format!("s{at}"), None).await;
    }
    bench.clock.forward(2 * DAY);
    let archived = async || {
        let mut archived = 0;
        for at in 0..count {
            archived += usize::from(bench.state(&format!("s{at}")).await == Some(State::Archived));
        }
        archived
    };
    bench.retain().await;
    assert_eq!(archived().await, 20 * PRUNE_SESSIONS_MAX);
    bench.retain().await;
    assert_eq!(archived().await, count);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_done_is_not_begun_again_before_its_time() {
    let policy = Policy {
        max_age: Some(HOUR / 6),
        ..Policy::default()
    };
    let bench = keeping(for_all(policy));
    bench.create("s", None).await;
    bench.retain().await;
    bench.clock.forward(HOUR / 2);
    tokio::time::advance(HOUR / 2).await;
    bench.retain().await;
    assert_eq!(bench.state("s").await, Some(State::Active));
    // Whatever becomes of the clock that people set.
    bench.clock.forward(10 * DAY);
    bench.retain().await;
    assert_eq!(bench.state("s").await, Some(State::Active));
    tokio::time::advance(HOUR / 2).await;
    bench.retain().await;
    assert_eq!(bench.state("s").await, Some(State::Deleted));
}

/// Parents that stay for a starred part of theirs are met first, round after round.
#[tokio::test]
async fn what_may_not_go_does_not_keep_what_comes_after_it() {
    let policy = Policy {
        max_age: Some(DAY),
        delete_archived_after: Some(DAY),
        ..Policy::default()
    };
    let bench = keeping_at(for_all(policy), [20, 2]);
    bench.create("put-away", None).await;
    let archived = Some(crate::domain::session::Archived::Yes);
    let change = Change {
        archived,
        ..Change::default()
    };
    bench.change("put-away", change).await;
    bench.create("behind", None).await;
    bench.clock.forward(HOUR);
    for at in 0..5 * PRUNE_SESSIONS_MAX {
        let parent = format!("p{at}");
        bench.create(&parent, None).await;
        bench.starred_part(&parent, &format!("of-{parent}")).await;
    }
    bench.clock.forward(2 * DAY);
    for _ in 0..6 {
        bench.retain().await;
    }
    assert_eq!(bench.state("behind").await, Some(State::Deleted));
    assert_eq!(bench.state("put-away").await, Some(State::Deleted));
    assert_eq!(bench.state("p0").await, Some(State::Active));
}

/// A part that was updated last is found first.
#[tokio::test]
async fn a_part_goes_with_its_parent_and_comes_back_with_it() {
    let policy = Policy {
        max_age: Some(DAY),
        ..Policy::default()
    };
    let bench = keeping(for_all(policy));
    bench.create("parent", None).await;
    bench.clock.forward(HOUR);
    // They fill a commit between the two.
    for at in 0..PRUNE_SESSIONS_MAX + 10 {
        bench.create(&format!("s{at}"), None).await;
    }
    bench.clock.forward(HOUR);
    bench.part("parent", "part").await;
    bench.clock.forward(2 * DAY);
    bench.retain().await;
    assert_eq!(bench.state("part").await, Some(State::Deleted));
    let id = session_id("parent");
    bench.commit(None, SessionCommand::Undelete { id }).await;
    for id in ["parent", "part"] {
        assert_eq!(bench.state(id).await, Some(State::Active), "{id}");
    }
}

impl Bench {
    async fn part(&self, parent: &str, id: &str) {
        let draft = session::Draft {
            parent: Some(session_id(parent)),
            ..session::Draft::default()
        };
        let (id, log) = (session_id(id), LogId(Uuid::now_v7()));
        let draft = Box::new(draft);
        self.commit(None, SessionCommand::Create { id, log, draft }).await;
    }

    async fn starred_part(&self, parent: &str, id: &str) {
        self.part(parent, id).await;
        let starred = Some(true);
        let change = Change {
            starred,
            ..Change::default()
        };
        self.change(id, change).await;
    }
}
