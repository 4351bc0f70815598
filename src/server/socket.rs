//! The unix socket: a file that only its owner may connect to, there while it is served and gone afterwards.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The file of a bound socket; removed when dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Binds `path`. A socket there that nobody listens to, left behind by a crash, is replaced; one that answers, and
    /// anything that is no socket, is left alone.
    pub(super) async fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            Ok(_) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        "another server listens there",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Bound in a folder that nobody else can enter and moved from there, so that at no moment others may connect.
        let folder = Folder::beside(path)?;
        let bound = folder.0.join("s");
        let listener = UnixListener::bind(&bound)?;
        fs::set_permissions(&bound, Permissions::from_mode(0o600))?;
        fs::rename(&bound, path)?;
        let inode = inode(path)?;
        let path = path.to_owned();
        Ok((Self { path, inode }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Nobody could be told of a failure, and a socket left behind is replaced by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A folder of this process alone, removed when dropped. Its name is short, as a socket's path may have 107 bytes.
struct Folder(PathBuf);

impl Folder {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = format!(".{:x}", std::process::id());
        let folder = path.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_private_and_goes_with_its_server() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sock");
        let (socket, listener) = Socket::bind(&path).await.expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        UnixStream::connect(&path).await.expect("connected");
        let refused = Socket::bind(&path).await.expect_err("in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop((listener, socket));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn replaces_what_a_crash_left_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let (first, listener) = Socket::bind(&path).await.expect("bound over the stale one");
        drop(listener);
        let second = Socket::bind(&path).await.expect("bound once more");
        drop(first);
        assert!(path.exists(), "a server removes its own socket only");
        drop(second);
        fs::write(&path, "notes").expect("written");
        assert!(Socket::bind(&path).await.is_err());
        assert_eq!(fs::read_to_string(&path).expect("kept"), "notes");
    }
}
