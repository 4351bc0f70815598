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
    let source = match rewind.to {
        Some(revision) => &past_head(facts, ns, session, revision)?.tip,
        None => &session.tip,
    };
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
    let after = finished(moved(session, tip, Some(rewind.cut.preview.clone()), None, now));
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

/// A session that ends in no open call is not in the middle of a turn any more.
fn finished(after: Moved) -> Moved {
    let (Moved::Head(session) | Moved::Whole(session)) = &after;
    if !session.profile.incomplete_turn || !session.tip.tally.open_calls.is_empty() {
        return after;
    }
    Moved::Whole(Session {
        profile: Arc::new(Profile {
            incomplete_turn: false,
            ..Profile::clone(&session.profile)
        }),
        ..session.clone()
    })
}
