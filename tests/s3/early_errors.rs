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
