//! The slow look that covers a lost notification: the table tells. Where others may commit beside this process, what is
//! watched is read again, a part of it at each tick of the clock that all watches share; whoever watches hears of it as
//! of any commit. Where notifications were lost in number, as with a broken connection, all of it is read at once.

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
        let mut from = Some(0);
        loop {
            tokio::select! {
                () = self.live.telling.missed.notified() => {
                    let mut rest = Some(0);
                    while let Some(from) = rest {
                        rest = self.look_from(from).await;
                    }
                }
                ticked = ticks.changed() => {
                    if ticked.is_err() {
                        return;
                    }
                    from = self.look_from(from.unwrap_or_default()).await;
                }
            }
        }
    }

    /// Looks at a part of what is watched; where the next one begins, if there is more.
    async fn look_from(&self, from: usize) -> Option<usize> {
        let watched = self.live.watchers.watched(from, LOOKS_MAX)?;
        let looks = stream::iter(watched);
        looks
            .for_each_concurrent(READS_MAX, |watched| self.look_at(watched))
            .await;
        Some(from + LOOKS_MAX)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::StreamExt as _;

    use super::LOOKS_MAX;
    use crate::domain::fixture as f;
    use crate::domain::session::Draft;
    use crate::service::engines::call;
    use crate::service::played::service;
    use crate::store::Observer as _;
    use crate::store::memory::Memory;

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_found_without_waiting_for_a_tick() {
        let memory = Arc::new(Memory::shared());
        let (writer, _drain) = service(&memory);
        let (reader, _drain) = service(&Arc::new(memory.beside()));
        let ns = f::namespace();
        let mut watches = Vec::new();
        for name in 0..LOOKS_MAX + 100 {
            let id = f::session(&format!("s{name}"));
            writer
                .create_session(call(&ns), Some(id.clone()), Draft::default())
                .await
                .unwrap();
            let mut watch = reader.watch_session(&ns, &id, None).await.unwrap();
            watch.next().await.unwrap().unwrap();
            watches.push((id, watch));
        }
        for (id, _) in &watches {
            let entries = vec![f::user("m", "hello")];
            writer
                .append_entries(call(&ns), id.clone(), entries, None)
                .await
                .unwrap();
        }
        // The clock does not tick here.
        let looking = tokio::spawn({
            let reader = reader.clone();
            async move { reader.look_again().await }
        });
        reader.live.telling.missed();
        for (_, watch) in &mut watches {
            let change = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
            let change = change.expect("it is heard").unwrap().unwrap();
            assert_eq!(change.entries.len(), 1);
        }
        looking.abort();
    }
}
