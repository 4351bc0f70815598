//! The server: binds, wires the rooms together, serves, and stops in good order.
//!
//! [`Server::start`] returns once connections are taken; the [`Running`] server is then stopped by
//! [`Running::shutdown`], or at once when it is dropped. Any number may run in one process: tests and embedders start
//! one on port 0.
//!
//! A shutdown goes so: the health service says NOT_SERVING, no connection is taken any more and watches end; calls
//! that have begun may finish within the grace; what is left is then cut off, UNAVAILABLE in either case. Beside that,
//! engines are told and what runs for them ends, and the lease is given up at once, so that other replicas carry on. Then
//! upkeep ends and the store is closed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::service::Routes;
use tonic::transport::{Identity, ServerTlsConfig};

use crate::api::Sessions;
use crate::api::auth::Anyone;
use crate::api::edge::{EdgeLayer, Stop};
use crate::config::{self, Config};
use crate::domain::Limits;
use crate::engine;
use crate::service::{self, EngineTerms, ReplicaTerms, Service, SystemClock, TimeOrderedIds};
use crate::store::Store;
use crate::upkeep::{Indexer, Retention, Upkeep};

mod internal;
mod listen;
mod routes;
mod socket;

use internal::Beside;
use socket::Socket;

/// How long connections without calls, and calls that were cut off, have to go away.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// The most bytes that the metadata of a request may have.
const METADATA_BYTES_MAX: u32 = 16 * 1024;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be run.
    #[error("the configuration is refused")]
    Config(#[from] config::Error),
    /// The TCP address cannot be had.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The secret of the replicas cannot be read.
    #[error("cannot read {}", path.display())]
    SecretFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The unix socket cannot be had.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the TLS identity cannot be read.
    #[error("cannot read {}", path.display())]
    TlsFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store does not let this process join.
    #[error("the store cannot be read")]
    Store(#[source] service::Error),
    /// The TLS identity is none.
    #[error("tls.cert and tls.key are not usable")]
    Tls(#[source] tonic::transport::Error),
    /// The protos cannot be described; a fault of the build.
    #[error("reflection cannot serve the protos")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// A server that does not run yet.
#[derive(Debug)]
pub struct Server;

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    internal: Option<SocketAddr>,
    socket: Option<Socket>,
    grace: Duration,
    health: routes::Health,
    stop: Stop,
    /// Serving and upkeep.
    tasks: TaskTracker,
    service: Service,
    store: Arc<dyn Store>,
    /// Renews this replica's lease, until it is given up or the handle goes.
    lease: AbortOnDropHandle<()>,
    /// Ends everything when the handle goes without a shutdown.
    _dropped: [DropGuard; 2],
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call that had begun was answered, or was a watch.
    Clean,
    /// The grace ended before this many calls; they were told UNAVAILABLE.
    CutOff {
        /// How many.
        calls: usize,
    },
}

impl Server {
    /// Serves `store` as `config` says; `data` and `log` are left to the caller.
    pub async fn start(config: &Config, store: Arc<dyn Store>) -> Result<Running, StartError> {
        config.check()?;
        let limits = Limits::from(&config.limits);
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(TimeOrderedIds));
        let stop = Stop::default();
        let service = Service::new(store.clone(), clock.clone(), ids.clone(), limits.clone())
            .with_engines(EngineTerms::from(&config.engines), stop.drain.clone());
        let service = if config.search.enabled {
            service
        } else {
            service.without_search()
        };
        let looks = Duration::from_secs(config.retention.interval_s);
        let beside = Beside::new(&config.cluster, &*store).await?;
        let service = match &beside {
            Some(beside) => service.with_peers(beside.peers.clone()),
            None => service,
        };
        let retention = Retention::new(service.clone(), config.retention.policies()?, looks);
        let sessions = Sessions::new(service.clone());
        let sessions = match &beside {
            Some(beside) => sessions.with_peers(beside.peers.clone()),
            None => sessions,
        };
        let (routes, health) = routes::mount(&service, sessions.clone(), &limits).await?;
        let bytes_max = limits.request_bytes_max;
        let edge = EdgeLayer::new(Arc::new(Anyone), limits, stop.clone());
        let builder = builder(&config.server).layer(edge);

        let tls = match (&config.tls.cert, &config.tls.key) {
            (Some(cert), Some(key)) => Some(tls(cert, key).await?),
            _ => None,
        };
        let (addr, listener) = bind(config.listen).await?;
        let socket = match &config.uds {
            Some(path) => Some(Socket::bind(path).await.map_err(|source| StartError::Socket {
                path: path.clone(),
                source,
            })?),
            None => None,
        };

        // Who attaches from now on was not left behind.
        let terms = beside
            .as_ref()
            .map_or_else(ReplicaTerms::alone, |beside| beside.terms.clone());
        service.join(&terms).await.map_err(StartError::Store)?;
        let tasks = TaskTracker::new();
        let connections_max = config.server.connections_max;
        let internal = beside.map(|beside| {
            let (addr, listener, routes) = beside.mounted(&service, sessions, bytes_max);
            let drain = stop.drain.clone();
            tasks.spawn(serve(builder.clone(), routes, listener, connections_max, drain));
            addr
        });
        let over_tcp = match tls {
            Some(tls) => builder.clone().tls_config(tls).map_err(StartError::Tls)?,
            None => builder.clone(),
        };
        tasks.spawn(serve(
            over_tcp,
            routes.clone(),
            listener,
            connections_max,
            stop.drain.clone(),
        ));
        let socket = socket.map(|(socket, listener)| {
            tasks.spawn(serve(
                builder,
                routes,
                listener,
                connections_max,
                stop.drain.clone(),
            ));
            socket
        });
        let interval = Duration::from_secs(config.upkeep.interval_s);
        let ticking = service.clone();
        tasks.spawn(async move { ticking.tick().await });
        let (telling, cut_off, joined) = (health.clone(), service.clone(), terms.clone());
        let drain = stop.drain.clone();
        tasks.spawn(async move { telling.follow(&cut_off, &joined, &drain).await });
        let staying = service.clone();
        let lease = AbortOnDropHandle::new(tokio::spawn(async move { staying.stay(&terms).await }));
        if config.search.enabled {
            let indexer = Indexer::new(store.clone(), clock.clone());
            tasks.spawn(indexer.run(stop.drain.clone()));
        }
        let upkeep = Upkeep::new(store.clone(), clock, ids).with_retention(retention);
        tasks.spawn(upkeep.run(interval, stop.drain.clone()));
        tasks.close();

        Ok(Running {
            addr,
            internal,
            socket,
            grace: Duration::from_secs(config.server.shutdown_grace_s),
            health,
            tasks,
            service,
            store,
            lease,
            _dropped: [stop.cut.clone().drop_guard(), stop.drain.clone().drop_guard()],
            stop,
        })
    }
}

impl Running {
    /// Where TCP is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where other replicas are answered, if the store can have others.
    pub fn internal_addr(&self) -> Option<SocketAddr> {
        self.internal
    }

    /// What is served, for a host that shares the process: it may attach engines of its own.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Ends the service in good order: see the module's page. Takes the grace of the configuration and two seconds at
    /// the most, and as long as the store needs to close.
    pub async fn shutdown(self) -> Drained {
        self.health.stop_serving().await;
        self.stop.drain.cancel();
        self.stop.calls.close();
        let (drained, ()) = tokio::join!(self.calls(), self.hand_over());
        // A client that is gone, or reads no more, keeps its connection open; it is left behind.
        let _ = timeout(CLOSING_TIME, self.tasks.wait()).await;
        // What does not end in time is as if the process had been killed there: the next start finds out.
        let _ = timeout(CLOSING_TIME, self.service.finish()).await;
        self.store.close().await;
        drop(self.socket);
        drained
    }

    /// Waits for the calls that have begun, and cuts off what is left after the grace.
    async fn calls(&self) -> Drained {
        if timeout(self.grace, self.stop.calls.wait()).await.is_ok() {
            Drained::Clean
        } else {
            let calls = self.stop.calls.len();
            self.stop.cut.cancel();
            // Ended calls leave at once, but one that is blocked on its client never hears of the end.
            let _ = timeout(CLOSING_TIME, self.stop.calls.wait()).await;
            Drained::CutOff { calls }
        }
    }

    /// Gives up the lease once nothing runs here that needs it: calls that still run do not, and others may carry on with
    /// resumes and engines.
    async fn hand_over(&self) {
        let _ = timeout(engine::DRAIN_TIME + CLOSING_TIME, self.service.finish()).await;
        self.lease.abort();
        // A lease that cannot be given up runs out.
        let _ = timeout(CLOSING_TIME, self.service.leave()).await;
    }
}

fn builder(config: &config::Server) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(config.max_concurrent_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(config.http2_keepalive_interval_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(config.http2_keepalive_timeout_s)))
        .http2_max_header_list_size(METADATA_BYTES_MAX)
}

async fn bind(addr: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let refused = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(refused)?;
    Ok((listener.local_addr().map_err(refused)?, listener))
}

async fn tls(cert: &PathBuf, key: &PathBuf) -> Result<ServerTlsConfig, StartError> {
    let read = async |path: &PathBuf| {
        let refused = |source| StartError::TlsFile {
            path: path.clone(),
            source,
        };
        tokio::fs::read(path).await.map_err(refused)
    };
    let identity = Identity::from_pem(read(cert).await?, read(key).await?);
    Ok(ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIME))
}

/// Serves connections of `listener` until `drain`, and the calls on them until they end.
async fn serve<L: listen::Listener>(
    builder: tonic::transport::Server<tower::layer::util::Stack<EdgeLayer, tower::layer::util::Identity>>,
    routes: Routes,
    listener: L,
    connections_max: usize,
    drain: CancellationToken,
) {
    let incoming = listen::accepted(listener, connections_max);
    let served = builder.serve_with_incoming_shutdown(routes.prepare(), incoming, drain.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = &error as &dyn std::error::Error, "serving failed");
    }
}

#[cfg(test)]
mod tests;
