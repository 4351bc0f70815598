//! Snapshots: the live engine is asked what it holds of a thread, and its session becomes that. Order and counts are the
//! engine's own; what is stored is never replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::body::Sameness;
use crate::domain::id::Revision;
use crate::domain::limits::{ENGINES_MAX, MOVED_RETRIES_MAX, PAGE_BYTES_MAX};
use crate::domain::query::{self, Bound};
use crate::domain::save::{standing as may_write, target};
use crate::domain::title::Title;
use crate::domain::{
    Command, Engine, Fence, Namespace, Outcome, Refusal, Seq, Session, SessionId, Thread, ThreadId, Tip,
};
use crate::engine::{self, Consistency, Known, SnapshotRequest};
use crate::store;

use super::context::{Relation, samenesses};
use super::sessions::standing;
use super::{Call, Error, Service, mismatched};

mod written;

/// How long an engine has to answer where the caller does not say.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What a caller wants of a live engine.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The thread; else the attached one that changed last.
    pub thread: Option<ThreadId>,
    /// The session; else the thread's own, or a new one.
    pub session: Option<SessionId>,
    /// A title; it renames.
    pub title: Option<Title>,
    /// When the engine answers.
    pub consistency: Consistency,
    /// The revision the caller last saw.
    pub expected: Option<Revision>,
    /// How long the caller waits.
    pub patience: Option<Duration>,
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The session after it.
    pub session: Arc<Session>,
    /// Visible messages in it then.
    pub message_count: u64,
    /// Whether the snapshot made it.
    pub created: bool,
    /// Whether the engine answered with the rest only.
    pub delta: bool,
}

/// An engine's answer, checked, and what it was asked on.
struct Answer {
    snapshot: engine::Snapshot,
    messages: Vec<Sameness>,
    /// The replica that the engine is attached to, by its incarnation then.
    replica: Option<Fence>,
    /// The thread when the engine was asked.
    thread: Arc<Thread>,
    /// The end of the session then, or of what the thread was seeded with.
    end: Option<Tip>,
    /// The entry after which a delta goes on.
    known: Seq,
}

/// What an engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The rest will do.
    Rest,
    /// Everything.
    Whole,
}

impl Service {
    /// Asks the engine that runs a thread what it holds, and writes that to the thread's session.
    pub async fn snapshot(&self, call: Call, snapshot: Snapshot) -> Result<Taken, Error> {
        if let Some(taken) = self.taken_before(&call).await? {
            return Ok(taken);
        }
        let deadline = Instant::now() + snapshot.patience.unwrap_or(ANSWER_TIME);
        let taken = timeout_at(deadline, self.take(&call, &snapshot, deadline)).await;
        match taken.unwrap_or(Err(engine::Error::TimedOut.into())) {
            Ok(taken) => Ok(taken),
            // One that ran beside this one under the same request_id may have won.
            Err(error) => self.taken_before(&call).await?.ok_or(error),
        }
    }

    async fn taken_before(&self, call: &Call) -> Result<Option<Taken>, Error> {
        match self.replayed(call).await? {
            Some(outcome) => Ok(Some(self.taken(call, None, &outcome).await?)),
            None => Ok(None),
        }
    }

    async fn taken(
        &self,
        call: &Call,
        session: Option<Arc<Session>>,
        outcome: &Outcome,
    ) -> Result<Taken, Error> {
        let &Outcome::Snapshot {
            session: ref id,
            message_count,
            created,
            delta,
        } = outcome
        else {
            return Err(mismatched(outcome));
        };
        let session = match session {
            Some(session) => standing(Some(session), id)?,
            None => self.found(&call.namespace, id).await?,
        };
        Ok(Taken {
            session,
            message_count,
            created,
            delta,
        })
    }

    async fn take(&self, call: &Call, wanted: &Snapshot, deadline: Instant) -> Result<Taken, Error> {
        let ns = &call.namespace;
        let thread = match &wanted.thread {
            Some(id) => id.clone(),
            None => self.last_live_thread(ns).await?,
        };
        let fresh = SessionId::from_uuid(self.fresh_id());
        let mut answer = self
            .asked(ns, &thread, wanted, &fresh, Scope::Rest, deadline)
            .await?;
        for _ in 0..MOVED_RETRIES_MAX {
            let Some(command) = self.compared(ns, wanted, &fresh, &answer).await? else {
                answer = self
                    .asked(ns, &thread, wanted, &fresh, Scope::Whole, deadline)
                    .await?;
                continue;
            };
            match self
                .commit_as(call.clone(), answer.replica.clone(), command)
                .await
            {
                Err(Error::Store(store::Error::Refused(Refusal::Moved { .. }))) => {}
                // Its engine has attached anew since it answered, or it is another thread of that name.
                Err(Error::Store(store::Error::Refused(Refusal::ThreadMoved { .. }))) => {
                    answer = self
                        .asked(ns, &thread, wanted, &fresh, Scope::Rest, deadline)
                        .await?;
                }
                committed => {
                    let committed = committed?;
                    return self.taken(call, committed.session, &committed.outcome).await;
                }
            }
        }
        Err(Refusal::Moved {
            session: wanted.session.clone().unwrap_or(fresh),
        }
        .into())
    }

    /// The thread that changed last among those that attached engines hold.
    async fn last_live_thread(&self, ns: &Namespace) -> Result<ThreadId, Error> {
        let mut last: Option<Arc<Thread>> = None;
        for engine in self.living_engines(ns, None, ENGINES_MAX).await? {
            let newest = self.newest_of(&engine).await?;
            last = last.into_iter().chain(newest).max_by_key(|thread| thread.key());
        }
        let thread = last.ok_or(Refusal::NoLiveThread)?;
        Ok(thread.id.clone())
    }

    async fn newest_of(&self, engine: &Engine) -> Result<Option<Arc<Thread>>, Error> {
        let query = query::Threads {
            namespace: engine.namespace.clone(),
            states: Vec::new(),
            session: None,
            engine: Some(engine.id.clone()),
        };
        let bound = Bound {
            rows: 50,
            bytes: PAGE_BYTES_MAX,
        };
        let mut after = None;
        loop {
            let page = self.store.threads(&query, after.as_ref(), bound).await?;
            let held = page.rows.into_iter().find(|thread| thread.epoch == engine.epoch);
            after = page.next;
            if held.is_some() || after.is_none() {
                return Ok(held);
            }
        }
    }

    /// Asks the engine, once everything that can be refused before has been looked at.
    async fn asked(
        &self,
        ns: &Namespace,
        id: &ThreadId,
        wanted: &Snapshot,
        fresh: &SessionId,
        scope: Scope,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let thread = self.thread(ns, id).await?;
        let Some(handle) = self.live.registry.holder(&thread) else {
            return Err(match self.holder_elsewhere(&thread).await? {
                Some(replica) => Error::Elsewhere(replica),
                None => Refusal::EngineNotAttached { thread: id.clone() }.into(),
            });
        };
        let session = self.aim(&thread, wanted, fresh).await?;
        let end = session
            .as_ref()
            .map(|session| &session.tip)
            .or(thread.base.as_ref());
        // Of a turn that was caught running, the engine may have said more under the same names since.
        let mark = session.as_ref().and_then(|session| thread.mark(&session.id));
        let whole_turns = mark.and_then(|mark| mark.turn_start);
        let known = match (scope, end) {
            (Scope::Rest, Some(end)) => Some(Tip {
                log: end.log.clone(),
                tally: self.tally_at(end, whole_turns.unwrap_or(end.seq())).await?,
            }),
            (Scope::Rest, None) | (Scope::Whole, _) => None,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let request = SnapshotRequest {
            ask: self.fresh_id().to_string(),
            thread: id.clone(),
            consistency: wanted.consistency,
            known: match &known {
                Some(tip) => self.known(tip).await?,
                None => Known::default(),
            },
            deadline: self.now().after(left),
        };
        let nothing_known = request.known.messages == 0;
        let snapshot = handle.snapshot(request, deadline).await?;
        let messages = samenesses(&snapshot.messages)
            .map_err(|at| fault(&format!("messages[{at}]: the bytes are not a Message")))?;
        if snapshot.delta && nothing_known && scope == Scope::Whole {
            return Err(fault("delta: the whole was asked for"));
        }
        Ok(Answer {
            snapshot,
            messages,
            replica: handle.attachment().replica.clone(),
            end: end.cloned(),
            thread,
            known: known.map_or(Seq::ZERO, |known| known.seq()),
        })
    }

    /// The session that a snapshot goes to, if there is one and the thread may write to it.
    async fn aim(
        &self,
        thread: &Thread,
        wanted: &Snapshot,
        fresh: &SessionId,
    ) -> Result<Option<Arc<Session>>, Error> {
        let id = target(thread, wanted.session.as_ref(), fresh);
        let session = self.store.session(&thread.namespace, id).await?;
        may_write(thread, session.as_deref())?;
        match (&session, wanted.expected) {
            (Some(session), Some(expected)) if expected != session.revision => {
                Err(Refusal::revision(id, session.revision).into())
            }
            (None, Some(_)) => Err(Refusal::RevisionMismatch {
                session: id.clone(),
                current: 0,
            }
            .into()),
            (Some(_) | None, Some(_) | None) => Ok(session),
        }
    }

    /// The command that writes an answer, as thread and session are now; `None`: the answer goes on from what is not
    /// the end any more, and the whole has to be asked for.
    async fn compared(
        &self,
        ns: &Namespace,
        wanted: &Snapshot,
        fresh: &SessionId,
        answer: &Answer,
    ) -> Result<Option<Command>, Error> {
        let thread = self.thread(ns, &answer.thread.id).await?;
        let session = self.aim(&thread, wanted, fresh).await?;
        let end = session
            .as_ref()
            .map(|session| &session.tip)
            .or(thread.base.as_ref());
        let snapshot = &answer.snapshot;
        let mark = session.as_ref().and_then(|session| thread.mark(&session.id));
        let strict_after = mark.and_then(|mark| mark.turn_start);
        let relation = match end {
            Some(end) if snapshot.delta => {
                let same = |then: &Tip| then.log.id == end.log.id && then.seq() == end.seq();
                if !answer.end.as_ref().is_some_and(same) {
                    return Ok(None);
                }
                self.relation_of_rest(end, answer.known, &answer.messages, strict_after)
                    .await?
            }
            Some(end) => self.relation(end, &answer.messages, strict_after).await?,
            None if answer.end.is_some() && snapshot.delta => return Ok(None),
            None => Relation::Extends { from: 0 },
        };
        if snapshot.messages.is_empty() && !snapshot.delta && !snapshot.compacted {
            // An engine that holds nothing has lost what it had; nothing is to be learned from it.
            return Err(Refusal::ThreadEmpty {
                thread: thread.id.clone(),
            }
            .into());
        }
        let is_empty = end.is_none_or(|end| end.tally.main == 0 && end.tally.checkpoint == Seq::ZERO);
        let relation = match relation {
            Relation::Diverges { .. } if snapshot.compacted => Relation::Replaces,
            Relation::Replaces if is_empty => Relation::Extends { from: 0 },
            other => other,
        };
        self.command(
            ns,
            wanted,
            fresh,
            answer,
            (&thread, session.as_deref()),
            end,
            relation,
        )
        .await
        .map(Some)
    }
}

fn fault(rule: &str) -> Error {
    engine::Error::Fault {
        rule: rule.to_owned(),
    }
    .into()
}
