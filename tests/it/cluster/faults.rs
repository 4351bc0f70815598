//! Replicas die, stop, stand still or are cut off, and the database goes, one after the other, while clients go on:
//! whatever was acknowledged is there, once, in its place.
//!
//! Every fault once by default; `SESSIOND_MINUTES` sets for how long they go on, each round among new clients.

use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::fleet::{Fleet, REPLICAS};
use super::hosts::Hosts;
use super::workload::Workload;
use crate::support::fresh;
use crate::support::rng::Rng;

/// Answers between two faults, and while one lasts.
const ANSWERS: u64 = 150;
/// Answers while a replica gives none, and keeps its clients waiting.
const ANSWERS_OF_FEW: u64 = 50;
/// Calls that have to fail before the database comes back.
const FAILURES: u64 = 20;

/// What befalls the fleet.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A replica is killed.
    Kill,
    /// A replica is stopped in good order.
    Stop,
    /// A replica stands still until its lease is over, and goes on.
    Pause,
    /// A replica does not reach the database until its lease is over.
    CutOff,
    /// No replica reaches another one.
    Partition,
    /// The database is killed.
    Crash,
}

const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Pause,
    Fault::CutOff,
    Fault::Partition,
    Fault::Crash,
];

impl Fault {
    /// Lets it happen, and repairs it.
    async fn befall(self, fleet: &mut Fleet, rng: &mut Rng) {
        let at = rng.index(REPLICAS);
        let balancer = fleet.balancer.clone();
        match self {
            Self::Kill => {
                fleet.kill(at);
                balancer.answered(ANSWERS).await;
                fleet.restart(at).await;
            }
            Self::Stop => {
                fleet.stop(at).await;
                balancer.answered(ANSWERS).await;
                fleet.restart(at).await;
            }
            Self::Pause => {
                fleet.pause(at).await;
                fleet.lives(at, false).await;
                balancer.answered(ANSWERS_OF_FEW).await;
                fleet.go_on(at);
            }
            Self::CutOff => {
                fleet.database_of(at).cut();
                fleet.lives(at, false).await;
                balancer.answered(ANSWERS_OF_FEW).await;
                fleet.database_of(at).mend();
            }
            Self::Partition => {
                fleet.part(true);
                balancer.answered(3 * ANSWERS).await;
                fleet.part(false);
            }
            Self::Crash => {
                fleet.crash_database().await;
                balancer.failed(FAILURES).await;
                fleet.recover_database().await;
            }
        }
        for at in 0..REPLICAS {
            fleet.lives(at, true).await;
        }
    }
}

/// How long faults go on; nothing: each comes once.
fn patience() -> Option<Duration> {
    let minutes = std::env::var("SESSIOND_MINUTES").ok()?;
    let minutes: f64 = minutes.parse().expect("SESSIOND_MINUTES is a number");
    Some(Duration::from_secs_f64(minutes * 60.0))
}

/// Every fault once, in any order, under load; then everything is checked.
async fn round(fleet: &mut Fleet, rng: &mut Rng) {
    let balancer = fleet.balancer.in_namespace(fresh("round"));
    let workload = Workload::start(&balancer, rng).await;
    let hosts = Hosts::start(&balancer, rng).await;
    let mut faults = FAULTS.to_vec();
    while !faults.is_empty() {
        balancer.answered(ANSWERS).await;
        let fault = faults.swap_remove(rng.index(faults.len()));
        let start = Instant::now();
        fault.befall(fleet, rng).await;
        eprintln!("{fault:?}, {:?}", start.elapsed());
    }
    balancer.answered(ANSWERS).await;
    hosts.check(rng).await;
    workload.check(rng).await;
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_torn_whatever_befalls_the_fleet() {
    let all = async {
        let mut rng = Rng::seeded();
        let mut fleet = Fleet::start().await;
        let start = Instant::now();
        let mut rounds = 0;
        loop {
            round(&mut fleet, &mut rng).await;
            rounds += 1;
            eprintln!("{rounds} rounds, {:?}", start.elapsed());
            if patience().is_none_or(|patience| start.elapsed() >= patience) {
                break;
            }
        }
        fleet.end().await;
    };
    // Clients call by async closures, whose futures stay on one thread.
    LocalSet::new().run_until(Box::pin(all)).await;
}
