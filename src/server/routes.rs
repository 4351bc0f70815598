//! Which services are served, and how they say that they are.

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::StartError;
use crate::domain::Limits;
use crate::pb;
use crate::service::Service;

/// The services that the health service knows by name, and itself under the empty name.
pub(super) const NAMES: [&str; 1] = [""];

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
pub(super) async fn mount(service: &Service, limits: &Limits) -> Result<(Routes, Health), StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let _ = (service, limits);
    let routes = Routes::new(health)
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
