//! The server over TCP and a unix socket, in this process.

use std::time::Instant;

use futures_util::stream::pending;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

use super::*;
use crate::store::memory::Memory;

const NOT_SERVING: i32 = ServingStatus::NotServing as i32;
const SERVING: i32 = ServingStatus::Serving as i32;

async fn start(change: impl FnOnce(&mut Config)) -> Result<Running, StartError> {
    let mut config = Config::default();
    config.listen.set_port(0);
    change(&mut config);
    Server::start(&config, Arc::new(Memory::default())).await
}

async fn connect(endpoint: String) -> Channel {
    let endpoint = Endpoint::from_shared(endpoint).expect("an address");
    endpoint.connect().await.expect("connected")
}

async fn status(channel: &Channel, service: &str) -> Result<i32, Code> {
    let service = service.to_owned();
    let answer = HealthClient::new(channel.clone())
        .check(HealthCheckRequest { service })
        .await;
    answer
        .map(|answer| answer.into_inner().status)
        .map_err(|status| status.code())
}

#[tokio::test]
async fn serves_tcp_and_a_unix_socket_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("sock");
    let running = start(|config| config.uds = Some(path.clone()))
        .await
        .expect("started");
    for endpoint in [
        format!("http://{}", running.addr()),
        format!("unix:{}", path.display()),
    ] {
        let channel = connect(endpoint).await;
        for name in routes::NAMES {
            assert_eq!(status(&channel, name).await, Ok(SERVING), "{name}");
        }
        assert_eq!(status(&channel, "nobody").await, Err(Code::NotFound));
    }
    assert_eq!(running.shutdown().await, Drained::Clean);
    assert!(!path.exists());
}

#[tokio::test]
async fn an_unknown_method_has_a_reason() {
    let running = start(|_| ()).await.expect("started");
    let mut grpc = tonic::client::Grpc::new(connect(format!("http://{}", running.addr())).await);
    for path in ["/sessiond.v1.SessionService/Nothing", "/no.Service/Nothing"] {
        grpc.ready().await.expect("ready");
        let path = path.parse().expect("a path");
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let request = tonic::Request::new(HealthCheckRequest::default());
        let refused = grpc.unary(request, path, codec).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unimplemented);
        assert_eq!(
            refused.get_details_error_info().expect("an ErrorInfo").reason,
            "UNIMPLEMENTED"
        );
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_those_who_watch() {
    let running = start(|_| ()).await.expect("started");
    let channel = connect(format!("http://{}", running.addr())).await;
    let watch = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest::default())
        .await;
    let mut watch = watch.expect("watching").into_inner();
    let health = watch.message().await.expect("a message").expect("a status");
    assert_eq!(health.status, SERVING);
    let mut reflection = ServerReflectionClient::new(channel);
    let open = reflection.server_reflection_info(pending::<ServerReflectionRequest>());
    let mut open = open.await.expect("open").into_inner();

    let begun = Instant::now();
    assert_eq!(running.shutdown().await, Drained::Clean);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let health = watch.message().await.expect("a message").expect("a status");
    assert_eq!(health.status, NOT_SERVING);
    for ended in [
        watch.message().await.expect_err("ended"),
        open.message().await.expect_err("ended"),
    ] {
        assert_eq!(ended.code(), Code::Unavailable);
        assert!(ended.get_details_retry_info().is_some());
    }
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_is_cut_off() {
    let running = start(|config| config.server.shutdown_grace_s = 0)
        .await
        .expect("started");
    let mut grpc = tonic::client::Grpc::new(connect(format!("http://{}", running.addr())).await);
    grpc.ready().await.expect("ready");
    let path = "/sessiond.v1.SessionService/GetSession".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    // A request that never comes to its end.
    let request = tonic::Request::new(pending());
    let call = tokio::spawn(async move { grpc.streaming(request, path, codec).await.map(|_| ()) });
    let begun = async {
        while running.stop.calls.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), begun)
        .await
        .expect("the call began");
    assert_eq!(running.shutdown().await, Drained::CutOff { calls: 1 });
    let refused = call.await.expect("no panic").expect_err("cut off");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(
        refused.get_details_error_info().expect("an ErrorInfo").reason,
        "SHUTTING_DOWN"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_named() {
    let running = start(|_| ()).await.expect("started");
    let taken = running.addr();
    let error = start(|config| config.listen = taken).await.expect_err("refused");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let error = start(|config| config.listen = ([0, 0, 0, 0], 0).into())
        .await
        .expect_err("refused");
    assert!(matches!(error, StartError::Config(_)), "{error}");
    let no_such_file = |config: &mut Config| {
        config.tls.cert = Some("no/cert.pem".into());
        config.tls.key = Some("no/key.pem".into());
    };
    let error = start(no_such_file).await.expect_err("refused");
    assert!(error.to_string().contains("no/cert.pem"), "{error}");
}

#[tokio::test]
async fn a_server_ends_with_its_handle() {
    let running = start(|_| ()).await.expect("started");
    let (addr, tasks) = (running.addr(), running.tasks.clone());
    drop(running);
    tasks.wait().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
