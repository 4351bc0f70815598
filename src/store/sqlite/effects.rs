//! Writing the effects of a batch.
//!
//! Of a session or thread only the last version is written, for each carries all there is to know.
//! Everything else is written in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::{
    copies, engines, entries, items, logs, past_heads, receipts, replicas, resumes, sessions, threads,
};
use crate::domain::{Effect, Namespace, Session, SessionId, Thread, ThreadId};
use crate::store::record::tally;
use crate::store::stored::{Change, Stored};

/// The last version of each row that a batch writes; `None`: it is removed.
#[derive(Debug, Default)]
pub(super) struct Heads {
    sessions: BTreeMap<(Namespace, SessionId), Option<Arc<Session>>>,
    threads: BTreeMap<(Namespace, ThreadId), Option<Arc<Thread>>>,
}

/// Writes `effects` in one transaction, durably. Says which heads stand then.
pub(super) fn write(conn: &Connection, effects: &[Effect], stored: &Stored) -> rusqlite::Result<Heads> {
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    let written = apply(conn, effects, stored).and_then(|heads| {
        conn.prepare_cached("COMMIT")?.execute(())?;
        Ok(heads)
    });
    if written.is_err() && !conn.is_autocommit() {
        // The connection is given up anyway; this frees its locks for the one that comes.
        let _ = conn.execute_batch("ROLLBACK");
    }
    written
}

impl Heads {
    /// The sessions that were written.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &(Namespace, SessionId)> {
        let written = self.sessions.iter().filter(|(_, session)| session.is_some());
        written.map(|(name, _)| name)
    }

    /// Tells `stored` that these are stored now.
    pub(super) fn settle(self, stored: &mut Stored) {
        for ((ns, id), session) in self.sessions {
            match session {
                Some(session) => stored.has_session(&session),
                None => stored.lacks_session(&ns, &id),
            }
        }
        for ((ns, id), thread) in self.threads {
            match thread {
                Some(thread) => stored.has_thread(&thread),
                None => stored.lacks_thread(&ns, &id),
            }
        }
    }
}

/// Writes `effects` within the transaction that is open.
pub(super) fn apply(conn: &Connection, effects: &[Effect], stored: &Stored) -> rusqlite::Result<Heads> {
    let mut heads = Heads::default();
    for effect in effects {
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
            Effect::PutReceipt(ns, id, receipt) => receipts::put(conn, ns, id, receipt)?,
            Effect::DropReceipts { before } => receipts::drop_before(conn, *before)?,
            Effect::OpenLog(log) => logs::open(conn, log)?,
            Effect::Append(new) => entries::append(conn, new)?,
            Effect::DropRows { log, after } => logs::drop_rows(conn, *log, *after)?,
            Effect::RemoveLog(id) => {
                logs::remove(conn, *id)?;
                copies::remove(conn, *id)?;
            }
            Effect::ReleasePath(id) => logs::release(conn, *id)?,
            Effect::PutCopy(copy, originals) => copies::put(conn, *copy, originals)?,
            Effect::Loosen(id, since) => logs::loosen(conn, *id, *since)?,
            Effect::Fasten(id) => logs::fasten(conn, *id)?,
            Effect::PutPastHead(head) => past_heads::put(conn, head)?,
            Effect::DropPastHeads {
                namespace,
                session,
                revision,
                time,
            } => past_heads::remove(conn, namespace, session, *revision, *time)?,
            Effect::PutEpoch(ns, epoch) => engines::put_epoch(conn, ns, *epoch)?,
            Effect::PutEngine(engine) => engines::put(conn, engine)?,
            Effect::RemoveEngine(ns, id) => engines::remove(conn, ns, id)?,
            Effect::PutReplica(replica) => replicas::put(conn, replica)?,
            Effect::RemoveReplica(id) => replicas::remove(conn, id)?,
            Effect::PutResume(resume) => resumes::put(conn, resume)?,
            Effect::DropResumes { before } => resumes::drop_before(conn, *before)?,
            Effect::PutTurn(turn) => items::put_turn(conn, turn)?,
            Effect::PutItems(new) => items::put_items(conn, new)?,
            Effect::EndItems {
                journal,
                turn,
                status,
                time,
                change,
            } => {
                items::end(conn, *journal, turn, (*status, *time, *change))?;
            }
        }
    }
    for ((ns, id), session) in &heads.sessions {
        match session {
            Some(session) => write_session(conn, session, stored.session_change(session))?,
            None => sessions::remove(conn, ns, id)?,
        }
    }
    for ((ns, id), thread) in &heads.threads {
        match thread {
            Some(thread) => write_thread(conn, thread, stored.thread_change(thread))?,
            None => threads::remove(conn, ns, id)?,
        }
    }
    Ok(heads)
}

fn write_session(conn: &Connection, session: &Session, change: Change) -> rusqlite::Result<()> {
    match change {
        Change::Head => sessions::move_head(conn, session, &tally::encode(&session.tip.tally)),
        Change::Row => sessions::put(conn, session),
        Change::RowAndTexts => {
            sessions::put(conn, session)?;
            sessions::put_texts(conn, session)
        }
    }
}

fn write_thread(conn: &Connection, thread: &Thread, change: Change) -> rusqlite::Result<()> {
    match change {
        Change::Head => threads::advance(conn, thread),
        Change::Row => threads::put(conn, thread),
        Change::RowAndTexts => {
            threads::put(conn, thread)?;
            threads::put_texts(conn, thread)
        }
    }
}
