//! A lane: one connection with one request at a time, from the first ticket to the last.
//! A connection that ends is opened again; a request that met a connection the server had already closed is sent once
//! more, as every S3 client does, and counts once.
//! Source: RFC 9112 sections 9.3.1 and 9.5.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uring::net::{self, Socket};
use uring::{errno::Errno, time};

use crate::bench::answer::Answer;
use crate::bench::body::Body;
use crate::bench::exchange::{Broken, Sink, exchange};
use crate::bench::phase::Tickets;
use crate::bench::plan::Work;
use crate::bench::request::{Request, Verb, Writer};
use crate::bench::tally::{self, Outcome, Tally};
use crate::http::framing::Persistence;

/// What the lanes of one core share.
pub struct Shared {
    /// The server.
    pub address: SocketAddr,
    /// What the requests do.
    pub verb: Verb,
    /// Which request is next, over all cores.
    pub tickets: Arc<Tickets>,
    /// What every request carries.
    pub body: Arc<Body>,
    /// Writes requests.
    pub writer: RefCell<Writer>,
    /// Takes in bodies.
    pub sink: Sink,
    /// What was counted.
    pub tally: RefCell<Tally>,
}

/// How long a lane waits after it could not connect. Without it a server that is gone would be asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);

/// A lane that could not connect so many times in a row ends the run: the server is gone, and a run by count would
/// otherwise go on for as long as its count is large. Two seconds, with the pause above.
const CONNECT_FAILURES_MAX: u32 = 20;

/// Opens a connection, ready for small requests.
pub async fn connect(address: SocketAddr) -> Result<Socket, Errno> {
    let socket = net::connect(address).await?;
    socket.set_no_delay()?;
    Ok(socket)
}

/// Makes requests over `socket`, and over those that take its place, until there are no more tickets.
pub async fn run(shared: &Shared, socket: Socket) {
    let mut lane = Lane {
        shared,
        socket: Some(socket),
        is_used: false,
        connect_failures: 0,
        request: Request::default(),
    };
    while let Some(index) = shared.tickets.take() {
        let outcome = lane.request(index).await;
        shared.tally.borrow_mut().count(outcome);
    }
}

struct Lane<'a> {
    shared: &'a Shared,
    socket: Option<Socket>,
    // Whether the socket has served a request, so that the server may have closed it since.
    is_used: bool,
    // In a row.
    connect_failures: u32,
    request: Request,
}

impl Lane<'_> {
    async fn request(&mut self, index: u64) -> Outcome {
        let now_unix_s = (time::unix_ns() / 1_000_000_000) as i64;
        self.shared.writer.borrow_mut().write(index, now_unix_s, &mut self.request);
        loop {
            let (socket, is_used) = match self.open().await {
                Ok(open) => open,
                Err(errno) => return Outcome::Failed(format!("connect: {errno}")),
            };
            let body = &*self.shared.body;
            let mut answer = Answer::new(self.shared.verb.answer_to());
            let start = time::now();
            let end = exchange(&socket, &self.request, body, &self.shared.sink, &mut answer).await;
            match end {
                Ok(persistence) => {
                    let latency_ns = time::now().since(start).as_nanos() as u64;
                    if persistence == Persistence::KeepAlive {
                        (self.socket, self.is_used) = (Some(socket), true);
                    }
                    return self.outcome(&answer, body.payload_bytes(), latency_ns);
                }
                Err(broken) if is_used && answer.is_untouched() && is_close(&broken) => {}
                Err(broken) => return Outcome::Failed(tally::failure_of_connection(&broken)),
            }
        }
    }

    /// The lane's connection, and whether it has served before; a new one when the last one ended.
    async fn open(&mut self) -> Result<(Socket, bool), Errno> {
        if let Some(socket) = self.socket.take() {
            return Ok((socket, self.is_used));
        }
        match connect(self.shared.address).await {
            Ok(socket) => {
                self.connect_failures = 0;
                self.shared.tally.borrow_mut().reconnects_count += 1;
                Ok((socket, false))
            }
            Err(errno) => {
                self.connect_failures += 1;
                if self.connect_failures == CONNECT_FAILURES_MAX {
                    self.shared.tickets.close();
                }
                time::sleep(PAUSE).await;
                Err(errno)
            }
        }
    }

    fn outcome(&self, answer: &Answer, sent_bytes: u64, latency_ns: u64) -> Outcome {
        if !(200..300).contains(&answer.status()) {
            return Outcome::Failed(tally::failure_of_answer(answer));
        }
        let payload_bytes = match self.shared.verb {
            Verb::Object(Work::Put) => sent_bytes,
            Verb::Object(Work::Get) => answer.body_bytes(),
            Verb::CreateBucket | Verb::Object(Work::Stat) => 0,
        };
        Outcome::Done { payload_bytes, latency_ns }
    }
}

/// Whether a connection broke because the server had closed it.
fn is_close(broken: &Broken) -> bool {
    match broken {
        Broken::Errno(errno) => matches!(*errno, Errno::CONNRESET | Errno::PIPE),
        Broken::Answer(_) => true,
    }
}
