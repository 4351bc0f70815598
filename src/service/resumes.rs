//! Resumes: asked for here, driven in `drive`, watched from anywhere. The operation is the service's own; a client that
//! leaves does not stop it.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::limits::PAGE_BYTES_MAX;
use crate::domain::proposal::{Offer, Open, ResumeCommand};
use crate::domain::query::{self, Bound, Page, ResumeKey};
use crate::domain::resume::Wish;
use crate::domain::{Command, Namespace, Noun, Outcome, Refusal, Resume, ResumeId, SessionId, ThreadId};
use crate::watchers::{ResumeEar, is_silent_since};

use super::{Call, Error, Service, mismatched};

mod drive;
mod seed;
#[cfg(test)]
mod tests;

pub(super) use drive::Beginning;

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
        let fence = self.fence()?;
        let is_to_be_had = !wish.needs_engine() || self.pick(&ns, &wish, None).await?.is_some();
        let open = Open {
            id: ResumeId::from_uuid(self.fresh_id()),
            session,
            wish,
            offer: if is_to_be_had { Offer::Some } else { Offer::None },
            thread: ThreadId::from_uuid(self.fresh_id()),
        };
        let command = Command::Resume(ResumeCommand::Open(Box::new(open)));
        let committed = self.commit_as(call, fence.clone(), command).await?;
        let Outcome::Resume { resume: id } = committed.outcome else {
            return Err(mismatched(&committed.outcome));
        };
        let resume = committed.resume.ok_or_else(|| Refusal::no_resume(&id))?;
        if !resume.state.is_end() && resume.driver == fence {
            self.drive(&resume, Beginning::Asked);
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
        let ear = self.live.watchers.resume(ns, &id);
        let first = self.found_resume(ns, &id).await?;
        let watch = Watch {
            ear,
            ticks: self.live.watchers.ticks(),
            last: first.clone(),
            sent: Instant::now(),
        };
        let rest = stream::unfold(watch, |mut watch| async move {
            let next = watch.next().await?;
            Some((Ok(next), watch))
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
}

/// One who watches: no task and no timer of its own.
struct Watch {
    ear: ResumeEar,
    ticks: watch::Receiver<u64>,
    last: Arc<Resume>,
    sent: Instant,
}

impl Watch {
    /// The next change, or after a long silence the last one again; `None` after the end.
    async fn next(&mut self) -> Option<Arc<Resume>> {
        if self.last.state.is_end() {
            return None;
        }
        loop {
            let newer = tokio::select! {
                news = self.ear.next() => Some(news),
                Ok(()) = self.ticks.changed() => None,
            };
            let newer = newer.filter(|newer| newer.is_newer_than(&self.last));
            let is_news = newer.is_some();
            if let Some(newer) = newer {
                self.last = newer;
            }
            if is_news || is_silent_since(self.sent) {
                self.sent = Instant::now();
                return Some(self.last.clone());
            }
        }
    }
}
