//! Answering other replicas. A call that has come this way is answered here or not at all: it is never passed on.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use prost::Message as _;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use crate::domain::{EngineId, Fence, Namespace, ReplicaId, ResumeId};
use crate::pb;
use crate::pb::cluster::replica_service_server::{ReplicaService, ReplicaServiceServer};
use crate::pb::cluster::{
    DriveResumeRequest, DriveResumeResponse, EvictEngineRequest, EvictEngineResponse, Recipient,
    SnapshotFromEngineRequest, SnapshotFromEngineResponse,
};
use crate::service::Service;

use super::Secret;

/// Answers clients' calls that other replicas pass on.
#[async_trait]
pub trait Handler: Send + Sync + Debug {
    /// Answers here, as if the client had asked this replica; whatever it finds, it does not pass the call on.
    async fn snapshot(
        &self,
        request: Request<pb::SnapshotFromEngineRequest>,
    ) -> Result<pb::SnapshotFromEngineResponse, Status>;
}

/// The internal service, for those who have `secret`, with requests of at most `bytes_max`.
pub fn mount(
    service: Service,
    handler: Arc<dyn Handler>,
    secret: Option<Secret>,
    bytes_max: usize,
) -> Routes {
    let answering = ReplicaServiceServer::new(Answering { service, handler });
    let check = move |request: Request<()>| match &secret {
        Some(secret) => secret.check(request.metadata()).map(|()| request),
        None => Ok(request),
    };
    Routes::new(InterceptedService::new(
        answering.max_decoding_message_size(bytes_max),
        check,
    ))
}

#[derive(Debug)]
struct Answering {
    service: Service,
    handler: Arc<dyn Handler>,
}

impl Answering {
    /// Turns away what is meant for another process: this one may have the address of one that is gone.
    fn is_meant(&self, to: Option<&Recipient>) -> Result<(), Status> {
        let own = self.service.fence().ok().flatten();
        let meant = to.and_then(|to| {
            Some(Fence {
                replica: ReplicaId::parse(&to.replica, "to.replica").ok()?,
                incarnation: to.incarnation,
            })
        });
        if meant.is_some() && meant == own {
            return Ok(());
        }
        Err(Status::unavailable("this is another replica"))
    }
}

#[async_trait]
impl ReplicaService for Answering {
    async fn snapshot_from_engine(
        &self,
        request: Request<SnapshotFromEngineRequest>,
    ) -> Result<Response<SnapshotFromEngineResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        self.is_meant(message.to.as_ref())?;
        let request = pb::SnapshotFromEngineRequest::decode(message.request)
            .map_err(|_| Status::invalid_argument("request: is no SnapshotFromEngineRequest"))?;
        let request = Request::from_parts(metadata, extensions, request);
        let response = self.handler.snapshot(request).await?.encode_to_vec().into();
        Ok(Response::new(SnapshotFromEngineResponse { response }))
    }

    async fn drive_resume(
        &self,
        request: Request<DriveResumeRequest>,
    ) -> Result<Response<DriveResumeResponse>, Status> {
        let message = request.into_inner();
        self.is_meant(message.to.as_ref())?;
        let ns = Namespace::parse(&message.namespace).map_err(|_| wrong("namespace"))?;
        let id = ResumeId::parse(&message.resume_id, "resume_id").map_err(|_| wrong("resume_id"))?;
        let driven = self.service.drive_handed(&ns, &id).await;
        driven.map_err(|_| Status::unavailable("the resume cannot be looked at now"))?;
        Ok(Response::new(DriveResumeResponse {}))
    }

    async fn evict_engine(
        &self,
        request: Request<EvictEngineRequest>,
    ) -> Result<Response<EvictEngineResponse>, Status> {
        let message = request.into_inner();
        self.is_meant(message.to.as_ref())?;
        let ns = Namespace::parse(&message.namespace).map_err(|_| wrong("namespace"))?;
        let id = EngineId::parse(&message.engine_id, "engine_id").map_err(|_| wrong("engine_id"))?;
        self.service.evict(&ns, &id, message.epoch);
        Ok(Response::new(EvictEngineResponse {}))
    }
}

fn wrong(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: is not valid"))
}
