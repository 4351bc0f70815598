//! Connections, and the calls that set the stage.

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sessiond::pb::client as pb;
use tonic::transport::{Channel, Endpoint};

use crate::rows;

/// A client of the session service.
pub(crate) type Sessions = pb::session_service_client::SessionServiceClient<Channel>;

/// A client of the thread service.
pub(crate) type Threads = pb::thread_service_client::ThreadServiceClient<Channel>;

/// Entries of one call while the stage is set.
const BULK_ENTRIES: usize = 1_000;

/// Calls in flight while the stage is set.
const BULK_IN_FLIGHT: usize = 4;

/// So many connections of their own.
pub(crate) async fn connect(address: &str, connections: usize) -> Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let mut channels = Vec::with_capacity(connections);
    for _ in 0..connections {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// One connection to the session service.
pub(crate) async fn sessions(address: &str) -> Result<Sessions> {
    let channel = connect(address, 1).await?.pop().context("one connection")?;
    Ok(Sessions::new(channel))
}

/// A new session without entries; its id.
pub(crate) async fn create_session(
    client: &mut Sessions,
    namespace: &str,
    workspace: &str,
) -> Result<String> {
    let request = pb::CreateSessionRequest {
        namespace: namespace.to_owned(),
        session: Some(pb::Session {
            title: "What the wire takes".to_owned(),
            workspace: workspace.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let session = client.create_session(request).await?.into_inner().session;
    Ok(session.context("a session")?.session_id)
}

/// So many new sessions without entries.
pub(crate) async fn create_sessions(client: &Sessions, count: usize) -> Result<Vec<String>> {
    let made = stream::iter(0..count).map(|_| {
        let mut client = client.clone();
        async move { create_session(&mut client, "", "").await }
    });
    made.buffered(BULK_IN_FLIGHT).try_collect().await
}

/// Appends `count` entries of 1 KB each, in large calls.
pub(crate) async fn fill(client: &Sessions, session_id: &str, count: usize) -> Result<()> {
    let starts = (0..count).step_by(BULK_ENTRIES);
    stream::iter(starts.map(Ok))
        .try_for_each_concurrent(BULK_IN_FLIGHT, |start| {
            let mut client = client.clone();
            let numbers = start..count.min(start + BULK_ENTRIES);
            let session_id = session_id.to_owned();
            async move { append(&mut client, session_id, numbers.map(rows::entry).collect()).await }
        })
        .await
}

/// Appends these entries.
pub(crate) async fn append(client: &mut Sessions, session_id: String, entries: Vec<pb::Entry>) -> Result<()> {
    let request = pb::AppendEntriesRequest {
        session_id,
        entries,
        ..Default::default()
    };
    client.append_entries(request).await?;
    Ok(())
}

/// A new session with `count` entries; its id.
pub(crate) async fn filled_session(client: &mut Sessions, count: usize) -> Result<String> {
    let session_id = create_session(client, "", "").await?;
    fill(client, &session_id, count).await?;
    Ok(session_id)
}
