//! Where the server would listen, and the files that say so.

use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::{Findings, is_writable, parent};
use crate::config::Config;

/// Bytes that the path of a unix socket may have.
const SOCKET_PATH_MAX: usize = 107;

/// Files that are open beside connections.
const OTHER_FILES: u64 = 64;

pub(super) fn look(config: &Config, found: &mut Findings) {
    let listen = config.listen;
    if listen.port() != 0
        && let Err(error) = TcpListener::bind(listen)
    {
        found.error("listen", format!("{listen} cannot be had: {error}"));
    }
    if config.insecure && !listen.ip().to_canonical().is_loopback() {
        let text = "is an address that other machines reach: whoever does may read and change everything";
        found.warning("listen", text);
        if config.tls.cert.is_none() {
            found.warning(
                "tls",
                "is not set: what passes between machines can be read on its way",
            );
        }
    }
    if let Some(path) = &config.uds {
        socket(path, found);
    }
    if let Some(path) = &config.ready_file {
        if path.is_dir() {
            found.error("ready_file", format!("{} is a folder", path.display()));
        }
        folder_of("ready_file", path, found);
    }
    let sockets = if config.uds.is_some() { 2 } else { 1 };
    let wanted = config.server.connections_max as u64 * sockets + OTHER_FILES;
    if let Some(files) = getrlimit(Resource::Nofile)
        .current
        .filter(|files| *files < wanted)
    {
        let text =
            format!("asks for {wanted} open files, of which this process may have {files} (ulimit -n)");
        found.warning("server.connections_max", text);
    }
}

fn socket(path: &Path, found: &mut Findings) {
    if path.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
        let text = format!("a socket's path has at most {SOCKET_PATH_MAX} bytes");
        found.error("uds", text);
    }
    folder_of("uds", path, found);
    match path.symlink_metadata() {
        Ok(there) if !there.file_type().is_socket() => {
            found.error("uds", format!("{} is a file that is no socket", path.display()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            found.error("uds", format!("another server listens at {}", path.display()));
        }
        // One that nobody listens to is replaced.
        Ok(_) | Err(_) => {}
    }
}

fn folder_of(key: &str, path: &Path, found: &mut Findings) {
    let folder = parent(path);
    if !folder.is_dir() {
        found.error(key, format!("there is no folder {}", folder.display()));
    } else if !is_writable(folder) {
        found.error(key, format!("this user may not write to {}", folder.display()));
    }
}
