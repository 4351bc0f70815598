//! What is to be done about a resume.

use crate::domain::id::{EngineId, LogId, ResumeId, SessionId, ThreadId};
use crate::domain::path::Tip;
use crate::domain::replica::Fence;
use crate::domain::resume::{Failure, Wish};

/// What is to be done about a resume.
#[derive(Clone, Debug, PartialEq)]
pub enum ResumeCommand {
    /// Make one, unless the session has one that runs.
    Open(Box<Open>),
    /// Drive it in the place of a replica that is gone.
    Take {
        /// Which.
        id: ResumeId,
    },
    /// Let another replica drive it: the one that has the engine.
    Hand {
        /// Which.
        id: ResumeId,
        /// To whom.
        to: Fence,
        /// The engine that is attached to it.
        engine: EngineId,
        /// Which attempt begins there, or goes on.
        attempt: u32,
        /// The thread to seed into.
        thread: ThreadId,
    },
    /// Begin an attempt.
    Start(Box<Start>),
    /// Note what the engine has acknowledged.
    Progress {
        /// Which.
        id: ResumeId,
        /// Of which seed.
        seed: u32,
        /// Messages.
        written: u64,
    },
    /// Everything is where it belongs: link session and thread.
    Seat(Box<Seat>),
    /// It cannot be done.
    Fail {
        /// Which.
        id: ResumeId,
        /// Why.
        failure: Failure,
    },
    /// Somebody calls it off.
    Cancel {
        /// Which.
        id: ResumeId,
    },
}

/// A resume that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Its id, if it has to be made.
    pub id: ResumeId,
    /// The session.
    pub session: SessionId,
    /// What was asked for.
    pub wish: Wish,
    /// Whether what was asked for is to be had now.
    pub offer: Offer,
    /// The id of a thread that has to be made.
    pub thread: ThreadId,
}

/// Where a session can be seeded now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Into an engine, or the service's own journal where that will do.
    Some,
    /// Nowhere: an engine was asked for, and there is none.
    None,
}

/// An attempt that begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Of which resume.
    pub id: ResumeId,
    /// The engine; `None`: the service's own journal.
    pub engine: Option<EngineId>,
    /// The end of the session that is seeded.
    pub source: Tip,
    /// Messages in all.
    pub total: u64,
    /// Which attempt it is, from 1; what a restart of the service cut off goes on under its number.
    pub attempt: u32,
    /// Whether it carries on with what an engine holds already.
    pub seed: Seed,
    /// The thread, where it cannot be the one thought of before.
    pub thread: ThreadId,
}

/// What an attempt begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// Nothing is acknowledged yet.
    Fresh,
    /// The same engine goes on where it was.
    Continued,
}

/// A thread that is to be seated.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Of which resume.
    pub id: ResumeId,
    /// The epoch of the engine's attachment; `None`: the service's own journal.
    pub epoch: Option<u64>,
    /// The name of the thread's journal.
    pub journal: LogId,
    /// What a model is told first, where the session itself does not say: its system messages.
    pub system_prompt: String,
}
