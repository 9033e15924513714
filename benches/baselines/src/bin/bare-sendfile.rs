//! The floor of GET: `sendfile` on non-blocking sockets, one thread, epoll edge-triggered.
//!
//! Measures what a server of resident pages can't avoid: open, fstat, a head, sendfile, close for each GET; one fstatat for
//! HEAD. Copying a body of 4 KiB behind its head instead of the sendfile was no cheaper, one of 16 KiB dearer.
//! Leaves out: PUT, ranges, conditions, caches of open files, pages that are not resident (they hold the thread),
//! pipelining, error documents: a missing file closes the connection.
//! Source: sendfile(2), epoll(7), tcp(7) on MSG_MORE.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use baselines::place::{self, Place};
use baselines::request::{self, Parsed, Verb};
use clap::Parser;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, fstatat};

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
                    self.download = match request.verb {
                        Verb::Head => answer_head(&self.socket, root, request.path)?,
                        Verb::Get | Verb::Put => answer_get(&self.socket, root, request.path)?,
                    };
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

fn answer_head(socket: &TcpStream, root: &File, path: &str) -> io::Result<Option<Download>> {
    let status = fstatat(root, path, AtFlags::empty())?;
    send_head(socket, status.st_size, MsgFlags::empty())?;
    Ok(None)
}

/// Sends the head, in one segment with the start of the body when one follows.
fn answer_get(socket: &TcpStream, root: &File, path: &str) -> io::Result<Option<Download>> {
    let file = File::from(openat(root, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    let size_bytes = file.metadata()?.len().cast_signed();
    send_head(socket, size_bytes, if size_bytes > 0 { MORE } else { MsgFlags::empty() })?;
    Ok((size_bytes > 0).then_some(Download { file, offset_bytes: 0, size_bytes }))
}

fn send_head(socket: &TcpStream, size_bytes: i64, flags: MsgFlags) -> io::Result<()> {
    let mut head = [0; ANSWER_HEAD_BYTES_MAX];
    let mut rest = &mut head[..];
    write!(rest, "HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n")?;
    let length = ANSWER_HEAD_BYTES_MAX - rest.len();
    match send(socket.as_raw_fd(), &head[..length], flags | MsgFlags::MSG_NOSIGNAL)? {
        sent if sent == length => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
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
const ANSWER_HEAD_BYTES_MAX: usize = 128;
/// More of the same follows: nix has no name for it.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);
