//! Several stores over one database, as replicas have it: commits of one thing are serial, whoever makes them.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::InSchema;
use crate::domain::fixture as f;
use crate::domain::outcome::More;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::session::Draft;
use crate::domain::{Outcome, Proposal, Revision, Seq};
use crate::store::conformance::Backend as _;
use crate::store::conformance::desk::{ALL, Desk, appending, forked, starting};
use crate::store::{Changes, Committed, Error, Observer, Store};

/// How long something may take that another replica has to hear of.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

/// Two stores over one schema, and a desk at the first.
async fn two(schema: &InSchema) -> (Desk, Arc<dyn Store>) {
    let desk = Desk::at(schema).await;
    (desk, schema.open().await)
}

/// Commits all proposals at once, by turns on the one store and on the other.
async fn at_once(
    desk: &Desk,
    other: &Arc<dyn Store>,
    proposals: Vec<Proposal>,
) -> Vec<Result<Committed, Error>> {
    let stores = [desk.store.clone(), other.clone()];
    let now = desk.now();
    let calls = proposals.into_iter().enumerate().map(|(at, proposal)| {
        let store = stores[at % 2].clone();
        async move { store.commit(proposal, now).await }
    });
    join_all(calls).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writer_wins_a_revision() {
    let schema = InSchema::new().await;
    let (desk, other) = two(&schema).await;
    desk.create("s").await;
    for round in 1..=20_u64 {
        let writer = |writer| {
            f::to_session(SessionCommand::Append {
                id: f::session("s"),
                entries: vec![f::event(&format!("e-{round}-{writer}"))],
                expected: Some(Revision(round)),
            })
        };
        let answers = at_once(&desk, &other, (0..6).map(writer).collect()).await;
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(won, 1, "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|answer| !matches!(answer, Err(Error::Unavailable { .. }))),
            "{answers:?}"
        );
    }
    assert_eq!(desk.session("s").await.tip.seq(), Seq(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_dense_and_retries_are_found() {
    let schema = InSchema::new().await;
    let (desk, other) = two(&schema).await;
    desk.create("s").await;
    let call = |at: usize| {
        let append = appending("s", vec![f::event(&format!("e{at}"))]);
        f::under(&format!("r{}", at / 4), "call", append)
    };
    let answers = at_once(&desk, &other, (0..80).map(call).collect()).await;
    let first = answers
        .into_iter()
        .map(|answer| answer.expect("the same call"))
        .filter(|answer| !answer.replayed);
    assert_eq!(first.count(), 20, "one of each request_id");
    let seqs = desk.entries("s").await.into_iter().map(|entry| entry.meta.seq.0);
    assert!(seqs.eq(1..=20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_get_their_own_numbers_and_one_turn_starts() {
    let schema = InSchema::new().await;
    let (desk, other) = two(&schema).await;
    let draft = Draft {
        title: Some(f::title("Talk")),
        ..Draft::default()
    };
    desk.create_as("s", draft).await;
    desk.talk("s", "m", 4).await;
    let mut forks = Vec::new();
    for at in 0..24 {
        forks.push(forked(desk.forking("s", 2, &format!("f{at}")).await));
    }
    let answers = at_once(&desk, &other, forks).await;
    let titles = answers
        .into_iter()
        .map(|answer| answer.expect("no rule against it").session);
    let titles: BTreeSet<String> = titles
        .map(|fork| fork.expect("it was forked").profile.title.clone())
        .collect();
    assert_eq!(titles.len(), 24);
    desk.create_thread("t").await;
    let turns = (0..10).map(|at| starting("t", &format!("u{at}"))).collect();
    let answers = at_once(&desk, &other, turns).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

/// A sub-session is made under the deletion or not at all: none is left below a parent that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn families_go_as_a_whole() {
    let schema = InSchema::new().await;
    let (desk, other) = two(&schema).await;
    for round in 0..10 {
        let parent = format!("p{round}");
        desk.create(&parent).await;
        let below = |id: String, parent: String| {
            let draft = Draft {
                parent: Some(f::session(&parent)),
                ..Draft::default()
            };
            f::to_session(SessionCommand::Create {
                id: f::session(&id),
                log: desk.log(),
                draft: Box::new(draft),
            })
        };
        let child = format!("c{round}");
        desk.done(below(child.clone(), parent.clone())).await;
        let delete = f::to_session(SessionCommand::Delete {
            id: f::session(&parent),
            mode: Deletion::Force,
            etag: None,
        });
        let mut proposals: Vec<Proposal> = (0..4)
            .map(|at| below(format!("g{round}-{at}"), child.clone()))
            .collect();
        proposals.insert(2, delete);
        let answers = at_once(&desk, &other, proposals).await;
        assert!(answers[2].is_ok(), "{answers:?}");
        for at in 0..4 {
            let id = format!("g{round}-{at}");
            assert!(desk.found(&id).await.is_none(), "{id} is below nobody");
        }
    }
}

/// The names of sessions that somebody was told of.
#[derive(Debug, Default)]
struct Told(Mutex<HashSet<String>>);

impl Observer for Told {
    fn committed(&self, changes: &Changes) {
        let mut told = self.0.lock().expect("no panic");
        told.extend(
            changes
                .sessions
                .iter()
                .map(|session| format!("{}@{}", session.id, session.revision)),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_commits_the_other_hears_and_one_of_them_indexes() {
    let schema = InSchema::new().await;
    let (desk, other) = two(&schema).await;
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = told.clone();
    other.observe(&observer);
    desk.create("s").await;
    let start = tokio::time::Instant::now();
    // The other one may not listen yet: whatever it misses, it hears of what comes later.
    let mut count = 0;
    while told.0.lock().expect("no panic").is_empty() {
        count += 1;
        desk.append("s", vec![f::user(&format!("m{count}"), "word")])
            .await;
        assert!(start.elapsed() < DEADLINE, "nothing is heard");
        tokio::task::yield_now().await;
    }
    let lack = desk.store.lack(ALL).await.expect("it can be told");
    assert!(!lack.logs.is_empty(), "this one keeps the index");
    let of_other = other.lack(ALL).await.expect("it can be told");
    assert_eq!((of_other.logs.len(), of_other.more), (0, More::Done));
    desk.store.close().await;
    let taken_over = other.lack(ALL).await.expect("it can be told");
    assert!(!taken_over.logs.is_empty(), "the other one keeps it then");
    let session = other.session(&desk.ns, &f::session("s")).await;
    let session = session.expect("it can be read").expect("it is there");
    assert_eq!(session.tip.seq(), Seq(count));
    assert!(matches!(
        other
            .commit(appending("s", vec![f::event("e")]), desk.now())
            .await,
        Ok(Committed {
            outcome: Outcome::Appended { .. },
            ..
        })
    ));
}
