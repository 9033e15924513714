//! Deleting: the name of an object goes, the directory is flushed, empty directories made for keys follow.
//!
//! What is no object is never removed: a delete of a directory without its slash, of a FIFO, of a key that breaks a rule
//! changes nothing and succeeds, as S3 has it. Source: DeleteObject; unlinkat(2).

use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::stat::{self, FileKind};

use super::bucket::readable;
use super::commit::Target;
use super::failure::{Doing, s3_error};
use super::flush;
use super::key_lock::Hold;
use super::metadata::record;
use super::parents;
use super::path::KeyKind;
use super::reader;
use super::tree::{BENEATH, Durability, own_directory_opening};
use super::writer::VANISHED_TRIES;
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
    let locked = target.tree.shared.locks.lock(&target.bucket.stat, key, hold).await;
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
    let Some(above) = directory_above(target).await? else {
        drop(locked);
        return flush_absence(target).await;
    };
    let removed = match target.path.kind() {
        KeyKind::File => remove_file(target, &above).await?,
        KeyKind::Directory => remove_directory(target, &above).await?,
    };
    drop(locked);
    // Also when nothing is gone: another delete may have taken the name away, and its flush may have failed or be under
    // way.
    flush::flush_names(target.tree, &above).await?;
    match removed {
        Removed::Gone => parents::prune(target.tree, target.bucket, target.path, target.identity).await,
        Removed::Nothing => {}
    }
    Ok(())
}

/// Makes it durable that the directory of a name is not there: another delete may have emptied and removed it a moment ago.
async fn flush_absence(target: &Target<'_>) -> Result<(), S3Error> {
    if target.tree.making.durability < Durability::Full {
        return Ok(());
    }
    let open = async || {
        let (nearest, _) = parents::nearest_there(target.bucket, target.path, target.identity).await?;
        readable(&nearest).await
    };
    let mut last = Errno::NOENT;
    for _ in 0..VANISHED_TRIES {
        match open().await {
            Ok(nearest) => return flush::flush_names(target.tree, &nearest).await,
            // A file, a link or another mount has the place: no name was ever below it.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            // That one has gone too.
            Err(errno @ (Errno::NOENT | Errno::STALE)) => last = errno,
            Err(errno) => return Err(s3_error(Doing::Remove, errno)),
        }
    }
    // The bucket itself, or somebody removes faster than this looks.
    Err(s3_error(Doing::FindBucket, last))
}

/// The directory that the name is in, if it is there; opened such that it can be flushed, before a name in it goes.
async fn directory_above(target: &Target<'_>) -> Result<Option<File>, S3Error> {
    let opened = async {
        let found = parents::find(target.bucket, target.path, target.identity).await?;
        match target.tree.making.durability {
            Durability::Full => readable(&found).await,
            Durability::Data | Durability::None => Ok(found),
        }
    };
    match opened.await {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(errno) => Err(s3_error(Doing::Remove, errno)),
    }
}

/// What a delete has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removed {
    /// A name is gone, so its directory may be empty now.
    Gone,
    /// No name is gone.
    Nothing,
}

async fn remove_file(target: &Target<'_>, above: &File) -> Result<Removed, S3Error> {
    let failed = |errno| s3_error(Doing::Remove, errno);
    let leaf = CString::from(target.path.leaf());
    let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let kind = match file::open(above, leaf.clone(), opening, target.identity).await {
        Ok(found) => stat::stat_slow(&found).await.map_err(failed)?.kind,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    };
    if kind != FileKind::Regular {
        return Ok(Removed::Nothing);
    }
    match file::unlink(above, leaf, 0, target.identity).await {
        Ok(()) => Ok(Removed::Gone),
        // Another delete, or a directory that took the name meanwhile.
        Err(Errno::NOENT | Errno::ISDIR) => Ok(Removed::Nothing),
        Err(errno) => Err(failed(errno)),
    }
}

/// Whether what was looked for is there, as what it was looked for.
fn is_there(looked: Result<(), Errno>) -> Result<bool, Errno> {
    match looked {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes the mark of a directory object away; the directory itself goes when nothing is in it.
async fn remove_directory(target: &Target<'_>, above: &File) -> Result<Removed, S3Error> {
    let failed = |errno| s3_error(Doing::Remove, errno);
    let leaf = CString::from(target.path.leaf());
    let opened = file::open(above, leaf.clone(), own_directory_opening(), target.identity).await;
    let directory = match opened {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Removed::Nothing),
        Err(errno) => return Err(failed(errno)),
    };
    let mut removed = Removed::Nothing;
    let object =
        reader::open_below(target.tree, above, leaf.clone(), KeyKind::Directory, target.identity).await;
    if is_there(object.map(drop)).map_err(failed)? {
        // An empty record decodes to none, so this ends the object whether or not the directory can go.
        let unmarked = file::set_attribute(&directory, record::XATTR, Box::default(), 0, target.identity);
        unmarked.await.map_err(failed)?;
        match file::unlink(above, leaf, libc::AT_REMOVEDIR, target.identity).await {
            Ok(()) => removed = Removed::Gone,
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    if removed == Removed::Nothing {
        flush::flush_names(target.tree, &directory).await?;
    }
    Ok(removed)
}
