//! The rows, how needs are answered from them and effects applied to them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::index::Index;
use crate::domain::facts::{Answer, References};
use crate::domain::limits::{
    CASCADE_SESSIONS_MAX, IMPORT_BRANCHES_MAX, RECEIPT_LIFE, STAGING_LIFE, SWEEP_BYTES_MAX, SWEEP_ROWS_MAX,
};
use crate::domain::path::{PARTS_SOFT_MAX, Span};
use crate::domain::title::ForkName;
use crate::domain::turn::{ItemMark, Status};
use crate::domain::{
    Effect, Engine, EngineId, Entry, EntryId, Item, ItemId, Log, LogId, Namespace, Need, PastHead, Receipt,
    Replica, ReplicaId, RequestId, Resume, ResumeId, Revision, Seq, Session, SessionId, Source, Thread,
    ThreadId, Time, Turn, TurnId,
};
use crate::store::batch::Answers;
use crate::store::{Chore, Error};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) receipts: BTreeMap<(Namespace, RequestId), Receipt>,
    pub(super) sessions: BTreeMap<(Namespace, SessionId), Arc<Session>>,
    pub(super) threads: BTreeMap<(Namespace, ThreadId), Arc<Thread>>,
    pub(super) turns: BTreeMap<(LogId, TurnId), Arc<Turn>>,
    pub(super) items: BTreeMap<(LogId, Seq), Item>,
    pub(super) entries: BTreeMap<(LogId, Seq), Entry>,
    pub(super) logs: BTreeMap<LogId, Arc<Log>>,
    /// Logs whose paths keep nothing any more.
    pub(super) released: BTreeSet<LogId>,
    pub(super) loose: BTreeMap<LogId, Time>,
    pub(super) epochs: BTreeMap<Namespace, u64>,
    pub(super) engines: BTreeMap<(Namespace, EngineId), Arc<Engine>>,
    pub(super) replicas: BTreeMap<ReplicaId, Arc<Replica>>,
    pub(super) resumes: BTreeMap<(Namespace, ResumeId), Arc<Resume>>,
    /// Where the entries of copies were first.
    pub(super) copies: BTreeMap<LogId, Vec<Span>>,
    pub(super) index: Index,
    pub(super) past_heads: BTreeMap<(Namespace, SessionId, Revision), Arc<PastHead>>,
}

impl Answers for Tables {
    fn answer(&mut self, need: &Need) -> Result<Answer, Error> {
        Ok(match need {
            Need::Receipt(ns, id) => Answer::Receipt(self.receipts.get(&(ns.clone(), id.clone())).cloned()),
            Need::Session(ns, id) => Answer::Session(self.sessions.get(&(ns.clone(), id.clone())).cloned()),
            Need::Family(ns, id) => Answer::Family(self.family(ns, id)),
            Need::Imported(ns, source) => Answer::Imported(self.imported(ns, source)),
            Need::HighestFork(ns, key) => Answer::HighestFork(self.highest_fork(ns, key)),
            Need::Entries(log, to, ids) => Answer::Entries(self.known(log, *to, ids)),
            Need::Log(id) => Answer::Log(self.logs.get(id).cloned()),
            Need::References(id) => Answer::References(self.references(*id)),
            Need::Originals(id) => Answer::Originals(self.copies.get(id).cloned().unwrap_or_default()),
            Need::Thread(ns, id) => Answer::Thread(self.threads.get(&(ns.clone(), id.clone())).cloned()),
            Need::Turn(journal, id) => Answer::Turn(self.turns.get(&(*journal, id.clone())).cloned()),
            Need::Items(journal, turn, ids) => Answer::Items(self.item_marks(*journal, turn, ids)),
            Need::Epoch(ns) => Answer::Epoch(self.epochs.get(ns).copied().unwrap_or_default()),
            Need::Engine(ns, id) => Answer::Engine(self.engine(ns, id)),
            Need::Replica(id) => Answer::Replica {
                replica: self.replicas.get(id).cloned(),
                clock: None,
            },
            Need::Resume(ns, id) => Answer::Resume(self.resume(ns, id)),
            Need::OpenResume(ns, session) => Answer::Resume(self.open_resume(ns, session)),
            Need::PastHead(ns, session, revision) => Answer::PastHead(self.past_head(ns, session, *revision)),
        })
    }
}

impl Tables {
    pub(super) fn write(&mut self, effect: Effect) {
        match effect {
            Effect::PutReceipt(ns, id, receipt) => drop(self.receipts.insert((ns, id), receipt)),
            Effect::DropReceipts { before } => self.drop_receipts(before),
            Effect::PutSession(session) | Effect::MoveHead(session) => {
                self.sessions
                    .insert((session.namespace.clone(), session.id.clone()), session);
            }
            Effect::RemoveSession(ns, id) => drop(self.sessions.remove(&(ns, id))),
            Effect::OpenLog(log) => drop(self.logs.insert(log.id, log)),
            Effect::Append(entries) => {
                self.entries.extend(
                    entries
                        .iter()
                        .map(|entry| ((entry.meta.log, entry.meta.seq), entry.clone())),
                );
            }
            Effect::DropRows { log, after } => self.drop_rows(log, after),
            Effect::RemoveLog(id) => {
                self.logs.remove(&id);
                self.released.remove(&id);
                self.copies.remove(&id);
            }
            Effect::ReleasePath(id) => drop(self.released.insert(id)),
            Effect::PutCopy(copy, originals) => drop(self.copies.insert(copy, originals)),
            Effect::Loosen(id, since) => drop(self.loose.insert(id, since)),
            Effect::Fasten(id) => drop(self.loose.remove(&id)),
            Effect::PutThread(thread) => {
                self.threads
                    .insert((thread.namespace.clone(), thread.id.clone()), thread);
            }
            Effect::RemoveThread(ns, id) => drop(self.threads.remove(&(ns, id))),
            Effect::PutPastHead(head) => self.put_past_head(head),
            Effect::DropPastHeads {
                namespace,
                session,
                revision,
                time,
            } => self.drop_past_heads(&namespace, &session, revision, time),
            Effect::PutEpoch(ns, epoch) => drop(self.epochs.insert(ns, epoch)),
            Effect::PutEngine(engine) => {
                self.engines
                    .insert((engine.namespace.clone(), engine.id.clone()), engine);
            }
            Effect::RemoveEngine(ns, id) => drop(self.engines.remove(&(ns, id))),
            Effect::PutReplica(replica) => drop(self.replicas.insert(replica.id.clone(), replica)),
            Effect::RemoveReplica(id) => drop(self.replicas.remove(&id)),
            Effect::PutResume(resume) => self.put_resume(resume),
            Effect::DropResumes { before } => self.drop_resumes(before),
            Effect::PutTurn(turn) => drop(self.turns.insert((turn.journal, turn.id.clone()), turn)),
            Effect::PutItems(items) => {
                self.items
                    .extend(items.into_iter().map(|item| ((item.journal, item.seq), item)));
            }
            Effect::EndItems {
                journal,
                turn,
                status,
                time,
                change,
            } => {
                self.end_items(journal, &turn, status, time, change);
            }
        }
    }

    pub(super) fn entry(&self, log: &Log, seq: Seq) -> Option<&Entry> {
        self.entries.get(&(log.holder(seq), seq))
    }

    pub(super) fn entry_in(&self, log: LogId, seq: Seq) -> Option<&Entry> {
        self.entries.get(&(log, seq))
    }

    /// Entries that lie in a log itself.
    pub(super) fn own_entries(&self, log: LogId, after: Seq, to: Seq) -> Vec<Entry> {
        if after >= to {
            return Vec::new();
        }
        let own = self.entries.range((log, after.next())..=(log, to));
        own.map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn entries_of(&self, log: &Log, after: Seq, to: Seq) -> Vec<Entry> {
        let spans = log.spans(after, to).into_iter();
        spans
            .flat_map(|span| {
                self.entries
                    .range((span.log, span.after.next())..=(span.log, span.to))
            })
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    pub(super) fn known(&self, log: &Log, to: Seq, ids: &[EntryId]) -> HashMap<EntryId, Seq> {
        let wanted: HashSet<&EntryId> = ids.iter().collect();
        let rows = self.entries_of(log, Seq::ZERO, to).into_iter();
        rows.filter(|entry| wanted.contains(&entry.meta.id))
            .map(|entry| (entry.meta.id, entry.meta.seq))
            .collect()
    }

    pub(super) fn chores(&self, now: Time, rows: usize) -> Vec<Chore> {
        let staged = now.before(STAGING_LIFE);
        let loose = self
            .loose
            .iter()
            .filter(|(_, since)| **since <= staged)
            .map(|(id, _)| Chore::Sweep(*id));
        let purges = self.sessions.values().filter(|session| {
            session
                .profile
                .deletion
                .as_ref()
                .is_some_and(|deletion| deletion.purge_time <= now)
        });
        let purges = purges.map(|session| Chore::Purge(session.namespace.clone(), session.id.clone()));
        let long = self
            .sessions
            .values()
            .filter(|session| session.tip.log.path.parts().len() > PARTS_SOFT_MAX);
        let long = long.map(|session| Chore::Compact(session.namespace.clone(), session.id.clone()));
        let old = now.before(RECEIPT_LIFE);
        let receipts = self
            .receipts
            .values()
            .any(|receipt| receipt.time < old)
            .then_some(Chore::ExpireReceipts);
        receipts
            .into_iter()
            .chain(purges)
            .chain(loose)
            .chain(long)
            .chain(self.expired(now))
            .take(rows)
            .collect()
    }

    /// Rows that upkeep has to remove some day.
    #[cfg(test)]
    pub(super) fn rows_to_remove(&self) -> u64 {
        let edges = self.keeping().map(|log| log.path.parts().len());
        let rows = [
            self.logs.len(),
            edges.sum(),
            self.entries.len(),
            self.items.len(),
            self.turns.len(),
            self.loose.len(),
        ];
        rows.iter().sum::<usize>() as u64
    }

    fn family(&self, ns: &Namespace, id: &SessionId) -> Vec<SessionId> {
        let mut family: Vec<SessionId> = Vec::new();
        let mut parents = vec![id.clone()];
        while let Some(parent) = parents.pop() {
            let children = self.sessions.values().filter(|session| {
                session.namespace == *ns && session.profile.parent.as_ref() == Some(&parent)
            });
            // A name may be made anew below its own sub-session: nobody is met twice.
            let children = children.map(|session| session.id.clone());
            let children: Vec<SessionId> = children.filter(|id| !family.contains(id)).collect();
            parents.extend(children.iter().cloned());
            family.extend(children);
            if family.len() > CASCADE_SESSIONS_MAX {
                family.truncate(CASCADE_SESSIONS_MAX + 1);
                break;
            }
        }
        family
    }

    pub(super) fn imported(&self, ns: &Namespace, source: &Source) -> Vec<SessionId> {
        let of_source = self
            .sessions
            .values()
            .filter(|session| session.namespace == *ns && session.profile.source.as_ref() == Some(source));
        let ids = of_source.map(|session| session.id.clone());
        ids.take(IMPORT_BRANCHES_MAX + 1).collect()
    }

    fn highest_fork(&self, ns: &Namespace, key: &str) -> Option<u64> {
        let names = self.sessions.values().filter(|session| session.namespace == *ns);
        let names = names.filter(|session| !session.profile.title.is_empty());
        let names = names.map(|session| ForkName::of(&session.profile.title));
        names
            .filter(|name| name.key() == key)
            .map(|name| name.number)
            .max()
    }

    fn item_marks(&self, journal: LogId, turn: &TurnId, ids: &[ItemId]) -> HashMap<ItemId, ItemMark> {
        let rows = self
            .items
            .range((journal, Seq::ZERO)..=(journal, Seq(u64::MAX)))
            .map(|(_, item)| item);
        let found = rows.filter(|item| item.turn == *turn && ids.contains(&item.id));
        let mark = |item: &Item| ItemMark {
            seq: item.seq,
            status: item.status,
            create_time: item.create_time,
        };
        found.map(|item| (item.id.clone(), mark(item))).collect()
    }

    /// The logs whose paths keep what they name.
    fn keeping(&self) -> impl Iterator<Item = &Arc<Log>> {
        let logs = self.logs.values();
        logs.filter(|log| !self.released.contains(&log.id))
    }

    fn references(&self, id: LogId) -> References {
        let heads = self.sessions.values().any(|session| session.tip.log.id == id);
        let threads = self
            .threads
            .values()
            .any(|thread| thread.journal == id || thread.base.as_ref().is_some_and(|base| base.log.id == id));
        let parts = self
            .keeping()
            .flat_map(|log| log.path.parts())
            .filter(|part| part.log == id);
        let entries = self
            .entries
            .range((id, Seq::ZERO)..=(id, Seq(u64::MAX)))
            .next_back()
            .map(|((_, seq), _)| *seq);
        let items = self
            .items
            .range((id, Seq::ZERO)..=(id, Seq(u64::MAX)))
            .next_back()
            .map(|((_, seq), _)| *seq);
        let turns = self
            .turns
            .values()
            .filter(|turn| turn.journal == id)
            .map(|turn| Seq(turn.number))
            .max();
        References {
            named: heads || threads || self.names(id),
            inherited_to: parts.map(|part| part.to).max(),
            last: entries.max(items).max(turns).unwrap_or(Seq::ZERO),
            loose: self.loose.get(&id).copied(),
        }
    }

    fn drop_receipts(&mut self, before: Time) {
        let old = self.receipts.iter().filter(|(_, receipt)| receipt.time < before);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).take(SWEEP_ROWS_MAX).collect();
        for key in old {
            self.receipts.remove(&key);
        }
    }

    fn drop_rows(&mut self, log: LogId, after: Seq) {
        let behind = (log, after.next())..=(log, Seq(u64::MAX));
        let entries = self.entries.range(behind.clone()).rev();
        let entries = swept(entries.map(|(key, entry)| (*key, entry.body.len())));
        let items = self.items.range(behind).rev();
        let items = swept(items.map(|(key, item)| (*key, item.body.len())));
        let turns = self
            .turns
            .iter()
            .filter(|(_, turn)| turn.journal == log && turn.number > after.0);
        let mut turns: Vec<_> = turns.map(|(key, turn)| (turn.number, key.clone())).collect();
        turns.sort_by(|a, b| b.cmp(a));
        turns.truncate(SWEEP_ROWS_MAX);
        entries.iter().for_each(|key| drop(self.entries.remove(key)));
        items.iter().for_each(|key| drop(self.items.remove(key)));
        turns.iter().for_each(|(_, key)| drop(self.turns.remove(key)));
    }

    fn end_items(&mut self, journal: LogId, turn: &TurnId, status: Status, time: Time, change: u64) {
        let rows = self
            .items
            .range_mut((journal, Seq::ZERO)..=(journal, Seq(u64::MAX)))
            .map(|(_, item)| item);
        for item in rows.filter(|item| item.turn == *turn && !item.status.is_end()) {
            item.status = status;
            item.end_time = Some(time);
            item.change = change;
        }
    }
}

/// The keys of rows of these sizes that one commit removes: one at least.
fn swept(rows: impl Iterator<Item = ((LogId, Seq), usize)>) -> Vec<(LogId, Seq)> {
    let mut bytes = 0;
    let fitting = rows
        .take(SWEEP_ROWS_MAX)
        .enumerate()
        .take_while(|(at, (_, size))| {
            bytes += size;
            *at == 0 || bytes <= SWEEP_BYTES_MAX
        });
    fitting.map(|(_, (key, _))| key).collect()
}
