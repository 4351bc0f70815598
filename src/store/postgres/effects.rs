//! Writing the effects of a batch: as few statements as there can be, all of them sent at once.
//!
//! Of a session or thread only the last version is written, over the one that the transaction has read: were it another
//! one, nothing would be stored. What many proposals write into one table goes there by one statement. Effects that
//! remove what others may have written end that: what comes after them is written after them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::conn::{Asking, Conn, in_order};
use super::fault::Fault;
use super::{
    copies, engines, entries, items, logs, past_heads, receipts, replicas, resumes, sessions, threads,
};
use crate::domain::path::Span;
use crate::domain::turn::Status;
use crate::domain::{
    Effect, Engine, EngineId, Entry, Item, Log, LogId, Namespace, PastHead, Receipt, Replica, ReplicaId,
    RequestId, Resume, Revision, Seq, Session, SessionId, Thread, ThreadId, Time, Turn, TurnId,
};
use crate::store::stored::{Change, Stored};

/// The last version of each row that a batch writes; `None`: it is removed.
#[derive(Debug, Default)]
pub(super) struct Heads {
    sessions: BTreeMap<(Namespace, SessionId), Option<Arc<Session>>>,
    threads: BTreeMap<(Namespace, ThreadId), Option<Arc<Thread>>>,
}

/// One statement to be.
enum Write<'e> {
    Receipts(Vec<(&'e Namespace, &'e RequestId, &'e Receipt)>),
    DropReceipts(Time),
    Open(Vec<Arc<Log>>),
    Append(Vec<&'e Entry>),
    DropRows(LogId, Seq),
    RemoveLog(LogId),
    Release(LogId),
    Copy(LogId, &'e [Span]),
    PastHead(&'e PastHead),
    DropPastHeads(&'e Namespace, &'e SessionId, Option<Revision>),
    Epoch(&'e Namespace, u64),
    Engine(&'e Engine),
    RemoveEngine(&'e Namespace, &'e EngineId),
    Replica(&'e Replica),
    RemoveReplica(&'e ReplicaId),
    Resume(&'e Resume),
    DropResumes(Time),
    Turn(&'e Turn),
    Items(Vec<&'e Item>),
    EndItems(LogId, &'e TurnId, (Status, Time, u64)),
}

/// Statements in order, and those of them that still take more.
#[derive(Default)]
struct Writes<'e> {
    all: Vec<Write<'e>>,
    receipts: Option<usize>,
    opened: Option<usize>,
    appended: Option<usize>,
    items: Option<usize>,
    /// Where an item stands among those of the statement that takes more.
    places: HashMap<(LogId, Seq), usize>,
    /// The last word on each log's note.
    loose: BTreeMap<LogId, Option<Time>>,
}

impl Heads {
    /// The sessions that were written.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &(Namespace, SessionId)> {
        let written = self.sessions.iter().filter(|(_, session)| session.is_some());
        written.map(|(name, _)| name)
    }

    /// Tells `stored` that these are stored now.
    pub(super) fn settle(&self, stored: &mut Stored) {
        for ((ns, id), session) in &self.sessions {
            match session {
                Some(session) => stored.has_session(session),
                None => stored.lacks_session(ns, id),
            }
        }
        for ((ns, id), thread) in &self.threads {
            match thread {
                Some(thread) => stored.has_thread(thread),
                None => stored.lacks_thread(ns, id),
            }
        }
    }
}

impl<'e> Writes<'e> {
    fn push(&mut self, write: Write<'e>) -> usize {
        self.all.push(write);
        self.all.len() - 1
    }

    /// What comes after this is written after what came before.
    fn part(&mut self, write: Write<'e>) {
        (self.receipts, self.opened, self.appended, self.items) = (None, None, None, None);
        self.places.clear();
        self.push(write);
    }

    fn receipt(&mut self, receipt: (&'e Namespace, &'e RequestId, &'e Receipt)) {
        let at = self
            .receipts
            .unwrap_or_else(|| self.push(Write::Receipts(Vec::new())));
        self.receipts = Some(at);
        if let Some(Write::Receipts(receipts)) = self.all.get_mut(at) {
            receipts.push(receipt);
        }
    }

    fn open(&mut self, log: &Arc<Log>) {
        let at = self.opened.unwrap_or_else(|| self.push(Write::Open(Vec::new())));
        self.opened = Some(at);
        if let Some(Write::Open(logs)) = self.all.get_mut(at) {
            logs.push(log.clone());
        }
    }

    fn append(&mut self, new: &'e [Entry]) {
        let at = self
            .appended
            .unwrap_or_else(|| self.push(Write::Append(Vec::new())));
        self.appended = Some(at);
        if let Some(Write::Append(entries)) = self.all.get_mut(at) {
            entries.extend(new);
        }
    }

    fn put_items(&mut self, new: &'e [Item]) {
        let at = self.items.unwrap_or_else(|| self.push(Write::Items(Vec::new())));
        self.items = Some(at);
        if let Some(Write::Items(items)) = self.all.get_mut(at) {
            for item in new {
                // One statement writes a row once.
                match self.places.get(&(item.journal, item.seq)) {
                    Some(place) => items[*place] = item,
                    None => {
                        self.places.insert((item.journal, item.seq), items.len());
                        items.push(item);
                    }
                }
            }
        }
    }

    fn add(&mut self, effect: &'e Effect, heads: &mut Heads) {
        match effect {
            Effect::PutSession(session) | Effect::MoveHead(session) => {
                let key = (session.namespace.clone(), session.id.clone());
                heads.sessions.insert(key, Some(session.clone()));
            }
            Effect::RemoveSession(ns, id) => {
                heads.sessions.insert((ns.clone(), id.clone()), None);
            }
            Effect::PutThread(thread) => {
                let key = (thread.namespace.clone(), thread.id.clone());
                heads.threads.insert(key, Some(thread.clone()));
            }
            Effect::RemoveThread(ns, id) => {
                heads.threads.insert((ns.clone(), id.clone()), None);
            }
            Effect::PutReceipt(ns, id, receipt) => self.receipt((ns, id, receipt)),
            Effect::DropReceipts { before } => self.part(Write::DropReceipts(*before)),
            Effect::OpenLog(log) => self.open(log),
            Effect::Append(new) => self.append(new),
            Effect::DropRows { log, after } => self.part(Write::DropRows(*log, *after)),
            Effect::RemoveLog(id) => self.part(Write::RemoveLog(*id)),
            Effect::ReleasePath(id) => self.part(Write::Release(*id)),
            Effect::PutCopy(copy, originals) => drop(self.push(Write::Copy(*copy, originals))),
            Effect::Loosen(id, since) => drop(self.loose.insert(*id, Some(*since))),
            Effect::Fasten(id) => drop(self.loose.insert(*id, None)),
            Effect::PutPastHead(head) => drop(self.push(Write::PastHead(head))),
            Effect::DropPastHeads {
                namespace,
                session,
                revision,
                time: _,
            } => self.part(Write::DropPastHeads(namespace, session, *revision)),
            Effect::PutEpoch(ns, epoch) => drop(self.push(Write::Epoch(ns, *epoch))),
            Effect::PutEngine(engine) => drop(self.push(Write::Engine(engine))),
            Effect::RemoveEngine(ns, id) => drop(self.push(Write::RemoveEngine(ns, id))),
            Effect::PutReplica(replica) => drop(self.push(Write::Replica(replica))),
            Effect::RemoveReplica(id) => drop(self.push(Write::RemoveReplica(id))),
            Effect::PutResume(resume) => drop(self.push(Write::Resume(resume))),
            Effect::DropResumes { before } => self.part(Write::DropResumes(*before)),
            Effect::PutTurn(turn) => drop(self.push(Write::Turn(turn))),
            Effect::PutItems(new) => self.put_items(new),
            Effect::EndItems {
                journal,
                turn,
                status,
                time,
                change,
            } => self.part(Write::EndItems(*journal, turn, (*status, *time, *change))),
        }
    }
}

/// Writes `effects` in the transaction that runs. Says which heads stand then.
pub(super) async fn write(conn: &Conn, effects: &[Effect], stored: &Stored) -> Result<Heads, Fault> {
    let (mut writes, mut heads) = (Writes::default(), Heads::default());
    effects.iter().for_each(|effect| writes.add(effect, &mut heads));
    let (mut loosened, mut fastened) = (Vec::new(), Vec::new());
    for (log, since) in &writes.loose {
        match since {
            Some(since) => loosened.push((*log, *since)),
            None => fastened.push(*log),
        }
    }
    let moved = moved(&heads, stored);
    let mut asking: Vec<Asking<'_, Result<(), Fault>>> = Vec::new();
    for write in &writes.all {
        ask(conn, write, &mut asking);
    }
    if !fastened.is_empty() {
        asking.push(Box::pin(logs::fasten(conn, &fastened)));
    }
    if !loosened.is_empty() {
        asking.push(Box::pin(logs::loosen(conn, &loosened)));
    }
    ask_sessions(conn, &heads, stored, &mut asking);
    if !moved.is_empty() {
        asking.push(Box::pin(sessions::move_heads(conn, &moved)));
    }
    ask_threads(conn, &heads, stored, &mut asking);
    in_order(asking)
        .await
        .into_iter()
        .collect::<Result<(), Fault>>()?;
    Ok(heads)
}

fn ask<'a>(conn: &'a Conn, write: &'a Write<'_>, asking: &mut Vec<Asking<'a, Result<(), Fault>>>) {
    match write {
        Write::Receipts(receipts) => asking.push(Box::pin(receipts::put(conn, receipts))),
        Write::DropReceipts(before) => asking.push(Box::pin(receipts::drop_before(conn, *before))),
        Write::Open(opened) => {
            asking.push(Box::pin(logs::open(conn, opened)));
            if opened.iter().any(|log| !log.path.parts().is_empty()) {
                asking.push(Box::pin(logs::open_edges(conn, opened)));
            }
        }
        Write::Append(entries) => asking.push(Box::pin(entries::append(conn, entries))),
        Write::DropRows(log, after) => {
            for sql in logs::DROPS {
                asking.push(Box::pin(logs::drop_rows(conn, sql, *log, *after)));
            }
        }
        Write::RemoveLog(id) => asking.push(Box::pin(logs::remove(conn, *id))),
        Write::Release(id) => asking.push(Box::pin(logs::release(conn, *id))),
        Write::Copy(copy, originals) => asking.push(Box::pin(copies::put(conn, *copy, originals))),
        Write::PastHead(head) => asking.push(Box::pin(past_heads::put(conn, head))),
        Write::DropPastHeads(ns, session, revision) => {
            asking.push(Box::pin(past_heads::remove(conn, ns, session, *revision)));
        }
        Write::Epoch(ns, epoch) => asking.push(Box::pin(engines::put_epoch(conn, ns, *epoch))),
        Write::Engine(engine) => asking.push(Box::pin(engines::put(conn, engine))),
        Write::RemoveEngine(ns, id) => asking.push(Box::pin(engines::remove(conn, ns, id))),
        Write::Replica(replica) => asking.push(Box::pin(replicas::put(conn, replica))),
        Write::RemoveReplica(id) => asking.push(Box::pin(replicas::remove(conn, id))),
        Write::Resume(resume) => asking.push(Box::pin(resumes::put(conn, resume))),
        Write::DropResumes(before) => asking.push(Box::pin(resumes::drop_before(conn, *before))),
        Write::Turn(turn) => asking.push(Box::pin(items::put_turn(conn, turn))),
        Write::Items(new) => asking.push(Box::pin(items::put_items(conn, new))),
        Write::EndItems(journal, turn, end) => {
            asking.push(Box::pin(items::end(conn, *journal, turn, *end)));
        }
    }
}

/// Sessions of which an append has changed the head alone, with what they were.
fn moved(heads: &Heads, stored: &Stored) -> Vec<sessions::MovedHead> {
    let written = heads.sessions.values().flatten();
    let moved = written.filter(|session| stored.session_change(session) == Change::Head);
    let pair = |session: &Arc<Session>| {
        let before = stored.session(&session.namespace, &session.id)?;
        Some((session.clone(), before.clone()))
    };
    moved.filter_map(pair).collect()
}

fn ask_sessions<'a>(
    conn: &'a Conn,
    heads: &'a Heads,
    stored: &'a Stored,
    asking: &mut Vec<Asking<'a, Result<(), Fault>>>,
) {
    for ((ns, id), session) in &heads.sessions {
        let Some(session) = session else {
            asking.push(Box::pin(sessions::remove(conn, ns, id)));
            continue;
        };
        let before = stored.session(ns, id).map(|before| &**before);
        match stored.session_change(session) {
            Change::Head => {}
            Change::Row => asking.push(Box::pin(sessions::put(conn, session, before))),
            Change::RowAndTexts => {
                asking.push(Box::pin(sessions::put(conn, session, before)));
                asking.push(Box::pin(sessions::put_texts(conn, session)));
            }
        }
    }
}

fn ask_threads<'a>(
    conn: &'a Conn,
    heads: &'a Heads,
    stored: &'a Stored,
    asking: &mut Vec<Asking<'a, Result<(), Fault>>>,
) {
    for ((ns, id), thread) in &heads.threads {
        let Some(thread) = thread else {
            asking.push(Box::pin(threads::remove(conn, ns, id)));
            continue;
        };
        let before = stored.thread(ns, id).map(|before| &**before);
        match (stored.thread_change(thread), before) {
            (Change::Head, Some(before)) => {
                asking.push(Box::pin(threads::advance(conn, thread, before)));
            }
            (Change::Head | Change::Row, before) => {
                asking.push(Box::pin(threads::put(conn, thread, before)));
            }
            (Change::RowAndTexts, before) => {
                asking.push(Box::pin(threads::put(conn, thread, before)));
                asking.push(Box::pin(threads::put_texts(conn, thread)));
            }
        }
    }
}
