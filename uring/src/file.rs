//! Files and directories: open descriptors and the operations on them.
//!
//! Functions that return `impl Future` submit their operation at the call, so that a caller may start several; an
//! `async fn` begins when it is polled. What allocates or names something takes an identity. `read_attribute` is a plain
//! call for local filesystems; its `_slow` form goes through the engine. Which path is legal is for the floors above.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::future::Future;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::arena::{Block, BlockMut};
use crate::closing::Closing;
use crate::cores;
use crate::errno::Errno;
use crate::fault;
use crate::flight::Flight;
use crate::identity::Identity;
use crate::lane::{Lane, Reach};
use crate::op::{Kind, Op, attribute, content, name, pool_only};
use crate::stat::FileKind;

/// An open file or directory; clones share the descriptor, the last one closes it and waits for nothing.
#[derive(Clone)]
pub struct File(Rc<Inner>);

struct Inner {
    // `None` only while it is dropped or taken apart.
    fd: Option<OwnedFd>,
    is_direct: Cell<bool>,
    lane: Cell<Lane>,
    closing: Cell<Closing>,
}

/// How to open a file.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// `O_*` flags; close-on-exec is always added.
    pub flags: i32,
    /// Permission bits of a file that is made, before the umask.
    pub mode: u32,
    /// `RESOLVE_*` flags.
    pub resolve: u64,
}

/// What a flush has to make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The content and what is needed to read it back.
    Content,
    /// All of the inode; for a directory, its names.
    Everything,
}

/// How a file without a name is told to `linkat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkForm {
    /// By its descriptor (AT_EMPTY_PATH).
    Descriptor,
    /// By its entry below /proc/self/fd.
    Proc,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without NUL.
    pub name: Vec<u8>,
    /// What it is, as far as the directory says.
    pub kind: FileKind,
    /// Where what comes behind it begins, as the filesystem counts; see [`seek_directory`].
    pub next: i64,
}

impl File {
    /// Wraps a descriptor that was opened elsewhere.
    pub fn from_fd(fd: OwnedFd) -> File {
        File::opened(fd, 0)
    }

    pub(crate) fn opened(fd: OwnedFd, flags: i32) -> File {
        let is_direct = Cell::new(flags & libc::O_DIRECT != 0);
        let closing = Cell::new(Closing::of(flags));
        File(Rc::new(Inner { fd: Some(fd), is_direct, lane: Cell::new(Lane::UNNAMED), closing }))
    }

    /// The same open file with a descriptor of its own, which is closed as this one is.
    pub(crate) fn duplicate(&self) -> Result<File, Errno> {
        // SAFETY: the descriptor is open for the length of this function because `self` is borrowed.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.raw()) };
        let (is_direct, lane) = (self.0.is_direct.clone(), self.0.lane.clone());
        let fd = Some(borrowed.try_clone_to_owned()?);
        Ok(File(Rc::new(Inner { fd, is_direct, lane, closing: self.0.closing.clone() })))
    }

    /// Takes the file apart, so that it may leave its core, unless it has clones.
    pub(crate) fn apart(self) -> Option<Parts> {
        let mut inner = Rc::into_inner(self.0)?;
        Some(Parts { fd: inner.fd.take()?, lane: inner.lane.get(), closing: inner.closing.get() })
    }

    /// Notes how much space it has: although it is only read or looked at, it may lose its name while it is open, and its
    /// last close must not keep the core then.
    pub(crate) fn note_allocated(&self, allocated_bytes: u64) {
        self.0.closing.set(self.0.closing.get().of_size(allocated_bytes));
    }

    /// Says on which mount the file lies, and what is known of it: its operations, and those of files opened below it from
    /// now on, share the threads of that mount and leave those of others alone.
    pub fn belongs_to_mount(&self, id: u64, reach: Reach) {
        self.0.lane.set(Lane::of_mount(id, reach));
    }

    /// Where its operations count.
    pub fn lane(&self) -> Lane {
        self.0.lane.get()
    }

    pub(crate) fn with_lane(self, lane: Lane) -> File {
        self.0.lane.set(lane);
        self
    }

    /// The descriptor's number; valid as long as a clone lives.
    pub fn raw(&self) -> RawFd {
        self.0.fd.as_ref().expect("the descriptor is there until the drop").as_raw_fd()
    }

    /// Whether content moves past the page cache.
    pub fn is_direct(&self) -> bool {
        self.0.is_direct.get()
    }

    /// Turns O_DIRECT off, for a filesystem that took the flag at open and refused the first write.
    pub fn clear_direct(&self) -> Result<(), Errno> {
        // SAFETY: the descriptor is open; F_GETFL takes no argument.
        let flags = unsafe { libc::fcntl(self.raw(), libc::F_GETFL) };
        let flags = Errno::check(Errno::of_call(i64::from(flags)))? as i32;
        // SAFETY: the descriptor is open; F_SETFL takes an integer.
        let result = unsafe { libc::fcntl(self.raw(), libc::F_SETFL, flags & !libc::O_DIRECT) };
        Errno::check(Errno::of_call(i64::from(result)))?;
        self.0.is_direct.set(false);
        Ok(())
    }
}

/// What a file is made of, without its core.
#[derive(Debug)]
pub(crate) struct Parts {
    fd: OwnedFd,
    lane: Lane,
    closing: Closing,
}

impl Parts {
    /// Makes them a file of the current core.
    pub(crate) fn together(self) -> File {
        let file = File::from_fd(self.fd).with_lane(self.lane);
        file.0.closing.set(self.closing);
        file
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        let lane = self.lane.get();
        // A thread that is no core, or not any more, has no engine: there the close is a plain call, as this returns.
        if self.closing.get().waits(lane.reach()) && cores::try_with(|_| ()).is_some() {
            let close = content::Close { fd: Some(fd), lane };
            Flight::new(Op::Close(close), Identity::SERVER).detach();
        }
    }
}

/// Opens `path` below `directory` under an identity.
pub fn open(
    directory: &File,
    path: CString,
    opening: Opening,
    identity: Identity,
) -> impl Future<Output = Result<File, Errno>> + use<> {
    open_in_lane(directory, path, opening, identity, directory.lane())
}

/// Opens `path` below `directory` where it leads into another mount than the directory's: the operation counts in the lane
/// of that mount, and so does the file.
pub fn open_in_lane(
    directory: &File,
    path: CString,
    opening: Opening,
    identity: Identity,
    lane: Lane,
) -> impl Future<Output = Result<File, Errno>> + use<> {
    let flight = Flight::new(Op::Open(name::Open::new(directory.clone(), path, opening, lane)), identity);
    async move {
        match flight.await {
            (result, Op::Open(op)) => op.take_file(result),
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// Opens a path of the whole filesystem, for start-up: `directory` is not involved.
///
/// This is a plain call and may block; no request may use it.
pub fn open_at_start(path: &std::path::Path, flags: i32) -> Result<File, Errno> {
    use std::os::fd::FromRawFd;
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path is a valid C string.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the descriptor is new and nothing else owns it.
    Ok(File::opened(unsafe { OwnedFd::from_raw_fd(fd) }, flags))
}

/// Whether this process may call `openat2`, which the engine without a ring opens everything with.
pub(crate) fn try_open() -> Result<(), Errno> {
    let root = open_at_start(std::path::Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    let opening =
        Opening { flags: libc::O_PATH | libc::O_DIRECTORY, mode: 0, resolve: libc::RESOLVE_BENEATH };
    let mut open = name::Open::new(root, CString::from(c"."), opening, Lane::UNNAMED);
    let result = open.call();
    open.take_file(result).map(|_| ())
}

/// Starts an operation whose result says only whether it worked.
fn plain(op: Op, identity: Identity) -> impl Future<Output = Result<(), Errno>> + use<> {
    let flight = Flight::new(op, identity);
    async move { Errno::check(flight.await.0).map(|_| ()) }
}

/// Makes a directory.
pub fn make_directory(
    directory: &File,
    path: CString,
    mode: u32,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::MakeDirectory(name::MakeDirectory { directory: directory.clone(), path, mode }), identity)
}

/// Whether `linkat` with AT_EMPTY_PATH has been found refused, so that /proc is used from then on.
///
/// Before Linux 6.10 it wants CAP_DAC_READ_SEARCH and says ENOENT without it.
static NEEDS_PROC: AtomicBool = AtomicBool::new(false);

/// Gives an open file without a name its first one; EEXIST when the name is taken.
pub async fn link(file: &File, directory: &File, name: CString, identity: Identity) -> Result<(), Errno> {
    let form = if NEEDS_PROC.load(Ordering::Relaxed) { LinkForm::Proc } else { LinkForm::Descriptor };
    let first = link_as(file, directory, name.clone(), form, identity).await;
    if form == LinkForm::Proc || first != Err(Errno::NOENT) {
        return first;
    }
    // ENOENT also says that the directory is gone, so only a success by the other form decides.
    let second = link_as(file, directory, name, LinkForm::Proc, identity).await;
    if second.is_ok() {
        NEEDS_PROC.store(true, Ordering::Relaxed);
    }
    second
}

/// Links in one given form.
pub fn link_as(
    file: &File,
    directory: &File,
    name: CString,
    form: LinkForm,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::Link(name::Link::new(file.clone(), directory.clone(), name, form)), identity)
}

/// Renames; `flags` are those of `renameat2`.
pub fn rename(
    from_directory: &File,
    from: CString,
    to_directory: &File,
    to: CString,
    flags: u32,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    let (from_directory, to_directory) = (from_directory.clone(), to_directory.clone());
    plain(Op::Rename(name::Rename { from_directory, from, to_directory, to, flags }), identity)
}

/// Removes a name; `flags` is zero or `AT_REMOVEDIR`.
pub fn unlink(
    directory: &File,
    name: CString,
    flags: i32,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::Unlink(name::Unlink { directory: directory.clone(), name, flags }), identity)
}

/// Sets an extended attribute; `flags` are those of `fsetxattr`.
pub fn set_attribute(
    file: &File,
    name: &'static CStr,
    value: Box<[u8]>,
    flags: i32,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::SetAttribute(attribute::SetAttribute { file: file.clone(), name, value, flags }), identity)
}

/// Flushes a file or a directory.
pub fn sync(file: &File, what: Sync) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::Sync(content::SyncFile { file: file.clone(), what }), Identity::SERVER)
}

/// Reserves space from `offset` on and extends the file over it.
pub fn allocate(
    file: &File,
    offset: u64,
    length: u64,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::Allocate(content::Allocate { file: file.clone(), offset, length }), identity)
}

/// Sets the size of a file.
pub fn truncate(
    file: &File,
    length: u64,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::Truncate(content::Truncate { file: file.clone(), length }), identity)
}

/// Reads into `range` of a block.
///
/// Shape: the bytes read, fewer at the end of the file, and the block.
pub fn read_at(
    file: &File,
    block: BlockMut,
    range: Range<usize>,
    offset: u64,
) -> impl Future<Output = (Result<u32, Errno>, BlockMut)> + use<> {
    assert!(range.start <= range.end && range.end <= block.len(), "a range lies inside its block");
    let (start, length) = (range.start as u32, range.len() as u32);
    let op = Op::Read(content::Read { file: file.clone(), block, start, length, offset });
    let flight = Flight::new(op, Identity::SERVER);
    async move {
        match flight.await {
            (result, Op::Read(op)) => (Errno::check(result), op.block),
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// A write under way; made by [`write_at`].
pub struct Writing(Flight);

impl Writing {
    /// Waits for the write.
    ///
    /// Shape: the bytes written, and the block.
    pub async fn finish(self) -> (Result<u32, Errno>, Block) {
        match self.0.await {
            (result, Op::Write(op)) => (Errno::check(result), op.block),
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// Starts to write `range` of a frozen block.
pub fn write_at(file: &File, block: Block, range: Range<usize>, offset: u64, identity: Identity) -> Writing {
    assert!(range.start <= range.end && range.end <= block.len(), "a range lies inside its block");
    let (start, length) = (range.start as u32, range.len() as u32);
    Writing(Flight::new(
        Op::Write(content::Write { file: file.clone(), block, start, length, offset }),
        identity,
    ))
}

/// Reads up to `length` bytes at `offset` into memory of the heap, for small things outside the data path.
pub fn read_bytes(
    file: &File,
    length: usize,
    offset: u64,
) -> impl Future<Output = Result<Vec<u8>, Errno>> + use<> {
    let bytes = vec![0; length].into_boxed_slice();
    let length = u32::try_from(length).expect("small things are smaller than 4 GiB");
    let op = Op::ReadBytes(content::ReadBytes { file: file.clone(), bytes, length, offset });
    let flight = Flight::new(op, Identity::SERVER);
    async move {
        match flight.await {
            (result, Op::ReadBytes(op)) => {
                let count = Errno::check(result)? as usize;
                let mut bytes = op.bytes.into_vec();
                bytes.truncate(count);
                Ok(bytes)
            }
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// Writes memory of the heap at `offset`, for small things outside the data path.
///
/// Errors: ENOSPC when nothing more is taken, which a full disk may say that way.
pub async fn write_bytes(
    file: &File,
    mut bytes: Box<[u8]>,
    mut offset: u64,
    identity: Identity,
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let length = u32::try_from(bytes.len()).expect("small things are smaller than 4 GiB");
        let op = Op::WriteBytes(content::WriteBytes { file: file.clone(), bytes, length, offset });
        let (result, Op::WriteBytes(op)) = Flight::new(op, identity).await else {
            unreachable!("a flight returns the operation it was made with")
        };
        let written = Errno::check(result)?;
        if written == 0 {
            return Err(Errno::NOSPC);
        }
        // A short count is rare, so what is left may be copied.
        bytes = op.bytes[written as usize..].into();
        offset += u64::from(written);
    }
    Ok(())
}

/// Reads an extended attribute into `value` with a plain call; returns its length.
pub fn read_attribute(file: &File, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
    fail_if_planned(Kind::GetAttribute)?;
    // SAFETY: the value has room for its own length.
    let result =
        unsafe { libc::fgetxattr(file.raw(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    Errno::check(Errno::of_call(result as i64)).map(|length| length as usize)
}

/// Reads an extended attribute of at most `length_max` bytes through the engine.
pub fn read_attribute_slow(
    file: &File,
    name: &'static CStr,
    length_max: usize,
) -> impl Future<Output = Result<Vec<u8>, Errno>> + use<> {
    let value = vec![0; length_max].into_boxed_slice();
    let op = attribute::GetAttribute { file: file.clone(), name, value };
    let flight = Flight::new(Op::GetAttribute(op), Identity::SERVER);
    async move {
        match flight.await {
            (result, Op::GetAttribute(op)) => {
                let length = Errno::check(result)? as usize;
                let mut value = op.value.into_vec();
                value.truncate(length);
                Ok(value)
            }
            _ => unreachable!("a flight returns the operation it was made with"),
        }
    }
}

/// Reads from a file into `bytes` with a plain call that never waits for a disk; EAGAIN when it would.
///
/// EOPNOTSUPP where the filesystem cannot say.
pub fn read_resident(file: &File, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    fail_if_planned(Kind::Read)?;
    let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: one valid vector over `bytes`.
    let result = unsafe { libc::preadv2(file.raw(), &vector, 1, offset as i64, libc::RWF_NOWAIT) };
    Errno::check(Errno::of_call(result as i64)).map(|length| length as usize)
}

/// How many bytes of a range are in the page cache, with a plain call (`cachestat`, Linux 6.5).
///
/// Errors: ENOSYS on older kernels, EOPNOTSUPP where the filesystem cannot say.
pub fn resident_bytes(file: &File, offset: u64, length: u64) -> Result<u64, Errno> {
    let range = [offset, length];
    // `struct cachestat`: pages cached, dirty, under writeback, evicted, evicted lately.
    let mut counts = [0_u64; 5];
    let (range, counts_out) = (range.as_ptr(), counts.as_mut_ptr());
    // SAFETY: the call reads two and writes five 64-bit integers, which live on this stack frame.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.raw(), range, counts_out, 0) };
    Errno::check(Errno::of_call(result))?;
    Ok(counts[0].saturating_mul(4096))
}

/// The number of `cachestat`, the same on every architecture; the C library's bindings do not carry it everywhere.
const SYS_CACHESTAT: i64 = 451;

pub(crate) fn fail_if_planned(kind: Kind) -> Result<(), Errno> {
    fault::of_plain_call(kind).map(|_| ())
}

/// The buffer of one `getdents64` call: room for about a thousand names.
const DIRECTORY_BUFFER: usize = 64 * 1024;

/// Reads the next entries of an open directory, without `.` and `..`, in the filesystem's order.
///
/// Shape: empty at the end. The position is the descriptor's own, so one reader at a time.
pub async fn read_directory(directory: &File) -> Result<Vec<Entry>, Errno> {
    let mut buffer = vec![0; DIRECTORY_BUFFER].into_boxed_slice();
    loop {
        let op = Op::ReadDirectory(pool_only::ReadDirectory { directory: directory.clone(), buffer });
        let (result, op) = Flight::new(op, Identity::SERVER).await;
        let Op::ReadDirectory(op) = op else {
            unreachable!("a flight returns the operation it was made with")
        };
        let length = Errno::check(result)? as usize;
        let mut entries = Vec::new();
        parse_entries(&op.buffer[..length], &mut entries);
        // A call may bring nothing but `.` and `..`; that is not the end.
        if !entries.is_empty() || length == 0 {
            return Ok(entries);
        }
        buffer = op.buffer;
    }
}

/// Splits `struct linux_dirent64` records: inode 8, offset 8, record length 2, type 1, name with NUL.
fn parse_entries(mut bytes: &[u8], entries: &mut Vec<Entry>) {
    const HEADER: usize = 19;
    while bytes.len() > HEADER {
        let length = usize::from(u16::from_ne_bytes([bytes[16], bytes[17]]));
        let (record, rest) = bytes.split_at(length);
        let name = record[HEADER..].split(|byte| *byte == 0).next().unwrap_or_default();
        if name != b"." && name != b".." {
            let next = i64::from_ne_bytes(record[8..16].try_into().expect("eight bytes"));
            entries.push(Entry { name: name.to_vec(), kind: FileKind::of_entry(record[18]), next });
        }
        bytes = rest;
    }
}

/// Moves the position of an open directory back to its first entry, with a plain call.
pub fn rewind_directory(directory: &File) -> Result<(), Errno> {
    seek_directory(directory, 0)
}

/// Moves the position of an open directory to where an entry's `next` says, with a plain call.
pub fn seek_directory(directory: &File, position: i64) -> Result<(), Errno> {
    // SAFETY: the descriptor is open; seeking touches no memory.
    let result = unsafe { libc::lseek(directory.raw(), position, libc::SEEK_SET) };
    Errno::check(Errno::of_call(result)).map(|_| ())
}

/// Copies up to `length` bytes between files inside the kernel; returns how many, which may be fewer.
pub fn copy_range(
    (from, from_offset): (&File, u64),
    (to, to_offset): (&File, u64),
    length: u64,
    identity: Identity,
) -> impl Future<Output = Result<u32, Errno>> + use<> {
    let op = pool_only::CopyRange { from: from.clone(), from_offset, to: to.clone(), to_offset, length };
    let flight = Flight::new(Op::CopyRange(op), identity);
    async move { Errno::check(flight.await.0) }
}

/// Shares extents between files of one filesystem that can (FICLONERANGE).
pub fn clone_range(
    (from, from_offset): (&File, u64),
    (to, to_offset): (&File, u64),
    length: u64,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    let op = pool_only::CloneRange { from: from.clone(), from_offset, to: to.clone(), to_offset, length };
    plain(Op::CloneRange(op), identity)
}

/// Sets the modification time and leaves the access time.
pub fn set_modified(
    file: &File,
    modified_ns: i64,
    identity: Identity,
) -> impl Future<Output = Result<(), Errno>> + use<> {
    plain(Op::SetTimes(pool_only::SetTimes { file: file.clone(), modified_ns }), identity)
}
