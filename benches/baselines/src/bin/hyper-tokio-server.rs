//! PUT and GET through hyper 1.x on tokio's current-thread runtime, written as it usually is.
//!
//! Measures what the ordinary way costs. `--files tokio` is the usual one: `tokio::fs`, each call on the blocking
//! pool. `--files std` makes the same calls as plain `read` and `pwrite` on the runtime's thread: cheaper, and it holds
//! every other connection while the disk is busy. Leaves out: durability, O_DIRECT, error documents.
//! Source: docs.rs/hyper/1 server::conn::http1; docs.rs/tokio/1 fs.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use baselines::place::{self, Place};
use baselines::request::relative_path;
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

/// Serves and receives objects over HTTP through hyper.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// Size of a piece of a GET, and of a write of a PUT.
    #[arg(long, default_value_t = 256 << 10)]
    block: usize,
    /// Where calls on files run.
    #[arg(long, value_enum, default_value_t = Files::Tokio)]
    files: Files,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Files {
    Tokio,
    Std,
}

fn main() -> io::Result<()> {
    let options = Arc::new(Options::parse());
    let listener = options.place.open()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        place::announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let options = Arc::clone(&options);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, Arc::clone(&options)));
                // A connection that fails is closed; the client sees it and ends the run.
                let _closed = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    })
}

type FileBody = UnsyncBoxBody<Bytes, io::Error>;

/// Routes by method; any error is a 500 without a body.
async fn answer(request: Request<Incoming>, options: Arc<Options>) -> Result<Response<FileBody>, Infallible> {
    let path = relative_path(request.uri().path()).map(|path| options.place.root.join(path));
    let whole = match (path, request.method().clone()) {
        (Some(path), Method::PUT) => {
            put(path, request.into_body(), &options).await.map(|()| Response::new(nothing()))
        }
        (Some(path), Method::GET | Method::HEAD) => get(&path, request.method(), &options).await,
        (Some(_), _) | (None, _) => Err(io::ErrorKind::Unsupported.into()),
    };
    Ok(whole.unwrap_or_else(|_| {
        let mut response = Response::new(nothing());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

fn nothing() -> FileBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

async fn put(path: PathBuf, body: Incoming, options: &Options) -> io::Result<()> {
    let mut body = pin!(body.into_data_stream());
    match options.files {
        Files::Tokio => {
            let mut file = tokio::fs::File::create(path).await?;
            while let Some(piece) = body.next().await {
                file.write_all(&piece.map_err(io::Error::other)?).await?;
            }
            file.flush().await
        }
        Files::Std => {
            let (file, mut offset) = (fs::File::create(path)?, 0);
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(io::Error::other)?;
                file.write_all_at(&piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(())
        }
    }
}

async fn get(path: &Path, method: &Method, options: &Options) -> io::Result<Response<FileBody>> {
    let (body, size_bytes) = match options.files {
        Files::Tokio => {
            let file = tokio::fs::File::open(path).await?;
            let size_bytes = file.metadata().await?.len();
            let pieces = ReaderStream::with_capacity(file, options.block).map(|piece| piece.map(Frame::data));
            (StreamBody::new(pieces).boxed_unsync(), size_bytes)
        }
        Files::Std => {
            let file = fs::File::open(path)?;
            let (size_bytes, block_bytes) = (file.metadata()?.len(), options.block);
            let pieces = stream::iter((0..size_bytes).step_by(block_bytes).map(move |offset| {
                let length = (size_bytes - offset).min(block_bytes as u64);
                let mut piece = Vec::with_capacity(length as usize);
                match (&file).take(length).read_to_end(&mut piece)? as u64 == length {
                    true => Ok(Frame::data(piece.into())),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }));
            (StreamBody::new(pieces).boxed_unsync(), size_bytes)
        }
    };
    let body = if method == Method::HEAD { nothing() } else { body };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
    Ok(response)
}
