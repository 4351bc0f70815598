//! Which session a thread is saved to, and from where on. Asked twice: on a reader, to know what to
//! read, and in the commit, where it counts.

use super::error::{Invalid, Refusal};
use super::id::{Seq, SessionId};
use super::path::Tip;
use super::session::{Session, State};
use super::thread::{MARKS_MAX, Thread};

/// What a save has to write, by what thread and session are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Items after this one are written.
    pub after: Seq,
    /// What the writing goes on from; `None`: the session has to be made.
    pub from: Option<Tip>,
    /// What a session that has to be made shares with the thread's base.
    pub base: Option<Tip>,
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
    let known = session.is_some_and(|session| thread.mark(&session.id).is_some());
    if !known && thread.marks.len() >= MARKS_MAX {
        return Err(Invalid::limit("session_id", "sessions of one thread", MARKS_MAX as u64).into());
    }
    let Some(session) = session else {
        return Ok(Plan {
            after: thread.base_items(),
            from: None,
            base: thread.base.clone(),
        });
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
    let after = match thread.mark(&session.id) {
        Some(mark)
            if session.tip.covers(mark.log, mark.seq) && session.tip.tally.messages == mark.messages =>
        {
            mark.item
        }
        None if session.tip.tally.messages == 0 && thread.base.is_none() => Seq::ZERO,
        Some(_) | None => return Err(diverged()),
    };
    Ok(Plan {
        after,
        from: Some(session.tip.clone()),
        base: None,
    })
}
