//! Until when whoever waits for a read or a write waits for it.
//!
//! It belongs to the task, as a span of the log does: the edge of a call sets it, what runs within the call finds it, and
//! what is spawned beside it has none, for that goes on when the call is over. A read ends when its future is dropped;
//! for a write, which shares its transaction with others, a store may ask here how long it may take.

use std::future::Future;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work` for somebody who waits until then; `None`: for as long as it takes.
pub async fn within<F: Future>(deadline: Option<Instant>, work: F) -> F::Output {
    match deadline {
        Some(deadline) => DEADLINE.scope(deadline, work).await,
        None => work.await,
    }
}

/// Until when the caller of the present task waits; `None`: for as long as it takes.
pub(in crate::store) fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_is_of_what_runs_within() {
        let then = Instant::now();
        let found = within(Some(then), async {
            (deadline(), tokio::spawn(async { deadline() }).await)
        })
        .await;
        assert_eq!(found.0, Some(then));
        assert_eq!(found.1.expect("it ran"), None, "a task beside it");
        assert_eq!(within(None, async { deadline() }).await, None);
        assert_eq!(deadline(), None);
    }
}
