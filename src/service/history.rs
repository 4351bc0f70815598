//! A session's past: it goes back to an earlier place, or to a head that it has left, and tells which those are.

use std::sync::Arc;

use crate::domain::id::Revision;
use crate::domain::limits::{MOVED_RETRIES_MAX, PAGE_BYTES_MAX, REMOVED_ENTRIES_MAX};
use crate::domain::proposal::{self, Cut, SessionCommand};
use crate::domain::query::{Bound, End, Page, Range};
use crate::domain::session::State;
use crate::domain::{Command, Entry, Namespace, Outcome, PastHead, Refusal, Seq, Session, SessionId, Tip};
use crate::store;

use super::sessions::standing;
use super::{Call, Error, Service, mismatched};

/// What a caller wants rewound.
#[derive(Clone, Debug)]
pub struct Rewind {
    /// The session.
    pub session: SessionId,
    /// Where it goes back to.
    pub to: To,
    /// The revision the caller last saw.
    pub expected: Option<Revision>,
}

/// Where a session goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// So many entries before its end.
    Before(u64),
    /// Behind this entry.
    Entry(Seq),
    /// A head that it has left.
    Revision(Revision),
}

/// A rewind that was made.
#[derive(Clone, Debug)]
pub struct Rewound {
    /// The session after it.
    pub session: Arc<Session>,
    /// The last entries that were dropped, ascending.
    pub removed: Vec<Entry>,
    /// How many were dropped in all.
    pub removed_count: u64,
}

impl Service {
    /// Takes a session back; what it leaves can be read and returned to for a while.
    pub async fn rewind_session(&self, call: Call, rewind: Rewind) -> Result<Rewound, Error> {
        if let Some(rewound) = self.rewound_before(&call).await? {
            return Ok(rewound);
        }
        for _ in 0..MOVED_RETRIES_MAX {
            let (command, from) = match self.looked_up(&call.namespace, &rewind).await {
                Ok(found) => found,
                Err(error) => return self.rewound_before(&call).await?.ok_or(error),
            };
            let command = Command::Session(SessionCommand::Rewind(Box::new(command)));
            let committed = match self.commit(call.clone(), command).await {
                Err(Error::Store(store::Error::Refused(Refusal::Moved { .. }))) => continue,
                committed => committed?,
            };
            if committed.replayed {
                break;
            }
            let session = committed.session;
            let room = session.as_ref().map_or(PAGE_BYTES_MAX, |session| room(session));
            let Outcome::Rewound {
                session: id,
                kept,
                removed,
                ..
            } = committed.outcome
            else {
                return Err(mismatched(&committed.outcome));
            };
            return Ok(Rewound {
                session: standing(session, &id)?,
                removed: self.removed(&from, kept, room).await?,
                removed_count: removed,
            });
        }
        let moved = Refusal::Moved {
            session: rewind.session,
        };
        self.rewound_before(&call).await?.ok_or_else(|| moved.into())
    }

    /// A page of the heads that a session has left and that are kept, the newest first.
    pub async fn revisions(
        &self,
        ns: &Namespace,
        id: &SessionId,
        before: Option<Revision>,
        bound: Bound,
    ) -> Result<Page<Arc<PastHead>, Revision>, Error> {
        self.found(ns, id).await?;
        let mut rows = self.store.past_heads(ns, id, before, bound.rows + 1).await?;
        let has_more = rows.len() > bound.rows;
        rows.truncate(bound.rows);
        let next = rows.last().filter(|_| has_more).map(|head| head.revision);
        Ok(Page { rows, next })
    }

    /// The place that a rewind means, and the end of the session when it was looked up.
    async fn looked_up(&self, ns: &Namespace, rewind: &Rewind) -> Result<(proposal::Rewind, Tip), Error> {
        let session = self.found(ns, &rewind.session).await?;
        if session.profile.state == State::Deleted {
            return Err(Refusal::SessionDeleted {
                session: session.id.clone(),
            }
            .into());
        }
        if rewind
            .expected
            .is_some_and(|expected| expected != session.revision)
        {
            return Err(Refusal::revision(&session.id, session.revision).into());
        }
        let end = session.tip.seq().0;
        let out_of_range = || Refusal::IndexOutOfRange { count: end };
        let (source, to) = match rewind.to {
            To::Before(count) => {
                let seq = end.checked_sub(count).ok_or_else(out_of_range)?;
                (session.clone(), Seq(seq))
            }
            To::Entry(seq) if seq.0 > end => return Err(out_of_range().into()),
            To::Entry(seq) => (session.clone(), seq),
            To::Revision(revision) => {
                let past = self.as_of(session.clone(), Some(revision)).await?;
                let to = past.tip.seq();
                (past, to)
            }
        };
        let tally = self.tally_at(&source.tip, to).await?;
        let command = proposal::Rewind {
            session: session.id.clone(),
            from: session.tip.clone(),
            to: (source.revision != session.revision).then_some(source.revision),
            cut: Cut {
                preview: self.preview_at(&source.tip, &tally).await?,
                tally,
            },
            expected: rewind.expected,
            log: self.fresh_log(),
        };
        Ok((command, session.tip.clone()))
    }

    /// The last entries up to a tip that come after `kept`.
    async fn removed(&self, from: &Tip, kept: Seq, bytes: usize) -> Result<Vec<Entry>, Error> {
        let range = Range {
            after: kept,
            to: from.seq(),
            from: End::Newest,
        };
        let bound = Bound {
            rows: REMOVED_ENTRIES_MAX,
            bytes,
        };
        if kept >= from.seq() {
            return Ok(Vec::new());
        }
        Ok(self.store.entries(&from.log, range, bound).await?)
    }

    /// What an earlier call under the same request_id answered; the dropped entries are read again while the head that
    /// was left is kept.
    async fn rewound_before(&self, call: &Call) -> Result<Option<Rewound>, Error> {
        let Some(outcome) = self.replayed(call).await? else {
            return Ok(None);
        };
        let Outcome::Rewound {
            session: id,
            left,
            kept,
            removed: removed_count,
        } = outcome
        else {
            return Err(mismatched(&outcome));
        };
        let session = self.found(&call.namespace, &id).await?;
        let head = self.store.past_head(&call.namespace, &id, left).await?;
        let removed = match head {
            Some(head) if removed_count > 0 => self.removed(&head.tip, kept, room(&session)).await?,
            Some(_) | None => Vec::new(),
        };
        Ok(Some(Rewound {
            session,
            removed,
            removed_count,
        }))
    }
}

/// What an answer may hold beside the session.
fn room(session: &Session) -> usize {
    PAGE_BYTES_MAX.saturating_sub(session.text_bytes())
}
