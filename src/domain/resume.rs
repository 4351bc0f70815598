//! The operation that seeds a session into a thread: QUEUED, SEEDING, then READY, FAILED or CANCELED.
//!
//! [`State::after`] is the whole state machine. Everything else of a resume is what its watchers see, and
//! what a restart needs to carry on.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::engine::Engine;
use super::id::{EngineId, Namespace, ResumeId, SessionId, ThreadId};
use super::path::Tip;
use super::replica::Fence;
use super::session::{ROW_BYTES, label_bytes};
use super::time::Time;

/// Attempts at one resume; when the engine of the last one leaves, the resume has failed.
pub const ATTEMPTS_MAX: u32 = 3;

/// Bytes of an engine's error that are kept.
pub const FAULT_BYTES_MAX: usize = 4 * 1024;

/// How far a resume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// Messages are on their way.
    Seeding,
    /// The thread holds the session.
    Ready,
    /// It was given up.
    Failed,
    /// Somebody called it off.
    Canceled,
}

/// What happens to a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// An attempt begins.
    Start,
    /// An engine acknowledged messages.
    Progress,
    /// The thread is seated.
    Seat,
    /// It cannot be done.
    Fail,
    /// Somebody calls it off.
    Cancel,
}

impl State {
    /// Whether nothing more will come.
    pub fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::Seeding => false,
            Self::Ready | Self::Failed | Self::Canceled => true,
        }
    }

    /// States only go up.
    fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Seeding => 1,
            Self::Ready | Self::Failed | Self::Canceled => 2,
        }
    }

    /// The state after `step`; `None`: the step does not apply, and changes nothing.
    pub fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Queued | Self::Seeding, Step::Start) | (Self::Seeding, Step::Progress) => {
                Some(Self::Seeding)
            }
            (Self::Seeding, Step::Seat) => Some(Self::Ready),
            (Self::Queued | Self::Seeding, Step::Fail) => Some(Self::Failed),
            (Self::Queued | Self::Seeding, Step::Cancel) => Some(Self::Canceled),
            (Self::Queued, Step::Progress | Step::Seat)
            | (
                Self::Ready | Self::Failed | Self::Canceled,
                Step::Start | Step::Progress | Step::Seat | Step::Fail | Step::Cancel,
            ) => None,
        }
    }
}

/// What a caller asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The model; else the session's.
    pub model: Option<String>,
    /// The mode; else the session's, else `agent`.
    pub mode: Option<String>,
    /// The task type; else the session's.
    pub task_type: Option<String>,
    /// The engine by name.
    pub engine: Option<EngineId>,
    /// Labels that the engine must have.
    pub labels: BTreeMap<String, String>,
    /// Whether it has to be an engine, named or not.
    pub require_engine: bool,
}

impl Wish {
    /// Whether only an engine will do.
    pub fn needs_engine(&self) -> bool {
        self.require_engine || self.engine.is_some() || !self.labels.is_empty()
    }

    /// Whether an engine of this name and these labels is one that was asked for.
    pub fn admits(&self, id: &EngineId, labels: &BTreeMap<String, String>) -> bool {
        let named = self.engine.as_ref().is_none_or(|wanted| wanted == id);
        named
            && self
                .labels
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether `engine` is one that was asked for.
    pub fn admits_engine(&self, engine: &Engine) -> bool {
        self.admits(&engine.id, &engine.profile.labels)
    }
}

/// Why a resume failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its engine left, and so did those tried after it.
    EngineLost {
        /// The last one.
        engine: Option<EngineId>,
    },
    /// The engine gave it up; wire bytes of the google.rpc.Status that it sent.
    Declined(Bytes),
    /// The engine did what no engine may.
    EngineFault {
        /// What.
        rule: String,
    },
    /// The session was deleted.
    SessionDeleted,
    /// The session, or the thread, changed each time it was tried.
    Moved,
    /// What is stored is damaged.
    Damaged,
}

/// A resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Where its id is unique.
    pub namespace: Namespace,
    /// Its id.
    pub id: ResumeId,
    /// The session that is seeded.
    pub session: SessionId,
    /// The thread that it is seeded into.
    pub thread: ThreadId,
    /// What was asked for.
    pub wish: Wish,
    /// The engine that is seeded; `None`: not chosen yet, or the service's own journal.
    pub engine: Option<EngineId>,
    /// The replica that drives it; nobody else's steps count. `None`: a service that is no replica.
    pub driver: Option<Fence>,
    /// How far it is.
    pub state: State,
    /// Whether the thread held the session already.
    pub reused: bool,
    /// Messages that the engine has acknowledged, or that the journal holds.
    pub written: u64,
    /// Messages in all.
    pub total: u64,
    /// Which attempt this is, from 1; 0 before the first.
    pub attempt: u32,
    /// Which seed this is: another engine, or the same one from the start, gets another.
    pub seed: u32,
    /// The end of the session that is seeded, once an attempt has begun and until the resume ends: its log
    /// is named so long.
    pub source: Option<Tip>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub create_time: Time,
    /// When seeding began.
    pub start_time: Option<Time>,
    /// When it ended.
    pub end_time: Option<Time>,
}

impl Resume {
    /// The name that the engine knows the present seed by.
    pub fn seed_id(&self) -> String {
        format!("{}:{}", self.id, self.seed)
    }

    /// Whether this is a later state of the same resume.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let place = |resume: &Self| (resume.state.rank(), resume.attempt, resume.written);
        place(self) > place(other)
    }

    /// The bytes that a page counts for it.
    pub fn text_bytes(&self) -> usize {
        let wish = &self.wish;
        let texts = [&wish.model, &wish.mode, &wish.task_type];
        let failure = match &self.failure {
            Some(Failure::Declined(status)) => status.len(),
            Some(Failure::EngineFault { rule }) => rule.len(),
            Some(
                Failure::EngineLost { .. } | Failure::SessionDeleted | Failure::Moved | Failure::Damaged,
            )
            | None => 0,
        };
        ROW_BYTES
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + label_bytes(&wish.labels)
            + failure
    }

    /// Where it stands among resumes, the newest first.
    pub fn key(&self) -> super::query::ResumeKey {
        super::query::ResumeKey {
            create_time: self.create_time,
            id: self.id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_ends() {
        use State::{Canceled, Failed, Queued, Ready, Seeding};
        use Step::{Cancel, Fail, Progress, Seat, Start};
        for state in [Queued, Seeding, Ready, Failed, Canceled] {
            for step in [Start, Progress, Seat, Fail, Cancel] {
                let after = state.after(step);
                assert!(!state.is_end() || after.is_none(), "{state:?} {step:?}");
                let ends = matches!(step, Seat | Fail | Cancel);
                assert_eq!(
                    after.is_some_and(State::is_end),
                    ends && after.is_some(),
                    "{state:?} {step:?}"
                );
            }
        }
        assert_eq!(Queued.after(Seat), None, "nothing is ready that was not seeded");
    }

    #[test]
    fn a_wish_for_labels_wants_all_of_them() {
        let labels = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let id = EngineId::parse("e", "engine_id").unwrap();
        let wish = Wish {
            labels: labels(&[("a", "1")]),
            ..Wish::default()
        };
        assert!(wish.needs_engine() && !Wish::default().needs_engine());
        assert!(wish.admits(&id, &labels(&[("a", "1"), ("b", "2")])));
        assert!(!wish.admits(&id, &labels(&[("a", "2")])));
        assert!(Wish::default().admits(&id, &labels(&[])));
        let other = EngineId::parse("f", "engine_id").unwrap();
        let named = Wish {
            engine: Some(id.clone()),
            ..Wish::default()
        };
        assert!(named.admits(&id, &labels(&[])) && !named.admits(&other, &labels(&[])));
    }
}
