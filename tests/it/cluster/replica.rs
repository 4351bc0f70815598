//! A replica under test, which can be killed, stopped, and made to stand still.

use std::fs;
use std::sync::{Arc, mpsc};

use sessiond::config::Config;
use sessiond::domain::{Fence, Time};
use sessiond::server::{self, Running};
use sessiond::store::memory::Memory;
use tokio::runtime::{Builder, Runtime};

use super::{Grounds, SECRET};
use crate::support::server::{Paused, Setup};
use crate::support::{Client, Server, within};

/// How often engines of a replica have to be heard of, in ms.
const HEARTBEAT: u64 = 500;

/// A replica that runs until it is killed, stopped or dropped, which is as being killed.
pub(super) struct Replica {
    host: Host,
    address: String,
    /// Where other replicas reach it.
    pub(super) internal: String,
    /// What its writes carry.
    pub(super) fence: Fence,
}

/// What it runs in.
enum Host {
    /// A runtime of its own in the test's process; none when it was killed. What runs goes after it.
    Runtime(Option<Runtime>, Option<Running>),
    /// A process.
    Process(Server),
}

/// A replica that stands still: nothing in it runs, its connections stay open. It goes on when this is dropped.
pub(super) enum Frozen {
    Runtime { _thaw: mpsc::Sender<()> },
    Process { _thaw: Paused },
}

/// What all replicas of tests are told: leases that run out soon.
fn configured(name: &str, heartbeat_ms: u64) -> String {
    format!(
        "listen = '127.0.0.1:0'\n[search]\nenabled = false\n[engines]\nheartbeat_ms = {heartbeat_ms}\n\
         [server]\nshutdown_grace_s = 20\n\
         [cluster]\nname = '{name}'\nlease_ms = 2500\nrenew_ms = 200\nsecret = '{SECRET}'\n"
    )
}

impl Replica {
    /// Starts one.
    pub(super) async fn start(grounds: &Grounds, name: &str) -> Self {
        Self::start_beating(grounds, name, HEARTBEAT).await
    }

    /// Starts one that hears from its engines so often, in ms.
    pub(super) async fn start_beating(grounds: &Grounds, name: &str, heartbeat_ms: u64) -> Self {
        let config = configured(name, heartbeat_ms);
        let (host, address) = match grounds {
            Grounds::Memory(memory) => in_process(memory, &config).await,
            Grounds::Database { schema, .. } => as_process(schema.url(), &config).await,
        };
        let members = grounds.store().members(Time(0)).await.expect("they are listed");
        let mut replicas = members.replicas.iter();
        let joined = replicas.find(|replica| replica.id.as_str() == name);
        let joined = joined.expect("it has joined before it serves");
        Self {
            host,
            address,
            internal: format!("http://{}", joined.address),
            fence: joined.fence(),
        }
    }

    pub(super) async fn client(&self) -> Client {
        Client::connected(&self.address, None).await
    }

    /// A client of this replica, in the namespace of another one's.
    pub(super) async fn client_of(&self, other: &Client) -> Client {
        self.client().await.in_namespace(other.namespace())
    }

    /// Ends it with SIGKILL, or as that would: nothing is said to anybody.
    pub(super) fn kill(&mut self) {
        match &mut self.host {
            Host::Runtime(runtime, _) => {
                if let Some(runtime) = runtime.take() {
                    runtime.shutdown_background();
                }
            }
            Host::Process(server) => server.kill(),
        }
    }

    /// Stops it in good order.
    pub(super) async fn stop(mut self) {
        match &mut self.host {
            Host::Runtime(runtime, running) => {
                let running = running.take().expect("it runs");
                let runtime = runtime.as_ref().expect("it runs");
                let stopped = runtime.spawn(running.shutdown());
                within("a replica stops", stopped).await.unwrap();
            }
            Host::Process(server) => server.stop().await,
        }
    }

    /// Stops it as SIGSTOP does, until what is returned goes.
    pub(super) async fn freeze(&self) -> Frozen {
        match &self.host {
            Host::Runtime(runtime, _) => {
                let (thaw, thawed) = mpsc::channel();
                let (frozen, entered) = tokio::sync::oneshot::channel();
                let runtime = runtime.as_ref().expect("it runs");
                runtime.spawn(async move {
                    frozen.send(()).unwrap();
                    // Until the other end goes.
                    let _ = thawed.recv();
                });
                within("the replica is frozen", entered).await.unwrap();
                Frozen::Runtime { _thaw: thaw }
            }
            Host::Process(server) => Frozen::Process {
                _thaw: server.pause().await,
            },
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a replica in a runtime of its own; where it is reached.
async fn in_process(memory: &Memory, config: &str) -> (Host, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, config).expect("a file can be written");
    let config = Config::load(Some(&file), [], |_| ()).expect("a configuration");
    // One thread: what blocks it freezes everything.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let view = Arc::new(memory.beside());
    let started = runtime.spawn(async move { server::Server::start(&config, view).await });
    let running = within("a replica starts", started).await.unwrap().unwrap();
    let address = running.addr().to_string();
    (Host::Runtime(Some(runtime), Some(running)), address)
}

/// Starts a replica as a process; where it is reached.
async fn as_process(url: &str, config: &str) -> (Host, String) {
    let server = Server::start_with(Setup {
        config: config.to_owned(),
        ..Setup::on(url)
    })
    .await;
    let address = server.address().to_owned();
    (Host::Process(server), address)
}
