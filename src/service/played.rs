//! An engine that a test plays by hand, frame by frame, on a service of its own process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::engines::Hello;
use super::{EngineTerms, Service, SystemClock, TimeOrderedIds};
use crate::domain::{Limits, fixture as f};
use crate::engine::{Declined, Down, Ending, Up};
use crate::store::memory::Memory;

/// Longer than anything takes by a clock that stands still while there is something to do.
const SOON: Duration = Duration::from_secs(600);

/// An attached engine.
pub(super) struct Played {
    up: mpsc::Sender<Result<Up, Ending>>,
    frames: mpsc::Receiver<Down>,
    ending: oneshot::Receiver<Ending>,
    pub(super) epoch: u64,
}

/// A service whose engines need no heartbeat for an hour, and what stops it.
pub(super) fn service(store: &Arc<Memory>) -> (Service, CancellationToken) {
    let terms = EngineTerms {
        heartbeat: Duration::from_secs(3_600),
        ..EngineTerms::default()
    };
    let drain = CancellationToken::new();
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(TimeOrderedIds));
    let service = Service::new(store.clone(), clock, ids, Limits::default());
    (service.with_engines(terms, drain.clone()), drain)
}

/// Until it is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, wait).await.expect(what);
}

impl Played {
    pub(super) async fn attach(service: &Service, id: &str) -> Self {
        Self::try_attach(service, id).await.expect("it attaches")
    }

    pub(super) async fn try_attach(service: &Service, id: &str) -> Result<Self, super::Error> {
        let hello = Hello {
            namespace: f::namespace(),
            id: Some(f::engine(id)),
            labels: BTreeMap::new(),
            accepts_resume: true,
            seeds_max: 0,
        };
        let (up, frames) = mpsc::channel(16);
        let welcome = service.attach(hello, ReceiverStream::new(frames).boxed()).await?;
        Ok(Self {
            up,
            frames: welcome.frames,
            ending: welcome.ending,
            epoch: welcome.epoch,
        })
    }

    /// The next frame; `None`: for a long time there is none.
    pub(super) async fn next(&mut self) -> Option<Down> {
        timeout(Duration::from_secs(30), self.frames.recv())
            .await
            .ok()
            .flatten()
    }

    /// The next frame, with which a seed begins: its id and how many messages it has.
    pub(super) async fn begun(&mut self) -> (String, u64) {
        match timeout(SOON, self.frames.recv()).await {
            Ok(Some(Down::SeedBegin { seed, total, .. })) => (seed, total),
            other => panic!("a seed was due: {other:?}"),
        }
    }

    /// Takes batches, which must follow each other from number `first` up to `end`.
    pub(super) async fn takes(&mut self, first: u64, end: u64) {
        let mut at = first;
        while at < end {
            match self.next().await {
                Some(Down::SeedBatch { first, messages, .. }) => {
                    assert_eq!(first, at);
                    at += messages.len() as u64;
                }
                other => panic!("a batch from {at} was due: {other:?}"),
            }
        }
        assert_eq!(at, end);
    }

    /// The next frame, which commits a seed.
    pub(super) async fn committed(&mut self) -> String {
        match self.next().await {
            Some(Down::SeedCommit { seed }) => seed,
            other => panic!("a commit was due: {other:?}"),
        }
    }

    /// The next frame, which calls a seed off.
    pub(super) async fn called_off(&mut self) -> String {
        match self.next().await {
            Some(Down::SeedCancel { seed }) => seed,
            other => panic!("a cancel was due: {other:?}"),
        }
    }

    pub(super) async fn acks(&self, seed: &str, messages: u64) {
        let seed = seed.to_owned();
        self.says(Up::SeedAck { seed, messages }).await;
    }

    pub(super) async fn gives_up(&self, seed: &str) {
        let why = Declined {
            status: Bytes::from_static(b"lost"),
        };
        let seed = seed.to_owned();
        self.says(Up::SeedFailed { seed, why }).await;
    }

    pub(super) async fn says(&self, frame: Up) {
        self.up.send(Ok(frame)).await.expect("it is attached");
    }

    /// Why the attachment ends.
    pub(super) async fn ended(&mut self) -> Ending {
        let ending = timeout(SOON, &mut self.ending).await;
        ending.expect("it ends").expect("it is said why")
    }
}
