//! A deletion that takes more sessions with it than the database has room for locks.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;

use super::{InSchema, told};
use crate::domain::fixture as f;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::session::Draft;
use crate::store::conformance::desk::Desk;

/// As many sub-sessions as one deletion may meet.
const MEMBERS: usize = 10_000;

/// How many are made at once.
const AT_ONCE: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_go_together_while_others_write() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    desk.create("root").await;
    desk.create("stranger").await;
    let members = stream::iter(0..MEMBERS).map(|at| {
        let draft = Draft {
            parent: Some(f::session("root")),
            ..Draft::default()
        };
        let (desk, id) = (&desk, format!("member-{at}"));
        async move { desk.create_as(&id, draft).await }
    });
    let made = members.buffer_unordered(AT_ONCE).count().await;
    assert_eq!(made, MEMBERS);

    let deletion = f::to_session(SessionCommand::Delete {
        id: f::session("root"),
        mode: Deletion::Force,
        etag: None,
    });
    let is_over = AtomicBool::new(false);
    let deleting = async {
        desk.done(deletion).await;
        is_over.store(true, Ordering::Release);
    };
    let writing = async {
        let mut written = 0;
        while !is_over.load(Ordering::Acquire) {
            written += 1;
            desk.append("stranger", vec![f::event(&format!("e{written}"))])
                .await;
        }
        written
    };
    let ((), written) = join(deleting, writing).await;
    let left = told(&format!("SELECT count(*) FROM {}.sessions", schema.0)).await;
    assert_eq!(left, 1, "the stranger alone");
    assert_eq!(desk.ids("stranger").await.len(), written);
    desk.store.close().await;
}
