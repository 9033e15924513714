//! Names that last: the one place where a directory is flushed, and what follows when that fails.
//!
//! A name that is there, or is gone, says nothing about whether it lasts: whoever is told so flushes for himself. An EIO
//! is never taken back, for the kernel reports it once and a second flush succeeds; it stops all later writes to its
//! mount. Files' content is not its business. Source: fsync(2).

use uring::errno::Errno;
use uring::file::{self, File, Sync};
use uring::stat;

use super::failure::{Doing, s3_error};
use super::mount::Mount;
use super::tree::{Durability, Tree};
use crate::s3::error::{Code, S3Error};

/// Refuses to write where nothing more can be promised.
///
/// Errors: ServiceUnavailable on a mount whose directories could not be flushed.
pub(super) fn check_writable(tree: &Tree, mount: &Mount) -> Result<(), S3Error> {
    if mount.is_suspect() && tree.making.durability == Durability::Full {
        let message = "writes to this filesystem are stopped because a directory could not be made durable";
        return Err(S3Error::new(Code::ServiceUnavailable).with_message(message));
    }
    Ok(())
}

/// Makes the names in a directory durable where that is promised; the directory is open for reading.
///
/// Errors: the kernel's; after EIO the mount takes no more writes.
pub(super) async fn flush_directory(tree: &Tree, directory: &File) -> Result<(), Errno> {
    if tree.making.durability < Durability::Full {
        return Ok(());
    }
    let flushed = file::sync(directory, Sync::Everything).await;
    if flushed == Err(Errno::IO) {
        let id = stat::stat_slow(directory).await.ok().map(|stat| stat.mount_id);
        // Where even that is not to be learned, every mount may be the one.
        let suspects = tree.shared.mounts().into_iter().filter(|mount| id.is_none_or(|id| id == mount.id));
        suspects.for_each(|mount| mount.suspect());
    }
    flushed
}

/// Makes the names in a directory durable before a request is answered.
///
/// Errors: those of the filesystem, as the client is told.
pub(super) async fn flush_names(tree: &Tree, directory: &File) -> Result<(), S3Error> {
    flush_directory(tree, directory).await.map_err(|errno| s3_error(Doing::Flush, errno))
}
