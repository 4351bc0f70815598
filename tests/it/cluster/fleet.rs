//! Three replicas as processes over one database, each on a host of its own where network namespaces are to be had,
//! every wire between them and to the database one that can be cut; and clients that reach any of them, as through a
//! plain load balancer.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sessiond::domain::Time;
use sessiond::store::Store as _;
use sessiond::store::postgres::{Options, Postgres};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::SECRET;
use crate::support::rng::Rng;
use crate::support::server::{Paused, Setup};
use crate::support::wait::DEADLINE;
use crate::support::{Client, Cluster, Code, Failure, Link, Network, Server, until};

/// How many there are.
pub(super) const REPLICAS: usize = 3;

/// How long a client waits for an answer, and for a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client that was not answered waits before it asks the next replica.
const PAUSE: Duration = Duration::from_millis(10);
/// How soon a client asks whether a silent connection lives, and gives it up.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// The replicas and their database.
pub(super) struct Fleet {
    cluster: Arc<Cluster>,
    pub(super) balancer: Balancer,
    replicas: Vec<Member>,
    /// The hosts; without them replicas reach each other by wires of their own.
    network: Option<Network>,
    /// The store, to see whose lease runs.
    store: Postgres,
}

/// One replica, with the wires that lead to it and from it.
struct Member {
    name: String,
    server: Server,
    /// What other replicas reach it by, if they are on one host.
    peers: Option<Link>,
    /// What it reaches the database by.
    database: Link,
    paused: Option<Paused>,
}

impl Fleet {
    /// Starts all of it.
    pub(super) async fn start() -> Self {
        let cluster = Arc::new(Cluster::start());
        let network = Network::of(REPLICAS);
        eprintln!("replicas have hosts of their own: {}", network.is_some());
        let mut replicas = Vec::new();
        for at in 0..REPLICAS {
            replicas.push(Member::start(&cluster, network.as_ref(), at).await);
        }
        let options = Options {
            lanes: 1,
            readers: 1,
            ..Options::default()
        };
        let url = cluster.url().parse().expect("a URL");
        let store = Postgres::open(&url, &options).await.expect("a store");
        let balancer = Balancer::new(replicas.iter().map(|member| member.server.address().to_owned()));
        Self {
            cluster,
            balancer,
            replicas,
            network,
            store,
        }
    }

    /// Kills one with SIGKILL.
    pub(super) fn kill(&mut self, at: usize) {
        self.replicas[at].server.kill();
    }

    /// Stops one with SIGTERM, and waits until it has ended.
    pub(super) async fn stop(&mut self, at: usize) {
        self.replicas[at].server.stop().await;
    }

    /// Starts one again.
    pub(super) async fn restart(&mut self, at: usize) {
        self.replicas[at].server.restart().await;
        let address = self.replicas[at].server.address().to_owned();
        self.balancer.moved(at, &address);
    }

    /// Makes one stand still.
    pub(super) async fn pause(&mut self, at: usize) {
        self.replicas[at].paused = Some(self.replicas[at].server.pause().await);
    }

    /// Lets it go on.
    pub(super) fn go_on(&mut self, at: usize) {
        self.replicas[at].paused = None;
    }

    /// Kills the database, while calls go on.
    pub(super) async fn crash_database(&self) {
        let cluster = self.cluster.clone();
        tokio::task::spawn_blocking(move || cluster.crash())
            .await
            .unwrap();
    }

    /// Starts it again.
    pub(super) async fn recover_database(&self) {
        let cluster = self.cluster.clone();
        tokio::task::spawn_blocking(move || cluster.recover())
            .await
            .unwrap();
    }

    /// The wire by which one reaches the database.
    pub(super) fn database_of(&self, at: usize) -> &Link {
        &self.replicas[at].database
    }

    /// Lets no replica reach another one, or lets them all.
    pub(super) fn part(&self, apart: bool) {
        if let Some(network) = &self.network {
            network.part(apart);
        }
        for link in self.replicas.iter().filter_map(|member| member.peers.as_ref()) {
            if apart {
                link.cut();
            } else {
                link.mend();
            }
        }
    }

    /// Waits until one's lease does not run, or until it does.
    pub(super) async fn lives(&self, at: usize, lives: bool) {
        let name = &self.replicas[at].name;
        until("a lease runs, or runs out", async || {
            let members = self.store.members(Time(0)).await.ok()?;
            let mut replicas = members.replicas.iter();
            let found = replicas.find(|replica| replica.id.as_str() == name);
            (found.is_some_and(|replica| replica.lives(members.clock)) == lives).then_some(())
        })
        .await;
    }

    /// Stops all of them, each in good order.
    pub(super) async fn end(mut self) {
        for at in 0..REPLICAS {
            self.stop(at).await;
        }
    }
}

impl Member {
    async fn start(cluster: &Cluster, network: Option<&Network>, at: usize) -> Self {
        let here = IpAddr::from([127, 0, 0, 1]);
        let host = network.map_or(here, |network| network.address(at));
        let internal = SocketAddr::new(host, free_port());
        let peers = match network {
            Some(_) => None,
            None => Some(Link::from(here, internal).await),
        };
        let advertise = peers.as_ref().map_or(internal, Link::address);
        let url = cluster.url();
        let authority = url.split(['@', '/']).nth(3).expect("a host and a port");
        let target = authority.parse().expect("an address");
        let database = Link::from(network.map_or(here, Network::gateway), target).await;
        let through = url.replace(authority, &database.address().to_string());
        let name = format!("replica-{at}");
        let config = format!(
            "insecure = true\n[engines]\nheartbeat_ms = 500\n\
             [server]\nshutdown_grace_s = 5\n[cluster]\nname = '{name}'\nlisten = '{internal}'\n\
             advertise = '{advertise}'\nlease_ms = 1500\nrenew_ms = 200\nsecret = '{SECRET}'\n"
        );
        let setup = Setup {
            config,
            listen: Some(SocketAddr::new(host, 0)),
            runner: network.map(|network| network.runner(at)).unwrap_or_default(),
            ..Setup::on(&through)
        };
        Self {
            name,
            server: Server::start_with(setup).await,
            peers,
            database,
            paused: None,
        }
    }
}

/// A port that is free, and stays the replica's over all its starts: none of those that Linux gives to whoever asks for
/// any port, or calls somebody.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..30_000))
        .find(is_free)
        .expect("a port")
}

/// Gives each call to one of the replicas, dead or alive, and counts what is answered.
#[derive(Clone)]
pub(super) struct Balancer {
    namespace: String,
    replicas: Arc<Mutex<Vec<Client>>>,
    answers: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
}

impl Balancer {
    fn new(addresses: impl Iterator<Item = String>) -> Self {
        let replicas: Vec<_> = addresses.map(|address| Client::over(channel(&address))).collect();
        Self {
            namespace: replicas[0].namespace().to_owned(),
            replicas: Arc::new(Mutex::new(replicas)),
            answers: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// The same replicas, in another namespace.
    pub(super) fn in_namespace(&self, namespace: String) -> Self {
        Self {
            namespace,
            ..self.clone()
        }
    }

    fn moved(&self, at: usize, address: &str) {
        self.replicas.lock().unwrap()[at] = Client::over(channel(address));
    }

    /// One of the replicas.
    pub(super) fn any(&self, rng: &mut Rng) -> Client {
        let replicas = self.replicas.lock().unwrap();
        replicas[rng.index(replicas.len())].in_namespace(&self.namespace)
    }

    /// Calls any of them once: what it answered or refused, or why that is not known.
    pub(super) async fn ask<T>(
        &self,
        rng: &mut Rng,
        call: &mut impl AsyncFnMut(Client) -> Result<T, Status>,
    ) -> Result<Result<T, Failure>, Status> {
        match call(self.any(rng)).await {
            Ok(answer) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                Ok(Ok(answer))
            }
            Err(status) => match refusal(&status) {
                Some(failure) => Ok(Err(failure)),
                None => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    Err(status)
                }
            },
        }
    }

    /// Calls one after the other, until there is an answer.
    pub(super) async fn insist<T>(
        &self,
        rng: &mut Rng,
        mut call: impl AsyncFnMut(Client) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        loop {
            match self.ask(rng, &mut call).await {
                Ok(answer) => return answer,
                Err(status) => assert!(start.elapsed() < DEADLINE, "still no answer: {status:?}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until so many more calls are answered.
    pub(super) async fn answered(&self, more: u64) {
        grown("calls are answered", &self.answers, more).await;
    }

    /// Waits until so many more calls fail.
    pub(super) async fn failed(&self, more: u64) {
        grown("calls fail", &self.failures, more).await;
    }
}

async fn grown(what: &str, counter: &AtomicU64, more: u64) {
    let due = counter.load(Ordering::Relaxed) + more;
    until(what, async || {
        (counter.load(Ordering::Relaxed) >= due).then_some(())
    })
    .await;
}

/// A connection that is made when it is needed, and given up when it is silent.
fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy()
}

/// What the service refused; `None` where nobody knows what became of the call, or it may be made again as it was.
fn refusal(status: &Status) -> Option<Failure> {
    // Without details it is the connection that says so: broken, refused, or silent for too long.
    if status.details().is_empty() {
        return None;
    }
    let failure = Failure::of(status);
    match failure.code {
        Code::Unavailable | Code::DeadlineExceeded if failure.reason != "ENGINE_FAULT" => None,
        // The engine is on its way to another replica.
        Code::FailedPrecondition if ["ENGINE_NOT_ATTACHED", "NO_ENGINE"].contains(&&*failure.reason) => None,
        _ => Some(failure),
    }
}
