//! What a mounted filesystem can do, found by trying at start-up, and how it is doing.
//!
//! One value a mount, shared by all cores. The probe works in the server's own directory on that mount and leaves nothing
//! behind. Facts that only a real write can tell (O_DIRECT refused at the first write) are corrected on the way.
//! Source: open(2) O_TMPFILE, renameat2(2), statfs(2) magic numbers, statx(2) STATX_DIOALIGN.

use std::ffi::CString;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use uring::errno::Errno;
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::lane::{Lane, Reach};
use uring::lock::{self, Held, Hold};
use uring::stat::{self, Space, Stat};

use super::commit;
use super::inflight;

/// The filesystems that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// ext2, ext3, ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// tmpfs.
    Tmpfs,
    /// overlayfs.
    Overlay,
    /// Anything else, with its magic number: NFS, CephFS, Lustre, FUSE and what is to come.
    Other(i64),
}

impl Filesystem {
    fn of(magic: i64) -> Filesystem {
        match magic {
            libc::EXT4_SUPER_MAGIC => Filesystem::Ext4,
            libc::XFS_SUPER_MAGIC => Filesystem::Xfs,
            libc::BTRFS_SUPER_MAGIC => Filesystem::Btrfs,
            libc::TMPFS_MAGIC => Filesystem::Tmpfs,
            libc::OVERLAYFS_SUPER_MAGIC => Filesystem::Overlay,
            other => Filesystem::Other(other),
        }
    }

    /// Whether it is the one with this magic number.
    pub(super) fn has_magic(self, magic: i64) -> bool {
        self == Filesystem::of(magic)
    }

    /// Whether two writes are never stamped with the same time when somebody looked between them: FS_MGTIME, which these
    /// filesystems have from Linux 6.13 on. Everywhere else all writes of one tick look alike.
    fn stamps_finely(self, kernel_release: &str) -> bool {
        match self {
            Filesystem::Ext4 | Filesystem::Xfs | Filesystem::Btrfs | Filesystem::Tmpfs => {
                is_since_6_13(kernel_release)
            }
            Filesystem::Overlay | Filesystem::Other(_) => false,
        }
    }

    /// Whether a directory may be one whose names are the same in upper and lower case: ext4, f2fs, and tmpfs from 6.13 on.
    pub(super) fn may_fold_case(self) -> bool {
        match self {
            Filesystem::Ext4 | Filesystem::Tmpfs | Filesystem::Other(F2FS_MAGIC) => true,
            Filesystem::Xfs | Filesystem::Btrfs | Filesystem::Overlay | Filesystem::Other(_) => false,
        }
    }
}

/// Source: `linux/magic.h`, F2FS_SUPER_MAGIC.
const F2FS_MAGIC: i64 = 0xF2F5_2010;

fn is_since_6_13(release: &str) -> bool {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 13),
        _ => false,
    }
}

/// The kernel's release, empty when it does not say; memory of the kernel, so a plain call does not wait.
fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filesystem::Ext4 => f.write_str("ext4"),
            Filesystem::Xfs => f.write_str("xfs"),
            Filesystem::Btrfs => f.write_str("btrfs"),
            Filesystem::Tmpfs => f.write_str("tmpfs"),
            Filesystem::Overlay => f.write_str("overlay"),
            Filesystem::Other(magic) => write!(f, "filesystem {magic:#x}"),
        }
    }
}

/// What tells mounts apart for as long as the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MountKey {
    id: u64,
    // Where the kernel gives the number of a mount that has gone to the next one, which may be another device's.
    device: Option<(u32, u32)>,
}

impl MountKey {
    /// The mount of a file.
    pub fn of(stat: &Stat) -> MountKey {
        MountKey { id: stat.mount_id, device: (!stat.mount_id_is_unique).then_some(stat.device) }
    }

    /// Where operations on the mount count.
    pub(super) fn lane(self, reach: Reach) -> Lane {
        Lane::of_mount(self.id, reach)
    }
}

/// Where the attributes of an open file come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// From memory: a plain call costs less than the ring.
    Local,
    /// From a server or a daemon: a plain call would stop the core.
    Remote,
}

/// What a mount can do and how it is doing.
#[derive(Debug)]
pub struct Mount {
    /// What tells it from others.
    pub key: MountKey,
    /// Which filesystem it is.
    pub filesystem: Filesystem,
    /// Whether extended attributes of the `user.` namespace are kept.
    pub keeps_attributes: bool,
    /// Whether `fsync` of a directory works.
    pub syncs_directories: bool,
    /// Whether `renameat2(RENAME_NOREPLACE)` works.
    pub renames_exclusively: bool,
    /// Whether `flock` works: without, nobody can tell which servers live.
    pub has_locks: bool,
    stamps_finely: AtomicBool,
    has_unnamed_files: AtomicBool,
    takes_direct: AtomicBool,
    reserves: AtomicBool,
    // Set when a directory's fsync failed: what was acknowledged before may be lost, nothing more is promised.
    is_suspect: AtomicBool,
}

impl Mount {
    /// Tries what the mount of `directory` can do; `directory` is the server's own on it, open for reading.
    ///
    /// Errors: the first failure that would make serving the mount meaningless.
    pub async fn probe(directory: &File) -> Result<Mount, Errno> {
        let stat = stat::stat_slow(directory).await?;
        let filesystem = Filesystem::of(stat::space_slow(directory).await?.magic);
        let mut mount = Mount {
            key: MountKey::of(&stat),
            filesystem,
            keeps_attributes: false,
            syncs_directories: file::sync(directory, Sync::Everything).await.is_ok(),
            renames_exclusively: false,
            has_locks: false,
            stamps_finely: AtomicBool::new(filesystem.stamps_finely(&kernel_release())),
            has_unnamed_files: AtomicBool::new(false),
            takes_direct: AtomicBool::new(false),
            reserves: AtomicBool::new(filesystem != Filesystem::Btrfs),
            is_suspect: AtomicBool::new(false),
        };
        if let Ok(file) = open_unnamed(directory).await {
            mount.has_unnamed_files.store(true, Ordering::Relaxed);
            mount.look_at(&file).await;
        }
        mount.probe_named(directory).await?;
        Ok(mount)
    }

    async fn look_at(&mut self, file: &File) {
        let me = Identity::SERVER;
        self.keeps_attributes =
            file::set_attribute(file, c"user.s3", Box::from([0; 64]), 0, me).await.is_ok();
        let align = stat::stat_slow(file).await.map_or(0, |stat| stat.direct_align_bytes);
        self.takes_direct.store((1..=4096).contains(&align), Ordering::Relaxed);
    }

    /// Names must be exclusive, or `If-None-Match: *` is a lie.
    async fn probe_named(&mut self, directory: &File) -> Result<(), Errno> {
        let me = Identity::SERVER;
        let names = [inflight::random_name("probe"), inflight::random_name("probe")];
        let opening = Opening {
            flags: libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
            mode: 0o600,
            resolve: 0,
        };
        let file = file::open(directory, names[0].clone(), opening, me).await?;
        if !self.has_unnamed_files.load(Ordering::Relaxed) {
            self.look_at(&file).await;
        }
        // Nobody else knows the file, so an error says that there are no locks.
        self.has_locks = self.try_lock(&file, Hold::Exclusive).await.is_ok();
        self.renames_exclusively = commit::can_rename_exclusively(directory, &names[0], &names[1]).await;
        for name in names {
            let _ = file::unlink(directory, name, 0, me).await;
        }
        Ok(())
    }

    /// Whether attributes are at hand or a round trip away.
    pub fn attributes(&self) -> Attributes {
        match self.filesystem {
            Filesystem::Ext4 | Filesystem::Xfs | Filesystem::Btrfs | Filesystem::Tmpfs => Attributes::Local,
            Filesystem::Overlay | Filesystem::Other(_) => Attributes::Remote,
        }
    }

    /// Whether a scan of a directory sees each name that is in it all along, even one that is replaced meanwhile.
    pub fn scans_see_replaced(&self) -> bool {
        matches!(self.filesystem, Filesystem::Ext4 | Filesystem::Xfs)
    }

    /// Reads an open file's attributes, by the way that stops no core.
    pub async fn stat(&self, file: &File) -> Result<Stat, Errno> {
        match self.attributes() {
            Attributes::Local => stat::stat(file),
            Attributes::Remote => stat::stat_slow(file).await,
        }
    }

    /// Asks how full the filesystem is, by the way that stops no core.
    pub async fn space(&self, file: &File) -> Result<Space, Errno> {
        match self.attributes() {
            Attributes::Local => stat::space(file),
            Attributes::Remote => stat::space_slow(file).await,
        }
    }

    /// Locks an open file or directory, by the way that stops no core.
    ///
    /// Errors: EAGAIN when another description of it is in the way; anything else where there are no locks.
    pub async fn try_lock(&self, file: &File, hold: Hold) -> Result<Held, Errno> {
        match self.attributes() {
            Attributes::Local => lock::try_lock_as(file, hold),
            Attributes::Remote => lock::try_lock_slow(file, hold).await,
        }
    }

    /// Whether the mount answers from this machine, or may keep its callers waiting for ever.
    pub fn reach(&self) -> Reach {
        match self.filesystem {
            Filesystem::Ext4
            | Filesystem::Xfs
            | Filesystem::Btrfs
            | Filesystem::Tmpfs
            | Filesystem::Overlay => Reach::Local,
            Filesystem::Other(_) => Reach::Remote,
        }
    }

    /// Whether a write that comes right after a look at a file changes its time.
    pub fn stamps_finely(&self) -> bool {
        self.stamps_finely.load(Ordering::Relaxed)
    }

    /// Takes the filesystem for one that stamps all writes of one tick alike.
    pub fn forget_fine_stamps(&self) {
        self.stamps_finely.store(false, Ordering::Relaxed);
    }

    /// Whether written bytes may reach the filesystem, and change the file's time, only when they are flushed.
    pub fn writes_late(&self) -> bool {
        matches!(self.filesystem, Filesystem::Other(_))
    }

    /// Whether O_TMPFILE works.
    pub fn has_unnamed_files(&self) -> bool {
        self.has_unnamed_files.load(Ordering::Relaxed)
    }

    /// Remembers that O_TMPFILE is refused after all.
    pub fn forget_unnamed_files(&self) {
        self.has_unnamed_files.store(false, Ordering::Relaxed);
    }

    /// Whether large bodies may be written with O_DIRECT.
    pub fn takes_direct(&self) -> bool {
        self.takes_direct.load(Ordering::Relaxed)
    }

    /// Remembers that O_DIRECT is refused after all.
    pub fn forget_direct(&self) {
        self.takes_direct.store(false, Ordering::Relaxed);
    }

    /// Whether space is reserved ahead of writes; not on btrfs, where it makes later writes fragments.
    pub fn reserves(&self) -> bool {
        self.reserves.load(Ordering::Relaxed)
    }

    /// Remembers that `fallocate` is not known here.
    pub fn forget_reserving(&self) {
        self.reserves.store(false, Ordering::Relaxed);
    }

    /// Stops S3 writes: a directory could not be made durable.
    pub fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    /// Whether S3 writes are stopped.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    /// Whether a file must be flushed under its temporary name before it gets its own: on btrfs the flush of a nameless
    /// inode logs no metadata. An overlay may lie on btrfs, and of others nobody knows.
    pub fn flushes_named(&self) -> bool {
        match self.filesystem {
            Filesystem::Ext4 | Filesystem::Xfs | Filesystem::Tmpfs => false,
            Filesystem::Btrfs | Filesystem::Overlay | Filesystem::Other(_) => true,
        }
    }

    /// Whether a directory may be removed when it is empty. On NFS the lock that keeps two servers from removing and marking
    /// it at once holds on its own host only, and what was removed cannot be looked at once more.
    pub fn prunes(&self) -> bool {
        self.filesystem != Filesystem::Other(libc::NFS_SUPER_MAGIC)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |able: bool| if able { "yes" } else { "no" };
        write!(
            f,
            "{}: unnamed files {}, O_DIRECT {}, reserving {}, attributes {}, exclusive rename {}, directory fsync {}, \
             locks {}, fine timestamps {}",
            self.filesystem,
            word(self.has_unnamed_files()),
            word(self.takes_direct()),
            word(self.reserves()),
            word(self.keeps_attributes),
            word(self.renames_exclusively),
            word(self.syncs_directories),
            word(self.has_locks),
            word(self.stamps_finely()),
        )
    }
}

async fn open_unnamed(directory: &File) -> Result<File, Errno> {
    let opening = Opening { flags: libc::O_RDWR | libc::O_TMPFILE, mode: 0o600, resolve: 0 };
    file::open(directory, CString::from(c"."), opening, Identity::SERVER).await
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;

    use crate::fs::bucket::Bucket;
    use crate::fs::race_tests::on_both_engines;
    use crate::s3::names::BucketName;

    #[test]
    fn a_number_that_may_come_again_tells_no_mount_by_itself() {
        let root = file::open_at_start(std::path::Path::new("/"), libc::O_PATH | libc::O_DIRECTORY).unwrap();
        let first = stat::stat(&root).unwrap();
        let other = Stat { device: (first.device.0, first.device.1 + 1), ..first };
        let key = |stat: Stat, mount_id_is_unique| MountKey::of(&Stat { mount_id_is_unique, ..stat });
        assert_eq!(key(first, true), key(other, true), "subvolumes of one mount have devices of their own");
        assert_ne!(key(first, false), key(other, false));
        assert_ne!(key(first, true), key(first, false));
    }

    /// Unmounts when a test ends, however it ends.
    struct Mounted(std::path::PathBuf);

    impl Mounted {
        fn new(kind: &str, point: std::path::PathBuf) -> Option<Mounted> {
            let mounted = Command::new("mount").args(["-t", kind, "none"]).arg(&point).output();
            mounted.is_ok_and(|output| output.status.success()).then_some(Mounted(point))
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
        }
    }

    #[test]
    fn a_mount_that_takes_the_place_of_another_is_probed_anew() {
        on_both_engines(|server| async move {
            let point = server.root.join("swapped");
            std::fs::create_dir(&point).unwrap();
            let name = BucketName::parse("swapped").unwrap();
            for (kind, want) in [
                ("tmpfs", Filesystem::Tmpfs),
                ("ramfs", Filesystem::Other(RAMFS_MAGIC)),
                ("tmpfs", Filesystem::Tmpfs),
            ] {
                let Some(_mounted) = Mounted::new(kind, point.clone()) else {
                    eprintln!("SKIPPED fs::mount::swapped: mounting is refused here");
                    return;
                };
                let bucket = Bucket::open(&server.tree, &name, Identity::SERVER).await.unwrap();
                assert_eq!(bucket.mount.filesystem, want);
            }
        });
    }

    /// Source: `linux/magic.h`.
    const RAMFS_MAGIC: i64 = 0x8584_58F6;

    #[test]
    fn who_stamps_finely() {
        for (filesystem, release, want) in [
            (Filesystem::Ext4, "6.13.0-amd64", true),
            (Filesystem::Btrfs, "6.13-rc1", true),
            (Filesystem::Xfs, "7.0.1", true),
            (Filesystem::Tmpfs, "6.12.99", false),
            (Filesystem::Ext4, "5.15.0-113-generic", false),
            (Filesystem::Ext4, "", false),
            (Filesystem::Ext4, "six", false),
            (Filesystem::Overlay, "6.18.1", false),
            (Filesystem::Other(0x6969), "6.18.1", false),
        ] {
            assert_eq!(filesystem.stamps_finely(release), want, "{filesystem} on {release}");
        }
    }
}
