//! The file of one body: made, reserved, given its name.
//!
//! Without durability the file is born under its name, which is cheapest; with `full` it is born unnamed and linked
//! when its bytes are on the disk, as the product does. The sync itself is an operation of the ring (`main`).
//! Source: open(2) O_TMPFILE and O_DIRECT, fallocate(2) mode 0, linkat(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, fallocate, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::linkat;

use crate::arena::PAGE_BYTES;
use crate::options::{Durability, Options};

/// A body on its way. Block k of the file passes through block k % depth of the connection.
pub struct Upload {
    pub file: File,
    /// Last component of the path.
    pub name: String,
    pub size_bytes: u64,
    pub filled_bytes: u64,
    pub written_bytes: u64,
    /// Length of the receive in flight; 0 when there is none.
    pub filling_bytes: usize,
    /// One bit a block whose write is in flight.
    pub writing: u64,
    /// Open directory of the name, for the fsync of `--durability full`.
    pub directory: Option<File>,
}

impl Upload {
    /// Makes the file and reserves its blocks.
    pub fn open(root: &File, path: &str, size_bytes: u64, options: &Options) -> io::Result<Upload> {
        let direct = if size_bytes >= options.direct_min { OFlag::O_DIRECT } else { OFlag::empty() };
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | direct;
        let mode = Mode::from_bits_truncate(0o640);
        let (file, directory) = match options.durability {
            Durability::Full => {
                let directory = openat(root, parent, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
                (openat(root, parent, flags | OFlag::O_TMPFILE, mode)?, Some(File::from(directory)))
            }
            Durability::None | Durability::Data => {
                (openat(root, path, flags | OFlag::O_CREAT | OFlag::O_TRUNC, mode)?, None)
            }
        };
        if size_bytes >= options.direct_min {
            let reserved = size_bytes.next_multiple_of(PAGE_BYTES as u64);
            fallocate(&file, FallocateFlags::empty(), 0, reserved.cast_signed())?;
        }
        Ok(Upload {
            file: File::from(file),
            name: name.to_owned(),
            size_bytes,
            filled_bytes: 0,
            written_bytes: 0,
            filling_bytes: 0,
            writing: 0,
            directory,
        })
    }

    /// Gives the unnamed file its name; a name that is taken goes by way of a second one.
    pub fn link(&self, directory: &File) -> io::Result<()> {
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let named =
            |name: &str| linkat(AT_FDCWD, unnamed.as_str(), directory, name, AtFlags::AT_SYMLINK_FOLLOW);
        match named(&self.name) {
            Err(nix::Error::EEXIST) => {
                let second = format!("{}.new-{}", self.name, self.file.as_raw_fd());
                named(&second)?;
                Ok(renameat(directory, second.as_str(), directory, self.name.as_str())?)
            }
            linked => Ok(linked?),
        }
    }
}
