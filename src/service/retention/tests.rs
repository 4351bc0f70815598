//! Policies beside prunes.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::{Limits, fixture as f};
use crate::service::{SystemClock, TimeOrderedIds};
use crate::store::memory::Memory;

#[tokio::test]
async fn a_policy_does_not_wait_for_a_prune() {
    let store = Arc::new(Memory::default());
    let service = Service::new(
        store,
        Arc::new(SystemClock),
        Arc::new(TimeOrderedIds),
        Limits::default(),
    );
    let ns = f::namespace();
    let policy = Policy {
        max_age: Some(Duration::from_secs(1)),
        ..Policy::default()
    };
    let mut meter = Meter::unbounded();
    let turn = service.live.prunes.turn(&ns).await;
    let retained = service
        .retain(&ns, &policy, None, &mut meter)
        .await
        .expect("nothing fails");
    assert_eq!(retained.left, Some(Place::default()), "it comes again");
    drop(turn);
    let retained = service.retain(&ns, &policy, retained.left, &mut meter).await;
    assert_eq!(retained.expect("nothing fails"), Retained::default());
}
