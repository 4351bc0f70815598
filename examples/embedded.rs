//! A Rust program that serves sessiond in its own process and attaches an engine of its own: no stream between the two,
//! and the same handle behind it.
//!
//! ```text
//! cargo run --example embedded
//! ```
//!
//! The engine holds one thread, which it plays in its memory. A client asks for a snapshot over gRPC, forks what came of
//! it, and resumes the fork into the same engine.
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use sessiond::client::{Address, Client, request_id};
use sessiond::config::Config;
use sessiond::domain::thread::Draft;
use sessiond::domain::{EngineId, Namespace, Thread, ThreadId};
use sessiond::engine::{Declined, Local, Snapshot, SnapshotRequest};
use sessiond::pb::client::content_block::Block;
use sessiond::pb::client::{self as pb, ResumeState, Role};
use sessiond::server::Server;
use sessiond::service::engines::Hello;
use sessiond::store::memory::Memory;

/// Conversations in this process's memory: wire bytes of messages by thread, and seeds on their way.
#[derive(Default)]
struct Host {
    threads: Mutex<HashMap<String, Vec<Bytes>>>,
    seeds: Mutex<HashMap<String, (String, Vec<Bytes>)>>,
}

#[async_trait]
impl Local for Host {
    async fn snapshot(&self, request: SnapshotRequest) -> Result<Snapshot, Declined> {
        let threads = locked(&self.threads);
        let messages = threads.get(request.thread.as_str()).cloned().unwrap_or_default();
        Ok(Snapshot {
            messages,
            model: "embedded".into(),
            ..Snapshot::default()
        })
    }

    async fn seed_begin(&self, seed: &str, thread: Arc<Thread>, _total: u64) -> Result<(), Declined> {
        let begun = (thread.id.to_string(), Vec::new());
        locked(&self.seeds).insert(seed.to_owned(), begun);
        Ok(())
    }

    async fn seed_batch(&self, seed: &str, first: u64, messages: Vec<Bytes>) -> Result<(), Declined> {
        if let Some((_, held)) = locked(&self.seeds).get_mut(seed) {
            held.truncate(usize::try_from(first).unwrap_or(usize::MAX));
            held.extend(messages);
        }
        Ok(())
    }

    async fn seed_commit(&self, seed: &str) {
        if let Some((thread, messages)) = locked(&self.seeds).remove(seed) {
            locked(&self.threads).insert(thread, messages);
        }
    }

    async fn seed_cancel(&self, seed: &str) {
        locked(&self.seeds).remove(seed);
    }
}

/// Every change is one call on a map: a panic leaves nothing half done.
fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(id: &str, role: Role, text: &str) -> Bytes {
    let text = pb::TextBlock {
        text: text.to_owned(),
    };
    let message = pb::Message {
        message_id: id.to_owned(),
        role: role.into(),
        content: vec![pb::ContentBlock {
            block: Some(Block::Text(text)),
            ..Default::default()
        }],
        ..Default::default()
    };
    message.encode_to_vec().into()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    let running = Server::start(&config, Arc::new(Memory::default())).await?;

    let host = Arc::new(Host::default());
    let talk = vec![
        said("q1", Role::User, "What is a session?"),
        said("a1", Role::Assistant, "A conversation that outlives its process."),
        said("q2", Role::User, "And a fork?"),
        said("a2", Role::Assistant, "Another future of the same past."),
    ];
    locked(&host.threads).insert("talk".into(), talk);
    let hello = Hello {
        namespace: Namespace::parse("")?,
        id: Some(EngineId::parse("embedded", "engine_id")?),
        labels: BTreeMap::new(),
        accepts_resume: true,
        seeds_max: 0,
    };
    let attached = running.service().attach_local(hello, host.clone()).await?;
    println!("attached under epoch {}", attached.epoch());
    attached
        .open(ThreadId::parse("talk", "thread_id")?, Draft::default(), None)
        .await?;

    let address: Address = running.addr().to_string().parse()?;
    let client = Client::connect(&address, "").await?;
    let session = snapshot(&client).await?;
    println!(
        "a snapshot: {} messages, titled {:?}",
        session.message_count, session.title
    );

    let request = pb::ForkSessionRequest {
        session_id: session.session_id,
        point: Some(pb::fork_session_request::Point::UserMessageIndex(1)),
        request_id: request_id(),
        ..Default::default()
    };
    let fork = client.sessions().fork_session(request).await?.into_inner();
    let request = pb::ResumeRequest {
        session_id: fork.session.context("a fork")?.session_id,
        require_engine: true,
        request_id: request_id(),
        ..Default::default()
    };
    let mut progress = client.sessions().resume(request).await?.into_inner();
    let mut last = pb::ResumeProgress::default();
    while let Some(response) = progress.message().await? {
        last = response.progress.unwrap_or_default();
    }
    anyhow::ensure!(
        last.state() == ResumeState::Ready,
        "the fork was not resumed: {last:?}"
    );
    println!(
        "the fork is thread {} of the engine, with {} messages",
        last.thread_id, last.items_written
    );

    drop(attached);
    running.shutdown().await;
    Ok(())
}

/// Asks for a snapshot, once the service has heard of the thread.
async fn snapshot(client: &Client) -> anyhow::Result<pb::Session> {
    for _ in 0..1_000 {
        let request = pb::SnapshotFromEngineRequest {
            request_id: request_id(),
            ..Default::default()
        };
        match client.sessions().snapshot_from_engine(request).await {
            Ok(answer) => return answer.into_inner().session.context("a session"),
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
    anyhow::bail!("the service did not hear of the thread")
}
