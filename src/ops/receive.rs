//! The body pipeline: the only place where the socket, HTTP and aws-chunked framing, chunk signatures, digests and the
//! writer meet.
//!
//! Bytes arrive in an arena block, framing leaves by one move inside it, digests read it while it is in cache, and the
//! writer takes it when it holds a multiple of 4096 bytes or the body ends. Nothing is published here: a body that ends
//! early or does not verify is an error, and the caller drops the staged file.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "The body pipeline".

use uring::arena::{self, ALIGNMENT, BlockMut, BlockSize};
use uring::errno::Errno;
use uring::net::{self, Fill, Following, Readiness, Socket};
use uring::time::{self, Moment};

use crate::auth::authenticate::{Authenticated, PayloadAuth};
use crate::auth::chunk::{ChunkSigner, TrailerRule};
use crate::digest::stream::{Digests, Kind, Stream, Wanted};
use crate::fs::writer::Writer;
use crate::http::chunked::ChunkedDecoder;
use crate::http::framing::{BodyLength, Expectation};
use crate::http::head::RequestHead;
use crate::http::response::CONTINUE;
use crate::ops::flow::{Flow, held_at_most};
use crate::ops::pace::{Pace, Verdict, Watch};
use crate::s3::aws_chunked::decoder::{Decoder, Mark};
use crate::s3::aws_chunked::trailer::Trailer;
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::{Coding, Payload};

/// A body that has sent this much gets large blocks; until then a client has not shown that it sends at all.
const PROVEN_BYTES: u64 = 256 * 1024;
/// Large blocks of one body: one is filled while two are written.
const LARGE_BLOCKS: usize = 3;

/// The body of an authenticated request, as far as it has arrived.
pub struct Incoming<'a> {
    socket: &'a Socket,
    // What was received behind the head; behind the body it belongs to the next request.
    leftover: &'a mut Vec<u8>,
    framing: Wire,
    expectation: Expectation,
    // What the signature says of the body; taken by whoever reads it.
    auth: PayloadAuth,
    watch: Watch,
    flow: Flow,
    // More came behind the body than is kept.
    has_lost_next: bool,
    /// Bytes taken from the wire so far, framing included.
    pub wire_bytes: u64,
}

/// What is kept of what comes behind a chunked body in one receive: as much as the receive of a head may bring. A client
/// that sends more without having read an answer gets its answer and a closed connection, and the rest is dropped.
const NEXT_BYTES_MAX: usize = RequestHead::BYTES_MAX;

/// Where the body ends on the wire.
enum Wire {
    Remaining(u64),
    Chunked(ChunkedDecoder),
}

/// Whether something arrived in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    There,
    Late,
}

/// For waits that hold nothing: the client's pace ends them.
const NEVER: Moment = Moment(u64::MAX);

/// Whether the end of a body has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More may come.
    Open,
    /// All of it is here.
    Ended,
}

/// Whether the request behind a body can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRequest {
    /// The body has ended, and what came behind it was kept.
    Readable,
    /// It cannot be told apart from body, or was too much to keep: the connection is of no more use.
    Lost,
}

impl<'a> Incoming<'a> {
    /// The body that follows a head whose request was authenticated.
    pub fn new(
        _proof: &Authenticated,
        auth: PayloadAuth,
        socket: &'a Socket,
        leftover: &'a mut Vec<u8>,
        length: BodyLength,
        expectation: Expectation,
        pace: Pace,
    ) -> Incoming<'a> {
        let framing = match length {
            BodyLength::Empty => Wire::Remaining(0),
            BodyLength::Exact(bytes) => Wire::Remaining(bytes),
            BodyLength::Chunked => Wire::Chunked(ChunkedDecoder::new()),
        };
        Incoming {
            socket,
            leftover,
            framing,
            expectation,
            auth,
            watch: Watch::new(pace),
            flow: Flow::default(),
            has_lost_next: false,
            wire_bytes: 0,
        }
    }

    /// Whether all of the body has been taken from the wire.
    pub fn progress(&self) -> Progress {
        let has_ended = match &self.framing {
            Wire::Remaining(bytes) => *bytes == 0,
            Wire::Chunked(decoder) => decoder.is_done(),
        };
        if has_ended { Progress::Ended } else { Progress::Open }
    }

    /// Whether the next request on the connection can be read from its beginning.
    pub fn next_request(&self) -> NextRequest {
        match self.progress() {
            Progress::Ended if !self.has_lost_next => NextRequest::Readable,
            Progress::Ended | Progress::Open => NextRequest::Lost,
        }
    }

    /// Waits until there is something to take, before memory is set aside for it, or until `until`.
    async fn wait(&mut self, until: Moment) -> Result<Arrival, S3Error> {
        if self.progress() == Progress::Ended {
            return Ok(Arrival::There);
        }
        self.send_continue().await?;
        if !self.leftover.is_empty() {
            return Ok(Arrival::There);
        }
        self.ready(Readiness::Readable, until).await
    }

    /// Waits for the client, within its pace, at most until `until`.
    async fn ready(&mut self, readiness: Readiness, until: Moment) -> Result<Arrival, S3Error> {
        loop {
            let began = time::now();
            let deadline = self.watch.deadline(began).min(until);
            let ready = time::before(deadline, net::ready(self.socket, readiness)).await;
            let now = time::now();
            match (ready, self.watch.waited(began, now)) {
                (Some(Ok(())), Verdict::InTime) => return Ok(Arrival::There),
                (Some(Err(_)), _) => return Err(incomplete()),
                (None, Verdict::InTime) if now >= until => return Ok(Arrival::Late),
                (None, Verdict::InTime) => {}
                (Some(Ok(())) | None, Verdict::TooSlow) => return Err(too_slow()),
            }
        }
    }

    /// Sends `100 Continue` once, when the client waits for it.
    async fn send_continue(&mut self) -> Result<(), S3Error> {
        if self.expectation == Expectation::None {
            return Ok(());
        }
        self.expectation = Expectation::None;
        let mut rest = CONTINUE;
        while !rest.is_empty() {
            match net::send_now(self.socket, &[std::io::IoSlice::new(rest)], Following::Nothing) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN) => {
                    self.ready(Readiness::Writable, NEVER).await?;
                }
                Err(_) => return Err(incomplete()),
            }
        }
        Ok(())
    }

    /// Receives into `block[filled..]` and takes the HTTP framing off; at `until` with what has arrived by then.
    ///
    /// Shape: the new end of what is filled. Errors: IncompleteBody, RequestTimeout, InvalidRequest for broken framing.
    async fn fill(
        &mut self,
        block: BlockMut,
        filled: usize,
        fill: Fill,
        until: Moment,
    ) -> (Result<usize, S3Error>, BlockMut) {
        if self.progress() == Progress::Ended {
            return (Ok(filled), block);
        }
        let mut block = block;
        let room = match &self.framing {
            Wire::Remaining(bytes) => {
                (block.len() - filled).min(usize::try_from(*bytes).unwrap_or(usize::MAX))
            }
            Wire::Chunked(_) => block.len() - filled,
        };
        let taken = room.min(self.leftover.len());
        let received = if taken > 0 {
            block[filled..filled + taken].copy_from_slice(&self.leftover[..taken]);
            self.leftover.drain(..taken);
            taken
        } else {
            let began = time::now();
            // Only a body that flows and whose end is known may wait for a full block.
            let may_wait = matches!(self.framing, Wire::Remaining(_)) && !self.flow.is_slow();
            let fill = if may_wait { fill } else { Fill::Some };
            let deadline = self.watch.deadline(began).min(until);
            let (result, back) =
                net::receive(self.socket, block, filled..filled + room, fill, deadline).await;
            block = back;
            let received = match result {
                Ok(0) => return (Err(incomplete()), block),
                Ok(received) => received as usize,
                Err(Errno::TIMEDOUT) => 0,
                Err(_) => return (Err(incomplete()), block),
            };
            let now = time::now();
            self.watch.moved(received as u64);
            if self.watch.waited(began, now) == Verdict::TooSlow {
                return (Err(too_slow()), block);
            }
            self.flow.moved(received as u64, now);
            if received < room && now >= until {
                self.flow.fell_behind(now);
            }
            received
        };
        self.wire_bytes += received as u64;
        (self.unframe(&mut block, filled, received), block)
    }

    /// Takes what has arrived into a block that is to be given back before the next wait.
    async fn take_some(&mut self) -> (Result<usize, S3Error>, BlockMut) {
        let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let until = time::now().after(held_at_most(BlockSize::Small));
        self.fill(block, 0, Fill::Some, until).await
    }

    /// Takes HTTP framing off what was received at `filled`.
    fn unframe(&mut self, block: &mut BlockMut, filled: usize, received: usize) -> Result<usize, S3Error> {
        match &mut self.framing {
            Wire::Remaining(bytes) => {
                *bytes -= received as u64;
                Ok(filled + received)
            }
            Wire::Chunked(decoder) => {
                let bytes = &mut block[filled..filled + received];
                let decoded = decoder.decode(bytes).map_err(|_| {
                    S3Error::new(Code::InvalidRequest)
                        .with_message("the chunked transfer coding of the body is broken")
                })?;
                // What lies behind the body is the next request, and comes before what else was left over.
                let next = &bytes[decoded.consumed_bytes..];
                if next.len() > NEXT_BYTES_MAX {
                    self.has_lost_next = true;
                } else if !next.is_empty() {
                    self.leftover.splice(0..0, next.iter().copied());
                }
                Ok(filled + decoded.produced_bytes)
            }
        }
    }
}

fn incomplete() -> S3Error {
    S3Error::new(Code::IncompleteBody)
}

fn too_slow() -> S3Error {
    S3Error::new(Code::RequestTimeout)
}

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
struct Inspection<'a> {
    payload: &'a Payload,
    signed_sha256: Option<[u8; 32]>,
    signer: Option<ChunkSigner>,
    decoder: Option<Decoder>,
    stream: Stream,
    marks: Vec<Mark>,
    bytes: u64,
}

impl<'a> Inspection<'a> {
    fn new(payload: &'a Payload, incoming: &mut Incoming<'_>, extra: Wanted) -> Inspection<'a> {
        let auth = std::mem::replace(&mut incoming.auth, PayloadAuth::Unsigned);
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
            decoder,
            stream: Stream::new(wanted),
            marks: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes aws-chunked framing off `bytes` and lets signatures and digests see what is left; returns its length.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, S3Error> {
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

    /// Judges the whole body.
    fn finish(self) -> Result<Received, S3Error> {
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

/// Receives a body into a writer, verifies all that was declared of it and waits for its writes.
///
/// Errors: those of the body (IncompleteBody, BadDigest, SignatureDoesNotMatch, ...) and of the writer.
pub async fn receive_into(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
    extra: Wanted,
    mut writer: Writer<'_>,
) -> Result<Received, S3Error> {
    let mut inspection = Inspection::new(payload, incoming, extra);
    let mut blocks = Blocks::default();
    // What did not make a multiple of 4096 and begins the next block. It is copied, so that no body holds a block while
    // it waits for another.
    let mut carried = Vec::new();
    loop {
        blocks.wait(incoming, &mut writer).await?;
        let is_proven = inspection.bytes >= PROVEN_BYTES && !incoming.flow.is_slow();
        let mut block = blocks.next(&mut writer, is_proven).await?;
        block[..carried.len()].copy_from_slice(&carried);
        let (block, filled, progress) = fill_block(incoming, &mut inspection, block, carried.len()).await?;
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
    mut block: BlockMut,
    mut filled: usize,
) -> Result<(BlockMut, usize, Progress), S3Error> {
    // With framing in the body a full block would need ever smaller receives: what is left below this waits.
    let enough = if inspection.decoder.is_some() { block.len() - ALIGNMENT } else { block.len() };
    let until = time::now().after(held_at_most(block.size()));
    loop {
        let (end, back) = incoming.fill(block, filled, Fill::All, until).await;
        block = back;
        filled += inspection.take(&mut block[filled..end?])?;
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
    has_large: bool,
    // Whether some are here or with the writer.
    has_some: bool,
}

impl Blocks {
    /// Waits for the client, and holds nothing meanwhile but for a moment.
    async fn wait(&mut self, incoming: &mut Incoming<'_>, writer: &mut Writer<'_>) -> Result<(), S3Error> {
        if self.has_some && !incoming.flow.is_slow() {
            let size = if self.has_large { BlockSize::Large } else { BlockSize::Small };
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

    /// The next block to fill: small ones one at a time until the body has proved itself, then a set of large ones if the
    /// arena has them.
    async fn next(&mut self, writer: &mut Writer<'_>, is_proven: bool) -> Result<BlockMut, S3Error> {
        self.has_some = true;
        if !self.has_large
            && is_proven
            && let Some(large) = arena::try_acquire(BlockSize::Large, LARGE_BLOCKS)
        {
            while writer.settle_one().await? {}
            while writer.take_returned().is_some() {}
            self.spare = large;
            self.has_large = true;
        }
        loop {
            while let Some(block) = writer.take_returned() {
                self.spare.push(block);
            }
            if let Some(block) = self.spare.pop() {
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

/// Receives a document of at most `bytes_max` and verifies all that was declared of it.
///
/// Errors: MaxMessageLengthExceeded, and those of the body.
pub async fn receive_document(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
    bytes_max: usize,
) -> Result<Vec<u8>, S3Error> {
    let too_long = || S3Error::new(Code::MaxMessageLengthExceeded);
    if payload.decoded_bytes.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_long());
    }
    let mut inspection = Inspection::new(payload, incoming, Wanted::NONE);
    let mut document = Vec::new();
    while incoming.progress() == Progress::Open {
        incoming.wait(NEVER).await?;
        let (end, mut block) = incoming.take_some().await;
        let decoded = inspection.take(&mut block[..end?])?;
        if document.len() + decoded > bytes_max {
            return Err(too_long());
        }
        document.extend_from_slice(&block[..decoded]);
    }
    inspection.finish()?;
    Ok(document)
}

/// Receives a body that must be empty when its framing is off, as that of a directory object; `None` when it is not.
///
/// Errors: those of the body.
pub async fn receive_empty(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
) -> Result<Option<Received>, S3Error> {
    let mut inspection = Inspection::new(payload, incoming, Wanted::NONE.with(Kind::Md5));
    while incoming.progress() == Progress::Open {
        incoming.wait(NEVER).await?;
        let (end, mut block) = incoming.take_some().await;
        inspection.take(&mut block[..end?])?;
        if inspection.bytes > 0 {
            return Ok(None);
        }
    }
    inspection.finish().map(Some)
}
