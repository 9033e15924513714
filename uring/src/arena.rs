//! The buffer arena of a core: one mapping of 4 KiB-aligned blocks in two sizes, registered with the ring as one
//! buffer.
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
            // The knee of the measured curve of a bare receive and write loop: 256 KiB costs up to twice as much CPU a
            // byte, 1 MiB nothing less.
            BlockSize::Large => 512 * 1024,
        }
    }
}

/// The page size O_DIRECT wants memory aligned to on every filesystem that supports it.
pub const ALIGNMENT: usize = 4096;

const _: () = assert!(BlockSize::Small.bytes().is_multiple_of(ALIGNMENT));
const _: () = assert!(BlockSize::Large.bytes().is_multiple_of(BlockSize::Small.bytes()));

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

    /// The whole arena as the kernel wants it for registration.
    pub(crate) fn iovec(&self) -> libc::iovec {
        libc::iovec { iov_base: self.base.as_ptr().cast(), iov_len: self.bytes }
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
        let sum = |count: fn(&Pool) -> usize| sizes.map(|size| count(self.pool(size)) * size.bytes()).iter().sum::<usize>();
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
        // SAFETY: the mapping is ours; the core drops its ring and tasks before its arena, so nothing refers to it.
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
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.front() {
            let mut free = self.free.borrow_mut();
            if first.abandoned.get() {
                waiting.pop_front();
                continue;
            }
            if free.len() < first.count {
                return;
            }
            let keep = free.len() - first.count;
            first.granted.borrow_mut().extend(free.drain(keep..));
            if let Some(waker) = first.waker.borrow_mut().take() {
                waker.wake();
            }
            waiting.pop_front();
        }
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
        // SAFETY: the pointer is to `size` bytes of the arena, initialised by mmap, owned by this block; the arena
        // outlives every block because a core drops its tasks and slots before it.
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
        let returned = cores::try_with(|core| core.arena.take_back(pointer, size));
        debug_assert!(returned.is_some() || std::thread::panicking(), "a block was dropped outside its core");
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
            let pool = core.arena.pool(size);
            pool.free.borrow_mut().extend(granted);
            pool.serve();
        });
    }
}
