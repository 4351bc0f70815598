//! Sweep and trim: whatever random clients do, what a head, a past head, a thread's base or a resume reaches can be
//! read, and what nobody reaches goes in time.
//!
//! A reference keeps the words that every one of them must show; after each command all of them are read. At times
//! upkeep does all there is to do, however long it waits, and then no row is left that nobody can reach. The seed is
//! printed; `SESSIOND_SEED` sets it. A run ends after some seconds, wherever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::limits::{PAST_HEAD_LIFE, STAGING_LIFE};
use crate::domain::query::{End, Range};
use crate::domain::{Entry, Log, LogId, Revision, Seq, Tip};
use crate::store::Chore;

use super::Backend;
use super::desk::{ALL, Desk};
use super::model::dice::Dice;

mod script;

/// A run that takes longer is cut short.
const RUN_MAX: Duration = Duration::from_secs(3);

/// Commands of a run.
const COMMANDS: usize = 600;

/// Pieces of work until upkeep must have come to an end.
const CHORES_MAX: usize = 20_000;

/// What one entry says: its id and its body.
type Said = (String, Vec<u8>);

/// What must be readable, by what names it.
#[derive(Debug, Default)]
struct Reached {
    sessions: BTreeMap<String, Vec<Said>>,
    heads: BTreeMap<(String, Revision), Vec<Said>>,
    bases: BTreeMap<String, Vec<Said>>,
    sources: BTreeMap<String, Vec<Said>>,
}

struct Run {
    desk: Desk,
    dice: Dice,
    reached: Reached,
    names: u64,
    /// Every log and journal that was ever named.
    logs: BTreeSet<LogId>,
}

pub(crate) async fn nothing_reachable_is_lost_and_nothing_else_is_kept(backend: &impl Backend) {
    let seed = std::env::var("SESSIOND_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("SESSIOND_SEED={seed}");
    let mut run = Run {
        desk: Desk::at(backend).await,
        dice: Dice::new(seed),
        reached: Reached::default(),
        names: 0,
        logs: BTreeSet::new(),
    };
    let start = Instant::now();
    for at in 0..COMMANDS {
        run.command().await;
        run.pass();
        if run.dice.one_in(8) {
            run.some_chores().await;
        }
        run.look(at).await;
        if at % 150 == 149 {
            run.desk = run.desk.restarted(backend).await;
            run.all_chores().await;
            run.look(at).await;
            run.nothing_else(at).await;
        }
        if start.elapsed() > RUN_MAX {
            break;
        }
    }
    run.end().await;
    run.all_chores().await;
    assert_eq!(backend.rows().await, 0, "nobody reaches anything any more");
    backend.verify().await;
}

impl Run {
    /// Time goes on, at times for long.
    fn pass(&mut self) {
        let span = match self.dice.below(60) {
            0 => PAST_HEAD_LIFE,
            1..4 => STAGING_LIFE * 3,
            _ => Duration::from_secs(self.dice.below(600)),
        };
        self.desk.pass(span);
    }

    /// Some of the work that upkeep finds now.
    async fn some_chores(&mut self) {
        for chore in self.desk.chores().await {
            if self.dice.one_in(2) {
                self.chore(chore).await;
            }
        }
    }

    /// All work that there will be, however long one waits.
    async fn all_chores(&mut self) {
        for _ in 0..CHORES_MAX {
            let Some(chore) = self.desk.chores().await.into_iter().next() else {
                self.desk.pass(STAGING_LIFE);
                if self.desk.chores().await.is_empty() {
                    return;
                }
                continue;
            };
            self.chore(chore).await;
        }
        panic!("no end of chores: {:?}", self.desk.chores().await);
    }

    /// Everything that must be readable is, word for word.
    async fn look(&self, at: usize) {
        for (id, said) in &self.reached.sessions {
            let session = self.desk.session(id).await;
            self.shows(&session.tip, said, &format!("command {at}: session {id}"))
                .await;
        }
        for ((id, revision), said) in &self.reached.heads {
            let name = format!("command {at}: revision {revision} of session {id}");
            let head = self.head(id, *revision).await;
            let head = head.unwrap_or_else(|| panic!("{name} is gone"));
            self.shows(&head.tip, said, &name).await;
        }
        for (id, said) in &self.reached.bases {
            let thread = self.desk.thread(id).await;
            let base = thread.base.as_ref().expect("it was seeded");
            self.shows(base, said, &format!("command {at}: the base of thread {id}"))
                .await;
        }
        for (id, said) in &self.reached.sources {
            let resume = self.resume(id).await;
            let source = resume.source.as_ref().expect("it runs");
            self.shows(source, said, &format!("command {at}: the source of resume {id}"))
                .await;
        }
    }

    async fn shows(&self, tip: &Tip, expected: &[Said], name: &str) {
        let found = said(&self.desk.entries_to(tip).await);
        assert_eq!(found, expected, "{name}");
    }

    /// No row is there that nobody reaches: logs that are named stand whole, of others what paths take of them.
    async fn nothing_else(&self, at: usize) {
        let tips = self.tips().await;
        for id in &self.logs {
            let named = tips.iter().any(|tip| tip.log.id == *id);
            let parts = tips.iter().flat_map(|tip| tip.log.path.parts());
            let cut = parts.filter(|part| part.log == *id).map(|part| part.to).max();
            let log = self.desk.store.log(*id).await.expect("it can be read");
            let rows = self.own(*id).await;
            let last = rows.last().map(|entry| entry.meta.seq);
            assert!(
                named || cut.is_some() || (log.is_none() && rows.is_empty()),
                "command {at}: log {id} is left"
            );
            assert!(
                named || last <= cut,
                "command {at}: log {id} is not trimmed to {cut:?}"
            );
        }
    }

    /// Every place that something names.
    async fn tips(&self) -> Vec<Tip> {
        let mut tips = Vec::new();
        for id in self.reached.sessions.keys() {
            tips.push(self.desk.session(id).await.tip.clone());
        }
        for (id, revision) in self.reached.heads.keys() {
            tips.extend(self.head(id, *revision).await.map(|head| head.tip.clone()));
        }
        for id in self.reached.bases.keys() {
            tips.extend(self.desk.thread(id).await.base.clone());
        }
        for id in self.reached.sources.keys() {
            tips.extend(self.resume(id).await.source.clone());
        }
        tips
    }

    /// What lies in a log itself.
    async fn own(&self, log: LogId) -> Vec<Entry> {
        let range = Range {
            after: Seq::ZERO,
            to: Seq(1_000_000),
            from: End::Oldest,
        };
        let rows = self.desk.store.entries(&Log::root(log), range, ALL).await;
        rows.expect("they can be read")
    }

    async fn chore(&mut self, chore: Chore) {
        let now = self.desk.now();
        match &chore {
            Chore::Purge(_, id) => {
                self.reached.sessions.remove(id.as_str());
                self.reached
                    .heads
                    .retain(|(session, _), _| session != id.as_str());
            }
            Chore::ExpireHead(_, id, revision) => {
                self.reached.heads.remove(&(id.to_string(), *revision));
            }
            Chore::Compact(_, id) => panic!("{id} has a long path"),
            Chore::Sweep(_) | Chore::ExpireReceipts | Chore::ExpireResumes | Chore::ForgetEngine(..) => {}
        }
        self.desk.done(super::model::doing(&chore, now)).await;
    }
}

fn said(entries: &[Entry]) -> Vec<Said> {
    let one = |entry: &Entry| (entry.meta.id.to_string(), entry.body.to_vec());
    entries.iter().map(one).collect()
}
