//! Channels by name, each there while somebody listens.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::Namespace;

type Senders<I, N> = HashMap<(Namespace, I), watch::Sender<Option<N>>>;

/// The channels of one noun.
#[derive(Debug)]
pub(super) struct Channels<I, N> {
    senders: Mutex<Senders<I, N>>,
}

impl<I, N> Default for Channels<I, N> {
    fn default() -> Self {
        Self {
            senders: Mutex::default(),
        }
    }
}

impl<I: Clone + Eq + Hash, N> Channels<I, N> {
    /// Listens from now on.
    pub(super) fn listen(self: &Arc<Self>, ns: &Namespace, id: &I) -> Ear<I, N> {
        let key = (ns.clone(), id.clone());
        let mut senders = self.senders();
        let sender = senders
            .entry(key.clone())
            .or_insert_with(|| watch::Sender::new(None));
        let mut news = sender.subscribe();
        news.mark_changed();
        Ear {
            channels: self.clone(),
            key,
            news,
        }
    }

    /// Lets `change` look at what is known and move it; whether it did is what it returns.
    pub(super) fn tell(&self, ns: &Namespace, id: &I, change: impl FnOnce(&mut Option<N>) -> bool) {
        let senders = self.senders();
        if senders.is_empty() {
            return;
        }
        if let Some(sender) = senders.get(&(ns.clone(), id.clone())) {
            sender.send_if_modified(change);
        }
    }

    /// What somebody has read, for those who listen to a channel that carries nothing yet.
    pub(super) fn offer(&self, ns: &Namespace, id: &I, read: N) {
        self.tell(ns, id, |known| {
            let is_news = known.is_none();
            known.get_or_insert(read);
            is_news
        });
    }

    /// At most `max` of what is listened to, after the first `from`, and what is known of each.
    pub(super) fn listened(&self, from: usize, max: usize) -> Vec<((Namespace, I), Option<N>)>
    where
        N: Clone,
    {
        let senders = self.senders();
        let listened = senders.iter().skip(from).take(max);
        let known = listened.map(|(key, sender)| (key.clone(), sender.borrow().clone()));
        known.collect()
    }

    /// Forgets a channel that nobody listens to any more.
    fn leave(&self, key: &(Namespace, I)) {
        let mut senders = self.senders();
        if senders
            .get(key)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            senders.remove(key);
        }
    }

    fn senders(&self) -> MutexGuard<'_, Senders<I, N>> {
        // A map is whole after any panic that could happen under its lock.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Ear<I: Clone + Eq + Hash, N> {
    channels: Arc<Channels<I, N>>,
    key: (Namespace, I),
    news: watch::Receiver<Option<N>>,
}

impl<I: Clone + Eq + Hash, N: Clone> Ear<I, N> {
    /// Where the name is unique.
    pub fn namespace(&self) -> &Namespace {
        &self.key.0
    }

    /// What is listened to.
    pub fn id(&self) -> &I {
        &self.key.1
    }

    /// What is known, news or not.
    pub fn known(&self) -> Option<N> {
        self.news.borrow().clone()
    }

    /// What is known, if it is news to this listener.
    pub fn heard(&mut self) -> Option<N> {
        match self.news.has_changed() {
            Ok(true) => self.news.borrow_and_update().clone(),
            // The sender lives as long as there is an ear.
            Ok(false) | Err(_) => None,
        }
    }

    /// The next news.
    pub async fn next(&mut self) -> N {
        loop {
            if self.news.changed().await.is_err() {
                // The sender lives as long as there is an ear: this is never so.
                std::future::pending::<()>().await;
            }
            if let Some(news) = self.news.borrow_and_update().clone() {
                return news;
            }
        }
    }
}

impl<I: Clone + Eq + Hash, N> Drop for Ear<I, N> {
    fn drop(&mut self) {
        // Its own ear has to be closed before it is counted who else listens.
        self.news = watch::channel(None).1;
        self.channels.leave(&self.key);
    }
}
