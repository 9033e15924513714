//! Operations that no opcode serves: reading a directory, copying and cloning ranges, setting times, asking for space,
//! locking.
//!
//! Both engines run them in the blocking pool, on descriptors that were opened under the caller's identity.
//! Source: getdents64(2), copy_file_range(2), ioctl_ficlonerange(2), futimens(3), fstatfs(2), flock(2).

use std::os::fd::RawFd;

use crate::errno::Errno;
use crate::file::File;

/// One `getdents64` call.
pub(crate) struct ReadDirectory {
    pub(crate) directory: File,
    pub(crate) buffer: Box<[u8]>,
}

impl ReadDirectory {
    pub(crate) fn call(&mut self) -> i32 {
        let (fd, pointer, length) = (self.directory.raw(), self.buffer.as_mut_ptr(), self.buffer.len());
        // SAFETY: the buffer is owned by this operation and `length` bytes long.
        Errno::of_call(unsafe { libc::syscall(libc::SYS_getdents64, fd, pointer, length) })
    }
}

/// Copies bytes between two files inside the kernel.
pub(crate) struct CopyRange {
    pub(crate) from: File,
    pub(crate) from_offset: u64,
    pub(crate) to: File,
    pub(crate) to_offset: u64,
    pub(crate) length: u64,
}

impl CopyRange {
    pub(crate) fn call(&mut self) -> i32 {
        let mut from_offset = self.from_offset as i64;
        let mut to_offset = self.to_offset as i64;
        let length = self.length.min(i32::MAX as u64) as usize;
        let (from, to): (RawFd, RawFd) = (self.from.raw(), self.to.raw());
        // SAFETY: both files are open as long as `self` holds them; the offsets live on this stack frame.
        let result = unsafe { libc::copy_file_range(from, &mut from_offset, to, &mut to_offset, length, 0) };
        Errno::of_call(result as i64)
    }
}

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
struct FileCloneRange {
    source_fd: i64,
    source_offset: u64,
    source_length: u64,
    target_offset: u64,
}

/// `_IOW(0x94, 13, struct file_clone_range)` of `linux/fs.h`; the C library's bindings do not carry it.
const FICLONERANGE: libc::Ioctl = 0x4020_940D;

/// Shares extents between two files, where the filesystem can.
pub(crate) struct CloneRange {
    pub(crate) from: File,
    pub(crate) from_offset: u64,
    pub(crate) to: File,
    pub(crate) to_offset: u64,
    pub(crate) length: u64,
}

impl CloneRange {
    pub(crate) fn call(&mut self) -> i32 {
        let request = FileCloneRange {
            source_fd: i64::from(self.from.raw()),
            source_offset: self.from_offset,
            source_length: self.length,
            target_offset: self.to_offset,
        };
        // SAFETY: FICLONERANGE reads one `file_clone_range`, which lives on this stack frame.
        let result = unsafe { libc::ioctl(self.to.raw(), FICLONERANGE, &request) };
        Errno::of_call(i64::from(result))
    }
}

/// Sets the modification time of a file and leaves the access time.
pub(crate) struct SetTimes {
    pub(crate) file: File,
    pub(crate) modified_ns: i64,
}

impl SetTimes {
    pub(crate) fn call(&mut self) -> i32 {
        let times = [
            libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
            libc::timespec {
                tv_sec: self.modified_ns.div_euclid(1_000_000_000),
                tv_nsec: self.modified_ns.rem_euclid(1_000_000_000),
            },
        ];
        // SAFETY: two valid timespecs, read during the call.
        let result = unsafe { libc::futimens(self.file.raw(), times.as_ptr()) };
        Errno::of_call(i64::from(result))
    }
}

/// `fstatfs`.
pub(crate) struct AskSpace {
    pub(crate) file: File,
    pub(crate) out: Box<libc::statfs>,
}

impl AskSpace {
    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: `out` is a whole statfs owned by this operation.
        let result = unsafe { libc::fstatfs(self.file.raw(), &mut *self.out) };
        Errno::of_call(i64::from(result))
    }
}

/// `flock`, exclusive or shared, that waits for no other holder; on a network filesystem it waits for the server.
pub(crate) struct LockFile {
    pub(crate) file: File,
    pub(crate) operation: i32,
}

impl LockFile {
    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: flock takes a descriptor, which is open, and a number.
        let result = unsafe { libc::flock(self.file.raw(), self.operation) };
        Errno::of_call(i64::from(result))
    }
}
