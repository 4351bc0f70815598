//! Resumes: asked for here, driven in `drive`, watched from anywhere. The operation is the service's own; a client that
//! leaves does not stop it.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::limits::PAGE_BYTES_MAX;
use crate::domain::proposal::{Offer, Open, ResumeCommand};
use crate::domain::query::{self, Bound, Page, ResumeKey};
use crate::domain::resume::{State, Wish};
use crate::domain::{Command, Namespace, Noun, Outcome, Refusal, Resume, ResumeId, SessionId, ThreadId};
use crate::watchers::{News, SILENCE_MAX};

use super::{Call, Error, Service, mismatched};

mod drive;
mod seed;

/// Rows that are looked at in one read.
const ROWS_MAX: usize = 100;

/// Which resume is watched.
#[derive(Clone, Debug)]
pub enum Target {
    /// This one.
    Resume(ResumeId),
    /// The last one into this thread.
    Thread(ThreadId),
}

/// What stands, then what changes, and the end state last.
pub type Progress = BoxStream<'static, Result<Arc<Resume>, Error>>;

impl Service {
    /// Seeds a session into a thread, or finds the thread or the resume that has it already.
    pub async fn resume(&self, call: Call, session: SessionId, wish: Wish) -> Result<Progress, Error> {
        let ns = call.namespace.clone();
        let is_to_be_had = !wish.needs_engine() || self.live.registry.pick(&ns, &wish, None).is_some();
        let open = Open {
            id: ResumeId::from_uuid(self.fresh_id()),
            session,
            wish,
            offer: if is_to_be_had { Offer::Some } else { Offer::None },
            thread: ThreadId::from_uuid(self.fresh_id()),
        };
        let command = Command::Resume(ResumeCommand::Open(Box::new(open)));
        let committed = self.commit(call, command).await?;
        let Outcome::Resume { resume: id } = committed.outcome else {
            return Err(mismatched(&committed.outcome));
        };
        let resume = committed.resume.ok_or_else(|| Refusal::no_resume(&id))?;
        if !resume.state.is_end() {
            self.drive(&resume, drive::Beginning::Asked);
        }
        self.watch_resume(&ns, &Target::Resume(id)).await
    }

    /// Watches a resume until its end.
    pub async fn watch_resume(&self, ns: &Namespace, target: &Target) -> Result<Progress, Error> {
        let id = match target {
            Target::Resume(id) => id.clone(),
            Target::Thread(thread) => self.last_into(ns, thread).await?,
        };
        // First listen, then read: nothing falls between the two.
        let listening = Listening {
            service: self.clone(),
            news: self.live.watchers.listen(ns, &id),
            ticks: self.live.watchers.ticks(),
            ns: ns.clone(),
            id,
        };
        let first = self.found_resume(ns, &listening.id).await?;
        let watch = Watch {
            listening,
            last: first.clone(),
            sent: Instant::now(),
        };
        let rest = stream::unfold(watch, |mut watch| async move {
            let next = watch.next().await?;
            Some((next, watch))
        });
        Ok(stream::once(async move { Ok(first) }).chain(rest).boxed())
    }

    /// A resume as it stands.
    pub async fn found_resume(&self, ns: &Namespace, id: &ResumeId) -> Result<Arc<Resume>, Error> {
        let resume = self.store.resume(ns, id).await?;
        resume.ok_or_else(|| Refusal::no_resume(id).into())
    }

    /// A page of resumes, the newest first.
    pub async fn resumes(
        &self,
        query: &query::Resumes,
        after: Option<&ResumeKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Resume>, ResumeKey>, Error> {
        Ok(self.store.resumes(query, after, bound).await?)
    }

    /// Calls a resume off; one that has ended stays as it is.
    pub async fn cancel_resume(&self, call: Call, id: ResumeId) -> Result<Arc<Resume>, Error> {
        let command = Command::Resume(ResumeCommand::Cancel { id: id.clone() });
        let committed = self.commit(call, command).await?;
        committed.resume.ok_or_else(|| Refusal::no_resume(&id).into())
    }

    async fn last_into(&self, ns: &Namespace, thread: &ThreadId) -> Result<ResumeId, Error> {
        let query = query::Resumes {
            namespace: Some(ns.clone()),
            states: Vec::new(),
            session: None,
            thread: Some(thread.clone()),
            engine: None,
        };
        let page = self
            .store
            .resumes(
                &query,
                None,
                Bound {
                    rows: 1,
                    bytes: PAGE_BYTES_MAX,
                },
            )
            .await?;
        let missing = || Refusal::NotFound {
            noun: Noun::Resume,
            id: thread.to_string(),
        };
        Ok(page.rows.first().ok_or_else(missing)?.id.clone())
    }

    /// After a start: drives on what ran.
    pub(super) async fn carry_on(&self) -> Result<(), Error> {
        let query = query::Resumes {
            namespace: None,
            states: vec![State::Queued, State::Seeding],
            session: None,
            thread: None,
            engine: None,
        };
        let bound = Bound {
            rows: ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let mut after = None;
        loop {
            let page = self.store.resumes(&query, after.as_ref(), bound).await?;
            for resume in &page.rows {
                self.drive(resume, drive::Beginning::CarriedOn);
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// One who watches: no task and no timer of its own.
struct Watch {
    listening: Listening,
    last: Arc<Resume>,
    sent: Instant,
}

/// Leaves when it is dropped, so that nothing is kept for who is gone.
struct Listening {
    service: Service,
    news: News,
    ticks: watch::Receiver<u64>,
    ns: Namespace,
    id: ResumeId,
}

impl Watch {
    /// The next change, or after a long silence the last one again; `None` after the end.
    async fn next(&mut self) -> Option<Result<Arc<Resume>, Error>> {
        if self.last.state.is_end() {
            return None;
        }
        loop {
            let Listening { news, ticks, .. } = &mut self.listening;
            let newer = tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => news.borrow_and_update().clone(),
                    // Nobody tells any more: what stands is in the store.
                    Err(_) => match self.read().await {
                        Ok(resume) => Some(resume),
                        Err(error) => return Some(Err(error)),
                    },
                },
                Ok(()) = ticks.changed() => None,
            };
            let is_news = newer
                .as_ref()
                .is_some_and(|newer| newer.is_newer_than(&self.last));
            if let Some(newer) = newer.filter(|_| is_news) {
                self.last = newer;
            }
            if is_news || self.sent.elapsed() + SILENCE_MAX / 6 >= SILENCE_MAX {
                self.sent = Instant::now();
                return Some(Ok(self.last.clone()));
            }
        }
    }

    async fn read(&mut self) -> Result<Arc<Resume>, Error> {
        let Listening { service, ns, id, .. } = &self.listening;
        let news = service.live.watchers.listen(ns, id);
        let resume = service.found_resume(ns, id).await?;
        self.listening.news = news;
        Ok(resume)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Its own ear has to be closed before it is counted who else listens.
        self.news = watch::channel(None).1;
        self.service.live.watchers.leave(&self.ns, &self.id);
    }
}
