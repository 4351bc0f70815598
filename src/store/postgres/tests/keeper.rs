//! Which replica keeps the search index.

use std::time::Duration;

use tokio::time::Instant;

use super::{InSchema, told};
use crate::domain::fixture as f;
use crate::store::Store;
use crate::store::conformance::Backend as _;
use crate::store::conformance::desk::{ALL, Desk};

const DEADLINE: Duration = Duration::from_secs(30);

async fn lacks_any(store: &dyn Store) -> bool {
    !store.lack(ALL).await.expect("it can be told").logs.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_still_is_followed_by_another_and_puts_nothing_in() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    let other = schema.open().await;
    desk.create("s").await;
    desk.append("s", vec![f::user("m", "word")]).await;
    assert!(lacks_any(&*desk.store).await, "the first to ask keeps the index");
    assert!(!lacks_any(&*other).await);
    // As it is when it has said nothing for a while.
    told(&format!("UPDATE {}.search_state SET kept_until = 0", schema.0)).await;
    assert!(lacks_any(&*other).await, "the other one keeps it now");
    let start = Instant::now();
    while lacks_any(&*desk.store).await {
        assert!(start.elapsed() < DEADLINE, "both keep it");
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Who keeps it says so.
        assert!(other.lack(ALL).await.is_ok());
    }
    let put = desk.store.index(Vec::new(), Some(desk.now())).await;
    put.expect("it is nothing to fail over");
    let through = told(&format!("SELECT through FROM {}.search_state", schema.0)).await;
    assert_eq!(through, 0, "whoever does not keep it says nothing of it");
    desk.store.close().await;
    other.close().await;
}
