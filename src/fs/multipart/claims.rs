//! Which parts are being written in place right now, and who ends an upload: what this server knows beyond the disk.
//!
//! One table a server, shared by its cores. A slot of an upload's file is given to one writer, until it is released
//! clean; what is not released clean puts the file in doubt and it is never published. Complete and Abort close an
//! upload: no slot is given out, and no part gets its record until they are through. It touches no file.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "parts in their final place".

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use crate::s3::names::{PartNumber, UploadId};

/// The alignment of parts in place: with any other size neighbours share a block, and O_DIRECT is lost.
const STRIDE_ALIGNMENT: u64 = 4096;
/// The smallest part that another may follow, so the smallest distance of parts. Source: UploadPart, "Part size".
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Nothing is written in place beyond this offset: ext4 ends a file of 4 KiB blocks 4 KiB before it.
const OFFSET_MAX: u64 = (16 << 40) - (1 << 20);
/// Uploads whose parts may go in place; those begun beyond it use files of their own. At about 200 bytes each.
const UPLOADS_MAX: usize = 65_536;

/// The claims of one server.
#[derive(Default)]
pub struct Claims {
    uploads: Mutex<HashMap<UploadId, Entry>>,
    completions: AtomicU64,
}

#[derive(Default)]
struct Entry {
    // None: parts go to files of their own.
    in_place: Option<InPlace>,
    // Numbers whose record is being written.
    committing: BTreeSet<u16>,
    is_closing: bool,
    waiting: Vec<Waker>,
}

/// The file that parts of one upload are written into.
struct InPlace {
    file: u8,
    stride_bytes: Option<u64>,
    // INVARIANT: holds every number that is being written in place, or has a record that says so.
    slots: BTreeSet<u16>,
    writers: usize,
    is_cutting: bool,
    is_doubtful: bool,
}

/// Whether the file of a slot is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inode {
    /// It was made with the upload, or by the slot that began it.
    Existing,
    /// Whoever has the slot makes it.
    New,
}

/// The file that an upload begins with.
pub const FIRST_FILE: u8 = 1;
/// The last guess of the distance of parts; a part that does not fit it gets a file of its own.
const LAST_FILE: u8 = 2;

impl InPlace {
    fn new() -> InPlace {
        InPlace {
            file: FIRST_FILE,
            stride_bytes: None,
            slots: BTreeSet::new(),
            writers: 0,
            is_cutting: false,
            is_doubtful: false,
        }
    }

    /// Gives a slot to a part, when it fits and nobody had it.
    fn admit(&mut self, number: u16, bytes: u64) -> Option<(Inode, u64)> {
        let is_free = bytes > 0 && !self.is_cutting && !self.is_doubtful && !self.slots.contains(&number);
        if !is_free {
            return None;
        }
        let may_be_stride = bytes >= PART_BYTES_MIN && bytes.is_multiple_of(STRIDE_ALIGNMENT);
        let (inode, stride) = match self.stride_bytes {
            Some(stride) if bytes <= stride => (Inode::Existing, stride),
            // Nothing lies in the file yet, so the guess costs nothing.
            Some(_) | None if may_be_stride && self.slots.is_empty() => (Inode::Existing, bytes),
            // The short last part came first: the file it lies in becomes its own, and a new one begins.
            Some(_) if may_be_stride && self.slots.len() == 1 && self.file < LAST_FILE => (Inode::New, bytes),
            Some(_) | None => return None,
        };
        let offset = u64::from(number - 1).checked_mul(stride)?;
        if offset.checked_add(stride)? > OFFSET_MAX {
            return None;
        }
        if inode == Inode::New {
            *self = InPlace { file: self.file + 1, ..InPlace::new() };
        }
        self.stride_bytes = Some(stride);
        self.slots.insert(number);
        self.writers += 1;
        Some((inode, offset))
    }
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.in_place.is_none() && self.committing.is_empty() && !self.is_closing
    }

    fn wake_all(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Entry>> {
        self.uploads.lock().expect("no holder of the lock panics")
    }

    /// Allows parts in place for an upload that this server has just made, with its first file.
    pub fn open(&self, id: &UploadId) {
        let mut uploads = self.lock();
        if uploads.len() < UPLOADS_MAX {
            uploads.entry(id.clone()).or_default().in_place = Some(InPlace::new());
        }
    }

    /// Asks for the slot of a part whose length was announced; `None`: it goes to a file of its own.
    pub fn claim(self: &Arc<Self>, id: &UploadId, number: PartNumber, bytes: u64) -> Option<Slot> {
        let mut uploads = self.lock();
        let entry = uploads.get_mut(id).filter(|entry| !entry.is_closing)?;
        let in_place = entry.in_place.as_mut()?;
        let (inode, offset_bytes) = in_place.admit(number.value(), bytes)?;
        let (file, stride) = (in_place.file, in_place.stride_bytes.unwrap_or(bytes));
        let (claims, id, number) = (self.clone(), id.clone(), number.value());
        Some(Slot {
            claims,
            id,
            number,
            file,
            inode,
            offset_bytes,
            end_bytes: offset_bytes + stride,
            fate: None,
        })
    }

    /// Waits until a part may get its record: nobody ends the upload and nobody writes the same record.
    pub async fn enter(self: &Arc<Self>, id: &UploadId, number: PartNumber) -> Entered {
        let number = number.value();
        self.wait(id, |entry| !entry.is_closing && entry.committing.insert(number)).await;
        Entered { claims: self.clone(), id: id.clone(), number }
    }

    /// Closes an upload for parts, when all that are getting their record have it.
    pub async fn close(self: &Arc<Self>, id: &UploadId) -> Fence {
        self.wait(id, |entry| !std::mem::replace(&mut entry.is_closing, true)).await;
        let fence = Fence { claims: self.clone(), id: id.clone() };
        self.wait(id, |entry| entry.committing.is_empty()).await;
        fence
    }

    /// Counts a completed upload; returns how many there have been.
    pub fn count_completion(&self) -> u64 {
        self.completions.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn wait(&self, id: &UploadId, take: impl Fn(&mut Entry) -> bool) {
        poll_fn(|context| {
            let mut uploads = self.lock();
            let entry = uploads.entry(id.clone()).or_default();
            if take(entry) {
                return Poll::Ready(());
            }
            if !entry.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                entry.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Changes an entry that is there, wakes who waits for it, and drops it when nothing is left to know.
    fn change(&self, id: &UploadId, act: impl FnOnce(&mut Entry)) {
        let mut uploads = self.lock();
        let Some(entry) = uploads.get_mut(id) else { return };
        act(entry);
        entry.wake_all();
        if entry.is_idle() {
            uploads.remove(id);
        }
    }
}

/// The place of one part in its upload's file, while it is written there.
pub struct Slot {
    claims: Arc<Claims>,
    id: UploadId,
    number: u16,
    /// Which file of the upload.
    pub file: u8,
    /// Whether that is there.
    pub inode: Inode,
    /// Where the part begins.
    pub offset_bytes: u64,
    /// Where the next one would.
    pub end_bytes: u64,
    // None, if it is dropped before it is known whether a write is under way.
    fate: Option<Fate>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Free,
}

impl Slot {
    /// The part has its record: nothing is ever written here again.
    pub fn keep(mut self) {
        self.fate = Some(Fate::Kept);
    }

    /// No record says that the part lies here and no write is under way: another may try.
    pub fn release(mut self) {
        self.fate = Some(Fate::Free);
    }

    /// Whether the file ends with this slot and may be cut to its beginning; nobody gets a slot until it is released.
    pub fn begin_cut(&self) -> bool {
        let mut is_last = false;
        self.claims.change(&self.id, |entry| {
            let Some(in_place) = entry.in_place.as_mut().filter(|found| found.file == self.file) else {
                return;
            };
            is_last = in_place.slots.last() == Some(&self.number);
            in_place.is_cutting |= is_last;
        });
        is_last
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.claims.change(&self.id, |entry| {
            let Some(in_place) = entry.in_place.as_mut().filter(|found| found.file == self.file) else {
                return;
            };
            in_place.writers -= 1;
            match self.fate {
                Some(Fate::Kept) => {}
                Some(Fate::Free) => {
                    if in_place.slots.last() == Some(&self.number) {
                        in_place.is_cutting = false;
                    }
                    in_place.slots.remove(&self.number);
                }
                // A write may still be on its way.
                None => in_place.is_doubtful = true,
            }
        });
    }
}

/// The right to write a part's record; nobody ends the upload meanwhile.
pub struct Entered {
    claims: Arc<Claims>,
    id: UploadId,
    number: u16,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.claims.change(&self.id, |entry| {
            entry.committing.remove(&self.number);
        });
    }
}

/// An upload that is closed for parts; dropping it opens the upload again.
pub struct Fence {
    claims: Arc<Claims>,
    id: UploadId,
}

impl Fence {
    /// The file of an upload of this server that parts were written into and that nobody writes any more.
    pub fn quiet_file(&self) -> Option<u8> {
        let uploads = self.claims.lock();
        let in_place = uploads.get(&self.id)?.in_place.as_ref()?;
        (in_place.writers == 0 && !in_place.is_doubtful).then_some(in_place.file)
    }

    /// The upload is gone.
    pub fn end(self) {
        self.claims.change(&self.id, |entry| entry.in_place = None);
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.claims.change(&self.id, |entry| entry.is_closing = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    const MIB: u64 = 1 << 20;

    /// Claims parts of `(number, bytes)` in turn and keeps all; want: file and offset of each, in MiB.
    fn check(name: &str, parts: &[(u64, u64)], want: &[Option<(u8, u64)>]) {
        let (claims, id) = (Arc::new(Claims::default()), UploadId::parse("u").unwrap());
        claims.open(&id);
        let got: Vec<_> = parts
            .iter()
            .map(|(number, bytes)| {
                let slot = claims.claim(&id, PartNumber::new(*number).unwrap(), *bytes)?;
                let place = (slot.file, slot.offset_bytes / MIB);
                slot.keep();
                Some(place)
            })
            .collect();
        assert_eq!(got, want, "{name}");
    }

    #[test]
    fn places_of_parts() {
        let part = 5 * MIB;
        check(
            "uniform",
            &[(1, part), (3, part), (2, part), (4, 7)],
            &[Some((1, 0)), Some((1, 10)), Some((1, 5)), Some((1, 15))],
        );
        check("a repeat", &[(1, part), (1, part)], &[Some((1, 0)), None]);
        check("too small to say the distance", &[(1, 7), (2, part)], &[None, Some((1, 5))]);
        check("no multiple of 4096", &[(1, part + 1), (2, part + 1)], &[None, None]);
        check(
            "the last part first",
            &[(3, part), (1, 2 * part), (2, 2 * part), (3, part)],
            &[Some((1, 10)), Some((2, 0)), Some((2, 10)), Some((2, 20))],
        );
        check(
            "a longer part late",
            &[(1, part), (2, part), (3, 2 * part)],
            &[Some((1, 0)), Some((1, 5)), None],
        );
        check(
            "two guesses are all",
            &[(1, part), (2, 2 * part), (3, 3 * part)],
            &[Some((1, 0)), Some((2, 10)), None],
        );
        check("nothing", &[(1, 0)], &[None]);
        check("beyond what a file holds", &[(10_000, 5 << 30)], &[None]);
    }

    fn first() -> PartNumber {
        PartNumber::new(1).unwrap()
    }

    #[test]
    fn what_is_not_released_clean_puts_the_file_in_doubt() {
        let (claims, id) = (Arc::new(Claims::default()), UploadId::parse("u").unwrap());
        claims.open(&id);
        let claim = || claims.claim(&id, first(), 5 * MIB);
        let slot = claim().expect("nobody has it");
        let fence = now(claims.close(&id)).expect("no record is being written");
        assert_eq!(fence.quiet_file(), None, "somebody writes");
        slot.release();
        assert_eq!(fence.quiet_file(), Some(FIRST_FILE));
        assert!(claim().is_none(), "the upload is closed");
        drop(fence);
        drop(claim().expect("it was released clean"));
        let fence = now(claims.close(&id)).expect("it is open again");
        assert_eq!(fence.quiet_file(), None, "a write may be on its way");
        fence.end();
        assert!(claims.lock().is_empty(), "nothing is left to know");
    }

    #[test]
    fn records_and_ends_keep_out_of_each_others_way() {
        let (claims, id) = (Arc::new(Claims::default()), UploadId::parse("u").unwrap());
        let entered = now(claims.enter(&id, first())).expect("nobody ends the upload");
        assert!(now(claims.enter(&id, first())).is_none(), "the record has a writer");
        let other = now(claims.enter(&id, PartNumber::new(2).unwrap())).expect("another record has none");
        assert!(now(claims.close(&id)).is_none(), "records are being written");
        drop((entered, other));
        let fence = now(claims.close(&id)).expect("one that gave up closes nothing");
        assert!(now(claims.close(&id)).is_none(), "one ends it at a time");
        assert!(now(claims.enter(&id, first())).is_none(), "it is closed");
        drop(fence);
        assert!(now(claims.enter(&id, first())).is_some());
        assert!(claims.lock().is_empty(), "nothing is left to know");
    }

    /// The result of a future that has not to wait.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
