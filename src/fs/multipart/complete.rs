//! Completing an upload: the list against the records, what the object will be, and the order in which it comes about.
//!
//! The upload is closed for parts first. Nothing of it is removed before the object's name is durable, so a Complete
//! that does not come to its end can be asked for again; one that did has left a tombstone and answers the same. Where
//! the bytes come from is `assemble`'s. Source: CompleteMultipartUpload.

use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::{lock, time};

use super::assemble::{self, Way};
use super::claims::{Fence, PART_BYTES_MIN};
use super::record::{self, PartRecord, Tombstone, UploadRecord};
use super::sweep;
use super::upload::{self, Upload, no_such_upload, read_own_file};
use crate::digest::stream::{Kind, Stream, Wanted};
use crate::fs::bucket::{Bucket, Store};
use crate::fs::commit::{self, Target, Uncommitted};
use crate::fs::failure::{Doing, s3_error};
use crate::fs::flush;
use crate::fs::metadata::view::Metadata;
use crate::fs::mount::Mount;
use crate::fs::path::KeyPath;
use crate::fs::tree::{BENEATH, Tree};
use crate::fs::writer::{self, OBJECT_BYTES_MAX};
use crate::s3::checksum::{Checksum, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::{Comparison, ETag};
use crate::s3::names::{ObjectKey, UploadId};
use crate::s3::part_sizes::PartSizes;
use crate::s3::precondition::WriteCondition;
use crate::s3::xml::multipart::CompletedPart;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The parts: at least one, each number higher than the one before.
    pub parts: Vec<CompletedPart>,
    /// The condition on what the key has.
    pub condition: WriteCondition,
    /// The object's size, when the client says it.
    pub object_bytes: Option<u64>,
    /// The object's checksum, when the client says it.
    pub checksum: Option<Checksum>,
    /// The type of that checksum, when the client says it.
    pub checksum_type: Option<ChecksumType>,
}

/// An object that came of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Its ETag.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// What a Complete has to do yet.
pub enum Planned {
    /// Nothing: it is asked for again.
    Done(Completed),
    /// The object is to be made.
    Ready(Box<Plan>),
}

/// Where the object is to appear; the plan owns it, because it may outlive its request's turn.
pub struct Destination {
    /// The tree.
    pub tree: Rc<Tree>,
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// The key as a path.
    pub path: KeyPath,
    /// Who completes.
    pub identity: Identity,
}

impl Destination {
    pub(super) fn target(&self) -> Target<'_> {
        Target { tree: &self.tree, bucket: &self.bucket, path: &self.path, identity: self.identity }
    }
}

/// An object that can be made of an upload. Dropping it changes nothing.
pub struct Plan {
    destination: Destination,
    upload: Upload,
    store: File,
    condition: WriteCondition,
    parts: Vec<PartRecord>,
    way: Way,
    made: Completed,
    fence: Fence,
    // Held against a Complete or Abort on another server.
    _held: Option<lock::Held>,
}

/// Closes an upload for parts and decides what is to be done; `completion` is asked for when there is an upload.
///
/// Errors: NoSuchUpload, those of `completion`, InvalidPart, EntityTooSmall, EntityTooLarge, BadDigest and InvalidRequest for what is said of the
/// object, PreconditionFailed, ServiceUnavailable.
pub async fn plan(
    destination: Destination,
    id: &UploadId,
    completion: impl FnOnce() -> Result<Completion, S3Error>,
) -> Result<Planned, S3Error> {
    let failed = |errno| s3_error(Doing::Read, errno);
    let tree = destination.tree.clone();
    let fence = tree.shared.uploads.close(id).await;
    let store = destination.bucket.existing_store(&tree, Store::Uploads).await.map_err(failed)?;
    let store = store.ok_or_else(|| no_such_upload(id))?;
    if let Some(tombstone) = read_tombstone(&store, id).await? {
        // What a server that was killed has left of it.
        let _ = upload::remove(&tree, &store, id).await;
        fence.end();
        if tombstone.key != destination.key {
            return Err(no_such_upload(id));
        }
        completion()?;
        return Ok(Planned::Done(Completed { etag: tombstone.etag, checksum: tombstone.checksum }));
    }
    let upload = upload::find_in(&store, &destination.key, id).await?;
    let completion = completion()?;
    let held = hold(&destination.bucket.mount, &upload).await?;
    let records = upload.parts(&upload.numbers().await?).await?;
    let parts = validate(id, &completion.parts, &records)?;
    let made = describe(&upload.record, &completion, &parts)?;
    let way = if assemble::is_published(&destination, &upload, &records, &made).await? {
        Way::Published
    } else {
        destination.target().check_early(&completion.condition).await?;
        assemble::choose(&destination, &upload, &fence, &parts, &records).await?
    };
    let condition = completion.condition;
    let plan = Plan { destination, upload, store, condition, parts, way, made, fence, _held: held };
    Ok(Planned::Ready(Box::new(plan)))
}

/// Makes sure that no other server ends the upload at the same time.
///
/// Errors: NoSuchUpload, ServiceUnavailable.
pub(super) async fn hold(mount: &Mount, upload: &Upload) -> Result<Option<lock::Held>, S3Error> {
    let opening = Opening { flags: libc::O_RDWR | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let name = CString::from(record::UPLOAD);
    let opened = match file::open(&upload.directory, name, opening, Identity::SERVER).await {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Err(no_such_upload(&upload.id)),
        Err(errno) => return Err(s3_error(Doing::Read, errno)),
    };
    for _ in 0..HOLD_TRIES {
        match mount.try_lock(&opened, lock::Hold::Exclusive).await {
            // Another server has ended the upload meanwhile: the client's next try finds what that has left.
            Ok(_held) if writer::is_gone(mount, &opened).await => break,
            Ok(held) => return Ok(Some(held)),
            Err(Errno::AGAIN) => time::sleep(HOLD_PAUSE).await,
            // A filesystem without locks is served by one server.
            Err(_) => return Ok(None),
        }
    }
    Err(S3Error::new(Code::ServiceUnavailable)
        .with_message("another server is completing or aborting this upload"))
}

/// How often the lock of an upload is asked for: on a filesystem of another machine the one that an earlier request had,
/// such as a Complete that was refused, ends a little after its answer.
const HOLD_TRIES: usize = 50;
const HOLD_PAUSE: Duration = Duration::from_millis(2);

async fn read_tombstone(store: &File, id: &UploadId) -> Result<Option<Tombstone>, S3Error> {
    let bytes = read_own_file(store, &sweep::tombstone_name(id)).await;
    let bytes = bytes.map_err(|errno| s3_error(Doing::Read, errno))?;
    Ok(bytes.and_then(|bytes| Tombstone::decode(&bytes)))
}

/// Holds a client's list against the records; returns the records in its order.
///
/// Errors: InvalidPart, EntityTooSmall, EntityTooLarge.
fn validate(
    id: &UploadId,
    listed: &[CompletedPart],
    records: &[PartRecord],
) -> Result<Vec<PartRecord>, S3Error> {
    assert!(listed.is_sorted_by(|left, right| left.part_number < right.part_number), "the reader saw to it");
    let mut parts = Vec::with_capacity(listed.len());
    for part in listed {
        let record = records
            .binary_search_by_key(&part.part_number, |record| record.number)
            .ok()
            .and_then(|index| records.get(index))
            .filter(|record| part.etag.matches(&record.etag, Comparison::Strong))
            .filter(|record| part.checksums.iter().all(|checksum| record.checksum == Some(*checksum)));
        let record = record.ok_or_else(|| {
            S3Error::new(Code::InvalidPart)
                .with_element("UploadId", id.as_str())
                .with_element("PartNumber", part.part_number.to_string())
        })?;
        parts.push(record.clone());
    }
    let (_, all_but_last) = parts.split_last().expect("the reader refuses an empty list");
    if let Some(small) = all_but_last.iter().find(|part| part.size_bytes < PART_BYTES_MIN) {
        return Err(S3Error::new(Code::EntityTooSmall)
            .with_element("ProposedSize", small.size_bytes.to_string())
            .with_element("MinSizeAllowed", PART_BYTES_MIN.to_string())
            .with_element("PartNumber", small.number.to_string())
            .with_element("ETag", small.etag.to_string()));
    }
    if total_bytes(&parts) > OBJECT_BYTES_MAX {
        return Err(S3Error::new(Code::EntityTooLarge));
    }
    Ok(parts)
}

/// The size of the object that parts make.
pub(super) fn total_bytes(parts: &[PartRecord]) -> u64 {
    parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.size_bytes))
}

/// What the object will be, held against what the client says of it.
///
/// Errors: InvalidRequest, BadDigest.
fn describe(
    upload: &UploadRecord,
    completion: &Completion,
    parts: &[PartRecord],
) -> Result<Completed, S3Error> {
    let invalid = |message: String| S3Error::new(Code::InvalidRequest).with_message(message);
    let total = total_bytes(parts);
    if let Some(said) = completion.object_bytes.filter(|said| *said != total) {
        return Err(invalid(format!(
            "The provided 'x-amz-mp-object-size' header value {said} does not match what was computed: {total}"
        )));
    }
    let mut md5s = Stream::new(Wanted::NONE.with(Kind::Md5));
    parts.iter().for_each(|part| md5s.update(&part.etag.digest()));
    let md5 = md5s.finish().md5.expect("the stream was asked for an MD5");
    let count = u16::try_from(parts.len()).expect("part numbers end at 10,000");
    let checksum = upload.checksum.and_then(|(algorithm, kind)| {
        let of_part = |part: &PartRecord| part.checksum.map(|checksum| (checksum, part.size_bytes));
        let of_parts = parts.iter().map(of_part).collect::<Option<Vec<_>>>()?;
        match kind {
            ChecksumType::FullObject => Checksum::full_object(algorithm, &of_parts),
            ChecksumType::Composite => {
                let values: Vec<_> = of_parts.into_iter().map(|(checksum, _)| checksum).collect();
                Checksum::composite(algorithm, &values)
            }
        }
    });
    let kind = upload.checksum.map(|(_, kind)| kind);
    if completion.checksum_type.is_some() && completion.checksum_type != kind {
        return Err(invalid(
            "The x-amz-checksum-type is not the one the upload was created with.".to_owned(),
        ));
    }
    if let Some(said) = completion.checksum {
        // The part count of a composite checksum may be left out.
        let same = |made: &Checksum| {
            made.algorithm() == said.algorithm()
                && made.bytes() == said.bytes()
                && (said.parts().is_none() || said.parts() == made.parts())
        };
        if !checksum.as_ref().is_some_and(same) {
            let wire = said.algorithm().wire();
            return Err(S3Error::new(Code::BadDigest)
                .with_message(format!("The {wire} you specified did not match the calculated checksum.")));
        }
    }
    Ok(Completed { etag: ETag::of_parts(md5, count), checksum })
}

impl Plan {
    /// How many bytes are to be copied; the rest is there already, or is shared with the object.
    #[cfg(test)]
    pub fn copied_bytes(&self) -> u64 {
        assemble::copied_bytes(&self.way, &self.destination.bucket.mount, &self.parts)
    }

    /// Makes the object and removes the upload.
    ///
    /// Errors: PreconditionFailed, ObjectTypeConflict, InsufficientStorage and others of the filesystem; the upload is
    /// there then and can be completed again.
    pub async fn run(self, now_ns: u64) -> Result<Completed, S3Error> {
        let target = self.destination.target();
        let mut made = self.made;
        match &self.way {
            Way::Published => flush::settle_again(&target).await?,
            Way::InPlace(_) | Way::Copy => {
                let staged = assemble::assemble(&target, &self.upload, &self.way, &self.parts).await?;
                let metadata = Metadata {
                    etag: made.etag,
                    headers: self.upload.record.headers.clone(),
                    user_metadata: self.upload.record.user_metadata.clone(),
                    checksum: made.checksum,
                    part_sizes: PartSizes::of(self.parts.iter().map(|part| part.size_bytes)),
                    version_id: None,
                };
                match commit::try_commit(&target, staged, &metadata, &self.condition).await {
                    Ok(committed) => made.etag = committed.etag,
                    Err(Uncommitted { error, name }) => {
                        // By that name it is known again when this is asked for once more.
                        if name == commit::Name::NotGiven {
                            assemble::forget_whole(&self.upload).await;
                        }
                        return Err(error);
                    }
                }
            }
        }
        let tombstone =
            Tombstone { key: self.destination.key.clone(), etag: made.etag, checksum: made.checksum };
        bury(&self.destination.tree, &self.store, &self.upload.id, &tombstone, now_ns).await;
        self.fence.end();
        Ok(made)
    }
}

/// Leaves a tombstone and removes the upload. The object is there, so nothing that fails here is the client's concern.
async fn bury(tree: &Tree, store: &File, id: &UploadId, tombstone: &Tombstone, now_ns: u64) {
    let name = sweep::tombstone_name(id);
    let left = commit::replace_own_file(tree, store, &name, tombstone.encode()).await;
    let _ = upload::remove(tree, store, id).await;
    if left.is_err() {
        // On a full disk there is room now.
        let _ = commit::replace_own_file(tree, store, &name, tombstone.encode()).await;
    }
    if tree.shared.uploads.count_completion().is_multiple_of(sweep::COMPLETIONS_A_SWEEP) {
        let _ = sweep::tombstones(store, now_ns).await;
    }
}
