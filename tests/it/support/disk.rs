//! A small disk of its own for a server: one that can be full, made larger, or read-only.
//!
//! It is a tmpfs. Root mounts it; anyone else gets it in a user namespace of their own, where the server then runs too.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::server::Setup;

/// A mounted disk; dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: TempDir,
    holder: Option<Child>,
}

impl Disk {
    /// A disk of so many KiB.
    pub(crate) fn of(kib: u64) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sessiond-disk-")
            .tempdir()
            .expect("a folder");
        let options = format!("size={kib}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "sessiond-it"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Self { folder, holder: None };
        }
        let holder = hold(folder.path(), &options);
        Self {
            folder,
            holder: Some(holder),
        }
    }

    /// Mounts it anew with other options, `size=…` or `ro` for example.
    pub(crate) fn remount(&self, options: &str) {
        let mut command = self.command("mount");
        // With type and source named, no earlier option is taken over: ids among them mean nothing in a namespace.
        let status = command
            .args(["-t", "tmpfs", "-o", &format!("remount,{options}"), "sessiond-it"])
            .arg(self.folder.path())
            .status();
        assert!(
            status.expect("mount runs").success(),
            "the disk cannot be mounted anew with {options}"
        );
    }

    /// A server that keeps its data on this disk.
    pub(crate) fn setup(&self) -> Setup {
        let runner = self.runner();
        Setup {
            runner,
            data: Some(self.data()),
            ..Setup::default()
        }
    }

    /// Fills what is left of it with a file; returns the file's place, to be removed with `free`.
    pub(crate) fn fill(&self) -> PathBuf {
        let file = self.folder.path().join("filler");
        let mut command = self.command("dd");
        command
            .arg("if=/dev/zero")
            .arg(format!("of={}", file.display()))
            .arg("bs=4k");
        // dd fails, as it is meant to: there is no space left when it stops.
        let _full = command.stderr(Stdio::null()).status().expect("dd runs");
        file
    }

    /// Removes a file on it.
    pub(crate) fn free(&self, file: &Path) {
        let status = self.command("rm").arg(file).status();
        assert!(status.expect("rm runs").success(), "the file cannot be removed");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut words = self.runner();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn runner(&self) -> Vec<String> {
        let Some(holder) = &self.holder else {
            return Vec::new();
        };
        let target = holder.id().to_string();
        [
            "nsenter",
            "--user",
            "--mount",
            "--preserve-credentials",
            "--target",
            &target,
        ]
        .map(String::from)
        .to_vec()
    }
}

/// Mounts the disk in namespaces that live as long as the process that is returned.
fn hold(folder: &Path, options: &str) -> Child {
    const MOUNT: &str = r#"mount -t tmpfs -o "$1" sessiond-it "$0" && echo mounted && exec cat"#;
    let holder = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT])
        .arg(folder)
        .arg(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut holder = holder.expect("unshare runs");
    let mut line = String::new();
    let stdout = holder.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("its output can be read");
    assert_eq!(
        line.trim(),
        "mounted",
        "this test mounts a small tmpfs: run it as root, or where user namespaces are permitted"
    );
    holder
}

impl Drop for Disk {
    fn drop(&mut self) {
        match &mut self.holder {
            Some(holder) => {
                drop(holder.kill());
                drop(holder.wait());
            }
            None => drop(
                Command::new("umount")
                    .arg("--lazy")
                    .arg(self.folder.path())
                    .status(),
            ),
        }
    }
}
