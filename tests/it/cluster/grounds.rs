//! Where replicas run: in one process over a shared memory, or as processes over one database.

use std::sync::Arc;

use sessiond::store::Store;
use sessiond::store::memory::Memory;
use sessiond::store::postgres::{Options, Postgres};

use super::replica::Replica;
use crate::support::postgres::Schema;

/// The store that replicas of a test share, and what they are.
pub(super) enum Grounds {
    /// They are runtimes of the test's process.
    Memory(Memory),
    /// They are processes; the test looks into their database beside them.
    Database { schema: Schema, store: Arc<Postgres> },
}

impl Grounds {
    /// A new memory.
    pub(super) fn memory() -> Self {
        Self::Memory(Memory::shared())
    }

    /// A new schema of a database.
    pub(super) async fn database() -> Self {
        let schema = Schema::new().await;
        let options = Options {
            lanes: 1,
            readers: 1,
            ..Options::default()
        };
        let url = schema.url().parse().expect("a URL");
        let store = Arc::new(Postgres::open(&url, &options).await.expect("a store"));
        Self::Database { schema, store }
    }

    /// The store, to be looked into.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(memory) => Arc::new(memory.beside()),
            Self::Database { store, .. } => store.clone(),
        }
    }

    /// Two replicas.
    pub(super) async fn pair(&self) -> (Replica, Replica) {
        tokio::join!(Replica::start(self, "a"), Replica::start(self, "b"))
    }
}
