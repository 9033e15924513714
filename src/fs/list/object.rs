//! What a listing says of one key: read from the open file, as GET and HEAD read it, so that all three agree.
//!
//! A file that the caller may not read is listed all the same, as `ls` lists it, with what its inode alone tells.
//! Source: ListObjectsV2, Contents; openat2(2) O_PATH.

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, FileKind};

use super::Listed;
use super::directory::{c_string, has_vanished};
use crate::fs::metadata::view::{self, FileState};
use crate::fs::path::KeyKind;
use crate::fs::reader;
use crate::fs::tree::{BENEATH, Tree};

/// Reads what is listed of the file `name` of `directory`, whose key is `key`.
///
/// Shape: none when it has vanished or is no object any more.
/// Errors: the kernel's.
pub(super) async fn look(
    tree: &Tree,
    directory: &File,
    name: &str,
    key: String,
    identity: Identity,
) -> Result<Option<Listed>, Errno> {
    match reader::open_below(tree, directory, c_string(name), KeyKind::File, identity).await {
        Ok(object) => Ok(Some(Listed {
            key,
            modified_ns: object.stat.modified_ns,
            etag: object.etag(),
            size_bytes: object.size_bytes(),
        })),
        Err(errno) if has_vanished(errno) => Ok(None),
        Err(Errno::ACCES | Errno::PERM) => look_from_outside(directory, name, key, identity).await,
        Err(errno) => Err(errno),
    }
}

async fn look_from_outside(
    directory: &File,
    name: &str,
    key: String,
    identity: Identity,
) -> Result<Option<Listed>, Errno> {
    let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let found = match file::open(directory, c_string(name), opening, identity).await {
        Ok(found) => found,
        // A directory that may be read but not entered tells names and nothing else.
        Err(errno) if has_vanished(errno) || matches!(errno, Errno::ACCES | Errno::PERM) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = match stat::stat_slow(&found).await {
        Err(errno) if has_vanished(errno) => return Ok(None),
        stat => stat?,
    };
    if stat.kind != FileKind::Regular {
        return Ok(None);
    }
    let state = FileState {
        kind: KeyKind::File,
        inode: stat.inode,
        size_bytes: stat.size_bytes,
        mtime_ns: stat.modified_ns,
        ctime_ns: stat.changed_ns,
    };
    let etag = view::synthetic_etag(&state);
    Ok(Some(Listed { key, modified_ns: stat.modified_ns, etag, size_bytes: stat.size_bytes }))
}
