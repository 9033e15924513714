//! What a completion ends and what its result means.
//!
//! The `user_data` of an operation is its step, its block and the slot of its connection. It needs no generation:
//! a slot is given away only when nothing of it is in flight.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types;

/// What a completion ends.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A connection came in; it has no slot yet.
    Accept,
    /// Bytes of a request head.
    Head,
    /// A block was received.
    Fill,
    /// A block was written.
    Write,
    /// The bytes of the file are on the disk.
    SyncFile,
    /// Its name is too.
    SyncName,
    /// The answer went out.
    Answer,
}

/// Packs step, block and slot into `user_data`.
pub fn pack(step: Step, block: usize, slot: usize) -> u64 {
    (slot as u64) << 32 | (block as u64) << 8 | step as u64
}

/// Step, block and slot of a `user_data` that `pack` made.
pub fn unpack(user_data: u64) -> (Step, usize, usize) {
    let step = STEPS[(user_data & 0xff) as usize];
    (step, (user_data >> 8 & 0xff_ffff) as usize, (user_data >> 32) as usize)
}

/// In the order of their numbers.
const STEPS: [Step; 7] =
    [Step::Accept, Step::Head, Step::Fill, Step::Write, Step::SyncFile, Step::SyncName, Step::Answer];

/// A descriptor as the ring's entries name it.
pub fn fd(file: &impl AsRawFd) -> types::Fd {
    types::Fd(file.as_raw_fd())
}

/// The length that an operation moved; an end of file is an error here.
pub fn moved(result: i32) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(length) => Ok(length),
        Err(_) => Err(io::Error::from_raw_os_error(-result)),
    }
}

/// Whether an operation did all that it was asked to.
pub fn done(result: i32, want_bytes: usize) -> io::Result<()> {
    match usize::try_from(result) {
        Ok(length) if length == want_bytes => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::from_raw_os_error(-result)),
    }
}
