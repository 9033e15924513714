//! The body that every PUT of a run sends: one source of pseudo-random bytes, repeated, and the frames around them.
//! All of it is made once and shared by all cores; only the signatures of signed chunks are filled in for each request.
//! A body of any size takes one mebibyte: it is a list of segments, not a copy.
//! Source: Signature Version 4 for S3, "Signature calculations: chunked upload" and "trailing headers".

use crate::auth::sign::ChunkSignatures;
use crate::bench::plan::{BenchPlan, Checksum, Signing};
use crate::digest::stream::{Kind, Stream, Wanted};
use crate::s3::checksum::{self, Algorithm};

/// One body, ready to be sent any number of times.
pub struct Body {
    source: Vec<u8>,
    frames: Vec<u8>,
    segments: Vec<Segment>,
    // Where in `frames` the signature of each chunk goes, and the SHA-256 that it covers; empty unless chunks are signed.
    signatures: Vec<ChunkToSign>,
    payload_bytes: u64,
    wire_bytes: u64,
    sha256: Option<[u8; 32]>,
    checksum: Option<checksum::Checksum>,
}

/// A run of bytes as they go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    from: Origin,
    start: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Source,
    Frames,
}

struct ChunkToSign {
    offset: usize,
    sha256: [u8; 32],
}

/// How the payload is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Plain,
    SignedChunks,
    UnsignedTrailer,
}

/// What the payload repeats. Large enough that no filesystem which compresses finds the repetition in its window
/// (btrfs compresses 128 KiB at a time), small enough to stay in the client's cache.
const SOURCE_BYTES: usize = 1 << 20;

/// The chunks of an aws-chunked body: what the SDKs built on the CRT send, and of the sizes in use the hardest.
const CHUNK_BYTES: usize = 64 << 10;

const _: () = assert!(SOURCE_BYTES.is_multiple_of(CHUNK_BYTES), "a chunk is one run of the source");

/// Takes the place of a signature until there is one.
const SIGNATURE_BLANK: [u8; 64] = [b'0'; 64];

impl Body {
    /// No body at all: what a GET, a HEAD and a CreateBucket send.
    pub fn empty() -> Body {
        Body {
            source: Vec::new(),
            frames: Vec::new(),
            segments: Vec::new(),
            signatures: Vec::new(),
            payload_bytes: 0,
            wire_bytes: 0,
            sha256: Some(sha256(&[])),
            checksum: None,
        }
    }

    /// The body of the puts of `plan`, with every digest that its signing and checksum ask for.
    pub fn of(plan: &BenchPlan) -> Body {
        let framing = match plan.signing {
            Signing::Header | Signing::Unsigned | Signing::None => Framing::Plain,
            Signing::Chunked => Framing::SignedChunks,
            Signing::Trailer => Framing::UnsignedTrailer,
        };
        let mut body = Body { source: pseudo_random(), payload_bytes: plan.size_bytes, ..Body::empty() };
        (body.sha256, body.checksum) = body.digests(plan.signing, plan.checksum);
        match framing {
            Framing::Plain => body.repeat_source(),
            Framing::SignedChunks | Framing::UnsignedTrailer => body.frame(framing),
        }
        body.wire_bytes = body.segments.iter().map(|segment| segment.length as u64).sum();
        body
    }

    /// What the object holds. Units: bytes.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// What goes over the wire, frames included. Units: bytes.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// The payload's SHA-256; none when no signature covers it whole.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    /// The payload's checksum, when the plan names one.
    pub fn checksum(&self) -> Option<checksum::Checksum> {
        self.checksum
    }

    /// The frames of one request: the shared ones, with this request's signatures in place.
    /// Shape: `frames` is overwritten; it keeps its memory from request to request.
    pub fn sign_frames(&self, mut signatures: ChunkSignatures, frames: &mut Vec<u8>) {
        frames.clear();
        frames.extend_from_slice(&self.frames);
        for chunk in &self.signatures {
            let signature = signatures.sign_chunk(&chunk.sha256);
            frames[chunk.offset..][..signature.len()].copy_from_slice(&signature);
        }
    }

    /// The frames that need no signature.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// How many segments the body has.
    pub fn segments_count(&self) -> usize {
        self.segments.len()
    }

    /// A segment's bytes, with the frames of one request.
    pub fn segment<'a>(&'a self, index: usize, frames: &'a [u8]) -> &'a [u8] {
        let Segment { from, start, length } = self.segments[index];
        match from {
            Origin::Source => &self.source[start..][..length],
            Origin::Frames => &frames[start..][..length],
        }
    }

    fn digests(
        &self,
        signing: Signing,
        checksum: Checksum,
    ) -> (Option<[u8; 32]>, Option<checksum::Checksum>) {
        let mut wanted = Wanted::NONE;
        if signing == Signing::Header {
            wanted = wanted.with(Kind::Sha256);
        }
        let algorithm = match checksum {
            Checksum::None => None,
            Checksum::Of(algorithm) => Some(algorithm),
        };
        wanted = algorithm.map_or(wanted, |algorithm: Algorithm| wanted.with(algorithm.kind()));
        let mut stream = Stream::new(wanted);
        if wanted != Wanted::NONE {
            self.pieces(SOURCE_BYTES).for_each(|piece| stream.update(&self.source[..piece]));
        }
        let digests = stream.finish();
        let checksum = algorithm.and_then(|algorithm| checksum::Checksum::computed(algorithm, &digests));
        (digests.sha256.filter(|_| signing == Signing::Header), checksum)
    }

    /// The lengths of the payload's pieces when it is cut every `most` bytes.
    fn pieces(&self, most: usize) -> impl Iterator<Item = usize> + use<> {
        let payload_bytes = self.payload_bytes;
        let whole = payload_bytes / most as u64;
        let rest = (payload_bytes % most as u64) as usize;
        (0..whole).map(move |_| most).chain((rest > 0).then_some(rest))
    }

    fn repeat_source(&mut self) {
        let whole = |length| Segment { from: Origin::Source, start: 0, length };
        self.segments = self.pieces(SOURCE_BYTES).map(whole).collect();
    }

    fn frame(&mut self, framing: Framing) {
        let mut start = 0;
        for length in self.pieces(CHUNK_BYTES) {
            self.begin_chunk(framing, start, length);
            self.segments.push(Segment { from: Origin::Source, start, length });
            start = (start + length) % SOURCE_BYTES;
        }
        self.begin_chunk(framing, 0, 0);
        let trailer = match (framing, self.checksum) {
            (Framing::UnsignedTrailer, Some(checksum)) => {
                format!("{}:{}\r\n\r\n", checksum.algorithm().header(), checksum.text())
            }
            (Framing::Plain | Framing::SignedChunks, _) | (Framing::UnsignedTrailer, None) => {
                "\r\n".to_owned()
            }
        };
        self.extend_frame(trailer.as_bytes());
    }

    /// The line before a chunk, and the line end that closes the chunk before it.
    fn begin_chunk(&mut self, framing: Framing, start: usize, length: usize) {
        let line_end: &[u8] = if self.segments.is_empty() { b"" } else { b"\r\n" };
        let begin = self.frames.len();
        self.frames.extend_from_slice(line_end);
        self.frames.extend_from_slice(format!("{length:x}").as_bytes());
        if framing == Framing::SignedChunks {
            self.frames.extend_from_slice(b";chunk-signature=");
            let sha256 = sha256(&self.source[start..][..length]);
            self.signatures.push(ChunkToSign { offset: self.frames.len(), sha256 });
            self.frames.extend_from_slice(&SIGNATURE_BLANK);
        }
        self.frames.extend_from_slice(b"\r\n");
        let length = self.frames.len() - begin;
        self.segments.push(Segment { from: Origin::Frames, start: begin, length });
    }

    /// Adds to the last frame.
    fn extend_frame(&mut self, text: &[u8]) {
        self.frames.extend_from_slice(text);
        let last = self.segments.last_mut().expect("a framed body has its last chunk");
        last.length += text.len();
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut stream = Stream::new(Wanted::NONE.with(Kind::Sha256));
    stream.update(bytes);
    stream.finish().sha256.expect("it was wanted")
}

/// The same bytes in every run, so that runs compare. Source: splitmix64, Steele, Lea and Flood 2014.
fn pseudo_random() -> Vec<u8> {
    let mut state = 0_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..SOURCE_BYTES / 8).flat_map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests::plan;
    use crate::s3::aws_chunked::decoder::Decoder;
    use crate::s3::aws_chunked::{AwsChunked, Signatures};

    fn wire(body: &Body) -> Vec<u8> {
        let segments = (0..body.segments_count()).map(|index| body.segment(index, body.frames()));
        let wire = segments.collect::<Vec<_>>().concat();
        assert_eq!(wire.len() as u64, body.wire_bytes());
        wire
    }

    fn payload(size_bytes: usize) -> Vec<u8> {
        pseudo_random().into_iter().cycle().take(size_bytes).collect()
    }

    const SIZES: [usize; 6] =
        [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, SOURCE_BYTES, 2 * SOURCE_BYTES + CHUNK_BYTES + 7];

    #[test]
    fn a_plain_body_repeats_the_source() {
        for size in SIZES {
            let body = Body::of(&plan(|plan| plan.size_bytes = size as u64));
            assert!(wire(&body) == payload(size), "{size}");
            assert_eq!(body.sha256(), Some(sha256(&payload(size))), "{size}");
        }
    }

    /// What the server's decoder makes of a framed body of each size.
    fn check(signing: Signing, framing: AwsChunked) {
        for size in SIZES {
            let body = Body::of(&plan(|plan| {
                plan.signing = signing;
                plan.checksum = framing.trailer.map_or(Checksum::None, Checksum::Of);
                plan.size_bytes = size as u64;
            }));
            let mut decoder = Decoder::new(framing, Some(size as u64));
            let (mut bytes, mut marks) = (wire(&body), Vec::new());
            let decoded = decoder.decode(&mut bytes, &mut marks).expect("well framed");
            assert!(bytes[..decoded] == payload(size), "{signing:?} {size}");
            // Marks are about signatures.
            let marks_count = match framing.signatures {
                Signatures::Signed => size.div_ceil(CHUNK_BYTES) + 1,
                Signatures::Unsigned => 0,
            };
            assert_eq!(marks.len(), marks_count, "{signing:?} {size}");
            let trailer = decoder.finish().expect("a well-formed end");
            assert_eq!(trailer.checksum, body.checksum(), "{signing:?} {size}");
            assert_eq!(trailer.checksum.is_some(), framing.trailer.is_some(), "{signing:?} {size}");
            let mut begin = 0;
            for (chunk, mark) in body.signatures.iter().zip(&marks) {
                assert_eq!(chunk.sha256, sha256(&bytes[begin..mark.end_bytes]), "{size}");
                begin = mark.end_bytes;
            }
        }
    }

    #[test]
    fn framed_bodies_are_what_the_decoder_wants() {
        check(Signing::Chunked, AwsChunked { signatures: Signatures::Signed, trailer: None });
        let trailer = Some(Algorithm::Crc64nvme);
        check(Signing::Trailer, AwsChunked { signatures: Signatures::Unsigned, trailer });
    }
}
