//! Where a completed object's bytes come from: the file that its parts already lie in, or a new one.
//!
//! Parts one stride apart, 1 to N without a gap, make their file the object as it stands: only parts out of place are
//! copied, into places that no record names. Everything else goes into a new file, by shared extents where the
//! filesystem has them; the parts stay untouched. Nothing here gives the object its name: that is `commit`.
//! Source: ioctl_ficlonerange(2), copy_file_range(2); DESIGN rules as written down in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use uring::arena::{self, BlockSize};
use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::stat::{self, Stat};

use super::claims::Fence;
use super::complete::{Completed, Destination, total_bytes};
use super::record::{PartRecord, in_place_name};
use super::upload::{Upload, instance_of};
use crate::fs::commit::{self, Target};
use crate::fs::failure::{Doing, s3_error};
use crate::fs::flush;
use crate::fs::inflight;
use crate::fs::mount::{Filesystem, Mount};
use crate::fs::reader;
use crate::fs::tree::BENEATH;
use crate::fs::writer::{self, Path, Staged};
use crate::s3::error::S3Error;

/// How the object comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is there: an earlier Complete did not come to its end.
    Published,
    /// This file of the upload becomes the object.
    InPlace(String),
    /// A new file does.
    Copy,
}

/// The name that a new file has in the upload's directory, so that it is known again under the object's key.
const WHOLE: &CStr = c"whole";

/// Whether the key already has what these parts make, put there by a Complete of this upload.
pub(super) async fn is_published(
    destination: &Destination,
    upload: &Upload,
    records: &[PartRecord],
    made: &Completed,
) -> Result<bool, S3Error> {
    let path = CString::from(destination.path.path());
    let directory = &destination.bucket.directory;
    let kind = destination.path.kind();
    let object = reader::open_below(&destination.tree, directory, path, kind, destination.identity).await;
    let object = match object {
        Ok(object) => object,
        // What the caller may not read is not what he has just put there.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::ACCES | Errno::PERM) => {
            return Ok(false);
        }
        Err(errno) => return Err(s3_error(Doing::Find, errno)),
    };
    if object.stat.links < 2 || object.etag() != made.etag {
        return Ok(false);
    }
    let in_place = records.iter().filter(|record| record.is_in_place()).map(|record| record.file.as_str());
    let mut names: BTreeSet<&str> = in_place.collect();
    names.insert("whole");
    for name in names {
        let found = stat_of(upload, name).await.map_err(|errno| s3_error(Doing::Find, errno))?;
        if found.is_some_and(|found| (found.inode, found.device) == (object.stat.inode, object.stat.device)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn stat_of(upload: &Upload, name: &str) -> Result<Option<Stat>, Errno> {
    let opening = Opening { flags: libc::O_PATH | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    match file::open(&upload.directory, c_name(name), opening, Identity::SERVER).await {
        Ok(opened) => stat::stat_slow(&opened).await.map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn c_name(name: &str) -> CString {
    CString::new(name).expect("a name that was decoded holds no NUL")
}

/// Chooses how the object comes about.
///
/// Errors: those of the filesystem.
pub(super) async fn choose(
    destination: &Destination,
    upload: &Upload,
    fence: &Fence,
    parts: &[PartRecord],
    records: &[PartRecord],
) -> Result<Way, S3Error> {
    let failed = |errno| s3_error(Doing::Find, errno);
    let Some(name) = in_place_file(parts, records) else { return Ok(Way::Copy) };
    let (tree, instance) = (&destination.tree, instance_of(&upload.id));
    // Another server that lives may have a writer in the file, and only it knows.
    let is_quiet = if instance == tree.shared.instance.as_str() {
        fence.quiet_file().is_some_and(|file| in_place_name(file) == name)
    } else {
        !inflight::is_alive(tree, &destination.bucket, instance).await.map_err(failed)?
    };
    let found = if is_quiet { stat_of(upload, name).await.map_err(failed)? } else { None };
    // A file that has a name elsewhere is an object that somebody may be reading: it is never changed.
    match found {
        Some(found) if found.links == 1 => Ok(Way::InPlace(name.to_owned())),
        Some(_) | None => Ok(Way::Copy),
    }
}

/// The file that can become the object of these parts; `records` are all that the upload has.
///
/// Shape: numbers 1 to N, all but the last of one size, a multiple of 4096, the last no longer; whatever lies in the file
/// is listed and in its place.
fn in_place_file<'a>(parts: &[PartRecord], records: &'a [PartRecord]) -> Option<&'a str> {
    let stride = parts.first()?.size_bytes;
    let (last, others) = parts.split_last()?;
    let is_uniform = parts.iter().zip(1..).all(|(part, number)| part.number.value() == number)
        && others.iter().all(|part| part.size_bytes == stride)
        && last.size_bytes <= stride
        && (others.is_empty() || stride.is_multiple_of(4096));
    if !is_uniform {
        return None;
    }
    // The file with the most parts; there are two at most.
    let names: BTreeSet<&str> =
        records.iter().filter(|record| record.is_in_place()).map(|record| record.file.as_str()).collect();
    let count = |name: &&str| parts.iter().filter(|part| part.file == **name).count();
    let name = names.into_iter().max_by_key(|name| count(name))?;
    let all_fit = records.iter().filter(|record| record.file == name).all(|record| {
        let is_listed = usize::from(record.number.value()) <= parts.len();
        is_listed && record.offset_bytes == place_of(record, stride)
    });
    all_fit.then_some(name)
}

/// Where a part belongs in an object of uniform parts.
fn place_of(part: &PartRecord, stride: u64) -> u64 {
    u64::from(part.number.value() - 1).saturating_mul(stride)
}

/// The bytes that have to move for an object.
pub(super) fn copied_bytes(way: &Way, mount: &Mount, parts: &[PartRecord]) -> u64 {
    let clones = matches!(mount.filesystem, Filesystem::Xfs | Filesystem::Btrfs);
    let mut offset: u64 = 0;
    let mut copied: u64 = 0;
    for part in parts {
        let is_there = match way {
            Way::Published => true,
            Way::InPlace(name) => part.file == *name,
            Way::Copy => clones && offset.is_multiple_of(4096),
        };
        offset = offset.saturating_add(part.size_bytes);
        copied = copied.saturating_add(if is_there { 0 } else { part.size_bytes });
    }
    copied
}

/// Brings the object's bytes together in a file without a name of its own in the tree.
///
/// Errors: InsufficientStorage and others of the filesystem; the parts are as they were.
pub(super) async fn assemble(
    target: &Target<'_>,
    upload: &Upload,
    way: &Way,
    parts: &[PartRecord],
) -> Result<Staged, S3Error> {
    // What a file made for this key now would be like: directories may have come between since the upload began.
    let staged =
        writer::stage(target.tree, target.bucket, target.path, Path::Cached, target.identity).await?;
    if let Way::InPlace(name) = way {
        let opened = open(upload, name, libc::O_RDWR).await?;
        if is_alike(staged.file(), &opened).await? {
            let in_place = Source { name: name.as_str(), file: opened };
            fill(target, upload, &in_place.file, Some(&in_place), parts).await?;
            if cut(target, &in_place.file, total_bytes(parts)).await? {
                return Ok(Staged::linked(in_place.file, target.identity));
            }
        }
    }
    if copied_bytes(&Way::Copy, &target.bucket.mount, parts) > 0 {
        writer::check_announced(target.bucket, total_bytes(parts)).await?;
    }
    fill(target, upload, staged.file(), None, parts).await?;
    name_whole(target, upload, staged.file()).await;
    Ok(staged)
}

/// Whether two files lie on one device and mount, so that one can have a name where the other would, and have the same
/// owner, group, mode and ACL.
async fn is_alike(template: &File, file: &File) -> Result<bool, S3Error> {
    let failed = |errno| s3_error(Doing::Read, errno);
    let wanted = stat::stat_slow(template).await.map_err(failed)?;
    let found = stat::stat_slow(file).await.map_err(failed)?;
    if (wanted.device, wanted.mount_id) != (found.device, found.mount_id) {
        return Ok(false);
    }
    if (wanted.uid, wanted.gid, wanted.mode) != (found.uid, found.gid, found.mode) {
        return Ok(false);
    }
    Ok(acl_of(template).await.map_err(failed)? == acl_of(file).await.map_err(failed)?)
}

/// The ACL of an open file beyond its mode. Source: acl(5); an ACL of ext4 has at most 8,192 bytes here.
async fn acl_of(file: &File) -> Result<Vec<u8>, Errno> {
    match file::read_attribute_slow(file, c"system.posix_acl_access", 8192).await {
        Ok(acl) => Ok(acl),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Cuts a file of parts to the object's size; false when it does not reach so far.
async fn cut(target: &Target<'_>, file: &File, size_bytes: u64) -> Result<bool, S3Error> {
    let failed = |errno| s3_error(Doing::Write, errno);
    let found = stat::stat_slow(file).await.map_err(failed)?.size_bytes;
    if found > size_bytes {
        file::truncate(file, size_bytes, target.identity).await.map_err(failed)?;
    }
    Ok(found >= size_bytes)
}

/// Gives a new file a name by which a repeated Complete knows it under the key. Without it, as on a filesystem that has no
/// hard links, a Complete that was cut off just before its end and is asked for again with `If-None-Match` finds its own
/// object in the way.
async fn name_whole(target: &Target<'_>, upload: &Upload, file: &File) {
    forget_whole(upload).await;
    let named = commit::link_own(file, &upload.directory, WHOLE).await;
    if named.is_ok() {
        let _ = flush::flush_directory(target.tree, &upload.directory).await;
    }
}

/// Takes that name away from a file that did not become the object.
pub(super) async fn forget_whole(upload: &Upload) {
    let _ = file::unlink(&upload.directory, CString::from(WHOLE), 0, Identity::SERVER).await;
}

/// An open file that parts lie in.
struct Source<'a> {
    name: &'a str,
    file: File,
}

async fn open(upload: &Upload, name: &str, flags: i32) -> Result<File, S3Error> {
    let opening = Opening { flags: flags | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let opened = file::open(&upload.directory, c_name(name), opening, Identity::SERVER).await;
    opened.map_err(|errno| s3_error(Doing::Read, errno))
}

/// Puts each part where it belongs in `file`, unless it lies there.
async fn fill(
    target: &Target<'_>,
    upload: &Upload,
    file: &File,
    in_place: Option<&Source<'_>>,
    parts: &[PartRecord],
) -> Result<(), S3Error> {
    let mut offset: u64 = 0;
    // Neighbours often lie in one file.
    let mut last: Option<Source<'_>> = None;
    for part in parts {
        if in_place.is_none_or(|in_place| in_place.name != part.file) {
            let source = match last.take().filter(|last| last.name == part.file) {
                Some(source) => source,
                None => Source { name: &part.file, file: open(upload, &part.file, libc::O_RDONLY).await? },
            };
            copy((&source.file, part.offset_bytes), (file, offset), part.size_bytes, target.identity)
                .await
                .map_err(|errno| s3_error(Doing::Write, errno))?;
            last = Some(source);
        }
        offset = offset.saturating_add(part.size_bytes);
    }
    Ok(())
}

/// A copy is cut into pieces, so that one thread of the pool is not gone for long.
const COPY_STEP_BYTES: u64 = 64 << 20;

/// Makes bytes of one file those of another: by shared extents, else inside the kernel, else through memory.
async fn copy(from: (&File, u64), to: (&File, u64), length: u64, identity: Identity) -> Result<(), Errno> {
    let ((source, from_offset), (sink, to_offset)) = (from, to);
    let is_aligned = [from_offset, to_offset].iter().all(|offset| offset.is_multiple_of(4096));
    if length == 0 || is_aligned && file::clone_range(from, to, length, identity).await.is_ok() {
        return Ok(());
    }
    let mut done = 0;
    while done < length {
        let (from, to) = ((source, from_offset + done), (sink, to_offset + done));
        match file::copy_range(from, to, (length - done).min(COPY_STEP_BYTES), identity).await {
            // The record says that the bytes are there.
            Ok(0) => return Err(Errno::IO),
            Ok(copied) => done += u64::from(copied),
            // Two filesystems, or one that cannot, or a seccomp profile that does not know the call.
            Err(Errno::XDEV | Errno::NOSYS | Errno::NOTSUP | Errno::INVAL | Errno::PERM) => {
                return copy_through_memory(from, to, length - done, identity).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn copy_through_memory(
    (source, from_offset): (&File, u64),
    (sink, to_offset): (&File, u64),
    length: u64,
    identity: Identity,
) -> Result<(), Errno> {
    let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(usize::MAX).min(block.len());
        let (read, back) = file::read_at(source, block, 0..wanted, from_offset + done).await;
        let read = read? as usize;
        if read == 0 {
            return Err(Errno::IO);
        }
        let writing = file::write_at(sink, back.freeze(), 0..read, to_offset + done, identity);
        let (written, frozen) = writing.finish().await;
        done += u64::from(written?);
        let Ok(back) = frozen.unfreeze() else { unreachable!("the block was not shared") };
        block = back;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::etag::ETag;
    use crate::s3::names::PartNumber;

    const PART: u64 = 5 << 20;

    /// `(number, bytes, file, offset)` of each part; the first `listed` of them are completed with.
    fn check(name: &str, parts: &[(u64, u64, &str, u64)], listed: usize, want: Option<&str>) {
        let record = |(number, size_bytes, file, offset_bytes): &(u64, u64, &str, u64)| PartRecord {
            number: PartNumber::new(*number).unwrap(),
            size_bytes: *size_bytes,
            etag: ETag::of_md5([0; 16]),
            checksum: None,
            file: (*file).to_owned(),
            offset_bytes: *offset_bytes,
            uploaded_ns: 0,
        };
        let records: Vec<PartRecord> = parts.iter().map(record).collect();
        assert_eq!(in_place_file(&records[..listed], &records), want, "{name}");
    }

    #[test]
    fn files_that_can_become_the_object() {
        let (one, two) = ((1, PART, "data-1", 0), (2, PART, "data-1", PART));
        check("uniform", &[one, two, (3, 7, "data-1", 2 * PART)], 3, Some("data-1"));
        check("one part", &[(1, 7, "data-1", 0)], 1, Some("data-1"));
        check("a repeat", &[(1, PART, "part-00001-a-b", 0), two], 2, Some("data-1"));
        check("the last part first", &[(1, PART, "data-2", 0), (2, 7, "data-1", 7)], 2, Some("data-2"));
        check("nothing in place", &[(1, PART, "part-00001-a-b", 0)], 1, None);
        check("a gap", &[one, (3, PART, "data-1", 2 * PART)], 2, None);
        check("not from 1", &[two, (3, PART, "data-1", 2 * PART)], 2, None);
        check("one that is left out", &[one, two], 1, None);
        check("one that is left out and lies beside", &[one, (2, 7, "part-00002-a-b", 0)], 1, Some("data-1"));
        check("a longer last part", &[one, (2, PART + 1, "part-00002-a-b", 0)], 2, None);
        check("out of place", &[one, (2, PART, "data-1", 2 * PART)], 2, None);
        check("no multiple of 4096", &[(1, PART + 1, "data-1", 0), (2, 7, "data-1", PART + 1)], 2, None);
    }
}
