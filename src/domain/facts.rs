//! What is known of the store while a batch is decided: answers to needs, with the effects of the
//! proposals decided so far on top, so that proposal k+1 is decided as if k were stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::effect::Effect;
use super::engine::Engine;
use super::id::{
    EngineId, EntryId, ItemId, LogId, Namespace, ReplicaId, RequestId, ResumeId, Revision, Seq, SessionId,
    Source, ThreadId, TurnId,
};
use super::need::Need;
use super::outcome::Receipt;
use super::past_head::PastHead;
use super::path::{Log, Span};
use super::replica::Replica;
use super::resume::Resume;
use super::session::Session;
use super::thread::Thread;
use super::time::Time;
use super::title::ForkName;
use super::turn::{Item, ItemMark, Turn};

mod answer;

pub use answer::{Answer, References};

type Named<I, T> = HashMap<(Namespace, I), Option<T>>;

/// Answers and the effects on top of them.
#[derive(Debug, Default)]
pub struct Facts {
    receipts: Named<RequestId, Receipt>,
    sessions: Named<SessionId, Arc<Session>>,
    threads: Named<ThreadId, Arc<Thread>>,
    turns: HashMap<(LogId, TurnId), Option<Arc<Turn>>>,
    items: HashMap<(LogId, TurnId, ItemId), Option<ItemMark>>,
    entries: HashMap<(LogId, EntryId), Option<Seq>>,
    logs: HashMap<LogId, Option<Arc<Log>>>,
    families: HashMap<(Namespace, SessionId), Vec<SessionId>>,
    imported: HashMap<(Namespace, Source), Vec<SessionId>>,
    highest_forks: HashMap<(Namespace, String), Option<u64>>,
    references: HashMap<LogId, References>,
    originals: HashMap<LogId, Vec<Span>>,
    epochs: HashMap<Namespace, u64>,
    engines: Named<EngineId, Arc<Engine>>,
    replicas: HashMap<ReplicaId, Option<Arc<Replica>>>,
    /// The time by the store's clock, as it was told with the last answer about a replica.
    clock: Option<Time>,
    resumes: Named<ResumeId, Arc<Resume>>,
    open_resumes: Named<SessionId, ResumeId>,
    past_heads: HashMap<(Namespace, SessionId, Revision), Option<Arc<PastHead>>>,
    pending: Pending,
}

/// What the effects so far have touched that the store cannot tell yet.
#[derive(Debug, Default)]
struct Pending {
    any: bool,
    sessions: bool,
    dropped_receipts: bool,
    dropped_resumes: bool,
    dropped_heads: bool,
    appended: HashSet<LogId>,
    ended_turns: HashSet<(LogId, TurnId)>,
}

impl Facts {
    /// The record of a request_id; the outer `None` means that nobody asked the store yet.
    pub fn receipt(&self, ns: &Namespace, id: &RequestId) -> Option<Option<&Receipt>> {
        self.receipts.get(&(ns.clone(), id.clone())).map(Option::as_ref)
    }

    /// A session, likewise.
    pub fn session(&self, ns: &Namespace, id: &SessionId) -> Option<Option<&Arc<Session>>> {
        self.sessions.get(&(ns.clone(), id.clone())).map(Option::as_ref)
    }

    /// A thread, likewise.
    pub fn thread(&self, ns: &Namespace, id: &ThreadId) -> Option<Option<&Arc<Thread>>> {
        self.threads.get(&(ns.clone(), id.clone())).map(Option::as_ref)
    }

    /// A turn, likewise.
    pub fn turn(&self, journal: LogId, id: &TurnId) -> Option<Option<&Arc<Turn>>> {
        self.turns.get(&(journal, id.clone())).map(Option::as_ref)
    }

    /// An item that is there.
    pub fn item(&self, journal: LogId, turn: &TurnId, id: &ItemId) -> Option<ItemMark> {
        self.items
            .get(&(journal, turn.clone(), id.clone()))
            .copied()
            .flatten()
    }

    /// Where an entry lies that is among those of `log`, inherited ones included.
    pub fn entry(&self, log: LogId, id: &EntryId) -> Option<Seq> {
        self.entries.get(&(log, id.clone())).copied().flatten()
    }

    /// A log; the outer `None` means that nobody asked the store yet.
    pub fn log(&self, id: LogId) -> Option<Option<&Arc<Log>>> {
        self.logs.get(&id).map(Option::as_ref)
    }

    /// The descendants of a session, if known.
    pub fn family(&self, ns: &Namespace, id: &SessionId) -> Option<&Vec<SessionId>> {
        self.families.get(&(ns.clone(), id.clone()))
    }

    /// The sessions that came from a source, if known.
    pub fn imported(&self, ns: &Namespace, source: &Source) -> Option<&Vec<SessionId>> {
        self.imported.get(&(ns.clone(), source.clone()))
    }

    /// The highest fork number of a base.
    pub fn highest_fork(&self, ns: &Namespace, base: &str) -> Option<u64> {
        self.highest_forks
            .get(&(ns.clone(), base.to_owned()))
            .copied()
            .flatten()
    }

    /// The last epoch that a namespace gave.
    pub fn epoch(&self, ns: &Namespace) -> u64 {
        self.epochs.get(ns).copied().unwrap_or_default()
    }

    /// An engine; the outer `None` means that nobody asked the store yet.
    pub fn engine(&self, ns: &Namespace, id: &EngineId) -> Option<Option<&Arc<Engine>>> {
        self.engines.get(&(ns.clone(), id.clone())).map(Option::as_ref)
    }

    /// A replica, likewise.
    pub fn replica(&self, id: &ReplicaId) -> Option<Option<&Arc<Replica>>> {
        self.replicas.get(id).map(Option::as_ref)
    }

    /// The time that leases are judged by, where it is not that of the commit.
    pub fn clock(&self) -> Option<Time> {
        self.clock
    }

    /// A resume, likewise.
    pub fn resume(&self, ns: &Namespace, id: &ResumeId) -> Option<Option<&Arc<Resume>>> {
        self.resumes.get(&(ns.clone(), id.clone())).map(Option::as_ref)
    }

    /// The resume of a session that has not ended.
    pub fn open_resume(&self, ns: &Namespace, session: &SessionId) -> Option<&Arc<Resume>> {
        let id = self.open_resumes.get(&(ns.clone(), session.clone()))?.as_ref()?;
        self.resume(ns, id).flatten()
    }

    /// A head that a session has left; the outer `None` means that nobody asked the store yet.
    pub fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Option<Option<&Arc<PastHead>>> {
        let key = (ns.clone(), session.clone(), revision);
        self.past_heads.get(&key).map(Option::as_ref)
    }

    /// Whether a staged log is all there up to `seq` and named by nobody yet: the sweep takes the last
    /// rows of an abandoned one first, and the log itself in the end.
    pub fn is_staged_to(&self, log: &Log, seq: Seq) -> bool {
        let References { named, last, .. } = self.references(log.id);
        !named && log.path.end().max(last) == seq
    }

    /// Who names a log.
    pub fn references(&self, log: LogId) -> References {
        self.references.get(&log).cloned().unwrap_or_default()
    }

    /// Where the entries of a log were first, if they are copies.
    pub fn originals(&self, log: LogId) -> &[Span] {
        self.originals.get(&log).map_or(&[], Vec::as_slice)
    }

    /// Whether the answer to `need` is known.
    pub fn knows(&self, need: &Need) -> bool {
        match need {
            Need::Receipt(ns, id) => self.receipt(ns, id).is_some(),
            Need::Session(ns, id) => self.session(ns, id).is_some(),
            Need::Family(ns, id) => self.family(ns, id).is_some(),
            Need::Imported(ns, source) => self.imported(ns, source).is_some(),
            Need::HighestFork(ns, base) => self.highest_forks.contains_key(&(ns.clone(), base.clone())),
            Need::Entries(log, _, ids) => ids
                .iter()
                .all(|id| self.entries.contains_key(&(log.id, id.clone()))),
            Need::Log(id) => self.log(*id).is_some(),
            Need::References(id) => self.references.contains_key(id),
            Need::Originals(id) => self.originals.contains_key(id),
            Need::Thread(ns, id) => self.thread(ns, id).is_some(),
            Need::Turn(journal, id) => self.turn(*journal, id).is_some(),
            Need::Items(journal, turn, ids) => ids
                .iter()
                .all(|id| self.items.contains_key(&(*journal, turn.clone(), id.clone()))),
            Need::Epoch(ns) => self.epochs.contains_key(ns),
            Need::Engine(ns, id) => self.engine(ns, id).is_some(),
            Need::Replica(id) => self.replica(id).is_some(),
            Need::Resume(ns, id) => self.resume(ns, id).is_some(),
            Need::OpenResume(ns, session) => self.open_resumes.contains_key(&(ns.clone(), session.clone())),
            Need::PastHead(ns, session, revision) => self.past_head(ns, session, *revision).is_some(),
        }
    }

    /// Whether the store would answer `need` as if nothing were pending. If not, what is decided so far
    /// has to be written first.
    pub fn store_can_answer(&self, need: &Need) -> bool {
        match need {
            Need::Receipt(..) => !self.pending.dropped_receipts,
            Need::Session(..) | Need::Thread(..) | Need::Turn(..) | Need::Log(..) => true,
            Need::Epoch(_) | Need::Engine(..) | Need::Replica(_) => true,
            Need::Resume(..) | Need::OpenResume(..) => !self.pending.dropped_resumes,
            Need::PastHead(..) => !self.pending.dropped_heads,
            Need::Family(..) | Need::Imported(..) | Need::HighestFork(..) => !self.pending.sessions,
            Need::Entries(log, ..) => log
                .path
                .parts()
                .iter()
                .all(|part| !self.pending.appended.contains(&part.log)),
            Need::References(_) | Need::Originals(_) => !self.pending.any,
            Need::Items(journal, turn, _) => !self.pending.ended_turns.contains(&(*journal, turn.clone())),
        }
    }

    /// Takes the store's answer, unless something newer is known.
    pub fn learn(&mut self, need: Need, answer: Answer) {
        match (need, answer) {
            (Need::Receipt(ns, id), Answer::Receipt(receipt)) => {
                self.receipts.entry((ns, id)).or_insert(receipt);
            }
            (Need::Session(ns, id), Answer::Session(session)) => {
                self.sessions.entry((ns, id)).or_insert(session);
            }
            (Need::Family(ns, id), Answer::Family(ids)) => {
                self.families.entry((ns, id)).or_insert(ids);
            }
            (Need::Imported(ns, source), Answer::Imported(ids)) => {
                self.imported.entry((ns, source)).or_insert(ids);
            }
            (Need::HighestFork(ns, base), Answer::HighestFork(number)) => {
                self.highest_forks.entry((ns, base)).or_insert(number);
            }
            (Need::Entries(log, _, ids), Answer::Entries(mut found)) => {
                for id in ids {
                    let seq = found.remove(&id);
                    self.entries.entry((log.id, id)).or_insert(seq);
                }
            }
            (Need::Log(id), Answer::Log(log)) => {
                self.logs.entry(id).or_insert(log);
            }
            (Need::References(id), Answer::References(references)) => {
                self.references.entry(id).or_insert(references);
            }
            (Need::Originals(id), Answer::Originals(spans)) => {
                self.originals.entry(id).or_insert(spans);
            }
            (Need::Thread(ns, id), Answer::Thread(thread)) => {
                self.threads.entry((ns, id)).or_insert(thread);
            }
            (Need::Turn(journal, id), Answer::Turn(turn)) => {
                self.turns.entry((journal, id)).or_insert(turn);
            }
            (Need::Items(journal, turn, ids), Answer::Items(mut found)) => {
                for id in ids {
                    let mark = found.remove(&id);
                    self.items.entry((journal, turn.clone(), id)).or_insert(mark);
                }
            }
            (Need::Epoch(ns), Answer::Epoch(epoch)) => {
                self.epochs.entry(ns).or_insert(epoch);
            }
            (Need::Engine(ns, id), Answer::Engine(engine)) => {
                self.engines.entry((ns, id)).or_insert(engine);
            }
            (Need::Replica(id), Answer::Replica { replica, clock }) => {
                self.replicas.entry(id).or_insert(replica);
                self.clock = clock;
            }
            (Need::Resume(ns, id), Answer::Resume(resume)) => {
                self.resumes.entry((ns, id)).or_insert(resume);
            }
            (Need::OpenResume(ns, session), Answer::Resume(resume)) => {
                let id = resume.as_ref().map(|resume| resume.id.clone());
                self.open_resumes.entry((ns.clone(), session)).or_insert(id);
                if let Some(resume) = resume {
                    self.resumes
                        .entry((ns, resume.id.clone()))
                        .or_insert(Some(resume));
                }
            }
            (Need::PastHead(ns, session, revision), Answer::PastHead(head)) => {
                self.past_heads.entry((ns, session, revision)).or_insert(head);
            }
            (need, answer) => unreachable!("a store answered {need:?} with {answer:?}"),
        }
    }

    /// Puts an effect on top of what is known.
    pub fn apply(&mut self, effect: &Effect) {
        self.pending.any = true;
        self.references.clear();
        self.originals.clear();
        match effect {
            Effect::PutReceipt(ns, id, receipt) => {
                self.receipts
                    .insert((ns.clone(), id.clone()), Some(receipt.clone()));
            }
            Effect::PutSession(session) => self.put_session(session),
            Effect::MoveHead(session) => {
                self.sessions.insert(
                    (session.namespace.clone(), session.id.clone()),
                    Some(session.clone()),
                );
            }
            Effect::RemoveSession(ns, id) => {
                self.pending.sessions = true;
                self.families.clear();
                self.imported.clear();
                self.highest_forks.clear();
                self.sessions.insert((ns.clone(), id.clone()), None);
            }
            Effect::OpenLog(log) => {
                self.logs.insert(log.id, Some(log.clone()));
            }
            Effect::Append(entries) => {
                for entry in entries.iter() {
                    self.pending.appended.insert(entry.meta.log);
                    self.entries
                        .insert((entry.meta.log, entry.meta.id.clone()), Some(entry.meta.seq));
                }
            }
            Effect::RemoveLog(id) => {
                self.logs.insert(*id, None);
            }
            Effect::PutThread(thread) => {
                self.threads.insert(
                    (thread.namespace.clone(), thread.id.clone()),
                    Some(thread.clone()),
                );
            }
            Effect::RemoveThread(ns, id) => {
                self.threads.insert((ns.clone(), id.clone()), None);
            }
            Effect::PutTurn(turn) => {
                self.turns
                    .insert((turn.journal, turn.id.clone()), Some(turn.clone()));
            }
            Effect::PutItems(items) => items.iter().for_each(|item| self.put_item(item)),
            Effect::EndItems { journal, turn, .. } => {
                self.items.retain(|(j, t, _), _| j != journal || t != turn);
                self.pending.ended_turns.insert((*journal, turn.clone()));
            }
            Effect::DropReceipts { .. } => {
                self.receipts.clear();
                self.pending.dropped_receipts = true;
            }
            Effect::PutEpoch(ns, epoch) => {
                self.epochs.insert(ns.clone(), *epoch);
            }
            Effect::PutEngine(engine) => {
                let key = (engine.namespace.clone(), engine.id.clone());
                self.engines.insert(key, Some(engine.clone()));
            }
            Effect::RemoveEngine(ns, id) => {
                self.engines.insert((ns.clone(), id.clone()), None);
            }
            Effect::PutReplica(replica) => {
                self.replicas.insert(replica.id.clone(), Some(replica.clone()));
            }
            Effect::RemoveReplica(id) => {
                self.replicas.insert(id.clone(), None);
            }
            Effect::PutResume(resume) => self.put_resume(resume),
            Effect::DropResumes { .. } => {
                self.resumes.clear();
                self.open_resumes.clear();
                self.pending.dropped_resumes = true;
            }
            Effect::PutPastHead(head) => {
                let key = (head.namespace.clone(), head.session.clone(), head.revision);
                self.past_heads.insert(key, Some(head.clone()));
            }
            Effect::DropPastHeads { .. } => {
                self.past_heads.clear();
                self.pending.dropped_heads = true;
            }
            Effect::PutCopy(..)
            | Effect::DropRows { .. }
            | Effect::ReleasePath(_)
            | Effect::Loosen(..)
            | Effect::Fasten(_) => {}
        }
    }

    /// After the effects are stored: keeps what the next batch is likely to ask for, forgets the rest.
    pub fn settle(&mut self, rows_max: usize) {
        let heads = self.sessions.len() + self.threads.len() + self.turns.len() + self.logs.len();
        let kept = heads + self.engines.len() + self.resumes.len() + self.open_resumes.len();
        if kept > rows_max {
            *self = Self::default();
            return;
        }
        self.receipts.clear();
        self.items.clear();
        self.entries.clear();
        self.families.clear();
        self.imported.clear();
        self.highest_forks.clear();
        self.references.clear();
        self.past_heads.clear();
        self.originals.clear();
        // Of a later moment the clock is told with the next answer about a replica alone: so each is asked for again.
        if self.clock.take().is_some() {
            self.replicas.clear();
        }
        self.pending = Pending::default();
    }

    fn put_session(&mut self, session: &Arc<Session>) {
        let key = (session.namespace.clone(), session.id.clone());
        let name = ForkName::of(&session.profile.title);
        let before = self.sessions.insert(key, Some(session.clone())).flatten();
        let renamed = before
            .as_ref()
            .is_some_and(|before| before.profile.title != session.profile.title);
        if before.is_none() || renamed {
            self.pending.sessions = true;
            self.families.clear();
            self.imported.clear();
        }
        if renamed {
            self.highest_forks.clear();
        }
        if let Some(highest) = self
            .highest_forks
            .get_mut(&(session.namespace.clone(), name.key().to_owned()))
        {
            *highest = (*highest).max(Some(name.number));
        }
    }

    fn put_resume(&mut self, resume: &Arc<Resume>) {
        let ns = &resume.namespace;
        let open = (!resume.state.is_end()).then(|| resume.id.clone());
        self.open_resumes
            .insert((ns.clone(), resume.session.clone()), open);
        self.resumes
            .insert((ns.clone(), resume.id.clone()), Some(resume.clone()));
    }

    fn put_item(&mut self, item: &Item) {
        let mark = ItemMark {
            seq: item.seq,
            status: item.status,
            create_time: item.create_time,
        };
        self.items
            .insert((item.journal, item.turn.clone(), item.id.clone()), Some(mark));
    }
}
