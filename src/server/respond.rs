//! Responses: the one place that renders results and errors, adds what every response has, and sends it.
//!
//! An error that leaves body unread is answered whole, then the sending side is closed and what still arrives is drained
//! within a bound: unread body is never taken for a request. Bodies from files go out by `send`. It decides nothing.
//! Source: RFC 9112 section 9.6; Amazon S3 API reference, "Common Response Headers" and "Error Responses".

use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use uring::net::{self, Readiness, Socket};
use uring::time::{self, First, Moment};

use crate::auth::credential::Caller;
use crate::http::framing::{Framing, Persistence};
use crate::http::head::{Method, RequestHead, Version};
use crate::http::response::ResponseHead;
use crate::ops::incoming::NextRequest;
use crate::ops::memory::Share;
use crate::ops::pace::Pace;
use crate::ops::response::{Body, Response};
use crate::s3::error::{S3Error, render};
use crate::s3::route::Route;
use crate::server::access_log::Entry;
use crate::server::core_state::CoreState;
use crate::server::send;

/// The `Server` header of every response.
const SERVER: &str = "Ringway";
/// What is still taken from a client that was answered before it had sent its body.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// For how long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// One request and its response, for the log and the numbers.
pub struct Exchange<'a> {
    /// The core.
    pub core: &'a Rc<CoreState>,
    /// The connection.
    pub socket: &'a Socket,
    /// The client's address. It was asked for when the connection was new: the kernel forgets it when the client is gone.
    pub remote: SocketAddr,
    /// When its first byte was there.
    pub began: Moment,
    /// The wall clock when its head was complete. Units: nanoseconds since 1970.
    pub now_unix_ns: u64,
    /// Its id, told to the client and the log.
    pub request_id: String,
    /// What was asked, when the head could be understood.
    pub route: Option<&'a Route>,
    /// Who asked, when that is known.
    pub caller: Option<Caller>,
    /// Bytes of its body taken from the wire.
    pub received_bytes: u64,
}

impl<'a> Exchange<'a> {
    /// A request that begins.
    pub fn new(
        core: &'a Rc<CoreState>,
        socket: &'a Socket,
        remote: SocketAddr,
        began: Moment,
    ) -> Exchange<'a> {
        Exchange {
            core,
            socket,
            remote,
            began,
            now_unix_ns: time::unix_ns(),
            request_id: core.next_request_id(),
            route: None,
            caller: None,
            received_bytes: 0,
        }
    }
}

/// Answers a request whose head could not be understood; the connection ends with it.
pub async fn refuse(exchange: Exchange<'_>, head: Option<&RequestHead>, error: S3Error) -> Persistence {
    let asked = Asked {
        method: head.map_or(Method::Get, RequestHead::method),
        version: Version::Http11,
        resource: head.map_or("/", RequestHead::raw_path),
        persistence: Persistence::Close,
    };
    let response = rendered(&exchange, asked.resource, &error);
    let sent = send_response(&exchange, &asked, response).await;
    finish(&exchange, sent.status, sent.bytes, Some(&error));
    drain(exchange.core, exchange.socket).await;
    Persistence::Close
}

/// Answers a request; says whether the connection can take another.
pub async fn answer(
    exchange: Exchange<'_>,
    head: &RequestHead,
    framing: &Framing,
    result: Result<Response, S3Error>,
    next: NextRequest,
) -> Persistence {
    let is_last = next == NextRequest::Lost
        || framing.persistence == Persistence::Close
        || exchange.core.connections.is_draining();
    let persistence = if is_last { Persistence::Close } else { Persistence::KeepAlive };
    let asked =
        Asked { method: head.method(), version: head.version(), resource: head.raw_path(), persistence };
    let (response, error) = match result {
        Ok(response) => (response, None),
        Err(error) => (rendered(&exchange, asked.resource, &error), Some(error)),
    };
    let sent = send_response(&exchange, &asked, response).await;
    finish(&exchange, sent.status, sent.bytes, error.or(sent.error).as_ref());
    if next != NextRequest::Readable && persistence == Persistence::Close {
        drain(exchange.core, exchange.socket).await;
    }
    match sent.end {
        send::End::Whole => persistence,
        send::End::Broken => {
            exchange.socket.shutdown();
            Persistence::Close
        }
    }
}

/// The response of an error.
fn rendered(exchange: &Exchange<'_>, resource: &str, error: &S3Error) -> Response {
    let resource = error.resource().unwrap_or(resource);
    let document = render(error, resource, &exchange.request_id, &exchange.request_id);
    let mut response = Response::xml(document);
    response.status = error.status();
    response
}

/// What a response depends on of its request.
struct Asked<'a> {
    method: Method,
    version: Version,
    /// The path as sent, which error documents name.
    resource: &'a str,
    persistence: Persistence,
}

struct Sent {
    status: u16,
    bytes: u64,
    end: send::End,
    /// The error of a document that came so late that its status had been sent, or nearly so.
    error: Option<S3Error>,
}

async fn send_response(exchange: &Exchange<'_>, asked: &Asked<'_>, response: Response) -> Sent {
    let mut out = Vec::with_capacity(1024);
    // The share is given back when the body has been sent.
    let Response { status, headers, body, mut share } = response;
    let status = match body {
        Body::Slow(document) => return send_slow(exchange, asked, headers, document).await,
        Body::Empty | Body::Xml(_) | Body::File(_) | Body::Announced(_) => status,
    };
    let length = match &body {
        Body::Empty | Body::Slow(_) => 0,
        Body::Xml(document) => document.len() as u64,
        Body::File(file) => file.length_bytes,
        Body::Announced(length) => *length,
    };
    let kind = if matches!(body, Body::Xml(_)) { Some("application/xml") } else { None };
    // A 204 and a 304 have no body, so no length either (RFC 9110 8.6).
    let framing = if status == 204 || status == 304 { Length::None } else { Length::Known(length) };
    write_head(exchange, &mut out, status, &headers, kind, framing, (asked.version, asked.persistence));
    let patience = exchange.core.patience.pace;
    let (end, bytes) = match body {
        Body::Xml(document) if asked.method != Method::Head => {
            let slices = [IoSlice::new(&out), IoSlice::new(document.as_bytes())];
            (all_while_held(exchange.socket, &slices, patience, &mut share).await, length)
        }
        Body::File(file) if asked.method != Method::Head => {
            send::file(exchange.core, exchange.socket, &out, file, patience).await
        }
        Body::Empty | Body::Xml(_) | Body::File(_) | Body::Announced(_) | Body::Slow(_) => {
            (send::all(exchange.socket, &[IoSlice::new(&out)], patience).await, 0)
        }
    };
    Sent { status, bytes, end, error: None }
}

/// Sends slices whole, unless others wait too long for the memory that a slow client keeps them in.
async fn all_while_held(
    socket: &Socket,
    slices: &[IoSlice<'_>],
    pace: Pace,
    share: &mut Option<Share>,
) -> send::End {
    let mut sending = std::pin::pin!(send::all(socket, slices, pace));
    let Some(share) = share else { return sending.await };
    let mut held = std::pin::pin!(share.held_too_long());
    match time::race(&mut sending, &mut held).await {
        First::Left(end) => end,
        First::Right(()) => send::End::Broken,
    }
}

/// How a head frames the body behind it.
enum Length {
    None,
    Known(u64),
    Chunked,
    UntilClose,
}

fn write_head(
    exchange: &Exchange<'_>,
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(std::borrow::Cow<'static, str>, String)],
    kind: Option<&str>,
    length: Length,
    (version, persistence): (Version, Persistence),
) {
    let mut head = ResponseHead::begin(out, status);
    let mut add = |name: &str, value: &str| {
        if head.header(name, value.as_bytes()).is_err() {
            // Only forged or unusual stored metadata comes here; the object stays readable without it.
            tracing::debug!(request_id = %exchange.request_id, header = name, "a header value was left out");
        }
    };
    add("x-amz-request-id", &exchange.request_id);
    add("x-amz-id-2", &exchange.request_id);
    for (name, value) in headers {
        add(name, value);
    }
    if let Some(kind) = kind {
        add("Content-Type", kind);
    }
    add("Server", SERVER);
    match length {
        Length::None | Length::UntilClose => {}
        Length::Known(bytes) => head.number("Content-Length", bytes),
        Length::Chunked => add("Transfer-Encoding", "chunked"),
    }
    head.date("Date", (exchange.now_unix_ns / 1_000_000_000) as i64);
    match (persistence, version) {
        (Persistence::Close, _) => drop(head.header("Connection", b"close")),
        (Persistence::KeepAlive, Version::Http10) => drop(head.header("Connection", b"keep-alive")),
        (Persistence::KeepAlive, Version::Http11) => {}
    }
    head.finish();
}

/// Counts and logs a finished request.
fn finish(exchange: &Exchange<'_>, status: u16, sent_bytes: u64, error: Option<&S3Error>) {
    let core = exchange.core;
    let latency = time::now().since(exchange.began);
    let operation = exchange.route.map(|route| route.operation);
    let metrics = &core.metrics;
    metrics.count_request(operation.map(|operation| operation as usize), status, latency.as_nanos() as u64);
    metrics.received_bytes.add(exchange.received_bytes);
    metrics.sent_bytes.add(sent_bytes);
    if let Some(error) = error {
        metrics.count_error(error.code() as usize);
        // The status of a slow answer was sent before its error was there.
        if error.status() >= 500 {
            let source = error.source_text().unwrap_or_default();
            let operation = operation.map_or("-", |operation| operation.name());
            let code = error.code().wire();
            tracing::warn!(request_id = %exchange.request_id, operation, code, source, "a request failed");
        }
    }
    let Some(log) = &core.access_log else { return };
    let target = exchange.route.map(|route| &route.target);
    log.borrow_mut().write(&Entry {
        time_unix_ms: exchange.now_unix_ns / 1_000_000,
        request_id: &exchange.request_id,
        remote: exchange.remote,
        caller: exchange.caller.as_ref().map(|caller| &*caller.name),
        operation: operation.map(|operation| operation.name()),
        bucket: target.and_then(|target| target.bucket.as_ref()).map(|bucket| bucket.as_str()),
        key: target.and_then(|target| target.key.as_ref()).map(|key| key.as_str()),
        status,
        error_code: error.map(|error| error.code().wire()),
        received_bytes: exchange.received_bytes,
        sent_bytes,
        latency_us: latency.as_micros() as u64,
        user_agent: None,
    });
}

/// Closes the sending side and takes what the client still sends, so that its kernel delivers the answer before it sees
/// the connection end.
async fn drain(core: &CoreState, socket: &Socket) {
    socket.shutdown_sending();
    let deadline = time::now().after(DRAIN_TIME);
    let mut left = DRAIN_BYTES_MAX;
    loop {
        // The core's buffer: one of its own would make the future of every request as much larger.
        let received = net::receive_now(socket, &mut core.scratch.borrow_mut());
        match received {
            Ok(0) => return,
            Ok(count) if count >= left => return,
            Ok(count) => left -= count,
            Err(uring::errno::Errno::AGAIN) => {
                match time::before(deadline, net::ready(socket, Readiness::Readable)).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => return,
                }
            }
            Err(_) => return,
        }
    }
}

/// After this time without a document a slow operation's client is sent white space.
const SLOW_AFTER: Duration = Duration::from_secs(5);
/// What XML documents begin with; white space may stand behind it but not before it.
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

type SlowDocument = std::pin::Pin<Box<dyn std::future::Future<Output = Result<String, S3Error>>>>;

/// Waits for a slow document: a plain response when it is there in time, else 200, white space, and the document.
async fn send_slow(
    exchange: &Exchange<'_>,
    asked: &Asked<'_>,
    headers: Vec<(std::borrow::Cow<'static, str>, String)>,
    mut document: SlowDocument,
) -> Sent {
    let mut timer = time::sleep(SLOW_AFTER);
    if let time::First::Left(result) = time::race(&mut document, &mut timer).await {
        let (response, error) = match result {
            Ok(document) => (Response { headers, ..Response::xml(document) }, None),
            Err(error) => (rendered(exchange, asked.resource, &error), Some(error)),
        };
        let sent = Box::pin(send_response(exchange, asked, response)).await;
        return Sent { error, ..sent };
    }
    let version = asked.version;
    let pace = exchange.core.patience.pace;
    let mut out = Vec::with_capacity(1024);
    let (length, persistence) = match version {
        Version::Http11 => (Length::Chunked, asked.persistence),
        Version::Http10 => (Length::UntilClose, Persistence::Close),
    };
    write_head(exchange, &mut out, 200, &headers, Some("application/xml"), length, (version, persistence));
    write_piece(version, DECLARATION, &mut out);
    let result = loop {
        if send::all(exchange.socket, &[IoSlice::new(&out)], pace).await == send::End::Broken {
            // Whoever has gone will ask again and is to find it done.
            let error = document.await.err();
            return Sent { status: 200, bytes: 0, end: send::End::Broken, error };
        }
        out.clear();
        let mut timer = time::sleep(SLOW_AFTER);
        match time::race(&mut document, &mut timer).await {
            time::First::Left(result) => break result,
            time::First::Right(()) => write_piece(version, " ", &mut out),
        }
    };
    let (text, error) = match result {
        Ok(text) => (text, None),
        Err(error) => {
            (render(&error, asked.resource, &exchange.request_id, &exchange.request_id), Some(error))
        }
    };
    write_piece(version, text.strip_prefix(DECLARATION).unwrap_or(&text), &mut out);
    if version == Version::Http11 {
        out.extend_from_slice(crate::http::chunked::LAST_CHUNK);
    }
    let end = send::all(exchange.socket, &[IoSlice::new(&out)], pace).await;
    let end = if version == Version::Http10 { send::End::Broken } else { end };
    Sent { status: 200, bytes: text.len() as u64, end, error }
}

fn write_piece(version: Version, text: &str, out: &mut Vec<u8>) {
    match version {
        Version::Http11 => crate::http::chunked::write_chunk(text.as_bytes(), out),
        Version::Http10 => out.extend_from_slice(text.as_bytes()),
    }
}
