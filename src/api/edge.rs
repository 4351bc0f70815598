//! The layer around all services: what holds for every call, whichever it is.
//!
//! A call gets a [`Caller`](super::auth::Caller), a span, and an end in every case: a panic becomes INTERNAL, a passed
//! deadline DEADLINE_EXCEEDED, a shutdown UNAVAILABLE, and what tonic answers by itself is repaired. Streams are
//! watched over to their last frame. Services need to know nothing of all this; a watch that the shutdown ends has sent
//! what it had.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::auth::Authenticate;
use super::{repair, status};
use crate::domain::Limits;
use crate::store::deadline;

mod body;

pub use body::Body;

/// Ends calls when the server stops, and knows when the last has ended.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled first: watches end, everything else may finish.
    pub drain: CancellationToken,
    /// Cancelled when the grace is over: every call ends.
    pub cut: CancellationToken,
    /// One task for every call that has not ended.
    pub calls: TaskTracker,
}

/// What the layer needs.
#[derive(Debug)]
struct Terms {
    authenticate: Arc<dyn Authenticate>,
    limits: Limits,
    stop: Stop,
}

/// Puts the edge around a service.
#[derive(Clone, Debug)]
pub struct EdgeLayer(Arc<Terms>);

/// A service with the edge around it.
#[derive(Clone, Debug)]
pub struct Edge<S> {
    inner: S,
    terms: Arc<Terms>,
}

impl EdgeLayer {
    /// A layer that asks `authenticate` who calls, names `limits` in errors, and ends calls by `stop`.
    pub fn new(authenticate: Arc<dyn Authenticate>, limits: Limits, stop: Stop) -> Self {
        let terms = Terms {
            authenticate,
            limits,
            stop,
        };
        Self(Arc::new(terms))
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Edge {
            inner,
            terms: self.0.clone(),
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<tonic::body::Body>> for Edge<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        // The clone takes the next call; this one goes to the service that said it was ready.
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        let span = tracing::info_span!(
            "call",
            rpc = request.uri().path().trim_start_matches('/'),
            "session.id" = field::Empty,
            "thread.id" = field::Empty,
            "engine.id" = field::Empty,
            "resume.id" = field::Empty,
            "request.id" = field::Empty,
        );
        // The clock runs from here on: tonic has a timer of its own, and this one must be the first to ring.
        let guard = Guard {
            deadline: timeout(request.headers()).map(|after| Box::pin(tokio::time::sleep(after))),
            ending: if ends_at_drain(request.uri().path()) {
                self.terms.stop.drain.clone()
            } else {
                self.terms.stop.cut.clone()
            },
            stopped: None,
            span: span.clone(),
            terms: self.terms.clone(),
            _running: self.terms.stop.calls.token(),
        };
        Box::pin(run(service, request, guard).instrument(span))
    }
}

/// What a call holds on to until it has ended.
struct Guard {
    deadline: Option<Pin<Box<Sleep>>>,
    ending: CancellationToken,
    stopped: Option<Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>>,
    span: Span,
    terms: Arc<Terms>,
    _running: tokio_util::task::task_tracker::TaskTrackerToken,
}

impl Guard {
    /// Why the call has to end now although it is not done; wakes the task when there is a reason.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(status::deadline_exceeded());
        }
        let ending = &self.ending;
        let stopped = self
            .stopped
            .get_or_insert_with(|| Box::pin(ending.clone().cancelled_owned()));
        stopped.as_mut().poll(cx).map(|()| status::shutting_down())
    }
}

async fn run<S>(
    mut service: S,
    request: Request<tonic::body::Body>,
    mut guard: Guard,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible>,
{
    let authenticate = guard.terms.authenticate.clone();
    let work = async move {
        let (mut head, body) = request.into_parts();
        match authenticate.caller(&head).await {
            Ok(caller) => head.extensions.insert(caller),
            Err(status) => return Ok(status.into_http()),
        };
        service.call(Request::from_parts(head, body)).await
    };
    // Who waits for a commit shares it with others: it is told how long it may take, a read ends when it is dropped.
    let until = guard.deadline.as_ref().map(|sleep| sleep.deadline());
    let work = AssertUnwindSafe(deadline::within(until, work)).catch_unwind();
    tokio::pin!(work);
    let response = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(Ok(done)) => Poll::Ready(done),
        Poll::Ready(Err(_panic)) => Poll::Ready(Ok(status::internal().into_http())),
        Poll::Pending => guard.poll_end(cx).map(|status| Ok(status.into_http())),
    });
    let mut response = response.await?;
    repair::headers(response.headers_mut(), &guard.terms.limits);
    log_end(response.headers());
    Ok(response.map(|body| Body::new(body, guard)))
}

/// Notes how a call ended, where `headers` say that it has.
fn log_end(headers: &HeaderMap) {
    if let Some(code) = headers.get("grpc-status") {
        let code = Code::from_bytes(code.as_bytes());
        tracing::debug!(?code, "ended");
    }
}

/// Whether a call goes on until somebody ends it, so that a shutdown need not wait: watches, and the services that are
/// not ours (a health watch, a reflection stream left open).
fn ends_at_drain(path: &str) -> bool {
    if path.starts_with("/sessiond.cluster.v1.") {
        return false;
    }
    let Some(ours) = path.strip_prefix("/sessiond.v1.") else {
        return true;
    };
    let method = ours.rsplit('/').next().unwrap_or_default();
    method.starts_with("Watch") || method == "Resume"
}

/// The time that a client gives a call: up to eight digits and a unit, as gRPC over HTTP/2 has it.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
