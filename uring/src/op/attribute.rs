//! Operations on the attributes of an open file: extended attributes and `statx`.
//!
//! On local filesystems reading them is a plain call (see `file.rs` and `stat.rs`); these forms serve network filesystems, where
//! the call is a round trip that would stop a core, and writing, which may wait for the journal.
//! Source: fsetxattr(2), fgetxattr(2), statx(2).

use std::ffi::CStr;

use io_uring::{opcode, squeue, types};

use crate::errno::Errno;
use crate::file::File;

/// `fsetxattr`.
pub(crate) struct SetAttribute {
    pub(crate) file: File,
    pub(crate) name: &'static CStr,
    pub(crate) value: Box<[u8]>,
    pub(crate) flags: i32,
}

impl SetAttribute {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.file.raw());
        let (name, value) = (self.name.as_ptr(), self.value.as_ptr().cast());
        opcode::FSetXattr::new(fd, name, value, self.value.len() as u32).flags(self.flags).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (name, value) = (self.name.as_ptr(), self.value.as_ptr().cast());
        // SAFETY: name and value are owned by this operation, the length is the value's.
        let result = unsafe { libc::fsetxattr(self.file.raw(), name, value, self.value.len(), self.flags) };
        Errno::of_call(i64::from(result))
    }
}

/// `fgetxattr`.
pub(crate) struct GetAttribute {
    pub(crate) file: File,
    pub(crate) name: &'static CStr,
    pub(crate) value: Box<[u8]>,
}

impl GetAttribute {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.file.raw());
        let (name, value) = (self.name.as_ptr(), self.value.as_mut_ptr().cast());
        opcode::FGetXattr::new(fd, name, value, self.value.len() as u32).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (name, value) = (self.name.as_ptr(), self.value.as_mut_ptr().cast());
        // SAFETY: name and value are owned by this operation, the length is the value's.
        let result = unsafe { libc::fgetxattr(self.file.raw(), name, value, self.value.len()) };
        Errno::of_call(result as i64)
    }
}

/// `statx` of an open file.
pub(crate) struct StatFile {
    pub(crate) file: File,
    pub(crate) out: Box<libc::statx>,
    pub(crate) mask: u32,
}

impl StatFile {
    const FLAGS: i32 = libc::AT_EMPTY_PATH;

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let out = std::ptr::from_mut(&mut *self.out).cast();
        opcode::Statx::new(types::Fd(self.file.raw()), c"".as_ptr(), out)
            .flags(Self::FLAGS)
            .mask(self.mask)
            .build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let fd = self.file.raw();
        // SAFETY: the empty path means the descriptor; `out` is a whole statx owned by this operation.
        let result = unsafe { libc::statx(fd, c"".as_ptr(), Self::FLAGS, self.mask, &mut *self.out) };
        Errno::of_call(i64::from(result))
    }
}
