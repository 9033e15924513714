//! Collecting sidecars that no object refers to any more: what commits that were cut off, overwrites and deletes left.
//!
//! A sidecar is garbage only when nothing in the whole tree refers to it. Most are found at the key they were made for;
//! only when some are not is the tree walked, twice, so that a file which is renamed during one walk is seen by the other.
//! What cannot be looked into ends it, and everything stays: a stale file costs a block, a lost one costs metadata.
//! Copies outside the tree are not seen. Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

use std::collections::HashMap;
use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, Entry, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, FileKind};

use super::bucket::{self, Bucket, readable, remove_empty_store};
use super::entries;
use super::inflight;
use super::metadata::sidecar::{self, Reference};
use super::multipart::sweep::names;
use super::overflow;
use super::path;
use super::reader;
use super::tree::{BENEATH, OWN_DIRECTORY, Tree, own_directory_opening};
use crate::s3::names::ObjectKey;

/// Walks that must both miss a sidecar.
const WALKS: usize = 2;
/// Sidecars that are decided in one round; more wait for the next.
const CANDIDATES_MAX: usize = 100_000;

/// Sidecars that may be garbage, each with the directory it lies in.
type Candidates = HashMap<Reference, File>;

/// Removes the sidecars of all buckets that nothing refers to; returns how many.
///
/// Errors: the first thing that could not be looked at; nothing is removed then.
pub async fn collect(tree: &Tree) -> Result<usize, Errno> {
    let buckets = open_buckets(tree).await?;
    let mut stores = stores_of(&tree.root).await?;
    for bucket in buckets.iter().filter(|bucket| bucket.stat.mount_id != tree.root_mount_id) {
        stores.extend(stores_of(&readable(&bucket.directory).await?).await?);
    }
    let mut candidates = Candidates::new();
    for store in &stores {
        let bucket = buckets.iter().find(|bucket| bucket.id() == store.bucket_id);
        add_candidates(tree, store, bucket, &mut candidates).await?;
    }
    for _ in 0..WALKS {
        if !candidates.is_empty() {
            strike_out_referenced(tree, &mut candidates).await?;
        }
    }
    let mut removed = 0;
    for (reference, directory) in candidates {
        removed += usize::from(file::unlink(&directory, reference.name(), 0, Identity::SERVER).await.is_ok());
    }
    for store in stores.iter().filter(|store| !buckets.iter().any(|bucket| bucket.id() == store.bucket_id)) {
        // Its bucket has gone, and it stayed for its sidecars alone.
        remove_empty_store(&store.parent, &store.bucket_id).await;
    }
    Ok(removed)
}

async fn open_buckets(tree: &Tree) -> Result<Vec<Bucket>, Errno> {
    let mut buckets = Vec::new();
    for listed in bucket::list(tree).await.map_err(|_| Errno::IO)? {
        // What cannot be opened has gone, or ends the walk.
        buckets.extend(Bucket::open(tree, &listed.name, Identity::SERVER).await.ok());
    }
    Ok(buckets)
}

/// The server's own directory of one bucket, which may be gone.
struct StoreOfBucket {
    parent: File,
    bucket_id: String,
}

async fn stores_of(top: &File) -> Result<Vec<StoreOfBucket>, Errno> {
    let path = format!("{}/b", OWN_DIRECTORY.to_string_lossy());
    let Some(parent) = open_directory(top, &path).await? else { return Ok(Vec::new()) };
    let ids = names(&parent).await?;
    Ok(ids.into_iter().map(|bucket_id| StoreOfBucket { parent: parent.clone(), bucket_id }).collect())
}

async fn open_directory(parent: &File, path: &str) -> Result<Option<File>, Errno> {
    let path = CString::new(path).expect("our own names hold no NUL");
    match file::open(parent, path, own_directory_opening(), Identity::SERVER).await {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds the sidecars of a bucket that are neither in flight nor referred to by the key they were made for.
async fn add_candidates(
    tree: &Tree,
    store: &StoreOfBucket,
    bucket: Option<&Bucket>,
    candidates: &mut Candidates,
) -> Result<(), Errno> {
    let path = format!("{}/{}", store.bucket_id, sidecar::DIRECTORY);
    let Some(directory) = open_directory(&store.parent, &path).await? else { return Ok(()) };
    let mut living = HashMap::new();
    for name in names(&directory).await? {
        if candidates.len() >= CANDIDATES_MAX {
            break;
        }
        let Some(reference) = Reference::new(&store.bucket_id, &name) else { continue };
        let instance = reference.instance().to_owned();
        let is_in_flight = if instance == tree.shared.instance.as_str() {
            tree.shared.sidecars.holds(&reference)
        } else if let Some(is_alive) = living.get(&instance) {
            // Another server that lives knows what it has in flight, and nobody else does.
            *is_alive
        } else {
            let is_alive = is_alive(tree, store, &instance).await?;
            *living.entry(instance).or_insert(is_alive)
        };
        if !is_in_flight && !is_at_its_key(tree, bucket, &directory, &reference).await? {
            candidates.insert(reference, directory.clone());
        }
    }
    Ok(())
}

async fn is_alive(tree: &Tree, store: &StoreOfBucket, instance: &str) -> Result<bool, Errno> {
    match open_directory(&store.parent, &format!("{}/inflight", store.bucket_id)).await? {
        Some(inflight) => inflight::is_alive_in(tree, &inflight, instance).await,
        None => Ok(false),
    }
}

/// Whether the object that a sidecar was made for refers to it.
async fn is_at_its_key(
    tree: &Tree,
    bucket: Option<&Bucket>,
    directory: &File,
    reference: &Reference,
) -> Result<bool, Errno> {
    let Some(bucket) = bucket else { return Ok(false) };
    let name = reference.name().to_string_lossy().into_owned();
    let Some(sidecar) = overflow::read_at(directory, name).await? else { return Ok(false) };
    let Ok(key) = ObjectKey::parse(sidecar.key.as_bytes()) else { return Ok(false) };
    let Ok(path) = path::of(&key) else { return Ok(false) };
    let place = CString::from(path.path());
    let opened = reader::open_below(tree, &bucket.directory, place, path.kind(), Identity::SERVER).await;
    match opened {
        Ok(object) => Ok(reader::reference_of(&object.file).await?.as_ref() == Some(reference)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Walks the whole tree, names that are no keys included, and takes out what a file or directory refers to.
async fn strike_out_referenced(tree: &Tree, candidates: &mut Candidates) -> Result<(), Errno> {
    let mut way = vec![(readable(&tree.root).await?, Vec::<Entry>::new())];
    while let Some((directory, left)) = way.last_mut() {
        let Some(next) = left.pop() else {
            *left = entries::read(directory).await?;
            if left.is_empty() {
                way.pop();
            }
            continue;
        };
        let is_own = next.name == OWN_DIRECTORY.to_bytes();
        if is_own || matches!(next.kind, FileKind::Symlink | FileKind::Special) {
            continue;
        }
        let name = CString::new(next.name).expect("a directory entry holds no NUL");
        // O_NONBLOCK: a FIFO must not hang the walk where the kernel does not say what an entry is.
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let opening = Opening { flags, mode: 0, resolve: BENEATH };
        let opened = match file::open(directory, name, opening, Identity::SERVER).await {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => continue,
            Err(error) => return Err(error),
        };
        if let Some(reference) = reader::reference_of(&opened).await? {
            candidates.remove(&reference);
        }
        let is_directory = match next.kind {
            FileKind::Unknown => stat::stat_slow(&opened).await?.kind == FileKind::Directory,
            kind => kind == FileKind::Directory,
        };
        if is_directory {
            way.push((opened, Vec::new()));
        }
    }
    Ok(())
}
