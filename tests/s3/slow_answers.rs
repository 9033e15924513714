//! Errors of a Complete that come when 200 is sent already: in the document, in the numbers, and about the right object.
//!
//! The flush of the object is held back longer than the server lets a client wait for a byte; then its name is refused.
//! Source: CompleteMultipartUpload, "processing of a CompleteMultipartUpload request could take several minutes".

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use ringway::server::setting::EngineChoice;
use uring::errno::Errno;
use uring::fault::{Fault, Nth, OperationKind, Rule};

use crate::fixture::{BUCKET, Fixture, on_both_engines};
use crate::request::{Request, Signed, etag};

const KEY: &str = "slow/object";
/// A second more than the server's patience.
const HELD_BACK: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

/// The first flush is that of the object's bytes.
const HOLD_BACK: Rule =
    Rule { kind: Some(OperationKind::Sync), nth: Nth::Only(1), fault: Fault::Delay(HELD_BACK) };
const REFUSE_NAME: Rule =
    Rule { kind: Some(OperationKind::Link), nth: Nth::From(1), fault: Fault::Fail(Errno::IO) };

/// An upload of one part, and the request that completes it and closes its connection.
fn prepare(fixture: &Fixture) -> Signed {
    let upload = fixture.begin_upload(Request::of_key("POST", KEY));
    fixture.send(Request::part(KEY, &upload, 1).body(b"part")).expect_status("a part", 200);
    Request::complete(KEY, &upload, &[(1, &etag(b"part"))]).header("connection", "close").signed()
}

/// How many errors of a code were counted.
fn errors_counted(fixture: &Fixture, code: &str) -> u64 {
    let mut admin = TcpStream::connect(fixture.admin).expect("the admin listener");
    admin.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    admin.read_to_string(&mut page).expect("a page");
    let start = format!("ringway_errors_total{{code=\"{code}\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&start));
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// Asks ten times a second whether something holds, for so long.
fn settled_for(time: Duration, holds: impl Fn() -> bool) -> bool {
    let looks = time.as_millis() / PAUSE.as_millis();
    (0..looks).any(|_| {
        thread::sleep(PAUSE);
        holds()
    })
}

fn check_error(fixture: &Fixture, name: &str, answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    assert!(answer.contains("<Error><Code>InternalError</Code>"), "{name}: {answer}");
    assert!(answer.contains(&format!("<Resource>/{BUCKET}/{KEY}</Resource>")), "{name}: {answer}");
    fixture.send(Request::get(KEY)).expect_error(name, 404, "NoSuchKey");
}

#[test]
fn an_error_behind_the_status_is_counted_and_names_its_object() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let complete = prepare(&fixture);
    fixture.plan(vec![HOLD_BACK, REFUSE_NAME]);
    let mut connection = fixture.connect();
    connection.write(&complete.bytes());
    let answer = connection.read_to_end().expect("an answer, then the end");
    fixture.plan(Vec::new());
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"), "{answer}");
    check_error(&fixture, "late", &answer, "200");
    assert_eq!(errors_counted(&fixture, "InternalError"), 1);
    // The upload is still there.
    fixture.connect().exchange(&complete).expect_status("again", 200);
    assert_eq!(fixture.get(KEY).text(), "part");
}

/// A client that has gone in the middle of it asks again later, and finds it done.
#[test]
fn a_complete_ends_without_its_client() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let complete = prepare(&fixture);
    // Past the first white space, which finds the connection cut.
    let fault = Fault::Delay(2 * HELD_BACK);
    fixture.plan(vec![Rule { fault, ..HOLD_BACK }]);
    let mut client = TcpStream::connect(fixture.address).expect("the server listens");
    client.write_all(&complete.bytes()).expect("sent");
    client.peek(&mut [0]).expect("the status comes");
    // Closed with bytes unread: the server is told so by a reset.
    drop(client);
    let is_there = || fixture.send(Request::get(KEY)).status == 200;
    assert!(settled_for(4 * HELD_BACK, is_there), "nobody ended it");
    fixture.plan(Vec::new());
    assert_eq!(fixture.get(KEY).text(), "part");
    fixture.connect().exchange(&complete).expect_status("again", 200);
}

#[test]
fn an_error_in_time_has_its_status() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let complete = prepare(&fixture);
        fixture.plan(vec![REFUSE_NAME]);
        let answer = fixture.connect().exchange(&complete);
        fixture.plan(Vec::new());
        let answer = format!("HTTP/1.1 {} \r\n{}", answer.status, answer.text());
        check_error(&fixture, "in time", &answer, "500");
        assert_eq!(errors_counted(&fixture, "InternalError"), 1);
        fixture.connect().exchange(&complete).expect_status("again", 200);
    });
}
