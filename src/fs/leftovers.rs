//! Temporary names that no table notes any more: a power cut may keep a name and lose the note of it.
//!
//! A walk over the whole bucket finds them. It is made only where a server that is gone has left a table of another boot,
//! and once; a name goes when the server that made it lives no more, as the lock of its table tells. It looks at names
//! alone. Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

use std::collections::HashMap;
use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, Entry, File};
use uring::identity::Identity;
use uring::stat::FileKind;

use super::bucket::{Bucket, readable};
use super::entries;
use super::inflight;
use super::tree::{OWN_DIRECTORY, Tree, own_directory_opening};

/// Walks a bucket whose sweep had doubts, and removes the tables of those after it; returns how many names it removed.
///
/// Errors: the first directory that could not be read; the tables stay then, and the next start walks again.
pub async fn collect(tree: &Tree, bucket: &Bucket, doubtful: Vec<CString>) -> Result<usize, Errno> {
    if doubtful.is_empty() {
        return Ok(0);
    }
    let mut living: HashMap<String, bool> = HashMap::new();
    let mut removed = 0;
    let mut way = vec![(readable(&bucket.directory).await?, Vec::<Entry>::new())];
    while let Some((directory, left)) = way.last_mut() {
        let Some(next) = left.pop() else {
            *left = entries::read(directory).await?;
            if left.is_empty() {
                way.pop();
            }
            continue;
        };
        if let Some(instance) = inflight::instance_of(&next.name) {
            let is_alive = match living.get(instance) {
                Some(is_alive) => *is_alive,
                None => {
                    let is_alive = inflight::is_alive(tree, bucket, instance).await?;
                    *living.entry(instance.to_owned()).or_insert(is_alive)
                }
            };
            let unlinked =
                !is_alive && next.kind != FileKind::Directory && unlink(directory, next.name).await;
            removed += usize::from(unlinked);
            continue;
        }
        let may_be_directory = matches!(next.kind, FileKind::Directory | FileKind::Unknown);
        if !may_be_directory || next.name == OWN_DIRECTORY.to_bytes() {
            continue;
        }
        let opened =
            file::open(directory, c_name(next.name), own_directory_opening(), Identity::SERVER).await;
        match opened {
            Ok(opened) => way.push((opened, Vec::new())),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => {}
            Err(errno) => return Err(errno),
        }
    }
    inflight::forget_tables(tree, bucket, doubtful).await?;
    Ok(removed)
}

async fn unlink(directory: &File, name: Vec<u8>) -> bool {
    file::unlink(directory, c_name(name), 0, Identity::SERVER).await.is_ok()
}

fn c_name(name: Vec<u8>) -> CString {
    CString::new(name).expect("a directory entry holds no NUL")
}
