//! What a server has for other replicas of its store: a port, a name, and a secret.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::service::Routes;
use uuid::Uuid;

use crate::api::Sessions;
use crate::cluster::{self, Peers, Secret};
use crate::config::{self, Cluster};
use crate::domain::ReplicaId;
use crate::service::{ReplicaTerms, Service};
use crate::store::Store;

use super::{StartError, bind};

/// A place beside other replicas.
#[derive(Debug)]
pub(super) struct Beside {
    /// How it takes part.
    pub(super) terms: ReplicaTerms,
    /// How it asks others.
    pub(super) peers: Arc<Peers>,
    addr: SocketAddr,
    listener: TcpListener,
    secret: Option<Secret>,
}

impl Beside {
    /// A place beside other replicas of `store`; `None`: nobody else can serve it.
    pub(super) async fn new(config: &Cluster, store: &dyn Store) -> Result<Option<Self>, StartError> {
        if !store.is_shared() {
            return Ok(None);
        }
        config.check_shared()?;
        let secret = secret(config).await?;
        let (addr, listener) = bind(config.listen).await?;
        let id = match &config.name {
            Some(name) => ReplicaId::parse(name, "cluster.name").map_err(|invalid| config::Error::Value {
                key: "cluster.name",
                rule: invalid.rule,
            })?,
            None => ReplicaId::from_uuid(Uuid::now_v7()),
        };
        let terms = ReplicaTerms {
            id,
            address: config.advertise.clone().unwrap_or_else(|| addr.to_string()),
            lease: Some(Duration::from_millis(config.lease_ms)),
            renew: Duration::from_millis(config.renew_ms),
        };
        Ok(Some(Self {
            terms,
            peers: Arc::new(Peers::new(secret.clone())),
            addr,
            listener,
            secret,
        }))
    }

    /// The port with what is served on it.
    pub(super) fn mounted(
        self,
        service: &Service,
        sessions: Sessions,
        bytes_max: usize,
    ) -> (SocketAddr, TcpListener, Routes) {
        let routes = cluster::mount(service.clone(), Arc::new(sessions), self.secret, bytes_max);
        (self.addr, self.listener, routes)
    }
}

async fn secret(config: &Cluster) -> Result<Option<Secret>, StartError> {
    let Some(path) = &config.secret_file else {
        return Ok(config.secret.clone());
    };
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|source| StartError::SecretFile {
        path: path.clone(),
        source,
    })?;
    let secret = Secret::parse(&text).map_err(|rule| config::Error::Value {
        key: "cluster.secret_file",
        rule: rule.to_owned(),
    })?;
    Ok(Some(secret))
}
