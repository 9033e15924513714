//! Buckets: the top-level directories of the root.
//!
//! A bucket is opened anew for each write, so that one that was renamed or removed meanwhile is never written through an
//! old descriptor. Its identity is inode and birth time: a rename keeps it, and no attribute can forge it. All subvolumes
//! of btrfs have the same inode, and snapshots the same birth: there it is the subvolume and its birth. Objects in it are
//! not its business. Source: CreateBucket, DeleteBucket; openat2(2).

use std::ffi::{CStr, CString};
use std::sync::Arc;

use uring::errno::Errno;
use uring::file::{self, Entry, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, FileKind, Stat};

use super::crossing;
use super::directory_object::{self, Removal};
use super::entries;
use super::failure::{Doing, s3_error};
use super::flush;
use super::inflight;
use super::key_lock::Hold;
use super::mount::{Attributes, Filesystem, Mount, MountKey};
use super::multipart::abort;
use super::reader;
use super::tree::{BENEATH, Casing, Durability, OWN_DIRECTORY, Tree, open_or_make};
use crate::s3::error::{Code, S3Error};
use crate::s3::names::BucketName;

/// An open bucket.
pub struct Bucket {
    /// Its directory, opened with O_PATH.
    pub directory: File,
    /// The filesystem it lies on.
    pub mount: Arc<Mount>,
    /// What the directory was when it was opened.
    pub stat: Stat,
    // The inode, or the subvolume where that is the same for all of them.
    number: u64,
}

/// The inode of the top of every subvolume. Source: `linux/btrfs_tree.h`, BTRFS_FIRST_FREE_OBJECTID.
const SUBVOLUME_INODE: u64 = 256;

/// A directory of the server's own for one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Temporary names that exist or are about to.
    Inflight,
    /// Multipart uploads.
    Uploads,
    /// Documents too long for an attribute.
    Overflow,
}

impl Store {
    fn name(self) -> &'static CStr {
        match self {
            Store::Inflight => c"inflight",
            Store::Uploads => c"uploads",
            Store::Overflow => c"overflow",
        }
    }
}

/// A bucket as ListBuckets shows it.
pub struct Listed {
    /// Its name.
    pub name: BucketName,
    /// When it was made, as far as the filesystem says. Units: nanoseconds since 1970.
    pub created_ns: i64,
}

const OPEN_PATH: Opening =
    Opening { flags: libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };

impl Bucket {
    /// Opens a bucket.
    ///
    /// Errors: NoSuchBucket, AccessDenied; NotImplemented for a directory that folds the case of names.
    pub async fn open(tree: &Tree, name: &BucketName, identity: Identity) -> Result<Bucket, S3Error> {
        let failed = |errno| s3_error(Doing::FindBucket, errno);
        let directory = crossing::open_bucket(tree, name, identity).await.map_err(failed)?;
        // What the kernel knows of it tells the mount, and a filesystem that hangs is not asked by the core.
        let mut stat = stat::stat_cached(&directory).map_err(failed)?;
        let mount = mount_of(tree, &directory, &stat).await.map_err(failed)?;
        // From here on such a filesystem holds up its own buckets alone.
        directory.belongs_to_mount(stat.mount_id, mount.reach());
        if mount.attributes() == Attributes::Remote {
            stat = stat::stat_slow(&directory).await.map_err(failed)?;
        }
        let number = if mount.filesystem == Filesystem::Btrfs && stat.inode == SUBVOLUME_INODE {
            mount.space(&directory).await.map_err(failed)?.id
        } else {
            stat.inode
        };
        let bucket = Bucket { directory, mount, stat, number };
        match bucket.casing(tree, name).await.map_err(failed)? {
            Casing::Kept => Ok(bucket),
            Casing::Folded => Err(S3Error::new(Code::NotImplemented).with_message(
                "the bucket's directory takes names in upper and lower case for the same, so keys would collide",
            )),
        }
    }

    /// What case means in the bucket; asked once, for a directory with entries cannot change it.
    async fn casing(&self, tree: &Tree, name: &BucketName) -> Result<Casing, Errno> {
        if !self.mount.filesystem.may_fold_case() {
            return Ok(Casing::Kept);
        }
        let id = (self.stat.inode, self.stat.born_ns);
        if let Some(casing) = tree.shared.casing(id) {
            return Ok(casing);
        }
        let folds = stat::folds_case(&readable(&self.directory).await?);
        let casing = if folds { Casing::Folded } else { Casing::Kept };
        if tree.shared.add_casing(id, casing) && folds {
            tracing::warn!(
                bucket = name.as_str(),
                "not served: the directory folds the case of names (chattr +F)"
            );
        }
        Ok(casing)
    }

    /// The bucket's identity on its filesystem, as a directory name.
    pub fn id(&self) -> String {
        format!("{:x}-{:x}", self.number, self.stat.born_ns)
    }

    /// Opens one of the server's own directories of the bucket, on the bucket's own mount, making it when missing.
    pub async fn store(&self, tree: &Tree, store: Store) -> Result<File, Errno> {
        let top = if self.stat.mount_id == tree.root_mount_id {
            tree.root.clone()
        } else {
            readable(&self.directory).await?
        };
        let own = Tree::own_directory(&top).await?;
        let buckets = open_or_make(&own, c"b", 0o711).await?;
        let id = CString::new(self.id()).expect("digits hold no NUL");
        let bucket = open_or_make(&buckets, &id, 0o711).await?;
        open_or_make(&bucket, store.name(), 0o700).await
    }

    /// Opens one of the server's own directories of the bucket if it is there.
    pub async fn existing_store(&self, tree: &Tree, store: Store) -> Result<Option<File>, Errno> {
        let top = if self.stat.mount_id == tree.root_mount_id { &tree.root } else { &self.directory };
        let path =
            format!("{}/b/{}/{}", OWN_DIRECTORY.to_string_lossy(), self.id(), store.name().to_string_lossy());
        let path = CString::new(path).expect("our own names hold no NUL");
        match file::open(top, path, super::tree::own_directory_opening(), Identity::SERVER).await {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is known of the mount that a bucket's directory lies on; it is probed when it is new.
async fn mount_of(tree: &Tree, directory: &File, stat: &Stat) -> Result<Arc<Mount>, Errno> {
    let key = MountKey::of(stat);
    if let Some(mount) = tree.shared.mount(key) {
        // Another filesystem on the same device may have come under a number that is not unique.
        if stat.mount_id_is_unique || mount.filesystem.has_magic(stat::space_slow(directory).await?.magic) {
            return Ok(mount);
        }
        tree.shared.forget_mount(key);
    }
    tree.probe(&readable(directory).await?, key).await
}

/// Makes the entries of one of the server's own directories durable, and those of the directories above, which may be new.
pub(super) async fn settle_store(tree: &Tree, store: &File) -> Result<(), Errno> {
    if tree.making.durability < Durability::Full {
        return Ok(());
    }
    // The bucket's own directory, `b`, `.ringway` and the top: flushing one that did not change costs no disk.
    for path in [c".", c"..", c"../..", c"../../..", c"../../../.."] {
        let opening = Opening { flags: libc::O_RDONLY | libc::O_DIRECTORY, mode: 0, resolve: 0 };
        let directory = file::open(store, CString::from(path), opening, Identity::SERVER).await?;
        flush::flush_directory(tree, &directory).await?;
    }
    Ok(())
}

/// Removes the server's own directory of a bucket that has gone, unless something is left in it.
pub(super) async fn remove_empty_store(stores: &File, id: &str) {
    let remove = async |path: String| {
        let path = CString::new(path).expect("our own names hold no NUL");
        let _ = file::unlink(stores, path, libc::AT_REMOVEDIR, Identity::SERVER).await;
    };
    for store in [Store::Inflight, Store::Uploads, Store::Overflow] {
        remove(format!("{id}/{}", store.name().to_string_lossy())).await;
    }
    remove(id.to_owned()).await;
}

/// Opens a directory that was opened with O_PATH for reading.
pub(super) async fn readable(directory: &File) -> Result<File, Errno> {
    let opening = Opening { flags: libc::O_RDONLY | libc::O_DIRECTORY, mode: 0, resolve: BENEATH };
    file::open(directory, CString::from(c"."), opening, Identity::SERVER).await
}

fn c_name(name: &BucketName) -> CString {
    CString::new(name.as_str()).expect("a bucket name holds no NUL")
}

/// Whether CreateBucket made the bucket or found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is new.
    Made,
    /// It was there.
    Existed,
}

/// Makes a bucket.
///
/// Errors: InvalidBucketName when something that is no directory has the name; those of the filesystem.
pub async fn create(tree: &Tree, name: &BucketName, identity: Identity) -> Result<Creation, S3Error> {
    let mount = tree.probe_root().await.map_err(|errno| s3_error(Doing::Place, errno))?;
    flush::check_writable(tree, &mount)?;
    let creation = make(tree, name, identity).await?;
    // One that is there may have been made a moment ago, and its maker's flush may have failed.
    flush::flush_names(tree, &tree.root).await?;
    Ok(creation)
}

async fn make(tree: &Tree, name: &BucketName, identity: Identity) -> Result<Creation, S3Error> {
    match file::make_directory(&tree.root, c_name(name), tree.making.directory_mode, identity).await {
        Ok(()) => Ok(Creation::Made),
        Err(Errno::EXIST) => match Bucket::open(tree, name, identity).await {
            Ok(_) => Ok(Creation::Existed),
            Err(error) if error.code() == Code::NoSuchBucket => Err(S3Error::new(Code::BucketAlreadyExists)
                .with_message("the name is taken by something that is no bucket")),
            Err(error) => Err(error),
        },
        Err(errno) => Err(s3_error(Doing::Place, errno)),
    }
}

/// Directories looked into by one DeleteBucket; a tree of more empty ones is reported as not empty.
const EMPTY_DIRECTORIES_MAX: usize = 100_000;

/// Removes a bucket and the empty directories left in it.
///
/// Errors: NoSuchBucket; BucketNotEmpty naming one entry, and nothing is removed then.
pub async fn delete(tree: &Tree, name: &BucketName, identity: Identity) -> Result<(), S3Error> {
    let bucket = Bucket::open(tree, name, identity).await?;
    let failed = |errno| s3_error(Doing::Remove, errno);
    let gone = |errno| s3_error(Doing::FindBucket, errno);
    check_empty(&bucket, identity).await?;
    // Depth first. What comes into the bucket from here on ends the removal unharmed, for only empty directories go.
    let mut path: Vec<(File, CString)> =
        vec![(readable(&bucket.directory).await.map_err(gone)?, c_name(name))];
    let mut looked_into = 0;
    while let Some((directory, own_name)) = path.last() {
        let entries = entries::read(directory).await.map_err(failed)?;
        file::rewind_directory(directory).map_err(failed)?;
        let own = |entry: &&Entry| path.len() == 1 && entry.name == OWN_DIRECTORY.to_bytes();
        let next = entries.iter().find(|entry| !own(entry));
        let Some(next) = next else {
            let parent = path.len().checked_sub(2).map_or(&tree.root, |parent| &path[parent].0);
            let own_key = path[1..].iter().map(|(_, name)| name.to_bytes()).collect::<Vec<_>>().join(&b'/');
            // Alone with its key, so that a PUT of the directory as an object comes before the look or after the end.
            let _locked = tree.shared.locks.lock(&bucket.stat, &own_key, Hold::Exclusive).await;
            let removed = if path.len() > 1 {
                let place = (parent, own_name.clone());
                directory_object::remove_unless_object(tree, &bucket, place, directory, identity).await
            } else {
                let removed = file::unlink(parent, own_name.clone(), libc::AT_REMOVEDIR, identity).await;
                removed.map(|()| Removal::Gone)
            };
            match removed {
                Ok(Removal::Gone) | Err(Errno::NOENT) => {}
                Ok(Removal::IsObject) => return Err(not_empty(&own_name.to_string_lossy())),
                Err(Errno::NOTEMPTY) if path.len() == 1 => return Err(not_empty(".ringway")),
                // Somebody has put something in meanwhile: look again.
                Err(Errno::NOTEMPTY) if looked_into < EMPTY_DIRECTORIES_MAX => {
                    looked_into += 1;
                    continue;
                }
                Err(errno) => return Err(failed(errno)),
            }
            path.pop();
            continue;
        };
        let shown = String::from_utf8_lossy(&next.name).into_owned();
        looked_into += 1;
        if next.kind != FileKind::Directory
            || looked_into > EMPTY_DIRECTORIES_MAX
            || is_marked(directory, next).await
        {
            return Err(not_empty(&shown));
        }
        let child = CString::new(next.name.clone()).expect("a directory entry holds no NUL");
        let opening = super::tree::own_directory_opening();
        match file::open(directory, child.clone(), opening, identity).await {
            Ok(opened) => path.push((opened, child)),
            // Somebody else has removed it.
            Err(errno) if entries::is_removed(errno) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    flush::flush_names(tree, &tree.root).await?;
    abort::abort_all(tree, &bucket).await;
    remove_store(tree, &bucket).await;
    Ok(())
}

/// Removes the server's own directory of a bucket that has been removed, unless somebody needs what is in it: another server
/// that lives, a request under way, an object that was moved to another bucket and refers to a sidecar.
async fn remove_store(tree: &Tree, bucket: &Bucket) {
    let path = CString::new(format!("{}/b", OWN_DIRECTORY.to_string_lossy())).expect("no NUL");
    let opening = super::tree::own_directory_opening();
    let Ok(stores) = file::open(&tree.root, path, opening, Identity::SERVER).await else { return };
    if inflight::forget(tree, bucket).await.is_ok() {
        remove_empty_store(&stores, &bucket.id()).await;
    }
}

/// Looks through a bucket for anything but directories that are no objects.
///
/// Errors: BucketNotEmpty naming one entry.
async fn check_empty(bucket: &Bucket, identity: Identity) -> Result<(), S3Error> {
    let failed = |errno| s3_error(Doing::Remove, errno);
    let gone = |errno| s3_error(Doing::FindBucket, errno);
    // Each directory with what it holds and was not looked into yet.
    let mut path = vec![(readable(&bucket.directory).await.map_err(gone)?, Vec::<Entry>::new())];
    let mut looked_into = 0;
    while let Some((directory, left)) = path.last_mut() {
        let Some(next) = left.pop() else {
            let more = entries::read(directory).await.map_err(failed)?;
            if more.is_empty() {
                path.pop();
            } else {
                *left = more;
            }
            continue;
        };
        if path.len() == 1 && next.name == OWN_DIRECTORY.to_bytes() {
            continue;
        }
        let (directory, _) = path.last().expect("the loop has just found it");
        looked_into += 1;
        if next.kind != FileKind::Directory
            || looked_into > EMPTY_DIRECTORIES_MAX
            || is_marked(directory, &next).await
        {
            return Err(not_empty(&String::from_utf8_lossy(&next.name)));
        }
        let child = CString::new(next.name).expect("a directory entry holds no NUL");
        let opening = super::tree::own_directory_opening();
        match file::open(directory, child, opening, identity).await {
            Ok(opened) => path.push((opened, Vec::new())),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Whether a directory entry is an object of its own (`dir/`).
async fn is_marked(parent: &File, entry: &Entry) -> bool {
    let name = CString::new(entry.name.clone()).expect("a directory entry holds no NUL");
    match file::open(parent, name, super::tree::own_directory_opening(), Identity::SERVER).await {
        Ok(directory) => reader::is_directory_object(&directory).await,
        Err(_) => false,
    }
}

fn not_empty(entry: &str) -> S3Error {
    S3Error::new(Code::BucketNotEmpty)
        .with_message(format!("the bucket that you tried to delete is not empty: it holds `{entry}`"))
}

/// All buckets, by name.
pub async fn list(tree: &Tree) -> Result<Vec<Listed>, S3Error> {
    let failed = |errno| s3_error(Doing::Read, errno);
    // A descriptor of its own, because its position moves.
    let root = readable(&tree.root).await.map_err(failed)?;
    let mut buckets = Vec::new();
    loop {
        let entries = file::read_directory(&root).await.map_err(failed)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            let Ok(text) = std::str::from_utf8(&entry.name) else { continue };
            let Ok(name) = BucketName::parse(text) else { continue };
            if !matches!(entry.kind, FileKind::Directory | FileKind::Unknown) {
                continue;
            }
            let Ok(directory) = file::open(&root, c_name(&name), OPEN_PATH, Identity::SERVER).await else {
                continue;
            };
            let stat = match stat::stat_slow(&directory).await {
                Err(errno) if entries::is_removed(errno) => continue,
                stat => stat.map_err(failed)?,
            };
            let created_ns = if stat.born_ns > 0 { stat.born_ns } else { stat.modified_ns };
            buckets.push(Listed { name, created_ns });
        }
    }
    buckets.sort_by(|left, right| left.name.as_str().cmp(right.name.as_str()));
    Ok(buckets)
}
