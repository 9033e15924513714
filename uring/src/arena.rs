//! The buffer arena of a core: one mapping of 4 KiB-aligned blocks in two sizes, registered with the ring in
//! pieces of 1 GiB.
//!
//! A block is unique while it is filled (`BlockMut`), then frozen (`Block`, a reference count of the core). Blocks
//! never leave their core. A body acquires all it needs at once, so nobody waits for blocks while holding one.
//! The arena does not grow. Source: mmap(2), io_uring_registered_buffers(7).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::cores;
use crate::errno::Errno;
use crate::fault::Poison;

/// Whether the core's arena is registered with its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// `READ_FIXED` and `WRITE_FIXED` may be used.
    Registered {
        /// The address of the arena's first byte.
        first: usize,
    },
    /// The kernel refused, or there is no ring.
    Unregistered,
}

/// The number of the registered buffer that an address of the arena lies in.
pub(crate) fn buffer_of(address: *const u8, first: usize) -> u16 {
    let buffer = (address.addr() - first) / PIECE_BYTES;
    u16::try_from(buffer).expect("an arena has fewer than 65,536 pieces")
}

/// The two sizes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSize {
    /// For heads, small objects and bodies that have not proved themselves yet.
    Small,
    /// For bodies that flow.
    Large,
}

impl BlockSize {
    /// Bytes in a block of this size.
    pub const fn bytes(self) -> usize {
        match self {
            BlockSize::Small => 16 * 1024,
            // Half as many receives and writes as with 512 KiB, which cost the pipeline 12 to 19 % more CPU; with
            // 2 MiB a core's arena would have blocks for half as many bodies.
            BlockSize::Large => 1024 * 1024,
        }
    }
}

/// The page size O_DIRECT wants memory aligned to on every filesystem that supports it.
pub const ALIGNMENT: usize = 4096;

const _: () = assert!(BlockSize::Small.bytes().is_multiple_of(ALIGNMENT));
const _: () = assert!(BlockSize::Large.bytes().is_multiple_of(BlockSize::Small.bytes()));

/// The most the kernel registers as one buffer (EFAULT beyond, `SZ_1G` in its `io_buffer_validate`); no block lies
/// across a multiple of it.
const PIECE_BYTES: usize = 1 << 30;

const _: () = assert!(PIECE_BYTES.is_multiple_of(BlockSize::Large.bytes()));

/// The share of the arena that is cut into small blocks, as a divisor.
const SMALL_SHARE: usize = 4;

/// What a poisoned block is filled with.
const PATTERN: u8 = 0xA5;

/// One size's free blocks and those who wait for some.
struct Pool {
    free: RefCell<Vec<NonNull<u8>>>,
    // First come, first served: a large request is not starved by small ones.
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
    total: usize,
}

struct Waiting {
    count: usize,
    waker: RefCell<Option<Waker>>,
    granted: RefCell<Vec<NonNull<u8>>>,
    abandoned: Cell<bool>,
}

/// The arena of one core.
pub(crate) struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    small: Pool,
    large: Pool,
    poison: Poison,
}

impl Arena {
    /// Maps an arena of about `bytes`, rounded to whole large blocks.
    pub(crate) fn map(bytes: usize, poison: Poison) -> Result<Arena, Errno> {
        let bytes = bytes.max(4 * BlockSize::Large.bytes()).next_multiple_of(BlockSize::Large.bytes());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let base = NonNull::new(base.cast::<u8>()).expect("mmap without MAP_FIXED never returns null");
        let small_bytes = (bytes / SMALL_SHARE).next_multiple_of(BlockSize::Large.bytes());
        let small = Pool::cut(base, 0, small_bytes, BlockSize::Small);
        let large = Pool::cut(base, small_bytes, bytes, BlockSize::Large);
        let arena = Arena { base, bytes, small, large, poison };
        if poison == Poison::On {
            // SAFETY: the whole mapping is ours and no block has been handed out yet.
            unsafe { std::ptr::write_bytes(arena.base.as_ptr(), PATTERN, arena.bytes) };
        }
        Ok(arena)
    }

    /// Asks for large pages, for an arena that is going to be resident as a whole: copies into them miss the TLB less, and a
    /// write of a block has one segment instead of 128. Where the kernel has none to give, small ones do.
    pub(crate) fn prefer_large_pages(&self) {
        // SAFETY: the mapping is ours; the advice changes no contents.
        let _ = unsafe { libc::madvise(self.base.as_ptr().cast(), self.bytes, libc::MADV_HUGEPAGE) };
    }

    /// The whole arena in the pieces the kernel wants it in for registration.
    pub(crate) fn pieces(&self) -> Vec<libc::iovec> {
        let piece = |start: usize| {
            // SAFETY: the start is below the length of the mapping that begins at `base`.
            let first = unsafe { self.base.add(start) };
            libc::iovec { iov_base: first.as_ptr().cast(), iov_len: PIECE_BYTES.min(self.bytes - start) }
        };
        (0..self.bytes).step_by(PIECE_BYTES).map(piece).collect()
    }

    /// The arena as operations on its blocks need to know it once it is registered.
    pub(crate) fn registered(&self) -> Registration {
        Registration::Registered { first: self.base.addr().get() }
    }

    fn pool(&self, size: BlockSize) -> &Pool {
        match size {
            BlockSize::Small => &self.small,
            BlockSize::Large => &self.large,
        }
    }

    /// Bytes of the free blocks, and of all.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let sizes = [BlockSize::Small, BlockSize::Large];
        let sum = |count: fn(&Pool) -> usize| {
            sizes.map(|size| count(self.pool(size)) * size.bytes()).iter().sum::<usize>()
        };
        (sum(|pool| pool.free.borrow().len()) as u64, sum(|pool| pool.total) as u64)
    }

    fn hand_out(&self, pointer: NonNull<u8>, size: BlockSize) -> BlockMut {
        if self.poison == Poison::On {
            // SAFETY: a free block is `size` bytes of the mapping that nobody else refers to.
            let bytes = unsafe { std::slice::from_raw_parts(pointer.as_ptr(), size.bytes()) };
            assert!(bytes.iter().all(|byte| *byte == PATTERN), "a block was written after it was returned");
        }
        BlockMut { pointer, size }
    }

    fn take_back(&self, pointer: NonNull<u8>, size: BlockSize) {
        let offset = pointer.addr().get().wrapping_sub(self.base.addr().get());
        if offset >= self.bytes {
            // A block of an earlier core of this thread, whose arena stays mapped for it.
            return;
        }
        if self.poison == Poison::On {
            // SAFETY: the block came back from its last owner, so nobody else refers to its bytes.
            unsafe { std::ptr::write_bytes(pointer.as_ptr(), PATTERN, size.bytes()) };
        }
        let pool = self.pool(size);
        pool.free.borrow_mut().push(pointer);
        pool.serve();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let is_lent = |pool: &Pool| pool.free.borrow().len() < pool.total;
        if is_lent(&self.small) || is_lent(&self.large) {
            // Somebody outside of the core's tasks keeps a block and may still look at it: the mapping stays for good.
            return;
        }
        // SAFETY: the mapping is ours, all its blocks are home, and the core drops its ring before its arena, so
        // neither the kernel nor a block refers to it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

impl Pool {
    fn cut(base: NonNull<u8>, start: usize, end: usize, size: BlockSize) -> Pool {
        // The lowest address is on top of the stack, so that a quiet server touches few pages.
        let offsets = (start..end).step_by(size.bytes()).rev();
        // SAFETY: every offset lies inside the mapping that starts at `base`.
        let free: Vec<_> = offsets.map(|offset| unsafe { base.add(offset) }).collect();
        Pool { total: free.len(), free: RefCell::new(free), waiting: RefCell::default() }
    }

    /// Gives blocks to those who wait, in order, as far as they reach.
    fn serve(&self) {
        while let Some(first) = self.grant_first() {
            // Nothing is borrowed when the waker runs: whose it is and what it does is not known here.
            let waker = first.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Takes the first who waits out of the queue with what it waited for, if there is enough.
    fn grant_first(&self) -> Option<Rc<Waiting>> {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|first| first.abandoned.get()) {
            waiting.pop_front();
        }
        let mut free = self.free.borrow_mut();
        let keep = free.len().checked_sub(waiting.front()?.count)?;
        let first = waiting.pop_front()?;
        first.granted.borrow_mut().extend(free.drain(keep..));
        Some(first)
    }
}

/// A block with one owner, for filling.
pub struct BlockMut {
    pointer: NonNull<u8>,
    size: BlockSize,
}

impl BlockMut {
    /// Ends the filling: from here on the bytes do not change until the last clone is gone.
    pub fn freeze(self) -> Block {
        Block(Rc::new(self))
    }

    /// The size the block was acquired with.
    pub fn size(&self) -> BlockSize {
        self.size
    }
}

impl Deref for BlockMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the pointer is to `size` bytes of the arena, initialised by mmap, owned by this block; an arena is
        // not unmapped while one of its blocks is lent.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.size.bytes()) }
    }
}

impl DerefMut for BlockMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique: an operation that lends the block to the
        // kernel owns it until the completion.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.size.bytes()) }
    }
}

impl Drop for BlockMut {
    fn drop(&mut self) {
        let (pointer, size) = (self.pointer, self.size);
        // After the end of its core nobody takes a block back, and its arena stays mapped.
        cores::try_with(|core| core.arena.take_back(pointer, size));
    }
}

/// A frozen block; clones share it.
#[derive(Clone)]
pub struct Block(Rc<BlockMut>);

impl Block {
    /// Takes the block back for filling when no other clone is left.
    pub fn unfreeze(self) -> Result<BlockMut, Block> {
        Rc::try_unwrap(self.0).map_err(Block)
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Waits until the core has `count` blocks of `size` free at once and takes them.
///
/// Nobody may await this while holding a block of the same size: that is how cores lock up.
pub fn acquire(size: BlockSize, count: usize) -> Acquire {
    Acquire { size, count, waiting: None }
}

/// Takes `count` blocks of `size` if they are free and nobody waits for some.
pub fn try_acquire(size: BlockSize, count: usize) -> Option<Vec<BlockMut>> {
    cores::with(|core| {
        let pool = core.arena.pool(size);
        if !pool.waiting.borrow().is_empty() {
            return None;
        }
        let mut free = pool.free.borrow_mut();
        let keep = free.len().checked_sub(count)?;
        Some(free.drain(keep..).map(|pointer| core.arena.hand_out(pointer, size)).collect())
    })
}

/// Takes one more block of `size` for somebody who can do with what it has: while a quarter of them, rounded down, stays
/// free. Of three, the fewest large ones that an arena has, the last may be taken too.
pub fn try_acquire_spare(size: BlockSize) -> Option<BlockMut> {
    let has_spare = cores::with(|core| {
        let pool = core.arena.pool(size);
        pool.free.borrow().len() > pool.total / 4
    });
    if has_spare { try_acquire(size, 1)?.pop() } else { None }
}

/// The future of [`acquire`].
pub struct Acquire {
    size: BlockSize,
    count: usize,
    waiting: Option<Rc<Waiting>>,
}

impl Future for Acquire {
    type Output = Vec<BlockMut>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<BlockMut>> {
        let size = self.size;
        if let Some(waiting) = &self.waiting {
            if waiting.granted.borrow().len() < self.count {
                *waiting.waker.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            let granted = std::mem::take(&mut *waiting.granted.borrow_mut());
            self.waiting = None;
            return Poll::Ready(cores::with(|core| {
                granted.into_iter().map(|pointer| core.arena.hand_out(pointer, size)).collect()
            }));
        }
        if let Some(blocks) = try_acquire(size, self.count) {
            return Poll::Ready(blocks);
        }
        let waiting = Rc::new(Waiting {
            count: self.count,
            waker: RefCell::new(Some(context.waker().clone())),
            granted: RefCell::default(),
            abandoned: Cell::new(false),
        });
        cores::with(|core| {
            let pool = core.arena.pool(size);
            assert!(self.count <= pool.total, "a request larger than the arena can never be met");
            pool.waiting.borrow_mut().push_back(waiting.clone());
        });
        self.waiting = Some(waiting);
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        waiting.abandoned.set(true);
        let granted = std::mem::take(&mut *waiting.granted.borrow_mut());
        let size = self.size;
        cores::try_with(|core| {
            for pointer in granted {
                core.arena.take_back(pointer, size);
            }
            // Those behind an abandoned request may be served without a block coming back.
            core.arena.pool(size).serve();
        });
    }
}
