//! Operations on the content of an open file: read, write, flush, reserve, cut, close.
//!
//! Blocks of the arena go through the registered buffer when there is one. Nothing here opens or names a file.
//! Writes, reservations and cuts are what allocates, so they carry an identity like the operations on names.
//! Source: pread(2), pwrite(2), fsync(2), fallocate(2), ftruncate(2), io_uring_registered_buffers(7).

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};

use crate::arena::{self, Block, BlockMut, Registration};
use crate::errno::Errno;
use crate::file::{File, Sync};
use crate::lane::Lane;

/// Reads into a block.
pub(crate) struct Read {
    pub(crate) file: File,
    pub(crate) block: BlockMut,
    pub(crate) start: u32,
    pub(crate) length: u32,
    pub(crate) offset: u64,
}

impl Read {
    fn target(&mut self) -> *mut u8 {
        self.block[self.start as usize..(self.start + self.length) as usize].as_mut_ptr()
    }

    pub(crate) fn entry(&mut self, fixed: Registration) -> squeue::Entry {
        let (fd, pointer) = (types::Fd(self.file.raw()), self.target());
        match fixed {
            Registration::Registered { first } => {
                let buffer = arena::buffer_of(pointer, first);
                opcode::ReadFixed::new(fd, pointer, self.length, buffer).offset(self.offset).build()
            }
            Registration::Unregistered => {
                opcode::Read::new(fd, pointer, self.length).offset(self.offset).build()
            }
        }
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (fd, pointer) = (self.file.raw(), self.target());
        // SAFETY: `target` points to `length` bytes of the block this operation owns.
        let result = unsafe { libc::pread(fd, pointer.cast(), self.length as usize, self.offset as i64) };
        Errno::of_call(result as i64)
    }
}

/// Writes from a frozen block.
pub(crate) struct Write {
    pub(crate) file: File,
    pub(crate) block: Block,
    pub(crate) start: u32,
    pub(crate) length: u32,
    pub(crate) offset: u64,
}

impl Write {
    fn source(&self) -> *const u8 {
        self.block[self.start as usize..(self.start + self.length) as usize].as_ptr()
    }

    pub(crate) fn entry(&mut self, fixed: Registration) -> squeue::Entry {
        let (fd, pointer) = (types::Fd(self.file.raw()), self.source());
        match fixed {
            Registration::Registered { first } => {
                let buffer = arena::buffer_of(pointer, first);
                opcode::WriteFixed::new(fd, pointer, self.length, buffer).offset(self.offset).build()
            }
            Registration::Unregistered => {
                opcode::Write::new(fd, pointer, self.length).offset(self.offset).build()
            }
        }
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (fd, pointer) = (self.file.raw(), self.source());
        // SAFETY: `source` points to `length` bytes of a block that this operation keeps frozen.
        let result = unsafe { libc::pwrite(fd, pointer.cast(), self.length as usize, self.offset as i64) };
        Errno::of_call(result as i64)
    }
}

/// Reads into memory of the heap, for small things outside the data path.
pub(crate) struct ReadBytes {
    pub(crate) file: File,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) length: u32,
    pub(crate) offset: u64,
}

impl ReadBytes {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.file.raw());
        opcode::Read::new(fd, self.bytes.as_mut_ptr(), self.length).offset(self.offset).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (fd, pointer) = (self.file.raw(), self.bytes.as_mut_ptr());
        // SAFETY: `length` never exceeds the box this operation owns.
        let result = unsafe { libc::pread(fd, pointer.cast(), self.length as usize, self.offset as i64) };
        Errno::of_call(result as i64)
    }
}

/// Writes from memory of the heap, for small things outside the data path.
pub(crate) struct WriteBytes {
    pub(crate) file: File,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) length: u32,
    pub(crate) offset: u64,
}

impl WriteBytes {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.file.raw());
        opcode::Write::new(fd, self.bytes.as_ptr(), self.length).offset(self.offset).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (fd, pointer) = (self.file.raw(), self.bytes.as_ptr());
        // SAFETY: `length` never exceeds the box this operation owns.
        let result = unsafe { libc::pwrite(fd, pointer.cast(), self.length as usize, self.offset as i64) };
        Errno::of_call(result as i64)
    }
}

/// Flushes a file or a directory to stable storage.
pub(crate) struct SyncFile {
    pub(crate) file: File,
    pub(crate) what: Sync,
}

impl SyncFile {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let flags = match self.what {
            Sync::Content => types::FsyncFlags::DATASYNC,
            Sync::Everything => types::FsyncFlags::empty(),
        };
        opcode::Fsync::new(types::Fd(self.file.raw())).flags(flags).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let result = match self.what {
            // SAFETY: the file is open as long as `self` holds it.
            Sync::Content => unsafe { libc::fdatasync(self.file.raw()) },
            // SAFETY: as above.
            Sync::Everything => unsafe { libc::fsync(self.file.raw()) },
        };
        Errno::of_call(i64::from(result))
    }
}

/// Reserves space and extends the file over it.
pub(crate) struct Allocate {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Allocate {
    // Mode zero extends the size too: on ext4 that is what keeps O_DIRECT writes off the kernel's worker threads.
    const MODE: i32 = 0;

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.file.raw());
        opcode::Fallocate::new(fd, self.length).offset(self.offset).mode(Self::MODE).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: the file is open as long as `self` holds it.
        let result =
            unsafe { libc::fallocate(self.file.raw(), Self::MODE, self.offset as i64, self.length as i64) };
        Errno::of_call(i64::from(result))
    }
}

/// Sets the size of a file.
pub(crate) struct Truncate {
    pub(crate) file: File,
    pub(crate) length: u64,
}

impl Truncate {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        opcode::Ftruncate::new(types::Fd(self.file.raw()), self.length).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: the file is open as long as `self` holds it.
        let result = unsafe { libc::ftruncate(self.file.raw(), self.length as i64) };
        Errno::of_call(i64::from(result))
    }
}

/// Closes a descriptor whose last owner is gone.
pub(crate) struct Close {
    // `None` once the kernel has been given the descriptor, so that it is never closed twice.
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) lane: Lane,
}

impl Close {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = self.fd.take().map_or(-1, IntoRawFd::into_raw_fd);
        // Without the flag the kernel closes a file whose filesystem has no flush of its own, such as ext4, while it takes the
        // submission, on the core.
        opcode::Close::new(types::Fd(fd)).build().flags(squeue::Flags::ASYNC)
    }

    pub(crate) fn call(&mut self) -> i32 {
        let Some(fd) = self.fd.take() else { return -libc::EBADF };
        let raw = fd.as_raw_fd();
        std::mem::forget(fd);
        // SAFETY: the descriptor was owned and is given up here, so it is closed once.
        Errno::of_call(i64::from(unsafe { libc::close(raw) }))
    }
}
