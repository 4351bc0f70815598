//! Waiting for a state, never for a time: each wait asks a predicate until it holds or the deadline passes.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take in a debug build on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often a predicate is asked.
const INTERVAL: Duration = Duration::from_millis(5);

/// What `future` gives, unless it takes longer than the deadline: then the test fails.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not done after {DEADLINE:?}"),
    }
}

/// Asks until there is something, and returns it.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not so after {DEADLINE:?}");
        tokio::time::sleep(INTERVAL).await;
    }
}
