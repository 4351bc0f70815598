//! How long the callers of a batch wait for it.

use std::time::Duration;

use tokio::time;

/// How long a statement may take beyond the deadlines of all who wait: each call is to end by its own deadline, not by an
/// answer of the database.
const BEYOND_DEADLINES: Duration = Duration::from_millis(50);

/// How long a statement may take for callers who wait until then; `None`: as long as any may.
pub(super) fn patience(
    deadlines: impl IntoIterator<Item = Option<time::Instant>>,
    now: time::Instant,
    statement_timeout: Duration,
) -> Option<Duration> {
    let mut last = now;
    for deadline in deadlines {
        last = last.max(deadline?);
    }
    let patience = last.duration_since(now) + BEYOND_DEADLINES;
    (patience < statement_timeout).then_some(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_patient_says_how_long_a_batch_may_take() {
        let now = time::Instant::now();
        let within = |millis: &[u64]| {
            let deadlines = millis.iter().map(|millis| match millis {
                0 => None,
                millis => Some(now + Duration::from_millis(*millis)),
            });
            let found = patience(deadlines.collect::<Vec<_>>(), now, Duration::from_secs(30));
            found.map(|patience| (patience - BEYOND_DEADLINES).as_millis())
        };
        assert_eq!(within(&[20, 700, 100]), Some(700));
        assert_eq!(within(&[20, 0]), None, "somebody waits for as long as it takes");
        assert_eq!(within(&[20, 40_000]), None, "no longer than any statement");
    }
}
