//! Engines: attaching them, storing what they say of their threads, and ending the turns they have left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};

use crate::domain::engine::Profile;
use crate::domain::limits::PAGE_BYTES_MAX;
use crate::domain::proposal::EngineCommand;
use crate::domain::query::{self, Bound};
use crate::domain::resume::State;
use crate::domain::{
    Command, Engine, EngineId, Fence, Namespace, Outcome, Refusal, Resume, Thread, ThreadId,
};
use crate::engine::{
    self, Attached, Attachment, Claim, ClaimError, Connection, Down, Ending, EngineHandle, Guard, Local,
    Terms, Up,
};
use crate::store;

use super::{Call, Error, Service, mismatched};

/// Rows that are looked at in one read.
const ROWS_MAX: usize = 500;

/// Seeds that an engine is reminded of when it attaches.
const REMINDERS_MAX: usize = 64;

/// How long to wait before what the store did not take is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How an engine introduces itself.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The namespace of everything that passes.
    pub namespace: Namespace,
    /// Its id; else a new one.
    pub id: Option<EngineId>,
    /// Pairs that a resume may choose by.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes sessions to resume.
    pub accepts_resume: bool,
    /// Seeds that it takes at a time; 0 leaves it to the service.
    pub seeds_max: u32,
}

/// An attachment that stands.
#[derive(Debug)]
pub struct Welcome {
    /// The engine.
    pub engine: EngineId,
    /// Of this attachment.
    pub epoch: u64,
    /// How often a heartbeat is due.
    pub heartbeat: Duration,
    /// What the engine is sent; dropped, the engine is detached.
    pub frames: mpsc::Receiver<Down>,
    /// Why the attachment ended, once it has.
    pub ending: oneshot::Receiver<Ending>,
}

/// An attached engine, as lists show it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Threads that it holds.
    pub threads: u64,
    /// Seeds that run on it.
    pub seeds: u64,
}

/// An engine that left, or attached, three heartbeats before its turns are looked at.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) namespace: Namespace,
    pub(super) id: EngineId,
    /// Of the attachment that began or ended.
    pub(super) epoch: u64,
}

type Frames = BoxStream<'static, Result<Up, Ending>>;

impl Service {
    /// Attaches an engine that sends `up`.
    pub async fn attach(&self, hello: Hello, up: Frames) -> Result<Welcome, Error> {
        // An attachment that is stored has to be ended, whoever leaves meanwhile.
        let service = self.clone();
        let attached = self
            .live
            .tasks
            .spawn(async move { service.attached(hello, up).await });
        attached
            .await
            .map_err(|failed| store::Error::unavailable("attaching an engine", failed))?
    }

    /// Attaches an engine of this process.
    pub async fn attach_local(&self, hello: Hello, engine: Arc<dyn Local>) -> Result<Attached, Error> {
        let (up, sender) = engine::Queue::new().split();
        let welcome = self.attach(hello, up).await?;
        let carried = engine::carry(engine, welcome.frames, sender.downgrade(), welcome.heartbeat);
        self.live.tasks.spawn(carried);
        Ok(Attached::new(sender, welcome.epoch))
    }

    async fn attached(&self, hello: Hello, up: Frames) -> Result<Welcome, Error> {
        let ns = hello.namespace.clone();
        let terms = &self.live.terms;
        let id = hello.id.unwrap_or_else(|| EngineId::from_uuid(self.fresh_id()));
        let membership = self.live.standing.membership()?;
        let profile = Profile {
            labels: hello.labels.clone(),
            accepts_resume: hello.accepts_resume,
        };
        let command = EngineCommand::Attach {
            id: id.clone(),
            profile: Box::new(profile),
        };
        let fence = membership.fence;
        let committed = self.commit_as(call(&ns), fence.clone(), Command::Engine(command));
        let (epoch, before) = match committed.await?.outcome {
            Outcome::Engine { epoch, before, .. } => (epoch, before),
            outcome => return Err(mismatched(&outcome)),
        };
        let seeds_max = match usize::try_from(hello.seeds_max).unwrap_or(usize::MAX) {
            0 => terms.seeds_per_engine_max,
            wanted => wanted.min(terms.seeds_per_engine_max),
        };
        let attachment = Attachment {
            namespace: ns.clone(),
            id: id.clone(),
            epoch,
            replica: fence,
            labels: hello.labels,
            accepts_resume: hello.accepts_resume,
            seeds_max,
            time: self.now(),
        };
        let terms = Terms {
            heartbeat: terms.heartbeat,
            snapshot_bytes_max: terms.snapshot_bytes_max,
            drain: self.live.drain.clone(),
            over: membership.over,
        };
        let (connection, handle, frames) = Connection::new(attachment, terms, up);
        let Some(guard) = self.live.registry.attach(handle.clone()) else {
            return Err(Refusal::EngineSuperseded {
                engine: id,
                current: epoch,
            }
            .into());
        };
        if let Some(before) = before {
            let (service, ns, id) = (self.clone(), ns.clone(), id.clone());
            // Nobody waits for a replica that does not answer; it finds out by itself.
            self.live.tasks.spawn(async move {
                if let Ok(Some(peer)) = service.peer(&before).await {
                    service.peers.evict(&peer, &ns, &id, epoch).await;
                }
            });
        }
        self.remind(&handle).await;
        let left = vec![Left::of(&handle)];
        let (ended, ending) = oneshot::channel();
        let service = self.clone();
        self.live.tasks.spawn(async move {
            let ending = service.run(connection, &handle, guard).await;
            // The api may have left before.
            drop(ended.send(ending));
        });
        self.interrupt_later(left);
        let heartbeat = self.live.terms.heartbeat;
        Ok(Welcome {
            engine: id,
            epoch,
            heartbeat,
            frames,
            ending,
        })
    }

    async fn run(&self, connection: Connection, handle: &EngineHandle, guard: Guard) -> Ending {
        let Attachment {
            namespace,
            id,
            epoch,
            replica,
            ..
        } = handle.attachment().clone();
        tracing::info!(engine.id = id.as_str(), epoch, "engine attached");
        let opened = |claim| {
            let (service, at) = (self.clone(), handle.attachment().clone());
            let claimed: engine::Claiming = Box::pin(async move { service.open_thread(&at, claim).await });
            claimed
        };
        let closed = |thread| {
            let (service, at) = (self.clone(), handle.attachment().clone());
            let claimed: engine::Claiming = Box::pin(async move { service.close_thread(&at, thread).await });
            claimed
        };
        let ending = connection.run(opened, closed).await;
        tracing::info!(engine.id = id.as_str(), epoch, ending = %ending, "engine detached");
        drop(guard);
        self.detach(&namespace, &id, epoch, replica).await;
        self.interrupt_later(vec![Left::of(handle)]);
        ending
    }

    /// Stores that an attachment has ended; where the store does not take it, other replicas or the next start find out.
    async fn detach(&self, ns: &Namespace, id: &EngineId, epoch: u64, replica: Option<Fence>) {
        let command = EngineCommand::Detach {
            id: id.clone(),
            epoch,
        };
        loop {
            let command = Command::Engine(command.clone());
            match self.commit_as(call(ns), replica.clone(), command).await {
                // A replica that has lost its lease has no engines any more: others have seen to that.
                Ok(_) | Err(Error::Store(store::Error::Refused(_))) => return,
                Err(error) => not_stored_yet(id, &error),
            }
            let pause = self
                .live
                .drain
                .run_until_cancelled(tokio::time::sleep(RETRY_AFTER));
            if pause.await.is_none() {
                return;
            }
        }
    }

    async fn open_thread(&self, at: &Attachment, claim: Claim) -> Result<(), ClaimError> {
        let (ns, id, epoch) = (at.namespace.clone(), at.id.clone(), at.epoch);
        let named = claim.active_turn.clone();
        let command = EngineCommand::OpenThread {
            id: id.clone(),
            epoch,
            thread: claim.thread,
            journal: self.fresh_log(),
            draft: Box::new(claim.draft),
            active_turn: claim.active_turn,
        };
        let committed = self.commit_as(call(&ns), at.replica.clone(), Command::Engine(command));
        let committed = committed.await;
        let thread = committed.map_err(claim_error)?.thread;
        if thread.is_some_and(|thread| thread.active_turn.is_some() && thread.active_turn != named) {
            self.interrupt_later(vec![Left {
                namespace: ns,
                id,
                epoch,
            }]);
        }
        Ok(())
    }

    async fn close_thread(&self, at: &Attachment, thread: ThreadId) -> Result<(), ClaimError> {
        let (id, epoch) = (at.id.clone(), at.epoch);
        let command = EngineCommand::CloseThread { id, epoch, thread };
        let committed = self.commit_as(call(&at.namespace), at.replica.clone(), Command::Engine(command));
        committed.await.map(drop).map_err(claim_error)
    }

    /// Three heartbeats from now, ends the turns that these attachments, or the lack of them, have left behind: one after
    /// another, as there may be many after a start.
    pub(super) fn interrupt_later(&self, left: Vec<Left>) {
        if left.is_empty() {
            return;
        }
        let service = self.clone();
        let patience = self.live.patience();
        self.live.tasks.spawn(async move {
            let interrupts = async {
                tokio::time::sleep(patience).await;
                for left in &left {
                    service.interrupted(left).await;
                }
            };
            // What a shutdown cuts off is looked at by another replica, or after the next start.
            let _ = service.live.drain.run_until_cancelled(interrupts).await;
        });
    }

    /// Ends the turns of one attachment; tried again for as long as the store does not answer.
    async fn interrupted(&self, left: &Left) {
        loop {
            let Err(error) = self.interrupt(left).await else {
                return;
            };
            // A replica that has lost its lease leaves this to others.
            if let Error::Store(store::Error::Refused(_)) = error {
                return;
            }
            still_running(&left.id, &error);
            if !matches!(error, Error::Store(store::Error::Unavailable { .. })) {
                return;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn interrupt(&self, left: &Left) -> Result<(), Error> {
        let query = query::Threads {
            namespace: left.namespace.clone(),
            states: Vec::new(),
            session: None,
            engine: Some(left.id.clone()),
        };
        let bound = Bound {
            rows: ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let mut running = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.threads(&query, after.as_ref(), bound).await?;
            let busy = page.rows.iter().filter(|thread| thread.active_turn.is_some());
            running.extend(busy.map(|thread| thread.id.clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for thread in running {
            let command = EngineCommand::Interrupt {
                id: left.id.clone(),
                epoch: left.epoch,
                thread: thread.clone(),
            };
            let fence = self.fence()?;
            let committed = self.commit_as(call(&left.namespace), fence, Command::Engine(command));
            match committed.await {
                Ok(_) => {}
                // One that cannot be read must not keep the others running.
                Err(Error::Store(store::Error::Corrupt { row, reason })) => {
                    tracing::error!(
                        thread.id = thread.as_str(),
                        row,
                        reason,
                        "a turn cannot be interrupted"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells an engine that is back what became of its seeds while it was away: it may have missed the end.
    async fn remind(&self, handle: &EngineHandle) {
        let Attachment {
            namespace, id, epoch, ..
        } = handle.attachment();
        let query = query::Resumes {
            namespace: Some(namespace.clone()),
            states: vec![State::Ready, State::Failed, State::Canceled],
            session: None,
            thread: None,
            engine: Some(id.clone()),
        };
        let bound = Bound {
            rows: REMINDERS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let Ok(page) = self.store.resumes(&query, None, bound).await else {
            return;
        };
        for resume in &page.rows {
            // What cannot be read now is said when it attaches the next time.
            drop(self.settle(handle, resume, epoch.saturating_sub(1)).await);
        }
    }

    /// Tells an engine what became of a seed that it may still hold. That the thread is its own it is told if it has not
    /// claimed it since an attachment under `epoch`, or an earlier one.
    pub(super) async fn settle(
        &self,
        handle: &EngineHandle,
        resume: &Resume,
        epoch: u64,
    ) -> Result<(), Error> {
        if resume.seed == 0 {
            return Ok(());
        }
        let seed = resume.seed_id();
        if resume.state != State::Ready {
            handle.settle(Down::SeedCancel { seed });
            return Ok(());
        }
        let id = &handle.attachment().id;
        let thread = self.store.thread(&resume.namespace, &resume.thread).await?;
        let is_unclaimed = |thread: &Arc<Thread>| thread.engine.as_ref() == Some(id) && thread.epoch <= epoch;
        if thread.as_ref().is_some_and(is_unclaimed) {
            handle.settle(Down::SeedCommit { seed });
        }
        Ok(())
    }
}

impl Left {
    fn of(handle: &EngineHandle) -> Self {
        let attachment = handle.attachment();
        Self {
            namespace: attachment.namespace.clone(),
            id: attachment.id.clone(),
            epoch: attachment.epoch,
        }
    }
}

fn not_stored_yet(id: &EngineId, error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(
        engine.id = id.as_str(),
        error,
        "a detached engine is not stored yet"
    );
}

fn still_running(id: &EngineId, error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(
        engine.id = id.as_str(),
        error,
        "turns of an engine that left still run"
    );
}

/// What the service itself does in a namespace.
pub(super) fn call(ns: &Namespace) -> Call {
    Call {
        namespace: ns.clone(),
        request: None,
    }
}

fn claim_error(error: Error) -> ClaimError {
    match error {
        Error::Store(store::Error::Refused(refusal)) => refusal.into(),
        other => {
            let error: &dyn std::error::Error = &other;
            tracing::error!(error, "a claim of an engine is not stored");
            ClaimError::Unavailable
        }
    }
}

#[cfg(test)]
mod tests;
