//! What an inode is and what filesystem it lies on.
//!
//! `stat` and `space` are plain calls on an open file, for local filesystems; `stat_slow` and `space_slow` go through the
//! engine, for network filesystems, where the call is a round trip that would stop a core. Nothing here opens or names a file.
//! Source: statx(2), fstatfs(2), inode(7).

use crate::errno::Errno;
use crate::file::{self, File};
use crate::flight::Flight;
use crate::identity::Identity;
use crate::op::{Kind, Op, attribute, pool_only};

/// What `statx` tells of an inode.
///
/// Units: sizes in bytes, times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub links: u32,
    /// Size.
    pub size_bytes: u64,
    /// Space it takes.
    pub allocated_bytes: u64,
    /// Inode number.
    pub inode: u64,
    /// Device number, as major and minor.
    pub device: (u32, u32),
    /// Mount identity, to tell filesystems mounted twice apart.
    pub mount_id: u64,
    /// Whether no later mount gets that identity again; before Linux 6.8 an unmounted one's is given to the next.
    pub mount_id_is_unique: bool,
    /// Last change of content.
    pub modified_ns: i64,
    /// Last change of the inode.
    pub changed_ns: i64,
    /// Birth, zero where the filesystem keeps none.
    pub born_ns: i64,
    /// Alignment of offsets that O_DIRECT wants; zero when the filesystem does not say.
    pub direct_align_bytes: u32,
}

impl Stat {
    /// Whoever looks at an open file learns how long its close may take.
    fn of_file(file: &File, out: &libc::statx) -> Stat {
        let stat = Stat::of(out);
        file.note_allocated(stat.allocated_bytes);
        stat
    }

    fn of(out: &libc::statx) -> Stat {
        // Filesystems keep years that 64 bits of nanoseconds do not reach (2262); whoever owns a file may set one.
        let ns = |time: &libc::statx_timestamp| {
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
        };
        Stat {
            kind: FileKind::of_mode(u32::from(out.stx_mode)),
            mode: u32::from(out.stx_mode) & 0o7777,
            uid: out.stx_uid,
            gid: out.stx_gid,
            links: out.stx_nlink,
            size_bytes: out.stx_size,
            allocated_bytes: out.stx_blocks * 512,
            inode: out.stx_ino,
            device: (out.stx_dev_major, out.stx_dev_minor),
            mount_id: out.stx_mnt_id,
            mount_id_is_unique: out.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0,
            modified_ns: ns(&out.stx_mtime),
            changed_ns: ns(&out.stx_ctime),
            born_ns: if out.stx_mask & libc::STATX_BTIME != 0 { ns(&out.stx_btime) } else { 0 },
            direct_align_bytes: if out.stx_mask & libc::STATX_DIOALIGN != 0 {
                out.stx_dio_offset_align
            } else {
                0
            },
        }
    }
}

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a socket, a device, or something newer.
    Special,
    /// The filesystem does not say (in directory entries only).
    Unknown,
}

impl FileKind {
    fn of_mode(mode: u32) -> FileKind {
        match mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFLNK => FileKind::Symlink,
            _ => FileKind::Special,
        }
    }

    /// Reads the type of a directory entry.
    pub(crate) fn of_entry(kind: u8) -> FileKind {
        match kind {
            libc::DT_REG => FileKind::Regular,
            libc::DT_DIR => FileKind::Directory,
            libc::DT_LNK => FileKind::Symlink,
            libc::DT_UNKNOWN => FileKind::Unknown,
            _ => FileKind::Special,
        }
    }
}

/// Reads an open file's attributes with a plain call.
pub fn stat(file: &File) -> Result<Stat, Errno> {
    stat_as(file, libc::AT_EMPTY_PATH)
}

/// Reads what the kernel knows of an open file without asking anybody, with a plain call: on a local filesystem all of
/// it, on a network filesystem its kind, inode and mount, and sizes and times that may be out of date.
pub fn stat_cached(file: &File) -> Result<Stat, Errno> {
    stat_as(file, libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC)
}

fn stat_as(file: &File, flags: i32) -> Result<Stat, Errno> {
    file::fail_if_planned(Kind::Stat)?;
    let mut out = empty_statx();
    // SAFETY: the empty path means the descriptor; `out` is a whole statx.
    let result = unsafe { libc::statx(file.raw(), c"".as_ptr(), flags, STAT_MASK, &mut out) };
    Errno::check(Errno::of_call(i64::from(result)))?;
    Ok(Stat::of_file(file, &out))
}

/// Whether this process may call `statx`, and the kernel tells mounts apart (Linux 5.8).
pub(crate) fn try_call() -> Result<(), Errno> {
    let root = file::open_at_start(std::path::Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    let mut out = empty_statx();
    // SAFETY: the empty path means the descriptor; `out` is a whole statx.
    let result = unsafe { libc::statx(root.raw(), c"".as_ptr(), libc::AT_EMPTY_PATH, STAT_MASK, &mut out) };
    Errno::check(Errno::of_call(i64::from(result)))?;
    // The C library imitates the call where the kernel has none; mounts it cannot know.
    let tells_mounts = out.stx_mask & (libc::STATX_MNT_ID | libc::STATX_MNT_ID_UNIQUE) != 0;
    if tells_mounts { Ok(()) } else { Err(Errno::NOSYS) }
}

/// Reads an open file's attributes through the engine, for filesystems where that is a round trip.
pub fn stat_slow(file: &File) -> impl Future<Output = Result<Stat, Errno>> + use<> {
    let op = attribute::StatFile { file: file.clone(), out: Box::new(empty_statx()), mask: STAT_MASK };
    let flight = Flight::new(Op::Stat(op), Identity::SERVER);
    async move {
        match flight.await {
            (result, Op::Stat(op)) => Errno::check(result).map(|_| Stat::of_file(&op.file, &op.out)),
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// What a filesystem is and how full it is.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// The filesystem's magic number, as in statfs(2).
    pub magic: i64,
    /// What statfs(2) tells filesystems apart by. On btrfs it is the subvolume's, and lasts as long as that.
    pub id: u64,
    /// Bytes that an unprivileged caller may still take.
    pub available_bytes: u64,
}

impl Space {
    fn of(out: &libc::statfs) -> Space {
        // SAFETY: the C library keeps the two integers of a `__kernel_fsid_t` to itself; every bit pattern is a u64.
        let id = unsafe { std::mem::transmute::<libc::fsid_t, u64>(out.f_fsid) };
        let available_bytes = out.f_bavail.saturating_mul(out.f_bsize as u64);
        Space { magic: out.f_type, id, available_bytes }
    }
}

/// Asks for the filesystem of an open file with a plain call.
pub fn space(file: &File) -> Result<Space, Errno> {
    file::fail_if_planned(Kind::Space)?;
    // SAFETY: a statfs is made of integers, for which zero is a valid value.
    let mut out: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `out` is a whole statfs.
    let result = unsafe { libc::fstatfs(file.raw(), &mut out) };
    Errno::check(Errno::of_call(i64::from(result)))?;
    Ok(Space::of(&out))
}

/// Asks for the filesystem of an open file through the engine, where that may be a round trip.
pub async fn space_slow(file: &File) -> Result<Space, Errno> {
    // SAFETY: a statfs is made of integers, for which zero is a valid value.
    let out = Box::new(unsafe { std::mem::zeroed::<libc::statfs>() });
    let op = pool_only::AskSpace { file: file.clone(), out };
    match Flight::new(Op::AskSpace(op), Identity::SERVER).await {
        (result, Op::AskSpace(op)) => Errno::check(result).map(|_| Space::of(&op.out)),
        _ => unreachable!("a flight returns the operation it was made with"),
    }
}

/// Whether names in a directory are the same in upper and lower case, with a plain call that asks a local filesystem's
/// memory; false where it cannot say. The directory is open for reading.
///
/// Source: FS_IOC_GETFLAGS and FS_CASEFOLD_FL of `linux/fs.h`.
pub fn folds_case(directory: &File) -> bool {
    let mut flags: libc::c_int = 0;
    // SAFETY: the request's number speaks of a long, but the kernel writes an int (ioctl_iflags(2)), which lives on this
    // stack frame.
    let result = unsafe { libc::ioctl(directory.raw(), libc::FS_IOC_GETFLAGS, &mut flags) };
    result == 0 && flags & FS_CASEFOLD_FL != 0
}

/// The C library's bindings do not carry it.
const FS_CASEFOLD_FL: libc::c_int = 0x4000_0000;

/// Kernels that do not know the unique identity leave its bit alone and answer with the plain one.
const STAT_MASK: u32 = libc::STATX_BASIC_STATS
    | libc::STATX_BTIME
    | libc::STATX_MNT_ID
    | libc::STATX_MNT_ID_UNIQUE
    | libc::STATX_DIOALIGN;

fn empty_statx() -> libc::statx {
    // SAFETY: a statx is made of integers, for which zero is a valid value.
    unsafe { std::mem::zeroed() }
}
