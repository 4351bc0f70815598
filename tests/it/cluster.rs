//! Several replicas over one store: in one process, each in a runtime of its own that a test can kill or freeze, with
//! real gRPC between them. Nobody is told of what another one commits: everything that is seen here is found in the
//! store.

use std::sync::mpsc;

use sessiond::config::Config;
use sessiond::domain::Fence;
use sessiond::server::{Running, Server};
use sessiond::store::memory::Memory;
use tokio::runtime::{Builder, Runtime};

use crate::support::{Client, within};

mod fences;
mod resumes;
mod snapshots;
mod watches;

/// The secret of all of them.
const SECRET: &str = "known-to-replicas";

/// A replica that runs until it is killed, stopped or dropped, which is as being killed.
struct Replica {
    runtime: Option<Runtime>,
    running: Option<Running>,
    address: String,
    internal: String,
    fence: Fence,
}

/// A replica that stands still: nothing in it runs, its connections stay open.
struct Frozen {
    _thaw: mpsc::Sender<()>,
}

impl Replica {
    async fn start(store: &Memory, name: &str) -> Self {
        Self::start_with(store, name, |_| ()).await
    }

    async fn start_with(store: &Memory, name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.listen.set_port(0);
        config.search.enabled = false;
        config.engines.heartbeat_ms = 500;
        config.server.shutdown_grace_s = 5;
        config.cluster.name = Some(name.to_owned());
        config.cluster.lease_ms = 1_500;
        config.cluster.renew_ms = 200;
        config.cluster.secret_file = None;
        config.cluster.secret = Some(sessiond::cluster::Secret::parse(SECRET).unwrap());
        change(&mut config);
        // One thread: what blocks it freezes everything.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let view = std::sync::Arc::new(store.beside());
        let started = runtime.spawn(async move { Server::start(&config, view).await });
        let running = within("a replica starts", started).await.unwrap().unwrap();
        Self {
            address: running.addr().to_string(),
            internal: format!("http://{}", running.internal_addr().unwrap()),
            fence: running.service().fence().unwrap().unwrap(),
            runtime: Some(runtime),
            running: Some(running),
        }
    }

    async fn client(&self) -> Client {
        Client::connected(&self.address, None).await
    }

    /// A client of this replica, in the namespace of another one's.
    async fn client_of(&self, other: &Client) -> Client {
        self.client().await.in_namespace(other.namespace())
    }

    /// Ends it as SIGKILL would: nothing is said to anybody.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Stops it in good order.
    async fn stop(mut self) {
        let running = self.running.take().unwrap();
        let runtime = self.runtime.as_ref().unwrap();
        let stopped = runtime.spawn(async move { running.shutdown().await });
        within("a replica stops", stopped).await.unwrap();
    }

    /// Stops it as SIGSTOP would, until what is returned goes.
    async fn freeze(&self) -> Frozen {
        let (thaw, thawed) = mpsc::channel();
        let (frozen, entered) = tokio::sync::oneshot::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            frozen.send(()).unwrap();
            // Until the other end goes.
            let _ = thawed.recv();
        });
        within("the replica is frozen", entered).await.unwrap();
        Frozen { _thaw: thaw }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two replicas of one store.
async fn pair() -> (Memory, Replica, Replica) {
    let store = Memory::shared();
    let (a, b) = (
        Replica::start(&store, "a").await,
        Replica::start(&store, "b").await,
    );
    (store, a, b)
}
