//! Whoever observes a store is told of every commit, in order, whether or not anybody waits for its answer.

use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use futures_util::future::join_all;

use crate::domain::fixture as f;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::store::{Changes, Observer};

use super::Backend;
use super::desk::{Desk, appending};

/// What was told of sessions: the revision, 0 where one was removed.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<u64>>);

impl Observer for Told {
    fn committed(&self, changes: &Changes) {
        let mut told = self.0.lock().expect("no panic");
        told.extend(changes.sessions.iter().map(|session| session.revision.0));
        told.extend(changes.removed_sessions.iter().map(|_| 0));
    }
}

pub(crate) async fn in_the_order_of_commits(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = told.clone();
    desk.store.observe(&observer);
    desk.create("s").await;
    let appends = (0..50).map(|at| desk.done(appending("s", vec![f::event(&format!("e{at}"))])));
    join_all(appends).await;
    let deletion = SessionCommand::Delete {
        id: f::session("s"),
        mode: Deletion::Force,
        etag: None,
    };
    desk.done(f::to_session(deletion)).await;
    let expected: Vec<u64> = (1..=51).chain([0]).collect();
    assert_eq!(*told.0.lock().expect("no panic"), expected);
}

pub(crate) async fn though_nobody_waits(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = told.clone();
    desk.store.observe(&observer);
    {
        let mut gone = pin!(desk.store.commit(appending("s", vec![f::event("e")]), desk.now()));
        // It is on its way once it was asked for; then nobody waits any more.
        let _ = gone.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let after = desk.append("s", vec![f::event("after")]).await;
    // Whether or not it was taken in time, what is there was told.
    let expected: Vec<u64> = (2..=after.revision.0).collect();
    assert_eq!(*told.0.lock().expect("no panic"), expected);
    drop(observer);
    drop(told);
    desk.append("s", vec![f::event("unheard")]).await;
}
