//! What is watched, for whoever looks at it in the store, and what he found there. A look counts only if nothing was
//! heard since it began: what it read may be older than what a commit has told meanwhile.

use std::sync::Arc;

use crate::domain::{Namespace, Resume, ResumeId, Session, Thread};

use super::{SessionNews, Watchers};

/// Something that is watched, as far as it is known.
#[derive(Clone, Debug)]
pub enum Watched {
    /// A session.
    Session(Arc<Session>),
    /// A thread.
    Thread(Arc<Thread>),
    /// A resume; of one that has not changed since it is watched nothing is known here.
    Resume(Namespace, ResumeId, Option<Arc<Resume>>),
}

impl Watchers {
    /// What is watched: of each kind at most `max` after the first `from`, without that of which there is nothing to find
    /// out. `None`: there is no more.
    pub fn watched(&self, from: usize, max: usize) -> Option<Vec<Watched>> {
        let sessions = self.sessions.listened(from, max);
        let threads = self.threads.listened(from, max);
        let resumes = self.resumes.listened(from, max);
        if sessions.is_empty() && threads.is_empty() && resumes.is_empty() {
            return None;
        }
        let sessions = sessions
            .into_iter()
            .filter_map(|(_, known)| Some(Watched::Session(known?.session?)));
        let threads = threads
            .into_iter()
            .filter_map(|(_, known)| Some(Watched::Thread(known??)));
        let resumes = resumes.into_iter();
        let resumes = resumes.map(|((ns, id), known)| Watched::Resume(ns, id, known));
        // One that has ended says so to whoever comes; it never changes again.
        let resumes = resumes.filter(|watched| match watched {
            Watched::Resume(_, _, Some(known)) => !known.state.is_end(),
            Watched::Resume(_, _, None) | Watched::Session(_) | Watched::Thread(_) => true,
        });
        Some(sessions.chain(threads).chain(resumes).collect())
    }

    /// What the store has of a session of which `known` was known.
    pub fn correct_session(&self, known: &Arc<Session>, read: Option<Arc<Session>>) {
        let is_same =
            |read: &Arc<Session>| read.generation == known.generation && read.tip.log.id == known.tip.log.id;
        if read.as_ref().is_some_and(is_same) {
            return;
        }
        self.sessions.tell(&known.namespace, &known.id, |news| {
            let stands = news.as_ref().and_then(|news| news.session.as_ref());
            if !stands.is_some_and(|stands| Arc::ptr_eq(stands, known)) {
                return false;
            }
            let tail = news.take().map(|news| news.tail).unwrap_or_default();
            *news = Some(SessionNews { session: read, tail });
            true
        });
    }

    /// What the store has of a thread of which `known` was known.
    pub fn correct_thread(&self, known: &Arc<Thread>, read: Option<Arc<Thread>>) {
        let is_same = |read: &Arc<Thread>| read.change == known.change && read.journal == known.journal;
        if read.as_ref().is_some_and(is_same) {
            return;
        }
        self.threads.tell(&known.namespace, &known.id, |news| {
            let stands = news.as_ref().and_then(Option::as_ref);
            if !stands.is_some_and(|stands| Arc::ptr_eq(stands, known)) {
                return false;
            }
            *news = Some(read);
            true
        });
    }

    /// What the store has of a resume of which `known` was known. One that is gone has ended long ago.
    pub fn correct_resume(
        &self,
        ns: &Namespace,
        id: &ResumeId,
        known: Option<&Arc<Resume>>,
        read: Option<Arc<Resume>>,
    ) {
        let Some(read) = read else { return };
        if known.is_some_and(|known| !read.is_newer_than(known)) {
            return;
        }
        self.resumes.tell(ns, id, |news| {
            let is_unheard = match (news.as_ref(), known) {
                (None, None) => true,
                (Some(stands), Some(known)) => Arc::ptr_eq(stands, known),
                (Some(_), None) | (None, Some(_)) => false,
            };
            if is_unheard {
                *news = Some(read);
            }
            is_unheard
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;

    #[test]
    fn a_look_goes_on_past_what_nothing_is_known_of() {
        let watchers = Watchers::default();
        let names = (0..3).map(|n| f::session(&format!("s{n}")));
        let _ears: Vec<_> = names.map(|id| watchers.session(&f::namespace(), &id)).collect();
        assert_eq!(watchers.watched(0, 2).map(|found| found.len()), Some(0));
        assert!(watchers.watched(2, 2).is_some(), "one is left");
        assert!(watchers.watched(4, 2).is_none());
    }
}
