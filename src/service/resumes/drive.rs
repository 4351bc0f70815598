//! Drives one resume from QUEUED to its end: finds an engine, seeds it, seats the thread; and again elsewhere when the
//! engine leaves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::proposal::{ResumeCommand, Seat, Seed as SeedKind, Start};
use crate::domain::resume::{ATTEMPTS_MAX, FAULT_BYTES_MAX, Failure, State, Wish};
use crate::domain::{
    Command, EngineId, Fence, Namespace, Noun, Refusal, Resume, ResumeId, Session, ThreadId,
};
use crate::engine::{self, Down, EngineHandle};
use crate::store;

use super::super::engines::call;
use super::super::places::{LOOK_AGAIN, Place};
use super::super::{Error, Service};

/// How long to wait before what the store did not take is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How a driver comes to its resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Beginning {
    /// Somebody asks for it, or the attempt before is over.
    Asked,
    /// It ran when the service stopped, another replica let go of it, or the store was away: its engine may be here, or
    /// here soon, and nothing was wrong with the attempt.
    CarriedOn,
}

/// Where a session is seeded.
enum Where {
    Engine(EngineHandle),
    Journal,
    Elsewhere(EngineId, Fence),
}

impl From<Place> for Where {
    fn from(place: Place) -> Self {
        match place {
            Place::Here(handle) => Self::Engine(handle),
            Place::There(engine, fence) => Self::Elsewhere(engine, fence),
        }
    }
}

/// What an attempt is to do.
pub(super) struct Goal {
    /// The thread to seed into.
    pub(super) thread: ThreadId,
    /// The number of the attempt.
    pub(super) attempt: u32,
    /// A seed that its engine does not have any more.
    pub(super) lost: Option<u32>,
}

impl Beginning {
    /// The number of the attempt that begins so after `before`.
    fn attempt(self, before: u32) -> u32 {
        match self {
            Self::Asked => before + 1,
            Self::CarriedOn => before.max(1),
        }
    }
}

/// Why an attempt is over.
pub(super) enum Over {
    /// The thread is seated, and its engine knows.
    Done,
    /// The resume has ended without this attempt's doing, or is not this replica's any more.
    Ended,
    /// The engine left, or is silent.
    EngineLost,
    /// The engine is there, but does not have what it had acknowledged.
    SeedLost(Failure),
    /// Session or thread changed meanwhile.
    Moved,
    /// The thread cannot be the one thought of.
    ThreadMoved,
    /// There is no point in another attempt.
    Failed(Failure),
    /// The store does not answer.
    Unavailable,
}

impl Service {
    /// Drives a resume in the background, unless somebody does.
    pub(in crate::service) fn drive(&self, resume: &Resume, beginning: Beginning) {
        let (ns, id) = (resume.namespace.clone(), resume.id.clone());
        let Some(driving) = self.live.take(&ns, &id) else {
            return;
        };
        let Ok(membership) = self.live.standing.membership() else {
            return;
        };
        let service = self.clone();
        self.live.tasks.spawn(async move {
            let _driving = driving;
            let driven = Box::pin(service.driven(&ns, &id, membership.fence, beginning));
            let driven = membership.over.run_until_cancelled(driven);
            // What the shutdown cuts off is carried on with by another replica, or after the next start.
            let _ = service.live.drain.run_until_cancelled(driven).await;
        });
    }

    async fn driven(&self, ns: &Namespace, id: &ResumeId, fence: Option<Fence>, beginning: Beginning) {
        let mut beginning = beginning;
        // The thread to seed into where it cannot be the one thought of at first.
        let mut thread = None;
        let (mut lost, mut has_begun) = (None, false);
        loop {
            let resume = match self.own(ns, id, fence.as_ref()).await {
                Ok(Some(resume)) => resume,
                Ok(None) if has_begun => return self.tell_end(ns, id).await,
                Ok(None) => return,
                Err(error) => {
                    log(id, &error);
                    sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            has_begun = true;
            let attempt = beginning.attempt(resume.attempt);
            let over = if attempt > ATTEMPTS_MAX {
                Over::Failed(Failure::EngineLost {
                    engine: resume.engine.clone(),
                })
            } else {
                let goal = Goal {
                    thread: thread.as_ref().unwrap_or(&resume.thread).clone(),
                    attempt,
                    lost,
                };
                self.until_it_ends(&resume, beginning, goal).await
            };
            beginning = Beginning::Asked;
            match over {
                Over::Done => return,
                Over::Ended => return self.tell_end(ns, id).await,
                Over::EngineLost => {}
                Over::SeedLost(failure) if attempt >= ATTEMPTS_MAX => self.fail(&resume, failure).await,
                Over::SeedLost(_) => lost = Some(resume.seed),
                Over::Moved if attempt >= ATTEMPTS_MAX => self.fail(&resume, Failure::Moved).await,
                Over::Moved => {}
                Over::ThreadMoved => thread = Some(ThreadId::from_uuid(self.fresh_id())),
                Over::Failed(failure) => self.fail(&resume, failure).await,
                Over::Unavailable => {
                    beginning = Beginning::CarriedOn;
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Tells the engine, if it is attached here, how its seed has ended, where no attempt did: somebody has called the
    /// resume off, or a commit was not answered and took effect.
    async fn tell_end(&self, ns: &Namespace, id: &ResumeId) {
        while let Err(error) = self.told_end(ns, id).await {
            log(id, &error);
            sleep(RETRY_AFTER).await;
        }
    }

    async fn told_end(&self, ns: &Namespace, id: &ResumeId) -> Result<(), Error> {
        let resume = self.store.resume(ns, id).await?;
        let Some(resume) = resume.filter(|resume| resume.state.is_end()) else {
            return Ok(());
        };
        match self.seeded_here(&resume) {
            Some(handle) => self.settle(&handle, &resume, handle.attachment().epoch).await,
            None => Ok(()),
        }
    }

    /// Tells the engine of a resume, if it is attached here, that its seed comes to nothing: another one begins, at this
    /// engine or elsewhere.
    pub(super) fn call_off(&self, resume: &Resume) {
        if let Some(handle) = self.seeded_here(resume).filter(|_| resume.seed > 0) {
            let seed = resume.seed_id();
            handle.settle(Down::SeedCancel { seed });
        }
    }

    fn seeded_here(&self, resume: &Resume) -> Option<EngineHandle> {
        let engine = resume.engine.as_ref()?;
        self.live.registry.engine(&resume.namespace, engine)
    }

    /// The resume, if it runs and is this replica's to drive: its own, or that of one that is gone.
    async fn own(
        &self,
        ns: &Namespace,
        id: &ResumeId,
        fence: Option<&Fence>,
    ) -> Result<Option<Arc<Resume>>, Error> {
        let resume = self.store.resume(ns, id).await?;
        let Some(resume) = resume.filter(|resume| !resume.state.is_end()) else {
            return Ok(None);
        };
        if resume.driver.as_ref() == fence {
            return Ok(Some(resume));
        }
        let take = Command::Resume(ResumeCommand::Take { id: id.clone() });
        match self.commit_as(call(ns), fence.cloned(), take).await {
            Ok(committed) => Ok(committed.resume),
            // It has ended, somebody else was quicker, or this replica is not one any more.
            Err(Error::Store(store::Error::Refused(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An attempt, unless the resume ends meanwhile: somebody may call it off or delete the session.
    async fn until_it_ends(&self, resume: &Arc<Resume>, beginning: Beginning, goal: Goal) -> Over {
        let mut ear = self.live.watchers.resume(&resume.namespace, &resume.id);
        let ended = async { while !is_called_off(ear.next().await.state) {} };
        let attempt = self.attempt(resume, beginning, goal);
        tokio::select! {
            over = attempt => over.err().unwrap_or(Over::Done),
            () = ended => Over::Ended,
        }
    }

    async fn attempt(&self, resume: &Arc<Resume>, beginning: Beginning, goal: Goal) -> Result<(), Over> {
        match self.place(resume, beginning).await? {
            Where::Journal => self.seed_journal(resume, goal).await,
            Where::Engine(handle) => self.seed_engine(resume, goal, &handle).await,
            Where::Elsewhere(engine, to) => self.hand(resume, &goal, engine, to).await,
        }
    }

    /// Where to seed: into the engine that had it, if that may come back; else another; else, if no engine was asked for
    /// and none was tried, the journal.
    async fn place(&self, resume: &Resume, beginning: Beginning) -> Result<Where, Over> {
        let (ns, wish) = (&resume.namespace, &resume.wish);
        let before = resume.engine.as_ref();
        let same = before
            .filter(|_| beginning == Beginning::CarriedOn)
            .or(wish.engine.as_ref());
        if let Some(id) = same
            && let Some(place) = self.taker(ns, id).await.map_err(over_of)?
        {
            return Ok(place.into());
        }
        if before.is_none() && !wish.needs_engine() {
            let picked = self.pick(ns, wish, None).await.map_err(over_of)?;
            return Ok(picked.map_or(Where::Journal, Where::from));
        }
        let found = self.found_in_time(ns, same, wish, before);
        if let Some(place) = found.await.map_err(over_of)? {
            return Ok(place.into());
        }
        let other = match &wish.engine {
            Some(_) => None,
            None => self.pick(ns, wish, before).await.map_err(over_of)?,
        };
        other.map(Where::from).ok_or_else(|| {
            Over::Failed(Failure::EngineLost {
                engine: before.or(wish.engine.as_ref()).cloned(),
            })
        })
    }

    /// The engine of a name, or else any that was asked for, within three heartbeats. Who attaches here is heard of; for
    /// others the store is asked.
    async fn found_in_time(
        &self,
        ns: &Namespace,
        named: Option<&EngineId>,
        wish: &Wish,
        not: Option<&EngineId>,
    ) -> Result<Option<Place>, Error> {
        let deadline = Instant::now() + self.live.patience();
        let mut changes = self.live.registry.changes();
        let mut has_changed = true;
        loop {
            if has_changed || self.was_seen(ns, named, wish).await? {
                let found = match named {
                    Some(id) => self.taker(ns, id).await?,
                    None => self.pick(ns, wish, not).await?,
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
            let next = if self.store.is_shared() {
                deadline.min(Instant::now() + LOOK_AGAIN)
            } else {
                deadline
            };
            has_changed = timeout_at(next, changes.changed()).await.is_ok();
            if !has_changed && Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Lets the replica drive that has the engine. It is told at once, and finds it by itself where that is lost.
    async fn hand(&self, resume: &Resume, goal: &Goal, engine: EngineId, to: Fence) -> Result<(), Over> {
        let hand = ResumeCommand::Hand {
            id: resume.id.clone(),
            to: to.clone(),
            engine: engine.clone(),
            attempt: goal.attempt,
            thread: goal.thread.clone(),
        };
        match self.step(resume, hand).await {
            Ok(_) if resume.engine.as_ref() != Some(&engine) => self.call_off(resume),
            Ok(_) => {}
            // Not this replica's own lease, else all of this would have ended: the other one has gone.
            Err(Over::Ended) if !self.live.standing.is_over(resume.driver.as_ref()) => {
                return Err(Over::Unavailable);
            }
            Err(over) => return Err(over),
        }
        if let Ok(Some(peer)) = self.peer(&to).await {
            self.peers.drive(&peer, &resume.namespace, &resume.id).await;
        }
        Err(Over::Ended)
    }

    /// The session as it stands now.
    pub(super) async fn seeded(&self, resume: &Resume) -> Result<Arc<Session>, Over> {
        let session = self
            .store
            .session(&resume.namespace, &resume.session)
            .await
            .map_err(over)?;
        session.ok_or(Over::Failed(Failure::SessionDeleted))
    }

    async fn seed_journal(&self, resume: &Resume, goal: Goal) -> Result<(), Over> {
        let _slot = self.live.seeds.acquire().await.map_err(|_| Over::Ended)?;
        let session = self.seeded(resume).await?;
        let start = Start {
            id: resume.id.clone(),
            engine: None,
            source: session.tip.clone(),
            total: session.tip.tally.visible,
            attempt: goal.attempt,
            seed: SeedKind::Fresh,
            thread: goal.thread,
        };
        self.step(resume, ResumeCommand::Start(Box::new(start))).await?;
        let seat = self.seat(resume, &session, None).await?;
        self.step(resume, ResumeCommand::Seat(Box::new(seat))).await?;
        Ok(())
    }

    /// The command that seats the thread.
    pub(super) async fn seat(
        &self,
        resume: &Resume,
        session: &Session,
        epoch: Option<u64>,
    ) -> Result<Seat, Over> {
        Ok(Seat {
            id: resume.id.clone(),
            epoch,
            journal: self.fresh_log(),
            system_prompt: self.system_prompt(session).await.map_err(over_of)?,
        })
    }

    /// Commits a step of a resume; the resume after it.
    pub(super) async fn step(&self, resume: &Resume, command: ResumeCommand) -> Result<Arc<Resume>, Over> {
        let fence = resume.driver.clone();
        let committed = self
            .commit_as(call(&resume.namespace), fence, Command::Resume(command))
            .await;
        let after = committed.map_err(over_of)?.resume;
        after.ok_or(Over::Ended)
    }

    /// Writes down that it cannot be done; tried again for as long as the store does not take it.
    async fn fail(&self, resume: &Resume, failure: Failure) {
        let command = Command::Resume(ResumeCommand::Fail {
            id: resume.id.clone(),
            failure,
        });
        loop {
            let (call, fence) = (call(&resume.namespace), resume.driver.clone());
            match self.commit_as(call, fence, command.clone()).await {
                // What a rule has against it is found by whoever looks at the resume next.
                Ok(_) | Err(Error::Store(store::Error::Refused(_))) => return,
                Err(error) => log(&resume.id, &error),
            }
            sleep(RETRY_AFTER).await;
        }
    }
}

/// Whether somebody else has ended a resume: READY comes of the attempt itself, which has more to do then.
fn is_called_off(state: State) -> bool {
    match state {
        State::Failed | State::Canceled => true,
        State::Queued | State::Seeding | State::Ready => false,
    }
}

fn log(id: &ResumeId, error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(resume.id = id.as_str(), error, "a resume cannot go on yet");
}

/// Runs what an engine has to answer, for as long as it may be silent.
pub(super) async fn in_time<T>(
    silence: Duration,
    work: impl Future<Output = Result<T, engine::Error>>,
) -> Result<T, Over> {
    match tokio::time::timeout(silence, work).await {
        Ok(done) => done.map_err(over_engine),
        Err(_) => Err(Over::EngineLost),
    }
}

fn over_engine(error: engine::Error) -> Over {
    match error {
        engine::Error::Lost | engine::Error::QueueFull | engine::Error::TimedOut => Over::EngineLost,
        engine::Error::Declined(why) if why.status.len() <= FAULT_BYTES_MAX => {
            Over::Failed(Failure::Declined(why.status))
        }
        engine::Error::Declined(_) => Over::Failed(fault("its error is too long")),
        engine::Error::TooLarge { .. } => Over::Failed(fault("its answer is too large")),
        engine::Error::Fault { rule } => Over::Failed(fault(&rule)),
    }
}

pub(super) fn fault(rule: &str) -> Failure {
    Failure::EngineFault {
        rule: rule.to_owned(),
    }
}

/// What an error of the service means for an attempt.
pub(super) fn over_of(error: Error) -> Over {
    match error {
        Error::Store(error) => over(error),
        Error::Engine(error) => over_engine(error),
        Error::Elsewhere(_) => Over::EngineLost,
    }
}

fn over(error: store::Error) -> Over {
    match error {
        store::Error::Unavailable { .. } => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a resume cannot go on yet");
            Over::Unavailable
        }
        store::Error::Corrupt { row, reason } => {
            tracing::error!(row, reason, "a session that is to be resumed is damaged");
            Over::Failed(Failure::Damaged)
        }
        store::Error::Refused(refusal) => match refusal {
            Refusal::ResumeEnded { .. } | Refusal::ResumeDriven { .. } | Refusal::ReplicaFenced { .. } => {
                Over::Ended
            }
            Refusal::EngineSuperseded { .. } => Over::EngineLost,
            Refusal::ThreadMoved { .. } => Over::ThreadMoved,
            Refusal::SessionDeleted { .. }
            | Refusal::NotFound {
                noun: Noun::Session, ..
            } => Over::Failed(Failure::SessionDeleted),
            // Whatever else a rule has against it: the world is not what it was when the attempt began.
            _ => Over::Moved,
        },
    }
}
