//! One directory of a listing: opened under the caller's identity, with its key text and what its inode says.
//!
//! It reads no names (`names.rs` does). A directory that vanished or may not be read is none, never an error: a listing
//! goes on without it. Source: openat2(2), statx(2).

use std::ffi::CString;
use std::sync::Arc;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, FileKind, Stat};

use super::Listed;
use super::hidden::{self, Reason};
use crate::fs::entries;
use crate::fs::metadata::record::{self, Record};
use crate::fs::metadata::view::{self, FileState};
use crate::fs::mount::{Attributes, Filesystem, MountKey};
use crate::fs::path::KeyKind;
use crate::fs::tree::{BENEATH, Shared, Tree, own_directory_opening};

/// An open directory.
pub(super) struct Directory {
    /// Open for reading; the position of `getdents` is this listing's alone.
    pub(super) file: File,
    /// What every key beneath begins with: empty for the bucket, else ending in `/`.
    pub(super) key: String,
    /// Where names that are not listed are counted.
    pub(super) shared: Arc<Shared>,
    /// In which order its names come.
    pub(super) order: Order,
    attributes: Attributes,
    identity: Identity,
}

/// In which order the names of a directory come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// New names, and names that are replaced, come behind all others: btrfs.
    Appended,
    /// Any.
    Unknown,
}

impl Directory {
    /// Opens the directory with the key text `key`, which lies at `path` below `parent`.
    ///
    /// Shape: none when it is gone, is something else, or may not be read.
    /// Errors: the kernel's others.
    pub(super) async fn open(
        tree: &Tree,
        parent: &File,
        path: &str,
        key: String,
        identity: Identity,
    ) -> Result<Option<Directory>, Errno> {
        match file::open(parent, c_string(path), own_directory_opening(), identity).await {
            Ok(file) => match Directory::of(tree, file, key, identity) {
                Err(errno) if entries::is_removed(errno) => Ok(None),
                directory => directory.map(Some),
            },
            Err(errno) if has_vanished(errno) => Ok(None),
            Err(Errno::ACCES | Errno::PERM) => {
                let name = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                hidden::note(&tree.shared, Reason::Unreadable, &key, name.as_bytes());
                Ok(None)
            }
            Err(errno) => Err(errno),
        }
    }

    /// The directory of an open file.
    pub(super) fn of(tree: &Tree, file: File, key: String, identity: Identity) -> Result<Directory, Errno> {
        let mount = tree.shared.mount(MountKey::of(&stat::stat_cached(&file)?));
        let attributes = mount.as_ref().map_or(Attributes::Remote, |mount| mount.attributes());
        let is_btrfs = mount.is_some_and(|mount| mount.filesystem == Filesystem::Btrfs);
        let order = if is_btrfs { Order::Appended } else { Order::Unknown };
        Ok(Directory { file, key, shared: tree.shared.clone(), order, attributes, identity })
    }

    /// What the kernel says of it now.
    pub(super) async fn stat(&self) -> Result<Stat, Errno> {
        match self.attributes {
            Attributes::Local => stat::stat(&self.file),
            Attributes::Remote => stat::stat_slow(&self.file).await,
        }
    }

    /// The object that the directory is (`dir/`), when it is marked as one.
    pub(super) async fn object(&self) -> Result<Option<Listed>, Errno> {
        let Some(record) = self.record().await? else { return Ok(None) };
        if record.kind != KeyKind::Directory {
            return Ok(None);
        }
        let stat = match self.stat().await {
            Err(errno) if entries::is_removed(errno) => return Ok(None),
            stat => stat?,
        };
        let state = FileState {
            kind: KeyKind::Directory,
            inode: stat.inode,
            size_bytes: 0,
            mtime_ns: stat.modified_ns,
            ctime_ns: stat.changed_ns,
        };
        let etag = view::etag(Some(&record), &state);
        Ok(Some(Listed { key: self.key.clone(), modified_ns: stat.modified_ns, etag, size_bytes: 0 }))
    }

    async fn record(&self) -> Result<Option<Record>, Errno> {
        let mut value = [0; record::BYTES_MAX];
        let read = match self.attributes {
            Attributes::Local => file::read_attribute(&self.file, record::XATTR, &mut value)
                .map(|length| Record::decode(&value[..length])),
            Attributes::Remote => {
                let read = file::read_attribute_slow(&self.file, record::XATTR, record::BYTES_MAX).await;
                read.map(|bytes| Record::decode(&bytes))
            }
        };
        match read {
            Ok(record) => Ok(record),
            // The same answers as the reader takes for no record.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM) => Ok(None),
            // One that has been removed is no object any more.
            Err(errno) if entries::is_removed(errno) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// What a name is, for filesystems whose directories do not say.
    pub(super) async fn kind_of(&self, name: &str) -> Result<FileKind, Errno> {
        let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
        match file::open(&self.file, c_string(name), opening, self.identity).await {
            Ok(found) => stat::stat_slow(&found).await.map(|stat| stat.kind),
            // A link, a vanished name: nothing that is listed.
            Err(errno) if has_vanished(errno) => Ok(FileKind::Special),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether an error of opening a listed name says that it is not there any more as what it was listed as.
pub(super) fn has_vanished(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV | Errno::STALE | Errno::NXIO
    )
}

/// A component or path of a key for a system call.
pub(super) fn c_string(path: &str) -> CString {
    CString::new(path).expect("the components of a key hold no NUL")
}
