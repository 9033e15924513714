//! The kernel's error numbers as one small type.
//!
//! Only the numbers that code above this floor tells apart have names here; the rest keep their number and the C
//! library's text. Nothing here decides what an error means to S3: that is one function of the fs floor.
//! Source: errno(3).

use std::fmt;

/// An error number as the kernel gives it.
///
/// Units: positive, as in `errno.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const PERM: Errno = Errno(libc::EPERM);
    /// No such file or directory.
    pub const NOENT: Errno = Errno(libc::ENOENT);
    /// Interrupted system call.
    pub const INTR: Errno = Errno(libc::EINTR);
    /// Input/output error.
    pub const IO: Errno = Errno(libc::EIO);
    /// No such device or address: a FIFO without a reader, a socket opened as a file.
    pub const NXIO: Errno = Errno(libc::ENXIO);
    /// Resource temporarily unavailable.
    pub const AGAIN: Errno = Errno(libc::EAGAIN);
    /// Cannot allocate memory, or RLIMIT_MEMLOCK refuses.
    pub const NOMEM: Errno = Errno(libc::ENOMEM);
    /// Permission denied.
    pub const ACCES: Errno = Errno(libc::EACCES);
    /// File exists.
    pub const EXIST: Errno = Errno(libc::EEXIST);
    /// Invalid cross-device link, or a path that leaves its root.
    pub const XDEV: Errno = Errno(libc::EXDEV);
    /// Not a directory.
    pub const NOTDIR: Errno = Errno(libc::ENOTDIR);
    /// Is a directory.
    pub const ISDIR: Errno = Errno(libc::EISDIR);
    /// Invalid argument.
    pub const INVAL: Errno = Errno(libc::EINVAL);
    /// Too many open files in the system.
    pub const NFILE: Errno = Errno(libc::ENFILE);
    /// Too many open files in the process.
    pub const MFILE: Errno = Errno(libc::EMFILE);
    /// File too large.
    pub const FBIG: Errno = Errno(libc::EFBIG);
    /// No space left on device.
    pub const NOSPC: Errno = Errno(libc::ENOSPC);
    /// Read-only file system.
    pub const ROFS: Errno = Errno(libc::EROFS);
    /// Too many links.
    pub const MLINK: Errno = Errno(libc::EMLINK);
    /// Broken pipe.
    pub const PIPE: Errno = Errno(libc::EPIPE);
    /// Result too large for the buffer given.
    pub const RANGE: Errno = Errno(libc::ERANGE);
    /// File name too long.
    pub const NAMETOOLONG: Errno = Errno(libc::ENAMETOOLONG);
    /// Function not implemented.
    pub const NOSYS: Errno = Errno(libc::ENOSYS);
    /// Directory not empty.
    pub const NOTEMPTY: Errno = Errno(libc::ENOTEMPTY);
    /// Too many levels of symbolic links, or a symbolic link where none is followed.
    pub const LOOP: Errno = Errno(libc::ELOOP);
    /// No such extended attribute.
    pub const NODATA: Errno = Errno(libc::ENODATA);
    /// Argument list too long: an extended attribute over its limit.
    pub const TOOBIG: Errno = Errno(libc::E2BIG);
    /// Operation not supported.
    pub const NOTSUP: Errno = Errno(libc::EOPNOTSUPP);
    /// Inappropriate ioctl for the device.
    pub const NOTTY: Errno = Errno(libc::ENOTTY);
    /// Connection reset by the peer.
    pub const CONNRESET: Errno = Errno(libc::ECONNRESET);
    /// No buffer space: a table of this crate is full.
    pub const NOBUFS: Errno = Errno(libc::ENOBUFS);
    /// Connection timed out.
    pub const TIMEDOUT: Errno = Errno(libc::ETIMEDOUT);
    /// Stale file handle.
    pub const STALE: Errno = Errno(libc::ESTALE);
    /// Disk quota exceeded.
    pub const DQUOT: Errno = Errno(libc::EDQUOT);
    /// The operation was cancelled.
    pub const CANCELED: Errno = Errno(libc::ECANCELED);

    /// The error of the calling thread's last failed C library call.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Reads a kernel style result: negative is an error, the rest is a value.
    pub fn check(result: i32) -> Result<u32, Errno> {
        if result < 0 { Err(Errno(result.wrapping_neg())) } else { Ok(result as u32) }
    }

    /// Reads the result of a C library call: -1 means look at `errno`.
    pub(crate) fn of_call(result: i64) -> i32 {
        if result < 0 { Errno::last().0.wrapping_neg() } else { result.min(i64::from(i32::MAX)) as i32 }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}
