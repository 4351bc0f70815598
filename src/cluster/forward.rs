//! Asking other replicas: one connection each, kept as long as that incarnation lives.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::domain::{EngineId, Fence, Namespace, Replica, ResumeId};
use crate::pb;
use crate::pb::cluster::replica_service_client::ReplicaServiceClient;
use crate::pb::cluster::{DriveResumeRequest, EvictEngineRequest, Recipient, SnapshotFromEngineRequest};
use crate::service;

use super::Secret;

/// How long a connection may take to stand.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How long a hint may take: whoever it is for finds out by itself within seconds.
const HINT_TIME: Duration = Duration::from_secs(1);

/// How often a connection is asked whether it is there, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The largest answer: a session whose large texts are at their limits, and far more.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Other replicas, as this one asks them.
#[derive(Debug)]
pub struct Peers {
    secret: Option<Secret>,
    channels: Mutex<HashMap<Fence, Channel>>,
}

/// Why there is no answer for the client.
#[derive(Debug)]
pub enum Unanswered {
    /// The other replica said no, or its engine did: to be passed on as it is.
    Refused(Status),
    /// The deadline passed.
    TimedOut,
    /// The other replica does not answer, or is not the one that was meant.
    Unreachable,
}

impl Peers {
    /// Peers that are known by `secret`.
    pub fn new(secret: Option<Secret>) -> Self {
        Self {
            secret,
            channels: Mutex::default(),
        }
    }

    /// Passes a client's call on to the replica that has the engine.
    pub async fn snapshot(
        &self,
        to: &Replica,
        request: &pb::SnapshotFromEngineRequest,
        patience: Option<Duration>,
    ) -> Result<pb::SnapshotFromEngineResponse, Unanswered> {
        let message = SnapshotFromEngineRequest {
            to: Some(recipient(to)),
            request: request.encode_to_vec().into(),
        };
        let asked = self.request(message, patience);
        let mut client = self.client(to).map_err(|_| Unanswered::Unreachable)?;
        let answer = client.snapshot_from_engine(asked).await.map_err(unanswered)?;
        let answer = pb::SnapshotFromEngineResponse::decode(answer.into_inner().response);
        answer.map_err(|_| Unanswered::Unreachable)
    }

    fn request<M>(&self, message: M, patience: Option<Duration>) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(secret) = &self.secret {
            secret.put(request.metadata_mut());
        }
        if let Some(patience) = patience {
            request.set_timeout(patience);
        }
        request
    }

    fn client(&self, to: &Replica) -> Result<ReplicaServiceClient<Channel>, tonic::transport::Error> {
        let mut channels = self.channels();
        let channel = match channels.get(&to.fence()) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = Endpoint::from_shared(format!("http://{}", to.address))?
                    .connect_timeout(CONNECT_TIME)
                    .http2_keep_alive_interval(KEEPALIVE)
                    .keep_alive_timeout(KEEPALIVE)
                    .keep_alive_while_idle(true)
                    .tcp_nodelay(true);
                let channel = endpoint.connect_lazy();
                channels.insert(to.fence(), channel.clone());
                channel
            }
        };
        Ok(ReplicaServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Fence, Channel>> {
        // A map is whole after any panic that could happen under its lock.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl service::Peers for Peers {
    async fn drive(&self, to: &Replica, ns: &Namespace, id: &ResumeId) {
        let message = DriveResumeRequest {
            to: Some(recipient(to)),
            namespace: ns.to_string(),
            resume_id: id.to_string(),
        };
        let request = self.request(message, Some(HINT_TIME));
        let Ok(mut client) = self.client(to) else { return };
        let told = client.drive_resume(request).await;
        note("a resume that is handed over", to, told.err());
    }

    async fn evict(&self, to: &Replica, ns: &Namespace, id: &EngineId, epoch: u64) {
        let message = EvictEngineRequest {
            to: Some(recipient(to)),
            namespace: ns.to_string(),
            engine_id: id.to_string(),
            epoch,
        };
        let request = self.request(message, Some(HINT_TIME));
        let Ok(mut client) = self.client(to) else { return };
        let told = client.evict_engine(request).await;
        note("an engine that has moved", to, told.err());
    }

    fn keep(&self, living: &BTreeSet<Fence>) {
        self.channels().retain(|fence, _| living.contains(fence));
    }
}

fn recipient(to: &Replica) -> Recipient {
    Recipient {
        replica: to.id.to_string(),
        incarnation: to.incarnation,
    }
}

/// What a replica itself answers has details; what has none comes from the connection, or from one that was not meant.
fn unanswered(status: Status) -> Unanswered {
    if !status.details().is_empty() {
        return Unanswered::Refused(status);
    }
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => Unanswered::TimedOut,
        Code::Unauthenticated => {
            tracing::error!("another replica has another cluster.secret");
            Unanswered::Unreachable
        }
        _ => Unanswered::Unreachable,
    }
}

/// A hint that was lost is found in the store.
fn note(what: &'static str, to: &Replica, failed: Option<Status>) {
    if let Some(status) = failed {
        let (replica, code) = (to.id.as_str(), status.code());
        tracing::debug!(what, replica, ?code, "a replica could not be told");
    }
}
