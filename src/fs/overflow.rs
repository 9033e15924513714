//! Documents that the filesystem refuses as an attribute for their size: written to a sidecar before the object has its
//! name, read back by whoever reads the object.
//!
//! A sidecar is the server's own file, never changed, durable before the name that needs it. It goes with a commit that
//! fails and stays with one that succeeds: after an overwrite or a delete a copy, a hard link or a file that was renamed
//! may still refer to it, and only `collect` looks for those. Source: setxattr(2), ENOSPC and E2BIG.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::{Arc, LazyLock, Mutex};

use uring::errno::Errno;
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::task;

use super::bucket::{Store, settle_store};
use super::commit::Target;
use super::failure::{Doing, s3_error};
use super::inflight;
use super::metadata::document::Document;
use super::metadata::sidecar::{self, Reference, Sidecar};
use super::path::KeyKind;
use super::tree::{BENEATH, Durability, OWN_DIRECTORY, Shared, Tree};
use crate::s3::error::S3Error;
use crate::s3::names::BucketName;

/// Whether setting an attribute failed because it is too long, or all of the file's together are. A disk that is full says
/// the same on ext4, and then the sidecar finds no room either.
pub(super) fn is_size_refused(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::TOOBIG | Errno::RANGE)
}

/// Sidecars of this server whose objects may not have their names yet, so that `collect` leaves them alone.
#[derive(Default)]
pub struct InFlight(Mutex<HashSet<Reference>>);

impl InFlight {
    /// Whether a sidecar is among them.
    pub fn holds(&self, reference: &Reference) -> bool {
        self.0.lock().expect("no holder of the lock panics").contains(reference)
    }
}

/// One of them, as long as the value lives.
struct Announced {
    shared: Arc<Shared>,
    reference: Reference,
}

impl Announced {
    fn new(shared: &Arc<Shared>, reference: Reference) -> Announced {
        shared.sidecars.0.lock().expect("no holder of the lock panics").insert(reference.clone());
        Announced { shared: shared.clone(), reference }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.shared.sidecars.0.lock().expect("no holder of the lock panics").remove(&self.reference);
    }
}

/// A sidecar whose object has no name yet; dropped, it is removed.
pub(super) struct Pending {
    directory: File,
    announced: Announced,
    // Set before the object may get its name: a future that is dropped then cannot know whether it did.
    may_be_needed: bool,
}

impl Pending {
    /// What the object's attribute says instead of the document.
    pub(super) fn reference(&self) -> &Reference {
        &self.announced.reference
    }

    /// Says that the object may have its name from now on.
    pub(super) fn keep(&mut self) {
        self.may_be_needed = true;
    }

    /// Removes the sidecar of an object that did not get its name.
    pub(super) async fn remove(mut self) {
        self.may_be_needed = true;
        let _ = file::unlink(&self.directory, self.reference().name(), 0, Identity::SERVER).await;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.may_be_needed {
            return;
        }
        let (directory, name) = (self.directory.clone(), self.reference().name());
        // In a task of its own: whoever held it may be in the middle of being dropped.
        task::spawn(async move {
            let _ = file::unlink(&directory, name, 0, Identity::SERVER).await;
        });
    }
}

/// Writes a document to a sidecar, as durable as the server promises.
///
/// Errors: InsufficientStorage and others of the filesystem; nothing is left then.
pub(super) async fn write(target: &Target<'_>, document: &[u8]) -> Result<Pending, S3Error> {
    let failed = |errno| s3_error(Doing::Write, errno);
    let (tree, bucket) = (target.tree, target.bucket);
    // Whoever collects must see that the maker lives.
    inflight::announce(tree, bucket).await.map_err(failed)?;
    let directory = bucket.store(tree, Store::Overflow).await.map_err(failed)?;
    let instance = tree.shared.instance.as_str();
    let id = [instance, &inflight::random_hex(), &inflight::random_hex()].concat();
    let reference = Reference::new(&bucket.id(), &id).expect("ids are hex digits");
    let announced = Announced::new(&tree.shared, reference);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let opening = Opening { flags, mode: 0o600, resolve: BENEATH };
    let name = announced.reference.name();
    let opened = file::open(&directory, name, opening, Identity::SERVER).await.map_err(failed)?;
    let pending = Pending { directory, announced, may_be_needed: false };
    let content = Sidecar::encode(&key_of(target), document);
    file::write_bytes(&opened, content, 0, Identity::SERVER).await.map_err(failed)?;
    if tree.making.durability >= Durability::Data {
        let flushed = file::sync(&opened, Sync::Content).await;
        flushed.map_err(|errno| s3_error(Doing::Flush, errno))?;
    }
    settle_store(tree, &pending.directory).await.map_err(|errno| s3_error(Doing::Flush, errno))?;
    Ok(pending)
}

fn key_of(target: &Target<'_>) -> String {
    let path = target.path.path().to_string_lossy();
    match target.path.kind() {
        KeyKind::File => path.into_owned(),
        KeyKind::Directory => format!("{path}/"),
    }
}

/// Reads the document that an object of `bucket` refers to. One that is lost is logged once and says nothing: the bytes of
/// the object are worth more than a refusal.
///
/// Errors: the kernel's, of a sidecar that is there.
pub(super) async fn read(
    tree: &Tree,
    bucket: &BucketName,
    reference: &Reference,
    key: &str,
) -> Result<Option<Document>, Errno> {
    let own = format!("{}/{}", OWN_DIRECTORY.to_string_lossy(), reference.path());
    // At the top of the tree; for a bucket on a filesystem of its own, in the bucket.
    for path in [own.clone(), format!("{bucket}/{own}")] {
        if let Some(sidecar) = read_at(&tree.root, path).await? {
            return Ok(Some(sidecar.document));
        }
    }
    note_lost(bucket, key);
    Ok(None)
}

/// Reads a sidecar; `None` when it is not there or is none.
pub(super) async fn read_at(directory: &File, path: String) -> Result<Option<Sidecar>, Errno> {
    let opening = Opening { flags: libc::O_RDONLY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let path = CString::new(path).expect("neither our own names nor a bucket's hold a NUL");
    let opened = match file::open(directory, path, opening, Identity::SERVER).await {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file::read_bytes(&opened, sidecar::BYTES_MAX, 0).await?;
    Ok(Sidecar::decode(&bytes))
}

/// Keys that are remembered as logged.
const LOST_MAX: usize = 10_000;

static LOST: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

fn note_lost(bucket: &BucketName, key: &str) {
    let mut lost = LOST.lock().expect("no holder of the lock panics");
    if lost.len() < LOST_MAX && lost.insert(format!("{bucket}/{key}")) {
        drop(lost);
        tracing::warn!(
            bucket = bucket.as_str(),
            key,
            "metadata of an object is lost: its sidecar is not there"
        );
    }
}
