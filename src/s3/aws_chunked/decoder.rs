//! Takes the aws-chunked framing out of a body, in place: payload moves to the front of each piece, one memmove a chunk.
//! Pieces may be cut anywhere. A chunk's signature stands before its bytes on the wire and is of use only after them,
//! so the decoder keeps it and reports it as a mark at the chunk's end.
//! The body's end is known to the layer below (Content-Length or HTTP chunked), so everything after the last chunk is
//! collected, bounded, and read as a trailer by `finish`.
//! Source: S3 API reference, "Transferring Payload in Multiple Chunks", section on the chunk format.

use super::trailer::Trailer;
use super::{AwsChunked, AwsChunkedError, Signatures, signature};

/// Decodes one aws-chunked body.
pub struct Decoder {
    framing: AwsChunked,
    announced_bytes: Option<u64>,
    /// Sizes of all chunks whose heads were read. INVARIANT: never above `announced_bytes`.
    chunked_bytes: u64,
    state: State,
    /// The signature of the chunk being read.
    signature: [u8; 64],
    /// A chunk head that a piece's end cut, up to that cut.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// Length of the last whole head, and the size in it.
    last_head_bytes: usize,
    last_size_bytes: u64,
    tail: Vec<u8>,
}

/// Where framing will stand in what comes next if the chunks to come are as long as the last one.
///
/// Shape: `first_bytes` of payload, `framing_bytes` of framing, `chunk_bytes` of payload, framing, and so on, `count`
/// times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Payload that is left of the chunk being read.
    pub first_bytes: u64,
    /// Payload between two pieces of framing.
    pub chunk_bytes: u64,
    /// The end of one chunk and the head of the next.
    pub framing_bytes: usize,
    /// Whole chunks that the announced length has room for behind this one.
    pub count: u64,
}

/// The end of a signed chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where the chunk ends in the payload of this call; the chunk began at the mark before, perhaps calls ago.
    pub end_bytes: usize,
    /// The 64 hex digits of `chunk-signature`, any case.
    pub signature: [u8; 64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// INVARIANT: more than zero bytes remain.
    Payload {
        remaining_bytes: u64,
    },
    PayloadCr,
    PayloadLf,
    Tail,
}

impl Decoder {
    /// Starts a body. `announced_bytes` is `x-amz-decoded-content-length`, which an unsized upload does not have.
    pub fn new(framing: AwsChunked, announced_bytes: Option<u64>) -> Decoder {
        Decoder {
            framing,
            announced_bytes,
            chunked_bytes: 0,
            state: State::Head,
            signature: [0; 64],
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            last_head_bytes: 0,
            last_size_bytes: 0,
            tail: Vec::new(),
        }
    }

    /// The sizes of all chunks whose heads were read: how long the body is at least.
    pub fn chunked_bytes(&self) -> u64 {
        self.chunked_bytes
    }

    /// Decodes the next piece of the body and returns how many payload bytes are now at its front.
    /// Shape: every byte is used. Each end of a signed chunk, the empty last one's too, is appended to `marks`.
    pub fn decode(&mut self, bytes: &mut [u8], marks: &mut Vec<Mark>) -> Result<usize, AwsChunkedError> {
        let (mut read, mut write) = (0_usize, 0_usize);
        while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
            let used = match self.state {
                State::Head => {
                    let used = self.take_head(rest)?;
                    if self.state == State::Tail {
                        self.mark(write, marks);
                    }
                    used
                }
                State::Payload { remaining_bytes } => {
                    let count =
                        usize::try_from(remaining_bytes).map_or(rest.len(), |left| left.min(rest.len()));
                    if read != write {
                        bytes.copy_within(read..read.saturating_add(count), write);
                    }
                    write = write.saturating_add(count);
                    self.state = match remaining_bytes.saturating_sub(count as u64) {
                        0 => State::PayloadCr,
                        remaining_bytes => State::Payload { remaining_bytes },
                    };
                    if self.state == State::PayloadCr {
                        self.mark(write, marks);
                    }
                    count
                }
                State::PayloadCr => self.take_line_end(rest, b'\r', State::PayloadLf)?,
                State::PayloadLf => self.take_line_end(rest, b'\n', State::Head)?,
                State::Tail => self.take_tail(rest)?,
            };
            read = read.saturating_add(used);
        }
        Ok(write)
    }

    /// Where framing is expected next; `None` when nothing is known of it.
    pub fn expected(&self) -> Option<Expected> {
        let first_bytes = match self.state {
            State::Payload { remaining_bytes } => remaining_bytes,
            State::PayloadCr => 0,
            State::Head | State::PayloadLf | State::Tail => return None,
        };
        let left = self.announced_bytes?.checked_sub(self.chunked_bytes)?;
        let count = left.checked_div(self.last_size_bytes)?;
        let framing_bytes = CHUNK_END.len().saturating_add(self.last_head_bytes);
        Some(Expected { first_bytes, chunk_bytes: self.last_size_bytes, framing_bytes, count })
    }

    /// Takes framing that was received apart from what lies around it; false, and nothing taken, when it is not what was
    /// expected.
    pub fn take_expected(&mut self, framing: &[u8]) -> Result<bool, AwsChunkedError> {
        let line = framing.strip_prefix(CHUNK_END).and_then(|head| head.strip_suffix(CHUNK_END));
        let Some(line) = line.filter(|line| self.state == State::PayloadCr && self.is_like_last(line)) else {
            return Ok(false);
        };
        self.begin_chunk(line)?;
        Ok(true)
    }

    fn is_like_last(&self, line: &[u8]) -> bool {
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_as_long = line.len().saturating_add(CHUNK_END.len()) == self.last_head_bytes;
        is_as_long && !line.contains(&b'\n') && size(digits) == Ok(self.last_size_bytes)
    }

    /// Ends the body, once the layer below has no more of it.
    /// Errors: Truncated before the last chunk, and whatever is wrong with the trailer.
    pub fn finish(self) -> Result<Trailer, AwsChunkedError> {
        match self.state {
            State::Tail => Trailer::parse(self.framing, &self.tail),
            State::Head | State::Payload { .. } | State::PayloadCr | State::PayloadLf => {
                Err(AwsChunkedError::Truncated)
            }
        }
    }

    /// Takes a chunk head, whole from the piece or together with what earlier pieces held of it.
    fn take_head(&mut self, rest: &[u8]) -> Result<usize, AwsChunkedError> {
        let room = HEAD_BYTES_MAX.saturating_sub(self.head_bytes);
        let window = rest.get(..room).unwrap_or(rest);
        let line_end = window.iter().position(|byte| *byte == b'\n');
        let used = line_end.map_or(window.len(), |line_end| line_end.saturating_add(1));
        let taken = rest.get(..used).unwrap_or_default();
        if line_end.is_some() && self.head_bytes == 0 {
            self.begin_chunk(line_of(taken)?)?;
            return Ok(used);
        }
        let filled = self.head_bytes.saturating_add(used);
        let place = self.head.get_mut(self.head_bytes..filled).ok_or(AwsChunkedError::ChunkHead)?;
        place.copy_from_slice(taken);
        self.head_bytes = filled;
        if line_end.is_some() {
            let head = self.head;
            self.head_bytes = 0;
            self.begin_chunk(line_of(head.get(..filled).unwrap_or_default())?)?;
        } else if filled == HEAD_BYTES_MAX {
            return Err(AwsChunkedError::ChunkHead);
        }
        Ok(used)
    }

    /// Begins the chunk of a head whose line end was taken off.
    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), AwsChunkedError> {
        let size_bytes = match self.framing.signatures {
            Signatures::Unsigned => size(line)?,
            Signatures::Signed => {
                let semicolon =
                    line.iter().position(|byte| *byte == b';').ok_or(AwsChunkedError::ChunkHead)?;
                let (digits, extension) =
                    line.split_at_checked(semicolon).ok_or(AwsChunkedError::ChunkHead)?;
                let text = extension.strip_prefix(SIGNATURE_PREFIX).ok_or(AwsChunkedError::ChunkHead)?;
                self.signature = signature(text).ok_or(AwsChunkedError::ChunkHead)?;
                size(digits)?
            }
        };
        if self.framing.signatures == Signatures::Signed && size_bytes > SIGNED_CHUNK_BYTES_MAX {
            return Err(AwsChunkedError::ChunkTooLarge);
        }
        let total = self.chunked_bytes.checked_add(size_bytes).ok_or(AwsChunkedError::DecodedLength)?;
        if self.announced_bytes.is_some_and(|announced| total > announced) {
            return Err(AwsChunkedError::DecodedLength);
        }
        self.chunked_bytes = total;
        self.last_head_bytes = line.len().saturating_add(CHUNK_END.len());
        self.last_size_bytes = size_bytes;
        self.state = match size_bytes {
            0 if self.announced_bytes.is_some_and(|announced| total < announced) => {
                return Err(AwsChunkedError::DecodedLength);
            }
            0 => State::Tail,
            remaining_bytes => State::Payload { remaining_bytes },
        };
        Ok(())
    }

    fn mark(&self, end_bytes: usize, marks: &mut Vec<Mark>) {
        match self.framing.signatures {
            Signatures::Signed => marks.push(Mark { end_bytes, signature: self.signature }),
            Signatures::Unsigned => {}
        }
    }

    fn take_line_end(&mut self, rest: &[u8], want: u8, next: State) -> Result<usize, AwsChunkedError> {
        if rest.first() != Some(&want) {
            return Err(AwsChunkedError::ChunkEnd);
        }
        self.state = next;
        Ok(1)
    }

    fn take_tail(&mut self, rest: &[u8]) -> Result<usize, AwsChunkedError> {
        if self.tail.len().saturating_add(rest.len()) > TAIL_BYTES_MAX {
            return Err(AwsChunkedError::TrailerLine);
        }
        self.tail.extend_from_slice(rest);
        Ok(rest.len())
    }
}

fn line_of(head: &[u8]) -> Result<&[u8], AwsChunkedError> {
    head.strip_suffix(CHUNK_END).ok_or(AwsChunkedError::ChunkHead)
}

/// A chunk size: 1 to 16 hex digits, so that it always fits 64 bits.
fn size(digits: &[u8]) -> Result<u64, AwsChunkedError> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return Err(AwsChunkedError::ChunkHead);
    }
    digits.iter().try_fold(0, |size, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(AwsChunkedError::ChunkHead)?;
        Ok(size << 4 | u64::from(value))
    })
}

/// A signed chunk's bytes are on disk, in an unnamed file, before its signature can be checked: the bound keeps short
/// what a forger can make the server write. Clients send 64 KiB to 1 MiB.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Ends a chunk, and its head.
const CHUNK_END: &[u8] = b"\r\n";
const SIGNATURE_PREFIX: &[u8] = b";chunk-signature=";
const SIZE_DIGITS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = SIZE_DIGITS_MAX + SIGNATURE_PREFIX.len() + 64 + 2;

/// The longest checksum line and a signature line take 165 bytes; the rest is for white space and future names.
const TAIL_BYTES_MAX: usize = 1024;
