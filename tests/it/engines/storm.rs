//! Many engines and threads at once: snapshots, forks and resumes at random, engines that vanish and come back, a server
//! that is killed. No snapshot mixes two threads, no session has two, no resume claims READY wrongly, and every watcher
//! sees every end.
//!
//! A small one by default; `SESSIOND_ROUNDS` makes it 64 engines with 16 threads each, for so many rounds.

use std::sync::Arc;
use std::time::Duration;

use sessiond::client::Client as EngineClient;
use sessiond::client::engine::{Engine, Memory, Profile};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::build::{assistant, said, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{self, ResumeProgress, ResumeState, Thread, watch_resume_request::Target};
use crate::support::rng::Rng;
use crate::support::server::Setup;
use crate::support::{Client, Code, Server, Status, until, within};

/// Engines, threads of each, rounds, and what each actor does in a round: as CI has them.
const SMALL: [usize; 4] = [6, 4, 3, 4];

/// The same for a soak, but the rounds.
const LARGE: [usize; 4] = [64, 16, 0, 8];

fn size() -> [usize; 4] {
    let Ok(rounds) = std::env::var("SESSIOND_ROUNDS") else {
        return SMALL;
    };
    let [engines, threads, _, steps] = LARGE;
    let rounds: usize = rounds.parse().expect("SESSIOND_ROUNDS is a number");
    [engines, threads, rounds.div_ceil(10), steps]
}

/// An engine in a runtime of its own, which goes with everything in it when the engine is killed.
struct Host {
    id: String,
    runtime: Option<Runtime>,
    memory: Arc<Memory>,
    engine: Option<Engine>,
}

impl Host {
    async fn start(client: &Client, address: &str, id: &str) -> Self {
        let mut host = Self {
            id: id.to_owned(),
            runtime: None,
            memory: Arc::new(Memory::default()),
            engine: None,
        };
        host.attach(client, address).await;
        host
    }

    /// Attaches with what is in its memory.
    async fn attach(&mut self, client: &Client, address: &str) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (address, namespace) = (address.parse().unwrap(), client.namespace().to_owned());
        let (memory, id) = (self.memory.clone(), self.id.clone());
        let attached = runtime.spawn(async move {
            let connection = EngineClient::connect(&address, namespace).await.unwrap();
            Engine::attach(&connection, Profile::named(id), memory)
        });
        let engine = attached.await.unwrap();
        within("it attaches", engine.attached()).await.unwrap();
        self.runtime = Some(runtime);
        self.engine = Some(engine);
    }

    /// The process dies: nobody says goodbye. Its memory is what it had on disk.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.engine = None;
    }

    async fn changed(&self, thread: &str) {
        if let Some(engine) = &self.engine {
            engine.changed(thread).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Everything said in a thread begins with this.
fn label(engine: usize, thread: usize) -> String {
    format!("e{engine}-t{thread}")
}

/// What is read of a session was said in one thread.
async fn is_one_thread(client: &Client, session: &str) {
    let request = pb::ReadMessagesRequest {
        session_id: session.into(),
        view: pb::MessageView::Visible.into(),
        ..Default::default()
    };
    let Some(read) = expected(client.read_messages(request).await) else {
        return;
    };
    let labels: Vec<_> = read
        .iter()
        .map(|message| said(message).split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert!(
        labels.iter().all(|label| *label == labels[0]),
        "session {session} mixes threads: {labels:?}"
    );
}

/// What may be answered while engines and servers come and go.
fn is_to_be_expected(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::FailedPrecondition | Code::Aborted | Code::DeadlineExceeded => true,
        Code::NotFound => status.message().contains("hread"),
        // What a client's own transport says of a server that is gone.
        Code::Unknown | Code::Cancelled => true,
        _ => false,
    }
}

fn expected<T>(answer: Result<T, Status>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(status) if is_to_be_expected(&status) => None,
        Err(status) => panic!("{status:?}"),
    }
}

/// One turn in a thread's memory, then a snapshot of it; the session, if it came about.
async fn speak(client: &Client, host: &Host, thread: &str, number: u64) -> Option<String> {
    host.memory.begin(thread, &format!("turn-{number}"));
    host.memory.say(thread, user(&format!("{thread} asks {number}")));
    host.changed(thread).await;
    host.memory
        .say(thread, assistant(&format!("{thread} hears {number}")));
    host.memory.end(thread);
    host.changed(thread).await;
    let mut request = tonic::Request::new(pb::SnapshotFromEngineRequest {
        namespace: client.namespace().into(),
        thread_id: Some(thread.into()),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(5));
    let taken = expected(client.sessions().snapshot_from_engine(request).await)?;
    let session = taken.into_inner().session.unwrap();
    is_one_thread(client, &session.session_id).await;
    Some(session.session_id)
}

/// A fork of a session resumed, by whichever engine takes it, with somebody else watching.
async fn resumed(client: &Client, session: &str) -> Option<()> {
    let fork = expected(client.fork_or(session, Point::TurnsFromEnd(0)).await)?;
    let fork = fork.session.unwrap();
    let request = pb::ResumeRequest {
        namespace: client.namespace().into(),
        session_id: fork.session_id.clone(),
        ..Default::default()
    };
    let mut stream = expected(client.sessions().resume(request).await)?.into_inner();
    let first = expected(stream.message().await)??.progress.unwrap();
    let watching = watched(client.clone(), first.resume_id.clone());
    let asking = async {
        let mut last = first.clone();
        while let Ok(Some(answer)) = stream.message().await {
            last = answer.progress.unwrap();
        }
        last
    };
    let (asked, watched) = tokio::join!(within("the resume goes on", asking), watching);
    let end = watched?;
    if is_end(&asked) {
        assert_eq!(asked, end, "who asks and who watches see one end");
    }
    if end.state() == ResumeState::Ready {
        assert_eq!(end.items_written, end.items_total);
        let session = expected(client.session_or(&fork.session_id).await)?;
        assert_eq!(session.thread_id, end.thread_id, "a session has one thread");
        let request = pb::GetThreadRequest {
            thread_id: end.thread_id.clone(),
            ..Default::default()
        };
        let thread = expected(client.get_thread(request).await)?.thread.unwrap();
        assert_eq!(thread.session_id, fork.session_id);
    }
    Some(())
}

fn is_end(progress: &ResumeProgress) -> bool {
    matches!(
        progress.state(),
        ResumeState::Ready | ResumeState::Failed | ResumeState::Canceled
    )
}

/// Watches until the end, again where the stream breaks; `None`: the server has gone.
async fn watched(client: Client, resume_id: String) -> Option<ResumeProgress> {
    let request = pb::WatchResumeRequest {
        namespace: client.namespace().into(),
        target: Some(Target::ResumeId(resume_id)),
    };
    let mut stream = expected(client.sessions().watch_resume(request).await)?.into_inner();
    let mut last = None;
    let watch = async {
        loop {
            match stream.message().await {
                Ok(Some(answer)) => last = answer.progress,
                Ok(None) => {
                    let end = last.take().expect("the end comes before the end of the stream");
                    assert!(is_end(&end), "the stream ended early: {end:?}");
                    return Some(end);
                }
                Err(status) => return expected::<ResumeProgress>(Err(status)),
            }
        }
    };
    within("a watcher sees the end", watch).await
}

/// What one engine's threads do in a round.
async fn act(client: Client, host: Arc<Host>, threads: Vec<String>, steps: usize, mut rng: Rng) {
    for _ in 0..steps {
        let thread = &threads[rng.index(threads.len())];
        let number = rng.below(1_000_000);
        let Some(session) = speak(&client, &host, thread, number).await else {
            continue;
        };
        if rng.below(2) == 0 {
            let _ = resumed(&client, &session).await;
        }
    }
}

/// After the storm: no resume is left that runs, and each that is READY is where it says.
async fn settled(client: &Client) {
    let request = pb::ListResumesRequest {
        page_size: 500,
        ..Default::default()
    };
    let resumes = until("every resume has ended", || async {
        let request = pb::ListResumesRequest {
            namespace: client.namespace().into(),
            ..request.clone()
        };
        let listed = client
            .sessions()
            .list_resumes(request)
            .await
            .ok()?
            .into_inner()
            .resumes;
        listed.iter().all(is_end).then_some(listed)
    })
    .await;
    let ready: Vec<_> = resumes
        .iter()
        .filter(|resume| resume.state() == ResumeState::Ready)
        .collect();
    for resume in &ready {
        let session = client.session(&resume.session_id).await;
        assert_eq!(session.thread_id, resume.thread_id, "a session has one thread");
        let items = client.items(&resume.thread_id).await;
        assert!(
            !items.is_empty() || resume.items_total == 0,
            "a READY thread holds its session"
        );
        is_one_thread_or_empty(client, &resume.session_id).await;
    }
    eprintln!("{} resumes, {} of them READY", resumes.len(), ready.len());
}

async fn is_one_thread_or_empty(client: &Client, session: &str) {
    if client.session(session).await.message_count > 0 {
        is_one_thread(client, session).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_mixed_up_or_claimed_wrongly() {
    let [engines, threads, rounds, steps] = size();
    let mut rng = Rng::seeded();
    let folder = tempfile::tempdir().unwrap();
    // The socket's path stays, so that engines find the server again.
    let address = format!("unix:{}", folder.path().join("socket").display());
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[engines]\nheartbeat_ms = 500\n").unwrap();
    let arguments = [
        "--uds",
        address.trim_start_matches("unix:"),
        "--config",
        settings.to_str().unwrap(),
    ];
    let mut server = Server::start_with(Setup {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Default::default()
    })
    .await;
    let mut client = server.client().await;
    let mut hosts = Vec::new();
    for engine in 0..engines {
        let host = Host::start(&client, &address, &format!("engine-{engine}")).await;
        for thread in 0..threads {
            host.memory.add(Thread {
                thread_id: label(engine, thread),
                ..Default::default()
            });
            host.changed(&label(engine, thread)).await;
        }
        hosts.push(host);
    }
    for round in 0..rounds {
        let mut acting = JoinSet::new();
        let shared: Vec<Arc<Host>> = hosts.drain(..).map(Arc::new).collect();
        for (engine, host) in shared.iter().enumerate() {
            let names = (0..threads).map(|thread| label(engine, thread)).collect();
            acting.spawn(act(client.clone(), host.clone(), names, steps, rng.split()));
        }
        // In the last round everybody may finish.
        let last = round + 1 == rounds;
        if !last {
            tokio::time::sleep(Duration::from_millis(50 + rng.below(300))).await;
            server.kill();
        }
        while let Some(done) = acting.join_next().await {
            done.unwrap();
        }
        hosts = shared
            .into_iter()
            .map(|host| Arc::into_inner(host).expect("nobody else has it"))
            .collect();
        if last {
            break;
        }
        // Some engines die with the server, some before it is back; all attach again.
        for host in &mut hosts {
            if rng.below(3) == 0 {
                host.kill();
            }
        }
        server.restart().await;
        client = server.client_of(&client).await;
        for host in &mut hosts {
            match &host.engine {
                Some(engine) => drop(within("it attaches again", engine.attached()).await.unwrap()),
                None => host.attach(&client, &address).await,
            }
        }
    }
    settled(&client).await;
    drop(hosts);
    server.stop().await;
}
