//! The body pipeline: the only place where the socket, HTTP and aws-chunked framing, chunk signatures, digests and the
//! writer meet.
//!
//! Bytes arrive in an arena block, aws-chunked framing aside of it where it stands as expected and off by one move
//! otherwise, digests read it while it is in cache, and the writer takes it when it holds a multiple of 4096 bytes or the
//! body ends. Nothing is published here: a body that ends early or does not verify is an error, and the caller drops the
//! staged file.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "The body pipeline".

use std::ops::Range;

use uring::arena::{self, ALIGNMENT, BlockMut, BlockSize};
use uring::aside::Aside;
use uring::net::Fill;
use uring::time;

use crate::auth::authenticate::PayloadAuth;
use crate::auth::chunk::{ChunkSigner, TrailerRule};
use crate::digest::stream::{Digests, Kind, Stream, Wanted};
use crate::fs::writer::{Writer, too_large};
use crate::ops::flow::held_at_most;
use crate::ops::incoming::{Arrival, Incoming, NEVER, Progress};
use crate::s3::aws_chunked::decoder::{Decoder, Mark};
use crate::s3::aws_chunked::trailer::Trailer;
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::{Coding, Payload};

/// A body that has sent this much gets large blocks; until then a client has not shown that it sends at all.
const PROVEN_BYTES: u64 = 256 * 1024;
/// Chunks from this length on are received around their framing: shorter ones would make more pieces than they save moves.
const ASIDE_CHUNK_BYTES_MIN: usize = 8 * 1024;
/// Large blocks of one body: one is filled while the other is written. With a third 16 bodies cost 14 % more CPU a byte on a
/// machine with 32 MiB of last-level cache, for what is received falls out of it, and one body is no faster. A body that
/// has only one costs no more, but waits for its writes.
const LARGE_BLOCKS_MAX: usize = 2;

/// A body that has arrived whole and verified.
#[derive(Debug)]
pub struct Received {
    /// Its digests.
    pub digests: Digests,
    /// The checksum the client declared or sent as a trailer, or the one of the algorithm it named.
    pub checksum: Option<Checksum>,
    /// Its decoded length.
    pub bytes: u64,
}

/// What looks at each byte: the aws-chunked framing, the chunk signatures and the digests.
pub(super) struct Inspection<'a> {
    payload: &'a Payload,
    signed_sha256: Option<[u8; 32]>,
    signer: Option<ChunkSigner>,
    decoder: Option<Decoder>,
    // For framing that stands where it is expected; none once it did not.
    aside: Option<Box<Aside>>,
    stream: Stream,
    marks: Vec<Mark>,
    /// Decoded bytes so far.
    pub(super) bytes: u64,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(payload: &'a Payload, auth: PayloadAuth, extra: Wanted) -> Inspection<'a> {
        let (mut wanted, mut signed_sha256, mut signer) = (payload.wanted(), None, None);
        for kind in [Kind::Md5, Kind::Sha1, Kind::Sha256, Kind::Crc32, Kind::Crc32c, Kind::Crc64nvme] {
            if extra.has(kind) {
                wanted = wanted.with(kind);
            }
        }
        match auth {
            PayloadAuth::Unsigned | PayloadAuth::UnsignedTrailer => {}
            PayloadAuth::Sha256(sha256) => {
                signed_sha256 = Some(sha256);
                wanted = wanted.with(Kind::Sha256);
            }
            PayloadAuth::Chunks(chunks) => {
                signer = Some(chunks);
                wanted = wanted.with(Kind::ChunkSha256);
            }
        }
        let decoder = match payload.coding {
            Coding::Plain => None,
            Coding::AwsChunked(framing) => Some(Decoder::new(framing, payload.decoded_bytes)),
        };
        Inspection {
            payload,
            signed_sha256,
            signer,
            aside: decoder.is_some().then(Box::default),
            decoder,
            stream: Stream::new(wanted),
            marks: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes aws-chunked framing off `bytes` and lets signatures and digests see what is left; returns its length.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<usize, S3Error> {
        let Some(decoder) = &mut self.decoder else {
            self.stream.update(bytes);
            self.bytes += bytes.len() as u64;
            return Ok(bytes.len());
        };
        self.marks.clear();
        let produced = decoder.decode(bytes, &mut self.marks)?;
        let mut start = 0;
        for mark in &self.marks {
            self.stream.update(&bytes[start..mark.end_bytes]);
            start = mark.end_bytes;
            let sha256 = self.stream.end_chunk();
            if let (Some(signer), Some(sha256)) = (&mut self.signer, sha256) {
                signer.verify_chunk(sha256, &mark.signature)?;
            }
        }
        self.stream.update(&bytes[start..produced]);
        self.bytes += produced as u64;
        Ok(produced)
    }

    /// Lays out a receive of at most `wire_bytes` of the stream, of which `room` go into the block: around the framing that
    /// is expected in it.
    ///
    /// Shape: the bytes that go into the block, at least one; `None` when no framing is expected there.
    fn lay_out(&mut self, room: usize, wire_bytes: usize) -> Option<(usize, Box<Aside>)> {
        let expected = self.decoder.as_ref()?.expected()?;
        let (first, every) =
            (usize::try_from(expected.first_bytes).ok()?, usize::try_from(expected.chunk_bytes).ok()?);
        let beyond_first = room.checked_sub(first).filter(|_| every >= ASIDE_CHUNK_BYTES_MIN)?;
        let piece = expected.framing_bytes;
        let fitting = (1 + beyond_first / every).min(ALIGNMENT / piece);
        let mut count = usize::try_from(expected.count).map_or(fitting, |count| count.min(fitting));
        while count > 0 && first + (count - 1) * every + count * piece > wire_bytes {
            count -= 1;
        }
        let bytes = room.min(wire_bytes - count * piece);
        if count == 0 || bytes == 0 {
            return None;
        }
        let mut aside = self.aside.take()?;
        aside.expect(first, every, piece, count);
        Some((bytes, aside))
    }

    /// Takes what was received as `lay_out` said; `bytes` begins where the receive did, and has room for what went aside.
    fn take_around(
        &mut self,
        bytes: &mut [u8],
        received: usize,
        aside: Box<Aside>,
    ) -> Result<usize, S3Error> {
        let (mut filled, mut left, mut is_as_expected) = (0, received, true);
        for (of_block, of_pieces) in aside.steps() {
            let arrived = of_block.len().min(left);
            filled += self.take(&mut bytes[filled..filled + arrived])?;
            left -= arrived;
            let piece = &aside.bytes()[of_pieces.clone()];
            if left == 0 || piece.is_empty() {
                break;
            }
            let decoder = self.decoder.as_mut().expect("only framing of a decoder goes aside");
            if piece.len() <= left && decoder.take_expected(piece)? {
                left -= piece.len();
                continue;
            }
            is_as_expected = left < piece.len();
            let steps = aside.steps().skip_while(|(_, other)| other.start < of_pieces.start);
            let rest = in_order(bytes, &aside, steps, left);
            bytes[filled..filled + left].copy_from_slice(&rest);
            filled += self.take(&mut bytes[filled..filled + left])?;
            break;
        }
        self.aside = is_as_expected.then_some(aside);
        Ok(filled)
    }

    /// Refuses a body that says of itself that it will be too long, before its bytes are taken: one that was announced may
    /// be as long as that, and any other no longer than `bytes_max`.
    fn check_length(&self, incoming: &Incoming<'_>, bytes_max: u64) -> Result<(), S3Error> {
        let coming = match &self.decoder {
            Some(decoder) => decoder.chunked_bytes(),
            None => incoming.chunked_bytes(),
        };
        match self.payload.decoded_bytes {
            Some(announced) if coming > announced => Err(S3Error::new(Code::IncompleteBody)),
            None if coming > bytes_max => Err(too_large(coming, bytes_max)),
            Some(_) | None => Ok(()),
        }
    }

    /// Judges the whole body.
    pub(super) fn finish(self) -> Result<Received, S3Error> {
        let trailer = match self.decoder {
            Some(decoder) => decoder.finish()?,
            None => Trailer::default(),
        };
        if let Some(mut signer) = self.signer {
            if signer.trailer() == TrailerRule::Signed {
                let signature = trailer.signature.ok_or_else(|| S3Error::new(Code::SignatureDoesNotMatch))?;
                let mut hash = Stream::new(Wanted::NONE.with(Kind::Sha256));
                hash.update(&trailer.canonical);
                let sha256 = hash.finish().sha256.expect("the stream was asked for a SHA-256");
                signer.verify_trailer(sha256, &signature)?;
            }
            signer.finish()?;
        }
        let digests = self.stream.finish();
        let checksum = self.payload.verify(&digests, self.bytes, self.signed_sha256, &trailer)?;
        Ok(Received { digests, checksum, bytes: self.bytes })
    }
}

/// Copies what stands from the first step's piece on, as it was on the wire.
fn in_order(
    bytes: &[u8],
    aside: &Aside,
    steps: impl Iterator<Item = (Range<usize>, Range<usize>)>,
    length: usize,
) -> Vec<u8> {
    let mut rest = Vec::with_capacity(length + bytes.len().min(ALIGNMENT));
    for (number, (of_block, of_pieces)) in steps.enumerate() {
        if number > 0 {
            rest.extend_from_slice(&bytes[of_block]);
        }
        rest.extend_from_slice(&aside.bytes()[of_pieces]);
        if rest.len() >= length {
            break;
        }
    }
    rest.truncate(length);
    rest
}

/// Receives a body into a writer, verifies all that was declared of it and waits for its writes.
///
/// Shape: `bytes_max` bounds a body that was not announced; an announced length is the caller's to refuse.
/// Errors: those of the body (EntityTooLarge, IncompleteBody, BadDigest, SignatureDoesNotMatch, ...) and of the writer.
pub async fn receive_into(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
    extra: Wanted,
    bytes_max: u64,
    mut writer: Writer<'_>,
) -> Result<Received, S3Error> {
    let mut inspection = Inspection::new(payload, incoming.take_auth(), extra);
    let mut blocks = Blocks::default();
    // What did not make a multiple of 4096 and begins the next block. It is copied, so that no body holds a block while
    // it waits for another.
    let mut carried = Vec::new();
    loop {
        blocks.wait(incoming, &mut writer).await?;
        let is_proven = inspection.bytes >= PROVEN_BYTES && !incoming.flow.is_slow();
        let mut block = blocks.next(&mut writer, is_proven).await?;
        block[..carried.len()].copy_from_slice(&carried);
        let filling = fill_block(incoming, &mut inspection, bytes_max, block, carried.len());
        let (block, filled, progress) = filling.await?;
        let whole = match progress {
            Progress::Open => filled - filled % ALIGNMENT,
            Progress::Ended => filled,
        };
        carried.clear();
        if whole < filled {
            // All that a slow body holds while it waits, and never more than this.
            carried.reserve_exact(ALIGNMENT);
            carried.extend_from_slice(&block[whole..filled]);
        }
        if whole > 0 {
            writer.write(block.freeze(), whole).await?;
        }
        if progress == Progress::Ended {
            break;
        }
    }
    let received = inspection.finish();
    let written = writer.finish().await;
    let received = received?;
    written?;
    Ok(received)
}

/// Fills a block until it is nearly full, the body ends, or the client has kept it waiting for too long.
///
/// Shape: the block, how much of it is decoded body, and whether that is the end; what lies behind the end up to the next
/// multiple of 4096 is zero then.
async fn fill_block(
    incoming: &mut Incoming<'_>,
    inspection: &mut Inspection<'_>,
    bytes_max: u64,
    mut block: BlockMut,
    mut filled: usize,
) -> Result<(BlockMut, usize, Progress), S3Error> {
    // With framing in the body a full block would need ever smaller receives: what is left below this waits.
    let enough = if inspection.decoder.is_some() { block.len() - ALIGNMENT } else { block.len() };
    let until = time::now().after(held_at_most(block.size()));
    loop {
        if let Some((bytes, aside)) = inspection.lay_out(enough - filled, incoming.plain_bytes()) {
            let range = filled..filled + bytes;
            let (received, back, aside) = incoming.fill_around(block, range, aside, until).await;
            block = back;
            filled += inspection.take_around(&mut block[filled..], received?, aside)?;
        } else {
            let (end, back) = incoming.fill(block, filled, Fill::All, until).await;
            block = back;
            filled += inspection.take(&mut block[filled..end?])?;
        }
        inspection.check_length(incoming, bytes_max)?;
        if incoming.progress() == Progress::Ended {
            let padded = filled.next_multiple_of(ALIGNMENT);
            block[filled..padded].fill(0);
            return Ok((block, filled, Progress::Ended));
        }
        if filled >= enough || incoming.flow.is_slow() {
            return Ok((block, filled, Progress::Open));
        }
    }
}

/// The blocks of one body.
#[derive(Default)]
struct Blocks {
    spare: Vec<BlockMut>,
    // The large ones, here or with the writer; while there is one, there are no small ones.
    large_count: usize,
    // Whether some are here or with the writer.
    has_some: bool,
}

impl Blocks {
    /// Waits for the client, and holds nothing meanwhile but for a moment.
    async fn wait(&mut self, incoming: &mut Incoming<'_>, writer: &mut Writer<'_>) -> Result<(), S3Error> {
        if self.has_some && !incoming.flow.is_slow() {
            let size = if self.large_count > 0 { BlockSize::Large } else { BlockSize::Small };
            let until = time::now().after(held_at_most(size));
            if incoming.wait(until).await? == Arrival::There {
                return Ok(());
            }
            incoming.flow.fell_behind(until);
        }
        if self.has_some {
            while writer.settle_one().await? {}
            while writer.take_returned().is_some() {}
            *self = Blocks::default();
        }
        incoming.wait(NEVER).await.map(|_| ())
    }

    /// The next block to fill: small ones one at a time until the body has proved itself, then a large one if the arena
    /// has it, and a second if it has enough for others.
    async fn next(&mut self, writer: &mut Writer<'_>, is_proven: bool) -> Result<BlockMut, S3Error> {
        self.has_some = true;
        if self.large_count == 0
            && is_proven
            && let Some(large) = arena::try_acquire(BlockSize::Large, 1)
        {
            while writer.settle_one().await? {}
            while writer.take_returned().is_some() {}
            self.spare = large;
            self.large_count = 1;
        }
        loop {
            while let Some(block) = writer.take_returned() {
                self.spare.push(block);
            }
            if let Some(block) = self.spare.pop() {
                return Ok(block);
            }
            if (1..LARGE_BLOCKS_MAX).contains(&self.large_count)
                && let Some(block) = arena::try_acquire_spare(BlockSize::Large)
            {
                self.large_count += 1;
                return Ok(block);
            }
            // A block of this body's own comes back before any other is asked for.
            if !writer.settle_one().await? {
                let mut fresh = arena::acquire(BlockSize::Small, 1).await;
                return Ok(fresh.remove(0));
            }
        }
    }
}

#[cfg(test)]
mod tests;
