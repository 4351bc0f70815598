//! Keeping the search index: what is written is indexed behind the writes, a moment later and in large batches.
//!
//! It is woken when something was written, and looks at what the index lacks until it lacks nothing: whatever woke it,
//! and whatever was missed, comes in. A message that cannot be read is left out, and the rest goes on. As long as it
//! keeps up it works half of the time only; once it is behind it works all of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::body;
use crate::domain::limits::{INDEX_BYTES_MAX, INDEX_ROWS_MAX};
use crate::domain::outcome::More;
use crate::domain::query::Bound;
use crate::domain::search::{Indexed, Row, Unindexed};
use crate::domain::words;
use crate::service::Clock;
use crate::store::{Error, Store};

/// How long it waits for more after it was woken: fewer and larger commits cost less.
const GATHERS: Duration = Duration::from_millis(100);

/// How long it may be busy before it no longer rests between two batches.
const KEEPS_UP: Duration = Duration::from_millis(400);

/// How long after a failure it tries again.
const TRIES_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How much earlier than the clock's time the index is said to be whole after a restart: a write that was decided then
/// may have been on its way.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// What one batch holds at most.
const BATCH: Bound = Bound {
    rows: INDEX_ROWS_MAX,
    bytes: INDEX_BYTES_MAX,
};

/// Indexes what one store holds.
#[derive(Clone, Debug)]
pub struct Indexer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// How hard to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Beside others, who come first.
    Polite,
    /// As fast as can be.
    Full,
}

impl Indexer {
    /// An indexer of `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Indexes whatever is written until `stop`, and ends between two commits.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.store.index_news();
        let mut is_failing = false;
        loop {
            news.mark_unchanged();
            let done = self.catch_up(Pace::Polite, &stop, |_| {}).await;
            let wait = match done {
                Ok(_) => {
                    is_failing = false;
                    match stop.run_until_cancelled(news.changed()).await {
                        Some(Ok(())) => GATHERS,
                        // It was stopped, or the store is gone.
                        Some(Err(_)) | None => return,
                    }
                }
                Err(error) => {
                    if !is_failing {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "indexing failed, and is tried again");
                    }
                    is_failing = true;
                    TRIES_AGAIN_AFTER
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Indexes until nothing is lacking or `stop`; says how many messages that were, and `progress` with each batch.
    pub async fn catch_up(
        &self,
        pace: Pace,
        stop: &CancellationToken,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, Error> {
        let (start, mut count) = (Instant::now(), 0);
        while !stop.is_cancelled() {
            let (now, began) = (self.clock.now(), Instant::now());
            let lack = self.store.lack(BATCH).await?;
            if lack.logs.is_empty() {
                match lack.more {
                    More::Done => break,
                    More::Left => continue,
                }
            }
            let through = (lack.more == More::Done).then(|| now.before(ON_THEIR_WAY));
            count += lack.logs.iter().map(|log| log.messages.len() as u64).sum::<u64>();
            let batch = tokio::task::spawn_blocking(move || lack.logs.into_iter().map(indexed).collect());
            let batch = batch
                .await
                .map_err(|error| Error::unavailable("reading words", error))?;
            self.store.index(batch, through).await?;
            progress(count);
            if pace == Pace::Polite && start.elapsed() < KEEPS_UP {
                let rest = tokio::time::sleep(began.elapsed());
                stop.run_until_cancelled(rest).await;
            }
        }
        Ok(count)
    }
}

/// The words of these messages.
fn indexed(unindexed: Unindexed) -> Indexed {
    let Unindexed {
        namespace,
        log,
        after,
        to,
        messages,
    } = unindexed;
    let mut rows = Vec::with_capacity(messages.len());
    for message in messages {
        let meta = message.meta;
        let Some(role) = meta.mark.role else { continue };
        match body::searchable(&message.body) {
            Ok(searchable) => rows.push(Row {
                seq: meta.seq,
                role,
                time: searchable.time.unwrap_or(meta.create_time),
                words: words::folded(&searchable.text),
            }),
            // What it says about the bytes may quote them.
            Err(_) => tracing::warn!(%log, seq = %meta.seq, "a message that cannot be read is not indexed"),
        }
    }
    Indexed {
        namespace,
        log,
        after,
        to,
        rows,
    }
}
