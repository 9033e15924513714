//! The closed set of operations: what each is as a submission queue entry and as a plain system call.
//!
//! An operation owns everything the kernel may touch while it runs: descriptors, paths, blocks. It lives in a slot
//! at a stable address from submission to completion. One file a family, both engines' forms side by side.
//! It does not know which engine runs it. Source: io_uring_enter(2), liburing's opcode pages.

pub(crate) mod attribute;
pub(crate) mod content;
pub(crate) mod name;
pub(crate) mod pool_only;
pub(crate) mod socket;

use io_uring::squeue;

use crate::arena::Registration;
use crate::errno::Errno;
use crate::lane::{Act, Lane};

/// What kind of operation it is, for fault plans and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Accepting a connection.
    Accept,
    /// Waiting for a socket to be readable or writable.
    Poll,
    /// Receiving into a block or a slice.
    Receive,
    /// Sending from a slice, or from a file by `sendfile`.
    Send,
    /// Connecting to an address.
    Connect,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// `fsync` or `fdatasync`.
    Sync,
    /// `fallocate`.
    Allocate,
    /// `ftruncate`.
    Truncate,
    /// `close`.
    Close,
    /// `openat2`.
    Open,
    /// `mkdirat`.
    MakeDirectory,
    /// `linkat`.
    Link,
    /// `renameat2`.
    Rename,
    /// `unlinkat`.
    Unlink,
    /// `fsetxattr`.
    SetAttribute,
    /// `fgetxattr`.
    GetAttribute,
    /// `statx` of an open file.
    Stat,
    /// `getdents64`.
    ReadDirectory,
    /// `copy_file_range` or `FICLONERANGE`.
    Copy,
    /// `futimens`.
    SetTimes,
    /// `fstatfs`.
    Space,
    /// `flock`.
    Lock,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Kind::Lock as usize + 1;

    /// What an operation of the kind ends with when a plan leaves it out: one that makes a descriptor cannot succeed then.
    pub(crate) fn left_out(self) -> Result<(), Errno> {
        if matches!(self, Kind::Open | Kind::Accept) { Err(Errno::IO) } else { Ok(()) }
    }
}

/// One operation with all it owns.
pub(crate) enum Op {
    Poll(socket::PollFor),
    Receive(socket::Receive),
    Connect(socket::Connect),
    Read(content::Read),
    Write(content::Write),
    ReadBytes(content::ReadBytes),
    WriteBytes(content::WriteBytes),
    Sync(content::SyncFile),
    Allocate(content::Allocate),
    Truncate(content::Truncate),
    Close(content::Close),
    Open(name::Open),
    MakeDirectory(name::MakeDirectory),
    Link(name::Link),
    Rename(name::Rename),
    Unlink(name::Unlink),
    SetAttribute(attribute::SetAttribute),
    GetAttribute(attribute::GetAttribute),
    Stat(attribute::StatFile),
    ReadDirectory(pool_only::ReadDirectory),
    CopyRange(pool_only::CopyRange),
    CloneRange(pool_only::CloneRange),
    SetTimes(pool_only::SetTimes),
    AskSpace(pool_only::AskSpace),
    LockFile(pool_only::LockFile),
}

const _: () = assert!(size_of::<Op>() <= 96, "an operation must fit its slot");

/// What an operation waits for when it runs as a plain system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// For a socket to be readable.
    Readable,
    /// For a socket to be writable.
    Writable,
    /// For nothing the kernel could announce: it runs in the pool.
    Pool,
}

impl Op {
    /// The kind, for fault plans and counters.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Op::Poll(_) => Kind::Poll,
            Op::Receive(_) => Kind::Receive,
            Op::Connect(_) => Kind::Connect,
            Op::Read(_) | Op::ReadBytes(_) => Kind::Read,
            Op::Write(_) | Op::WriteBytes(_) => Kind::Write,
            Op::Sync(_) => Kind::Sync,
            Op::Allocate(_) => Kind::Allocate,
            Op::Truncate(_) => Kind::Truncate,
            Op::Close(_) => Kind::Close,
            Op::Open(_) => Kind::Open,
            Op::MakeDirectory(_) => Kind::MakeDirectory,
            Op::Link(_) => Kind::Link,
            Op::Rename(_) => Kind::Rename,
            Op::Unlink(_) => Kind::Unlink,
            Op::SetAttribute(_) => Kind::SetAttribute,
            Op::GetAttribute(_) => Kind::GetAttribute,
            Op::Stat(_) => Kind::Stat,
            Op::ReadDirectory(_) => Kind::ReadDirectory,
            Op::CopyRange(_) | Op::CloneRange(_) => Kind::Copy,
            Op::SetTimes(_) => Kind::SetTimes,
            Op::AskSpace(_) => Kind::Space,
            Op::LockFile(_) => Kind::Lock,
        }
    }

    /// The submission queue entry, or `None` for what never has an opcode.
    ///
    /// The entry holds addresses inside the operation and what it owns, so it must be built after the operation
    /// has reached its slot.
    pub(crate) fn entry(&mut self, fixed: Registration) -> Option<squeue::Entry> {
        match self {
            Op::Poll(op) => Some(op.entry()),
            Op::Receive(op) => Some(op.entry()),
            Op::Connect(op) => Some(op.entry()),
            Op::Read(op) => Some(op.entry(fixed)),
            Op::Write(op) => Some(op.entry(fixed)),
            Op::ReadBytes(op) => Some(op.entry()),
            Op::WriteBytes(op) => Some(op.entry()),
            Op::Sync(op) => Some(op.entry()),
            Op::Allocate(op) => Some(op.entry()),
            Op::Truncate(op) => Some(op.entry()),
            Op::Close(op) => Some(op.entry()),
            Op::Open(op) => Some(op.entry()),
            Op::MakeDirectory(op) => Some(op.entry()),
            Op::Link(op) => Some(op.entry()),
            Op::Rename(op) => Some(op.entry()),
            Op::Unlink(op) => Some(op.entry()),
            Op::SetAttribute(op) => Some(op.entry()),
            Op::GetAttribute(op) => Some(op.entry()),
            Op::Stat(op) => Some(op.entry()),
            Op::ReadDirectory(_) | Op::CopyRange(_) | Op::CloneRange(_) | Op::SetTimes(_) => None,
            Op::AskSpace(_) | Op::LockFile(_) => None,
        }
    }

    /// Runs the operation as a plain system call under the calling thread's identity.
    ///
    /// Shape: as a completion: negative errno, or a value. Socket operations do not block: `EAGAIN` means wait for
    /// readiness.
    pub(crate) fn call(&mut self) -> i32 {
        match self {
            Op::Poll(op) => op.call(),
            Op::Receive(op) => op.call(),
            Op::Connect(op) => op.call(),
            Op::Read(op) => op.call(),
            Op::Write(op) => op.call(),
            Op::ReadBytes(op) => op.call(),
            Op::WriteBytes(op) => op.call(),
            Op::Sync(op) => op.call(),
            Op::Allocate(op) => op.call(),
            Op::Truncate(op) => op.call(),
            Op::Close(op) => op.call(),
            Op::Open(op) => op.call(),
            Op::MakeDirectory(op) => op.call(),
            Op::Link(op) => op.call(),
            Op::Rename(op) => op.call(),
            Op::Unlink(op) => op.call(),
            Op::SetAttribute(op) => op.call(),
            Op::GetAttribute(op) => op.call(),
            Op::Stat(op) => op.call(),
            Op::ReadDirectory(op) => op.call(),
            Op::CopyRange(op) => op.call(),
            Op::CloneRange(op) => op.call(),
            Op::SetTimes(op) => op.call(),
            Op::AskSpace(op) => op.call(),
            Op::LockFile(op) => op.call(),
        }
    }

    /// What the operation waits for in the engine of plain system calls.
    pub(crate) fn waits(&self) -> Waits {
        match self {
            Op::Receive(_) => Waits::Readable,
            Op::Poll(op) => op.waits(),
            Op::Connect(_) => Waits::Writable,
            Op::Read(_)
            | Op::Write(_)
            | Op::ReadBytes(_)
            | Op::WriteBytes(_)
            | Op::Sync(_)
            | Op::Allocate(_) => Waits::Pool,
            Op::Truncate(_) | Op::Close(_) | Op::Open(_) | Op::MakeDirectory(_) | Op::Link(_) => Waits::Pool,
            Op::Rename(_) | Op::Unlink(_) | Op::SetAttribute(_) | Op::GetAttribute(_) | Op::Stat(_) => {
                Waits::Pool
            }
            Op::ReadDirectory(_) | Op::CopyRange(_) | Op::CloneRange(_) | Op::SetTimes(_) => Waits::Pool,
            Op::AskSpace(_) | Op::LockFile(_) => Waits::Pool,
        }
    }

    /// Whether the operation may change its filesystem.
    pub(crate) fn act(&self) -> Act {
        match self {
            Op::Open(op) => op.act(),
            Op::Read(_) | Op::ReadBytes(_) | Op::GetAttribute(_) | Op::Stat(_) | Op::ReadDirectory(_) => {
                Act::Read
            }
            Op::AskSpace(_) | Op::Poll(_) | Op::Receive(_) | Op::Connect(_) => Act::Read,
            Op::Write(_) | Op::WriteBytes(_) | Op::Sync(_) | Op::Allocate(_) | Op::Truncate(_) => Act::Change,
            Op::LockFile(_) => Act::Change,
            // The last close may free space.
            Op::Close(_) | Op::MakeDirectory(_) | Op::Link(_) | Op::Rename(_) | Op::Unlink(_) => Act::Change,
            Op::SetAttribute(_) | Op::CopyRange(_) | Op::CloneRange(_) | Op::SetTimes(_) => Act::Change,
        }
    }

    /// The lane of the mount that the operation works on; none for sockets.
    pub(crate) fn lane(&self) -> Option<Lane> {
        let file = match self {
            Op::Poll(_) | Op::Receive(_) | Op::Connect(_) => return None,
            Op::Close(op) => return Some(op.lane),
            Op::Open(op) => return Some(op.lane),
            Op::Read(op) => &op.file,
            Op::Write(op) => &op.file,
            Op::ReadBytes(op) => &op.file,
            Op::WriteBytes(op) => &op.file,
            Op::Sync(op) => &op.file,
            Op::Allocate(op) => &op.file,
            Op::Truncate(op) => &op.file,
            Op::MakeDirectory(op) => &op.directory,
            Op::Link(op) => &op.directory,
            Op::Rename(op) => &op.to_directory,
            Op::Unlink(op) => &op.directory,
            Op::SetAttribute(op) => &op.file,
            Op::GetAttribute(op) => &op.file,
            Op::Stat(op) => &op.file,
            Op::ReadDirectory(op) => &op.directory,
            Op::CopyRange(op) => &op.to,
            Op::CloneRange(op) => &op.to,
            Op::SetTimes(op) => &op.file,
            Op::AskSpace(op) => &op.file,
            Op::LockFile(op) => &op.file,
        };
        Some(file.lane())
    }

    /// The socket whose readiness the operation waits for.
    pub(crate) fn socket(&self) -> Option<i32> {
        match self {
            Op::Poll(op) => Some(op.socket.raw()),
            Op::Receive(op) => Some(op.socket.raw()),
            Op::Connect(op) => Some(op.socket.raw()),
            _ => None,
        }
    }

    /// Cuts the operation to at most `bytes`, for the fault plan.
    pub(crate) fn shorten(&mut self, bytes: u32) {
        match self {
            Op::Receive(op) => op.length = op.length.min(bytes),
            Op::Read(op) => op.length = op.length.min(bytes),
            Op::Write(op) => op.length = op.length.min(bytes),
            Op::ReadBytes(op) => op.length = op.length.min(bytes),
            Op::WriteBytes(op) => op.length = op.length.min(bytes),
            Op::CopyRange(op) => op.length = op.length.min(u64::from(bytes)),
            _ => {}
        }
    }

    /// Releases what a result carries when nobody waits for it any more.
    pub(crate) fn dispose(self, result: i32) {
        if let Op::Open(op) = self {
            drop(op.take_file(result));
        }
    }
}
