//! As much of a store as the rules need: rows in maps, answers by looking through all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::facts::{Answer, References};
use crate::domain::proposal::{Deletion, Fork, SessionCommand, ThreadCommand};
use crate::domain::session::{Change, Draft, Etag};
use crate::domain::title::ForkName;
use crate::domain::turn::{ItemMark, NewItem, Status};
use crate::domain::{
    Decision, Effect, Engine, EngineId, Entry, Facts, Item, Log, LogId, Namespace, Need, NewEntry, PastHead,
    Proposal, Receipt, Refusal, Replica, ReplicaId, RequestId, Resume, ResumeId, Revision, Seq, Session,
    SessionId, Tally, Thread, ThreadId, Time, Tip, Turn, TurnId, decide, fixture as f, needs, thread,
};

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: Time,
    receipts: BTreeMap<(Namespace, RequestId), Receipt>,
    pub(super) sessions: BTreeMap<SessionId, Arc<Session>>,
    pub(super) threads: BTreeMap<ThreadId, Arc<Thread>>,
    pub(super) turns: BTreeMap<(LogId, TurnId), Arc<Turn>>,
    pub(super) items: BTreeMap<(LogId, Seq), Item>,
    entries: BTreeMap<(LogId, Seq), Entry>,
    logs: BTreeMap<LogId, Arc<Log>>,
    epoch: u64,
    pub(super) engines: BTreeMap<EngineId, Arc<Engine>>,
    pub(super) replicas: BTreeMap<ReplicaId, Arc<Replica>>,
    /// The store's own clock, where it has one.
    pub(super) clock: Option<Time>,
    pub(super) resumes: BTreeMap<ResumeId, Arc<Resume>>,
    pub(super) past_heads: BTreeMap<(SessionId, Revision), Arc<PastHead>>,
    names: u128,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: f::NEW_YEAR,
            ..Self::default()
        }
    }

    /// Decides on fresh facts, a second after the last decision, and keeps what was decided.
    pub(super) fn decide(&mut self, proposal: &Proposal) -> Result<Decision, Refusal> {
        self.now = self.now.after(Duration::from_secs(1));
        let mut facts = Facts::default();
        for _ in 0..4 {
            for need in needs(proposal, &facts) {
                if !facts.knows(&need) {
                    let answer = self.answer(&need);
                    facts.learn(need, answer);
                }
            }
        }
        let open = needs(proposal, &facts);
        assert!(
            open.iter().all(|need| facts.knows(need)),
            "four rounds are enough: {open:?}"
        );
        let decision = decide(&facts, proposal, self.now)?;
        decision.effects.iter().for_each(|effect| self.keep(effect));
        Ok(decision)
    }

    pub(super) fn done(&mut self, proposal: &Proposal) -> Decision {
        self.decide(proposal).expect("no rule against it")
    }

    pub(super) fn refused(&mut self, proposal: &Proposal) -> Refusal {
        self.decide(proposal).expect_err("a rule against it")
    }

    pub(super) fn log(&mut self) -> LogId {
        self.names += 1;
        LogId(Uuid::from_u128(self.names))
    }

    pub(super) fn session(&self, id: &str) -> &Session {
        &self.sessions[&f::session(id)]
    }

    pub(super) fn thread(&self, id: &str) -> &Thread {
        &self.threads[&f::thread(id)]
    }

    pub(super) fn turn(&self, id: &str, turn: &str) -> &Turn {
        &self.turns[&(self.thread(id).journal, f::turn(turn))]
    }

    pub(super) fn create(&mut self, id: &str, draft: Draft) {
        let command = SessionCommand::Create {
            id: f::session(id),
            log: self.log(),
            draft: Box::new(draft),
        };
        self.done(&f::to_session(command));
    }

    pub(super) fn titled(&mut self, id: &str, title: &str) {
        let title = Some(f::title(title));
        self.create(
            id,
            Draft {
                title,
                ..Draft::default()
            },
        );
    }

    pub(super) fn append(&mut self, id: &str, entries: Vec<NewEntry>) -> Decision {
        self.done(&appending(id, entries, None))
    }

    /// The fold of the entries up to `seq`, which a tip reaches.
    pub(super) fn tally(&self, tip: &Tip, seq: u64) -> Tally {
        let entry = self.entries.get(&(tip.log.holder(Seq(seq)), Seq(seq)));
        entry.map_or_else(Tally::default, |entry| entry.meta.tally.clone())
    }

    /// The command that forks `source` after `cut` entries.
    pub(super) fn forking(&mut self, source: &str, cut: u64, id: &str) -> Fork {
        let (log, from) = (self.log(), self.session(source));
        let holder = from.tip.log.holder(Seq(cut));
        let tally = self.entries.get(&(holder, Seq(cut)));
        Fork {
            source: from.id.clone(),
            revision: None,
            source_log: from.tip.log.id,
            cut: tally.map_or_else(Tally::default, |entry| entry.meta.tally.clone()),
            preview: String::new(),
            removed: None,
            title: None,
            id: f::session(id),
            log,
        }
    }

    pub(super) fn fork(&mut self, source: &str, cut: u64, id: &str) -> &Session {
        let fork = self.forking(source, cut, id);
        self.done(&f::to_session(SessionCommand::Fork(Box::new(fork))));
        self.session(id)
    }

    pub(super) fn create_thread(&mut self, id: &str) {
        let command = ThreadCommand::Create {
            id: f::thread(id),
            journal: self.log(),
            draft: Box::new(thread::Draft::default()),
            epoch: None,
        };
        self.done(&f::to_thread(command));
    }

    /// A session's entries.
    pub(super) fn entries(&self, id: &str) -> Vec<&Entry> {
        let tip = &self.session(id).tip;
        self.up_to(&tip.log, tip.seq())
    }

    fn up_to(&self, log: &Log, to: Seq) -> Vec<&Entry> {
        let seqs = (1..=to.0).map(Seq);
        seqs.filter_map(|seq| self.entries.get(&(log.holder(seq), seq)))
            .collect()
    }

    fn answer(&self, need: &Need) -> Answer {
        match need {
            Need::Receipt(ns, id) => Answer::Receipt(self.receipts.get(&(ns.clone(), id.clone())).cloned()),
            Need::Session(_, id) => Answer::Session(self.sessions.get(id).cloned()),
            Need::Family(_, id) => Answer::Family(self.family(id)),
            Need::Imported(_, source) => {
                let of_source = self
                    .sessions
                    .values()
                    .filter(|session| session.profile.source.as_ref() == Some(source));
                Answer::Imported(of_source.map(|session| session.id.clone()).collect())
            }
            Need::HighestFork(_, key) => {
                let titles = self.sessions.values().map(|session| &session.profile.title);
                let names = titles
                    .filter(|title| !title.is_empty())
                    .map(|title| ForkName::of(title));
                let of_base = names.filter(|name| name.key() == key);
                Answer::HighestFork(of_base.map(|name| name.number).max())
            }
            Need::Entries(log, to, ids) => {
                let known = self
                    .up_to(log, *to)
                    .into_iter()
                    .filter(|entry| ids.contains(&entry.meta.id));
                Answer::Entries(
                    known
                        .map(|entry| (entry.meta.id.clone(), entry.meta.seq))
                        .collect(),
                )
            }
            Need::Log(id) => Answer::Log(self.logs.get(id).cloned()),
            Need::References(id) => {
                let own = self.entries.keys().filter(|(log, _)| log == id);
                let last = own.map(|(_, seq)| *seq).max().unwrap_or_default();
                Answer::References(References {
                    last,
                    ..References::default()
                })
            }
            Need::Originals(_) => Answer::Originals(Vec::new()),
            Need::Thread(_, id) => Answer::Thread(self.threads.get(id).cloned()),
            Need::Turn(journal, id) => Answer::Turn(self.turns.get(&(*journal, id.clone())).cloned()),
            Need::Items(journal, turn, ids) => {
                let rows = self.items.values();
                let found = rows
                    .filter(|item| item.journal == *journal && item.turn == *turn && ids.contains(&item.id));
                let marks = found.map(|item| (item.id.clone(), mark(item)));
                Answer::Items(marks.collect())
            }
            Need::Epoch(_) => Answer::Epoch(self.epoch),
            Need::Engine(_, id) => Answer::Engine(self.engines.get(id).cloned()),
            Need::Replica(id) => Answer::Replica {
                replica: self.replicas.get(id).cloned(),
                clock: self.clock,
            },
            Need::Resume(_, id) => Answer::Resume(self.resumes.get(id).cloned()),
            Need::OpenResume(_, session) => {
                let mut resumes = self.resumes.values();
                let open = resumes.find(|resume| resume.session == *session && !resume.state.is_end());
                Answer::Resume(open.cloned())
            }
            Need::PastHead(_, session, revision) => {
                Answer::PastHead(self.past_heads.get(&(session.clone(), *revision)).cloned())
            }
        }
    }

    fn family(&self, id: &SessionId) -> Vec<SessionId> {
        let mut children: BTreeMap<&SessionId, Vec<&SessionId>> = BTreeMap::new();
        for (child, session) in &self.sessions {
            let parent = session.profile.parent.iter();
            parent.for_each(|parent| children.entry(parent).or_default().push(child));
        }
        let (mut family, mut parents) = (Vec::new(), vec![id]);
        while let Some(parent) = parents.pop() {
            let theirs = children.remove(parent).unwrap_or_default();
            parents.extend(&theirs);
            family.extend(theirs.into_iter().cloned());
        }
        family
    }

    fn keep(&mut self, effect: &Effect) {
        match effect.clone() {
            Effect::PutReceipt(ns, id, receipt) => drop(self.receipts.insert((ns, id), receipt)),
            Effect::PutSession(session) | Effect::MoveHead(session) => {
                self.sessions.insert(session.id.clone(), session);
            }
            Effect::RemoveSession(_, id) => drop(self.sessions.remove(&id)),
            Effect::OpenLog(log) => drop(self.logs.insert(log.id, log)),
            Effect::Append(entries) => {
                let rows = entries
                    .iter()
                    .map(|entry| ((entry.meta.log, entry.meta.seq), entry.clone()));
                self.entries.extend(rows);
            }
            Effect::PutThread(thread) => drop(self.threads.insert(thread.id.clone(), thread)),
            Effect::RemoveThread(_, id) => drop(self.threads.remove(&id)),
            Effect::PutTurn(turn) => drop(self.turns.insert((turn.journal, turn.id.clone()), turn)),
            Effect::PutItems(items) => {
                let rows = items.into_iter().map(|item| ((item.journal, item.seq), item));
                self.items.extend(rows);
            }
            Effect::EndItems {
                journal,
                turn,
                status,
                ..
            } => {
                let items = self.items.values_mut();
                let open = items
                    .filter(|item| item.journal == journal && item.turn == turn && !item.status.is_end());
                open.for_each(|item| item.status = status);
            }
            Effect::PutPastHead(head) => {
                self.past_heads
                    .insert((head.session.clone(), head.revision), head);
            }
            Effect::DropPastHeads {
                session, revision, ..
            } => {
                self.past_heads
                    .retain(|(id, at), _| *id != session || revision.is_some_and(|revision| revision != *at));
            }
            Effect::PutEpoch(_, epoch) => self.epoch = epoch,
            Effect::PutEngine(engine) => drop(self.engines.insert(engine.id.clone(), engine)),
            Effect::RemoveEngine(_, id) => drop(self.engines.remove(&id)),
            Effect::PutReplica(replica) => drop(self.replicas.insert(replica.id.clone(), replica)),
            Effect::RemoveReplica(id) => drop(self.replicas.remove(&id)),
            Effect::PutResume(resume) => drop(self.resumes.insert(resume.id.clone(), resume)),
            Effect::DropReceipts { .. }
            | Effect::DropResumes { .. }
            | Effect::DropRows { .. }
            | Effect::RemoveLog(_)
            | Effect::ReleasePath(_)
            | Effect::PutCopy(..)
            | Effect::Loosen(..)
            | Effect::Fasten(_) => {}
        }
    }
}

fn mark(item: &Item) -> ItemMark {
    ItemMark {
        seq: item.seq,
        status: item.status,
        create_time: item.create_time,
    }
}

pub(super) fn appending(id: &str, entries: Vec<NewEntry>, expected: Option<u64>) -> Proposal {
    f::to_session(SessionCommand::Append {
        id: f::session(id),
        entries,
        expected: expected.map(Revision),
    })
}

pub(super) fn updating(id: &str, change: Change, etag: Option<Etag>) -> Proposal {
    f::to_session(SessionCommand::Update {
        id: f::session(id),
        change: Box::new(change),
        etag,
    })
}

pub(super) fn deleting(id: &str, mode: Deletion, etag: Option<Etag>) -> Proposal {
    f::to_session(SessionCommand::Delete {
        id: f::session(id),
        mode,
        etag,
    })
}

pub(super) fn starting(id: &str, turn: &str, epoch: Option<u64>) -> Proposal {
    f::to_thread(ThreadCommand::StartTurn {
        id: f::thread(id),
        turn: f::turn(turn),
        epoch,
    })
}

pub(super) fn adding(id: &str, turn: &str, items: Vec<NewItem>, epoch: Option<u64>) -> Proposal {
    f::to_thread(ThreadCommand::AppendItems {
        id: f::thread(id),
        turn: f::turn(turn),
        items,
        epoch,
    })
}

pub(super) fn finishing(id: &str, turn: &str, status: Status, epoch: Option<u64>) -> Proposal {
    f::to_thread(ThreadCommand::FinishTurn {
        id: f::thread(id),
        turn: f::turn(turn),
        status,
        usage: None,
        error: String::new(),
        epoch,
    })
}
