//! What random clients do to logs, and what must be readable after it.

use std::sync::Arc;
use std::time::Duration;

use super::{Run, Said};
use crate::domain::fixture as f;
use crate::domain::proposal::{
    Cut, Deletion, Offer, Open, ResumeCommand, Rewind, Seat, Seed, SessionCommand, Start, ThreadCommand,
};
use crate::domain::resume::{State as ResumeState, Wish};
use crate::domain::retention::Action;
use crate::domain::session::{Draft, State};
use crate::domain::{LogId, NewEntry, PastHead, Proposal, Resume, Revision, Session, Tip};
use crate::store::conformance::desk::{appending, forked, staging};
use crate::store::conformance::receipts::deleting;
use crate::store::conformance::retention::pruning;
use crate::store::conformance::upkeep::compacting;
use crate::store::{Committed, Error};

/// Sessions at a time, more or less.
const SESSIONS: u64 = 8;

/// How long a deleted session of a run stays.
const PURGE_AFTER: Duration = Duration::from_secs(5_000);

impl Run {
    /// One thing that a client does.
    pub(super) async fn command(&mut self) {
        let Some(id) = self.some_session() else {
            return self.create().await;
        };
        match self.dice.below(100) {
            0..6 => self.create().await,
            6..30 => self.append(&id).await,
            30..45 => self.fork(&id).await,
            45..57 => self.rewind(&id).await,
            57..70 => self.resume_step(&id).await,
            70..75 => self.delete(&id).await,
            75..79 => self.undelete(&id).await,
            79..85 => self.prune(&id).await,
            85..90 => self.compact(&id).await,
            90..95 => self.abandon(&id).await,
            _ => self.delete_thread().await,
        }
    }

    /// Everything is deleted, and what runs is ended.
    pub(super) async fn end(&mut self) {
        for id in std::mem::take(&mut self.reached.sources).into_keys() {
            let id = f::resume(&id);
            self.desk.done(f::to_resume(ResumeCommand::Cancel { id })).await;
        }
        for id in std::mem::take(&mut self.reached.bases).into_keys() {
            let (id, epoch) = (f::thread(&id), None);
            self.desk
                .done(f::to_thread(ThreadCommand::Delete { id, epoch }))
                .await;
        }
        for id in std::mem::take(&mut self.reached.sessions).into_keys() {
            if self.desk.found(&id).await.is_some() {
                self.desk.done(deleting(&id, Deletion::Force)).await;
            }
        }
        self.reached.heads.clear();
    }

    fn some_session(&mut self) -> Option<String> {
        let ids: Vec<String> = self.reached.sessions.keys().cloned().collect();
        if (ids.len() as u64) < self.dice.below(SESSIONS) {
            return None;
        }
        self.dice.pick(&ids).cloned()
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn log(&mut self) -> LogId {
        let log = self.desk.log();
        self.logs.insert(log);
        log
    }

    fn entries(&mut self, most: u64) -> Vec<NewEntry> {
        let count = 1 + self.dice.below(most);
        let entry = |at| {
            let id = format!("e{}-{at}", self.names);
            match at % 3 {
                0 => f::user(&id, "hello"),
                1 => f::assistant(&id),
                _ => f::event(&id),
            }
        };
        let entries = (0..count).map(entry).collect();
        self.names += 1;
        entries
    }

    /// Whether a rule let it through; storage never fails here.
    async fn tried(&self, proposal: Proposal) -> Option<Committed> {
        match self.desk.commit(proposal).await {
            Ok(committed) => Some(committed),
            Err(Error::Refused(_)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn create(&mut self) {
        let id = self.fresh("s");
        let parent = self.some_session().filter(|_| self.dice.one_in(4));
        let draft = Draft {
            parent: parent.as_deref().map(f::session),
            ..Draft::default()
        };
        let command = SessionCommand::Create {
            id: f::session(&id),
            log: self.log(),
            draft: Box::new(draft),
        };
        if self.tried(f::to_session(command)).await.is_some() {
            self.reached.sessions.insert(id, Vec::new());
        }
    }

    async fn append(&mut self, id: &str) {
        let entries = self.entries(6);
        let more: Vec<Said> = entries
            .iter()
            .map(|new| (new.id.to_string(), new.body.to_vec()))
            .collect();
        if self.tried(appending(id, entries)).await.is_some() {
            self.reached
                .sessions
                .get_mut(id)
                .expect("it is known")
                .extend(more);
        }
    }

    async fn fork(&mut self, id: &str) {
        let (name, log) = (self.fresh("f"), self.log());
        let kept = &self.reached.sessions[id];
        let cut = self.dice.below(kept.len() as u64 + 1);
        let said = kept[..usize::try_from(cut).expect("small")].to_vec();
        let fork = crate::domain::proposal::Fork {
            log,
            ..self.desk.forking(id, cut, &name).await
        };
        if self.tried(forked(fork)).await.is_some() {
            self.reached.sessions.insert(name, said);
        }
    }

    /// Back to a cut, or to a head that was left.
    async fn rewind(&mut self, id: &str) {
        let (session, log) = (self.desk.session(id).await, self.log());
        let heads = self.reached.heads.keys().filter(|(session, _)| session == id);
        let revisions: Vec<Revision> = heads.map(|(_, revision)| *revision).collect();
        let to = self
            .dice
            .pick(&revisions)
            .copied()
            .filter(|_| self.dice.one_in(2));
        let (tally, kept) = match to {
            Some(revision) => {
                let head = self.head(id, revision).await.expect("it is kept");
                (
                    head.tip.tally.clone(),
                    self.reached.heads[&(id.to_owned(), revision)].clone(),
                )
            }
            None => {
                let all = &self.reached.sessions[id];
                let cut = self.dice.below(all.len() as u64 + 1);
                let kept = all[..usize::try_from(cut).expect("small")].to_vec();
                (self.desk.tally(&session, cut).await, kept)
            }
        };
        let rewind = Rewind {
            session: session.id.clone(),
            from: session.tip.clone(),
            to,
            cut: Cut {
                tally,
                preview: String::new(),
            },
            expected: None,
            log,
        };
        let done = self
            .tried(f::to_session(SessionCommand::Rewind(Box::new(rewind))))
            .await;
        let moved = done
            .and_then(|done| done.session)
            .filter(|after| after.revision != session.revision);
        if moved.is_some() {
            let before = self
                .reached
                .sessions
                .insert(id.to_owned(), kept)
                .expect("it is known");
            self.reached
                .heads
                .insert((id.to_owned(), session.revision), before);
        }
    }

    /// A resume of the session goes one step on: it is opened, started, and seated or given up.
    async fn resume_step(&mut self, id: &str) {
        let name = format!("r-{id}-{}", self.names);
        let open = Open {
            id: f::resume(&name),
            session: f::session(id),
            wish: Wish::default(),
            offer: Offer::Some,
            thread: f::thread(&format!("of-{name}")),
        };
        let opened = self
            .tried(f::to_resume(ResumeCommand::Open(Box::new(open))))
            .await;
        let Some(resume) = opened.and_then(|opened| opened.resume) else {
            return;
        };
        self.names += 1;
        match resume.state {
            ResumeState::Queued => self.start(id, &resume).await,
            ResumeState::Seeding if self.dice.one_in(3) => {
                let id = resume.id.clone();
                self.reached.sources.remove(id.as_str());
                self.desk.done(f::to_resume(ResumeCommand::Cancel { id })).await;
            }
            ResumeState::Seeding => self.seat(&resume).await,
            ResumeState::Ready | ResumeState::Failed | ResumeState::Canceled => {}
        }
    }

    async fn start(&mut self, id: &str, resume: &Resume) {
        let session = self.desk.session(id).await;
        let start = Start {
            id: resume.id.clone(),
            engine: None,
            source: session.tip.clone(),
            total: session.tip.tally.visible,
            seed: Seed::Fresh,
            attempt: resume.attempt + 1,
            thread: resume.thread.clone(),
        };
        if self
            .tried(f::to_resume(ResumeCommand::Start(Box::new(start))))
            .await
            .is_some()
        {
            let said = self.reached.sessions[id].clone();
            self.reached.sources.insert(resume.id.to_string(), said);
        }
    }

    async fn seat(&mut self, resume: &Resume) {
        let seat = Seat {
            id: resume.id.clone(),
            epoch: None,
            journal: self.log(),
            system_prompt: String::new(),
        };
        if self
            .tried(f::to_resume(ResumeCommand::Seat(Box::new(seat))))
            .await
            .is_some()
        {
            let said = self.reached.sources.remove(resume.id.as_str()).expect("it runs");
            self.reached.bases.insert(resume.thread.to_string(), said);
        }
    }

    async fn delete(&mut self, id: &str) {
        let mode = if self.dice.one_in(3) {
            Deletion::Force
        } else {
            Deletion::Soft {
                purge_after: PURGE_AFTER,
            }
        };
        if self.tried(deleting(id, mode)).await.is_some() {
            self.went(mode).await;
        }
    }

    async fn undelete(&mut self, id: &str) {
        let id = f::session(id);
        self.tried(f::to_session(SessionCommand::Undelete { id })).await;
    }

    async fn prune(&mut self, id: &str) {
        let purge_after = PURGE_AFTER;
        let other = self.some_session().unwrap_or_else(|| id.to_owned());
        let proposal = pruning(&self.desk, Action::Delete { purge_after }, &[id, &other]).await;
        self.desk.done(proposal).await;
        self.went(Deletion::Soft { purge_after }).await;
    }

    /// A deletion took a family: its resumes have ended, and by force it is gone.
    async fn went(&mut self, mode: Deletion) {
        let ids: Vec<String> = self.reached.sessions.keys().cloned().collect();
        for id in ids {
            match self.desk.found(&id).await {
                Some(_) => {}
                None => {
                    assert_eq!(mode, Deletion::Force, "{id} is gone");
                    self.reached.sessions.remove(&id);
                    self.reached.heads.retain(|(session, _), _| *session != id);
                }
            }
        }
        let running: Vec<String> = self.reached.sources.keys().cloned().collect();
        for id in running {
            let resume = self.resume(&id).await;
            let session = self.desk.found(resume.session.as_str()).await;
            let lives = session.is_some_and(|session| session.profile.state != State::Deleted);
            assert_eq!(
                resume.source.is_some(),
                lives,
                "resume {id} ends with its session"
            );
            if !lives {
                self.reached.sources.remove(&id);
            }
        }
    }

    /// A stretch of the path is copied together.
    async fn compact(&mut self, id: &str) {
        let (names, session) = ([self.log(), self.log()], self.desk.session(id).await);
        let parts = session
            .tip
            .log
            .child(names[0], &session.tip.tally)
            .path
            .parts()
            .len() as u64;
        if parts == 0 {
            return;
        }
        let first = self.dice.below(parts);
        let end = first + 1 + self.dice.below(parts - first);
        let at = |at: u64| usize::try_from(at).expect("small");
        let commands = compacting(&*self.desk.store, &session, at(first)..at(end), names).await;
        for command in commands {
            self.tried(f::to_upkeep(command)).await;
        }
    }

    /// A log is staged and never published.
    async fn abandon(&mut self, id: &str) {
        let session: Arc<Session> = self.desk.session(id).await;
        let log = self.log();
        let log = Arc::new(session.tip.log.child(log, &session.tip.tally));
        let entries = self.entries(9);
        let (_, stage) = staging(&Tip::start_of(log), &entries);
        self.tried(f::to_upkeep(stage)).await;
    }

    async fn delete_thread(&mut self) {
        let ids: Vec<String> = self.reached.bases.keys().cloned().collect();
        let Some(id) = self.dice.pick(&ids).cloned() else {
            return;
        };
        let command = ThreadCommand::Delete {
            id: f::thread(&id),
            epoch: None,
        };
        if self.tried(f::to_thread(command)).await.is_some() {
            self.reached.bases.remove(&id);
        }
    }

    pub(super) async fn head(&self, id: &str, revision: Revision) -> Option<Arc<PastHead>> {
        let head = self
            .desk
            .store
            .past_head(&self.desk.ns, &f::session(id), revision)
            .await;
        head.expect("it can be read")
    }

    pub(super) async fn resume(&self, id: &str) -> Arc<Resume> {
        let resume = self.desk.store.resume(&self.desk.ns, &f::resume(id)).await;
        resume.expect("it can be read").expect("it is there")
    }
}
