//! Who watches what. A change moves a channel that carries the newest state; whoever is slow sees several changes as
//! one, never an older one, and nothing waits for him.
//!
//! Whoever commits tells what changed, in the order of the commits. Where others commit as well, what they did is read
//! and told, and what was read may be ahead of a commit that is told after it: what is older than what is known is no news.
//! A channel is there only while somebody listens. The truth is in the store: a watcher first listens, then reads, and what
//! he read is there for those who come after him. Of a session the channel carries the last entries too, so that whoever
//! keeps up never touches the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{Entry, Namespace, Resume, ResumeId, Session, SessionId, Thread, ThreadId};

mod channels;
mod looks;
mod tail;

use channels::Channels;
pub use channels::Ear;
pub use looks::Watched;
pub use tail::Tail;

/// How long a stream may be silent before it sends what it sent last again.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How often streams look whether they were silent for that long.
const TICK: Duration = Duration::from_millis(2_500);

/// What those who watch a resume hear.
pub type ResumeEar = Ear<ResumeId, Arc<Resume>>;

/// What those who watch a session hear.
pub type SessionEar = Ear<SessionId, SessionNews>;

/// What those who watch a thread hear; `None`: it is gone.
pub type ThreadEar = Ear<ThreadId, Option<Arc<Thread>>>;

/// A session as it stands, and what was appended last.
#[derive(Clone, Debug)]
pub struct SessionNews {
    /// The session; `None`: it is gone.
    pub session: Option<Arc<Session>>,
    /// The last entries of its log, as far as they are known.
    pub tail: Tail,
}

/// Everybody who watches, and the clock that all of them share.
#[derive(Debug)]
pub struct Watchers {
    resumes: Arc<Channels<ResumeId, Arc<Resume>>>,
    sessions: Arc<Channels<SessionId, SessionNews>>,
    threads: Arc<Channels<ThreadId, Option<Arc<Thread>>>>,
    ticks: watch::Sender<u64>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            resumes: Arc::default(),
            sessions: Arc::default(),
            threads: Arc::default(),
            ticks: watch::Sender::new(0),
        }
    }
}

impl Watchers {
    /// Listens for changes of a resume from now on.
    pub fn resume(&self, ns: &Namespace, id: &ResumeId) -> ResumeEar {
        self.resumes.listen(ns, id)
    }

    /// Listens for changes of a session from now on.
    pub fn session(&self, ns: &Namespace, id: &SessionId) -> SessionEar {
        self.sessions.listen(ns, id)
    }

    /// Listens for changes of a thread from now on.
    pub fn thread(&self, ns: &Namespace, id: &ThreadId) -> ThreadEar {
        self.threads.listen(ns, id)
    }

    /// Tells who listens that a resume has changed. After its end nothing comes.
    pub fn tell_resume(&self, resume: &Arc<Resume>) {
        self.resumes.tell(&resume.namespace, &resume.id, |known| {
            let has_ended = known.as_ref().is_some_and(|known| known.state.is_end());
            if has_ended && !resume.state.is_end() {
                return false;
            }
            *known = Some(resume.clone());
            true
        });
    }

    /// Tells who listens that a session has changed; `appended` are the entries that the change added, or some of other
    /// logs.
    pub fn tell_session(&self, session: &Arc<Session>, appended: &[Arc<[Entry]>]) {
        self.sessions.tell(&session.namespace, &session.id, |known| {
            let (stands, tail) = match known.take() {
                Some(SessionNews { session, tail }) => (session, tail),
                None => (None, Tail::default()),
            };
            let tail = appended.iter().fold(tail, |tail, entries| tail.with(entries));
            let newer = stands.filter(|stands| session.is_older_than(stands));
            let is_news = newer.is_none();
            *known = Some(SessionNews {
                session: newer.or_else(|| Some(session.clone())),
                tail,
            });
            is_news
        });
    }

    /// What was read of a session, where nothing is known yet.
    pub fn offer_session(&self, session: &Arc<Session>) {
        let read = SessionNews {
            session: Some(session.clone()),
            tail: Tail::default(),
        };
        self.sessions.offer(&session.namespace, &session.id, read);
    }

    /// What was read of a thread, where nothing is known yet.
    pub fn offer_thread(&self, thread: &Arc<Thread>) {
        self.threads
            .offer(&thread.namespace, &thread.id, Some(thread.clone()));
    }

    /// Tells who listens that a session is gone.
    pub fn tell_session_gone(&self, ns: &Namespace, id: &SessionId) {
        let gone = SessionNews {
            session: None,
            tail: Tail::default(),
        };
        self.sessions.tell(ns, id, |known| {
            *known = Some(gone);
            true
        });
    }

    /// Tells who listens that a thread has changed.
    pub fn tell_thread(&self, thread: &Arc<Thread>) {
        self.threads.tell(&thread.namespace, &thread.id, |known| {
            let stands = known.as_ref().and_then(Option::as_ref);
            if stands.is_some_and(|stands| stands.journal == thread.journal && stands.change > thread.change)
            {
                return false;
            }
            *known = Some(Some(thread.clone()));
            true
        });
    }

    /// Tells who listens that a thread is gone.
    pub fn tell_thread_gone(&self, ns: &Namespace, id: &ThreadId) {
        self.threads.tell(ns, id, |known| {
            *known = Some(None);
            true
        });
    }

    /// The clock that heartbeats go by.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Lets the clock run until `stop`.
    pub async fn tick(&self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(TICK);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.ticks.send_modify(|ticks| *ticks += 1);
        }
    }
}

/// Whether a stream that sent something then has to send it again by now: the clock ticks some times in a silence.
pub fn is_silent_since(sent: Instant) -> bool {
    sent.elapsed() + SILENCE_MAX / 6 >= SILENCE_MAX
}
