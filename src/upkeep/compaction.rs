//! Shortening the path of a session: the shortest neighbouring parts are copied together, with the same seqs.
//!
//! What a path names never changes, so the copy is right whatever is appended meanwhile; only the last step, which lets
//! the head name the new log, has to meet the session where it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::limits::{COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, MOVED_RETRIES_MAX};
use crate::domain::path::PARTS_SOFT_MAX;
use crate::domain::proposal::UpkeepCommand;
use crate::domain::query::{Bound, End, Range};
use crate::domain::{Entry, Log, LogId, Namespace, Part, Path, Refusal, Seq, Session, SessionId, Time, Tip};
use crate::store::Error;

use super::Upkeep;

/// Parts that are left of the path; the end of the old log comes as one more.
const PARTS_LEFT_MAX: usize = PARTS_SOFT_MAX / 2 - 1;

/// What one copying commit holds at most.
const COPIED: Bound = Bound {
    rows: COMMIT_ENTRIES_MAX,
    bytes: COMMIT_BYTES_MAX,
};

/// How long a session whose path cannot be shortened is left alone at first; each time it fails, twice as long.
const WAIT_MIN: Duration = Duration::from_secs(10 * 60);

/// And at most.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Sessions that are remembered; past that all are tried again.
const STALLED_MAX: usize = 10_000;

/// Sessions whose paths could not be shortened: an entry that cannot be read stays so, and each attempt copies what
/// lies before it.
#[derive(Debug, Default)]
pub(super) struct Stalled(Mutex<HashMap<(Namespace, SessionId), Wait>>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Time,
    span: Duration,
}

impl Stalled {
    /// Whether a session is left alone for now.
    pub(super) fn waits(&self, ns: &Namespace, id: &SessionId, now: Time) -> bool {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = waits.get(&(ns.clone(), id.clone()));
        wait.is_some_and(|wait| now < wait.until)
    }

    /// Remembers how an attempt went. What the storage could not do then it may do in the next round.
    pub(super) fn note(&self, ns: &Namespace, id: &SessionId, done: &Result<(), Error>, now: Time) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (ns.clone(), id.clone());
        match done {
            Ok(()) => drop(waits.remove(&key)),
            Err(Error::Unavailable { .. }) => {}
            Err(Error::Corrupt { .. } | Error::Refused(_)) => {
                if waits.len() >= STALLED_MAX {
                    waits.clear();
                }
                let before = waits.get(&key).map(|wait| wait.span * 2);
                let span = before.unwrap_or(WAIT_MIN).min(WAIT_MAX);
                let until = now.after(span);
                waits.insert(key, Wait { until, span });
            }
        }
    }
}

impl Upkeep {
    /// Gives a session a path of at most half the parts that a path should have, if it has more than it should.
    pub(super) async fn compact(
        &self,
        ns: &Namespace,
        id: &SessionId,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(session) = self.store.session(ns, id).await? else {
            return Ok(());
        };
        let from = session.tip.log.clone();
        if from.path.parts().len() <= PARTS_SOFT_MAX {
            return Ok(());
        }
        let mut parts: Vec<Part> = Vec::new();
        for run in runs(from.path.parts(), PARTS_LEFT_MAX) {
            if stop.is_cancelled() {
                return Ok(());
            }
            let part = match run {
                [part] => part.clone(),
                run => self.copy(ns, &from, &parts, run).await?,
            };
            parts.push(part);
        }
        self.publish(ns, id, from.id, &parts).await
    }

    /// Copies the entries of a run into a new log that inherits `before`.
    async fn copy(&self, ns: &Namespace, from: &Log, before: &[Part], run: &[Part]) -> Result<Part, Error> {
        let log = Arc::new(self.log_over(before.to_vec())?);
        let Some(last) = run.last() else {
            return Err(broken(from.id));
        };
        let mut after = log.path.end();
        while after < last.to {
            let range = Range {
                after,
                to: last.to,
                from: End::Oldest,
            };
            let mut entries = self.store.entries(from, range, COPIED).await?;
            entries.iter_mut().for_each(|entry| entry.meta.log = log.id);
            let Some(end) = entries.last().map(|entry: &Entry| entry.meta.seq) else {
                return Err(broken(from.id));
            };
            let log = log.clone();
            self.keep(ns, UpkeepCommand::Stage { log, after, entries })
                .await?;
            after = end;
        }
        Ok(Part {
            log: log.id,
            ..last.clone()
        })
    }

    /// Lets the session's head name a log over `parts` and the end of `from`, unless it has left `from` meanwhile.
    async fn publish(
        &self,
        ns: &Namespace,
        id: &SessionId,
        from: LogId,
        parts: &[Part],
    ) -> Result<(), Error> {
        for _ in 0..=MOVED_RETRIES_MAX {
            let Some(session) = self.store.session(ns, id).await? else {
                return Ok(());
            };
            if session.tip.log.id != from {
                return Ok(());
            }
            let to = Arc::new(self.log_over(whole(parts, &session))?);
            let session = id.clone();
            match self.keep(ns, UpkeepCommand::Compact { session, from, to }).await {
                Err(Error::Refused(Refusal::Moved { .. })) => {}
                other => return other.map(|_| ()),
            }
        }
        // Somebody appends faster than this reads; the copy is swept, and a later round tries again.
        Ok(())
    }

    /// A new log that inherits `parts`.
    fn log_over(&self, parts: Vec<Part>) -> Result<Log, Error> {
        let id = LogId(self.ids.fresh());
        let path = Path::new(parts).ok_or_else(|| broken(id))?;
        Ok(Log { id, path })
    }
}

/// `parts`, and what the session's own log has added to them.
fn whole(parts: &[Part], session: &Session) -> Vec<Part> {
    let Tip { log, tally } = &session.tip;
    let own = (session.tip.seq() > log.path.end()).then(|| Part {
        log: log.id,
        to: session.tip.seq(),
        tally: tally.clone(),
    });
    parts.iter().cloned().chain(own).collect()
}

/// Splits a path into at most `max` runs of neighbours, each to become one part: the two that are shortest together
/// are joined until there are few enough.
fn runs(parts: &[Part], max: usize) -> Vec<&[Part]> {
    // A run is told by its last part; together they cover the path.
    let mut ends: Vec<usize> = (0..parts.len()).collect();
    let seq = |at: usize| parts[at].to.0;
    while ends.len() > max.max(1) {
        let start = |at: usize| if at == 0 { Seq::ZERO.0 } else { seq(ends[at - 1]) };
        let shortest = (0..ends.len() - 1).min_by_key(|at| seq(ends[at + 1]) - start(*at));
        let Some(at) = shortest else { break };
        ends.remove(at);
    }
    let mut rest = 0;
    let run = |end: usize| {
        let run = &parts[rest..=end];
        rest = end + 1;
        run
    };
    ends.into_iter().map(run).collect()
}

/// A path that does not ascend, or names entries that are not there.
fn broken(log: LogId) -> Error {
    Error::corrupt(format!("log {log}"), "its path does not hold what it names")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::Tally;

    fn path(lengths: &[u64]) -> Vec<Part> {
        let mut to = 0;
        let part = |length: &u64| {
            to += length;
            Part {
                log: LogId(Uuid::from_u128(u128::from(to))),
                to: Seq(to),
                tally: Tally {
                    entries: to,
                    ..Tally::default()
                },
            }
        };
        lengths.iter().map(part).collect()
    }

    fn lengths(lengths: &[u64], max: usize) -> Vec<usize> {
        runs(&path(lengths), max).iter().map(|run| run.len()).collect()
    }

    #[test]
    fn joins_the_shortest_neighbours() {
        assert_eq!(lengths(&[9, 1, 1, 9], 3), [1, 2, 1]);
        assert_eq!(lengths(&[9, 1, 1, 1, 9], 3), [1, 3, 1]);
        assert_eq!(lengths(&[1, 9, 9, 1], 3), [2, 1, 1]);
        assert_eq!(lengths(&[5, 5], 3), [1, 1]);
        assert_eq!(lengths(&[5, 5], 1), [2]);
        assert_eq!(lengths(&[], 3), [0; 0]);
    }

    #[test]
    fn covers_the_path_with_few_enough_runs() {
        let parts = path(&(1..=1_000).map(|n| n * 7 % 23 + 1).collect::<Vec<_>>());
        let runs = runs(&parts, PARTS_LEFT_MAX);
        assert_eq!(runs.len(), PARTS_LEFT_MAX);
        assert_eq!(runs.concat(), parts);
    }
}
