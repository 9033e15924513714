//! Locks of whole files between processes, for tables that say which server is alive.
//!
//! A lock belongs to the open file description: it ends when the process does, however it ends. Requests never wait for
//! one. Source: flock(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::file::File;

/// A lock that is held; it may move to another thread and ends with the value.
#[derive(Debug)]
pub struct Held {
    // A duplicate of the locked file's descriptor.
    fd: OwnedFd,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of all its descriptors ends the lock too, but those of the file may be closed later, by a thread.
        // SAFETY: flock takes a descriptor, which is open, and a number.
        unsafe { libc::flock(self.fd.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Locks a file exclusively if nobody holds it; a plain call that does not wait.
///
/// Errors: EAGAIN when another description holds it.
pub fn try_lock(file: &File) -> Result<Held, Errno> {
    // SAFETY: the descriptor is open for the length of this function because `file` is borrowed.
    let borrowed = unsafe { BorrowedFd::borrow_raw(file.raw()) };
    let fd = borrowed.try_clone_to_owned()?;
    // SAFETY: flock takes a descriptor, which is open, and a number.
    let result = unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    Errno::check(Errno::of_call(i64::from(result)))?;
    Ok(Held { fd })
}
