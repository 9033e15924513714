//! Heads that are wrong: signatures, dates, sizes, framing. Each gets its S3 error, and nothing is made.
//!
//! The key of every write is looked for afterwards. A head that cannot be understood ends its connection.
//! Source: Signature Version 4 for S3; RFC 9112 sections 2.2, 3 and 6.

use ringway::server::setting::EngineChoice;

use crate::fixture::{Fixture, files_below, on_both_engines};
use crate::request::{Coding, HOST, Request, Signed};

/// Sends a request that must be refused, and looks for what it must not have made.
fn check(fixture: &Fixture, name: &str, signed: &Signed, status: u16, code: &str) {
    let mut connection = fixture.connect();
    connection.exchange(signed).expect_error(name, status, code);
    let made = files_below(&fixture.path(""));
    assert!(made.is_empty(), "{name}: {made:?}");
}

fn put() -> Request {
    Request::put("key").body(b"bytes")
}

#[test]
fn signatures_that_do_not_hold() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let check = |name: &str, signed: &Signed, code: &str| check(&fixture, name, signed, 403, code);
        check("none", &put().unsigned(), "AccessDenied");
        let wrong = put().signed().with_head("Signature=", "Signature=0");
        let cut = wrong.head.windows(4).rposition(|window| window == b"\r\n\r\n").expect("the end");
        let head = [&wrong.head[..cut - 1], &wrong.head[cut..]].concat();
        check("a wrong signature", &Signed { head, ..wrong }, "SignatureDoesNotMatch");
        check("another method", &put().signed().with_head("PUT", "DELETE"), "SignatureDoesNotMatch");
        check("another key", &put().signed().with_head("/key", "/yek"), "SignatureDoesNotMatch");
        let added = put().signed().with_head("host:", "x-amz-meta-added: 1\r\nhost:");
        check("a header that is not signed", &added, "AccessDenied");
        let unknown = put().signed().with_head("Credential=AKIDEXAMPLEROOT", "Credential=AKIDEXAMPLENONE");
        check("an unknown access key", &unknown, "InvalidAccessKeyId");
    });
}

#[test]
fn times_that_have_passed_or_not_come() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let check = |name: &str, signed: &Signed, status: u16, code: &str| {
        check(&fixture, name, signed, status, code);
    };
    check("an hour ago", &put().ahead_s(-3_600).signed(), 403, "RequestTimeTooSkewed");
    check("in an hour", &put().ahead_s(3_600).signed(), 403, "RequestTimeTooSkewed");
    check("presigned and expired", &put().ahead_s(-120).presigned(60), 403, "AccessDenied");
    check("presigned in an hour", &put().ahead_s(3_600).presigned(60), 403, "AccessDenied");
    check("eight days", &put().presigned(691_200), 400, "AuthorizationQueryParametersError");
    check("for no time", &put().presigned(0), 400, "AuthorizationQueryParametersError");
    fixture.connect().exchange(&put().presigned(60)).expect_status("presigned", 200);
    assert_eq!(std::fs::read(fixture.path("key")).expect("made"), b"bytes");
}

#[test]
fn two_ways_to_sign_are_one_too_many() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let twice =
        put().signed().with_head("authorization:", "authorization: AWS4-HMAC-SHA256 x\r\nauthorization:");
    check(&fixture, "two headers", &twice, 400, "InvalidArgument");
    let header = put().signed();
    let line = header.head.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"authorization"));
    let line = String::from_utf8(line.expect("signed").to_vec()).expect("ASCII");
    let both = put().presigned(60).with_head("host:", &format!("{line}\nhost:"));
    check(&fixture, "header and query", &both, 400, "InvalidArgument");
    let old = put().unsigned().with_head("host:", "authorization: AWS AKID:c2lnbmF0dXJl\r\nhost:");
    check(&fixture, "version 2", &old, 400, "InvalidRequest");
}

/// Sends bytes that are no request; the answer ends the connection.
fn check_head(fixture: &Fixture, name: &str, bytes: &[u8], status: u16) {
    let mut connection = fixture.connect();
    connection.write(bytes);
    let answer = connection.answer_to(b"GET ");
    answer.expect_status(name, status);
    assert_eq!(answer.header("connection"), Some("close"), "{name}: {answer}");
    assert!(answer.text().ends_with("</Error>"), "{name}: {answer}");
    connection.finish_sending();
    connection.expect_closed(name);
}

#[test]
fn heads_that_are_no_heads() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let check = |name: &str, head: &str, status: u16| {
            check_head(&fixture, name, head.as_bytes(), status);
        };
        let with = |line: &str| format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{line}\r\n\r\n");
        check("no HTTP", "hello there\r\n\r\n", 400);
        check("a bare line feed", &format!("GET / HTTP/1.1\nhost: {HOST}\n\n"), 400);
        check("a folded line", &with("x-a: 1\r\n 2"), 400);
        check("a NUL", &with("x-a: \0"), 400);
        check("a space before the colon", &with("x-a : 1"), 400);
        check("no host", "GET / HTTP/1.1\r\n\r\n", 400);
        check("two hosts", &with(&format!("host: {HOST}")), 400);
        check("two lengths", &with("content-length: 1\r\ncontent-length: 1"), 400);
        check("a length and a coding", &with("content-length: 1\r\ntransfer-encoding: chunked"), 400);
        check("a negative length", &with("content-length: -1"), 400);
        check("an unknown coding", &with("transfer-encoding: gzip, chunked"), 501);
        check("an unknown version", &format!("GET / HTTP/2.7\r\nhost: {HOST}\r\n\r\n"), 505);
        check("an unknown expectation", &with("content-length: 1\r\nexpect: 200-maybe"), 417);
    });
}

#[test]
fn heads_that_are_too_large() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let long = "a".repeat(17 << 10);
    let head = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-long: {long}\r\n\r\n");
    check_head(&fixture, "over 16 KiB", head.as_bytes(), 400);
    let endless = format!("GET /{long}");
    check_head(&fixture, "a line without an end", endless.as_bytes(), 400);
    let many: String = (0..101).map(|index| format!("x-{index}: 1\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{many}\r\n");
    check_head(&fixture, "over 100 headers", head.as_bytes(), 400);
    let metadata = put().header("x-amz-meta-long", &"a".repeat(2_050));
    check(&fixture, "metadata over 2 KiB", &metadata.signed(), 400, "MetadataTooLarge");
    // The largest there may be still passes.
    let fits = Request::get("key").header("x-long", &"a".repeat(15 << 10));
    fixture.send(fits).expect_error("15 KiB", 404, "NoSuchKey");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let cases = [
        ("acl", put().query("acl", "")),
        ("tagging", put().query("tagging", "")),
        ("a copy", put().header("x-amz-copy-source", "/bkt/other")),
        ("encryption", put().header("x-amz-server-side-encryption", "AES256")),
        ("a tag", put().header("x-amz-tagging", "a=b")),
        ("a lock", put().header("x-amz-object-lock-mode", "COMPLIANCE")),
        ("a date on a write", put().header("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT")),
        ("one tag not to match", put().header("if-none-match", "\"0123\"")),
    ];
    for (name, request) in cases {
        check(&fixture, name, &request.signed(), 501, "NotImplemented");
    }
    let canned = put().header("x-amz-acl", "public-read");
    check(&fixture, "a canned ACL", &canned.signed(), 400, "AccessControlListNotSupported");
    let class = put().header("x-amz-storage-class", "GLACIER");
    check(&fixture, "a storage class", &class.signed(), 400, "InvalidStorageClass");
    let owner = put().header("x-amz-expected-bucket-owner", "123456789012");
    check(&fixture, "another owner", &owner.signed(), 403, "AccessDenied");
}

#[test]
fn a_delete_of_an_old_version_deletes_nothing() {
    let fixture = Fixture::start(EngineChoice::Auto);
    fixture.put("key", b"bytes");
    let old = fixture.send(Request::delete("key").query("versionId", "0123456789"));
    assert!(matches!(old.code(), "NoSuchVersion" | "InvalidArgument"), "{old}");
    let acl = fixture.send(Request::delete("key").query("acl", ""));
    assert!(acl.status >= 400, "{acl}");
    assert_eq!(fixture.get("key").text(), "bytes");
    fixture.send(Request::delete("key").query("versionId", "null")).expect_status("the only one", 204);
    fixture.send(Request::get("key")).expect_error("gone", 404, "NoSuchKey");
}

/// What is left of a body that was refused is never taken for a request.
#[test]
fn an_unread_body_is_no_request() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("kept", b"bytes");
        let inner = Request::delete("kept").signed();
        let outer = Request::put("key").body(&inner.bytes()).coding(Coding::Unsigned).unsigned();
        let mut connection = fixture.connect();
        connection.write(&outer.bytes());
        connection.answer_to(&outer.head).expect_error("refused", 403, "AccessDenied");
        connection.finish_sending();
        connection.expect_closed("after a refusal");
        assert_eq!(fixture.get("kept").text(), "bytes", "on {engine:?}");
    });
}
