//! The parts of an upload: where one is written, and how its record says that it is whole.
//!
//! The first upload of a number that fits goes to its final place; a repeat, and a part that does not fit, to a file of
//! its own. Bytes are flushed before the record, and the record is replaced by rename, so an acknowledged part is never
//! harmed by a later one that fails. Source: UploadPart, ListParts; DESIGN rules as written down in ARCHITECTURE.md.

use std::ffi::CString;

use uring::errno::Errno;
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::stat;
use uring::task;

use super::claims::{Inode, Slot};
use super::record::{PartRecord, in_place_name, side_name};
use super::upload::{self, Born, Upload, no_such_upload, read_own_file};
use crate::fs::bucket::{Bucket, readable};
use crate::fs::commit::{self, Target};
use crate::fs::failure::{Doing, s3_error};
use crate::fs::inflight;
use crate::fs::together::together;
use crate::fs::tree::{BENEATH, Durability};
use crate::fs::writer::{self, DIRECT_BYTES_MIN, Extent, Unfinished, Writer};
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::names::PartNumber;

/// The largest part. Source: S3 user guide, "Amazon S3 multipart upload limits".
pub const PART_BYTES_MAX: u64 = 5 << 30;

/// A part that is being written.
pub struct PartFile<'a> {
    target: &'a Target<'a>,
    upload: &'a Upload,
    number: PartNumber,
    announced_bytes: Option<u64>,
    file: File,
    place: Place,
    unfinished: Unfinished,
}

/// Where it is written.
enum Place {
    /// In its final place.
    Slot(Slot),
    /// In a file of its own.
    Side(SideFile),
    /// The record names it now.
    Kept,
}

/// The file of one part alone; it goes with the value unless a record names it.
struct SideFile {
    directory: File,
    name: String,
    is_kept: bool,
}

impl Drop for SideFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let (directory, name) = (self.directory.clone(), c_name(&self.name));
        // In a task of its own: whoever held it may be in the middle of being dropped.
        task::spawn(async move {
            let _ = file::unlink(&directory, name, 0, Identity::SERVER).await;
        });
    }
}

fn c_name(name: &str) -> CString {
    CString::new(name).expect("our own names hold no NUL")
}

/// What is known of a part when its body has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Its length.
    pub size_bytes: u64,
    /// The MD5 of its bytes.
    pub md5: [u8; 16],
    /// The checksum of its bytes.
    pub checksum: Option<Checksum>,
    /// The time. Units: nanoseconds since 1970.
    pub now_ns: u64,
}

/// Finds a place for a part, before its body is asked for.
///
/// Errors: EntityTooLarge, InsufficientStorage, NoSuchUpload.
pub async fn begin<'a>(
    target: &'a Target<'a>,
    upload: &'a Upload,
    number: PartNumber,
    announced_bytes: Option<u64>,
) -> Result<PartFile<'a>, S3Error> {
    target.check_writable()?;
    if let Some(bytes) = announced_bytes.filter(|bytes| *bytes > PART_BYTES_MAX) {
        return Err(writer::too_large(bytes, PART_BYTES_MAX));
    }
    writer::check_announced(target.bucket, announced_bytes.unwrap_or(0)).await?;
    // The upload may be older than this server, and another that starts now sweeps what no living one is known to write.
    let announced = inflight::announce(target.tree, target.bucket).await;
    announced.map_err(|errno| s3_error(Doing::Write, errno))?;
    let claims = &target.tree.shared.uploads;
    let slot = announced_bytes.and_then(|bytes| claims.claim(&upload.id, number, bytes));
    let in_place = match slot {
        Some(slot) => open_slot(target, upload, slot).await?,
        None => None,
    };
    let (file, place) = match in_place {
        Some(in_place) => in_place,
        None => make_side_file(target, upload, number, announced_bytes).await?,
    };
    let unfinished = Unfinished::default();
    Ok(PartFile { target, upload, number, announced_bytes, file, place, unfinished })
}

/// Opens the file of a slot; `None` when it is not there, yet or at all.
async fn open_slot(
    target: &Target<'_>,
    upload: &Upload,
    slot: Slot,
) -> Result<Option<(File, Place)>, S3Error> {
    let opened = async {
        if slot.inode == Inode::New {
            match upload::make_in_place_file(target, &upload.directory, slot.file).await? {
                Born::Here => {}
                Born::Nowhere => return Ok(None),
            }
        }
        let name = c_name(&in_place_name(slot.file));
        match open_for_writing(target.bucket, &upload.directory, name, libc::O_NOFOLLOW, true).await {
            Ok(file) if has_other_name(&file).await? => Ok(None),
            Ok(file) => Ok(Some(file)),
            // Whoever has the first slot of a new file is still making it.
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(s3_error(Doing::Write, errno)),
        }
    };
    match opened.await {
        Ok(Some(file)) => Ok(Some((file, Place::Slot(slot)))),
        other => {
            slot.release();
            other.map(|_| None)
        }
    }
}

/// Whether a Complete has given the file its other name and failed after that: it is an object that somebody may be
/// reading. No Complete is between this and the part's record, since whoever has a slot keeps the file from being quiet.
async fn has_other_name(file: &File) -> Result<bool, S3Error> {
    let found = stat::stat_slow(file).await.map_err(|errno| s3_error(Doing::Find, errno))?;
    Ok(found.links > 1)
}

async fn make_side_file(
    target: &Target<'_>,
    upload: &Upload,
    number: PartNumber,
    announced_bytes: Option<u64>,
) -> Result<(File, Place), S3Error> {
    let name = side_name(number, target.tree.shared.instance.as_str(), &inflight::random_hex());
    let is_large = announced_bytes.is_none_or(|bytes| bytes >= DIRECT_BYTES_MIN);
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let opened = open_for_writing(target.bucket, &upload.directory, c_name(&name), flags, is_large).await;
    match opened {
        Ok(file) => {
            let side = SideFile { directory: upload.directory.clone(), name, is_kept: false };
            Ok((file, Place::Side(side)))
        }
        Err(Errno::NOENT) => Err(no_such_upload(&upload.id)),
        Err(errno) => Err(s3_error(Doing::Write, errno)),
    }
}

/// Opens a file of an upload's directory, past the page cache where that is wanted and taken.
async fn open_for_writing(
    bucket: &Bucket,
    directory: &File,
    name: CString,
    flags: i32,
    is_large: bool,
) -> Result<File, Errno> {
    let open = |direct: i32, name: CString| {
        // The kernel refuses a mode for a file that is there.
        let mode = if flags & libc::O_CREAT != 0 { 0o600 } else { 0 };
        let opening = Opening { flags: libc::O_RDWR | flags | direct, mode, resolve: BENEATH };
        file::open(directory, name, opening, Identity::SERVER)
    };
    if !is_large || !bucket.mount.takes_direct() {
        return open(0, name).await;
    }
    match open(libc::O_DIRECT, name.clone()).await {
        Err(Errno::INVAL) => {
            bucket.mount.forget_direct();
            if flags & libc::O_CREAT != 0 {
                // Some filesystems make the file before they refuse the flag.
                let _ = file::unlink(directory, name.clone(), 0, Identity::SERVER).await;
            }
            open(0, name).await
        }
        other => other,
    }
}

impl PartFile<'_> {
    /// The writer of the part's bytes.
    pub fn writer(&self) -> Writer<'_> {
        let (offset, extent) = match &self.place {
            Place::Slot(slot) => (slot.offset_bytes, Extent::SlotTo(slot.end_bytes)),
            Place::Side(_) | Place::Kept => (0, Extent::Whole),
        };
        let mount = &self.target.bucket.mount;
        let unfinished = Some(&self.unfinished);
        Writer::at(
            mount,
            &self.file,
            (offset, extent),
            self.target.identity,
            self.announced_bytes,
            unfinished,
        )
    }

    /// Gives up a part whose body did not arrive whole; the space it took is free when this returns, if it was the last
    /// of the file or had one of its own.
    pub async fn abandon(self) {
        self.unfinished.settle().await;
        match self.place {
            Place::Side(mut side) => {
                side.is_kept = true;
                let _ = file::unlink(&side.directory, c_name(&side.name), 0, Identity::SERVER).await;
            }
            Place::Slot(slot) => {
                if slot.begin_cut() {
                    let _ = file::truncate(&self.file, slot.offset_bytes, self.target.identity).await;
                }
                slot.release();
            }
            Place::Kept => {}
        }
    }

    /// Records a part that has arrived whole, in place of one that had its number.
    ///
    /// Errors: NoSuchUpload when the upload has ended meanwhile; InsufficientStorage and others of the filesystem, and
    /// then the part that was there before still is.
    pub async fn commit(mut self, arrived: Arrived) -> Result<(), S3Error> {
        if self.target.tree.making.durability >= Durability::Data {
            // An error is final for this inode: dropping a slot now keeps its file from being published.
            let flushed = file::sync(&self.file, Sync::Content).await;
            flushed.map_err(|errno| s3_error(Doing::Flush, errno))?;
        }
        let (tree, id) = (self.target.tree, &self.upload.id);
        let _entered = tree.shared.uploads.enter(id, self.number).await;
        // From here on a record may name the file, also when nobody waits for the end of this.
        if let Place::Side(side) = &mut self.place {
            side.is_kept = true;
        }
        match self.replace_record(&arrived).await {
            Ok(previous) => {
                self.keep();
                if let Some(previous) = previous {
                    self.upload.forget(previous).await;
                }
                Ok(())
            }
            Err((error, Before::Restored)) => {
                self.abandon().await;
                Err(error)
            }
            Err((error, Before::Unknown)) => {
                self.keep();
                Err(error)
            }
        }
    }

    /// Whatever happens, nothing is ever written here again.
    fn keep(&mut self) {
        let place = std::mem::replace(&mut self.place, Place::Kept);
        match place {
            Place::Slot(slot) => slot.keep(),
            Place::Side(_) | Place::Kept => {}
        }
    }

    /// Puts the part's record in the place of the one before, which is returned when its file is not needed any more.
    async fn replace_record(&self, arrived: &Arrived) -> Result<Option<PartRecord>, (S3Error, Before)> {
        let unharmed = |errno| (s3_error(Doing::Write, errno), Before::Restored);
        let gone = || (no_such_upload(&self.upload.id), Before::Restored);
        if !self.upload.exists().await.map_err(unharmed)? {
            return Err(gone());
        }
        let previous = self.upload.part(self.number).await.map_err(|error| (error, Before::Restored))?;
        let record = self.record(arrived);
        let replaced = self.write_record(&record).await;
        match replaced {
            Ok(()) => {
                let is_stale =
                    |previous: &PartRecord| !previous.is_in_place() && previous.file != record.file;
                Ok(previous.filter(is_stale))
            }
            Err(Errno::NOENT) => Err(gone()),
            Err(errno) => Err((s3_error(Doing::Write, errno), self.restore(previous).await)),
        }
    }

    fn record(&self, arrived: &Arrived) -> PartRecord {
        let (file, offset_bytes) = match &self.place {
            Place::Slot(slot) => (in_place_name(slot.file), slot.offset_bytes),
            Place::Side(side) => (side.name.clone(), 0),
            Place::Kept => unreachable!("a part is recorded before its place is kept"),
        };
        PartRecord {
            number: self.number,
            size_bytes: arrived.size_bytes,
            etag: ETag::of_md5(arrived.md5),
            checksum: arrived.checksum,
            file,
            offset_bytes,
            uploaded_ns: arrived.now_ns,
        }
    }

    async fn write_record(&self, record: &PartRecord) -> Result<(), Errno> {
        let name = PartRecord::name(record.number);
        commit::replace_own_file(self.target.tree, &self.upload.directory, &name, record.encode()).await
    }

    /// Takes a record back that may have got its name before the error.
    async fn restore(&self, previous: Option<PartRecord>) -> Before {
        match &previous {
            Some(previous) => {
                let _ = self.write_record(previous).await;
            }
            None => {
                let name = PartRecord::name(self.number);
                let _ = file::unlink(&self.upload.directory, name, 0, Identity::SERVER).await;
            }
        }
        match self.upload.part(self.number).await {
            Ok(found) if found == previous => Before::Restored,
            Ok(_) | Err(_) => Before::Unknown,
        }
    }
}

/// Whether the record is the one from before a failed attempt to replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Restored,
    Unknown,
}

/// Records are read this many at a time.
const RECORDS_AT_ONCE: usize = 32;

impl Upload {
    /// The record of one part.
    ///
    /// Errors: InternalError when it does not decode.
    pub(super) async fn part(&self, number: PartNumber) -> Result<Option<PartRecord>, S3Error> {
        let bytes = read_own_file(&self.directory, &PartRecord::name(number)).await;
        let Some(bytes) = bytes.map_err(|errno| s3_error(Doing::Read, errno))? else { return Ok(None) };
        let record = PartRecord::decode(&bytes).filter(|record| record.number == number);
        let broken = || S3Error::new(Code::InternalError).with_source("the record of a part is broken");
        record.map(Some).ok_or_else(broken)
    }

    /// The numbers of the parts that are there, in order.
    pub async fn numbers(&self) -> Result<Vec<PartNumber>, S3Error> {
        let failed = |errno| s3_error(Doing::Read, errno);
        // A descriptor of its own, because its position moves.
        let directory = readable(&self.directory).await.map_err(failed)?;
        let mut numbers = Vec::new();
        loop {
            let entries = file::read_directory(&directory).await.map_err(failed)?;
            if entries.is_empty() {
                break;
            }
            numbers.extend(entries.iter().filter_map(|entry| PartRecord::number_of(&entry.name)));
        }
        numbers.sort();
        // A directory that is read while an entry is replaced may show it twice.
        numbers.dedup();
        Ok(numbers)
    }

    /// The records of some parts; one that has gone meanwhile is left out.
    pub async fn parts(&self, numbers: &[PartNumber]) -> Result<Vec<PartRecord>, S3Error> {
        let mut records = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(RECORDS_AT_ONCE) {
            for record in together(numbers.iter().map(|number| self.part(*number))).await {
                records.extend(record?);
            }
        }
        Ok(records)
    }

    /// Removes the file of a part alone that no record names any more.
    async fn forget(&self, previous: PartRecord) {
        let _ = file::unlink(&self.directory, c_name(&previous.file), 0, Identity::SERVER).await;
    }
}
