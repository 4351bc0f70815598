//! Servers as child processes: sessiond itself, and the bare service.

use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// The argument by which this binary serves the bare service: then worker threads, ready file.
pub(crate) const SERVE_BARE: &str = "serve-bare";

/// How long a child may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server that is killed when this is dropped, and its data removed.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    address: String,
    folder: TempDir,
}

impl Child {
    /// sessiond, with an empty store.
    pub(crate) fn sessiond(workers: usize) -> Result<Self> {
        Self::sessiond_with(workers, &[])
    }

    /// The same, under these variables.
    pub(crate) fn sessiond_with(workers: usize, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = folder()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
        command
            .arg("serve")
            .env("SESSIOND_LISTEN", "127.0.0.1:0")
            .env("SESSIOND_DATA", folder.path().join("data"))
            .env("SESSIOND_READY_FILE", ready_file(&folder))
            .env("SESSIOND_LOG_FILTER", "error")
            .env("SESSIOND_SERVER_WORKER_THREADS", workers.to_string())
            .envs(variables.iter().copied());
        Self::start(command, folder)
    }

    /// The bare service.
    pub(crate) fn bare(workers: usize) -> Result<Self> {
        let folder = folder()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(SERVE_BARE)
            .arg(workers.to_string())
            .arg(ready_file(&folder));
        Self::start(command, folder)
    }

    fn start(mut command: Command, folder: TempDir) -> Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut child = Self {
            process,
            address: String::new(),
            folder,
        };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let said = std::fs::read_to_string(ready_file(&child.folder)).unwrap_or_default();
            if said.ends_with('\n') {
                child.address = said.trim().to_owned();
                return Ok(child);
            }
            let exited = child.process.try_wait()?;
            ensure!(exited.is_none(), "the server ended: {exited:?}");
            ensure!(Instant::now() < deadline, "the server is not ready in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it serves, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The bytes of memory that the server has.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .context("VmRSS in kB")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// The bytes that the store's pages in use take, in the log before the database or not.
    pub(crate) fn stored_bytes(&self) -> Result<i64> {
        self.bytes_of("sessiond.db")
    }

    /// The same of the search index.
    pub(crate) fn index_bytes(&self) -> Result<i64> {
        self.bytes_of("search.db")
    }

    fn bytes_of(&self, database: &str) -> Result<i64> {
        let database = self.folder.path().join("data").join(database);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(database, flags)?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder on the disk that the target folder is on: a temporary one may lie in memory, where nothing is durable.
pub(crate) fn folder() -> Result<TempDir> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(parent)?;
    Ok(tempfile::tempdir_in(parent)?)
}

fn ready_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ready")
}
