//! Locks of whole files and directories between processes: which server is alive, who may remove a directory.
//!
//! A lock belongs to the open file description: it ends when the process does, however it ends. Requests never wait for
//! one. Source: flock(2).

use crate::cores;
use crate::errno::Errno;
use crate::file::{self, File, Parts};
use crate::flight::Flight;
use crate::identity::Identity;
use crate::lane::Reach;
use crate::op::{Kind, Op, pool_only};

/// A lock that is held; it may move to another thread and ends with the value: at once on a local filesystem, on another one
/// when that has answered, which the drop does not wait for.
#[derive(Debug)]
pub struct Held {
    // A duplicate of the locked file; `None` only while the lock ends.
    duplicate: Option<Parts>,
}

impl Held {
    fn of(duplicate: File) -> Held {
        Held { duplicate: Some(duplicate.apart().expect("a duplicate that was just locked has no clones")) }
    }

    /// Ends the lock, and returns when others can have it.
    pub async fn release(mut self) {
        if let Some(flight) = self.unlock() {
            flight.await;
        }
    }

    /// The end of all its descriptors ends a lock too, but those of the file may be closed later, by a thread.
    ///
    /// Shape: what is under way after this; none when the lock has ended.
    fn unlock(&mut self) -> Option<Flight> {
        let mut op =
            pool_only::LockFile { file: self.duplicate.take()?.together(), operation: libc::LOCK_UN };
        // A thread that is no core, or not any more, has no engine: there this is a plain call, as the close is.
        if op.file.lane().reach() == Reach::Remote && cores::try_with(|_| ()).is_some() {
            return Some(Flight::new(Op::LockFile(op), Identity::SERVER));
        }
        op.call();
        None
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(flight) = self.unlock() {
            flight.detach();
        }
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
    let mut op = pool_only::LockFile { file: file.duplicate()?, operation: hold.operation() };
    Errno::check(op.call())?;
    Ok(Held::of(op.file))
}

/// Locks a file if nobody is in the way, through the engine, for filesystems where that is a round trip.
///
/// Errors: EAGAIN when another description is.
pub async fn try_lock_slow(file: &File, hold: Hold) -> Result<Held, Errno> {
    // Taken before the lock: once that is there, nothing may fail.
    let op = pool_only::LockFile { file: file.duplicate()?, operation: hold.operation() };
    match Flight::new(Op::LockFile(op), Identity::SERVER).await {
        (result, Op::LockFile(op)) => Errno::check(result).map(|_| Held::of(op.file)),
        _ => unreachable!("a flight returns the operation it was made with"),
    }
}
