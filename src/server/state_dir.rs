//! The state directory: made, checked and owned by one server at a time.
//! It owns the lock and the split into a part that others may pass through and a private one; what lies inside
//! belongs to whoever wrote it.
//! Source: flock(2): the lock belongs to the open file and goes with the process, however it ends. NFS turns it
//! into a byte-range lock, so two hosts on one shared filesystem see each other too.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::server::private_file::{self, Entry, PrivateError};

/// A state directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// INVARIANT: exclusively locked, and never handed out: dropping it is what gives the directory back.
    _lock: File,
}

/// The process that holds a state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its host's name.
    pub host: String,
    /// Its process id on that host.
    pub pid: u32,
}

/// Why a state directory cannot be opened.
#[derive(Debug)]
pub enum StateDirError {
    /// Another process has it; who, when it has said so already.
    Held(PathBuf, Option<Holder>),
    /// It cannot be made, or others could change it.
    Private(PrivateError),
    /// The lock itself failed: the filesystem may have no locks.
    Lock(PathBuf, io::Error),
}

impl From<PrivateError> for StateDirError {
    fn from(error: PrivateError) -> StateDirError {
        StateDirError::Private(error)
    }
}

impl fmt::Display for StateDirError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateDirError::Held(path, Some(holder)) => write!(
                out,
                "the state directory {} is in use by process {} on host {}",
                path.display(),
                holder.pid,
                holder.host
            ),
            StateDirError::Held(path, None) => {
                write!(out, "the state directory {} is in use by another server", path.display())
            }
            StateDirError::Private(error) => error.fmt(out),
            StateDirError::Lock(path, source) => write!(out, "cannot lock {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for StateDirError {}

impl StateDir {
    /// Makes `path` (0711) and its private part (0700) when they are missing, and takes the lock.
    /// Errors: Held when another process has it; Private when others could change it.
    pub fn open(path: &Path) -> Result<StateDir, StateDirError> {
        private_file::ensure_dir(path, Entry::Passable)?;
        let private = private_path(path);
        private_file::ensure_dir(&private, Entry::Closed)?;
        // In the private part: flock needs no more than an open file, and whoever could open this one could keep
        // every server out.
        let lock_path = private.join("lock");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let lock_failed = |source| StateDirError::Lock(lock_path.clone(), source);
        let mut lock = options.open(&lock_path).map_err(lock_failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::Held(path.to_path_buf(), read_holder(lock)));
            }
            Err(TryLockError::Error(source)) => return Err(lock_failed(source)),
        }
        write_holder(&mut lock, &this_process()).map_err(lock_failed)?;
        Ok(StateDir { path: path.to_path_buf(), _lock: lock })
    }

    /// The directory that others may pass through: sockets that they reach.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The part that only this server's user may enter.
    pub fn private_path(&self) -> PathBuf {
        private_path(&self.path)
    }
}

/// The private part of the state directory `path`, whoever holds it.
pub fn private_path(path: &Path) -> PathBuf {
    path.join("private")
}

fn this_process() -> Holder {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    Holder { host: host.unwrap_or_else(|_| "unknown".to_owned()), pid: std::process::id() }
}

fn write_holder(lock: &mut File, holder: &Holder) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    // The text helps a person only, and is worthless after a crash: no sync.
    writeln!(lock, "{} {}", holder.host, holder.pid)
}

/// Longer than a host name (64) and a process id (10) can be.
const HOLDER_BYTES_MAX: u64 = 256;

fn read_holder(lock: File) -> Option<Holder> {
    let mut text = String::new();
    lock.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let (host, pid) = text.trim_end().rsplit_once(' ')?;
    Some(Holder { host: host.to_owned(), pid: pid.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn one_owner_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(".ringway");
        let first = StateDir::open(&path).expect("the first owner");
        // A second open file description conflicts like a second process does: flock(2).
        match StateDir::open(&path) {
            Err(error @ StateDirError::Held(_, Some(_))) => {
                let text = error.to_string();
                assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
                assert!(text.contains(&this_process().host), "{text}");
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        let again = StateDir::open(&path).expect("the lock went with its owner");
        assert_eq!(again.path(), path);
    }

    #[test]
    fn a_holder_that_has_not_written_yet_is_another_server() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = StateDir::open(dir.path()).expect("the first owner");
        fs::write(first.private_path().join("lock"), b"").expect("empty the lock's text");
        let error = StateDir::open(dir.path()).expect_err("held");
        assert!(error.to_string().contains("in use by another server"), "{error}");
    }

    #[test]
    fn modes_of_what_it_makes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(&dir.path().join("state")).expect("opened");
        let mode = |path: &Path| fs::metadata(path).expect("made").mode() & 0o7777;
        assert_eq!(mode(state.path()), 0o711);
        assert_eq!(mode(&state.private_path()), 0o700);
        assert_eq!(mode(&state.private_path().join("lock")), 0o600);
    }
}
