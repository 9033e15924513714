//! Deleting: the name of an object goes, the directory is flushed, empty directories made for keys follow.
//!
//! What is no object is never removed: a delete of a directory without its slash, of a FIFO, of a key that breaks a rule
//! changes nothing and succeeds, as S3 has it. Source: DeleteObject; unlinkat(2).

use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, Opening};
use uring::stat::{self, FileKind};

use super::bucket::readable;
use super::commit::{self, Target};
use super::failure::{Doing, s3_error};
use super::key_lock::Hold;
use super::metadata::record;
use super::parents;
use super::path::KeyKind;
use super::reader;
use super::tree::{BENEATH, Durability};
use crate::s3::error::S3Error;
use crate::s3::precondition::WriteCondition;

/// Deletes the object of a key, if there is one.
///
/// Errors: PreconditionFailed, NoSuchKey for a condition on a key that is not there, AccessDenied.
pub async fn delete(target: &Target<'_>, condition: &WriteCondition) -> Result<(), S3Error> {
    target.check_writable()?;
    let hold = match condition {
        WriteCondition::Unconditional => Hold::Shared,
        WriteCondition::Absent | WriteCondition::Present | WriteCondition::Matches(_) => Hold::Exclusive,
    };
    let key = target.path.path().to_bytes();
    let (locks, inode) = (&target.tree.shared.locks, target.bucket.stat.inode);
    let locked = locks.lock(inode, key, hold).await;
    if *condition != WriteCondition::Unconditional {
        let path = CString::from(target.path.path());
        let found = reader::open_below(
            target.tree,
            &target.bucket.directory,
            path,
            target.path.kind(),
            target.identity,
        )
        .await;
        match found {
            Ok(object) => condition.check(Some(&object.etag()))?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR) => condition.check(None)?,
            Err(errno) => return Err(s3_error(Doing::Find, errno)),
        }
    }
    let removed = match target.path.kind() {
        KeyKind::File => remove_file(target).await?,
        KeyKind::Directory => remove_directory(target).await?,
    };
    drop(locked);
    match removed {
        Removed::Gone => parents::prune(target.tree, target.bucket, target.path, target.identity).await,
        // Another delete may have taken the name away and not have flushed that yet; it holds the lock until it has.
        Removed::Nothing => drop(locks.lock(inode, key, Hold::Exclusive).await),
    }
    Ok(())
}

/// What a delete has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removed {
    /// A name is gone, so its directory may be empty now.
    Gone,
    /// No name is gone.
    Nothing,
}

async fn remove_file(target: &Target<'_>) -> Result<Removed, S3Error> {
    let failed = |errno| s3_error(Doing::Remove, errno);
    let directory = match parents::find(target.bucket, target.path, target.identity).await {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    };
    let leaf = CString::from(target.path.leaf());
    let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let kind = match file::open(&directory, leaf.clone(), opening, target.identity).await {
        Ok(found) => stat::stat_slow(&found).await.map_err(failed)?.kind,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    };
    if kind != FileKind::Regular {
        return Ok(Removed::Nothing);
    }
    match file::unlink(&directory, leaf, 0, target.identity).await {
        Ok(()) => {}
        // Another delete, or a directory that took the name meanwhile.
        Err(Errno::NOENT | Errno::ISDIR) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    }
    if target.tree.making.durability == Durability::Full {
        commit::flush_directory(target.bucket, &directory).await?;
    }
    Ok(Removed::Gone)
}

/// Takes the mark of a directory object away; the directory itself goes when nothing is in it.
async fn remove_directory(target: &Target<'_>) -> Result<Removed, S3Error> {
    let failed = |errno| s3_error(Doing::Remove, errno);
    let path = CString::from(target.path.path());
    let opened =
        reader::open_below(target.tree, &target.bucket.directory, path, KeyKind::Directory, target.identity)
            .await;
    let object = match opened {
        Ok(object) => object,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    };
    let directory = match parents::find(target.bucket, target.path, target.identity).await {
        Ok(directory) => directory,
        Err(errno) => return Err(failed(errno)),
    };
    let leaf = CString::from(target.path.leaf());
    // An empty record decodes to none, so this ends the object whether or not the directory can go.
    let unmarked = file::set_attribute(&object.file, record::XATTR, Box::default(), 0, target.identity);
    unmarked.await.map_err(failed)?;
    let removed = match file::unlink(&directory, leaf, libc::AT_REMOVEDIR, target.identity).await {
        Ok(()) => Removed::Gone,
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Removed::Nothing,
        Err(errno) => return Err(failed(errno)),
    };
    if target.tree.making.durability == Durability::Full {
        if removed == Removed::Nothing {
            let opened = readable(&object.file).await.map_err(failed)?;
            file::sync(&opened, file::Sync::Everything)
                .await
                .map_err(|errno| s3_error(Doing::Flush, errno))?;
        }
        commit::flush_directory(target.bucket, &directory).await?;
    }
    Ok(removed)
}
