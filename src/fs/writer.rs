//! Writing: a file without a name, born where its object will be, filled by blocks that overlap with what arrives.
//!
//! The file is made in the nearest existing directory of the key under the caller's identity, so that it has the group,
//! ACL and labels a file made there would have. Large bodies go past the page cache into space that is reserved in
//! bounded steps. Nothing here gives it its name: that is `commit`. A dropped writer leaves nothing.
//! Source: open(2) O_TMPFILE and O_DIRECT, fallocate(2); DESIGN rules as written down in ARCHITECTURE.md.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CString;

use uring::arena::{ALIGNMENT, Block, BlockMut};
use uring::errno::Errno;
use uring::file::{self, File, Opening, Writing};
use uring::identity::Identity;
use uring::task;

use super::bucket::Bucket;
use super::failure::{Doing, s3_error};
use super::inflight::{self, Note};
use super::mount::Mount;
use super::parents;
use super::path::KeyPath;
use super::tree::{BENEATH, Tree};
use crate::s3::error::{Code, S3Error};

/// Bodies from this size on are written past the page cache into reserved space.
pub const DIRECT_BYTES_MIN: u64 = 1 << 20;
/// Space is reserved at most this far ahead of the bytes received: an announced length is a claim.
pub const RESERVE_STEP_BYTES: u64 = 64 << 20;
/// The first reservation of a body, before it has shown that more follows.
const RESERVE_FIRST_BYTES: u64 = 1 << 20;
/// A later one is at most this many times what has arrived: five hundred clients that announce much and then say nothing
/// would hold 32 GiB in whole steps. By this factor 64 MiB take four reservations.
const RESERVE_RATIO: u64 = 4;
/// Free space that a reservation leaves to others, so that one upload cannot fill a disk it never writes to.
const RESERVE_KEEP_BYTES: u64 = 16 << 20;
/// How often the free space is looked at of a body whose end nobody has said.
const LEAVE_STEP_BYTES: u64 = 1 << 20;
/// Writes under way at once for one body; whoever has two blocks fills one of them meanwhile.
const DEPTH: usize = 2;
/// How often a directory that vanishes is made again before the write gives up.
pub const VANISHED_TRIES: usize = 8;

/// A file with the temporary name it has on filesystems without nameless files.
pub struct TemporaryName {
    pub(super) directory: File,
    pub(super) name: CString,
    pub(super) note: Note,
}

/// A file that has no name of its own yet.
pub struct Staged {
    file: File,
    // Taken by the commit, which renames it.
    pub(super) temporary: Option<TemporaryName>,
    pub(super) identity: Identity,
}

impl Staged {
    fn new(file: File, temporary: Option<TemporaryName>, identity: Identity) -> Staged {
        Staged { file, temporary, identity }
    }

    /// A file that has a name in a directory of the server's own, and is to get one in the tree.
    pub(super) fn linked(file: File, identity: Identity) -> Staged {
        Staged::new(file, None, identity)
    }

    /// Removes the temporary name, if there is one.
    pub(super) async fn forget_name(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let TemporaryName { directory, name, note } = temporary;
            let _ = file::unlink(&directory, name, 0, self.identity).await;
            drop(note);
        }
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            remove_later(temporary, self.identity);
        }
    }
}

/// Removes a temporary name in a task of its own: whoever held it may be in the middle of being dropped.
pub(super) fn remove_later(temporary: TemporaryName, identity: Identity) {
    task::spawn(async move {
        let TemporaryName { directory, name, note } = temporary;
        let _ = file::unlink(&directory, name, 0, identity).await;
        drop(note);
    });
}

/// Whether a body is large enough to go past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through the page cache.
    Cached,
    /// O_DIRECT where the mount takes it.
    Direct,
}

/// Makes a file without a name where the object of `path` will be.
///
/// Errors: ObjectTypeConflict, AccessDenied, InsufficientStorage, ServiceUnavailable.
pub async fn stage(
    tree: &Tree,
    bucket: &Bucket,
    path: &KeyPath,
    way: Path,
    identity: Identity,
) -> Result<Staged, S3Error> {
    let mut last = Errno::NOENT;
    for _ in 0..VANISHED_TRIES {
        let (directory, own) = parents::nearest(bucket, path, identity).await?;
        match stage_in(tree, bucket, (&directory, &own), way, identity).await {
            Ok(staged) => return Ok(staged),
            // ext4 says EPERM for a directory that has just been removed.
            Err(errno @ (Errno::NOENT | Errno::PERM | Errno::STALE))
                if is_gone(&bucket.mount, &directory).await =>
            {
                last = errno
            }
            Err(errno) => return Err(s3_error(Doing::Place, errno)),
        }
    }
    Err(s3_error(Doing::Place, if last == Errno::PERM { Errno::NOENT } else { last }))
}

/// Whether a file or directory has been removed while it was open.
pub(super) async fn is_gone(mount: &Mount, directory: &File) -> bool {
    match mount.stat(directory).await {
        Ok(stat) => stat.links == 0,
        // So a server or a daemon says that it knows the file no more.
        Err(errno) => matches!(errno, Errno::STALE | Errno::NOENT),
    }
}

async fn stage_in(
    tree: &Tree,
    bucket: &Bucket,
    (directory, own): (&File, &CString),
    way: Path,
    identity: Identity,
) -> Result<Staged, Errno> {
    let is_direct = way == Path::Direct && bucket.mount.takes_direct();
    let direct = if is_direct { libc::O_DIRECT } else { 0 };
    let mode = tree.making.file_mode;
    if bucket.mount.has_unnamed_files() {
        let opening = Opening { flags: libc::O_RDWR | libc::O_TMPFILE | direct, mode, resolve: 0 };
        match file::open(directory, CString::from(c"."), opening, identity).await {
            Ok(file) => return Ok(Staged::new(file, None, identity)),
            Err(Errno::INVAL) if is_direct => bucket.mount.forget_direct(),
            Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL) => bucket.mount.forget_unnamed_files(),
            Err(error) => return Err(error),
        }
        // Once more without what was refused; each refusal is remembered, so this ends.
        return Box::pin(stage_in(tree, bucket, (directory, own), way, identity)).await;
    }
    let name = inflight::random_name(tree.shared.instance.as_str());
    let note = inflight::note(tree, bucket, own, &name).await?;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | direct;
    let made = file::open(directory, name.clone(), Opening { flags, mode, resolve: BENEATH }, identity).await;
    match made {
        Ok(file) => {
            let temporary = TemporaryName { directory: directory.clone(), name, note };
            Ok(Staged::new(file, Some(temporary), identity))
        }
        Err(Errno::INVAL) if is_direct => {
            bucket.mount.forget_direct();
            // Some filesystems make the file before they refuse the flag.
            let _ = file::unlink(directory, name, 0, identity).await;
            Box::pin(stage_in(tree, bucket, (directory, own), way, identity)).await
        }
        Err(error) => Err(error),
    }
}

struct Part {
    writing: Writing,
    length: usize,
    offset: u64,
}

/// Whose bytes lie behind the ones a writer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nobody's: the file is cut to the bytes that were given.
    Whole,
    /// Somebody else's from this offset on, a multiple of 4096: nothing is cut, and what a direct write adds to the
    /// last block stays until the file is cut.
    SlotTo(u64),
}

/// Writes that were under way when their writer was dropped, for whoever must know that they are over.
#[derive(Default)]
pub struct Unfinished(RefCell<Vec<Writing>>);

impl Unfinished {
    /// Waits for all of them without minding how they end.
    pub async fn settle(&self) {
        let writes = std::mem::take(&mut *self.0.borrow_mut());
        for writing in writes {
            let _ = writing.finish().await;
        }
    }
}

/// Fills a file in order.
pub struct Writer<'a> {
    mount: &'a Mount,
    file: &'a File,
    identity: Identity,
    extent: Extent,
    // Where writes go that are under way at the drop; without it they end unseen.
    unfinished: Option<&'a Unfinished>,
    // Where the body ends, as far as it was announced.
    announced_end: Option<u64>,
    // Where the first block went.
    start: u64,
    // Where the next block goes.
    offset: u64,
    reserved_to: u64,
    // Up to here the free space was looked at, for a body that was not announced; a small one is not worth a look.
    watched_to: u64,
    // Where the bytes end that were written to fill a direct write's last block.
    padded_to: u64,
    under_way: VecDeque<Part>,
    // Blocks whose write is over, for whoever fills the next one.
    returned: Vec<Block>,
}

impl<'a> Writer<'a> {
    /// Starts at the beginning of a staged file.
    pub fn new(mount: &'a Mount, staged: &'a Staged, announced_bytes: Option<u64>) -> Writer<'a> {
        Writer::at(mount, staged.file(), (0, Extent::Whole), staged.identity, announced_bytes, None)
    }

    /// Starts at an offset of a file that is already open.
    pub fn at(
        mount: &'a Mount,
        file: &'a File,
        (offset, extent): (u64, Extent),
        identity: Identity,
        announced_bytes: Option<u64>,
        unfinished: Option<&'a Unfinished>,
    ) -> Writer<'a> {
        Writer {
            mount,
            file,
            identity,
            extent,
            unfinished,
            // A body that is small finds out by itself whether there is room.
            announced_end: announced_bytes
                .filter(|announced| *announced >= DIRECT_BYTES_MIN)
                .map(|announced| offset.saturating_add(announced)),
            start: offset,
            offset,
            reserved_to: offset,
            watched_to: offset.saturating_add(DIRECT_BYTES_MIN),
            padded_to: offset,
            under_way: VecDeque::with_capacity(DEPTH),
            returned: Vec::new(),
        }
    }

    /// Where the next block goes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Starts to write the first `length` bytes of a block, and waits only when too many writes are under way.
    ///
    /// Shape: `length` is a multiple of 4096 except for the last block; the bytes behind it up to the next multiple are
    /// written too where the file is direct and are cut off by `finish`.
    /// Errors: InsufficientStorage, EntityTooLarge.
    pub async fn write(&mut self, block: Block, length: usize) -> Result<(), S3Error> {
        while self.under_way.len() >= DEPTH {
            self.settle_first().await?;
        }
        let padded = if self.file.is_direct() { length.next_multiple_of(ALIGNMENT) } else { length };
        if let Extent::SlotTo(end) = self.extent
            && self.offset.saturating_add(padded as u64) > end
        {
            // More came than was announced; not a byte of it may reach the neighbour.
            return Err(S3Error::new(Code::IncompleteBody));
        }
        self.reserve(padded as u64).await?;
        let writing = file::write_at(self.file, block, 0..padded, self.offset, self.identity);
        self.under_way.push_back(Part { writing, length: padded, offset: self.offset });
        self.padded_to = self.offset + padded as u64;
        self.offset += length as u64;
        Ok(())
    }

    /// A block whose write is over and that nobody else holds.
    pub fn take_returned(&mut self) -> Option<BlockMut> {
        let last = self.returned.pop()?;
        match last.unfreeze() {
            Ok(block) => Some(block),
            Err(shared) => {
                self.returned.push(shared);
                None
            }
        }
    }

    /// Waits for the oldest write; false when none is under way.
    pub async fn settle_one(&mut self) -> Result<bool, S3Error> {
        if self.under_way.is_empty() {
            return Ok(false);
        }
        self.settle_first().await.map(|()| true)
    }

    async fn settle_first(&mut self) -> Result<(), S3Error> {
        let Some(part) = self.under_way.pop_front() else { return Ok(()) };
        let (mut length, mut offset, mut start) = (part.length, part.offset, 0);
        let (mut result, mut block) = part.writing.finish().await;
        loop {
            match result {
                Ok(0) => return Err(s3_error(Doing::Write, Errno::NOSPC)),
                Ok(written) if written as usize == length => break,
                Ok(written) => {
                    length -= written as usize;
                    offset += u64::from(written);
                    start += written as usize;
                    // What is left of a short direct write may not be aligned any more.
                    if self.file.is_direct() && !(written as usize).is_multiple_of(ALIGNMENT) {
                        self.file.clear_direct().map_err(|errno| s3_error(Doing::Write, errno))?;
                    }
                }
                Err(Errno::INVAL) if self.file.is_direct() => {
                    self.mount.forget_direct();
                    self.file.clear_direct().map_err(|errno| s3_error(Doing::Write, errno))?;
                }
                Err(errno) => return Err(s3_error(Doing::Write, errno)),
            }
            let again = file::write_at(self.file, block, start..start + length, offset, self.identity);
            (result, block) = again.finish().await;
        }
        self.returned.push(block);
        Ok(())
    }

    /// Reserves space for large bodies, one bounded step ahead of what has arrived.
    async fn reserve(&mut self, length: u64) -> Result<(), S3Error> {
        let end = self.offset + length;
        let Some(announced_end) = self.announced_end else { return self.leave_space(end).await };
        if end <= self.reserved_to || !self.mount.reserves() {
            return Ok(());
        }
        let wanted = announced_end.saturating_sub(self.reserved_to).next_multiple_of(ALIGNMENT as u64);
        let arrived = self.offset - self.start;
        let ahead = arrived.saturating_mul(RESERVE_RATIO).clamp(RESERVE_FIRST_BYTES, RESERVE_STEP_BYTES);
        let step = wanted.clamp(length, ahead.max(length));
        let failed = |errno| s3_error(Doing::Write, errno);
        let space = self.mount.space(self.file).await.map_err(failed)?;
        if space.available_bytes < step.saturating_add(RESERVE_KEEP_BYTES) && space.available_bytes < wanted {
            return Err(failed(Errno::NOSPC));
        }
        match file::allocate(self.file, self.reserved_to, step, self.identity).await {
            Ok(()) => {
                self.reserved_to += step;
                Ok(())
            }
            // A seccomp profile that does not know the call says EPERM.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::PERM) => {
                self.mount.forget_reserving();
                Ok(())
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Leaves others their space while a body grows that was not announced, as a reservation does.
    async fn leave_space(&mut self, end: u64) -> Result<(), S3Error> {
        if end <= self.watched_to {
            return Ok(());
        }
        let failed = |errno| s3_error(Doing::Write, errno);
        let space = self.mount.space(self.file).await.map_err(failed)?;
        if space.available_bytes < LEAVE_STEP_BYTES + RESERVE_KEEP_BYTES {
            return Err(failed(Errno::NOSPC));
        }
        self.watched_to = end + LEAVE_STEP_BYTES;
        Ok(())
    }

    /// Waits for all writes and cuts a whole file to the bytes that were given; returns where they end.
    ///
    /// Errors: InsufficientStorage; after an error the file is to be dropped, never published.
    pub async fn finish(mut self) -> Result<u64, S3Error> {
        while self.settle_one().await? {}
        let end = self.offset;
        let is_whole = match self.extent {
            Extent::Whole => true,
            Extent::SlotTo(_) => false,
        };
        // What was written counts, not whether the file is direct: it may have stopped to be after that.
        if is_whole && self.reserved_to.max(self.padded_to) > end {
            let cut = file::truncate(self.file, end, self.identity).await;
            cut.map_err(|errno| s3_error(Doing::Write, errno))?;
        }
        Ok(end)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let Some(unfinished) = self.unfinished {
            unfinished.0.borrow_mut().extend(self.under_way.drain(..).map(|part| part.writing));
        }
    }
}

/// The largest object the filesystem is asked to take: 10,000 parts of 5 GiB.
pub const OBJECT_BYTES_MAX: u64 = 10_000 * (5 << 30);

/// The error of a body that is longer than may be.
///
/// Errors: the result is EntityTooLarge, with both lengths.
pub fn too_large(proposed_bytes: u64, bytes_max: u64) -> S3Error {
    S3Error::new(Code::EntityTooLarge)
        .with_element("ProposedSize", proposed_bytes.to_string())
        .with_element("MaxSizeAllowed", bytes_max.to_string())
}

/// Refuses an announced length that cannot end well, before a byte of it is asked for.
///
/// Errors: EntityTooLarge, InsufficientStorage.
pub async fn check_announced(bucket: &Bucket, announced_bytes: u64) -> Result<(), S3Error> {
    if announced_bytes > OBJECT_BYTES_MAX {
        return Err(too_large(announced_bytes, OBJECT_BYTES_MAX));
    }
    // Asking costs a call; a small body finds out by itself.
    if announced_bytes < DIRECT_BYTES_MIN {
        return Ok(());
    }
    let space = bucket.mount.space(&bucket.directory).await;
    let space = space.map_err(|errno| s3_error(Doing::Write, errno))?;
    if announced_bytes > space.available_bytes {
        return Err(s3_error(Doing::Write, Errno::NOSPC));
    }
    Ok(())
}
