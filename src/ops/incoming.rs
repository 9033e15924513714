//! The body of a request as it comes from the socket: what has arrived, what is to come, and the HTTP framing around it.
//!
//! It waits for the client within its pace, receives into arena blocks and takes the framing off in place. What the bytes
//! are is not known here. What comes behind the body is kept for the next request, and body that nobody has read is
//! never taken for one.
//! Source: RFC 9112 sections 6 and 7, RFC 9110 section 10.1.1.

use std::ops::Range;
use std::time::Duration;

use uring::arena::{self, BlockMut, BlockSize};
use uring::aside::Aside;
use uring::errno::Errno;
use uring::net::{self, Fill, Following, Readiness, Socket};
use uring::time::{self, Moment};

use crate::auth::authenticate::{Authenticated, PayloadAuth};
use crate::http::chunked::ChunkedDecoder;
use crate::http::framing::{BodyLength, Expectation};
use crate::http::head::RequestHead;
use crate::http::response::CONTINUE;
use crate::ops::flow::{Flow, held_at_most};
use crate::ops::pace::{Pace, Verdict, Watch};
use crate::s3::error::{Code, S3Error};

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
    pub(super) flow: Flow,
    // More came behind the body than is kept, or it cannot be told any more where the body ends.
    has_lost_next: bool,
    // Bytes of a body that nobody wants.
    skipped_bytes: u64,
    /// Bytes taken from the wire so far, framing included.
    pub wire_bytes: u64,
}

/// What is kept of what comes behind a chunked body in one receive: as much as the receive of a head may bring. A client
/// that sends more without having read an answer gets its answer and a closed connection, and the rest is dropped.
const NEXT_BYTES_MAX: usize = RequestHead::BYTES_MAX;

/// What is read of a body that nobody wants so that its connection can go on: it costs a client less than a new one.
const SKIPPED_BYTES_MAX: u64 = 64 * 1024;
/// How long the rest of it may take to arrive behind the answer.
const SKIP_TIME: Duration = Duration::from_secs(2);
/// One receive of it, on the stack.
const SKIP_STEP_BYTES: usize = 4096;

/// Where the body ends on the wire.
enum Wire {
    Remaining(u64),
    Chunked(ChunkedDecoder),
}

/// Whether something arrived in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It did, or nothing more will.
    There,
    /// It did not yet.
    Late,
}

/// For waits that hold nothing: the client's pace ends them.
pub(super) const NEVER: Moment = Moment(u64::MAX);

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
    /// Little is left of the body and the client sends it unasked: `skip_rest` takes it behind the answer.
    Behind,
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
            skipped_bytes: 0,
            wire_bytes: 0,
        }
    }

    /// What the signature says of the body, for the one who reads it.
    pub(super) fn take_auth(&mut self) -> PayloadAuth {
        std::mem::replace(&mut self.auth, PayloadAuth::Unsigned)
    }

    /// Whether all of the body has been taken from the wire.
    pub fn progress(&self) -> Progress {
        let has_ended = match &self.framing {
            Wire::Remaining(bytes) => *bytes == 0,
            Wire::Chunked(decoder) => decoder.is_done(),
        };
        if has_ended { Progress::Ended } else { Progress::Open }
    }

    /// The sizes of the HTTP chunks whose size lines have arrived; 0 for a body whose length the head says.
    pub(super) fn chunked_bytes(&self) -> u64 {
        match &self.framing {
            Wire::Remaining(_) => 0,
            Wire::Chunked(decoder) => decoder.chunked_bytes(),
        }
    }

    /// Whether the next request on the connection can be read; a small body that nobody has read does not stand in its way.
    pub fn next_request(&mut self) -> NextRequest {
        let is_small = match &self.framing {
            Wire::Remaining(bytes) => *bytes <= SKIPPED_BYTES_MAX,
            // Nobody knows, so what has arrived is looked at.
            Wire::Chunked(_) => true,
        };
        // Who waits to be asked for a body may send it or leave it out behind this answer: RFC 9110 10.1.1.
        if !is_small || self.expectation == Expectation::Continue || self.skip_arrived().is_err() {
            return NextRequest::Lost;
        }
        match (self.progress(), &self.framing) {
            (Progress::Ended, _) => NextRequest::Readable,
            (Progress::Open, Wire::Remaining(_)) => NextRequest::Behind,
            (Progress::Open, Wire::Chunked(_)) => NextRequest::Lost,
        }
    }

    /// Takes what is left of a small body that nobody wants, behind the answer.
    pub async fn skip_rest(&mut self) -> NextRequest {
        let deadline = time::now().after(SKIP_TIME);
        loop {
            if self.skip_arrived().is_err() {
                return NextRequest::Lost;
            }
            if self.progress() == Progress::Ended {
                return NextRequest::Readable;
            }
            let ready = time::before(deadline, net::ready(self.socket, Readiness::Readable)).await;
            let Some(Ok(())) = ready else { return NextRequest::Lost };
        }
    }

    /// Takes what has arrived of a body that nobody wants, as far as that is little.
    fn skip_arrived(&mut self) -> Result<(), S3Error> {
        let mut bytes = [0; SKIP_STEP_BYTES];
        let is_readable = |own: &Incoming<'_>| !own.has_lost_next && own.progress() == Progress::Open;
        while is_readable(self) && self.skipped_bytes < SKIPPED_BYTES_MAX {
            let room = self.room(bytes.len());
            let received = match self.take_leftover(&mut bytes[..room]) {
                0 => match net::receive_now(self.socket, &mut bytes[..room]) {
                    Ok(received) if received > 0 => received,
                    Err(Errno::AGAIN) => break,
                    Ok(_) | Err(_) => return Err(self.lost(Code::IncompleteBody)),
                },
                taken => taken,
            };
            self.skipped_bytes += received as u64;
            self.wire_bytes += received as u64;
            self.unframe(&mut bytes[..received])?;
        }
        if self.has_lost_next { Err(S3Error::new(Code::IncompleteBody)) } else { Ok(()) }
    }

    /// An error behind which nothing more can be read.
    pub(super) fn lost(&mut self, code: Code) -> S3Error {
        self.has_lost_next = true;
        S3Error::new(code)
    }

    /// How much of `bytes` may be received without taking what belongs to the next request, as far as that is known.
    fn room(&self, bytes: usize) -> usize {
        match &self.framing {
            Wire::Remaining(left) => bytes.min(usize::try_from(*left).unwrap_or(usize::MAX)),
            Wire::Chunked(_) => bytes,
        }
    }

    /// Takes what was received behind the head.
    fn take_leftover(&mut self, bytes: &mut [u8]) -> usize {
        let taken = bytes.len().min(self.leftover.len());
        bytes[..taken].copy_from_slice(&self.leftover[..taken]);
        self.leftover.drain(..taken);
        taken
    }

    /// Waits until there is something to take, before memory is set aside for it, or until `until`.
    pub(super) async fn wait(&mut self, until: Moment) -> Result<Arrival, S3Error> {
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
                (Some(Err(_)), _) => return Err(self.lost(Code::IncompleteBody)),
                (None, Verdict::InTime) if now >= until => return Ok(Arrival::Late),
                (None, Verdict::InTime) => {}
                (Some(Ok(())) | None, Verdict::TooSlow) => {
                    return Err(self.lost(Code::RequestTimeout));
                }
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
                Err(_) => return Err(self.lost(Code::IncompleteBody)),
            }
        }
        Ok(())
    }

    /// Receives into `block[filled..]` and takes the HTTP framing off; at `until` with what has arrived by then.
    ///
    /// Shape: the new end of what is filled. Errors: IncompleteBody, RequestTimeout, InvalidRequest for broken framing.
    pub(super) async fn fill(
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
        let room = self.room(block.len() - filled);
        let taken = self.take_leftover(&mut block[filled..filled + room]);
        let received = if taken > 0 {
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
            match self.count(result, room, (began, until)) {
                Ok(received) => received,
                Err(error) => return (Err(error), block),
            }
        };
        self.wire_bytes += received as u64;
        let decoded = self.unframe(&mut block[filled..filled + received]);
        (decoded.map(|decoded| filled + decoded), block)
    }

    /// How much may be received around what goes aside: the body's own bytes that have not arrived, when nothing of HTTP
    /// stands between them and a receive may wait for them.
    pub(super) fn plain_bytes(&self) -> usize {
        match &self.framing {
            Wire::Remaining(left) if self.leftover.is_empty() && !self.flow.is_slow() => {
                usize::try_from(*left).unwrap_or(usize::MAX)
            }
            Wire::Remaining(_) | Wire::Chunked(_) => 0,
        }
    }

    /// Receives into a range of the block and aside, together no more than [`Incoming::plain_bytes`]; at `until` with what
    /// has arrived by then.
    ///
    /// Shape: how many bytes of the stream there are. Errors: IncompleteBody, RequestTimeout.
    pub(super) async fn fill_around(
        &mut self,
        block: BlockMut,
        range: Range<usize>,
        aside: Box<Aside>,
        until: Moment,
    ) -> (Result<usize, S3Error>, BlockMut, Box<Aside>) {
        let (began, wanted) = (time::now(), range.len() + aside.bytes().len());
        let deadline = self.watch.deadline(began).min(until);
        let (result, block, aside) = net::receive_around(self.socket, block, range, aside, deadline).await;
        let received = self.count(result, wanted, (began, until)).inspect(|received| {
            self.wire_bytes += *received as u64;
            if let Wire::Remaining(left) = &mut self.framing {
                *left -= *received as u64;
            }
        });
        (received, block, aside)
    }

    /// Judges what a receive brought, or that it brought nothing, by the client's pace.
    fn count(
        &mut self,
        result: Result<u32, Errno>,
        wanted: usize,
        (began, until): (Moment, Moment),
    ) -> Result<usize, S3Error> {
        let received = match result {
            Ok(0) => return Err(self.lost(Code::IncompleteBody)),
            Ok(received) => received as usize,
            Err(Errno::TIMEDOUT) => 0,
            Err(_) => return Err(self.lost(Code::IncompleteBody)),
        };
        let now = time::now();
        self.watch.moved(received as u64);
        if self.watch.waited(began, now) == Verdict::TooSlow {
            return Err(self.lost(Code::RequestTimeout));
        }
        self.flow.moved(received as u64, now);
        if received < wanted && now >= until {
            self.flow.fell_behind(now);
        }
        Ok(received)
    }

    /// Takes what has arrived into a block that is to be given back before the next wait.
    pub(super) async fn take_some(&mut self) -> (Result<usize, S3Error>, BlockMut) {
        let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let until = time::now().after(held_at_most(BlockSize::Small));
        self.fill(block, 0, Fill::Some, until).await
    }

    /// Takes HTTP framing off what was received; returns the length of what is left.
    fn unframe(&mut self, bytes: &mut [u8]) -> Result<usize, S3Error> {
        match &mut self.framing {
            Wire::Remaining(left) => {
                *left -= bytes.len() as u64;
                Ok(bytes.len())
            }
            Wire::Chunked(decoder) => {
                let Ok(decoded) = decoder.decode(bytes) else {
                    let message = "the chunked transfer coding of the body is broken";
                    return Err(self.lost(Code::InvalidRequest).with_message(message));
                };
                // What lies behind the body is the next request, and comes before what else was left over.
                let next = &bytes[decoded.consumed_bytes..];
                if next.len() > NEXT_BYTES_MAX {
                    self.has_lost_next = true;
                } else if !next.is_empty() {
                    self.leftover.splice(0..0, next.iter().copied());
                }
                Ok(decoded.produced_bytes)
            }
        }
    }
}
