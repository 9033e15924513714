//! The registered memory of the bare loop: one mapping, cut into blocks that begin on a page.
//!
//! One mapping is registered as one fixed buffer, and huge pages are asked for: the kernel then keeps one
//! segment per 2 MiB instead of per 4 KiB, which makes each O_DIRECT write cheaper to build.
//! Source: io_uring_register(2), IORING_REGISTER_BUFFERS; madvise(2), MADV_HUGEPAGE.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use io_uring::IoUring;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// Blocks of equal size in one mapping, which lives as long as the process: no operation can outlive it.
pub struct Arena {
    start: NonNull<u8>,
    block_bytes: usize,
    blocks_count: usize,
}

impl Arena {
    /// Maps `blocks_count` blocks of `block_bytes`, a multiple of 4096, and touches them all.
    pub fn new(block_bytes: usize, blocks_count: usize) -> io::Result<Arena> {
        let whole =
            block_bytes.checked_mul(blocks_count).and_then(|bytes| bytes.checked_add(HUGE_PAGE_BYTES));
        let length = whole.and_then(NonZeroUsize::new).filter(|_| block_bytes.is_multiple_of(PAGE_BYTES));
        let length = length.ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a fresh anonymous mapping at an address the kernel picks overlaps no memory of ours.
        let mapping = unsafe { mmap_anonymous(None, length, protection, flags) }?.cast::<u8>();
        let skipped = mapping.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: less than one huge page is skipped, and the mapping is that much longer than the blocks.
        let start = unsafe { mapping.add(skipped) };
        let bytes = block_bytes * blocks_count;
        // SAFETY: advice about huge pages changes no contents of the mapping made above. Refusal costs speed only.
        let _refused = unsafe { madvise(start.cast(), bytes, MmapAdvise::MADV_HUGEPAGE) };
        // SAFETY: `bytes` bytes from `start` lie in the mapping and are writable.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Arena { start, block_bytes, blocks_count })
    }

    /// Registers the whole arena as fixed buffer 0 of the ring.
    pub fn register(&self, ring: &IoUring) -> io::Result<()> {
        let whole = libc::iovec {
            iov_base: self.start.as_ptr().cast(),
            iov_len: self.block_bytes * self.blocks_count,
        };
        // SAFETY: the mapping is never unmapped, so it outlives every ring.
        unsafe { ring.submitter().register_buffers(&[whole]) }
    }

    /// Address of a block, for operations of the ring.
    pub fn block(&self, index: usize) -> *mut u8 {
        assert!(index < self.blocks_count, "block {index} of {}", self.blocks_count);
        // SAFETY: the index was just checked, so the block lies in the mapping.
        unsafe { self.start.add(index * self.block_bytes) }.as_ptr()
    }

    /// The bytes of a block that no operation in flight may touch: that is the caller's promise.
    ///
    /// # Safety
    /// No receive into this block is in flight while the slice lives.
    pub unsafe fn bytes(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: the block lies in the mapping, is initialised, is borrowed through `self`, and the caller
        // answers for the kernel.
        unsafe { std::slice::from_raw_parts_mut(self.block(index), self.block_bytes) }
    }
}

/// What O_DIRECT wants addresses, offsets and lengths to be a multiple of.
pub const PAGE_BYTES: usize = 4096;
const HUGE_PAGE_BYTES: usize = 2 << 20;
