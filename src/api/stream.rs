//! Streams of responses.
//!
//! They are pulled: the next response is made when the connection has taken the last one, so a slow reader costs one
//! response of memory beside what HTTP/2 lets wait.

use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use tonic::{Response, Status};

use crate::service;

/// What a streaming method returns.
pub(super) type Responses<R> = BoxStream<'static, Result<R, Status>>;

/// A service's stream as responses; an error ends it.
pub(super) fn responses<T, R>(
    stream: impl Stream<Item = Result<T, service::Error>> + Send + 'static,
    response: impl Fn(T) -> R + Send + 'static,
) -> Response<Responses<R>> {
    Response::new(
        stream
            .map(move |part| part.map(&response).map_err(Status::from))
            .boxed(),
    )
}
