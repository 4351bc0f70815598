//! A `sessiond` process under test: started, killed, stopped and started again on the same directory.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::Mutex;

use super::client::Client;
use super::wait::{DEADLINE, until};

/// Lines of the log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// What runs it: a command that executes the rest of its arguments.
    pub(crate) runner: Vec<String>,
    /// Where it listens, when not on any port of loopback.
    pub(crate) listen: Option<SocketAddr>,
    /// Where it keeps its data, when not in a folder of its own.
    pub(crate) data: Option<PathBuf>,
    /// The text of its configuration file, if it has one.
    pub(crate) config: String,
    /// More arguments.
    pub(crate) arguments: Vec<String>,
}

impl Setup {
    /// A server over a database, its data folder unused.
    pub(crate) fn on(url: &str) -> Self {
        Self {
            arguments: vec!["--store".to_owned(), url.to_owned()],
            ..Self::default()
        }
    }
}

/// A server process. Dropping it kills it; its log is shown if the test is failing, and must hold no panic.
#[derive(Debug)]
pub(crate) struct Server {
    folder: TempDir,
    setup: Setup,
    child: Option<Child>,
    address: String,
}

/// The server that most tests share: it lives as long as any test uses it.
static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

/// A client, in a namespace of its own, of the server that tests share.
pub(crate) async fn shared() -> Client {
    let mut shared = SHARED.lock().await;
    let server = match shared.upgrade() {
        Some(server) => server,
        None => {
            let server = Arc::new(Server::start().await);
            *shared = Arc::downgrade(&server);
            server
        }
    };
    let address = server.address.clone();
    Client::connected(&address, Some(server)).await
}

impl Server {
    /// Starts one on an empty directory.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Starts one as `setup` says.
    pub(crate) async fn start_with(setup: Setup) -> Self {
        let mut server = Self::stopped(setup);
        server.restart().await;
        server
    }

    /// One that has yet to be started.
    pub(crate) fn stopped(setup: Setup) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sessiond-it-")
            .tempdir()
            .expect("a folder");
        Self {
            folder,
            setup,
            child: None,
            address: String::new(),
        }
    }

    /// Starts it again on its directory, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let ready = self.folder.path().join("ready");
        drop(fs::remove_file(&ready));
        self.child = Some(self.launch(&ready));
        let child = self.child.as_mut().expect("it was just started");
        let start = Instant::now();
        self.address = loop {
            match fs::read_to_string(&ready) {
                Ok(line) if line.ends_with('\n') => break line.trim().to_owned(),
                Ok(_) | Err(_) => {}
            }
            if let Some(status) = child.try_wait().expect("its state can be asked for") {
                self.child = None;
                panic!("the server ended before it served: {status}\n{}", self.log());
            }
            assert!(start.elapsed() < DEADLINE, "the server does not get ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
    }

    /// Starts a process with the same setup that may fail to serve: for tests of starting.
    pub(crate) fn launch(&self, ready: &Path) -> Child {
        let program = env!("CARGO_BIN_EXE_sessiond");
        let mut runner = self.setup.runner.iter();
        let mut command = match runner.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(runner).arg(program);
                command
            }
            None => Command::new(program),
        };
        let listen = self.setup.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        command
            .args(["serve", "--listen", &listen.to_string(), "--data"])
            .arg(self.data())
            .arg("--ready-file")
            .arg(ready)
            .args(self.config())
            .args(&self.setup.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SESSIOND_")) {
            command.env_remove(name);
        }
        command.spawn().expect("the server starts")
    }

    /// Writes its configuration file, if it has one; the arguments that name it.
    fn config(&self) -> Vec<PathBuf> {
        if self.setup.config.is_empty() {
            return Vec::new();
        }
        let file = self.folder.path().join("config.toml");
        fs::write(&file, &self.setup.config).expect("a file can be written");
        vec!["--config".into(), file]
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server ends");
        }
    }

    /// Asks it to stop, with SIGTERM.
    pub(crate) fn terminate(&self) {
        signal(self.pid(), "-TERM");
    }

    /// Makes it stand still with SIGSTOP, and waits until it does. It goes on when what is returned goes.
    pub(crate) async fn pause(&self) -> Paused {
        let pid = self.pid();
        signal(pid, "-STOP");
        let paused = Paused { pid };
        until("the server stands still", async || {
            let mut asked = Command::new("ps");
            let state = asked.args(["-o", "state=", "-p", &pid.to_string()]).output();
            state.expect("ps runs").stdout.starts_with(b"T").then_some(())
        })
        .await;
        paused
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        until("the server ends", || {
            std::future::ready(child.try_wait().expect("its state can be asked for"))
        })
        .await
    }

    /// Stops it in peace.
    pub(crate) async fn stop(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "the server ended with {status}\n{}", self.log());
    }

    /// A client in a namespace of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connected(&self.address, None).await
    }

    /// A client in the namespace of another one, after a restart for example.
    pub(crate) async fn client_of(&self, earlier: &Client) -> Client {
        Client::connected(&self.address, None)
            .await
            .in_namespace(earlier.namespace())
    }

    /// Where it listens: `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> PathBuf {
        self.setup
            .data
            .clone()
            .unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// A folder that lives as long as the server, for a test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The same server, from its next start on with another setup, on the same data.
    pub(crate) fn with(mut self, setup: Setup) -> Self {
        self.setup = Setup {
            data: Some(self.data()),
            ..setup
        };
        self
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Shows the end of its log.
    pub(crate) fn show_log(&self) {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!(
            "the server's log, its last {} lines:\n{}",
            shown.len(),
            shown.join("\n")
        );
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// A process that stands still until this goes.
#[derive(Debug)]
pub(crate) struct Paused {
    pid: u32,
}

impl Drop for Paused {
    fn drop(&mut self) {
        // One that was killed meanwhile needs no more; its number is not given out again so soon.
        let mut sent = Command::new("kill");
        let sent = sent.args(["-CONT", &self.pid.to_string()]);
        let _ = sent.stderr(Stdio::null()).status();
    }
}

fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(
        sent.expect("kill runs").success(),
        "the server cannot be signalled"
    );
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let panicked = self.log().contains("panicked at");
        if std::thread::panicking() {
            self.show_log();
        } else {
            assert!(!panicked, "the server panicked:\n{}", self.log());
        }
    }
}
