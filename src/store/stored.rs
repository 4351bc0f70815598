//! What a writer knows of rows as they are stored, so that it writes no more of one than has changed.
//! It is a memory, never a source: where it knows nothing, a row is written whole.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Namespace, Session, SessionId, Thread, ThreadId};

/// The bytes of large texts that are kept in memory.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows as they were last read or written.
#[derive(Debug, Default)]
pub(in crate::store) struct Stored {
    sessions: HashMap<(Namespace, SessionId), Arc<Session>>,
    threads: HashMap<(Namespace, ThreadId), Arc<Thread>>,
    text_bytes: usize,
}

/// How much of a row has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Change {
    /// What an append or an item changes.
    Head,
    /// The row.
    Row,
    /// The row, and the large texts.
    RowAndTexts,
}

impl Stored {
    /// The store has this session.
    pub(in crate::store) fn has_session(&mut self, session: &Arc<Session>) {
        let key = (session.namespace.clone(), session.id.clone());
        self.text_bytes += session.text_bytes();
        if let Some(before) = self.sessions.insert(key, session.clone()) {
            self.text_bytes = self.text_bytes.saturating_sub(before.text_bytes());
        }
    }

    /// The store has this thread.
    pub(in crate::store) fn has_thread(&mut self, thread: &Arc<Thread>) {
        let key = (thread.namespace.clone(), thread.id.clone());
        self.text_bytes += thread.text_bytes();
        if let Some(before) = self.threads.insert(key, thread.clone()) {
            self.text_bytes = self.text_bytes.saturating_sub(before.text_bytes());
        }
    }

    /// The store has no such session.
    pub(in crate::store) fn lacks_session(&mut self, ns: &Namespace, id: &SessionId) {
        if let Some(before) = self.sessions.remove(&(ns.clone(), id.clone())) {
            self.text_bytes = self.text_bytes.saturating_sub(before.text_bytes());
        }
    }

    /// The store has no such thread.
    pub(in crate::store) fn lacks_thread(&mut self, ns: &Namespace, id: &ThreadId) {
        if let Some(before) = self.threads.remove(&(ns.clone(), id.clone())) {
            self.text_bytes = self.text_bytes.saturating_sub(before.text_bytes());
        }
    }

    /// A session as the store has it, where that is known.
    pub(in crate::store) fn session(&self, ns: &Namespace, id: &SessionId) -> Option<&Arc<Session>> {
        self.sessions.get(&(ns.clone(), id.clone()))
    }

    /// A thread as the store has it, where that is known.
    pub(in crate::store) fn thread(&self, ns: &Namespace, id: &ThreadId) -> Option<&Arc<Thread>> {
        self.threads.get(&(ns.clone(), id.clone()))
    }

    /// What has to be written of a session.
    pub(in crate::store) fn session_change(&self, after: &Session) -> Change {
        let before = self.sessions.get(&(after.namespace.clone(), after.id.clone()));
        let Some(before) = before else {
            return Change::RowAndTexts;
        };
        let same_profile = same(&before.profile, &after.profile);
        if same_profile && before.tip.log.id == after.tip.log.id {
            Change::Head
        } else if same_profile || same(&before.profile.texts, &after.profile.texts) {
            Change::Row
        } else {
            Change::RowAndTexts
        }
    }

    /// What has to be written of a thread.
    pub(in crate::store) fn thread_change(&self, after: &Thread) -> Change {
        let before = self.threads.get(&(after.namespace.clone(), after.id.clone()));
        let Some(before) = before else {
            return Change::RowAndTexts;
        };
        let base = |thread: &Thread| thread.base.as_ref().map(|base| (base.log.id, base.seq()));
        let same_profile = same(&before.profile, &after.profile);
        let same_names = before.session == after.session
            && before.engine == after.engine
            && before.epoch == after.epoch
            && before.journal == after.journal;
        if same_profile && same_names && base(before) == base(after) {
            Change::Head
        } else if same_profile || same(&before.profile.texts, &after.profile.texts) {
            Change::Row
        } else {
            Change::RowAndTexts
        }
    }

    /// Whether it has grown past what it may hold, facts and all.
    pub(in crate::store) fn is_full(&self, rows_max: usize) -> bool {
        self.sessions.len() + self.threads.len() > rows_max || self.text_bytes > TEXT_BYTES_MAX
    }
}

/// Whether two versions are one: most often they share it, else they are compared.
fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
