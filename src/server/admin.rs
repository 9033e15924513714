//! The admin listener's pages: `/health/live`, `/health/ready` and `/metrics`, over HTTP/1.1 by hyper.
//! It reads what the control thread shows it and changes nothing. It is no part of S3: no authentication, no secret,
//! loopback unless the operator says otherwise.
//! Source: RFC 9110; Kubernetes' probes, for what live and ready mean.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::server::lifecycle::State;
use crate::server::log_writer::LogSink;
use crate::server::metrics::{CoreMetrics, Labels};
use crate::server::metrics_text::{self, ServerNumbers};

/// What the pages show.
pub(super) struct View {
    /// Where the server is; the control thread moves it.
    pub state: Cell<State>,
    pub labels: Labels,
    pub cores: Vec<Arc<CoreMetrics>>,
    pub log: LogSink,
}

/// Scrapers, probes and a person at once need a handful; the bound keeps descriptors for S3.
const CONNECTIONS_MAX: usize = 64;
/// A scraper that keeps its connection asks every 15 s by default; one that sends no head holds one of the few slots.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that does not read its page holds a slot no longer than this.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// After EMFILE and its like: the condition needs time, and accept would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the pages until the control thread ends. Runs on its `LocalSet`.
pub(super) async fn serve(listener: TcpListener, view: Rc<View>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let view = Rc::clone(&view);
                tokio::task::spawn_local(async move {
                    serve_connection(stream, view).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, view: Rc<View>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answer(&request, &view);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // How an admin connection ends, in time or not, is its client's affair.
    let _ = tokio::time::timeout(CONNECTION_LIFETIME, connection).await;
}

fn answer<B: Body>(request: &Request<B>, view: &View) -> Response<Full<Bytes>> {
    let page: fn(&View) -> Response<Full<Bytes>> = match request.uri().path() {
        "/health/live" => |_| text(StatusCode::OK, "live\n"),
        "/health/ready" => |view| ready(view.state.get()),
        "/metrics" => metrics,
        _ => |_| text(StatusCode::NOT_FOUND, "the pages are /health/live, /health/ready and /metrics\n"),
    };
    // hyper leaves the body out of the answer to HEAD.
    if *request.method() == Method::GET || *request.method() == Method::HEAD {
        return page(view);
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn ready(state: State) -> Response<Full<Bytes>> {
    match state {
        State::Serving => text(StatusCode::OK, "ready\n"),
        State::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        State::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        State::Stopping | State::Ended => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

fn metrics(view: &View) -> Response<Full<Bytes>> {
    let server = ServerNumbers { state: view.state.get(), log_lines_dropped: view.log.lines_dropped() };
    let page = metrics_text::render(&view.labels, &view.cores, server);
    with_type(StatusCode::OK, metrics_text::CONTENT_TYPE, Bytes::from(page))
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A proxy in between must not answer a probe from memory.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
