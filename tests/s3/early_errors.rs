//! An answer that comes before the body is through: every client reads the whole of it.
//!
//! A server that answers and closes while bytes are still arriving resets the connection, and the client's kernel throws
//! the answer away. Clients here send 64 MiB without looking, as many do. Long counts are a script's.
//! Source: RFC 9112 section 9.6.

use std::thread;

use crate::fixture::{Fixture, on_both_engines};
use crate::request::{Request, Signed};

const BODY_BYTES: usize = 64 << 20;
const CLIENTS: usize = 25;

/// Sends a head and a body that nobody wants, piece by piece, and reads the answer.
fn check(fixture: &Fixture, name: &str, signed: &Signed, status: u16, code: &str) {
    let mut connection = fixture.connect();
    connection.write(&signed.head);
    let piece = vec![b'x'; 256 << 10];
    for _ in 0..BODY_BYTES / piece.len() {
        // The server has heard enough; what counts is what it said.
        if connection.try_write(&piece).is_err() {
            break;
        }
    }
    let answer = connection.try_answer_to(&signed.head);
    let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
    answer.expect_error(name, status, code);
    assert_eq!(answer.header("connection"), Some("close"), "{name}: {answer}");
}

#[test]
fn an_early_error_is_read_whole() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("there", b"bytes");
        let length = BODY_BYTES.to_string();
        let unsigned = Request::put("key").header("content-length", &length).unsigned();
        let conditional =
            Request::put("there").header("content-length", &length).header("if-none-match", "*").signed();
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (fixture, unsigned, conditional) = (&fixture, &unsigned, &conditional);
                scope.spawn(move || {
                    let name = format!("client {client} on {engine:?}");
                    check(fixture, &name, unsigned, 403, "AccessDenied");
                    check(fixture, &name, conditional, 412, "PreconditionFailed");
                });
            }
        });
        assert_eq!(fixture.get("there").text(), "bytes");
        fixture.expect_blocks_back("after early errors");
    });
}

/// A client that waits to be asked for its body is not asked when nobody wants it.
#[test]
fn nothing_is_asked_for_that_is_refused() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("there", b"bytes");
        let asked = |request: Request| {
            let head = request.header("expect", "100-continue").body(b"other").signed().head;
            let mut connection = fixture.connect();
            connection.write(&head);
            connection.answer_head().expect("an answer").status
        };
        assert_eq!(asked(Request::put("there").header("if-none-match", "*")), 412, "on {engine:?}");
        assert_eq!(asked(Request::put("there/below")), 409, "on {engine:?}");
        assert_eq!(asked(Request::new("PUT", "/no-bucket/key")), 404, "on {engine:?}");
        assert_eq!(asked(Request::put("there").ahead_s(3_600)), 403, "on {engine:?}");
        assert_eq!(asked(Request::put("there")), 100, "on {engine:?}");
    });
}

/// A body this small is read when nobody wants it, so that its connection can go on.
const SKIPPED_BYTES_MAX: usize = 64 << 10;
/// What a body must never be taken for.
const REQUEST_IN_A_BODY: &[u8] = b"DELETE /bkt/there HTTP/1.1\r\nHost: s3.example.com\r\n\r\n";

/// Whether a client sends its body before it reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    WithTheHead,
    BehindTheAnswer,
}

/// A request that is refused, and whether the next one on its connection is answered.
fn check_next(fixture: &Fixture, name: &str, signed: &Signed, sends: Sends, refused: u16, is_kept: bool) {
    let name = format!("{name}, {sends:?}");
    let mut connection = fixture.connect();
    match sends {
        Sends::WithTheHead => connection.write(&signed.bytes()),
        Sends::BehindTheAnswer => connection.write(&signed.head),
    }
    let answer = connection.answer_to(&signed.head);
    answer.expect_status(&name, refused);
    assert_eq!(answer.header("connection"), (!is_kept).then_some("close"), "{name}: {answer}");
    if !is_kept {
        return;
    }
    if sends == Sends::BehindTheAnswer {
        connection.write(&signed.body);
    }
    let next = connection.exchange(&Request::get("there").signed());
    assert_eq!((next.status, next.text()), (200, "bytes"), "{name}: {next}");
}

#[test]
fn a_small_body_that_nobody_wants_leaves_the_connection() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("there", b"bytes");
        let conditional =
            |body: &[u8]| Request::put("there").header("if-none-match", "*").body(body).signed();
        let largest = vec![b'x'; SKIPPED_BYTES_MAX];
        for sends in [Sends::WithTheHead, Sends::BehindTheAnswer] {
            let check = |name: &str, signed: &Signed, refused, is_kept| {
                check_next(&fixture, &format!("{name} on {engine:?}"), signed, sends, refused, is_kept);
            };
            check("a request in a body", &conditional(REQUEST_IN_A_BODY), 412, true);
            check("the largest", &conditional(&largest), 412, true);
            let no_bucket = Request::new("PUT", "/no-bucket/key").body(b"body").signed();
            check("no bucket", &no_bucket, 404, true);
            let waits = Request::put("there").header("if-none-match", "*").header("expect", "100-continue");
            check("a client that waits to be asked", &waits.body(b"body").signed(), 412, false);
        }
        let larger = conditional(&[&largest[..], b"x"].concat());
        check_next(&fixture, "larger", &larger, Sends::BehindTheAnswer, 412, false);
        let chunked = |body: &str| {
            let request = Request::put("there").header("if-none-match", "*");
            request.header("transfer-encoding", "chunked").body(body.as_bytes()).signed()
        };
        let whole = chunked("4\r\nbody\r\n0\r\n\r\n");
        check_next(&fixture, "chunked and here", &whole, Sends::WithTheHead, 412, true);
        check_next(&fixture, "chunked, not here", &whole, Sends::BehindTheAnswer, 412, false);
        check_next(&fixture, "broken", &chunked("4\r\nbodyx"), Sends::WithTheHead, 412, false);
        assert_eq!(fixture.get("there").text(), "bytes", "on {engine:?}");
    });
}

#[test]
fn an_error_without_a_body_leaves_the_connection() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("there", b"bytes");
        let cases = [
            ("no key", Request::get("missing"), 404),
            ("no key, HEAD", Request::head("missing"), 404),
            ("no bucket", Request::new("GET", "/no-bucket/key"), 404),
            ("no bucket, PUT", Request::new("PUT", "/no-bucket/key"), 404),
            ("no bucket name", Request::new("GET", "/B/key"), 400),
            ("no bucket name, PUT", Request::new("PUT", "/B/key"), 400),
            ("no method", Request::new("PATCH", "/bkt/there"), 405),
            ("a signature of tomorrow", Request::get("there").ahead_s(86_400), 403),
        ];
        for (name, request, refused) in cases {
            let name = format!("{name} on {engine:?}");
            check_next(&fixture, &name, &request.signed(), Sends::WithTheHead, refused, true);
        }
    });
}
