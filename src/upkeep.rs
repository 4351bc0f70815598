//! stub
use crate::service::{Clock, Ids};
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
#[derive(Debug)]
/// s
pub struct Upkeep {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}
impl Upkeep {
    /// s
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { store, clock, ids }
    }
    /// s
    pub async fn run(self, _interval: Duration, stop: CancellationToken) {
        stop.cancelled().await
    }
}
