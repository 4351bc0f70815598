//! The suite on the memory store as it is, and on one that decides many proposals on top of each other
//! before it writes them: what a backend with group commit does.

use std::sync::Arc;

use crate::store::Store;
use crate::store::conformance::{Backend, conformance};
use crate::store::memory::Memory;

/// Memory has nowhere to come back from: a restart finds the same store.
struct InMemory(Arc<Memory>);

impl Backend for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

conformance!(memory, InMemory(Arc::default()));
