//! Calls that only the replica with an engine can answer: they are passed on to it, one hop far, and its answer or
//! error comes back whole.

use async_trait::async_trait;
use tokio::time::Instant;
use tonic::{Request, Status};

use crate::cluster::{Handler, Unanswered};
use crate::pb;
use crate::service::Error;

use super::convert::resume;
use super::{Sessions, edge, frame, status};

/// Why a snapshot was not taken here.
enum NotTaken {
    Refused(Status),
    Failed(Error),
}

impl From<Status> for NotTaken {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl From<Error> for NotTaken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<NotTaken> for Status {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Refused(status) => status,
            NotTaken::Failed(error) => error.into(),
        }
    }
}

impl Sessions {
    /// Takes a snapshot here, or has the replica take it that has the engine, within the caller's deadline.
    pub(super) async fn snapshot_anywhere(
        &self,
        request: Request<pb::SnapshotFromEngineRequest>,
    ) -> Result<pb::SnapshotFromEngineResponse, Status> {
        let begun = Instant::now();
        let patience = edge::timeout(request.metadata().as_ref());
        let whole = self
            .peers
            .as_ref()
            .map(|peers| (peers, request.get_ref().clone()));
        let not_taken = match self.snapshot_here(request).await {
            Ok(response) => return Ok(response),
            Err(not_taken) => not_taken,
        };
        let (NotTaken::Failed(Error::Elsewhere(replica)), Some((peers, request))) = (&not_taken, whole)
        else {
            return Err(not_taken.into());
        };
        let left = patience.map(|patience| patience.saturating_sub(begun.elapsed()));
        let answer = peers.snapshot(replica, &request, left).await;
        answer.map_err(|unanswered| match unanswered {
            Unanswered::Refused(status) => status,
            Unanswered::TimedOut => status::deadline_exceeded(),
            Unanswered::Unreachable => status::elsewhere(replica.id.as_str()),
        })
    }

    async fn snapshot_here(
        &self,
        request: Request<pb::SnapshotFromEngineRequest>,
    ) -> Result<pb::SnapshotFromEngineResponse, NotTaken> {
        let patience = edge::timeout(request.metadata().as_ref());
        let (call, request) = frame::mutation(request)?;
        let parsed = resume::snapshot(&request, patience, self.service.limits());
        let snapshot = frame::checked(&self.service, &call, parsed).await?;
        let taken = self.service.snapshot(call, snapshot).await?;
        Ok(pb::SnapshotFromEngineResponse {
            session: Some((&*taken.session).into()),
            message_count: taken.message_count,
            created: taken.created,
            delta: taken.delta,
        })
    }
}

#[async_trait]
impl Handler for Sessions {
    async fn snapshot(
        &self,
        request: Request<pb::SnapshotFromEngineRequest>,
    ) -> Result<pb::SnapshotFromEngineResponse, Status> {
        Ok(self.snapshot_here(request).await?)
    }
}
