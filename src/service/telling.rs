//! From a commit to those who watch: told after it is durable, before it is answered.

use crate::store::Changes;
use crate::watchers::Watchers;

/// Tells who watches what a commit has changed.
pub(crate) fn tell(watchers: &Watchers, changes: &Changes) {
    for session in &changes.sessions {
        watchers.tell_session(session, &changes.entries);
    }
    for (ns, id) in &changes.removed_sessions {
        watchers.tell_session_gone(ns, id);
    }
    for thread in &changes.threads {
        watchers.tell_thread(thread);
    }
    for (ns, id) in &changes.removed_threads {
        watchers.tell_thread_gone(ns, id);
    }
    for resume in &changes.resumes {
        watchers.tell_resume(resume);
    }
}
