//! Directories as objects (`dir/`): the mark that makes one, and the removal of those that carry none.
//!
//! The two may come from two servers, and must not cross. So both take the lock of the directory itself: who marks it shares
//! that and then looks whether the directory is still there; who removes it has it alone, over the look at the mark and the
//! removal. Where such locks are not to be had or do not reach the other server, whoever has removed a directory looks once
//! more, and makes one that was marked meanwhile again. Source: flock(2), rmdir(2).

use std::ffi::CString;
use std::time::Duration;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::lock::{self, Held};
use uring::{stat, time};

use super::bucket::{Bucket, readable};
use super::commit::{Committed, Current, Target, abandon, conflict, write_attributes};
use super::failure::{Doing, s3_error};
use super::flush;
use super::key_lock::Hold;
use super::metadata::document;
use super::metadata::record;
use super::metadata::view::Metadata;
use super::parents;
use super::path::KeyKind;
use super::reader;
use super::tree::{BENEATH, Tree};
use super::writer::VANISHED_TRIES;
use crate::s3::error::{Code, S3Error};
use crate::s3::precondition::WriteCondition;

/// How often the lock of a directory is asked for, a millisecond apart: a removal has it for as long as one `rmdir` takes.
const LOCK_TRIES: usize = 2_000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Makes a directory the object of its key (`dir/`).
///
/// Errors: as for a file; ServiceUnavailable while somebody holds the directory's lock.
pub async fn commit_directory(
    target: &Target<'_>,
    metadata: &Metadata,
    condition: &WriteCondition,
) -> Result<Committed, S3Error> {
    target.check_writable()?;
    let key = target.path.path().to_bytes();
    let locked = target.tree.shared.locks.lock(&target.bucket.stat, key, Hold::Exclusive).await;
    match target.current().await? {
        Current::Missing => condition.check(None)?,
        Current::Object(etag) => condition.check(Some(&etag))?,
        Current::Other => return Err(conflict()),
    }
    for _ in 0..VANISHED_TRIES {
        let (tree, bucket, mut made) = (target.tree, target.bucket, Vec::new());
        let place = parents::make_unless_failed(tree, bucket, target.path, target.identity, &mut made).await;
        let place = match place {
            Ok(place) => place,
            Err(error) => {
                // Pruning takes the lock of each, and this key's is one of them.
                drop(locked);
                parents::prune_made(tree, bucket, &made, target.identity).await;
                return Err(error);
            }
        };
        match mark(target, metadata, &place.directory).await {
            Ok(Some(modified_ns)) => {
                flush::settle(target.tree, place).await?;
                return Ok(Committed { etag: metadata.etag, size_bytes: 0, modified_ns });
            }
            // Another server has removed it; what is above may be what another write uses by now.
            Ok(None) => drop(flush::settle(target.tree, place).await),
            Err(error) => {
                drop(locked);
                abandon(target, place).await;
                return Err(error);
            }
        }
    }
    Err(s3_error(Doing::Place, Errno::NOENT))
}

/// Writes the attributes that make a directory an object; returns its time of last change, or none when the directory has
/// been removed.
async fn mark(target: &Target<'_>, metadata: &Metadata, directory: &File) -> Result<Option<i64>, S3Error> {
    let failed = |errno| s3_error(Doing::Place, errno);
    if !target.bucket.mount.keeps_attributes {
        let message =
            "this filesystem keeps no extended attributes, so a directory cannot be an object on it";
        return Err(S3Error::new(Code::NotImplemented).with_message(message));
    }
    // A description of its own: the lock ends with it.
    let opened = match readable(directory).await {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::STALE) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    let _held = lock(target.bucket, &opened).await?;
    let encoded = metadata.encode(KeyKind::Directory, 0, 0);
    let before = file::read_attribute_slow(&opened, document::XATTR, document::BYTES_MAX).await;
    // With its attributes the directory is the object: nothing takes a sidecar back.
    if let Err(error) = write_attributes(target, &opened, encoded).await {
        // The record that stands goes with the document that stood.
        if let Ok(before) = before {
            let _ = file::set_attribute(&opened, document::XATTR, before.into(), 0, target.identity).await;
        }
        return Err(error);
    }
    if !is_still_there(target, &opened).await.map_err(failed)? {
        return Ok(None);
    }
    Ok(Some(stat::stat_slow(&opened).await.map_err(failed)?.modified_ns))
}

/// Keeps others from removing a directory, where the filesystem has locks.
async fn lock(bucket: &Bucket, directory: &File) -> Result<Option<Held>, S3Error> {
    for _ in 0..LOCK_TRIES {
        match bucket.mount.try_lock(directory, lock::Hold::Shared).await {
            Ok(held) => return Ok(Some(held)),
            Err(Errno::AGAIN) => time::sleep(LOCK_PAUSE).await,
            Err(_) => return Ok(None),
        }
    }
    Err(S3Error::new(Code::ServiceUnavailable)
        .with_message("another program holds the lock of the directory"))
}

/// Whether the key still leads to a directory that is open.
async fn is_still_there(target: &Target<'_>, directory: &File) -> Result<bool, Errno> {
    let own = match stat::stat_slow(directory).await {
        Ok(own) if own.links > 0 => own,
        Ok(_) | Err(Errno::NOENT | Errno::STALE) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let opening =
        Opening { flags: libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let path = CString::from(target.path.path());
    match file::open(&target.bucket.directory, path, opening, target.identity).await {
        Ok(found) => Ok(stat::stat_slow(&found).await?.inode == own.inode),
        Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What became of a directory that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is gone.
    Gone,
    /// It is an object and stays.
    IsObject,
}

/// Removes an empty directory unless it is an object or becomes one; `place` is where it is.
///
/// Errors: ENOTEMPTY; EAGAIN while somebody marks it; the kernel's others.
pub(super) async fn remove_unless_object(
    tree: &Tree,
    bucket: &Bucket,
    (parent, name): (&File, CString),
    directory: &File,
    identity: Identity,
) -> Result<Removal, Errno> {
    // A description of its own: the lock ends with it.
    let opened = readable(directory).await?;
    let _held = match bucket.mount.try_lock(&opened, lock::Hold::Exclusive).await {
        Err(Errno::AGAIN) => return Err(Errno::AGAIN),
        held => held.ok(),
    };
    if reader::is_directory_object(&opened).await {
        return Ok(Removal::IsObject);
    }
    file::unlink(parent, name.clone(), libc::AT_REMOVEDIR, identity).await?;
    if !reader::is_directory_object(&opened).await {
        return Ok(Removal::Gone);
    }
    restore(tree, (parent, name), &opened, identity).await?;
    Ok(Removal::IsObject)
}

/// Makes a directory again that has become an object while it was being removed.
async fn restore(
    tree: &Tree,
    (parent, name): (&File, CString),
    removed: &File,
    identity: Identity,
) -> Result<(), Errno> {
    match file::make_directory(parent, name.clone(), tree.making.directory_mode, identity).await {
        Ok(()) => {}
        // Whoever marked it has seen that it was gone.
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let opened = file::open(parent, name, super::tree::own_directory_opening(), Identity::SERVER).await?;
    for (attribute, length_max) in
        [(document::XATTR, document::BYTES_MAX), (record::XATTR, record::BYTES_MAX)]
    {
        match file::read_attribute_slow(removed, attribute, length_max).await {
            Ok(value) => file::set_attribute(&opened, attribute, value.into(), 0, identity).await?,
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    flush::flush_directory(tree, &opened).await?;
    flush::flush_directory(tree, &readable(parent).await?).await
}
