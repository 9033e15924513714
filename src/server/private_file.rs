//! Small secret files: read only when nobody else can, replaced whole or not at all.
//! It knows neither what is inside nor where the directory is; `root_key` and `state_dir` do.
//! Source: rename(2), fsync(2); the recipe is write, fsync, rename, fsync of the directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a private file or directory cannot be used: a sentence with the path in it.
#[derive(Debug)]
pub enum PrivateError {
    /// The system refused.
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It exists, but somebody else could read or replace it, or it is of the wrong kind.
    Unsafe {
        /// Which one.
        path: PathBuf,
        /// What is wrong and what mends it.
        reason: String,
    },
}

impl std::fmt::Display for PrivateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PrivateError::Io { doing, path, source } => {
                write!(out, "cannot {doing} {}: {source}", path.display())
            }
            PrivateError::Unsafe { path, reason } => write!(out, "{} {reason}", path.display()),
        }
    }
}

impl std::error::Error for PrivateError {}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateError {
    let path = path.to_path_buf();
    move |source| PrivateError::Io { doing, path, source }
}

fn unsafe_error(path: &Path, reason: impl Into<String>) -> PrivateError {
    PrivateError::Unsafe { path: path.to_path_buf(), reason: reason.into() }
}

/// Bits that let group or others read, write or search.
const OTHERS: u32 = 0o077;
/// Bits that let group or others replace what is inside a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Who besides the owner may enter a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Anybody may pass through (0711): a socket inside is reached by other users.
    Passable,
    /// Nobody (0700).
    Closed,
}

/// Makes the directory `path` when it is missing, and refuses one that others could change.
/// Shape: mode 0711 or 0700 when made; an existing one belongs to us or root and is no symbolic link.
pub fn ensure_dir(path: &Path, entry: Entry) -> Result<(), PrivateError> {
    let (mode, forbidden) = match entry {
        Entry::Passable => (0o711, OTHERS_WRITE),
        Entry::Closed => (0o700, OTHERS),
    };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => sync_parent(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
        Err(error) => return Err(io_error("make the directory", path)(error)),
    }
    // Not followed: in a tree that others may write, the link would lead to a directory of their choice.
    let found = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    if !found.is_dir() {
        return Err(unsafe_error(path, "is no directory"));
    }
    check_owner(path, &found)?;
    if found.mode() & forbidden != 0 {
        let found = found.mode() & 0o7777;
        return Err(unsafe_error(
            path,
            format!("has mode {found:04o}, open to others: chmod {mode:04o} mends it"),
        ));
    }
    Ok(())
}

/// Reads `dir/name`, or `None` when there is no such file.
/// Shape: at most `bytes_max` bytes; the copy in memory is wiped when dropped.
/// Errors: Unsafe when it is no plain file, is not ours, is open to group or others, or is longer.
pub fn read(dir: &Path, name: &str, bytes_max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateError> {
    let path = dir.join(name);
    // O_NONBLOCK: a FIFO planted under the name must not hold the start.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    let found = file.metadata().map_err(io_error("look at", &path))?;
    if !found.is_file() {
        return Err(unsafe_error(&path, "is no plain file"));
    }
    check_owner(&path, &found)?;
    if found.mode() & OTHERS != 0 {
        let mode = found.mode() & 0o7777;
        return Err(unsafe_error(&path, format!("has mode {mode:04o}, open to others: chmod 0600 mends it")));
    }
    // Reserved at once: growing would leave copies of the secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    let limit = u64::try_from(bytes_max + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
    if bytes.len() > bytes_max {
        return Err(unsafe_error(&path, format!("is longer than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

/// Replaces `dir/name` by `bytes`, mode 0600: after a power cut it is the old file or the new one, whole.
pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), PrivateError> {
    let path = dir.join(name);
    // One fixed name: whoever writes here holds the lock of the state directory, and what a crash left is replaced.
    let temporary = dir.join(format!(".{name}.tmp"));
    match fs::remove_file(&temporary) {
        Ok(()) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(io_error("remove", &temporary)(error)),
    }
    let written = write_new(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, &path).map_err(io_error("rename to", &path)));
    if let Err(error) = written {
        // The first error is the one to tell; a temporary file that stays is replaced by the next write.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_dir(dir)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(io_error("make", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

fn sync_parent(path: &Path) -> Result<(), PrivateError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => sync_dir(Path::new(".")),
    }
}

fn sync_dir(path: &Path) -> Result<(), PrivateError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    match synced {
        // Some network and FUSE filesystems have no fsync for directories; there a rename is as safe as it gets.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        other => other.map_err(io_error("sync the directory", path)),
    }
}

fn check_owner(path: &Path, found: &fs::Metadata) -> Result<(), PrivateError> {
    let own = nix::unistd::geteuid().as_raw();
    if found.uid() == own || found.uid() == 0 {
        return Ok(());
    }
    Err(unsafe_error(path, format!("belongs to uid {}, not to uid {own} or root", found.uid())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("the path exists").mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod of our own file");
    }

    fn check_unsafe<T: std::fmt::Debug>(name: &str, got: Result<T, PrivateError>, part: &str) {
        let error = got.expect_err(name);
        assert!(matches!(error, PrivateError::Unsafe { .. }), "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }

    #[test]
    fn a_file_comes_back_and_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(read(dir.path(), "key", 64).expect("no file is no error").is_none());
        write(dir.path(), "key", b"first").expect("write");
        // What a crash may have left under the temporary name does not stop the next write.
        fs::write(dir.path().join(".key.tmp"), b"torn").expect("plant");
        write(dir.path(), "key", b"second").expect("replace");
        assert_eq!(read(dir.path(), "key", 6).expect("read").expect("there").as_slice(), b"second");
        assert_eq!(mode(&dir.path().join("key")), 0o600);
        let names: Vec<_> =
            fs::read_dir(dir.path()).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["key"]);
    }

    #[test]
    fn an_open_file_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "key", b"secret").expect("write");
        let path = dir.path().join("key");
        for open in [0o640, 0o604, 0o620, 0o601] {
            chmod(&path, open);
            check_unsafe("open", read(dir.path(), "key", 64), "chmod 0600 mends it");
        }
        chmod(&path, 0o400);
        assert!(read(dir.path(), "key", 64).expect("read-only is closed enough").is_some());
        check_unsafe("long", read(dir.path(), "key", 5), "longer than 5 bytes");
    }

    #[test]
    fn other_kinds_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "key", b"secret").expect("write");
        symlink("key", dir.path().join("link")).expect("symlink");
        assert!(matches!(read(dir.path(), "link", 64), Err(PrivateError::Io { .. })));
        fs::create_dir(dir.path().join("dir")).expect("mkdir");
        check_unsafe("directory", read(dir.path(), "dir", 64), "no plain file");
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        check_unsafe("fifo", read(dir.path(), "fifo", 64), "no plain file");
    }

    #[test]
    fn directories() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (passable, closed) = (dir.path().join("a"), dir.path().join("b"));
        ensure_dir(&passable, Entry::Passable).expect("made");
        ensure_dir(&passable, Entry::Passable).expect("found");
        ensure_dir(&closed, Entry::Closed).expect("made");
        assert_eq!((mode(&passable), mode(&closed)), (0o711, 0o700));
        check_unsafe("0711 is not closed", ensure_dir(&passable, Entry::Closed), "chmod 0700 mends it");
        chmod(&passable, 0o733);
        check_unsafe("writable", ensure_dir(&passable, Entry::Passable), "has mode 0733");
        symlink(&closed, dir.path().join("link")).expect("symlink");
        check_unsafe("link", ensure_dir(&dir.path().join("link"), Entry::Closed), "no directory");
        assert!(matches!(ensure_dir(&dir.path().join("x/y"), Entry::Closed), Err(PrivateError::Io { .. })));
    }
}
