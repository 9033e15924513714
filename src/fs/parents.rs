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
use super::directory_object::{self, Removal};
use super::failure::{Doing, s3_error};
use super::flush;
use super::key_lock::Hold;
use super::path::{KeyKind, KeyPath};
use super::tree::{BENEATH, Durability, Tree, Unsettled};
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
    /// The directory: open for reading where it is to be flushed, else with O_PATH.
    pub directory: File,
    /// Directories above it that got a new entry, or may have got one that is not durable; opened as it is.
    pub changed: Vec<File>,
    /// Directories that were made for this write, the deepest last.
    pub(super) made: Vec<Made>,
    /// Ends when all of them are flushed.
    pub(super) unsettled: Option<Unsettled>,
}

/// A directory that one write has made.
pub(super) struct Made {
    // Below the bucket.
    path: Vec<u8>,
    inode: u64,
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
    nearest_there(bucket, path, identity).await.map_err(|errno| s3_error(Doing::Place, errno))
}

/// The same; errors are the kernel's.
pub(super) async fn nearest_there(
    bucket: &Bucket,
    path: &KeyPath,
    identity: Identity,
) -> Result<(File, CString), Errno> {
    let Some(parent) = path.parent() else { return Ok((bucket.directory.clone(), CString::default())) };
    let mut parent = parent.to_bytes();
    loop {
        let own = CString::new(parent).expect("a key's path holds no NUL");
        match file::open(&bucket.directory, own.clone(), OPEN_PATH, identity).await {
            Ok(directory) => return Ok((directory, own)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
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
/// For the key of a directory (`dir/`) that directory is made too and is the one returned. Where names are promised to last,
/// all that is to be flushed is open for that already: a directory opened only after a name was put into it may have lost
/// the error of writing it, and opening it may fail.
/// Errors: ObjectTypeConflict, those of the filesystem.
pub async fn make(
    tree: &Tree,
    bucket: &Bucket,
    path: &KeyPath,
    identity: Identity,
) -> Result<Place, S3Error> {
    let mut made = Vec::new();
    let place = make_unless_failed(tree, bucket, path, identity, &mut made).await;
    if place.is_err() {
        prune_made(tree, bucket, &made, identity).await;
    }
    place
}

/// The same, for those who hold the lock of the key: after an error `made` is what they have to prune without it.
pub(super) async fn make_unless_failed(
    tree: &Tree,
    bucket: &Bucket,
    path: &KeyPath,
    identity: Identity,
    made: &mut Vec<Made>,
) -> Result<Place, S3Error> {
    let failed = |errno| s3_error(Doing::Place, errno);
    let whole = match path.kind() {
        KeyKind::File => path.parent(),
        KeyKind::Directory => Some(path.path()),
    };
    let Some(whole) = whole else {
        return Ok(Place::existing(for_flush(tree, bucket.directory.clone()).await.map_err(failed)?));
    };
    match file::open(&bucket.directory, CString::from(whole), OPEN_PATH, identity).await {
        // Asked once the directory is open: whoever made it had announced it by then, or has made it durable.
        Ok(directory) if !tree.shared.has_unsettled() => match for_flush(tree, directory).await {
            Ok(directory) => return Ok(Place::existing(directory)),
            Err(Errno::NOENT | Errno::STALE) => {}
            Err(errno) => return Err(failed(errno)),
        },
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    // Step by step, and all of the chain is flushed: another write may have made part of it a moment ago.
    let unsettled = tree.shared.begin_unsettled();
    let mut tries = VANISHED_TRIES;
    loop {
        tries -= 1;
        let mut changed = Vec::new();
        match extend(tree, bucket, (&mut changed, made), path, identity).await {
            Ok(directory) => {
                let made = std::mem::take(made);
                return Ok(Place { directory, changed, made, unsettled: Some(unsettled) });
            }
            // A delete has removed a directory of the chain between two steps.
            Err(Errno::NOENT | Errno::STALE) if tries > 0 => {}
            Err(errno) => {
                // What another write has put something into stays, and the next one flushes nothing above.
                if flush::settle_all(tree, &changed).await.is_ok() {
                    unsettled.settled();
                }
                return Err(failed(errno));
            }
        }
    }
}

impl Place {
    fn existing(directory: File) -> Place {
        Place { directory, changed: Vec::new(), made: Vec::new(), unsettled: None }
    }
}

/// A directory that was opened with O_PATH, as it can be flushed if it is going to be: under the server's own identity, for
/// whoever may write a directory may still be unable to open it for reading.
async fn for_flush(tree: &Tree, directory: File) -> Result<File, Errno> {
    match tree.making.durability {
        Durability::Full => readable(&directory).await,
        Durability::Data | Durability::None => Ok(directory),
    }
}

/// Opens every directory from the bucket to the one asked for, making what is missing; those above it go to `chain`, those
/// that are new to `made`.
async fn extend(
    tree: &Tree,
    bucket: &Bucket,
    (chain, made): (&mut Vec<File>, &mut Vec<Made>),
    path: &KeyPath,
    identity: Identity,
) -> Result<File, Errno> {
    chain.push(for_flush(tree, bucket.directory.clone()).await?);
    let leaf = (path.kind() == KeyKind::Directory).then(|| path.leaf());
    let mut own = Vec::new();
    for component in path.parent_components().chain(leaf) {
        let parent = chain.last().expect("the chain begins with the bucket");
        let (directory, inode) = step(tree, parent, component, identity).await?;
        own.extend_from_slice(component.to_bytes());
        made.extend(inode.map(|inode| Made { path: own.clone(), inode }));
        own.push(b'/');
        chain.push(for_flush(tree, directory).await?);
    }
    Ok(chain.pop().expect("the chain ends with the directory asked for"))
}

/// Opens one directory, making and marking it when it is missing; with its inode's number when it was.
async fn step(
    tree: &Tree,
    parent: &File,
    component: &CStr,
    identity: Identity,
) -> Result<(File, Option<u64>), Errno> {
    match file::open(parent, CString::from(component), OPEN_PATH, identity).await {
        Err(Errno::NOENT) => {}
        other => return other.map(|directory| (directory, None)),
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
    if made.is_err() {
        return Ok((directory, None));
    }
    // A filesystem without attributes keeps such directories for ever, which loses nothing.
    let opened = readable(&directory).await?;
    let inode = stat::stat_slow(&opened).await?.inode;
    let _ = file::set_attribute(&opened, MARK, Box::from(inode.to_le_bytes()), 0, identity).await;
    Ok((directory, Some(inode)))
}

/// Removes the directories that were made for a write which has failed, as far as they are empty.
///
/// Those that somebody else made stay, a POSIX user or another write that may be about to use them. Quiet, as [`prune`].
pub(super) async fn prune_made(tree: &Tree, bucket: &Bucket, made: &[Made], identity: Identity) {
    for Made { path, inode } in made.iter().rev() {
        if !prune_locked(tree, bucket, path, Some(*inode), identity).await {
            return;
        }
    }
}

/// Removes the directories above a deleted key that were made for keys and are empty now.
///
/// Whatever stops it (a directory with entries, one that somebody made on purpose, an error) ends it quietly: an empty
/// directory that stays is no object.
pub async fn prune(tree: &Tree, bucket: &Bucket, path: &KeyPath, identity: Identity) {
    let Some(parent) = path.parent() else { return };
    let mut own = parent.to_bytes();
    while prune_locked(tree, bucket, own, None, identity).await {
        match own.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => own = &own[..slash],
            None => return,
        }
    }
}

/// Removes one directory that was made for keys and is empty, if it is the one asked for; whether it is gone.
async fn prune_locked(
    tree: &Tree,
    bucket: &Bucket,
    own: &[u8],
    inode: Option<u64>,
    identity: Identity,
) -> bool {
    if !bucket.mount.prunes() {
        return false;
    }
    // Alone with its key: on this server a PUT of the directory comes either before the look or after the removal.
    let _locked = tree.shared.locks.lock(&bucket.stat, own, Hold::Exclusive).await;
    let (above, name) = match own.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&own[..slash], &own[slash + 1..]),
        None => (&b""[..], own),
    };
    let c_text = |bytes: &[u8]| CString::new(bytes).expect("a key's path holds no NUL");
    let opening = super::tree::own_directory_opening();
    let Ok(directory) = file::open(&bucket.directory, c_text(own), opening, identity).await else {
        return false;
    };
    let Some(found) = inode_of_made(&directory).await else { return false };
    if inode.is_some_and(|inode| inode != found) {
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
    let place = (&parent, c_text(name));
    let removed = directory_object::remove_unless_object(tree, bucket, place, &directory, identity).await;
    removed == Ok(Removal::Gone)
}

/// The inode of a directory that carries the mark which was made for it, and not for one it was copied from.
async fn inode_of_made(directory: &File) -> Option<u64> {
    let mark = file::read_attribute_slow(directory, MARK, MARK_BYTES).await.ok()?;
    let inode = stat::stat_slow(directory).await.ok()?.inode;
    (mark == inode.to_le_bytes()).then_some(inode)
}
