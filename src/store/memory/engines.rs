//! Engines, resumes and the heads that sessions have left.

use std::sync::Arc;

use super::Tables;
use crate::domain::limits::{ENGINE_LIFE, PAST_HEAD_LIFE, RESUME_LIFE, SWEEP_ROWS_MAX};
use crate::domain::{
    Engine, EngineId, Log, LogId, Namespace, PastHead, Resume, ResumeId, Revision, Session, SessionId, Time,
};
use crate::store::{Child, Chore};

impl Tables {
    pub(super) fn engine(&self, ns: &Namespace, id: &EngineId) -> Option<Arc<Engine>> {
        self.engines.get(&(ns.clone(), id.clone())).cloned()
    }

    pub(super) fn threads_held(&self, ns: &Namespace, engine: &EngineId, epoch: u64) -> u64 {
        let threads = self.threads.values();
        let held = threads.filter(|thread| {
            thread.namespace == *ns && thread.engine.as_ref() == Some(engine) && thread.epoch == epoch
        });
        held.count() as u64
    }

    pub(super) fn resume(&self, ns: &Namespace, id: &ResumeId) -> Option<Arc<Resume>> {
        self.resumes.get(&(ns.clone(), id.clone())).cloned()
    }

    pub(super) fn open_resume(&self, ns: &Namespace, session: &SessionId) -> Option<Arc<Resume>> {
        let mut resumes = self.resumes.values();
        let open = resumes.find(|resume| {
            resume.namespace == *ns && resume.session == *session && resume.end_time.is_none()
        });
        open.cloned()
    }

    pub(super) fn put_resume(&mut self, resume: Arc<Resume>) {
        self.resumes
            .insert((resume.namespace.clone(), resume.id.clone()), resume);
    }

    /// Forgets the oldest of those that ended before a time.
    pub(super) fn drop_resumes(&mut self, before: Time) {
        let ended = self
            .resumes
            .iter()
            .filter_map(|(key, resume)| Some((resume.end_time?, key.clone())));
        let mut old: Vec<_> = ended.filter(|(time, _)| *time < before).collect();
        old.sort();
        for (_, key) in old.into_iter().take(SWEEP_ROWS_MAX) {
            self.resumes.remove(&key);
        }
    }

    pub(super) fn past_head(
        &self,
        ns: &Namespace,
        session: &SessionId,
        revision: Revision,
    ) -> Option<Arc<PastHead>> {
        self.past_heads
            .get(&(ns.clone(), session.clone(), revision))
            .cloned()
    }

    /// Sessions right below another one.
    pub(super) fn children(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        rows: usize,
    ) -> Vec<Child> {
        let below =
            |id: &SessionId, session: &Session| session.namespace == *ns && session.above() == Some(id);
        let later = self
            .sessions
            .values()
            .filter(|session| below(id, session) && after.is_none_or(|after| session.id > *after));
        let child = |session: &Arc<Session>| Child {
            id: session.id.clone(),
            session: Some(session.clone()),
            has_children: self.sessions.values().any(|other| below(&session.id, other)),
        };
        later.take(rows).map(child).collect()
    }

    pub(super) fn log(&self, id: LogId) -> Option<Arc<Log>> {
        self.logs.get(&id).cloned()
    }

    pub(super) fn put_past_head(&mut self, head: Arc<PastHead>) {
        self.past_heads.insert(
            (head.namespace.clone(), head.session.clone(), head.revision),
            head,
        );
    }

    /// Forgets heads of a session, all or one, and leaves their logs to the sweep.
    pub(super) fn drop_past_heads(
        &mut self,
        ns: &Namespace,
        session: &SessionId,
        revision: Option<Revision>,
        time: Time,
    ) {
        let loose = &mut self.loose;
        self.past_heads.retain(|_, head| {
            let of_session = head.namespace == *ns && head.session == *session;
            let dropped = of_session && revision.is_none_or(|revision| head.revision == revision);
            if dropped {
                loose.insert(head.tip.log.id, time);
            }
            !dropped
        });
    }

    /// Whether a past head names a log, or a resume that has not ended is seeded from it.
    pub(super) fn names(&self, log: LogId) -> bool {
        let mut resumes = self.resumes.values().filter(|resume| resume.end_time.is_none());
        self.past_heads.values().any(|head| head.tip.log.id == log)
            || resumes.any(|resume| resume.source.as_ref().is_some_and(|source| source.log.id == log))
    }

    /// What has been kept for long enough.
    pub(super) fn expired(&self, now: Time) -> impl Iterator<Item = Chore> {
        let ended = now.before(RESUME_LIFE);
        let resumes = self
            .resumes
            .values()
            .any(|resume| resume.end_time.is_some_and(|time| time < ended))
            .then_some(Chore::ExpireResumes);
        let left = now.before(PAST_HEAD_LIFE);
        let heads = self.past_heads.values().filter(move |head| head.time < left);
        let heads =
            heads.map(|head| Chore::ExpireHead(head.namespace.clone(), head.session.clone(), head.revision));
        let gone = now.before(ENGINE_LIFE);
        let engines = self.engines.values().filter(move |engine| {
            engine.detach_time.is_some_and(|time| time < gone) && !self.owns_threads(engine)
        });
        let engines = engines.map(|engine| Chore::ForgetEngine(engine.namespace.clone(), engine.id.clone()));
        resumes.into_iter().chain(heads).chain(engines)
    }

    fn owns_threads(&self, engine: &Engine) -> bool {
        let mut threads = self.threads.values();
        threads
            .any(|thread| thread.namespace == engine.namespace && thread.engine.as_ref() == Some(&engine.id))
    }
}
