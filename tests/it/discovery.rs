//! What a client can learn about the server: health, reflection, a unix socket, and what it does not do.

use bytes::Bytes;
use futures_util::stream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::build::user;
use crate::support::raw;
use crate::support::server::Setup;
use crate::support::{Client, Code, Server, refused, shared};

const SERVICES: [&str; 3] = [
    "sessiond.v1.EngineService",
    "sessiond.v1.SessionService",
    "sessiond.v1.ThreadService",
];

#[tokio::test]
async fn health_answers_for_each_service() {
    let client = shared().await;
    let mut health = HealthClient::new(client.channel());
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health
        .check(HealthCheckRequest {
            service: "nobody".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

macro_rules! reflects {
    ($test:ident, $version:ident) => {
        #[tokio::test]
        async fn $test() {
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version::{ServerReflectionRequest, ServerReflectionResponse};

            let client = shared().await;
            let ask = |request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            };
            let symbol = |name: &str| ask(MessageRequest::FileContainingSymbol(name.into()));
            let requests = vec![
                ask(MessageRequest::ListServices(String::new())),
                symbol("sessiond.v1.SessionService"),
                symbol("sessiond.v1.Message"),
                symbol("sessiond.v1.Nothing"),
            ];
            let mut reflection = ServerReflectionClient::new(client.channel());
            let answers = reflection
                .server_reflection_info(stream::iter(requests))
                .await
                .unwrap();
            let mut answers = answers.into_inner();
            let mut next = async || -> Option<MessageResponse> {
                let answer: ServerReflectionResponse = answers.message().await.ok()??;
                answer.message_response
            };
            let Some(MessageResponse::ListServicesResponse(listed)) = next().await else {
                panic!("no list")
            };
            let names: Vec<_> = listed
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
                assert!(
                    names.iter().any(|name| name == service),
                    "{service} is not in {names:?}"
                );
            }
            for file in ["session_service.proto", "entry.proto"] {
                let found = next().await;
                let Some(MessageResponse::FileDescriptorResponse(found)) = found else {
                    panic!("{found:?}")
                };
                let bytes: Vec<_> = found.file_descriptor_proto.concat();
                assert!(String::from_utf8_lossy(&bytes).contains(file), "{file}");
            }
            if let Some(MessageResponse::FileDescriptorResponse(found)) = next().await {
                panic!("what is not there was found: {found:?}");
            }
        }
    };
}

reflects!(reflection_lists_the_services, v1);
reflects!(reflection_of_old_lists_them_too, v1alpha);

#[tokio::test]
async fn a_unix_socket_is_served_too() {
    let mut server = Server::stopped(Setup::default());
    let path = server.folder().join("socket");
    server = server.with(Setup {
        arguments: vec!["--uds".into(), path.display().to_string()],
        ..Setup::default()
    });
    server.restart().await;
    let by_tcp = server.client().await;
    let id = by_tcp.holding([user("over tcp")]).await;

    let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap();
    let by_socket = Client::over(endpoint.connect().await.unwrap()).in_namespace(by_tcp.namespace());
    assert_eq!(by_socket.messages(&id).await.len(), 1);
    by_socket
        .append(&id, vec![crate::support::build::entry(user("over the socket"))])
        .await;
    assert_eq!(by_tcp.messages(&id).await.len(), 2);

    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o077;
    assert_eq!(mode, 0, "the socket is for its owner alone");
    drop((by_tcp, by_socket));
    server.stop().await;
    assert!(!path.exists(), "the socket goes with the server");
    server.restart().await;
    server.kill();
    assert!(path.exists());
    server.restart().await;
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let client = shared().await;
    for method in [
        "SessionService/Nothing",
        "NoService/GetSession",
        "SessionService/getsession",
    ] {
        let answer = raw::unary(&client, method, Bytes::new()).await;
        refused(answer, Code::Unimplemented, "UNIMPLEMENTED");
    }
}
