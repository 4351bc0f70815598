//! `sessiond.v1.EngineService`.

use futures_util::stream::{self, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Span;

use crate::domain::{Invalid, Limits};
use crate::engine::{Ending, Up};
use crate::pb;
use crate::pb::attach_request::Frame;
use crate::pb::engine_service_server::EngineService;

use super::convert::engine;
use super::page_token::Paging;
use super::stream::Responses;
use super::{Engines, frame, status};

#[tonic::async_trait]
impl EngineService for Engines {
    type AttachStream = Responses<pb::AttachResponse>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.frame);
        let Some(Frame::Hello(hello)) = first else {
            return Err(Invalid::new("frame", "the first one must be a Hello").into());
        };
        let limits = self.service.limits().clone();
        let hello = engine::hello(hello, &limits)?;
        if let Some(id) = &hello.id {
            Span::current().record("engine.id", id.as_str());
        }
        let up = frames.map(move |frame| heard(frame, &limits)).boxed();
        let welcome = self.service.attach(hello, up).await?;
        let first = engine::welcome(&welcome);
        let frames = ReceiverStream::new(welcome.frames).map(|frame| Ok(engine::down(frame)));
        let ending = stream::once(welcome.ending).filter_map(|ending| async move {
            // The service goes away together with its connections.
            let ending = ending.unwrap_or(Ending::ShuttingDown);
            status::of_ending(ending).map(Err)
        });
        Ok(Response::new(
            stream::once(async move { Ok(first) })
                .chain(frames)
                .chain(ending)
                .boxed(),
        ))
    }

    async fn list_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let after = paging.after()?;
        let (engines, next) = self
            .service
            .engines(&ns, after.as_ref(), paging.bound.rows)
            .await?;
        Ok(Response::new(pb::ListEnginesResponse {
            engines: engines.iter().map(engine::listed).collect(),
            next_page_token: paging.next(next.as_ref()),
        }))
    }
}

fn heard(frame: Result<pb::AttachRequest, Status>, limits: &Limits) -> Result<Up, Ending> {
    match frame {
        Ok(frame) => engine::up(frame, limits).map_err(Ending::Invalid),
        // What cannot be read as a frame ends the stream; a connection that is gone does so too.
        Err(status) if is_of_the_frame(status.code()) => Err(Ending::Invalid(Invalid::new(
            "frame",
            "cannot be read, or is too large",
        ))),
        Err(_) => Err(Ending::Left),
    }
}

/// What tonic answers to a frame that does not decode or is too large.
fn is_of_the_frame(code: Code) -> bool {
    matches!(
        code,
        Code::Internal | Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument
    )
}
