//! Names that last: the one place where a directory is flushed, what is flushed for a new name, and what follows when that
//! fails.
//!
//! A name that is there, or is gone, says nothing about whether it lasts: whoever is told so flushes for himself. An EIO
//! is never taken back, for the kernel reports it once and a second flush succeeds; it stops all later writes to its
//! mount. Files' content is not its business. Source: fsync(2).

use std::sync::Arc;

use uring::errno::Errno;
use uring::file::{self, File, Sync};
use uring::lane::Lane;
use uring::stat;

use super::commit::Target;
use super::failure::{Doing, s3_error};
use super::mount::{Mount, MountKey};
use super::parents::{self, Place};
use super::tree::{Durability, Tree};
use crate::s3::error::{Code, S3Error};

/// Refuses to write where nothing more can be promised.
///
/// Errors: ServiceUnavailable on a mount whose directories could not be flushed, NotImplemented where they never can be.
pub(super) fn check_writable(tree: &Tree, mount: &Mount) -> Result<(), S3Error> {
    if tree.making.durability < Durability::Full {
        return Ok(());
    }
    if mount.is_suspect() {
        let message = "writes to this filesystem are stopped because a directory could not be made durable";
        return Err(S3Error::new(Code::ServiceUnavailable).with_message(message));
    }
    if !mount.syncs_directories {
        let message =
            "the bucket's filesystem cannot flush directories, so no write to it can be promised to last";
        return Err(S3Error::new(Code::NotImplemented).with_message(message));
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
        let key = stat::stat_slow(directory).await.ok().map(|stat| MountKey::of(&stat));
        suspect(&tree.shared.mounts(), key, directory.lane());
    }
    flushed
}

/// Stops writes to the mount of a directory that could not be flushed. Of one inside of a bucket nothing is known, but that
/// its directories are in the lane of the bucket's mount, which writes to it are asked of.
fn suspect(mounts: &[Arc<Mount>], key: Option<MountKey>, lane: Lane) {
    let all_that = |is_it: &dyn Fn(&Mount) -> bool| {
        let found: Vec<_> = mounts.iter().filter(|mount| is_it(mount)).collect();
        (!found.is_empty()).then_some(found)
    };
    let suspects = all_that(&|mount| key == Some(mount.key))
        .or_else(|| all_that(&|mount| mount.key.lane(mount.reach()) == lane))
        // Every one may be it.
        .unwrap_or_else(|| mounts.iter().collect());
    suspects.into_iter().for_each(|mount| mount.suspect());
}

/// Makes the names in a directory durable before a request is answered.
///
/// Errors: those of the filesystem, as the client is told.
pub(super) async fn flush_names(tree: &Tree, directory: &File) -> Result<(), S3Error> {
    flush_directory(tree, directory).await.map_err(|errno| s3_error(Doing::Flush, errno))
}

/// Makes the name of an object durable that a commit which did not come to its end has published; not on a mount that has
/// failed to do so once.
pub(super) async fn settle_again(target: &Target<'_>) -> Result<(), S3Error> {
    target.check_writable()?;
    // While something is unsettled the whole chain of directories is walked, and so flushed.
    let unsettled = target.tree.shared.begin_unsettled();
    let settled = async {
        let place = parents::make(target.tree, target.bucket, target.path, target.identity).await?;
        settle(target.tree, place).await
    }
    .await;
    if settled.is_ok() {
        unsettled.settled();
    }
    settled
}

/// Makes a new name durable: its directory, then the directories above that got entries. When that fails they stay unsettled,
/// and whoever writes next flushes them again: what this request has left may be what the next one finds and builds on.
pub(super) async fn settle(tree: &Tree, mut place: Place) -> Result<(), S3Error> {
    if tree.making.durability == Durability::Full {
        for directory in std::iter::once(&place.directory).chain(place.changed.iter().rev()) {
            flush_names(tree, directory).await?;
        }
    }
    if let Some(unsettled) = place.unsettled.take() {
        unsettled.settled();
    }
    Ok(())
}

/// Flushes directories that nobody is promised anything about yet, all of them; an error that matters stops later writes.
///
/// Errors: the first of the kernel's.
pub(super) async fn settle_all(tree: &Tree, directories: &[File]) -> Result<(), Errno> {
    let mut first = Ok(());
    for directory in directories.iter().rev() {
        let flushed = flush_directory(tree, directory).await;
        first = first.and(flushed);
    }
    first
}
