//! The frames of a response, watched over until the last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;

use super::{Guard, log_end};
use crate::api::{repair, status};

/// A response's frames. It ends with trailers, whatever happens behind it.
pub struct Body {
    inner: tonic::body::Body,
    /// Gone once the call has ended.
    guard: Option<Guard>,
}

impl Body {
    pub(super) fn new(inner: tonic::body::Body, guard: Guard) -> Self {
        let guard = (!http_body::Body::is_end_stream(&inner)).then_some(guard);
        Self { inner, guard }
    }

    /// Ends the call with `status`.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        repair::write(status, &mut trailers);
        log_end(&trailers);
        self.inner = tonic::body::Body::empty();
        self.guard = None;
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(guard) = &mut this.guard else {
            return Poll::Ready(None);
        };
        let span = guard.span.clone();
        let _within = span.enter();
        let inner = &mut this.inner;
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx)));
        match polled {
            Ok(Poll::Ready(Some(Ok(mut frame)))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    repair::headers(trailers, &guard.terms.limits);
                    log_end(trailers);
                    this.guard = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(status)))) => Poll::Ready(Some(Ok(this.end(&status)))),
            Ok(Poll::Ready(None)) => {
                this.guard = None;
                Poll::Ready(None)
            }
            Ok(Poll::Pending) => guard.poll_end(cx).map(|status| Some(Ok(this.end(&status)))),
            Err(_panic) => Poll::Ready(Some(Ok(this.end(&status::internal())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.guard.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
