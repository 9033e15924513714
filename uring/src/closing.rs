//! Where a descriptor is closed: on the core, or on a thread because it may wait.
//!
//! Decided when the file is opened, and again when its size is known; it closes nothing itself.
//! Source: open(2), O_PATH; unlink(2) of a file that is open.

use crate::lane::Reach;

/// Where the last close of a descriptor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// On the core, with a plain call: of O_PATH the filesystem is not told.
    Unasked,
    /// On the core, unless the filesystem may not answer.
    Quick,
    /// Through the engine, on a thread that may wait.
    Long,
}

impl Closing {
    /// Decided by what the file is opened for. One that is written may have no name, because it never got one or has lost
    /// it: its last close frees its space, half a second for 16 GiB, and waits while its filesystem is frozen. A file that
    /// is only read has a name as a rule, and its close does next to nothing: a trip to a thread would cost a small GET
    /// more than all its other calls on the file. One opened with O_PATH is not even told to its filesystem, but it holds the
    /// inode as well, and its close frees what has lost its last name meanwhile. So whichever of these is found to be large is
    /// closed as one that is written (`File::note_allocated`).
    pub(crate) fn of(flags: i32) -> Closing {
        if flags & libc::O_PATH != 0 {
            Closing::Unasked
        } else if flags & libc::O_ACCMODE == libc::O_RDONLY {
            Closing::Quick
        } else {
            Closing::Long
        }
    }

    /// That of a file which takes so much space.
    pub(crate) fn of_size(self, allocated_bytes: u64) -> Closing {
        if allocated_bytes >= MUCH_BYTES { Closing::Long } else { self }
    }

    /// Whether it may wait where the file lies.
    pub(crate) fn waits(self, reach: Reach) -> bool {
        match self {
            Closing::Unasked => false,
            Closing::Quick => reach == Reach::Remote,
            Closing::Long => true,
        }
    }
}

/// To free this much takes long: about 0.04 ms a MiB on ext4, as the last close of a file that was removed while it was open
/// does. From here on a thread does it: the way to that is nothing against the transfer of so much.
const MUCH_BYTES: u64 = 16 << 20;
