//! Which services are served, and how they say that they are.

use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::StartError;
use crate::api::{Engines, Sessions, Threads};
use crate::domain::Limits;
use crate::pb::{self, engine_service_server::EngineServiceServer};
use crate::pb::{session_service_server::SessionServiceServer, thread_service_server::ThreadServiceServer};
use crate::service::Service;

/// What the health service knows: the whole, under the empty name, and each service.
pub(super) const NAMES: [&str; 4] = [
    "",
    <SessionServiceServer<Sessions> as NamedService>::NAME,
    <ThreadServiceServer<Threads> as NamedService>::NAME,
    <EngineServiceServer<Engines> as NamedService>::NAME,
];

/// Says whether the services take calls.
#[derive(Clone, Debug)]
pub(super) struct Health(HealthReporter);

impl Health {
    /// Every service says NOT_SERVING from now on.
    pub(super) async fn stop_serving(&self) {
        for name in NAMES {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
    }
}

/// Every service, serving.
pub(super) async fn mount(
    service: &Service,
    sessions: Sessions,
    limits: &Limits,
) -> Result<(Routes, Health), StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let sessions = SessionServiceServer::new(sessions);
    let threads = ThreadServiceServer::new(Threads::new(service.clone()));
    let engines = EngineServiceServer::new(Engines::new(service.clone()));
    // Responses have no such limit: pages and stream messages are bounded where they are made.
    let max = limits.request_bytes_max;
    let routes = Routes::new(health)
        .add_service(sessions.max_decoding_message_size(max))
        .add_service(threads.max_decoding_message_size(max))
        .add_service(engines.max_decoding_message_size(max))
        .add_service(reflection().build_v1().map_err(StartError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(StartError::Reflection)?);
    Ok((routes, Health(reporter)))
}

/// Over the protos as clients see them; older clients ask for v1alpha alone.
fn reflection<'b>() -> tonic_reflection::server::Builder<'b> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
