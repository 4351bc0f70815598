//! An engine of the same process: asked for a snapshot, seeded, and gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::resume::{Failure, Wish};
use crate::domain::thread::Draft;
use crate::domain::{Limits, Thread, fixture as f};
use crate::engine::{Consistency, Declined, Snapshot as Held, SnapshotRequest};
use crate::pb;
use crate::service::snapshots::Snapshot;
use crate::service::{EngineTerms, SystemClock, TimeOrderedIds};
use crate::store::memory::Memory;

/// Holds what it was given; takes so many messages of a seed and no more.
#[derive(Default)]
struct Host {
    messages: Mutex<Vec<Bytes>>,
    committed: Mutex<Vec<String>>,
    room: usize,
}

#[async_trait]
impl Local for Host {
    async fn snapshot(&self, _: SnapshotRequest) -> Result<Held, Declined> {
        Ok(Held {
            messages: self.messages.lock().unwrap().clone(),
            ..Held::default()
        })
    }

    async fn seed_begin(&self, _: &str, _: Arc<Thread>, total: u64) -> Result<(), Declined> {
        match usize::try_from(total) {
            Ok(total) if total <= self.room => Ok(()),
            Ok(_) | Err(_) => Err(Declined {
                status: Bytes::from_static(b"full"),
            }),
        }
    }

    async fn seed_batch(&self, _: &str, first: u64, messages: Vec<Bytes>) -> Result<(), Declined> {
        let mut held = self.messages.lock().unwrap();
        held.truncate(usize::try_from(first).unwrap());
        held.extend(messages);
        Ok(())
    }

    async fn seed_commit(&self, seed: &str) {
        self.committed.lock().unwrap().push(seed.to_owned());
    }

    async fn seed_cancel(&self, _: &str) {}
}

fn service() -> Service {
    service_on(Arc::new(Memory::default()))
}

fn service_on(store: Arc<Memory>) -> Service {
    let terms = EngineTerms {
        heartbeat: Duration::from_millis(100),
        ..EngineTerms::default()
    };
    Service::new(
        store,
        Arc::new(SystemClock),
        Arc::new(TimeOrderedIds),
        Limits::default(),
    )
    .with_engines(terms, CancellationToken::new())
}

fn hello() -> Hello {
    Hello {
        namespace: f::namespace(),
        id: Some(EngineId::parse("host", "engine_id").unwrap()),
        labels: BTreeMap::new(),
        accepts_resume: true,
        seeds_max: 0,
    }
}

fn said(id: &str, role: pb::Role) -> Bytes {
    let message = pb::Message {
        message_id: id.into(),
        role: role.into(),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

fn host(room: usize) -> Arc<Host> {
    Arc::new(Host {
        messages: Mutex::new(vec![said("q", pb::Role::User), said("a", pb::Role::Assistant)]),
        room,
        ..Host::default()
    })
}

/// Until `wanted` is so.
async fn until<F: Future<Output = bool>>(wanted: impl Fn() -> F) {
    let wait = async {
        while !wanted().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("in time");
}

const ANY: Snapshot = Snapshot {
    thread: None,
    session: None,
    title: None,
    consistency: Consistency::TurnBoundary,
    expected: None,
    patience: None,
};

/// Has an engine open the thread of these tests.
async fn opened(service: &Service, attached: &Attached) {
    let thread = f::thread("talk");
    attached
        .open(thread.clone(), Draft::default(), None)
        .await
        .unwrap();
    until(|| async {
        let stored = service.store.thread(&f::namespace(), &thread).await.unwrap();
        stored.is_some_and(|thread| thread.epoch == attached.epoch())
    })
    .await;
}

async fn saved(service: &Service, attached: &Attached) -> crate::service::snapshots::Taken {
    opened(service, attached).await;
    service.snapshot(call(&f::namespace()), ANY).await.unwrap()
}

/// The end of a resume that has to be in an engine.
async fn resumed(service: &Service, session: &crate::domain::SessionId) -> Arc<crate::domain::Resume> {
    let wish = Wish {
        require_engine: true,
        ..Wish::default()
    };
    let progress = service
        .resume(call(&f::namespace()), session.clone(), wish)
        .await
        .unwrap();
    let told: Vec<_> = progress.try_collect().await.unwrap();
    told.last().unwrap().clone()
}

#[tokio::test]
async fn a_local_engine_is_an_engine() {
    let (service, host) = (service(), host(100));
    let attached = service.attach_local(hello(), host.clone()).await.unwrap();
    let taken = saved(&service, &attached).await;
    assert_eq!((taken.session.tip.tally.messages, taken.created), (2, true));

    // Somebody else adds a message: the engine is seeded again, with all of it.
    let entries = vec![f::user("later", "later")];
    let id = taken.session.id.clone();
    service
        .append_entries(call(&f::namespace()), id.clone(), entries, None)
        .await
        .unwrap();
    let end = resumed(&service, &id).await;
    assert_eq!((end.state, end.written, end.total), (State::Ready, 3, 3));
    until(|| async { *host.committed.lock().unwrap() == [end.seed_id()] }).await;
    assert_eq!(host.messages.lock().unwrap().len(), 3);

    drop(attached);
    until(|| async {
        service
            .engines(&f::namespace(), None, 10)
            .await
            .unwrap()
            .0
            .is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_a_local_engine_declines_fails() {
    let (service, host) = (service(), host(0));
    let attached = service.attach_local(hello(), host.clone()).await.unwrap();
    let taken = saved(&service, &attached).await;
    let entries = vec![f::user("later", "later")];
    let id = taken.session.id.clone();
    service
        .append_entries(call(&f::namespace()), id.clone(), entries, None)
        .await
        .unwrap();
    let end = resumed(&service, &id).await;
    assert_eq!(end.state, State::Failed);
    assert_eq!(end.failure, Some(Failure::Declined(Bytes::from_static(b"full"))));
    assert!(host.committed.lock().unwrap().is_empty());
}

/// While it answers it attaches to another service of the same store, which the first does not hear of.
struct Leaving {
    host: Arc<Host>,
    other: Service,
    attached: Mutex<Option<Attached>>,
}

#[async_trait]
impl Local for Leaving {
    async fn snapshot(&self, request: SnapshotRequest) -> Result<Held, Declined> {
        let attached = self.other.attach_local(hello(), self.host.clone()).await.unwrap();
        opened(&self.other, &attached).await;
        *self.attached.lock().unwrap() = Some(attached);
        self.host.snapshot(request).await
    }

    async fn seed_begin(&self, _: &str, _: Arc<Thread>, _: u64) -> Result<(), Declined> {
        Ok(())
    }

    async fn seed_batch(&self, _: &str, _: u64, _: Vec<Bytes>) -> Result<(), Declined> {
        Ok(())
    }

    async fn seed_commit(&self, _: &str) {}

    async fn seed_cancel(&self, _: &str) {}
}

#[tokio::test]
async fn an_engine_that_went_elsewhere_while_it_answered_is_looked_for_again() {
    let store = Arc::new(Memory::default());
    let (service, other) = (service_on(store.clone()), service_on(store));
    let leaving = Arc::new(Leaving {
        host: host(0),
        other: other.clone(),
        attached: Mutex::default(),
    });
    let attached = service.attach_local(hello(), leaving.clone()).await.unwrap();
    opened(&service, &attached).await;
    let error = service
        .snapshot(call(&f::namespace()), ANY)
        .await
        .expect_err("it is not here any more");
    let expected = Refusal::EngineNotAttached {
        thread: f::thread("talk"),
    };
    assert!(
        matches!(&error, Error::Store(store::Error::Refused(refusal)) if *refusal == expected),
        "{error:?}"
    );
    let taken = other.snapshot(call(&f::namespace()), ANY).await.unwrap();
    assert_eq!(taken.message_count, 2);
}
