//! The commit recipe, the only place where an object gets its name.
//!
//! In this order: all attributes into the nameless file (a document too long for one into a sidecar, durable first), flush of the file, missing parents, the name (link; over an
//! existing object a temporary name and rename), flush of the directories. A 200 may follow only the last step. Leave one
//! out and acknowledged keys vanish, roll back or tear; the tests of each step fail then.
//! Source: linkat(2), renameat2(2), fsync(2); about 9,100 simulated power cuts on ext4, XFS and btrfs.

use std::ffi::{CStr, CString};

use uring::errno::Errno;
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::stat::{self, FileKind};

use super::bucket::Bucket;
use super::failure::{Doing, s3_error};
use super::flush;
use super::inflight;
use super::key_lock::Hold;
use super::metadata::document;
use super::metadata::record;
use super::metadata::view::{Encoded, Metadata};
use super::overflow::{self, Pending};
use super::parents::{self, Place};
use super::path::{KeyKind, KeyPath};
use super::reader;
use super::tree::{BENEATH, Durability, Tree};
use super::writer::{self, Staged, TemporaryName, VANISHED_TRIES};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::precondition::{WriteCondition, precondition_failed};

/// Where an object is to appear.
pub struct Target<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its bucket.
    pub bucket: &'a Bucket,
    /// Its key as a path.
    pub path: &'a KeyPath,
    /// Who writes it.
    pub identity: Identity,
}

/// An object that has its name; events and audit hang here.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// Its ETag.
    pub etag: ETag,
    /// Its size.
    pub size_bytes: u64,
    /// Its time of last change. Units: nanoseconds since 1970.
    pub modified_ns: i64,
}

/// What an existing name means for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    /// It is replaced.
    Replace,
    /// It wins.
    Keep,
}

impl Target<'_> {
    /// Refuses to write where nothing more can be promised.
    ///
    /// Errors: ServiceUnavailable on a mount whose directories could not be flushed.
    pub fn check_writable(&self) -> Result<(), S3Error> {
        flush::check_writable(self.tree, &self.bucket.mount)
    }

    /// Fails early on a condition that cannot hold and on a name that something else has; the commit checks again.
    ///
    /// Errors: PreconditionFailed, NoSuchKey (If-Match of a missing key), ObjectTypeConflict.
    pub async fn check_early(&self, condition: &WriteCondition) -> Result<(), S3Error> {
        self.check_writable()?;
        match self.current().await? {
            Current::Missing => condition.check(None),
            Current::Object(etag) => condition.check(Some(&etag)),
            Current::Other => Err(conflict()),
        }
    }

    /// What has the key's name now.
    pub(super) async fn current(&self) -> Result<Current, S3Error> {
        let path = CString::from(self.path.path());
        let identity = self.identity;
        let directory = &self.bucket.directory;
        for _ in 0..VANISHED_TRIES {
            match reader::open_below(self.tree, directory, path.clone(), self.path.kind(), identity).await {
                Ok(object) => return Ok(Current::Object(object.etag())),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP) => {
                    if let Some(current) = self.not_an_object(path.clone()).await? {
                        return Ok(current);
                    }
                }
                // The writer may not read what is there: only a condition needs that.
                Err(Errno::ACCES | Errno::PERM) => return Ok(Current::Missing),
                Err(errno) => return Err(s3_error(Doing::Find, errno)),
            }
        }
        Err(s3_error(Doing::Find, Errno::AGAIN))
    }

    /// What has the name instead of an object; `None` when an object took it between the two looks.
    async fn not_an_object(&self, path: CString) -> Result<Option<Current>, S3Error> {
        let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
        match file::open(&self.bucket.directory, path, opening, self.identity).await {
            Ok(found) => {
                let stat = stat::stat_slow(&found).await.map_err(|errno| s3_error(Doing::Find, errno))?;
                match (self.path.kind(), stat.kind) {
                    // A directory that is there becomes the object.
                    (KeyKind::Directory, FileKind::Directory) => Ok(Some(Current::Missing)),
                    (KeyKind::File, FileKind::Regular) => Ok(None),
                    _ => Ok(Some(Current::Other)),
                }
            }
            Err(Errno::NOENT) => Ok(Some(Current::Missing)),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(Some(Current::Other)),
            Err(errno) => Err(s3_error(Doing::Find, errno)),
        }
    }
}

/// What a key's name leads to.
pub(super) enum Current {
    /// Nothing, or a directory that can become the object.
    Missing,
    /// An object.
    Object(ETag),
    /// Something that is no object and is not replaced.
    Other,
}

pub(super) fn conflict() -> S3Error {
    S3Error::new(Code::ObjectTypeConflict)
}

/// Why an object is not committed.
pub(super) struct Uncommitted {
    /// What the client is told.
    pub(super) error: S3Error,
    /// Whether the object has its name all the same.
    pub(super) name: Name,
}

/// Whether an object that is not committed has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It has, and nobody knows whether that will last.
    Given,
    /// It has none.
    NotGiven,
}

impl From<S3Error> for Uncommitted {
    fn from(error: S3Error) -> Uncommitted {
        Uncommitted { error, name: Name::NotGiven }
    }
}

/// Publishes a staged file as the object of its key.
///
/// Errors: PreconditionFailed, ObjectTypeConflict, InsufficientStorage, InternalError; the file is gone then and what the
/// key had before is unharmed, except that after a failed flush of a directory the new object may stay visible.
pub async fn commit(
    target: &Target<'_>,
    staged: Staged,
    metadata: &Metadata,
    condition: &WriteCondition,
) -> Result<Committed, S3Error> {
    try_commit(target, staged, metadata, condition).await.map_err(|failed| failed.error)
}

/// As [`commit`]; the error says too whether the object has its name.
pub(super) async fn try_commit(
    target: &Target<'_>,
    staged: Staged,
    metadata: &Metadata,
    condition: &WriteCondition,
) -> Result<Committed, Uncommitted> {
    target.check_writable()?;
    let stat = stamp(target, staged.file()).await?;
    let encoded = metadata.encode(KeyKind::File, stat.size_bytes, stat.modified_ns);
    let mut sidecar = None;
    if target.bucket.mount.keeps_attributes {
        sidecar = write_attributes(target, staged.file(), encoded).await?;
    }
    if target.tree.making.durability >= Durability::Data {
        flush(staged.file(), Sync::Content).await?;
    }
    sidecar.iter_mut().for_each(Pending::keep);
    match name(target, staged, condition).await {
        Ok(place) => {
            let settled = flush::settle(target.tree, place).await;
            settled.map_err(|error| Uncommitted { error, name: Name::Given })?;
        }
        Err(error) => {
            drop_sidecar(sidecar).await;
            return Err(error.into());
        }
    }
    let etag = if target.bucket.mount.keeps_attributes { metadata.etag } else { synthetic(&stat) };
    Ok(Committed { etag, size_bytes: stat.size_bytes, modified_ns: stat.modified_ns })
}

/// Brings a file to the time that its record will vouch for, and returns its state.
///
/// Where all writes of one tick are stamped alike, a POSIX write right behind the commit could leave the time as it is. So
/// it becomes one that no later write is stamped with: a nanosecond before that of the last write. Where times are coarser,
/// the filesystem rounds that down to the step before.
async fn stamp(target: &Target<'_>, file: &File) -> Result<stat::Stat, S3Error> {
    let failed = |errno| s3_error(Doing::Write, errno);
    let mount = &target.bucket.mount;
    if mount.writes_late() {
        flush(file, Sync::Content).await?;
    }
    let stat = stat::stat_slow(file).await.map_err(failed)?;
    if mount.stamps_finely() || !mount.keeps_attributes {
        return Ok(stat);
    }
    match file::set_modified(file, stat.modified_ns.saturating_sub(1), target.identity).await {
        Ok(()) => stat::stat_slow(file).await.map_err(failed),
        // It stays as it was before there was a remedy.
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::PERM) => Ok(stat),
        Err(errno) => Err(failed(errno)),
    }
}

/// The ETag a reader will see where no attribute can be kept.
fn synthetic(stat: &stat::Stat) -> ETag {
    super::metadata::view::synthetic_etag(&super::metadata::view::FileState {
        kind: KeyKind::File,
        inode: stat.inode,
        size_bytes: stat.size_bytes,
        mtime_ns: stat.modified_ns,
        ctime_ns: stat.changed_ns,
    })
}

/// Writes both attributes; a document that the filesystem refuses for its size goes to a sidecar, which is returned.
///
/// Errors: those of the filesystem; InsufficientStorage when there is no room for the sidecar either.
pub(super) async fn write_attributes(
    target: &Target<'_>,
    file: &File,
    encoded: Encoded,
) -> Result<Option<Pending>, S3Error> {
    let failed = |errno| s3_error(Doing::Write, errno);
    let Encoded { record, document } = encoded;
    // The document may take the room that the record needs, so both decide.
    let refused = match set_attributes(file, document.as_deref(), &record, target.identity).await {
        Ok(()) => return Ok(None),
        Err(errno) => errno,
    };
    let Some(document) = document.filter(|_| overflow::is_size_refused(refused)) else {
        return Err(failed(refused));
    };
    let mut sidecar = overflow::write(target, &document).await?;
    if target.path.kind() == KeyKind::Directory {
        // It may be an object already, and then it refers to the sidecar even if the record cannot be written.
        sidecar.keep();
    }
    let reference = sidecar.reference().encode();
    set_attributes(file, Some(&reference), &record, target.identity).await.map_err(failed)?;
    Ok(Some(sidecar))
}

async fn set_attributes(
    file: &File,
    document: Option<&[u8]>,
    record: &[u8],
    identity: Identity,
) -> Result<(), Errno> {
    if let Some(document) = document {
        file::set_attribute(file, document::XATTR, document.into(), 0, identity).await?;
    }
    file::set_attribute(file, record::XATTR, record.into(), 0, identity).await
}

/// Removes the sidecar of an object that did not get its name.
async fn drop_sidecar(sidecar: Option<Pending>) {
    if let Some(sidecar) = sidecar {
        sidecar.remove().await;
    }
}

async fn flush(file: &File, what: Sync) -> Result<(), S3Error> {
    // An error is final for this inode: it is dropped, never flushed again.
    file::sync(file, what).await.map_err(|errno| s3_error(Doing::Flush, errno))
}

/// Gives the file its name, in its directory as it is now.
async fn name(target: &Target<'_>, mut staged: Staged, condition: &WriteCondition) -> Result<Place, S3Error> {
    for _ in 0..VANISHED_TRIES {
        let place = parents::make(target.tree, target.bucket, target.path, target.identity).await?;
        match name_in(target, &mut staged, condition, &place.directory).await {
            Ok(Named::Here) => return Ok(place),
            // What is still there of it may be what another write uses by now.
            Ok(Named::Vanished) => drop(flush::settle(target.tree, place).await),
            Err(error) => {
                // Its temporary name may be what a new directory holds.
                staged.forget_name().await;
                abandon(target, place).await;
                return Err(error);
            }
        }
    }
    Err(s3_error(Doing::Publish, Errno::NOENT))
}

/// Whether a file has its name.
enum Named {
    /// It has.
    Here,
    /// The directory was removed before it could get one.
    Vanished,
}

/// Gives the file its name in a directory, if the condition holds there.
async fn name_in(
    target: &Target<'_>,
    staged: &mut Staged,
    condition: &WriteCondition,
    directory: &File,
) -> Result<Named, S3Error> {
    let hold = match condition {
        WriteCondition::Unconditional | WriteCondition::Absent => Hold::Shared,
        WriteCondition::Present | WriteCondition::Matches(_) => Hold::Exclusive,
    };
    let key = target.path.path().to_bytes();
    let _locked = target.tree.shared.locks.lock(&target.bucket.stat, key, hold).await;
    let existing = match condition {
        WriteCondition::Unconditional => Existing::Replace,
        WriteCondition::Absent => Existing::Keep,
        WriteCondition::Present | WriteCondition::Matches(_) => {
            match target.current().await? {
                Current::Missing => condition.check(None)?,
                Current::Object(etag) => condition.check(Some(&etag))?,
                Current::Other => return Err(conflict()),
            }
            Existing::Replace
        }
    };
    match publish(target, staged, directory, target.path.leaf(), existing).await {
        Ok(()) => Ok(Named::Here),
        Err(Errno::NOENT | Errno::PERM | Errno::STALE)
            if writer::is_gone(&target.bucket.mount, directory).await =>
        {
            Ok(Named::Vanished)
        }
        Err(Errno::EXIST) => Err(taken(target).await),
        Err(errno) => Err(s3_error(Doing::Publish, errno)),
    }
}

/// Removes the directories that were made for a write which has failed. What stays because another write uses it is made
/// durable, for that one found it there and flushes nothing above.
pub(super) async fn abandon(target: &Target<'_>, place: Place) {
    if !place.changed.is_empty() {
        parents::prune_made(target.tree, target.bucket, &place.made, target.identity).await;
        let _ = flush::settle(target.tree, place).await;
    }
}

/// Why a name that had to be free is not: an object answers the condition, a directory is the conflict of the rules.
async fn taken(target: &Target<'_>) -> S3Error {
    match target.current().await {
        Ok(Current::Other) => conflict(),
        Ok(Current::Missing | Current::Object(_)) | Err(_) => precondition_failed("If-None-Match"),
    }
}

/// Links or renames a staged file to `leaf`.
async fn publish(
    target: &Target<'_>,
    staged: &mut Staged,
    directory: &File,
    leaf: &CStr,
    existing: Existing,
) -> Result<(), Errno> {
    let mount = &target.bucket.mount;
    let flushes_named = flushes_named(target, directory)?;
    if staged.temporary.is_none() && !flushes_named {
        match link_to(staged.file(), directory, leaf, target.identity).await {
            Err(Errno::EXIST) if existing == Existing::Replace => {}
            other => return other,
        }
    }
    if existing == Existing::Replace && !is_replaceable(directory, leaf, target.identity).await? {
        return Err(Errno::ISDIR);
    }
    if staged.temporary.is_none() {
        staged.temporary = Some(name_temporarily(target, staged.file(), directory).await?);
        if flushes_named && target.tree.making.durability >= Durability::Data {
            file::sync(staged.file(), Sync::Everything).await?;
        }
    }
    let temporary = staged.temporary.as_ref().expect("it has just been named");
    let from = (&temporary.directory, temporary.name.as_c_str());
    let flags = match existing {
        Existing::Replace => 0,
        Existing::Keep if mount.renames_exclusively => libc::RENAME_NOREPLACE,
        // Where the kernel cannot rename exclusively a second link is exclusive; the first name goes with the value.
        Existing::Keep => return link_to(staged.file(), directory, leaf, target.identity).await,
    };
    let parent = target.path.parent().unwrap_or_default();
    let fresh = &target.tree.shared.fresh;
    let _replacing =
        (!mount.scans_see_replaced()).then(|| fresh.replacing(target.bucket.stat.inode, parent, leaf));
    rename_to(from, (directory, leaf), flags, target.identity).await?;
    staged.temporary = None;
    Ok(())
}

/// Whether the file is flushed under its temporary name: as its mount wants it, and on one that lies in the bucket, of which
/// nothing is known.
fn flushes_named(target: &Target<'_>, directory: &File) -> Result<bool, Errno> {
    if target.bucket.mount.flushes_named() {
        return Ok(true);
    }
    let is_flushed = target.tree.making.durability >= Durability::Data;
    Ok(is_flushed && stat::stat_cached(directory)?.mount_id != target.bucket.stat.mount_id)
}

/// Whether what has the name is a regular file, or nothing: a directory, link, FIFO or device is not overwritten.
async fn is_replaceable(directory: &File, leaf: &CStr, identity: Identity) -> Result<bool, Errno> {
    let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    match file::open(directory, CString::from(leaf), opening, identity).await {
        Ok(found) => Ok(stat::stat_slow(&found).await?.kind == FileKind::Regular),
        Err(Errno::NOENT) => Ok(true),
        Err(Errno::LOOP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Links a nameless file under a temporary name that is noted first.
async fn name_temporarily(
    target: &Target<'_>,
    file: &File,
    directory: &File,
) -> Result<TemporaryName, Errno> {
    let name = inflight::random_name(target.tree.shared.instance.as_str());
    let parent = target.path.parent().unwrap_or_default();
    let note = inflight::note(target.tree, target.bucket, parent, &name).await?;
    let temporary = TemporaryName { directory: directory.clone(), name, note };
    match link_to(file, directory, &temporary.name, target.identity).await {
        Ok(()) => Ok(temporary),
        Err(error) => Err(error),
    }
}

async fn link_to(file: &File, directory: &File, name: &CStr, identity: Identity) -> Result<(), Errno> {
    file::link(file, directory, CString::from(name), identity).await
}

async fn rename_to(
    (from_directory, from): (&File, &CStr),
    (to_directory, to): (&File, &CStr),
    flags: u32,
    identity: Identity,
) -> Result<(), Errno> {
    file::rename(from_directory, CString::from(from), to_directory, CString::from(to), flags, identity).await
}

/// Gives a file made for an object a name in a directory of the server's own.
///
/// Errors: the kernel's; EXDEV where the two directories are of different projects or subvolumes.
pub(super) async fn link_own(file: &File, directory: &File, name: &CStr) -> Result<(), Errno> {
    link_to(file, directory, name, Identity::SERVER).await
}

/// Whether a mount can rename without replacing; `from` exists and `to` does not.
pub(super) async fn can_rename_exclusively(directory: &File, from: &CStr, to: &CStr) -> bool {
    // To a free name: FUSE filesystems say EEXIST for a taken one without knowing the flag.
    rename_to((directory, from), (directory, to), libc::RENAME_NOREPLACE, Identity::SERVER).await.is_ok()
}

/// Replaces a small file of the server's own: content, flush, rename, flush of the directory.
///
/// Shape: `directory` is open for reading; the file is whole or the old one at any moment.
/// Errors: the kernel's.
pub(super) async fn replace_own_file(
    tree: &Tree,
    directory: &File,
    name: &CStr,
    content: Box<[u8]>,
) -> Result<(), Errno> {
    let me = Identity::SERVER;
    let temporary = inflight::random_name(tree.shared.instance.as_str());
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let opening = Opening { flags, mode: 0o600, resolve: BENEATH };
    let file = file::open(directory, temporary.clone(), opening, me).await?;
    let replaced = async {
        file::write_bytes(&file, content, 0, me).await?;
        if tree.making.durability >= Durability::Data {
            file::sync(&file, Sync::Content).await?;
        }
        rename_to((directory, &temporary), (directory, name), 0, me).await?;
        flush::flush_directory(tree, directory).await
    }
    .await;
    if replaced.is_err() {
        let _ = file::unlink(directory, temporary, 0, me).await;
    }
    replaced
}
