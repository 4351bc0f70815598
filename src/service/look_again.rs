//! The slow look that covers a lost notification: the table tells. Where others may commit beside this process, what is
//! watched is read again, a part of it at each tick of the clock that all watches share; whoever watches hears of it as
//! of any commit.

use futures_util::stream::{self, StreamExt as _};

use crate::watchers::Watched;

use super::Service;

/// What is read at one tick, of each kind; more of it takes several ticks.
const LOOKS_MAX: usize = 1_000;

/// Reads at a time.
const READS_MAX: usize = 16;

impl Service {
    /// Looks again at what is watched for as long as it runs; at once done where nobody else can change it.
    pub(super) async fn look_again(&self) {
        if !self.store.is_shared() {
            return;
        }
        let mut ticks = self.live.watchers.ticks();
        let mut from = 0;
        while ticks.changed().await.is_ok() {
            let watched = self.live.watchers.watched(from, LOOKS_MAX);
            from = if watched.is_empty() { 0 } else { from + LOOKS_MAX };
            let looks = stream::iter(watched);
            looks
                .for_each_concurrent(READS_MAX, |watched| self.look_at(watched))
                .await;
        }
    }

    async fn look_at(&self, watched: Watched) {
        let watchers = &self.live.watchers;
        let looked = match watched {
            Watched::Session(known) => {
                let read = self.store.session(&known.namespace, &known.id).await;
                read.map(|read| watchers.correct_session(&known, read))
            }
            Watched::Thread(known) => {
                let read = self.store.thread(&known.namespace, &known.id).await;
                read.map(|read| watchers.correct_thread(&known, read))
            }
            Watched::Resume(ns, id, known) => {
                let read = self.store.resume(&ns, &id).await;
                read.map(|read| watchers.correct_resume(&ns, &id, known.as_ref(), read))
            }
        };
        if let Err(error) = looked {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "what is watched cannot be looked at now");
        }
    }
}
