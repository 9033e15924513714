//! Pieces of a stream that a receive keeps out of its block.
//!
//! Who knows where framing will stand in a body lets the kernel put it aside, so that what lies around it arrives in one
//! piece where it belongs. Only places are known here: what stands there is looked at by the caller, who has all bytes
//! in their order whatever they are. Source: recvmsg(2).

use std::ops::Range;

/// Room for pieces of equal length at equal distances, and the call's description of it.
///
/// Shape: `first` bytes for the block, a piece, `every` bytes, a piece, and so on; behind the last piece, the block.
pub struct Aside {
    bytes: Vec<u8>,
    piece_bytes: usize,
    first: usize,
    every: usize,
    // Bytes of the stream that go into the block.
    pub(crate) block_bytes: usize,
    // What the kernel reads while the operation runs.
    iovecs: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Aside {
    /// Room for nothing yet.
    pub fn new() -> Aside {
        // SAFETY: a msghdr is made of integers and pointers, for which zero is a valid value.
        let header = unsafe { std::mem::zeroed() };
        Aside {
            bytes: Vec::new(),
            piece_bytes: 0,
            first: 0,
            every: 0,
            block_bytes: 0,
            iovecs: Vec::new(),
            header,
        }
    }

    /// Expects `count` pieces of `piece_bytes`, the first behind `first` bytes and each further one behind `every`.
    pub fn expect(&mut self, first: usize, every: usize, piece_bytes: usize, count: usize) {
        assert!(piece_bytes > 0 && every > 0, "pieces and what lies between them are not empty");
        (self.first, self.every, self.piece_bytes) = (first, every, piece_bytes);
        self.bytes.clear();
        self.bytes.resize(piece_bytes * count, 0);
    }

    /// The pieces, one behind another.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the last receive laid where, in the stream's order: bytes into the block, then aside.
    ///
    /// Shape: for each step a range of the block, counted from the receive's start, and one of [`Aside::bytes`]; of the
    /// last step the second is empty.
    pub fn steps(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let block_bytes = self.block_bytes;
        let (first, every, piece, end) = (self.first, self.every, self.piece_bytes, self.bytes.len());
        let count = end.checked_div(piece).unwrap_or(0);
        (0..=count).map(move |number| {
            let start = if number == 0 { 0 } else { first + (number - 1) * every };
            let stop = if number == count { block_bytes } else { first + number * every };
            (start.min(block_bytes)..stop.min(block_bytes), number * piece..((number + 1) * piece).min(end))
        })
    }

    /// Lays bytes of a stream where a receive into `block` would: how those who lay out receives test it without a socket.
    pub fn fill(&mut self, block: &mut [u8], stream: &[u8]) {
        self.block_bytes = block.len();
        let (steps, mut rest): (Vec<_>, _) = (self.steps().collect(), stream);
        for (of_block, of_pieces) in steps {
            for place in [&mut block[of_block], &mut self.bytes[of_pieces]] {
                let (now, later) = rest.split_at(place.len().min(rest.len()));
                place[..now.len()].copy_from_slice(now);
                rest = later;
            }
        }
    }

    /// Describes the bytes `received..length` of the stream for a call; `block` begins where the receive fills it.
    pub(crate) fn describe(&mut self, block: &mut [u8], received: usize, length: usize) -> &mut libc::msghdr {
        let mut iovecs = std::mem::take(&mut self.iovecs);
        iovecs.clear();
        let (mut at, pieces) = (0, self.bytes.as_mut_ptr());
        for (of_block, of_pieces) in self.steps() {
            let in_block = &mut block[of_block.clone()];
            for (pointer, bytes) in [
                (in_block.as_mut_ptr(), in_block.len()),
                // SAFETY: `steps` stays within the pieces.
                (unsafe { pieces.add(of_pieces.start) }, of_pieces.len()),
            ] {
                let (from, to) = (received.clamp(at, at + bytes) - at, length.clamp(at, at + bytes) - at);
                if from < to {
                    // SAFETY: `from` lies within the slice that begins at `pointer`.
                    let start = unsafe { pointer.add(from) };
                    iovecs.push(libc::iovec { iov_base: start.cast(), iov_len: to - from });
                }
                at += bytes;
            }
        }
        self.iovecs = iovecs;
        self.header.msg_iov = self.iovecs.as_mut_ptr();
        self.header.msg_iovlen = self.iovecs.len();
        &mut self.header
    }
}

impl Default for Aside {
    fn default() -> Aside {
        Aside::new()
    }
}
