//! The data folder: whether it can be written to, who has it, what lies in it, and how much room is left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Findings, is_writable, with_causes};
use crate::store::sqlite::{Look, OpenError};

const KEY: &str = "data";

/// Bytes without which there is no beginning: the write-ahead log grows to half of it.
const SPACE_MIN: u64 = 128 * 1024 * 1024;

/// Bytes below which somebody should think of the disk.
const SPACE_SMALL: u64 = 1024 * 1024 * 1024;

/// Looks at the data folder; the look, if it has a database.
pub(super) fn look(folder: &Path, found: &mut Findings) -> Option<Look> {
    let nearest = folder.ancestors().find(|folder| folder.exists());
    let nearest = nearest.unwrap_or(Path::new("."));
    if !nearest.is_dir() {
        found.error(KEY, format!("{} is no folder", nearest.display()));
        return None;
    }
    if !is_writable(nearest) {
        found.error(KEY, format!("this user may not write to {}", nearest.display()));
    }
    room(nearest, found);
    if !folder.exists() {
        return None;
    }
    match Look::is_taken(folder) {
        Ok(false) => {}
        Ok(true) => found.error(KEY, format!("another process serves {}", folder.display())),
        Err(error) => found.error(KEY, with_causes(&error)),
    }
    let mode = folder.metadata().map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        let text = format!("{} is open to other users: chmod 700", folder.display());
        found.warning(KEY, text);
    }
    match Look::at(folder) {
        Ok(look) => return Some(look),
        // It is made at the start.
        Err(OpenError::Missing { .. }) => {}
        Err(error) => found.error(KEY, with_causes(&error)),
    }
    None
}

fn room(folder: &Path, found: &mut Findings) {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!(
        "{} MiB are free on the disk of {}",
        free / (1024 * 1024),
        folder.display()
    );
    if free < SPACE_MIN {
        found.error(KEY, text);
    } else if free < SPACE_SMALL {
        found.warning(KEY, text);
    }
    // Some file systems do not count their files.
    if disk.f_files > 0 && disk.f_favail < 16 {
        found.error(
            KEY,
            format!("no more files fit on the disk of {}", folder.display()),
        );
    }
}
