//! The entries of a directory, of which one that has been removed meanwhile has none.
//!
//! A delete, here or on another server, may remove a directory between its opening and any read of it; the kernel then says
//! ENOENT, a network filesystem ESTALE. It sorts and filters nothing. Source: getdents64(2).

use uring::errno::Errno;
use uring::file::{self, Entry, File};

/// Whether an error of a directory that was open says that it has been removed.
pub(super) fn is_removed(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::STALE)
}

/// Reads the next entries of an open directory.
///
/// Shape: empty at the end, and when the directory has been removed.
/// Errors: the kernel's others.
pub(super) async fn read(directory: &File) -> Result<Vec<Entry>, Errno> {
    match file::read_directory(directory).await {
        Err(errno) if is_removed(errno) => Ok(Vec::new()),
        other => other,
    }
}
