//! Which session a thread is saved to, and from where on. Asked twice: on a reader, to know what to
//! read, and in the commit, where it counts.

use super::error::{Invalid, Refusal};
use super::id::{Seq, SessionId};
use super::path::Tip;
use super::session::{Session, State};
use super::thread::{MARKS_MAX, SaveMark, Thread};

/// What a save has to write, by what thread and session are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Items after this one are written.
    pub after: Seq,
    /// What the writing goes on from; `None`: the session has to be made.
    pub from: Option<Tip>,
    /// What a session that has to be made shares with the thread's base.
    pub base: Option<Tip>,
    /// Where the session goes back to if anything is written: what follows is of a turn that a snapshot
    /// caught running, and is written anew.
    pub back_to: Option<Seq>,
}

/// How a thread and the session it is saved to stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// There is no session yet.
    New,
    /// The session has no message, and the thread was seeded with none.
    Empty,
    /// The thread knows all the messages that the session has.
    Known(&'a SaveMark),
}

/// The session a save is for: the one named, else the linked one, else a new one.
pub fn target<'a>(
    thread: &'a Thread,
    requested: Option<&'a SessionId>,
    fresh: &'a SessionId,
) -> &'a SessionId {
    requested.or(thread.session.as_ref()).unwrap_or(fresh)
}

/// Whether `thread` may be saved to `session` now, and what has to be written.
pub fn plan(thread: &Thread, session: Option<&Session>) -> Result<Plan, Refusal> {
    if thread.active_turn.is_some() || thread.open_items > 0 {
        return Err(Refusal::TurnInProgress {
            thread: thread.id.clone(),
            turn: thread.active_turn.clone(),
        });
    }
    let from = session.map(|session| session.tip.clone());
    Ok(match standing(thread, session)? {
        Standing::New => Plan {
            after: thread.base_items(),
            from,
            base: thread.base.clone(),
            back_to: None,
        },
        Standing::Empty => Plan {
            after: Seq::ZERO,
            from,
            base: None,
            back_to: None,
        },
        Standing::Known(mark) => Plan {
            after: mark.item,
            from,
            base: None,
            back_to: mark.turn_start.filter(|_| mark.item < Seq(thread.items)),
        },
    })
}

/// Whether what `thread` holds may be written to `session`: neither a save nor a snapshot goes past
/// messages that the thread did not seed or save itself.
pub fn standing<'a>(thread: &'a Thread, session: Option<&Session>) -> Result<Standing<'a>, Refusal> {
    let known = session.is_some_and(|session| thread.mark(&session.id).is_some());
    if !known && thread.marks.len() >= MARKS_MAX {
        return Err(Invalid::limit("session_id", "sessions of one thread", MARKS_MAX as u64).into());
    }
    let Some(session) = session else {
        return Ok(Standing::New);
    };
    if session.profile.state == State::Deleted {
        return Err(Refusal::SessionDeleted {
            session: session.id.clone(),
        });
    }
    if let Some(owner) = session
        .profile
        .thread
        .as_ref()
        .filter(|owner| **owner != thread.id)
    {
        return Err(Refusal::SessionOwned {
            session: session.id.clone(),
            owner: owner.clone(),
        });
    }
    let diverged = || Refusal::SessionDiverged {
        session: session.id.clone(),
        thread: thread.id.clone(),
    };
    match thread.mark(&session.id) {
        Some(mark) if holds(session, mark) => Ok(Standing::Known(mark)),
        None if session.tip.tally.messages == 0 && thread.base.is_none() => Ok(Standing::Empty),
        Some(_) | None => Err(diverged()),
    }
}

/// Whether a thread that was saved up to `mark` holds every message of the session.
pub fn holds(session: &Session, mark: &SaveMark) -> bool {
    session.tip.covers(mark.log, mark.seq) && session.tip.tally.messages == mark.messages
}
