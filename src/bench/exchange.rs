//! One request and its answer over one connection: bytes out from shared memory, bytes in to a shared sink.
//! Bodies are never copied in the client: slices go out as they lie, and what comes in is counted and overwritten.
//! It keeps no connection and counts nothing; `lane` does.
//! Source: RFC 9112 section 9; socket behaviour as `uring::net` has it.

use std::cell::RefCell;
use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use uring::errno::Errno;
use uring::net::{self, Following, Readiness, Socket};
use uring::{task, time};

use crate::bench::answer::{Answer, AnswerError};
use crate::bench::body::Body;
use crate::bench::request::Request;
use crate::http::framing::Persistence;

/// Why there is no whole answer. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The kernel's word for it.
    Errno(Errno),
    /// What came is no answer.
    Answer(AnswerError),
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Errno(Errno::TIMEDOUT) => {
                write!(out, "no byte moved for {} s", STALL_MAX.as_secs())
            }
            Broken::Errno(errno) => errno.fmt(out),
            Broken::Answer(error) => error.fmt(out),
        }
    }
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Broken {
        Broken::Errno(errno)
    }
}

impl From<AnswerError> for Broken {
    fn from(error: AnswerError) -> Broken {
        Broken::Answer(error)
    }
}

/// Where a core receives to: all its connections overwrite the same bytes, so they stay in its cache.
pub struct Sink(RefCell<Vec<u8>>);

/// The knee of the curve of copies through a socket; more only falls out of the cache.
const SINK_BYTES: usize = 256 << 10;

/// Slices of one send: 32 chunks with their frames, about what a socket takes at once.
const SLICES_MAX: usize = 64;

/// A server that moves nothing for so long has failed, and the run must end.
const STALL_MAX: Duration = Duration::from_secs(60);

impl Sink {
    /// A sink for one core.
    pub fn new() -> Sink {
        Sink(RefCell::new(vec![0; SINK_BYTES]))
    }

    /// Receives what is there into the answer.
    /// Errors: EAGAIN when nothing is there.
    fn receive_now(&self, socket: &Socket, answer: &mut Answer) -> Result<(), Broken> {
        let mut bytes = self.0.borrow_mut();
        match net::receive_now(socket, &mut bytes)? {
            0 => answer.end()?,
            length => answer.feed(&mut bytes[..length])?,
        }
        Ok(())
    }
}

impl Default for Sink {
    fn default() -> Sink {
        Sink::new()
    }
}

/// Sends a request and takes in its answer. What becomes of the connection is returned with it.
/// Errors: `Broken`; what has arrived of the answer is in `answer`.
pub async fn exchange(
    socket: &Socket,
    request: &Request,
    body: &Body,
    sink: &Sink,
    answer: &mut Answer,
) -> Result<Persistence, Broken> {
    let mut wire = Wire::new(request, body);
    send(&mut wire, socket, sink, answer).await?;
    while !answer.is_done() {
        match sink.receive_now(socket, answer) {
            // A server that is faster than the client must not keep this core from its other connections.
            Ok(()) if !answer.is_done() => task::yield_now().await,
            Ok(()) => {}
            Err(Broken::Errno(Errno::AGAIN)) => wait(socket, Readiness::Readable).await?,
            Err(broken) => return Err(broken),
        }
    }
    // After half a request the server could take the next one for the other half.
    Ok(if wire.is_sent() { answer.persistence() } else { Persistence::Close })
}

/// Sends until all is sent, or until the server has answered what it saw of the request.
async fn send(wire: &mut Wire<'_>, socket: &Socket, sink: &Sink, answer: &mut Answer) -> Result<(), Broken> {
    while !wire.is_sent() && answer.is_untouched() {
        let refusal = match wire.send_now(socket) {
            Ok(()) if wire.is_sent() => return Ok(()),
            Ok(()) => {
                task::yield_now().await;
                continue;
            }
            Err(errno) => errno,
        };
        // Full or closed: a server that refuses the request has its answer on the way before it closes.
        match sink.receive_now(socket, answer) {
            Ok(()) => {}
            Err(Broken::Errno(Errno::AGAIN)) if refusal == Errno::AGAIN => {
                wait(socket, Readiness::Writable).await?;
            }
            Err(Broken::Errno(_)) if refusal != Errno::AGAIN => return Err(refusal.into()),
            Err(broken) => return Err(broken),
        }
    }
    Ok(())
}

async fn wait(socket: &Socket, readiness: Readiness) -> Result<(), Broken> {
    let deadline = time::now().after(STALL_MAX);
    let ready = time::before(deadline, net::ready(socket, readiness)).await;
    Ok(ready.unwrap_or(Err(Errno::TIMEDOUT))?)
}

/// A request on its way out.
struct Wire<'a> {
    head: &'a [u8],
    frames: &'a [u8],
    body: &'a Body,
    // The slice that is next and how much of it is gone: 0 is the head, the rest are the body's segments.
    next: usize,
    gone_bytes: usize,
}

impl<'a> Wire<'a> {
    fn new(request: &'a Request, body: &'a Body) -> Wire<'a> {
        let frames = if request.frames.is_empty() { body.frames() } else { &request.frames };
        Wire { head: &request.head, frames, body, next: 0, gone_bytes: 0 }
    }

    fn is_sent(&self) -> bool {
        self.next > self.body.segments_count()
    }

    fn slice(&self, index: usize) -> &'a [u8] {
        match index.checked_sub(1) {
            None => self.head,
            Some(segment) => self.body.segment(segment, self.frames),
        }
    }

    /// Sends as much as the socket takes at once.
    fn send_now(&mut self, socket: &Socket) -> Result<(), Errno> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let last = self.body.segments_count();
        let end = (last + 1).min(self.next + SLICES_MAX);
        for (out, index) in slices.iter_mut().zip(self.next..end) {
            *out = IoSlice::new(self.slice(index));
        }
        slices[0].advance(self.gone_bytes);
        let following = if end <= last { Following::More } else { Following::Nothing };
        let sent = net::send_now(socket, &slices[..end - self.next], following)?;
        self.advance(sent);
        Ok(())
    }

    fn advance(&mut self, sent_bytes: usize) {
        self.gone_bytes += sent_bytes;
        while !self.is_sent() && self.gone_bytes >= self.slice(self.next).len() {
            self.gone_bytes -= self.slice(self.next).len();
            self.next += 1;
        }
    }
}
