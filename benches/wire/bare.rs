//! The ceiling of the wire: a gRPC service with the messages of sessiond that does nothing.
//!
//! An append is answered with facts like a session's, a read with messages that lie in memory. It is built of the
//! parts that generated code uses, and nothing besides.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use futures_util::stream;
use prost::Message as _;
use sessiond::pb;
use sessiond::pb::client::attach_response::Frame as Down;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::rows;

/// Messages of the thread that a read streams.
pub(crate) const READ_MESSAGES: usize = 10_000;

/// Messages of one response, as sessiond sends them.
const CHUNK_MESSAGES: usize = 500;

/// Messages of the seed that an engine gets.
pub(crate) const SEED_MESSAGES: usize = 100_000;

/// Messages of one batch of it, and those that may be on their way, as sessiond sends them.
const BATCH_MESSAGES: usize = 100;
const WINDOW_MESSAGES: u64 = 1_000;

/// Frames that wait to be sent.
const QUEUE_FRAMES: usize = 256;

/// Serves until it is killed. Arguments: worker threads, ready file.
pub(crate) fn serve(arguments: &mut impl Iterator<Item = String>) -> Result<()> {
    let workers: usize = arguments.next().context("worker threads")?.parse()?;
    let ready_file = arguments.next().context("a ready file")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if workers > 0 {
        runtime.worker_threads(workers);
    }
    runtime.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        fs::write(ready_file, format!("{}\n", listener.local_addr()?))?;
        tonic::transport::Server::builder()
            .add_service(Bare::new())
            .add_service(BareEngines::new())
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await?;
        Ok(())
    })
}

/// The service that does nothing.
#[derive(Clone, Debug)]
struct Bare {
    session: pb::Session,
    chunks: Arc<[pb::client::ReadMessagesResponse]>,
}

impl Bare {
    fn new() -> Self {
        let numbers: Vec<usize> = (0..READ_MESSAGES).collect();
        let chunk = |numbers: &[usize]| pb::client::ReadMessagesResponse {
            messages: numbers.iter().map(|&number| rows::message(number)).collect(),
        };
        Self {
            session: session(),
            chunks: numbers.chunks(CHUNK_MESSAGES).map(chunk).collect(),
        }
    }

    fn append(&self, request: &pb::AppendEntriesRequest) -> pb::AppendEntriesResponse {
        pb::AppendEntriesResponse {
            session: Some(self.session.clone()),
            first_seq: 1,
            last_seq: request.entries.len() as u64,
            entries_added: request.entries.len() as u64,
        }
    }
}

/// Facts of about the size that a session's are.
fn session() -> pb::Session {
    let time = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 123_456_789,
    });
    pb::Session {
        namespace: "default".to_owned(),
        session_id: rows::fresh_id(),
        title: "What the wire takes".to_owned(),
        etag: "0123456789abcdef".to_owned(),
        usage: Some(pb::Usage::default()),
        message_count: 10_000,
        entry_count: 10_000,
        revision: 10_000,
        preview: "the session is read from a branch and then written to disk before it answers. ".repeat(2),
        create_time: time,
        update_time: time,
        ..Default::default()
    }
}

impl NamedService for Bare {
    const NAME: &'static str = "sessiond.v1.SessionService";
}

impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            let reading = request.uri().path().ends_with("/ReadMessages");
            Ok(if reading {
                let read = service_fn(move |_: Request<pb::ReadMessagesRequest>| {
                    let bare = bare.clone();
                    let chunks = (0..bare.chunks.len()).map(move |index| Ok(bare.chunks[index].clone()));
                    async move { Ok::<_, Status>(Response::new(stream::iter(chunks))) }
                });
                Grpc::new(ProstCodec::default())
                    .server_streaming(read, request)
                    .await
            } else {
                let append = service_fn(move |request: Request<pb::AppendEntriesRequest>| {
                    let response = bare.append(request.get_ref());
                    async move { Ok::<_, Status>(Response::new(response)) }
                });
                Grpc::new(ProstCodec::default()).unary(append, request).await
            })
        })
    }
}

/// A seed that lies in memory, for whoever attaches.
#[derive(Clone, Debug)]
struct BareEngines {
    batches: Arc<[pb::client::SeedBatch]>,
}

impl BareEngines {
    fn new() -> Self {
        let starts = (0..SEED_MESSAGES).step_by(BATCH_MESSAGES);
        let batch = |start: usize| pb::client::SeedBatch {
            seed_id: "seed".to_owned(),
            first_index: i64::try_from(start).unwrap_or_default(),
            messages: (start..start + BATCH_MESSAGES).map(rows::message).collect(),
        };
        Self {
            batches: starts.map(batch).collect(),
        }
    }

    /// Sends the seed under the window, and what is around it.
    async fn seed(
        self,
        mut up: tonic::Streaming<pb::client::AttachRequest>,
        down: mpsc::Sender<Result<pb::client::AttachResponse, Status>>,
    ) -> Result<(), Status> {
        let gone = |_| Status::cancelled("the engine left");
        let send = |frame| down.send(Ok(pb::client::AttachResponse { frame: Some(frame) }));
        let _hello = up.message().await?;
        send(Down::Welcome(pb::client::Welcome::default()))
            .await
            .map_err(gone)?;
        let begin = pb::client::SeedBegin {
            seed_id: "seed".to_owned(),
            items_total: SEED_MESSAGES as u64,
            ..Default::default()
        };
        send(Down::SeedBegin(begin)).await.map_err(gone)?;
        let mut acked = 0;
        for (number, batch) in self.batches.iter().enumerate() {
            let sent = (number * BATCH_MESSAGES) as u64;
            while sent + BATCH_MESSAGES as u64 > acked + WINDOW_MESSAGES {
                acked = next_ack(&mut up).await?.unwrap_or(acked);
            }
            send(Down::SeedBatch(batch.clone())).await.map_err(gone)?;
        }
        while acked < SEED_MESSAGES as u64 {
            acked = next_ack(&mut up).await?.unwrap_or(acked);
        }
        let seed_id = "seed".to_owned();
        send(Down::SeedCommit(pb::client::SeedCommit { seed_id }))
            .await
            .map_err(gone)
    }
}

async fn next_ack(up: &mut tonic::Streaming<pb::client::AttachRequest>) -> Result<Option<u64>, Status> {
    let frame = up
        .message()
        .await?
        .ok_or_else(|| Status::cancelled("the engine left"))?;
    Ok(match frame.frame {
        Some(pb::client::attach_request::Frame::SeedAck(ack)) => Some(ack.items),
        Some(_) | None => None,
    })
}

impl NamedService for BareEngines {
    const NAME: &'static str = "sessiond.v1.EngineService";
}

impl Service<http::Request<Body>> for BareEngines {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            let attach = service_fn(
                move |request: Request<tonic::Streaming<pb::client::AttachRequest>>| {
                    let (down, frames) = mpsc::channel(QUEUE_FRAMES);
                    let bare = bare.clone();
                    tokio::spawn(async move {
                        // An engine that leaves ends its seed.
                        let _ = bare.seed(request.into_inner(), down).await;
                    });
                    async move { Ok::<_, Status>(Response::new(ReceiverStream::new(frames))) }
                },
            );
            Ok(Grpc::new(ProstCodec::default()).streaming(attach, request).await)
        })
    }
}

/// The bytes of the messages of a read, as they are on the wire.
pub(crate) fn message_bytes(chunk: &pb::client::ReadMessagesResponse) -> usize {
    chunk.encoded_len()
}
