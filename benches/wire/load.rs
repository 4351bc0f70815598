//! Load and what is measured of it: closed loops for rates, one call after another for latencies.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

/// How long a load lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Calls that end in this time are not counted.
    pub(crate) warm_up: Duration,
    /// Calls that end in the time after it are.
    pub(crate) counted: Duration,
}

/// One client that always has one call in flight.
pub(crate) trait Lane: Send + 'static {
    /// Makes the next call and waits for its answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What a load reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Calls a second.
    pub(crate) per_second: f64,
    /// The latency that half of them stayed under.
    pub(crate) p50: Duration,
    /// The latency that 99 in 100 stayed under.
    pub(crate) p99: Duration,
}

/// Latencies of calls that were made one after another, or of one load.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Sorts what was measured; there must be something.
    pub(crate) fn new(mut measured: Vec<Duration>) -> Result<Self> {
        ensure!(!measured.is_empty(), "no call ended in time");
        measured.sort_unstable();
        Ok(Self(measured))
    }

    /// The latency that `share` of the calls stayed under.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a short list"
        )]
        let index = (self.0.len() as f64 * share) as usize;
        self.0[index.min(self.0.len() - 1)]
    }

    /// The median over repetitions of the latency that `share` of the calls stayed under.
    pub(crate) fn median_of<'a>(repetitions: impl IntoIterator<Item = &'a Self>, share: f64) -> Duration {
        let of_each = repetitions
            .into_iter()
            .map(|taken| taken.quantile(share).as_secs_f64());
        Duration::from_secs_f64(median(of_each))
    }
}

/// Keeps every lane busy for the span.
pub(crate) async fn closed_loop<L: Lane>(lanes: Vec<L>, span: Span) -> Result<Rate> {
    let counted_from = Instant::now() + span.warm_up;
    let end = counted_from + span.counted;
    let mut running = JoinSet::new();
    for mut lane in lanes {
        running.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let start = Instant::now();
                if start >= end {
                    return Ok::<_, anyhow::Error>(latencies);
                }
                lane.call().await?;
                let now = Instant::now();
                if now >= counted_from && now < end {
                    latencies.push(now - start);
                }
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(lane) = running.join_next().await {
        latencies.extend(lane??);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 calls")]
    let per_second = latencies.len() as f64 / span.counted.as_secs_f64();
    let latencies = Latencies::new(latencies)?;
    Ok(Rate {
        per_second,
        p50: latencies.quantile(0.5),
        p99: latencies.quantile(0.99),
    })
}

/// Makes `calls` calls one after another.
pub(crate) async fn one_by_one<L: Lane>(lane: &mut L, calls: usize) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        lane.call().await?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// The middle one of some figures; of an even number the upper one.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The rate whose parts are the medians of those of `rates`.
pub(crate) fn median_rate(rates: &[Rate]) -> Rate {
    let median_of = |part: fn(&Rate) -> Duration| {
        Duration::from_secs_f64(median(rates.iter().map(|rate| part(rate).as_secs_f64())))
    };
    Rate {
        per_second: median(rates.iter().map(|rate| rate.per_second)),
        p50: median_of(|rate| rate.p50),
        p99: median_of(|rate| rate.p99),
    }
}

/// The median of the ratios of the repetitions.
pub(crate) fn median_ratio(rates: &[Rate], ceilings: &[Rate]) -> f64 {
    median(
        rates
            .iter()
            .zip(ceilings)
            .map(|(rate, ceiling)| rate.per_second / ceiling.per_second),
    )
}
