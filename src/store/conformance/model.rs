//! Thousands of random commands, here and on the memory store: every answer has to be the same, and from
//! time to time everything that can be read.
//!
//! The seed is printed; `SESSIOND_SEED` sets it. A run ends after some seconds, wherever it is.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::domain::fixture as f;
use crate::domain::fork::Count;
use crate::domain::query::{Bound, Order, Sessions};
use crate::domain::{Namespace, Proposal, Session, Time};
use crate::store::copy::copy;
use crate::store::memory::Memory;
use crate::store::{Committed, Error, Store};

use super::Backend;
use super::copies::moved;
use super::desk::ALL;
use super::lists::{naive, paged, questions};
use super::picture::{Picture, chores};

use dice::Dice;
use script::Script;
pub(super) use script::doing;

pub(super) mod dice;
mod script;
mod search;

/// A run that takes longer is cut short.
const RUN_MAX: Duration = Duration::from_secs(4);

/// One command after another.
pub(crate) async fn agrees_with_memory(backend: &impl Backend) {
    Run::new(backend, 1).await.go(backend, 1_500).await;
}

/// Commands in several namespaces at once: they cannot meet, so their order does not matter.
pub(crate) async fn agrees_with_memory_under_load(backend: &impl Backend) {
    Run::new(backend, 8).await.go(backend, 300).await;
}

/// The same, but half-way everything is copied into an empty place, and goes on there.
pub(crate) async fn agrees_with_memory_after_moving(backend: &impl Backend) {
    let mut run = Run::new(backend, 2).await;
    run.rounds(0..400).await;
    let there = backend.another().await;
    run.store = moved(&*run.store, &there, run.now).await;
    let memory = Memory::default();
    let copied = copy(&run.memory, &memory, run.now, &mut |_| {}).await;
    copied.expect("it is copied");
    run.memory = memory;
    run.compare(400).await;
    run.rounds(400..800).await;
    run.end(&there, 800).await;
}

struct Run {
    store: Arc<dyn Store>,
    memory: Memory,
    scripts: Vec<Script>,
    dice: Dice,
    now: Time,
}

impl Run {
    async fn new(backend: &impl Backend, namespaces: u64) -> Self {
        let seed = std::env::var("SESSIOND_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u64>);
        println!("SESSIOND_SEED={seed}");
        let script = |at: u64| {
            let ns = Namespace::parse(&format!("ns{at}")).expect("valid");
            Script::new(ns, Dice::new(seed.wrapping_add(at + 1)))
        };
        Self {
            store: backend.open().await,
            memory: Memory::default(),
            scripts: (0..namespaces).map(script).collect(),
            dice: Dice::new(seed),
            now: f::NEW_YEAR,
        }
    }

    async fn go(mut self, backend: &impl Backend, rounds: usize) {
        let half = rounds / 2;
        self.rounds(0..half).await;
        self.compare(half).await;
        self.store = backend.reopen(self.store).await;
        self.compare(half).await;
        self.rounds(half..rounds).await;
        self.end(backend, rounds).await;
    }

    /// Rounds of one half, as many as there is time for.
    async fn rounds(&mut self, rounds: Range<usize>) {
        let start = Instant::now();
        for round in rounds {
            self.pass();
            self.round(round).await;
            if self.dice.one_in(6) {
                self.tidy(round).await;
            }
            if round % 150 == 149 {
                self.compare(round).await;
            }
            if start.elapsed() > RUN_MAX / 2 {
                break;
            }
        }
    }

    async fn end(mut self, backend: &impl Backend, rounds: usize) {
        self.compare(rounds).await;
        backend.verify().await;
    }

    /// Time goes on, mostly: clocks are set back too.
    fn pass(&mut self) {
        let span = match self.dice.below(100) {
            0..10 => Duration::ZERO,
            10..94 => Duration::from_millis(self.dice.below(2_000)),
            94..96 => Duration::from_secs(2 * 60 * 60),
            96..97 => Duration::from_secs(25 * 60 * 60),
            97 if self.dice.one_in(5) => Duration::from_secs(31 * 24 * 60 * 60),
            _ => {
                self.now = self.now.before(Duration::from_millis(self.dice.below(500)));
                return;
            }
        };
        self.now = self.now.after(span);
    }

    /// One command in each namespace.
    async fn round(&mut self, round: usize) {
        let mut proposals = Vec::new();
        for script in &mut self.scripts {
            proposals.push(script.next(&self.memory).await);
        }
        let commits = proposals
            .iter()
            .map(|proposal| self.store.commit(proposal.clone(), self.now));
        let answers = join_all(commits).await;
        for (proposal, answer) in proposals.into_iter().zip(answers) {
            let expected = self.memory.commit(proposal.clone(), self.now).await;
            same(round, &proposal, expected, answer);
        }
    }

    /// One chore: they know no namespace, so nothing else runs.
    async fn tidy(&mut self, round: usize) {
        let due = chores(&self.memory, self.now).await;
        assert_eq!(chores(&*self.store, self.now).await, due, "round {round}");
        let Some(chore) = self.dice.pick(&due) else { return };
        let proposal = script::doing(chore, self.now);
        let answer = self.store.commit(proposal.clone(), self.now).await;
        let expected = self.memory.commit(proposal.clone(), self.now).await;
        same(round, &proposal, expected, answer);
    }

    async fn compare(&mut self, round: usize) {
        for script in &mut self.scripts {
            let (ns, turns, requests) = (script.ns(), script::turns(), script::requests());
            let expected = Picture::of(&self.memory, &ns, &turns, &requests).await;
            let found = Picture::of(&*self.store, &ns, &turns, &requests).await;
            assert_eq!(found, expected, "round {round}, {ns}");
            let all: Vec<_> = expected
                .sessions
                .iter()
                .map(|(session, _)| session.clone())
                .collect();
            let asked = (&ns, &mut script.dice);
            search::same_answers(&*self.store, &self.memory, asked, &all, round).await;
            for _ in 0..5 {
                let query = script.dice.pick(&questions(&ns)).expect("there are some").clone();
                let order = [Order::UpdateTimeAsc, Order::TitleDesc, Order::CreateTimeDesc];
                let order = *script.dice.pick(&order).expect("there are some");
                let query = Sessions { order, ..query };
                let rows = usize::try_from(script.dice.below(6)).expect("small") + 1;
                let listed = paged(&*self.store, &query, Bound { rows, ..ALL }, 100).await;
                assert_eq!(listed, naive(&all, &query), "round {round}, {query:?} by {rows}");
            }
            for session in &all {
                let lookup = script::lookup(&mut script.dice);
                same_lookups(&*self.store, &self.memory, lookup, session, round).await;
            }
        }
    }
}

/// Both did the same, and show the same.
fn same(
    round: usize,
    proposal: &Proposal,
    expected: Result<Committed, Error>,
    answer: Result<Committed, Error>,
) {
    match (expected, answer) {
        (Ok(expected), Ok(answer)) => {
            let seen = |mut it: Committed| {
                // A family has no order.
                it.changes.resumes.sort_by_key(|resume| resume.key());
                let resumes = (it.resume, it.changes.resumes);
                ((it.outcome, it.replayed, it.session, it.thread, resumes), it.turn)
            };
            let ((expected, turn), (answer, of_answer)) = (seen(expected), seen(answer));
            assert_eq!(answer, expected, "round {round}, {proposal:?}");
            if turn.is_some() && of_answer.is_some() {
                assert_eq!(of_answer, turn, "round {round}, {proposal:?}");
            }
        }
        (Err(Error::Refused(expected)), Err(Error::Refused(answer))) => {
            assert_eq!(answer, expected, "round {round}, {proposal:?}");
        }
        (expected, answer) => {
            panic!("round {round}, {proposal:?}: {answer:?} where memory says {expected:?}")
        }
    }
}

/// Both find the same entries by index, id and place.
async fn same_lookups(
    store: &dyn Store,
    memory: &Memory,
    lookup: script::Lookup,
    session: &Session,
    round: usize,
) {
    let script::Lookup { number, ids, seq } = lookup;
    let (tip, what) = (&session.tip, format!("round {round}, {}", session.id));
    for count in Count::ALL {
        let found = store.seek(tip, count, number).await.expect("read");
        let expected = memory.seek(tip, count, number).await.expect("read");
        assert_eq!(found, expected, "{what}");
    }
    let found = store.known_entries(tip, &ids).await.expect("read");
    let expected = memory.known_entries(tip, &ids).await.expect("read");
    assert_eq!(found, expected, "{what}");
    let found = store.entry_by_id(tip, &ids[0]).await.expect("read");
    let expected = memory.entry_by_id(tip, &ids[0]).await.expect("read");
    assert_eq!(found, expected, "{what}");
    let found = store.entry_meta(&tip.log, seq).await.expect("read");
    let expected = memory.entry_meta(&tip.log, seq).await.expect("read");
    assert_eq!(found, expected, "{what}");
}
