//! Reading one directory to its end such that no name is missed that was in it all along.
//!
//! btrfs gives a name that is replaced during a scan a new place at the end, behind what the scan may see, and older
//! kernels' tmpfs leaves it out too (334 of 400 seen). A directory that moved while it was read is therefore read on: on btrfs
//! only from where the last name was, until nothing moves during a read, which is one short call; elsewhere from its
//! beginning. Names come more than once then. It knows nothing of keys. Source: getdents64(2); `fs/btrfs/inode.c`,
//! btrfs_real_readdir.

use uring::errno::Errno;
use uring::file::{self, Entry};
use uring::stat::Stat;

use super::directory::{Directory, Order};
use crate::fs::entries;

/// Most times a whole directory is read. Somebody who changes it faster than that gets what three scans saw.
const SCANS_MAX: usize = 3;

/// Most times the end of a directory is read: whoever replaces one name in each of these windows of some fifty microseconds
/// may still hide it.
const TAILS_MAX: usize = 32;

/// Kernels before 6.13 stamp all changes of one tick alike: a directory that changed so shortly before its scan may
/// change in the scan without its times telling.
const TICK_NS: i64 = 10_000_000;

/// A scan under way.
pub(super) struct Scan<'d> {
    directory: &'d Directory,
    // What the directory was before this pass; none when it has been removed.
    before: Option<Stat>,
    passes: usize,
    // Behind the last name seen.
    position: i64,
}

impl<'d> Scan<'d> {
    /// Starts at the first entry.
    ///
    /// Errors: the kernel's.
    pub(super) async fn begin(directory: &'d Directory) -> Result<Scan<'d>, Errno> {
        let before = stat(directory).await?;
        file::rewind_directory(&directory.file)?;
        Ok(Scan { directory, before, passes: 0, position: 0 })
    }

    /// The next entries.
    ///
    /// Shape: empty at the end.
    /// Errors: the kernel's.
    pub(super) async fn next(&mut self) -> Result<Vec<Entry>, Errno> {
        loop {
            let entries = entries::read(&self.directory.file).await?;
            if !entries.is_empty() {
                // The end has a position of its own, which is far behind all names.
                let inner = entries.iter().map(|entry| entry.next).filter(|next| !END.contains(next));
                self.position = inner.fold(self.position, i64::max);
                return Ok(entries);
            }
            if !self.reads_on().await? {
                return Ok(entries);
            }
        }
    }

    /// Goes back, if names may have been missed.
    async fn reads_on(&mut self) -> Result<bool, Errno> {
        let Some(before) = &self.before else { return Ok(false) };
        let Some(after) = stat(self.directory).await? else { return Ok(false) };
        self.passes += 1;
        let is_fresh = changed_within_a_tick(before, uring::time::unix_ns());
        let is_due = has_moved(before, &after) || is_fresh && self.passes == 1;
        let (position, passes_max) = match self.directory.order {
            Order::Appended => (self.position, 1 + TAILS_MAX),
            Order::Unknown => (0, SCANS_MAX),
        };
        if !is_due || self.passes >= passes_max {
            return Ok(false);
        }
        // What moves between that look and this makes another pass.
        file::seek_directory(&self.directory.file, position)?;
        self.before = Some(after);
        Ok(true)
    }
}

/// Where btrfs says that a directory ends.
const END: [i64; 2] = [i32::MAX as i64, i64::MAX];

async fn stat(directory: &Directory) -> Result<Option<Stat>, Errno> {
    match directory.stat().await {
        Ok(stat) => Ok(Some(stat)),
        Err(errno) if entries::is_removed(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn has_moved(before: &Stat, after: &Stat) -> bool {
    (before.modified_ns, before.changed_ns) != (after.modified_ns, after.changed_ns)
}

fn changed_within_a_tick(stat: &Stat, now_unix_ns: u64) -> bool {
    stat.changed_ns > i64::try_from(now_unix_ns).unwrap_or(i64::MAX) - TICK_NS
}
