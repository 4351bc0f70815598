//! Which services are served, and how they say that they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::StartError;
use crate::api::{Engines, Sessions, Threads};
use crate::domain::Limits;
use crate::pb::{self, engine_service_server::EngineServiceServer};
use crate::pb::{session_service_server::SessionServiceServer, thread_service_server::ThreadServiceServer};
use crate::service::{ReplicaTerms, Service};

/// What the health service knows: the whole, under the empty name, and each service.
pub(super) const NAMES: [&str; 4] = [
    "",
    <SessionServiceServer<Sessions> as NamedService>::NAME,
    <ThreadServiceServer<Threads> as NamedService>::NAME,
    <EngineServiceServer<Engines> as NamedService>::NAME,
];

/// How often it is looked whether the replica has a lease.
const LOOK: Duration = Duration::from_millis(500);

/// Says whether the services take calls.
#[derive(Clone, Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
    /// What is said; nothing else is said after the end.
    said: Arc<Mutex<Said>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Serving,
    CutOff,
    Stopped,
}

impl Health {
    /// Every service says NOT_SERVING from now on.
    pub(super) async fn stop_serving(&self) {
        self.say(Said::Stopped).await;
    }

    /// Every service says NOT_SERVING while this replica has been without a lease for longer than one lasts; until `stop`.
    pub(super) async fn follow(&self, service: &Service, terms: &ReplicaTerms, stop: &CancellationToken) {
        if terms.lease.is_none() {
            return;
        }
        let mut beat = tokio::time::interval(LOOK);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            let is_cut_off = service.is_cut_off(terms);
            self.say(if is_cut_off { Said::CutOff } else { Said::Serving })
                .await;
        }
    }

    async fn say(&self, what: Said) {
        let mut said = self.said.lock().await;
        if *said == what || *said == Said::Stopped {
            return;
        }
        *said = what;
        let status = match what {
            Said::Serving => ServingStatus::Serving,
            Said::CutOff | Said::Stopped => ServingStatus::NotServing,
        };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
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
    let said = Arc::new(Mutex::new(Said::Serving));
    Ok((routes, Health { reporter, said }))
}

/// Over the protos as clients see them; older clients ask for v1alpha alone.
fn reflection<'b>() -> tonic_reflection::server::Builder<'b> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
