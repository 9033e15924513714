//! Locks of whole files and directories between processes: which server is alive, who may remove a directory.
//!
//! A lock belongs to the open file description: it ends when the process does, however it ends. Requests never wait for
//! one. Source: flock(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::file::{self, File};
use crate::flight::Flight;
use crate::identity::Identity;
use crate::op::{Kind, Op, pool_only};

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

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Exclusive holders.
    Shared,
    /// All others.
    Exclusive,
}

impl Hold {
    fn operation(self) -> i32 {
        match self {
            Hold::Shared => libc::LOCK_SH | libc::LOCK_NB,
            Hold::Exclusive => libc::LOCK_EX | libc::LOCK_NB,
        }
    }
}

/// Locks a file exclusively if nobody holds it; a plain call that does not wait, for local filesystems.
///
/// Errors: EAGAIN when another description holds it.
pub fn try_lock(file: &File) -> Result<Held, Errno> {
    try_lock_as(file, Hold::Exclusive)
}

/// Locks a file if nobody is in the way; a plain call that does not wait, for local filesystems.
///
/// Errors: EAGAIN when another description is.
pub fn try_lock_as(file: &File, hold: Hold) -> Result<Held, Errno> {
    file::fail_if_planned(Kind::Lock)?;
    let fd = duplicate(file)?;
    // SAFETY: flock takes a descriptor, which is open, and a number.
    let result = unsafe { libc::flock(fd.as_raw_fd(), hold.operation()) };
    Errno::check(Errno::of_call(i64::from(result)))?;
    Ok(Held { fd })
}

/// Locks a file if nobody is in the way, through the engine, for filesystems where that is a round trip.
///
/// Errors: EAGAIN when another description is.
pub async fn try_lock_slow(file: &File, hold: Hold) -> Result<Held, Errno> {
    // Taken before the lock: once that is there, nothing may fail.
    let fd = duplicate(file)?;
    let op = pool_only::LockFile { file: file.clone(), operation: hold.operation() };
    Errno::check(Flight::new(Op::LockFile(op), Identity::SERVER).await.0)?;
    Ok(Held { fd })
}

fn duplicate(file: &File) -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptor is open for the length of this function because `file` is borrowed.
    let borrowed = unsafe { BorrowedFd::borrow_raw(file.raw()) };
    Ok(borrowed.try_clone_to_owned()?)
}
