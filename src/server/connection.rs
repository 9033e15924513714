//! A connection: requests one after another, each of them head, route, authentication, operation, response.
//!
//! Between requests it holds a socket and nothing else: the request's own future is made when the first byte is there.
//! It decides nothing about S3; errors of every step are rendered in one place, `respond`.
//! Source: RFC 9112 sections 9.3 and 9.6.

use std::net::SocketAddr;
use std::rc::Rc;

use uring::errno::Errno;
use uring::net::{self, Readiness, Socket};
use uring::task;
use uring::time::{self, Moment};

use crate::auth::authenticate::{Authenticated, PayloadAuth, authenticate};
use crate::http::framing::{BodyLength, Framing, Persistence};
use crate::http::head::{Parsed, RequestHead};
use crate::ops::call::Call;
use crate::ops::incoming::{Incoming, NextRequest};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers;
use crate::s3::precondition;
use crate::s3::route::{self, Route};
use crate::server::core_state::CoreState;
use crate::server::dispatch;
use crate::server::respond::{self, Exchange};

/// Serves a connection until one side ends it. It counts from the call on, before the first poll.
pub fn serve(core: Rc<CoreState>, socket: Socket) -> impl Future<Output = ()> {
    let number = core.connections.add(&socket);
    let open = OpenConnection { core, number };
    async move { serve_open(&open, socket).await }
}

async fn serve_open(OpenConnection { core, number }: &OpenConnection, socket: Socket) {
    let number = *number;
    // A client that is gone before it was served asked for nothing.
    let Ok(remote) = socket.peer_address() else { return };
    core.metrics.connections_accepted.add(1);
    core.metrics.connections_open.set(core.connections.count() as u64);
    // Small answers must not wait for the client's delayed acknowledgement.
    let _ = socket.set_no_delay();
    let mut received = Vec::new();
    loop {
        core.connections.set_idle(number);
        if received.is_empty() && !first_byte(core, &socket).await {
            return;
        }
        core.connections.set_busy(number);
        // Boxed, so that an idle connection does not carry the room of a request.
        if Box::pin(serve_request(core, (&socket, remote), &mut received)).await == Persistence::Close {
            return;
        }
        if received.is_empty() {
            received = Vec::new();
        } else {
            // Requests that came together, each of which may end without a wait, are not all served in one turn.
            task::yield_now().await;
        }
    }
}

struct OpenConnection {
    core: Rc<CoreState>,
    number: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.core.connections.remove(self.number);
        self.core.metrics.connections_open.set(self.core.connections.count() as u64);
    }
}

/// Waits for a request to begin; false when none comes in time.
async fn first_byte(core: &CoreState, socket: &Socket) -> bool {
    let deadline = time::now().after(core.patience.idle);
    matches!(time::before(deadline, net::ready(socket, Readiness::Readable)).await, Some(Ok(())))
}

/// One request, from its head to the last byte of its response.
async fn serve_request(
    core: &Rc<CoreState>,
    (socket, remote): (&Socket, SocketAddr),
    received: &mut Vec<u8>,
) -> Persistence {
    let began = time::now();
    let mut exchange = Exchange::new(core, socket, remote, began);
    let head = match read_head(core, socket, received, began).await {
        Ok(Some(head)) => head,
        // The client has gone without asking anything.
        Ok(None) => return Persistence::Close,
        Err(error) => return respond::refuse(exchange, None, error).await,
    };
    exchange.now_unix_ns = time::unix_ns();
    let framing = match Framing::of(&head) {
        Ok(framing) => framing,
        Err(error) => return respond::refuse(exchange, Some(&head), error.into()).await,
    };
    let route = match route::route(&head, &core.domains) {
        Ok(route) => route,
        Err(error) => return respond::answer(exchange, &head, &framing, Err(error), unread(&framing)).await,
    };
    exchange.route = Some(&route);
    let (authenticated, auth) = match identify(core, &head, &route, exchange.now_unix_ns) {
        Ok(authenticated) => authenticated,
        Err(error) => return respond::answer(exchange, &head, &framing, Err(error), unread(&framing)).await,
    };
    exchange.caller = Some(authenticated.caller().clone());
    let (body, expectation) = (framing.body, framing.expectation);
    let pace = core.patience.pace;
    let mut incoming = Incoming::new(&authenticated, auth, socket, received, body, expectation, pace);
    let call = Call::new(&core.service, &authenticated, &head, &route, exchange.now_unix_ns);
    let result = match prepare(&call) {
        Ok(()) => dispatch::run(&call, &framing, &mut incoming).await,
        Err(error) => Err(error),
    };
    let next = match &result {
        // The head said nothing of a body, and what follows it may be one all the same.
        Err(error) if error.code() == Code::MissingContentLength => NextRequest::Lost,
        Ok(_) | Err(_) => incoming.next_request(),
    };
    exchange.received_bytes = incoming.wire_bytes;
    let persistence = respond::answer(exchange, &head, &framing, result, next).await;
    match (persistence, next) {
        (Persistence::KeepAlive, NextRequest::Behind) => match incoming.skip_rest().await {
            NextRequest::Readable => Persistence::KeepAlive,
            NextRequest::Behind | NextRequest::Lost => Persistence::Close,
        },
        (persistence, _) => persistence,
    }
}

/// Whether the body of a caller who is not known, which nobody reads, stands in the way of the next request.
fn unread(framing: &Framing) -> NextRequest {
    match framing.body {
        BodyLength::Empty | BodyLength::Exact(0) => NextRequest::Readable,
        BodyLength::Exact(_) | BodyLength::Chunked => NextRequest::Lost,
    }
}

/// Receives until a head is complete; `None` when the client closes before its first byte.
async fn read_head(
    core: &CoreState,
    socket: &Socket,
    received: &mut Vec<u8>,
    began: Moment,
) -> Result<Option<RequestHead>, S3Error> {
    let deadline = began.after(core.patience.head);
    loop {
        if !received.is_empty() {
            match RequestHead::parse(received)? {
                Parsed::Complete { head, consumed_bytes } => {
                    received.drain(..consumed_bytes);
                    return Ok(Some(head));
                }
                Parsed::Partial => {}
            }
        }
        let result = {
            let mut scratch = core.scratch.borrow_mut();
            let room = scratch.len().min(RequestHead::BYTES_MAX);
            net::receive_now(socket, &mut scratch[..room])
                .inspect(|count| received.extend(&scratch[..*count]))
        };
        match result {
            Ok(0) if received.is_empty() => return Ok(None),
            Ok(0) => return Err(S3Error::new(Code::BadRequest).with_message("the request head ends early")),
            Ok(_) => {}
            Err(Errno::AGAIN) => {
                match time::before(deadline, net::ready(socket, Readiness::Readable)).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) => return Ok(None),
                    None => return Err(S3Error::new(Code::RequestTimeout)),
                }
            }
            Err(_) => return Ok(None),
        }
    }
}

/// Who asks.
fn identify(
    core: &CoreState,
    head: &RequestHead,
    route: &Route,
    now_unix_ns: u64,
) -> Result<(Authenticated, PayloadAuth), S3Error> {
    let mut keys = core.signing_keys.borrow_mut();
    authenticate(head, &route.query, &core.credentials, &mut keys, &core.rules, now_unix_ns / 1_000_000_000)
}

/// What can be refused once the caller is known, before any operation runs.
fn prepare(call: &Call<'_>) -> Result<(), S3Error> {
    if !call.route.operation.is_built() {
        return Err(call.route.operation.not_implemented());
    }
    headers::check_headers(call.head, call.presigned())?;
    precondition::refuse_unheeded(call.route.operation, call.head)?;
    headers::check_expected_bucket_owner(call.head, call.presigned(), &call.caller().account_id)
}
