//! The directories above an object: finding the nearest that exists, making the missing ones, removing empty ones.
//!
//! A directory made here is marked, so that a delete which leaves it empty removes it; one that a POSIX user or a PUT of
//! `dir/` made is kept. Resolution goes through no link and never out of the bucket.
//! Source: openat2(2), mkdirat(2); DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use std::ffi::{CStr, CString};

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat;

use super::bucket::{Bucket, readable};
use super::commit;
use super::failure::{Doing, s3_error};
use super::key_lock::Hold;
use super::path::{KeyKind, KeyPath};
use super::reader;
use super::tree::{BENEATH, Tree, Unsettled};
use super::writer::VANISHED_TRIES;
use crate::s3::error::S3Error;

/// The mark of a directory that was made because a key needed it: its inode's number, so that `cp -a` of such a
/// directory, which copies the attribute, does not make another that a delete would remove.
pub const MARK: &CStr = c"user.s3.parent";
const MARK_BYTES: usize = 8;

const OPEN_PATH: Opening =
    Opening { flags: libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };

/// The directory a key lies in, and what has to be flushed before the key's name is durable.
pub struct Place {
    /// The directory, opened with O_PATH.
    pub directory: File,
    /// Directories above it that got a new entry, or may have got one that is not durable.
    pub changed: Vec<File>,
    // Held until the changed directories are flushed.
    _unsettled: Option<Unsettled>,
}

/// Finds the nearest directory on the way to a key that exists.
///
/// Shape: the directory, opened with O_PATH, and its path below the bucket (empty for the bucket itself).
/// Errors: ObjectTypeConflict when an object or a link stands where a directory is needed.
pub async fn nearest(
    bucket: &Bucket,
    path: &KeyPath,
    identity: Identity,
) -> Result<(File, CString), S3Error> {
    let Some(parent) = path.parent() else { return Ok((bucket.directory.clone(), CString::default())) };
    let mut parent = parent.to_bytes();
    loop {
        let own = CString::new(parent).expect("a key's path holds no NUL");
        match file::open(&bucket.directory, own.clone(), OPEN_PATH, identity).await {
            Ok(directory) => return Ok((directory, own)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(s3_error(Doing::Place, errno)),
        }
        match parent.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => parent = &parent[..slash],
            None => return Ok((bucket.directory.clone(), CString::default())),
        }
    }
}

/// Opens the directory a key lies in, if it is there.
pub async fn find(bucket: &Bucket, path: &KeyPath, identity: Identity) -> Result<File, Errno> {
    match path.parent() {
        None => Ok(bucket.directory.clone()),
        Some(parent) => file::open(&bucket.directory, CString::from(parent), OPEN_PATH, identity).await,
    }
}

/// Opens the directory a key lies in, making what is missing.
///
/// For the key of a directory (`dir/`) that directory is made too and is the one returned.
/// Errors: ObjectTypeConflict, those of the filesystem.
pub async fn make(
    tree: &Tree,
    bucket: &Bucket,
    path: &KeyPath,
    identity: Identity,
) -> Result<Place, S3Error> {
    let failed = |errno| s3_error(Doing::Place, errno);
    let whole = match path.kind() {
        KeyKind::File => path.parent(),
        KeyKind::Directory => Some(path.path()),
    };
    let Some(whole) = whole else {
        return Ok(Place { directory: bucket.directory.clone(), changed: Vec::new(), _unsettled: None });
    };
    match file::open(&bucket.directory, CString::from(whole), OPEN_PATH, identity).await {
        // Asked once the directory is open: whoever made it had announced it by then, or has made it durable.
        Ok(directory) if !tree.shared.has_unsettled() => {
            return Ok(Place { directory, changed: Vec::new(), _unsettled: None });
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    // Step by step, and all of the chain is flushed: another write may have made part of it a moment ago.
    let unsettled = tree.shared.begin_unsettled();
    let mut tries = VANISHED_TRIES;
    loop {
        tries -= 1;
        let mut changed = vec![bucket.directory.clone()];
        match extend(tree, &mut changed, path, identity).await {
            Ok(directory) => return Ok(Place { directory, changed, _unsettled: Some(unsettled) }),
            // A delete has removed a directory of the chain between two steps.
            Err(Errno::NOENT) if tries > 0 => {}
            Err(errno) => {
                // What was made stays, and the next write into it flushes nothing above.
                commit::settle_all(tree, &changed).await;
                return Err(failed(errno));
            }
        }
    }
}

/// Opens every directory from the bucket to the one asked for, making what is missing; those above it go to `chain`.
async fn extend(
    tree: &Tree,
    chain: &mut Vec<File>,
    path: &KeyPath,
    identity: Identity,
) -> Result<File, Errno> {
    let leaf = (path.kind() == KeyKind::Directory).then(|| path.leaf());
    for component in path.parent_components().chain(leaf) {
        let parent = chain.last().expect("the chain begins with the bucket");
        chain.push(step(tree, parent, component, identity).await?);
    }
    Ok(chain.pop().expect("the chain ends with the directory asked for"))
}

/// Opens one directory, making and marking it when it is missing.
async fn step(tree: &Tree, parent: &File, component: &CStr, identity: Identity) -> Result<File, Errno> {
    match file::open(parent, CString::from(component), OPEN_PATH, identity).await {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mode = tree.making.directory_mode;
    let made = file::make_directory(parent, CString::from(component), mode, identity).await;
    let directory = match made {
        // Another write was faster.
        Ok(()) | Err(Errno::EXIST) => {
            file::open(parent, CString::from(component), OPEN_PATH, identity).await?
        }
        Err(error) => return Err(error),
    };
    if made.is_ok() {
        // A filesystem without attributes keeps such directories for ever, which loses nothing.
        let opened = readable(&directory).await?;
        let mark = Box::from(stat::stat_slow(&opened).await?.inode.to_le_bytes());
        let _ = file::set_attribute(&opened, MARK, mark, 0, identity).await;
    }
    Ok(directory)
}

/// Removes the directories above a deleted key that were made for keys and are empty now.
///
/// Whatever stops it (a directory with entries, one that somebody made on purpose, an error) ends it quietly: an empty
/// directory that stays is no object.
pub async fn prune(tree: &Tree, bucket: &Bucket, path: &KeyPath, identity: Identity) {
    let Some(parent) = path.parent() else { return };
    let mut own = parent.to_bytes();
    loop {
        let (above, name) = match own.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&own[..slash], &own[slash + 1..]),
            None => (&b""[..], own),
        };
        // Alone with its key: a PUT of the directory marks it as an object either before the look or after the removal.
        let locked = tree.shared.locks.lock(bucket.stat.inode, own, Hold::Exclusive).await;
        let is_gone = prune_one(bucket, own, above, name, identity).await;
        drop(locked);
        if !is_gone || above.is_empty() {
            return;
        }
        own = above;
    }
}

async fn prune_one(bucket: &Bucket, own: &[u8], above: &[u8], name: &[u8], identity: Identity) -> bool {
    let c_text = |bytes: &[u8]| CString::new(bytes).expect("a key's path holds no NUL");
    let opening = super::tree::own_directory_opening();
    let Ok(directory) = file::open(&bucket.directory, c_text(own), opening, identity).await else {
        return false;
    };
    if !is_made_for_keys(&directory).await || reader::is_directory_object(&directory).await {
        return false;
    }
    let parent = if above.is_empty() {
        bucket.directory.clone()
    } else {
        match file::open(&bucket.directory, c_text(above), OPEN_PATH, identity).await {
            Ok(parent) => parent,
            Err(_) => return false,
        }
    };
    file::unlink(&parent, c_text(name), libc::AT_REMOVEDIR, identity).await.is_ok()
}

/// Whether a directory carries the mark that was made for it and not for one it was copied from.
async fn is_made_for_keys(directory: &File) -> bool {
    let Ok(mark) = file::read_attribute_slow(directory, MARK, MARK_BYTES).await else { return false };
    stat::stat_slow(directory).await.is_ok_and(|stat| mark == stat.inode.to_le_bytes())
}
