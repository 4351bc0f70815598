//! `sessiond.v1.EngineService`, which this version does not have yet.

use tonic::{Request, Response, Status, Streaming};

use crate::pb;
use crate::pb::engine_service_server::EngineService;

use super::stream::Responses;
use super::{Engines, status};

#[tonic::async_trait]
impl EngineService for Engines {
    type AttachStream = Responses<pb::AttachResponse>;

    async fn attach(
        &self,
        _: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(status::unimplemented("Attach"))
    }

    async fn list_engines(
        &self,
        _: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        Err(status::unimplemented("ListEngines"))
    }
}
