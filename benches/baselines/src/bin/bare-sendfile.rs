//! The floor of GET: `sendfile` on non-blocking sockets, one thread, epoll edge-triggered.
//!
//! Measures what a server of resident pages can't avoid: open, fstat, a head, sendfile, close for each request.
//! HEAD is the same without the body. Leaves out: PUT, ranges, conditions, caches of open files, pages that are not
//! resident (sendfile then holds the thread), pipelining, error documents: a missing file closes the connection.
//! Source: sendfile(2), epoll(7), tcp(7) on MSG_MORE.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use baselines::place::{self, Place};
use baselines::request::{self, Parsed, Verb};
use clap::Parser;
use nix::fcntl::{OFlag, openat};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::Mode;

/// Serves objects over HTTP by sendfile.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
}

/// A body on its way.
struct Download {
    file: File,
    offset_bytes: i64,
    size_bytes: i64,
}

struct Connection {
    socket: TcpStream,
    head: Vec<u8>,
    download: Option<Download>,
}

/// What a connection waits for when it has done what it could.
enum Next {
    Readiness,
    Close,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = options.place.open()?;
    let root = options.place.root_directory()?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    place::announce(&listener)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let ready_count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready_count] {
            if event.data() == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.data() as usize];
            let Some(connection) = slot else { continue };
            match connection.proceed(&root) {
                Ok(Next::Readiness) => {}
                // Closing the socket takes it out of the epoll set.
                Ok(Next::Close) | Err(_) => *slot = None,
            }
        }
    }
}

/// Takes every connection that waits. Edges for both directions are registered once: no epoll_ctl a request.
fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let slot = connections.iter().position(Option::is_none).unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        epoll.add(&socket, EpollEvent::new(edges, slot as u64))?;
        connections[slot] =
            Some(Connection { socket, head: Vec::with_capacity(HEAD_BYTES_MAX), download: None });
    }
}

impl Connection {
    /// Goes on until the socket takes or gives nothing more. A read that leaves the buffer unfilled has emptied the
    /// socket, and a client sends its next request only after this answer: another edge will tell of it.
    fn proceed(&mut self, root: &File) -> io::Result<Next> {
        if self.download.is_none() {
            let filled_bytes = self.head.len();
            self.head.resize(HEAD_BYTES_MAX, 0);
            let received = self.socket.read(&mut self.head[filled_bytes..]);
            self.head.truncate(filled_bytes + *received.as_ref().unwrap_or(&0));
            match received {
                Ok(0) => return Ok(Next::Close),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Readiness),
                Err(error) => return Err(error),
            }
            match request::parse(&self.head) {
                Parsed::Partial => return Ok(Next::Readiness),
                Parsed::Complete(request) if request.verb != Verb::Put => {
                    self.download = answer(&self.socket, root, request.path, request.verb)?;
                    self.head.clear();
                }
                Parsed::Complete(_) | Parsed::Refused => return Ok(Next::Close),
            }
        }
        if let Some(download) = &mut self.download
            && download.send(&self.socket)?
        {
            self.download = None;
        }
        Ok(Next::Readiness)
    }
}

/// Sends the response head, in one segment with the start of the body when one follows.
fn answer(socket: &TcpStream, root: &File, path: &str, verb: Verb) -> io::Result<Option<Download>> {
    let file = File::from(openat(root, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    let size_bytes = file.metadata()?.len().cast_signed();
    let mut head = [0; 128];
    let mut rest = &mut head[..];
    write!(rest, "HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n")?;
    let left_bytes = rest.len();
    let body = verb == Verb::Get && size_bytes > 0;
    let flags = if body { MORE } else { MsgFlags::empty() } | MsgFlags::MSG_NOSIGNAL;
    send(socket.as_raw_fd(), &head[..head.len() - left_bytes], flags)?;
    Ok(body.then_some(Download { file, offset_bytes: 0, size_bytes }))
}

impl Download {
    /// Sends until the end (true) or until the socket is full (false).
    fn send(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while self.offset_bytes < self.size_bytes {
            let left_bytes = (self.size_bytes - self.offset_bytes) as usize;
            match sendfile64(socket, &self.file, Some(&mut self.offset_bytes), left_bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(nix::Error::EAGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

const LISTENER: u64 = u64::MAX;
const HEAD_BYTES_MAX: usize = 8 << 10;
/// More of the same follows: nix has no name for it.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);
