//! Telling of commits in their order, though several lanes commit at once.
//!
//! A commit takes a number while it holds its keys, before it is sent. Whoever commits the same key later takes a later
//! number, for he has the key later. So a commit is told of once none of a lower number that shares a key is still to
//! be told of; commits that share none do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who is to be told of next.
#[derive(Debug, Default)]
pub(super) struct Order {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Arc<BTreeSet<i64>>>,
}

/// A place in the order, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    order: &'a Order,
    number: u64,
    keys: Arc<BTreeSet<i64>>,
}

impl Order {
    /// The next place, for a commit that holds these keys.
    pub(super) fn take(&self, keys: BTreeSet<i64>) -> Turn<'_> {
        let keys = Arc::new(keys);
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, keys.clone());
        Turn {
            order: self,
            number,
            keys,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map and a number are whole after any panic that could happen under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits for all commits before this one that share a key with it.
    pub(super) async fn comes(&self) {
        loop {
            let mut moved = pin!(self.order.moved.notified());
            moved.as_mut().enable();
            if self.is_next() {
                return;
            }
            moved.await;
        }
    }

    fn is_next(&self) -> bool {
        let state = self.order.state();
        let mut before = state.open.range(..self.number);
        before.all(|(_, keys)| keys.is_disjoint(&self.keys))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.order.state().open.remove(&self.number);
        self.order.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn commits_of_one_key_wait_for_each_other_and_no_others() {
        let order = Order::default();
        let first = order.take(BTreeSet::from([1, 2]));
        let second = order.take(BTreeSet::from([2, 3]));
        let third = order.take(BTreeSet::from([3]));
        let other = order.take(BTreeSet::from([4]));
        assert!(other.comes().now_or_never().is_some());
        assert!(second.comes().now_or_never().is_none());
        assert!(first.comes().now_or_never().is_some());
        drop(first);
        assert!(second.comes().now_or_never().is_some());
        assert!(third.comes().now_or_never().is_none());
        drop(second);
        assert!(third.comes().now_or_never().is_some());
    }
}
