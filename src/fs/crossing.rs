//! Buckets on other mounts than ROOT, and how they are opened without waiting for those mounts on the core.
//!
//! An open below ROOT asks ROOT's filesystem and no other: one that would cross into another mount is refused by the kernel
//! and begun anew, in the lane of that mount, as an operation that may wait. Where a bucket was found stays known by its
//! name, as a hint: it says where an open counts, never what it finds. Source: openat2(2), RESOLVE_NO_XDEV.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::lane::{Lane, Reach};
use uring::stat;

use super::mount::MountKey;
use super::tree::{BENEATH, Tree};
use crate::s3::names::BucketName;

/// Where buckets were found that lie on other mounts than ROOT: mounts by bucket name.
#[derive(Default)]
pub struct Crossings(RefCell<HashMap<String, MountKey>>);

/// More names than mounts that anybody has: beyond it they are learned anew.
const CROSSINGS_MAX: usize = 10_000;

/// Resolves beneath a directory and on its mount; EXDEV where the path leads into another one.
pub(super) const ON_MOUNT: u64 = BENEATH | libc::RESOLVE_NO_XDEV;

impl Crossings {
    /// The mount that a bucket was found on, when it is not ROOT's.
    pub(super) fn mount_of(&self, bucket: &BucketName) -> Option<MountKey> {
        self.0.borrow().get(bucket.as_str()).copied()
    }

    /// Remembers on which mount a bucket was found.
    pub(super) fn note(&self, tree: &Tree, bucket: &BucketName, mount: MountKey) {
        let mut known = self.0.borrow_mut();
        if mount == tree.root_mount {
            known.remove(bucket.as_str());
            return;
        }
        if known.len() >= CROSSINGS_MAX {
            known.clear();
        }
        known.insert(bucket.as_str().to_owned(), mount);
    }
}

/// Opens the directory of a bucket with O_PATH, on whatever mount it lies.
pub(super) async fn open_bucket(tree: &Tree, name: &BucketName, identity: Identity) -> Result<File, Errno> {
    let open = |resolve, lane| {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let path = CString::new(name.as_str()).expect("a bucket name holds no NUL");
        file::open_in_lane(&tree.root, path, Opening { flags, mode: 0, resolve }, identity, lane)
    };
    if tree.crossings.mount_of(name).is_none() {
        match open(ON_MOUNT, tree.root.lane()).await {
            Err(Errno::XDEV) => {}
            other => return other,
        }
    }
    let directory = open(BENEATH, lane_across(tree, name)).await?;
    // Not even the mount that was found is asked.
    let stat = stat::stat_cached(&directory)?;
    let mount = MountKey::of(&stat);
    tree.crossings.note(tree, name, mount);
    directory.belongs_to_mount(stat.mount_id, tree.reach(mount));
    Ok(directory)
}

/// The lane of what lies behind another mount than ROOT's.
pub(super) fn lane_across(tree: &Tree, bucket: &BucketName) -> Lane {
    match tree.crossings.mount_of(bucket) {
        Some(mount) => mount.lane(tree.reach(mount)),
        // Nobody knows which mount it is: as long as it does not answer, its bucket's name stands for it.
        None => {
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            Lane::of_mount(hasher.hash_one(bucket.as_str()), Reach::Remote)
        }
    }
}
