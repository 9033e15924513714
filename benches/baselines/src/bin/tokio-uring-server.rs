//! PUT and GET through tokio-uring 0.5, on the runtime it brings, written as its documentation shows.
//!
//! Measures what the named runtime costs: its default ring (no DEFER_TASKRUN, which it can't use), buffered
//! `read_at` and `write_all_at` with owned buffers, one task a connection, files made and opened through the ring.
//! Leaves out: durability, O_DIRECT, registered buffers, pipelining, error documents. On ext4 every buffered write goes to
//! an io-wq thread, which is nearly all that a PUT costs here.
//! Source: docs.rs/tokio-uring/0.5.0.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use baselines::place::{self, Place};
use baselines::request::{self, Parsed, Verb};
use clap::Parser;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;
use tokio_uring::net::{TcpListener, TcpStream};

/// Serves and receives objects over HTTP through tokio-uring.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// Size of the one buffer of a connection.
    #[arg(long, default_value_t = 256 << 10)]
    block: usize,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = options.place.open()?;
    tokio_uring::start(async move {
        place::announce(&listener)?;
        let listener = TcpListener::from_std(listener);
        let root: Rc<Path> = options.place.root.as_path().into();
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let (root, buffer) = (Rc::clone(&root), Vec::with_capacity(options.block));
            tokio_uring::spawn(async move {
                // A connection that fails is closed; the client sees it and ends the run.
                let _closed = serve(&socket, &root, buffer).await;
            });
        }
    })
}

/// Serves requests until the client closes; the buffer holds the bytes of the next head.
async fn serve(socket: &TcpStream, root: &Path, mut buffer: Vec<u8>) -> io::Result<()> {
    loop {
        let (verb, path, body_bytes, head_bytes) = match request::parse(&buffer) {
            Parsed::Complete(request) => {
                (request.verb, root.join(request.path), request.body_bytes, request.head_bytes)
            }
            Parsed::Refused => return Err(io::ErrorKind::InvalidData.into()),
            Parsed::Partial if buffer.len() == buffer.capacity() => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Parsed::Partial => {
                let filled_bytes = buffer.len();
                let (received, rest) = socket.read(buffer.slice(filled_bytes..)).await;
                buffer = rest.into_inner();
                match received? {
                    0 => return Ok(()),
                    _ => continue,
                }
            }
        };
        buffer.drain(..head_bytes);
        buffer = match verb {
            Verb::Put => put(socket, path, body_bytes, buffer).await?,
            Verb::Get | Verb::Head => get(socket, path, verb, buffer).await?,
        };
        buffer.clear();
    }
}

/// Receives a body into a file: what is in the buffer, then read and write in turns.
async fn put(socket: &TcpStream, path: PathBuf, body_bytes: u64, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    let file = File::create(path).await?;
    let mut written_bytes = 0;
    loop {
        let length = buffer.len() as u64;
        if length > 0 {
            let (written, whole) = file.write_all_at(buffer, written_bytes).await;
            written?;
            buffer = whole;
            written_bytes += length;
        }
        if written_bytes >= body_bytes {
            break;
        }
        buffer.clear();
        let (received, whole) = socket.read(buffer).await;
        buffer = whole;
        if received? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    file.close().await?;
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await.0?;
    Ok(buffer)
}

/// Sends a file: head, then read and write in turns.
async fn get(socket: &TcpStream, path: PathBuf, verb: Verb, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let size_bytes = file.statx().await?.stx_size;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n");
    buffer.clear();
    buffer.extend_from_slice(head.as_bytes());
    let mut sent_bytes = 0;
    if verb == Verb::Get && size_bytes > 0 {
        // The first piece goes behind the head, in one send.
        let (read, rest) = file.read_at(buffer.slice(head.len()..), 0).await;
        buffer = rest.into_inner();
        sent_bytes = read? as u64;
    }
    loop {
        let (sent, whole) = socket.write_all(buffer).await;
        sent?;
        buffer = whole;
        if verb == Verb::Head || sent_bytes >= size_bytes {
            break;
        }
        buffer.clear();
        let (read, whole) = file.read_at(buffer, sent_bytes).await;
        buffer = whole;
        match read? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => sent_bytes += length as u64,
        }
    }
    file.close().await?;
    Ok(buffer)
}
