//! Reading: an object's file, opened once, with what its attributes say.
//!
//! One `openat2` from the root through bucket and key; only when that fails is it asked which of the two is missing. It does
//! not cross into other mounts: a bucket that lies on one is opened by `crossing`, and the key in the lane of that mount.
//! What is no regular file is no object. It does not decide about conditions and ranges and sends nothing.
//! Source: openat2(2); GetObject, HeadObject.

use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::lane::{Lane, Reach};
use uring::stat::{self, FileKind, Stat};

use super::bucket::Bucket;
use super::crossing::{self, ON_MOUNT};
use super::failure::{Doing, s3_error};
use super::metadata::document::{self, Document};
use super::metadata::record::{self, Beside, Record};
use super::metadata::sidecar::Reference;
use super::metadata::view::{self, FileState, Metadata};
use super::mount::{Attributes, MountKey};
use super::overflow;
use super::path::{KeyKind, KeyPath};
use super::tree::{BENEATH, Tree};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::names::BucketName;

/// An open object.
pub struct Object {
    /// Its file, open for reading.
    pub file: File,
    /// What the kernel says of it.
    pub stat: Stat,
    /// Where its attributes come from.
    pub attributes: Attributes,
    record: Option<Record>,
    kind: KeyKind,
}

// O_NONBLOCK: a FIFO under the key must not hang the open; it means nothing for a regular file.
const OPEN_FILE: i32 = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens the object of a key.
///
/// Errors: NoSuchKey, NoSuchBucket, AccessDenied.
pub async fn open(
    tree: &Tree,
    bucket: &BucketName,
    path: &KeyPath,
    identity: Identity,
) -> Result<Object, S3Error> {
    match find(tree, bucket, path, identity).await {
        Ok(object) => {
            // Reads pass the bucket by; only where one is known to be refused is it asked which this is.
            if tree.shared.has_folded() {
                Bucket::open(tree, bucket, identity).await?;
            }
            Ok(object)
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
            Bucket::open(tree, bucket, identity).await?;
            Err(S3Error::new(Code::NoSuchKey))
        }
        Err(errno) => Err(s3_error(Doing::Find, errno)),
    }
}

/// Opens the object of a key in one step, or in two where another mount lies on the way.
async fn find(tree: &Tree, bucket: &BucketName, path: &KeyPath, identity: Identity) -> Result<Object, Errno> {
    let known = tree.crossings.mount_of(bucket).map(|key| (key, tree.reach(key)));
    let (lane, resolve) = match known {
        None => (tree.root.lane(), ON_MOUNT),
        // What answers at once may be crossed into on the core.
        Some((key, Reach::Local)) => (key.lane(Reach::Local), BENEATH),
        Some((_, Reach::Remote)) => return find_across(tree, bucket, path, identity).await,
    };
    let mut whole = Vec::with_capacity(bucket.as_str().len() + 1 + path.path().count_bytes() + 1);
    whole.extend_from_slice(bucket.as_str().as_bytes());
    whole.push(b'/');
    whole.extend_from_slice(path.path().to_bytes());
    let whole = CString::new(whole).expect("neither a bucket nor a path holds a NUL");
    let start = Start { directory: &tree.root, lane, resolve };
    match open_from(tree, start, whole, path.kind(), identity).await {
        Err(Errno::XDEV) if known.is_none() => find_across(tree, bucket, path, identity).await,
        Ok(object) if known.is_some_and(|(key, _)| key != MountKey::of(&object.stat)) => {
            tree.crossings.note(tree, bucket, MountKey::of(&object.stat));
            Ok(object)
        }
        other => other,
    }
}

/// Opens the object of a key where the bucket, or a directory in it, is a mount of its own.
async fn find_across(
    tree: &Tree,
    bucket: &BucketName,
    path: &KeyPath,
    identity: Identity,
) -> Result<Object, Errno> {
    let directory = crossing::open_bucket(tree, bucket, identity).await?;
    let lane = match tree.crossings.mount_of(bucket) {
        Some(_) => directory.lane(),
        // The bucket itself is on ROOT's mount.
        None => crossing::lane_across(tree, bucket),
    };
    let start = Start { directory: &directory, lane, resolve: BENEATH };
    open_from(tree, start, CString::from(path.path()), path.kind(), identity).await
}

/// Opens what lies at `path` below `directory`, if it is an object.
///
/// Errors: ENOENT for what is no object, else the kernel's.
pub async fn open_below(
    tree: &Tree,
    directory: &File,
    path: CString,
    kind: KeyKind,
    identity: Identity,
) -> Result<Object, Errno> {
    open_from(tree, Start { directory, lane: directory.lane(), resolve: BENEATH }, path, kind, identity).await
}

/// Where an open begins, how far it goes and where it counts.
struct Start<'a> {
    directory: &'a File,
    lane: Lane,
    resolve: u64,
}

async fn open_from(
    tree: &Tree,
    start: Start<'_>,
    path: CString,
    kind: KeyKind,
    identity: Identity,
) -> Result<Object, Errno> {
    let flags = match kind {
        KeyKind::File => OPEN_FILE,
        KeyKind::Directory => libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_DIRECTORY,
    };
    let opening = Opening { flags, mode: 0, resolve: start.resolve };
    let file = match file::open_in_lane(start.directory, path, opening, identity, start.lane).await {
        // A socket, or a FIFO that refuses.
        Err(Errno::NXIO) => return Err(Errno::NOENT),
        other => other?,
    };
    // Before the mount is known only what the kernel knows may be asked for by the core.
    let mut stat = stat::stat_cached(&file)?;
    if stat.mount_id != tree.root_mount_id {
        file.belongs_to_mount(stat.mount_id, tree.reach(MountKey::of(&stat)));
    }
    let attributes = tree.attributes_of(&stat);
    if attributes == Attributes::Remote {
        stat = stat::stat_slow(&file).await?;
    }
    let wanted = match kind {
        KeyKind::File => FileKind::Regular,
        KeyKind::Directory => FileKind::Directory,
    };
    if stat.kind != wanted {
        return Err(Errno::NOENT);
    }
    let record = read_record(&file, attributes).await?;
    if kind == KeyKind::Directory && record.as_ref().is_none_or(|record| record.kind != KeyKind::Directory) {
        return Err(Errno::NOENT);
    }
    Ok(Object { file, stat, attributes, record, kind })
}

/// Reads and decodes the record; a file without one, or on a filesystem without attributes, has none.
async fn read_record(file: &File, attributes: Attributes) -> Result<Option<Record>, Errno> {
    let mut value = [0; record::BYTES_MAX];
    let read = match attributes {
        Attributes::Local => {
            file::read_attribute(file, record::XATTR, &mut value).map(|length| &value[..length])
        }
        Attributes::Remote => match file::read_attribute_slow(file, record::XATTR, record::BYTES_MAX).await {
            Ok(bytes) => {
                value[..bytes.len()].copy_from_slice(&bytes);
                Ok(&value[..bytes.len()])
            }
            Err(error) => Err(error),
        },
    };
    match read {
        Ok(bytes) => Ok(Record::decode(bytes)),
        // A forged value that is too long is no record either.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an open directory is an object of its own (`dir/`).
pub async fn is_directory_object(directory: &File) -> bool {
    let record = read_record(directory, Attributes::Remote).await;
    matches!(record, Ok(Some(Record { kind: KeyKind::Directory, .. })))
}

/// Most documents are smaller than this, so the first read is enough.
const DOCUMENT_BYTES_USUAL: usize = 4096;

/// Reads the bytes of `user.s3.meta`.
async fn read_document(file: &File, attributes: Attributes) -> Result<Option<Vec<u8>>, Errno> {
    let mut length = DOCUMENT_BYTES_USUAL;
    loop {
        let read = match attributes {
            Attributes::Local => {
                let mut value = vec![0; length];
                file::read_attribute(file, document::XATTR, &mut value).map(|count| {
                    value.truncate(count);
                    value
                })
            }
            Attributes::Remote => file::read_attribute_slow(file, document::XATTR, length).await,
        };
        match read {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Errno::RANGE) if length < document::BYTES_MAX => length = document::BYTES_MAX,
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// The sidecar that a file or directory refers to, whatever else it is.
pub(super) async fn reference_of(file: &File) -> Result<Option<Reference>, Errno> {
    let bytes = read_document(file, Attributes::Remote).await?;
    Ok(bytes.and_then(|bytes| Reference::decode(&bytes)))
}

impl Object {
    /// The state that decides whether stored digests still hold.
    pub fn state(&self) -> FileState {
        FileState {
            kind: self.kind,
            inode: self.stat.inode,
            size_bytes: self.size_bytes(),
            mtime_ns: self.stat.modified_ns,
            ctime_ns: self.stat.changed_ns,
        }
    }

    /// The size; a directory that is an object has none.
    pub fn size_bytes(&self) -> u64 {
        match self.kind {
            KeyKind::File => self.stat.size_bytes,
            KeyKind::Directory => 0,
        }
    }

    /// The ETag, true or synthetic.
    pub fn etag(&self) -> ETag {
        view::etag(self.record.as_ref(), &self.state())
    }

    /// All that the object says besides its bytes; `bucket` and `key` are where it was opened.
    ///
    /// Errors: those of reading the document.
    pub async fn metadata(&self, tree: &Tree, bucket: &BucketName, key: &str) -> Result<Metadata, S3Error> {
        let document =
            self.document(tree, bucket, key).await.map_err(|errno| s3_error(Doing::Read, errno))?;
        Ok(Metadata::of(self.record.as_ref(), document, &self.state(), key))
    }

    async fn document(&self, tree: &Tree, bucket: &BucketName, key: &str) -> Result<Option<Document>, Errno> {
        if self.record.as_ref().is_none_or(|record| record.beside == Beside::Nothing) {
            return Ok(None);
        }
        let Some(bytes) = read_document(&self.file, self.attributes).await? else { return Ok(None) };
        match Reference::decode(&bytes) {
            Some(reference) => overflow::read(tree, bucket, &reference, key).await,
            None => Ok(Document::decode(&bytes)),
        }
    }
}
