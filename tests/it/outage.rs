//! The database goes away under load and comes back: writes are UNAVAILABLE meanwhile, the server goes on by itself
//! afterwards, and whatever was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::support::build::{entries, user};
use crate::support::pb::content_block::Block;
use crate::support::pb::{Message, Session};
use crate::support::server::Setup;
use crate::support::{Client, Cluster, Code, Server, until};

const WRITERS: usize = 8;

/// What the writers and the test see of each other.
#[derive(Debug, Default)]
struct Load {
    written: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// Appends one message after another until the load is over; those that were acknowledged, in order.
async fn write(client: Client, session: String, load: Arc<Load>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let said = format!("message {number} of {session}");
        match client.append_or(&session, entries([user(&said)])).await {
            Ok(_) => {
                acknowledged.push(said);
                load.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                load.refused.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    }
    acknowledged
}

/// The text of a message that has one.
fn said_in(message: &Message) -> String {
    let texts = message.content.iter().filter_map(|block| match &block.block {
        Some(Block::Text(text)) => Some(text.text.clone()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::start();
    let server = Server::start_with(Setup::on(cluster.url())).await;
    let client = server.client().await;
    let load = Arc::new(Load::default());
    let mut writers = JoinSet::new();
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        let session = client.create(Session::default()).await.session_id;
        sessions.push(session.clone());
        let (client, load) = (client.clone(), load.clone());
        writers.spawn(async move { (session.clone(), write(client, session, load).await) });
    }
    let more_than = async |counter: &AtomicU64, before: u64| {
        until("the writers go on", async || {
            (counter.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    };
    for _ in 0..2 {
        let written = load.written.load(Ordering::Relaxed);
        more_than(&load.written, written + 100).await;
        let refused = load.refused.load(Ordering::Relaxed);
        cluster.crash();
        more_than(&load.refused, refused + 10).await;
        cluster.recover();
        let written = load.written.load(Ordering::Relaxed);
        more_than(&load.written, written + 100).await;
    }
    load.over.store(true, Ordering::Relaxed);
    while let Some(written) = writers.join_next().await {
        let (session, acknowledged) = written.unwrap();
        let there = client.messages(&session).await;
        let there: Vec<String> = there.iter().map(said_in).collect();
        // What was not answered may be there as well.
        let mut there = there.iter();
        for said in &acknowledged {
            assert!(there.any(|found| found == said), "{said} is gone");
        }
    }
}
