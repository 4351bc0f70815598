//! Where a test sits: a store, a clock that ticks with each commit, fresh names, and short ways to do and
//! to read what most tests need.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::domain::fixture as f;
use crate::domain::proposal::{Cut, Fork, Rewind, SessionCommand, ThreadCommand, UpkeepCommand, Written};
use crate::domain::query::{Bound, End, Items, Range};
use crate::domain::save::{plan, target};
use crate::domain::session::{Draft, Removed};
use crate::domain::turn::{NewItem, Status};
use crate::domain::{
    Entry, Item, Log, LogId, Namespace, NewEntry, Proposal, Refusal, Revision, Seq, Session, SessionId,
    Tally, Thread, Time, Tip, proposal, thread,
};
use crate::store::{Chore, Committed, Error, Store};

use super::Backend;

/// More than any test has.
pub(crate) const ALL: Bound = Bound {
    rows: 1_000_000,
    bytes: usize::MAX,
};

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ns: Namespace,
    clock: AtomicI64,
    names: AtomicU64,
}

impl Desk {
    /// At a new store of `backend`.
    pub(crate) async fn at(backend: &impl Backend) -> Self {
        Self {
            store: backend.open().await,
            ns: f::namespace(),
            clock: AtomicI64::new(f::NEW_YEAR.0),
            names: AtomicU64::new(1),
        }
    }

    /// Another desk, at another store over the same rows.
    pub(crate) fn beside(&self, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            ns: self.ns.clone(),
            clock: AtomicI64::new(self.now().0),
            names: AtomicU64::new(self.names.load(Ordering::Relaxed) + 1_000_000),
        }
    }

    /// The same after a restart of the store.
    pub(crate) async fn restarted(self, backend: &impl Backend) -> Self {
        let Self {
            store,
            ns,
            clock,
            names,
        } = self;
        let store = backend.reopen(store).await;
        Self {
            store,
            ns,
            clock,
            names,
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.clock.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, span: Duration) {
        let nanos = i64::try_from(span.as_nanos()).expect("not for ever");
        self.clock.fetch_add(nanos, Ordering::Relaxed);
    }

    /// A log's name that was never given before.
    pub(crate) fn log(&self) -> LogId {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        LogId(Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(name),
        ))
    }

    /// Commits a millisecond after the last commit.
    pub(crate) async fn commit(&self, proposal: Proposal) -> Result<Committed, Error> {
        self.pass(Duration::from_millis(1));
        self.store.commit(proposal, self.now()).await
    }

    pub(crate) async fn done(&self, proposal: Proposal) -> Committed {
        self.commit(proposal).await.expect("no rule against it")
    }

    pub(crate) async fn refused(&self, proposal: Proposal) -> Refusal {
        match self.commit(proposal).await {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn create(&self, id: &str) -> Arc<Session> {
        self.create_as(id, Draft::default()).await
    }

    pub(crate) async fn create_as(&self, id: &str, draft: Draft) -> Arc<Session> {
        let command = SessionCommand::Create {
            id: f::session(id),
            log: self.log(),
            draft: Box::new(draft),
        };
        let committed = self.done(f::to_session(command)).await;
        committed.session.expect("it was made")
    }

    pub(crate) async fn append(&self, id: &str, entries: Vec<NewEntry>) -> Arc<Session> {
        let committed = self.done(appending(id, entries)).await;
        committed.session.expect("it was appended to")
    }

    /// `count` messages, user and assistant in turn, named after `prefix`.
    pub(crate) async fn talk(&self, id: &str, prefix: &str, count: usize) -> Arc<Session> {
        let said = (0..count).map(|at| match at % 2 {
            0 => f::user(&format!("{prefix}{at}"), &format!("{prefix} asks {at}")),
            _ => f::assistant(&format!("{prefix}{at}")),
        });
        self.append(id, said.collect()).await
    }

    pub(crate) async fn found(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.store.session(&self.ns, &f::session(id)).await;
        session.expect("it can be read")
    }

    pub(crate) async fn session(&self, id: &str) -> Arc<Session> {
        self.found(id).await.expect("it is there")
    }

    /// Every entry of a session.
    pub(crate) async fn entries(&self, id: &str) -> Vec<Entry> {
        let session = self.session(id).await;
        self.entries_to(&session.tip).await
    }

    pub(crate) async fn entries_to(&self, tip: &Tip) -> Vec<Entry> {
        let range = Range {
            after: Seq::ZERO,
            to: tip.seq(),
            from: End::Oldest,
        };
        let entries = self.store.entries(&tip.log, range, ALL).await;
        entries.expect("they can be read")
    }

    /// The ids of a session's entries.
    pub(crate) async fn ids(&self, id: &str) -> Vec<String> {
        let entries = self.entries(id).await;
        entries.iter().map(|entry| entry.meta.id.to_string()).collect()
    }

    /// The command that forks `source` after `cut` entries, as a reader resolves it.
    pub(crate) async fn forking(&self, source: &str, cut: u64, id: &str) -> Fork {
        let from = self.session(source).await;
        let cut = self.tally(&from, cut).await;
        let next = self.store.entry_meta(&from.tip.log, Seq(cut.entries + 1)).await;
        let next = next
            .expect("it can be read")
            .filter(|meta| meta.seq <= from.tip.seq());
        let preview = match cut.last_user_text {
            Seq::ZERO => String::new(),
            seq => {
                let meta = self.store.entry_meta(&from.tip.log, seq).await;
                let meta = meta.expect("it can be read").expect("it is there");
                meta.mark.preview.expect("it has a text")
            }
        };
        Fork {
            source: from.id.clone(),
            revision: None,
            source_log: from.tip.log.id,
            cut,
            preview,
            removed: next.map(|meta| Removed {
                entry: meta.id,
                seq: meta.seq,
            }),
            title: None,
            id: f::session(id),
            log: self.log(),
        }
    }

    pub(crate) async fn fork(&self, source: &str, cut: u64, id: &str) -> Arc<Session> {
        let fork = self.forking(source, cut, id).await;
        let committed = self.done(forked(fork)).await;
        committed.session.expect("it was forked")
    }

    /// The command that takes a session back to `seq`, of its own log or of a head that it has left.
    pub(crate) async fn rewinding(&self, id: &str, to: Option<Revision>, seq: u64) -> Rewind {
        let session = self.session(id).await;
        let tip = match to {
            Some(revision) => {
                let head = self.store.past_head(&self.ns, &session.id, revision).await;
                head.expect("it can be read").expect("it was left").tip.clone()
            }
            None => session.tip.clone(),
        };
        let tally = match self.store.entry_meta(&tip.log, Seq(seq)).await {
            Ok(Some(meta)) => meta.tally,
            Ok(None) => Tally::default(),
            Err(error) => panic!("{error}"),
        };
        Rewind {
            session: session.id.clone(),
            from: session.tip.clone(),
            to,
            cut: Cut {
                tally,
                preview: format!("at {seq}"),
            },
            expected: None,
            log: self.log(),
        }
    }

    pub(crate) async fn rewind(&self, id: &str, to: Option<Revision>, seq: u64) -> Arc<Session> {
        let committed = self.done(rewound(self.rewinding(id, to, seq).await)).await;
        committed.session.expect("it was rewound")
    }

    /// The fold of a session's entries up to `seq`.
    pub(crate) async fn tally(&self, session: &Session, seq: u64) -> Tally {
        if seq == 0 {
            return Tally::default();
        }
        let meta = self.store.entry_meta(&session.tip.log, Seq(seq)).await;
        meta.expect("it can be read").expect("it is there").tally
    }

    pub(crate) async fn create_thread(&self, id: &str) -> Arc<Thread> {
        let command = ThreadCommand::Create {
            id: f::thread(id),
            journal: self.log(),
            draft: Box::new(thread::Draft::default()),
            epoch: None,
        };
        let committed = self.done(f::to_thread(command)).await;
        committed.thread.expect("it was made")
    }

    pub(crate) async fn thread(&self, id: &str) -> Arc<Thread> {
        let thread = self.store.thread(&self.ns, &f::thread(id)).await;
        thread.expect("it can be read").expect("it is there")
    }

    /// One whole turn with these items, all of them completed.
    pub(crate) async fn turn(&self, id: &str, turn: &str, items: &[&str]) -> Arc<Thread> {
        self.done(starting(id, turn)).await;
        let items = items.iter().map(|item| f::new_item(item, Status::Completed));
        self.done(adding(id, turn, items.collect())).await;
        let committed = self.done(finishing(id, turn, Status::Completed)).await;
        committed.thread.expect("it was changed")
    }

    /// Every item of a thread.
    pub(crate) async fn items(&self, id: &str) -> Vec<Item> {
        let thread = self.thread(id).await;
        let query = Items {
            turn: None,
            after: Seq::ZERO,
        };
        let items = self.store.items(thread.journal, &query, ALL).await;
        items.expect("they can be read")
    }

    /// The command that saves a thread with `entries`, as a reader computes it.
    pub(crate) async fn saving(
        &self,
        id: &str,
        requested: Option<&str>,
        entries: Vec<NewEntry>,
    ) -> proposal::Save {
        let (thread, from, _) = self.planned(id, requested).await;
        proposal::Save {
            thread: thread.id.clone(),
            journal: thread.journal,
            change: thread.change,
            requested: requested.map(f::session),
            fresh: f::session(&format!("of-{id}")),
            title: None,
            expected: None,
            from,
            cut: None,
            written: Written::Inline {
                log: self.log(),
                entries,
            },
        }
    }

    pub(crate) async fn save(&self, id: &str, entries: Vec<NewEntry>) -> Committed {
        let save = self.saving(id, None, entries).await;
        self.done(saved(save)).await
    }

    /// Where a save of a thread goes on, and what it starts from if there is no session yet.
    pub(crate) async fn planned(
        &self,
        id: &str,
        requested: Option<&str>,
    ) -> (Arc<Thread>, Option<Tip>, Option<Tip>) {
        let thread = self.thread(id).await;
        let (requested, fresh) = (requested.map(f::session), f::session(&format!("of-{id}")));
        let target: &SessionId = target(&thread, requested.as_ref(), &fresh);
        let session = self
            .store
            .session(&self.ns, target)
            .await
            .expect("it can be read");
        let plan = plan(&thread, session.as_deref()).expect("it may be saved");
        (thread, plan.from, plan.base)
    }

    /// Stages `entries` behind `onto`, `batch` at a time, and returns the end of the staged log.
    pub(crate) async fn stage(&self, onto: Option<&Tip>, entries: &[NewEntry], batch: usize) -> Tip {
        let id = self.log();
        let log = Arc::new(onto.map_or_else(|| Log::root(id), |tip| tip.log.child(id, &tip.tally)));
        let mut tip = Tip::start_of(log);
        for chunk in entries.chunks(batch) {
            let (next, command) = staging(&tip, chunk);
            self.done(f::to_upkeep(command)).await;
            tip = next;
        }
        tip
    }

    pub(crate) async fn chores(&self) -> Vec<Chore> {
        let chores = self.store.chores(self.now(), ALL.rows).await;
        chores.expect("they can be read")
    }
}

/// The command that stages `entries` at the end of `tip`, and the end after it.
pub(crate) fn staging(tip: &Tip, entries: &[NewEntry]) -> (Tip, UpkeepCommand) {
    let mut next = tip.clone();
    let mut staged = Vec::new();
    for new in entries {
        let entry = Entry::following(&next.tally, tip.log.id, new);
        next.tally = entry.meta.tally.clone();
        staged.push(entry);
    }
    let command = UpkeepCommand::Stage {
        log: tip.log.clone(),
        after: tip.seq(),
        entries: staged,
    };
    (next, command)
}

/// These entries as they are stored behind `before` in `log`.
pub(crate) fn folded(before: &Tally, log: LogId, new: &[NewEntry]) -> Vec<Entry> {
    let mut tally = before.clone();
    let fold = |new| {
        let entry = Entry::following(&tally, log, new);
        tally = entry.meta.tally.clone();
        entry
    };
    new.iter().map(fold).collect()
}

pub(crate) fn appending(id: &str, entries: Vec<NewEntry>) -> Proposal {
    f::to_session(SessionCommand::Append {
        id: f::session(id),
        entries,
        expected: None,
    })
}

pub(crate) fn forked(fork: Fork) -> Proposal {
    f::to_session(SessionCommand::Fork(Box::new(fork)))
}

pub(crate) fn rewound(rewind: Rewind) -> Proposal {
    f::to_session(SessionCommand::Rewind(Box::new(rewind)))
}

pub(crate) fn saved(save: proposal::Save) -> Proposal {
    f::to_session(SessionCommand::Save(Box::new(save)))
}

pub(crate) fn starting(id: &str, turn: &str) -> Proposal {
    f::to_thread(ThreadCommand::StartTurn {
        id: f::thread(id),
        turn: f::turn(turn),
        epoch: None,
    })
}

pub(crate) fn adding(id: &str, turn: &str, items: Vec<NewItem>) -> Proposal {
    f::to_thread(ThreadCommand::AppendItems {
        id: f::thread(id),
        turn: f::turn(turn),
        items,
        epoch: None,
    })
}

pub(crate) fn finishing(id: &str, turn: &str, status: Status) -> Proposal {
    f::to_thread(ThreadCommand::FinishTurn {
        id: f::thread(id),
        turn: f::turn(turn),
        status,
        usage: None,
        error: String::new(),
        epoch: None,
    })
}
