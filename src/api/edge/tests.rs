//! The edge of every call: deadlines, panics, and what tonic itself refuses.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt, iter, once, pending};
use http::HeaderName;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::*;
use crate::api::auth::{Anyone, Caller};
use crate::pb::{GetSessionRequest, GetSessionResponse};

const GET: &str = "/sessiond.v1.SessionService/GetSession";
const WATCH: &str = "/sessiond.v1.SessionService/WatchSession";

type Answer = Result<tonic::Response<BoxStream<'static, Result<GetSessionResponse, Status>>>, Status>;

/// What a client sees of a call.
struct Seen {
    messages: usize,
    status: Status,
}

impl Seen {
    fn reason(&self) -> String {
        let info = self.status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!(info.domain, "sessiond");
        info.reason
    }
}

/// A request as it goes over the wire.
fn request(path: &str, message: &[u8]) -> Request<tonic::body::Body> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a length"));
    framed.put(message);
    let body = tonic::body::Body::new(Full::new(framed.freeze()));
    let request = Request::post(path).header("content-type", "application/grpc");
    request.body(body).expect("a request")
}

fn valid() -> Bytes {
    GetSessionRequest::default().encode_to_vec().into()
}

/// Sends `request` through the edge to a handler that takes at most 16 bytes.
async fn send(request: Request<tonic::body::Body>, stop: &Stop, handler: fn(&Caller) -> Answer) -> Seen {
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| async move {
        let handler = tower::service_fn(move |request: tonic::Request<GetSessionRequest>| async move {
            handler(request.extensions().get().expect("a caller"))
        });
        let codec = ProstCodec::<GetSessionResponse, GetSessionRequest>::default();
        let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(16);
        Ok::<_, Infallible>(grpc.server_streaming(handler, request).await)
    });
    let limits = Limits {
        request_bytes_max: 16,
        ..Limits::default()
    };
    let edge = EdgeLayer::new(Arc::new(Anyone), limits, stop.clone()).layer(service);
    let Ok(response) = edge.oneshot(request).await;
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.expect("a body");
    let status = Status::from_header_map(body.trailers().unwrap_or(&headers)).expect("a status");
    let messages = body.to_bytes().len() / 5;
    Seen { messages, status }
}

fn message() -> Result<GetSessionResponse, Status> {
    Ok(GetSessionResponse::default())
}

fn endless(_: &Caller) -> Answer {
    Ok(tonic::Response::new(iter([message()]).chain(pending()).boxed()))
}

#[tokio::test]
async fn an_answer_passes_as_it_is() {
    let stop = Stop::default();
    let seen = send(request(GET, &valid()), &stop, |caller| {
        assert_eq!(*caller, Caller::Anyone);
        Ok(tonic::Response::new(iter([message(), message()]).boxed()))
    });
    let seen = seen.await;
    assert_eq!((seen.status.code(), seen.messages), (Code::Ok, 2));
}

#[tokio::test]
async fn what_tonic_refuses_has_a_reason() {
    let stop = Stop::default();
    let oversized = send(request(GET, &[0; 17]), &stop, endless).await;
    assert_eq!(oversized.status.code(), Code::ResourceExhausted);
    assert_eq!(oversized.reason(), "QUOTA_EXCEEDED");
    assert!(oversized.status.get_details_quota_failure().is_some());
    let garbage = send(request(GET, &[0xff; 9]), &stop, endless).await;
    assert_eq!(
        (garbage.status.code(), garbage.reason()),
        (Code::InvalidArgument, "FIELD_INVALID".into())
    );
    let nothing = Request::post(GET)
        .body(tonic::body::Body::empty())
        .expect("a request");
    let nothing = send(nothing, &stop, endless).await;
    assert_eq!(
        (nothing.status.code(), nothing.reason()),
        (Code::InvalidArgument, "FIELD_INVALID".into())
    );
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_its_text() {
    let stop = Stop::default();
    let at_once = send(request(GET, &valid()), &stop, |_| panic!("secret")).await;
    let later = |_: &Caller| {
        let fails = once(async { panic!("secret") });
        Ok(tonic::Response::new(iter([message()]).chain(fails).boxed()))
    };
    let later = send(request(GET, &valid()), &stop, later).await;
    for seen in [at_once, later] {
        assert_eq!(
            (seen.status.code(), seen.reason()),
            (Code::Internal, "INTERNAL".into())
        );
        assert!(!format!("{:?}", seen.status).contains("secret"));
    }
    stop.calls.close();
    stop.calls.wait().await;
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let mut request = request(GET, &valid());
    request
        .headers_mut()
        .insert("grpc-timeout", "20m".parse().expect("a value"));
    let seen = send(request, &Stop::default(), endless).await;
    assert_eq!(
        (seen.status.code(), seen.reason()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into())
    );
    assert_eq!(seen.messages, 1);
}

#[tokio::test]
async fn a_shutdown_ends_watches_first_and_the_rest_last() {
    let stop = Stop::default();
    stop.drain.cancel();
    let watch = send(request(WATCH, &valid()), &stop, endless).await;
    assert_eq!(
        (watch.status.code(), watch.reason()),
        (Code::Unavailable, "SHUTTING_DOWN".into())
    );
    assert!(watch.status.get_details_retry_info().is_some());
    assert_eq!(watch.messages, 1, "what a watch had is sent");

    let other = send(request(GET, &valid()), &stop, endless);
    tokio::pin!(other);
    assert!(futures_util::poll!(&mut other).is_pending());
    assert_eq!(stop.calls.len(), 1);
    stop.cut.cancel();
    assert_eq!(other.await.status.code(), Code::Unavailable);
    assert!(stop.calls.is_empty());
}

#[test]
fn reads_timeouts() {
    for (value, read) in [
        ("1H", Some(Duration::from_secs(3_600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("99999999m", Some(Duration::from_millis(99_999_999))),
        ("5u", Some(Duration::from_micros(5))),
        ("6n", Some(Duration::from_nanos(6))),
        ("", None),
        ("S", None),
        ("1", None),
        ("-1S", None),
        ("1 S", None),
        ("123456789S", None),
    ] {
        let header = (
            HeaderName::from_static("grpc-timeout"),
            value.parse().expect("a value"),
        );
        assert_eq!(timeout(&HeaderMap::from_iter([header])), read, "{value:?}");
    }
}

#[test]
fn knows_what_only_a_shutdown_ends() {
    for (path, ends) in [
        (WATCH, true),
        ("/sessiond.v1.SessionService/Resume", true),
        ("/grpc.health.v1.Health/Watch", true),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
        (GET, false),
        ("/sessiond.v1.ThreadService/AppendItems", false),
    ] {
        assert_eq!(ends_at_drain(path), ends, "{path}");
    }
}
