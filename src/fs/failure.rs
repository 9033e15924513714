//! From the kernel's errors to S3's, in one function.
//!
//! The caller says what it was doing; every errno that is expected there has its line, the rest is InternalError and
//! keeps its text for the log. No path and no errno reaches the client.
//! Source: the ERRORS sections of openat2(2), write(2), fsync(2), linkat(2), renameat2(2), unlinkat(2), fsetxattr(2).

use uring::errno::Errno;

use crate::s3::error::{Code, S3Error};

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Looking a bucket up.
    FindBucket,
    /// Opening an object to read it.
    Find,
    /// Reading bytes, attributes or a directory.
    Read,
    /// Finding or making the directory a key lies in.
    Place,
    /// Reserving space, writing bytes or attributes.
    Write,
    /// Flushing to stable storage.
    Flush,
    /// Giving an object its name.
    Publish,
    /// Taking a name away.
    Remove,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Doing::FindBucket => "find bucket",
            Doing::Find => "find object",
            Doing::Read => "read",
            Doing::Place => "place",
            Doing::Write => "write",
            Doing::Flush => "flush",
            Doing::Publish => "publish",
            Doing::Remove => "remove",
        }
    }
}

/// The S3 error of a kernel error.
///
/// Errors: the result is one; its source text names operation and errno for the log.
pub fn s3_error(doing: Doing, errno: Errno) -> S3Error {
    S3Error::new(code(doing, errno)).with_source(format!("{}: {errno}", doing.words()))
}

fn code(doing: Doing, errno: Errno) -> Code {
    match (doing, errno) {
        (_, Errno::ACCES | Errno::PERM) => Code::AccessDenied,
        (_, Errno::NOSPC | Errno::DQUOT) => Code::InsufficientStorage,
        (_, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => Code::SlowDown,
        (_, Errno::AGAIN | Errno::STALE | Errno::ROFS) => Code::ServiceUnavailable,
        (Doing::FindBucket, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Code::NoSuchBucket,
        // What is not a regular file below real directories is no object.
        (Doing::Find, Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV) => {
            Code::NoSuchKey
        }
        (Doing::Find, Errno::NXIO | Errno::NAMETOOLONG) => Code::NoSuchKey,
        (Doing::Place, Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::EXIST) => Code::ObjectTypeConflict,
        (Doing::Publish, Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            Code::ObjectTypeConflict
        }
        (Doing::Place | Doing::Publish, Errno::NAMETOOLONG) => Code::KeyTooLongError,
        (Doing::Place | Doing::Publish, Errno::MLINK) => Code::InsufficientStorage,
        // The parent vanished again and again while the object was being put into it.
        (Doing::Place | Doing::Publish, Errno::NOENT) => Code::ServiceUnavailable,
        (Doing::Write, Errno::FBIG) => Code::EntityTooLarge,
        // An attribute that does not fit the filesystem.
        (Doing::Write, Errno::TOOBIG | Errno::RANGE) => Code::InsufficientStorage,
        _ => Code::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(doing: Doing, errno: Errno, want: Code) {
        let error = s3_error(doing, errno);
        assert_eq!(error.code(), want, "{doing:?} {errno}");
        assert!(!error.message().contains(&errno.to_string()), "the errno is for the log alone");
    }

    #[test]
    fn each_errno_has_its_code() {
        for (doing, errno, want) in [
            (Doing::FindBucket, Errno::NOENT, Code::NoSuchBucket),
            (Doing::FindBucket, Errno::LOOP, Code::NoSuchBucket),
            (Doing::Find, Errno::NOENT, Code::NoSuchKey),
            (Doing::Find, Errno::NOTDIR, Code::NoSuchKey),
            (Doing::Find, Errno::ACCES, Code::AccessDenied),
            (Doing::Place, Errno::NOTDIR, Code::ObjectTypeConflict),
            (Doing::Write, Errno::NOSPC, Code::InsufficientStorage),
            (Doing::Write, Errno::DQUOT, Code::InsufficientStorage),
            (Doing::Write, Errno::FBIG, Code::EntityTooLarge),
            (Doing::Flush, Errno::IO, Code::InternalError),
            (Doing::Flush, Errno::NOSPC, Code::InsufficientStorage),
            (Doing::Publish, Errno::ISDIR, Code::ObjectTypeConflict),
            (Doing::Publish, Errno::NOENT, Code::ServiceUnavailable),
            (Doing::Remove, Errno::ROFS, Code::ServiceUnavailable),
            (Doing::Read, Errno::MFILE, Code::SlowDown),
        ] {
            check(doing, errno, want);
        }
    }
}
