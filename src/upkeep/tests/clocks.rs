//! A clock that is far ahead, and what waits for it to be believed.

use super::doubt::{Doubt, Trust};
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_goes_for_good_waits_where_the_clock_is_far_ahead() {
    let bench = Bench::new();
    let session = bench.create("s", None).await;
    let (id, etag) = (session.id.clone(), None);
    let mode = Deletion::Soft { purge_after: HOUR };
    bench
        .commit(None, SessionCommand::Delete { id, mode, etag })
        .await;
    bench.clock.forward(400 * DAY);
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.upkeep.clone().run(MINUTE, stop.clone()));
    tokio::time::sleep(5 * MINUTE).await;
    // What is written by that clock does not make it right.
    bench.create("now", None).await;
    tokio::time::sleep(4 * MINUTE).await;
    assert!(bench.session(&session.id).await.is_some());
    tokio::time::sleep(3 * MINUTE).await;
    assert!(
        bench.session(&session.id).await.is_none(),
        "it was right all along"
    );
    stop.cancel();
    running.await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_doubted_for_a_while() {
    let bench = Bench::new();
    let mut doubt = Doubt::at_start(&*bench.store, bench.clock.now()).await;
    assert_eq!(
        doubt.look(bench.clock.now()),
        Trust::Trusted,
        "there is nothing yet"
    );
    bench.create("s", None).await;
    for _ in 0..3 {
        tokio::time::advance(HOUR).await;
        bench.clock.forward(HOUR);
        assert_eq!(doubt.look(bench.clock.now()), Trust::Trusted);
    }
    bench.clock.forward(2 * DAY);
    assert_eq!(doubt.look(bench.clock.now()), Trust::Doubted);
    tokio::time::advance(9 * MINUTE).await;
    assert_eq!(doubt.look(bench.clock.now()), Trust::Doubted);
    tokio::time::advance(2 * MINUTE).await;
    assert_eq!(doubt.look(bench.clock.now()), Trust::Trusted);
    let again = Doubt::at_start(&*bench.store, bench.clock.now()).await;
    let near = Doubt::at_start(&*bench.store, Time(0).after(HOUR)).await;
    for (mut doubt, trust, now) in [
        (again, Trust::Doubted, bench.clock.now()),
        (near, Trust::Trusted, Time(0).after(HOUR)),
    ] {
        assert_eq!(doubt.look(now), trust);
    }
}
