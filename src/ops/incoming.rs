//! The body of a request as it comes from the socket: what has arrived, what is to come, and the HTTP framing around it.
//!
//! It waits for the client within its pace, receives into arena blocks and takes the framing off in place. What the bytes
//! are is not known here. What comes behind the body is kept for the next request, and body that nobody has read is
//! never taken for one.
//! Source: RFC 9112 sections 6 and 7, RFC 9110 section 10.1.1.

use uring::arena::{self, BlockMut, BlockSize};
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
    pub(super) auth: PayloadAuth,
    watch: Watch,
    pub(super) flow: Flow,
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
    pub(super) async fn take_some(&mut self) -> (Result<usize, S3Error>, BlockMut) {
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
