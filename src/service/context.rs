//! The context view as engines see it: how much of it there is, and how a snapshot stands to it.

use bytes::Bytes;

use crate::body::Sameness;
use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::domain::query::{Bound, End, Range};
use crate::domain::{Entry, Seq, Tip};
use crate::engine::Known;
use crate::store;

use super::entries::ContextStart;
use super::{Error, Service};

/// How a snapshot stands to the stored context view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The whole view is the beginning of the snapshot; what follows is new.
    Extends {
        /// The first new message.
        from: usize,
    },
    /// They part after a common beginning.
    Diverges {
        /// The last entry before the message that the snapshot does not have.
        keep: Seq,
        /// The first new message.
        from: usize,
    },
    /// They have no beginning in common that the log could go back to.
    Replaces,
}

impl Service {
    /// How many messages the context view has, and the id of the last. Reads a handful of rows, whatever the length.
    pub(super) async fn known(&self, tip: &Tip) -> Result<Known, Error> {
        let start = self.context_start(tip).await?;
        let before = self.tally_at(tip, start.after).await?;
        let end = &tip.tally;
        let twice = start.left_out.is_some_and(|seq| seq > start.after);
        let after = end.main - before.main - u64::from(twice);
        let last_id = if end.last_main > start.after && Some(end.last_main) != start.left_out {
            let meta = self.store.entry_meta(&tip.log, end.last_main).await?;
            meta.map(|meta| meta.id.to_string())
        } else if after == 0 {
            let last = start
                .head
                .last()
                .map(Sameness::of)
                .transpose()
                .map_err(damaged(tip))?;
            last.and_then(|last| last.id).map(|id| id.to_string())
        } else {
            None
        };
        Ok(Known {
            messages: start.head.len() as u64 + after,
            last_id: last_id.unwrap_or_default(),
        })
    }

    /// Compares a snapshot with the context view up to `tip`, message by message.
    pub(super) async fn relation(
        &self,
        tip: &Tip,
        snapshot: &[Sameness],
        strict_after: Option<Seq>,
    ) -> Result<Relation, Error> {
        let start = self.context_start(tip).await?;
        for (at, stored) in start.head.iter().enumerate() {
            let stored = Sameness::of(stored).map_err(damaged(tip))?;
            if !snapshot.get(at).is_some_and(|given| given.is(&stored)) {
                return Ok(Relation::Replaces);
            }
        }
        let at = start.head.len();
        let relation = self
            .relation_after(tip, &start, snapshot, at, strict_after)
            .await?;
        Ok(match relation {
            Relation::Diverges { from: 0, .. } => Relation::Replaces,
            other => other,
        })
    }

    /// Compares what an engine has after `known` with what the context view up to `tip` has there.
    pub(super) async fn relation_of_rest(
        &self,
        tip: &Tip,
        known: Seq,
        rest: &[Sameness],
        strict_after: Option<Seq>,
    ) -> Result<Relation, Error> {
        let start = ContextStart {
            after: known,
            ..self.context_start(tip).await?
        };
        self.relation_after(tip, &start, rest, 0, strict_after).await
    }

    /// Compares the messages from number `at` on. Messages after `strict_after` are of a turn that was not over when
    /// they were saved: there the same id is not enough.
    async fn relation_after(
        &self,
        tip: &Tip,
        start: &ContextStart,
        snapshot: &[Sameness],
        mut at: usize,
        strict_after: Option<Seq>,
    ) -> Result<Relation, Error> {
        let mut after = start.after;
        while let Some(page) = self.context_page(tip, after).await? {
            for entry in page.iter().filter(|entry| start.shows(entry)) {
                let stored = Sameness::of(&entry.body).map_err(damaged(tip))?;
                let is_strict = strict_after.is_some_and(|seq| entry.meta.seq > seq);
                let same = snapshot
                    .get(at)
                    .is_some_and(|given| given.is(&stored) && !(is_strict && given.said != stored.said));
                if !same {
                    let keep = Seq(entry.meta.seq.0 - 1);
                    return Ok(Relation::Diverges { keep, from: at });
                }
                at += 1;
            }
            after = page.last().map_or(after, |entry| entry.meta.seq);
        }
        Ok(Relation::Extends { from: at })
    }

    async fn context_page(&self, tip: &Tip, after: Seq) -> Result<Option<Vec<Entry>>, Error> {
        let to = tip.seq();
        if after >= to {
            return Ok(None);
        }
        let range = Range {
            after,
            to,
            from: End::Oldest,
        };
        let bound = Bound {
            rows: PAGE_ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        let rows = self.store.entries(&tip.log, range, bound).await?;
        if rows.is_empty() {
            return Err(store::Error::corrupt(format!("log {}", tip.log.id), "entries are missing").into());
        }
        Ok(Some(rows))
    }
}

impl ContextStart {
    fn shows(&self, entry: &Entry) -> bool {
        entry.meta.mark.is_context() && Some(entry.meta.seq) != self.left_out
    }
}

/// What cannot be read back was readable when it was written.
pub(super) fn damaged<E: std::fmt::Display>(tip: &Tip) -> impl Fn(E) -> Error {
    let log = tip.log.id;
    move |error| store::Error::corrupt(format!("a message of log {log}"), error).into()
}

/// What each message of a snapshot is known by; the first one that cannot be read.
pub(super) fn samenesses(messages: &[Bytes]) -> Result<Vec<Sameness>, usize> {
    let read = |(at, body)| Sameness::of(body).map_err(|_| at);
    messages.iter().enumerate().map(read).collect()
}
