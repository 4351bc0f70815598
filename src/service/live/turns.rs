//! One after another: what must not be done twice at a time in a namespace.

use tokio::sync::{Mutex, MutexGuard};

use crate::body;
use crate::domain::Namespace;

/// Queues; namespaces share them, so that there is a fixed number.
const QUEUES: usize = 16;

/// Turns that are taken one after another in each namespace.
#[derive(Debug, Default)]
pub(in crate::service) struct Turns([Mutex<()>; QUEUES]);

impl Turns {
    /// Waits until nobody else has the turn of this namespace.
    pub(in crate::service) async fn turn(&self, ns: &Namespace) -> MutexGuard<'_, ()> {
        self.queue(ns).lock().await
    }

    /// The turn of this namespace, if nobody has it.
    pub(in crate::service) fn try_turn(&self, ns: &Namespace) -> Option<MutexGuard<'_, ()>> {
        self.queue(ns).try_lock().ok()
    }

    fn queue(&self, ns: &Namespace) -> &Mutex<()> {
        let [first, ..] = body::digest(ns.as_str().as_bytes()).0;
        &self.0[usize::from(first) % QUEUES]
    }
}
