//! Going back in a session's log. Nothing is overwritten: a log is opened at the cut, and the head that is left
//! stays a while, so that a rewind can be undone.

use std::sync::Arc;

use super::Ruling;
use super::append::{Moved, head, moved, unmoved};
use super::session::{fresh, writable};
use crate::domain::effect::Effect;
use crate::domain::error::{Invalid, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{Namespace, Revision};
use crate::domain::outcome::Outcome;
use crate::domain::past_head::PastHead;
use crate::domain::path::{PARTS_HARD_MAX, Tip, common};
use crate::domain::proposal::Rewind;
use crate::domain::session::{Profile, Session};
use crate::domain::time::Time;

pub(super) fn rewind(facts: &Facts, ns: &Namespace, rewind: &Rewind, now: Time) -> Ruling {
    let session = writable(facts, ns, &rewind.session)?;
    fresh(session, rewind.expected)?;
    unmoved(session, &rewind.from)?;
    let past = rewind.to.map(|revision| past_head(facts, ns, session, revision));
    let past = past.transpose()?;
    let source = past.map_or(&session.tip, |past| &past.tip);
    let kept = Tip {
        log: source.log.clone(),
        tally: rewind.cut.tally.clone(),
    };
    if kept.seq() > source.seq() {
        return Err(Refusal::IndexOutOfRange {
            count: source.seq().0,
        });
    }
    let shared = common(&session.tip, &kept);
    let outcome = Outcome::Rewound {
        session: session.id.clone(),
        left: session.revision,
        kept: shared,
        removed: session.tip.seq().0 - shared.0,
    };
    if shared == session.tip.seq() && shared == kept.seq() {
        return Ok((Vec::new(), outcome));
    }
    let log = Arc::new(kept.log.child(rewind.log, &kept.tally));
    if log.path.parts().len() > PARTS_HARD_MAX {
        return Err(Invalid::limit("session_id", "rewinds of rewinds", PARTS_HARD_MAX as u64).into());
    }
    let tip = Tip {
        log: log.clone(),
        tally: kept.tally,
    };
    // Back at a past head it is as it was there; cut, it is in the middle of a turn if a call is left open.
    let incomplete = past.map_or(
        session.profile.incomplete_turn && !tip.tally.open_calls.is_empty(),
        |past| past.incomplete_turn,
    );
    let preview = Some(rewind.cut.preview.clone());
    let after = turned(moved(session, tip, preview, None, now), incomplete);
    let effects = vec![
        Effect::OpenLog(log),
        Effect::PutPastHead(Arc::new(left(session, now))),
        head(after),
    ];
    Ok((effects, outcome))
}

/// The head that a session leaves now.
pub(super) fn left(session: &Session, now: Time) -> PastHead {
    PastHead {
        namespace: session.namespace.clone(),
        session: session.id.clone(),
        revision: session.revision,
        tip: session.tip.clone(),
        incomplete_turn: session.profile.incomplete_turn,
        time: now,
    }
}

/// A head that the session has left.
pub(super) fn past_head<'a>(
    facts: &'a Facts,
    ns: &Namespace,
    session: &Session,
    revision: Revision,
) -> Result<&'a Arc<PastHead>, Refusal> {
    let head = facts.past_head(ns, &session.id, revision).flatten();
    head.ok_or_else(|| Refusal::no_revision(&session.id, revision))
}

/// The session in the middle of a turn or not.
fn turned(after: Moved, incomplete: bool) -> Moved {
    let (Moved::Head(session) | Moved::Whole(session)) = &after;
    if session.profile.incomplete_turn == incomplete {
        return after;
    }
    Moved::Whole(Session {
        profile: Arc::new(Profile {
            incomplete_turn: incomplete,
            ..Profile::clone(&session.profile)
        }),
        ..session.clone()
    })
}
