//! Operations on names: open, make a directory, link, rename, unlink.
//!
//! All are relative to an open directory; paths are owned by the operation. Which names are legal and how a path
//! is resolved (`RESOLVE_BENEATH` and its kin) is the caller's to say.
//! Source: openat2(2), mkdirat(2), linkat(2), renameat2(2), unlinkat(2), proc_pid_fd(5).

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};

use crate::errno::Errno;
use crate::file::{File, LinkForm, Opening};
use crate::lane::{Act, Lane};

/// `openat2` below a directory.
pub(crate) struct Open {
    pub(crate) directory: File,
    pub(crate) path: CString,
    pub(crate) how: types::OpenHow,
    pub(crate) opening: Opening,
    // The directory's own, unless the path leads into another mount.
    pub(crate) lane: Lane,
}

impl Open {
    pub(crate) fn new(directory: File, path: CString, opening: Opening, lane: Lane) -> Open {
        // The kernel refuses O_PATH with any flag that acts on content, so close-on-exec is the only one added.
        let how = types::OpenHow::new()
            .flags(opening.flags as u64 | libc::O_CLOEXEC as u64)
            .mode(u64::from(opening.mode))
            .resolve(opening.resolve);
        Open { directory, path, how, opening, lane }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        opcode::OpenAt2::new(types::Fd(self.directory.raw()), self.path.as_ptr(), &self.how).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let how = std::ptr::from_ref(&self.how);
        let size = size_of::<types::OpenHow>();
        // SAFETY: path and `how` are owned by this operation; `OpenHow` is `struct open_how` of that size.
        let result =
            unsafe { libc::syscall(libc::SYS_openat2, self.directory.raw(), self.path.as_ptr(), how, size) };
        Errno::of_call(result)
    }

    /// Whether it opens for reading only, and makes nothing.
    pub(crate) fn act(&self) -> Act {
        let changes =
            self.opening.flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) != libc::O_RDONLY;
        if changes { Act::Change } else { Act::Read }
    }

    /// Makes the file of a result.
    pub(crate) fn take_file(self, result: i32) -> Result<File, Errno> {
        Errno::check(result)?;
        // SAFETY: the kernel made this descriptor for this completion, nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(result) };
        Ok(File::opened(fd, self.opening.flags).with_lane(self.lane))
    }
}

/// `mkdirat`.
pub(crate) struct MakeDirectory {
    pub(crate) directory: File,
    pub(crate) path: CString,
    pub(crate) mode: u32,
}

impl MakeDirectory {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        opcode::MkDirAt::new(types::Fd(self.directory.raw()), self.path.as_ptr()).mode(self.mode).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: the path is a valid C string owned by this operation.
        let result = unsafe { libc::mkdirat(self.directory.raw(), self.path.as_ptr(), self.mode) };
        Errno::of_call(i64::from(result))
    }
}

/// Gives an open file a name that must be free.
pub(crate) struct Link {
    pub(crate) file: File,
    pub(crate) directory: File,
    pub(crate) name: CString,
    pub(crate) form: LinkForm,
    // Where the file is found: "" with its descriptor, or its entry in /proc.
    source: CString,
}

impl Link {
    pub(crate) fn new(file: File, directory: File, name: CString, form: LinkForm) -> Link {
        let source = match form {
            LinkForm::Descriptor => CString::default(),
            LinkForm::Proc => {
                CString::new(format!("/proc/self/fd/{}", file.raw())).expect("digits hold no NUL")
            }
        };
        Link { file, directory, name, form, source }
    }

    fn source_and_flags(&self) -> (i32, i32) {
        match self.form {
            LinkForm::Descriptor => (self.file.raw(), libc::AT_EMPTY_PATH),
            LinkForm::Proc => (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW),
        }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let (from, flags) = self.source_and_flags();
        let (from, to) = (types::Fd(from), types::Fd(self.directory.raw()));
        opcode::LinkAt::new(from, self.source.as_ptr(), to, self.name.as_ptr()).flags(flags).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (from, flags) = self.source_and_flags();
        let to = self.directory.raw();
        // SAFETY: both paths are valid C strings owned by this operation.
        let result = unsafe { libc::linkat(from, self.source.as_ptr(), to, self.name.as_ptr(), flags) };
        Errno::of_call(i64::from(result))
    }
}

/// `renameat2`.
pub(crate) struct Rename {
    pub(crate) from_directory: File,
    pub(crate) from: CString,
    pub(crate) to_directory: File,
    pub(crate) to: CString,
    pub(crate) flags: u32,
}

impl Rename {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let (from, to) = (types::Fd(self.from_directory.raw()), types::Fd(self.to_directory.raw()));
        opcode::RenameAt::new(from, self.from.as_ptr(), to, self.to.as_ptr()).flags(self.flags).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let (from, to) = (self.from_directory.raw(), self.to_directory.raw());
        // SAFETY: both paths are valid C strings owned by this operation.
        let result = unsafe { libc::renameat2(from, self.from.as_ptr(), to, self.to.as_ptr(), self.flags) };
        Errno::of_call(i64::from(result))
    }
}

/// `unlinkat`.
pub(crate) struct Unlink {
    pub(crate) directory: File,
    pub(crate) name: CString,
    pub(crate) flags: i32,
}

impl Unlink {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        opcode::UnlinkAt::new(types::Fd(self.directory.raw()), self.name.as_ptr()).flags(self.flags).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        // SAFETY: the name is a valid C string owned by this operation.
        let result = unsafe { libc::unlinkat(self.directory.raw(), self.name.as_ptr(), self.flags) };
        Errno::of_call(i64::from(result))
    }
}
