//! An upload as a directory of the server's own: made, found, taken away.
//!
//! It exists from the moment its record is written, the last step of making it, until that is unlinked, the first step
//! of removing it; a directory without one is half made or half gone and is swept at start. The file for parts in place
//! is born where the object would be, so that it has the group and ACL of that place.
//! Source: CreateMultipartUpload; open(2) O_TMPFILE, linkat(2).

use std::ffi::{CStr, CString};

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat::FileKind;

use super::record::{self, UploadRecord, in_place_name};
use crate::fs::bucket::{Bucket, Store, settle_store};
use crate::fs::commit::{self, Target};
use crate::fs::failure::{Doing, s3_error};
use crate::fs::flush;
use crate::fs::inflight;
use crate::fs::path::KeyKind;
use crate::fs::together::together;
use crate::fs::tree::{BENEATH, Tree, own_directory_opening};
use crate::fs::writer::{self, Path};
use crate::s3::error::{Code, S3Error};
use crate::s3::names::{ObjectKey, UploadId};
use crate::s3::precondition::WriteCondition;

/// An upload that exists.
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// What it was begun with.
    pub record: UploadRecord,
    pub(super) directory: File,
}

/// The id of an upload says which server's it is: 16 digits of its instance, 32 that nobody can guess.
fn new_id(instance: &str) -> UploadId {
    let random = [inflight::random_hex(), inflight::random_hex()].concat();
    UploadId::parse(&format!("{instance}{random}")).expect("hex digits are legal in an upload id")
}

/// The instance of the server that made an upload.
pub(super) fn instance_of(id: &UploadId) -> &str {
    id.as_str().get(..INSTANCE_BYTES).unwrap_or_default()
}

const INSTANCE_BYTES: usize = 16;

/// The name of an upload's directory.
pub(super) fn directory_name(id: &UploadId) -> CString {
    CString::new(id.as_str()).expect("an upload id holds no NUL")
}

/// The error of an upload that is not there, or not any more.
///
/// Errors: the result is NoSuchUpload, with the id.
pub fn no_such_upload(id: &UploadId) -> S3Error {
    S3Error::new(Code::NoSuchUpload).with_element("UploadId", id.as_str())
}

/// Begins an upload.
///
/// Errors: InvalidArgument for the key of a directory, ObjectTypeConflict, AccessDenied, InsufficientStorage.
pub async fn create(target: &Target<'_>, record: &UploadRecord) -> Result<UploadId, S3Error> {
    if target.path.kind() == KeyKind::Directory {
        let message = "a key that ends in `/` is a directory and has no body, so it is not uploaded in parts";
        return Err(S3Error::new(Code::InvalidArgument).with_message(message));
    }
    target.check_early(&WriteCondition::Unconditional).await?;
    let failed = |errno| s3_error(Doing::Write, errno);
    let (tree, bucket) = (target.tree, target.bucket);
    // Whoever sweeps must see that the maker of a half-made directory lives.
    inflight::announce(tree, bucket).await.map_err(failed)?;
    let store = bucket.store(tree, Store::Uploads).await.map_err(failed)?;
    let id = new_id(tree.shared.instance.as_str());
    let name = directory_name(&id);
    file::make_directory(&store, name.clone(), 0o700, Identity::SERVER).await.map_err(failed)?;
    let made = async {
        let opened = file::open(&store, name, own_directory_opening(), Identity::SERVER);
        let directory = opened.await.map_err(failed)?;
        let born = make_in_place_file(target, &directory, super::claims::FIRST_FILE).await?;
        let content = record.encode();
        commit::replace_own_file(tree, &directory, record::UPLOAD, content).await.map_err(failed)?;
        settle_store(tree, &store).await.map_err(failed)?;
        Ok(born)
    };
    match made.await {
        Ok(Born::Here) => tree.shared.uploads.open(&id),
        Ok(Born::Nowhere) => {}
        Err(error) => {
            let _ = remove(tree, &store, &id).await;
            return Err(error);
        }
    }
    Ok(id)
}

/// Whether there is a file for parts in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Born {
    /// It has its name in the upload's directory.
    Here,
    /// The filesystem does not let one inode have names in both places; every part gets a file of its own.
    Nowhere,
}

/// Makes a file where the object would be and gives it a name in the upload's directory.
pub(super) async fn make_in_place_file(
    target: &Target<'_>,
    directory: &File,
    number: u8,
) -> Result<Born, S3Error> {
    let identity = target.identity;
    let staged = writer::stage(target.tree, target.bucket, target.path, Path::Cached, identity).await?;
    let name = CString::new(in_place_name(number)).expect("our own names hold no NUL");
    match commit::link_own(staged.file(), directory, &name).await {
        Ok(()) => Ok(Born::Here),
        // Another project, subvolume or mount; or a filesystem without hard links.
        Err(Errno::XDEV | Errno::NOTSUP | Errno::NOSYS | Errno::PERM | Errno::MLINK) => Ok(Born::Nowhere),
        Err(errno) => Err(s3_error(Doing::Write, errno)),
    }
}

/// Finds an upload of a key.
///
/// Errors: NoSuchUpload.
pub async fn find(tree: &Tree, bucket: &Bucket, key: &ObjectKey, id: &UploadId) -> Result<Upload, S3Error> {
    let failed = |errno| s3_error(Doing::Read, errno);
    let store = bucket.existing_store(tree, Store::Uploads).await.map_err(failed)?;
    let store = store.ok_or_else(|| no_such_upload(id))?;
    find_in(&store, key, id).await
}

/// Finds an upload of a key in a bucket's store.
pub(super) async fn find_in(store: &File, key: &ObjectKey, id: &UploadId) -> Result<Upload, S3Error> {
    let failed = |errno| s3_error(Doing::Read, errno);
    let opened = file::open(store, directory_name(id), own_directory_opening(), Identity::SERVER).await;
    let directory = match opened {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(no_such_upload(id)),
        Err(errno) => return Err(failed(errno)),
    };
    let bytes = read_own_file(&directory, record::UPLOAD).await.map_err(failed)?;
    let bytes = bytes.ok_or_else(|| no_such_upload(id))?;
    let record = UploadRecord::decode(&bytes)
        .ok_or_else(|| S3Error::new(Code::InternalError).with_source("the record of an upload is broken"))?;
    if record.key != *key {
        return Err(no_such_upload(id));
    }
    Ok(Upload { id: id.clone(), record, directory })
}

impl Upload {
    /// Whether nobody has ended it meanwhile.
    pub(super) async fn exists(&self) -> Result<bool, Errno> {
        let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
        let opened =
            file::open(&self.directory, CString::from(record::UPLOAD), opening, Identity::SERVER).await;
        match opened {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Most records are smaller than this, so the first read is enough.
const RECORD_BYTES_USUAL: usize = 4096;

/// Reads a small file of the server's own; `None` when there is none.
pub(super) async fn read_own_file(directory: &File, name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let opening = Opening { flags: libc::O_RDONLY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let opened = match file::open(directory, CString::from(name), opening, Identity::SERVER).await {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut length = RECORD_BYTES_USUAL;
    loop {
        let bytes = file::read_bytes(&opened, length, 0).await?;
        if bytes.len() < length || length >= record::BYTES_MAX {
            return Ok(Some(bytes));
        }
        length = record::BYTES_MAX;
    }
}

/// How often a directory is listed again that somebody puts files into while it is emptied.
const REMOVE_TRIES: usize = 8;

/// Takes an upload away, its record first; what cannot be removed behind that is swept at start.
///
/// Errors: the record could not be removed, and nothing was.
pub(super) async fn remove(tree: &Tree, store: &File, id: &UploadId) -> Result<(), Errno> {
    let me = Identity::SERVER;
    let name = directory_name(id);
    for _ in 0..REMOVE_TRIES {
        // A descriptor of its own each time: its position moves.
        let directory = match file::open(store, name.clone(), own_directory_opening(), me).await {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        match file::unlink(&directory, CString::from(record::UPLOAD), 0, me).await {
            Ok(()) => drop(flush::flush_directory(tree, &directory).await),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        while let Ok(entries) = file::read_directory(&directory).await {
            if entries.is_empty() {
                break;
            }
            let names = entries.into_iter().filter(|entry| entry.kind != FileKind::Directory);
            // All of one read at once: there may be ten thousand, and each waits for the journal.
            let names = names.map(|entry| CString::new(entry.name).expect("a directory entry holds no NUL"));
            together(names.map(|name| file::unlink(&directory, name, 0, me))).await;
        }
        match file::unlink(store, name.clone(), libc::AT_REMOVEDIR, me).await {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Ok(()) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}
