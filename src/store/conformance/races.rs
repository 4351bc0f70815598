//! Concurrent writers: one wins where only one may, and nobody's acknowledged write is lost.

use std::collections::BTreeSet;
use std::future::Future;

use tokio::task::JoinSet;

use crate::domain::fixture as f;
use crate::domain::proposal::SessionCommand;
use crate::domain::session::Draft;
use crate::domain::{Outcome, Proposal, Refusal, Revision, Seq};
use crate::store::{Committed, Error};

use super::Backend;
use super::desk::{Desk, appending, forked, starting};

/// Commits all proposals at once; the answers in the order of the proposals.
async fn at_once(desk: &Desk, proposals: Vec<Proposal>) -> Vec<Result<Committed, Error>> {
    let now = desk.now();
    let calls = proposals.into_iter().map(|proposal| {
        let store = desk.store.clone();
        async move { store.commit(proposal, now).await }
    });
    together(calls.collect()).await
}

/// Runs all futures as tasks; their outputs in the order of the futures.
async fn together<T: Send + 'static>(futures: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut tasks = JoinSet::new();
    for (at, future) in futures.into_iter().enumerate() {
        tasks.spawn(async move { (at, future.await) });
    }
    let mut outputs = tasks.join_all().await;
    outputs.sort_by_key(|(at, _)| *at);
    outputs.into_iter().map(|(_, output)| output).collect()
}

pub(crate) async fn one_writer_wins_a_revision(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    for round in 1..=5_u64 {
        let writers = (0..16).map(|writer| {
            f::to_session(SessionCommand::Append {
                id: f::session("s"),
                entries: vec![f::event(&format!("e-{round}-{writer}"))],
                expected: Some(Revision(round)),
            })
        });
        let answers = at_once(&desk, writers.collect()).await;
        let lost = Refusal::revision(&f::session("s"), Revision(round + 1));
        let losers = answers
            .iter()
            .filter(|answer| matches!(answer, Err(Error::Refused(refusal)) if *refusal == lost));
        assert_eq!(losers.count(), 15, "{answers:?}");
        let winner = answers
            .into_iter()
            .position(|answer| answer.is_ok())
            .expect("one wins");
        let ids = desk.ids("s").await;
        assert_eq!(
            ids.last().map(String::as_str),
            Some(&*format!("e-{round}-{winner}"))
        );
        assert_eq!(ids.len() as u64, round);
    }
}

pub(crate) async fn appends_to_one_session_are_dense(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let calls = (0..60).map(|call| {
        let entries = (0..=call % 3).map(|at| f::event(&format!("e-{call}-{at}")));
        appending("s", entries.collect())
    });
    let answers = at_once(&desk, calls.collect()).await;
    let desk = desk.restarted(backend).await;
    let entries = desk.entries("s").await;
    let seqs = entries.iter().map(|entry| entry.meta.seq.0);
    assert!(seqs.eq(1..=120));
    for (call, answer) in answers.into_iter().enumerate() {
        let Outcome::Appended {
            first, last, added, ..
        } = answer.expect("no rule against it").outcome
        else {
            panic!("an append");
        };
        assert_eq!(
            (added, last.0 - first.0 + 1),
            (call as u64 % 3 + 1, call as u64 % 3 + 1)
        );
        for (at, seq) in (first.0..=last.0).enumerate() {
            let entry = &entries[usize::try_from(seq).expect("small") - 1];
            assert_eq!(entry.meta.id.as_str(), format!("e-{call}-{at}"));
        }
    }
    let session = desk.session("s").await;
    assert_eq!((session.revision, session.tip.seq()), (Revision(61), Seq(120)));
}

pub(crate) async fn appends_to_many_sessions_are_dense(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let ids: Vec<String> = (0..12).map(|at| format!("s{at}")).collect();
    for id in &ids {
        desk.create(id).await;
    }
    let writers = ids.iter().map(|id| {
        let (store, now, id) = (desk.store.clone(), desk.now(), id.clone());
        async move {
            for at in 0..10 {
                let append = appending(
                    &id,
                    vec![f::event(&format!("e{at}")), f::event(&format!("f{at}"))],
                );
                store.commit(append, now).await.expect("no rule against it");
                let session = store.session(&f::namespace(), &f::session(&id)).await;
                let session = session.expect("it can be read").expect("it is there");
                assert_eq!(
                    session.tip.seq(),
                    Seq(2 * at + 2),
                    "a read after a commit sees it"
                );
            }
        }
    });
    together(writers.collect()).await;
    let desk = desk.restarted(backend).await;
    for id in &ids {
        let expected = (0..10).flat_map(|at| [format!("e{at}"), format!("f{at}")]);
        assert!(desk.ids(id).await.into_iter().eq(expected), "{id}");
    }
}

pub(crate) async fn concurrent_forks_get_their_own_numbers(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let draft = Draft {
        title: Some(f::title("Talk")),
        ..Draft::default()
    };
    desk.create_as("s", draft).await;
    desk.talk("s", "m", 4).await;
    let mut forks = Vec::new();
    for at in 0..32 {
        forks.push(forked(desk.forking("s", 2, &format!("f{at}")).await));
    }
    let answers = at_once(&desk, forks).await;
    let titles = answers
        .into_iter()
        .map(|answer| answer.expect("no rule against it").session);
    let titles: BTreeSet<String> = titles
        .map(|fork| fork.expect("it was forked").profile.title.clone())
        .collect();
    let expected: BTreeSet<String> = (1..=32).map(|number| format!("Talk (fork {number})")).collect();
    assert_eq!(titles, expected);
}

pub(crate) async fn a_concurrent_retry_waits_for_the_first(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    for round in 0..5 {
        let call = |at| {
            f::under(
                &format!("r{round}"),
                "call",
                appending("s", vec![f::event(&format!("e-{round}-{at}"))]),
            )
        };
        let answers = at_once(&desk, (0..16).map(call).collect()).await;
        let answers: Vec<Committed> = answers
            .into_iter()
            .map(|answer| answer.expect("the same call"))
            .collect();
        let first = answers.iter().filter(|answer| !answer.replayed);
        assert_eq!(first.count(), 1);
        assert!(answers.iter().all(|answer| answer.outcome == answers[0].outcome));
    }
    assert_eq!(desk.ids("s").await.len(), 5);
}

pub(crate) async fn one_turn_starts(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    let turns = (0..16).map(|at| starting("t", &format!("u{at}")));
    let answers = at_once(&desk, turns.collect()).await;
    let started: Vec<usize> = (0..16).filter(|at| answers[*at].is_ok()).collect();
    assert_eq!(started.len(), 1);
    let thread = desk.thread("t").await;
    assert_eq!(thread.active_turn, Some(f::turn(&format!("u{}", started[0]))));
    assert_eq!((thread.turns, thread.change), (1, 2));
}

pub(crate) async fn one_creation_wins(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let create = |_| {
        f::to_session(SessionCommand::Create {
            id: f::session("s"),
            log: desk.log(),
            draft: Box::default(),
        })
    };
    let answers = at_once(&desk, (0..16).map(create).collect()).await;
    let made = answers.into_iter().filter_map(Result::ok);
    let made: Vec<_> = made.filter_map(|committed| committed.session).collect();
    assert_eq!(made, [desk.session("s").await]);
}
