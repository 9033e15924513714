//! The client that drives the baselines: N keep-alive connections on one thread, epoll edge-triggered.
//!
//! PUTs or GETs bodies of one size a fixed number of times, one request in flight a connection, and prints one line of
//! JSON: requests, bytes, seconds, its own CPU, percentiles. Bodies go out of memory that stays in the cache; what comes in is
//! counted and dropped in the kernel (MSG_TRUNC), so that the server is what a run waits for.
//! Leaves out: signatures, digests, a check of what the bytes are, answers without Content-Length. Any answer but 2xx ends the run.
//! Source: tcp(7) on MSG_TRUNC, epoll(7).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use baselines::place;
use clap::{Parser, ValueEnum};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::time::{ClockId, clock_gettime};

/// Drives a server and reports what it did as JSON.
#[derive(Parser)]
struct Options {
    /// What every request does.
    #[arg(value_enum)]
    verb: Verb,
    /// Address of the server.
    #[arg(long)]
    server: SocketAddr,
    /// Body of a PUT in bytes; a GET expects it, a HEAD expects to be told it.
    #[arg(long)]
    size: u64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in all.
    #[arg(long)]
    count: u64,
    /// Request i uses key number i modulo this.
    #[arg(long, default_value_t = 1)]
    keys: u64,
    /// Path before the key's number, as in /bucket/prefix.
    #[arg(long, default_value = "/bench/o")]
    prefix: String,
    /// CPU to pin to.
    #[arg(long)]
    core: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verb {
    Get,
    Head,
    Put,
}

/// One connection; a request is first sent (head, body), then its answer is received (head, body).
struct Connection {
    socket: TcpStream,
    began: Instant,
    head: Vec<u8>,
    head_sent_bytes: usize,
    body_left_bytes: u64,
    answer: Vec<u8>,
    /// Bytes of the answer's body still to come, once its head is whole.
    answer_left_bytes: Option<u64>,
}

struct Run {
    options: Options,
    started_count: u64,
    latencies: Vec<Duration>,
    /// What bodies are made of: position p of any body is byte p modulo its length.
    source: Vec<u8>,
    sink: Vec<u8>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if let Some(core) = options.core {
        place::pin(core)?;
    }
    let mut run = Run {
        started_count: 0,
        latencies: Vec::with_capacity(options.count as usize),
        source: (0..SOURCE_BYTES).map(|index| (index % 251) as u8).collect(),
        sink: vec![0; SINK_BYTES],
        options,
    };
    let began = Instant::now();
    run.drive()?;
    let seconds = began.elapsed().as_secs_f64();
    run.report(seconds)
}

impl Run {
    fn drive(&mut self) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let mut connections = Vec::new();
        for index in 0..self.options.connections {
            let connection = Connection::open(self.options.server)?;
            epoll.add(&connection.socket, EpollEvent::new(edges, index as u64))?;
            connections.push(connection);
        }
        for connection in &mut connections {
            self.begin(connection);
        }
        let mut events = [EpollEvent::empty(); 256];
        while (self.latencies.len() as u64) < self.options.count {
            let ready_count = epoll.wait(&mut events, EpollTimeout::NONE)?;
            for event in &events[..ready_count] {
                self.proceed(&mut connections[event.data() as usize])?;
            }
        }
        Ok(())
    }

    /// Prepares the next request of a connection; none when all have begun.
    fn begin(&mut self, connection: &mut Connection) {
        connection.head.clear();
        connection.head_sent_bytes = 0;
        connection.body_left_bytes = 0;
        if self.started_count == self.options.count {
            return;
        }
        let (verb, size_bytes) = match self.options.verb {
            Verb::Get => ("GET", 0),
            Verb::Head => ("HEAD", 0),
            Verb::Put => ("PUT", self.options.size),
        };
        let Options { server, prefix, keys, .. } = &self.options;
        let key = self.started_count % keys;
        let head = &mut connection.head;
        write!(head, "{verb} {prefix}{key} HTTP/1.1\r\nHost: {server}\r\n")
            .expect("memory takes every write");
        if self.options.verb == Verb::Put {
            write!(head, "Content-Length: {size_bytes}\r\n").expect("memory takes every write");
        }
        head.extend_from_slice(b"\r\n");
        connection.body_left_bytes = size_bytes;
        connection.began = Instant::now();
        self.started_count += 1;
    }

    /// Goes on with a connection until its socket takes or gives nothing more.
    fn proceed(&mut self, connection: &mut Connection) -> io::Result<()> {
        loop {
            let more = connection
                .send(&self.source)
                .and_then(|()| connection.receive(&self.options, &mut self.sink));
            match more {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            self.latencies.push(connection.began.elapsed());
            self.begin(connection);
            if connection.head.is_empty() {
                return Ok(());
            }
        }
    }

    fn report(&mut self, seconds: f64) -> io::Result<()> {
        self.latencies.sort_unstable();
        let percentile_us = |percent: usize| {
            let rank = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
            self.latencies.get(rank).map_or(0, Duration::as_micros)
        };
        let cpu_s = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?).as_secs_f64();
        let requests = self.latencies.len() as u64;
        let moved_bytes = if self.options.verb == Verb::Head { 0 } else { requests * self.options.size };
        println!(
            "{{\"requests\":{requests},\"bytes\":{moved_bytes},\"seconds\":{seconds:.6},\"client_cpu_s\":{cpu_s:.6},\
             \"p50_us\":{},\"p99_us\":{}}}",
            percentile_us(50),
            percentile_us(99)
        );
        Ok(())
    }
}

impl Connection {
    fn open(server: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect(server)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Connection {
            socket,
            began: Instant::now(),
            head: Vec::new(),
            head_sent_bytes: 0,
            body_left_bytes: 0,
            answer: Vec::new(),
            answer_left_bytes: None,
        })
    }

    /// Sends what is left of the request; a small body goes with its head.
    fn send(&mut self, source: &[u8]) -> io::Result<()> {
        let raw = self.socket.as_raw_fd();
        while self.head_sent_bytes < self.head.len() {
            let more = if self.body_left_bytes > 0 { MORE } else { MsgFlags::empty() };
            let rest = &self.head[self.head_sent_bytes..];
            self.head_sent_bytes += send(raw, rest, more | MsgFlags::MSG_NOSIGNAL)?;
        }
        while self.body_left_bytes > 0 {
            let length = self.body_left_bytes.min(source.len() as u64) as usize;
            self.body_left_bytes -= send(raw, &source[..length], MsgFlags::MSG_NOSIGNAL)? as u64;
        }
        Ok(())
    }

    /// Receives what is left of the answer.
    fn receive(&mut self, options: &Options, sink: &mut [u8]) -> io::Result<()> {
        let mut left_bytes = match self.answer_left_bytes {
            Some(left_bytes) => left_bytes,
            None => self.receive_head(options, sink)?,
        };
        while left_bytes > 0 {
            self.answer_left_bytes = Some(left_bytes);
            let length = left_bytes.min(sink.len() as u64) as usize;
            // MSG_TRUNC on TCP drops the bytes instead of copying them: the client costs next to nothing.
            let dropped_bytes = recv(self.socket.as_raw_fd(), &mut sink[..length], MsgFlags::MSG_TRUNC)?;
            if dropped_bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            left_bytes -= dropped_bytes as u64;
        }
        self.answer_left_bytes = None;
        Ok(())
    }

    /// Receives the answer's head and returns how much of its body is still to come.
    fn receive_head(&mut self, options: &Options, sink: &mut [u8]) -> io::Result<u64> {
        loop {
            match self.socket.read(&mut sink[..HEAD_BYTES_MAX])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => self.answer.extend_from_slice(&sink[..length]),
            }
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut headers);
            let status = head.parse(&self.answer).map_err(io::Error::other)?;
            let httparse::Status::Complete(head_bytes) = status else { continue };
            let code = head.code.unwrap_or_default();
            let told_bytes = content_length(head.headers);
            let early_bytes = (self.answer.len() - head_bytes) as u64;
            self.answer.clear();
            let want_bytes = if options.verb == Verb::Put { told_bytes.unwrap_or(0) } else { options.size };
            if !(200..300).contains(&code) || told_bytes.unwrap_or(0) != want_bytes {
                return Err(io::Error::other(format!("answer {code} with {told_bytes:?} bytes")));
            }
            let body_bytes = if options.verb == Verb::Head { 0 } else { want_bytes };
            return body_bytes.checked_sub(early_bytes).ok_or(ErrorKind::InvalidData.into());
        }
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> Option<u64> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    str::from_utf8(header.value).ok()?.parse().ok()
}

/// Small enough to stay in the cache of the client's core.
const SOURCE_BYTES: usize = 256 << 10;
/// One recv drops at most so much.
const SINK_BYTES: usize = 4 << 20;
const HEAD_BYTES_MAX: usize = 16 << 10;
/// More of the same follows: nix has no name for it.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);
