//! What servers that are gone have left in a bucket's uploads: half-made and half-removed directories, files of parts
//! that no record names, records half written, tombstones that have outlived their use.
//!
//! It runs at start, and for tombstones after every thousandth Complete. What a living server works on is left alone:
//! every name says whose it is. An upload that has its record is never removed: only its client ends it.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "uploads".

use std::collections::{HashMap, HashSet};
use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, FileKind};

use super::record::{PartRecord, UPLOAD, side_of_name};
use super::upload::{self, directory_name, instance_of, read_own_file};
use crate::fs::bucket::{Bucket, Store, readable};
use crate::fs::entries;
use crate::fs::inflight::{self, TEMPORARY_PREFIX};
use crate::fs::tree::{BENEATH, Tree, own_directory_opening};
use crate::s3::names::UploadId;

/// How long a repeated Complete is answered; no client retries for longer. Units: nanoseconds.
const TOMBSTONE_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Tombstones are looked through after this many completed uploads of one server.
pub(super) const COMPLETIONS_A_SWEEP: u64 = 1000;
/// What the name of a tombstone ends with; no upload id holds a period.
const TOMBSTONE_SUFFIX: &str = ".done";

/// The name of an upload's tombstone, beside the directories of uploads.
pub(super) fn tombstone_name(id: &UploadId) -> CString {
    CString::new(format!("{id}{TOMBSTONE_SUFFIX}")).expect("an upload id holds no NUL")
}

/// Which instances live, each asked about once.
struct Census<'a> {
    tree: &'a Tree,
    bucket: &'a Bucket,
    known: HashMap<String, bool>,
}

impl Census<'_> {
    async fn is_alive(&mut self, instance: &str) -> Result<bool, Errno> {
        if let Some(is_alive) = self.known.get(instance) {
            return Ok(*is_alive);
        }
        let is_alive = inflight::is_alive(self.tree, self.bucket, instance).await?;
        self.known.insert(instance.to_owned(), is_alive);
        Ok(is_alive)
    }
}

/// Removes from a bucket's uploads what servers that are gone have left; returns how many files and directories.
///
/// Units: `now_ns` is nanoseconds since 1970.
pub async fn sweep(tree: &Tree, bucket: &Bucket, now_ns: u64) -> Result<usize, Errno> {
    let Some(store) = bucket.existing_store(tree, Store::Uploads).await? else { return Ok(0) };
    let mut census = Census { tree, bucket, known: HashMap::new() };
    let mut removed = completed(tree, &store).await?;
    removed += tombstones(&store, now_ns).await?;
    for name in names(&store).await? {
        let Ok(id) = UploadId::parse(&name) else {
            removed += sweep_temporary(&store, &name, &mut census).await?;
            continue;
        };
        let opened = file::open(&store, directory_name(&id), own_directory_opening(), Identity::SERVER).await;
        let Ok(directory) = opened else { continue };
        if read_own_file(&directory, UPLOAD).await?.is_some() {
            removed += sweep_upload(&directory, &mut census).await?;
        } else if !census.is_alive(instance_of(&id)).await? {
            upload::remove(tree, &store, &id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes what is left of uploads that have a tombstone, before that goes: a Complete would bring a key back that has
/// been deleted since.
async fn completed(tree: &Tree, store: &File) -> Result<usize, Errno> {
    let names = names(store).await?;
    let is_there: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut removed = 0;
    for id in names.iter().filter_map(|name| name.strip_suffix(TOMBSTONE_SUFFIX)) {
        let Some(id) = UploadId::parse(id).ok().filter(|_| is_there.contains(id)) else { continue };
        upload::remove(tree, store, &id).await?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes the tombstones that have outlived their use; returns how many.
pub(super) async fn tombstones(store: &File, now_ns: u64) -> Result<usize, Errno> {
    let mut removed = 0;
    for name in names(store).await?.into_iter().filter(|name| name.ends_with(TOMBSTONE_SUFFIX)) {
        let name = c_name(&name);
        let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
        let Ok(opened) = file::open(store, name.clone(), opening, Identity::SERVER).await else { continue };
        let made_ns = u64::try_from(stat::stat_slow(&opened).await?.modified_ns).unwrap_or(0);
        let is_old = now_ns.saturating_sub(made_ns) > TOMBSTONE_NS;
        if is_old && file::unlink(store, name, 0, Identity::SERVER).await.is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes from an upload's directory what no record names and no living server is making.
async fn sweep_upload(directory: &File, census: &mut Census<'_>) -> Result<usize, Errno> {
    let mut removed = 0;
    for name in names(directory).await? {
        let Some((number, instance)) = side_of_name(&name) else {
            removed += sweep_temporary(directory, &name, census).await?;
            continue;
        };
        if census.is_alive(instance).await? {
            continue;
        }
        let record = read_own_file(directory, &PartRecord::name(number)).await?;
        let is_named = match record {
            None => false,
            // What does not decode may name it.
            Some(bytes) => PartRecord::decode(&bytes).is_none_or(|record| record.file == name),
        };
        if !is_named && file::unlink(directory, c_name(&name), 0, Identity::SERVER).await.is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes the temporary name of a record that a server which is gone was writing.
async fn sweep_temporary(directory: &File, name: &str, census: &mut Census<'_>) -> Result<usize, Errno> {
    let instance = name.strip_prefix(TEMPORARY_PREFIX).and_then(|rest| rest.split_once('-'));
    let Some((instance, _)) = instance else { return Ok(0) };
    if census.is_alive(instance).await? {
        return Ok(0);
    }
    Ok(usize::from(file::unlink(directory, c_name(name), 0, Identity::SERVER).await.is_ok()))
}

/// The names in a directory of the server's own; what is no UTF-8 is none of ours.
pub(in crate::fs) async fn names(directory: &File) -> Result<Vec<String>, Errno> {
    let directory = match readable(directory).await {
        Err(errno) if entries::is_removed(errno) => return Ok(Vec::new()),
        directory => directory?,
    };
    let mut names = Vec::new();
    loop {
        let entries = entries::read(&directory).await?;
        if entries.is_empty() {
            return Ok(names);
        }
        let ours = entries.into_iter().filter(|entry| entry.kind != FileKind::Symlink);
        names.extend(ours.filter_map(|entry| String::from_utf8(entry.name).ok()));
    }
}

fn c_name(name: &str) -> CString {
    CString::new(name).expect("a directory entry holds no NUL")
}
