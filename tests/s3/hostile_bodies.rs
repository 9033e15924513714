//! Bodies that are not what was said of them: nothing of them is published, and what was there stays.
//!
//! Each is tried over an object that exists. Afterwards the object is the old one, no temporary name is left and all
//! blocks are back. Source: PutObject; "Signature calculations: chunked upload"; RFC 9112 section 7.1.

use ringway::s3::base64;
use ringway::server::setting::EngineChoice;

use crate::fixture::{BUCKET, Fixture, on_both_engines, settled};
use crate::request::{Coding, Request, Signed, TRAILER, content_md5, crc32};

const OLD: &[u8] = b"what was there";
const BYTES: &[u8] =
    b"eleven times eleven bytes, more or less, which is enough for a few chunks of thirty two bytes each";

fn put(coding: Coding) -> Request {
    Request::put("key").body(BYTES).coding(coding)
}

fn check_old(fixture: &Fixture, name: &str) {
    assert_eq!(fixture.get("key").body, OLD, "{name}");
    assert!(settled(|| fixture.temporary_names().is_empty()), "{name}: {:?}", fixture.temporary_names());
    fixture.expect_blocks_back(name);
}

/// Sends a body and expects it to be refused.
fn check(fixture: &Fixture, name: &str, signed: &Signed, status: u16, code: &str) {
    let mut connection = fixture.connect();
    connection.exchange(signed).expect_error(name, status, code);
    check_old(fixture, name);
}

fn on_old_object(test: impl Fn(&Fixture)) {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("key", OLD);
        test(&fixture);
    });
}

#[test]
fn digests_that_do_not_hold() {
    on_old_object(|fixture| {
        let wrong_md5 = base64::encode(&[7; 16]);
        let request = put(Coding::Unsigned).header("content-md5", &wrong_md5);
        check(fixture, "Content-MD5", &request.signed(), 400, "BadDigest");
        let request = put(Coding::Unsigned).header("content-md5", "not a digest");
        check(fixture, "a Content-MD5 that is none", &request.signed(), 400, "InvalidDigest");
        let mut signed = put(Coding::Sha256).signed();
        signed.body[0] ^= 1;
        check(fixture, "SHA-256 of the payload", &signed, 400, "XAmzContentSHA256Mismatch");
        let lengths = [("crc32", 4), ("crc32c", 4), ("crc64nvme", 8), ("sha1", 20), ("sha256", 32)];
        for (algorithm, length) in lengths {
            let name = format!("x-amz-checksum-{algorithm}");
            let wrong = base64::encode(&vec![7; length]);
            let request = put(Coding::Unsigned).header(&name, &wrong);
            check(fixture, &name, &request.signed(), 400, "BadDigest");
            let request = put(Coding::Unsigned).header(&name, "AAAA");
            check(fixture, &name, &request.signed(), 400, "InvalidRequest");
        }
        let both = put(Coding::Unsigned).header(TRAILER, &crc32(BYTES)).header("x-amz-checksum-sha1", "AAAA");
        check(fixture, "two checksums", &both.signed(), 400, "InvalidRequest");
    });
}

#[test]
fn chunks_that_do_not_hold() {
    on_old_object(|fixture| {
        for coding in [Coding::Signed(32), Coding::SignedTrailer(32)] {
            let name = format!("{coding:?}");
            let flipped = put(coding).signed().with_body("eleven", "twelve");
            check(fixture, &name, &flipped, 403, "SignatureDoesNotMatch");
            let last = put(coding).signed().with_body("0;chunk-signature=", "0;chunk-signature=f");
            check(fixture, &name, &last, 400, "IncompleteBody");
            let no_signature = put(coding).signed().with_body(";chunk-signature=", ";chunk-sign=");
            let answer = fixture.connect().exchange(&no_signature);
            assert!(matches!(answer.status, 400 | 403), "{name}: {answer}");
            check_old(fixture, &name);
        }
        // The second chunk is good and stands where the first should.
        let signed = put(Coding::Signed(32)).decoded_bytes(BYTES.len() - 32).signed();
        let first_bytes = "20;chunk-signature=".len() + 64 + 2 + 32 + 2;
        let body = signed.body[first_bytes..].to_vec();
        let head = signed.head.clone();
        let missing = Signed { head, body }.with_head(
            &format!("content-length: {}", signed.body.len()),
            &format!("content-length: {}", signed.body.len() - first_bytes),
        );
        check(fixture, "a chunk is missing", &missing, 403, "SignatureDoesNotMatch");
    });
}

#[test]
fn trailers_that_do_not_hold() {
    on_old_object(|fixture| {
        let value = crc32(BYTES);
        let unsigned = put(Coding::UnsignedTrailer(32));
        let wrong = unsigned.signed().with_body(&value, &crc32(b"others"));
        check(fixture, "a wrong trailer", &wrong, 400, "BadDigest");
        let wrong = put(Coding::SignedTrailer(32)).signed().with_body(&value, &crc32(b"others"));
        check(fixture, "a signed trailer that was changed", &wrong, 403, "SignatureDoesNotMatch");
        let wrong = put(Coding::SignedTrailer(32)).signed();
        let wrong = wrong.with_body("trailer-signature:", "trailer-signaturf:");
        check(fixture, "no signature of the trailer", &wrong, 400, "MalformedTrailerError");
        let other = unsigned.signed().with_body(TRAILER, "x-amz-checksum-crc33");
        check(fixture, "an undeclared trailer", &other, 400, "MalformedTrailerError");
        let missing = unsigned.signed();
        let line = format!("{TRAILER}:{value}\r\n");
        let length = missing.body.len();
        let missing = missing.with_body(&line, "").with_head(
            &format!("content-length: {length}"),
            &format!("content-length: {}", length - line.len()),
        );
        check(fixture, "a trailer that does not come", &missing, 400, "MalformedTrailerError");
        let behind = unsigned.signed();
        let mut behind = behind
            .with_head(&format!("content-length: {length}"), &format!("content-length: {}", length + 4));
        behind.body.extend(b"more");
        check(fixture, "bytes behind the end", &behind, 400, "MalformedTrailerError");
    });
}

#[test]
fn lengths_that_do_not_hold() {
    on_old_object(|fixture| {
        let said = format!("x-amz-decoded-content-length: {}", BYTES.len());
        let changed = put(Coding::UnsignedTrailer(32)).signed().with_head(&said, &said.replace(": ", ": 1"));
        check(fixture, "a changed length", &changed, 403, "SignatureDoesNotMatch");
        for coding in [Coding::Signed(32), Coding::SignedTrailer(32), Coding::UnsignedTrailer(32)] {
            for length in [BYTES.len() - 1, BYTES.len() + 1] {
                let signed = put(coding).decoded_bytes(length).signed();
                check(fixture, &format!("{coding:?}, {length} said"), &signed, 400, "IncompleteBody");
            }
        }
        let none = Request::put("key").signed().with_head("content-length: 0\r\n", "");
        check(fixture, "no length at all", &none, 411, "MissingContentLength");
        // What follows such a head may be a body: it is no request.
        let mut connection = fixture.connect();
        connection.write(&none.head);
        connection.write(&Request::delete("key").signed().head);
        connection.answer_to(&none.head).expect_error("no length", 411, "MissingContentLength");
        connection.expect_closed("no length");
        check_old(fixture, "a body without a length");
        let huge = Request::put("key").header("content-length", "99999999999999999");
        check(fixture, "more than there can be", &huge.signed(), 400, "EntityTooLarge");
    });
}

/// A body that ends early; the client waits for the answer or is gone.
#[test]
fn a_body_that_ends_early() {
    on_old_object(|fixture| {
        let large = vec![b'x'; 3 << 20];
        for coding in [Coding::Unsigned, Coding::SignedTrailer(64 << 10)] {
            for sent in [0, 1, 5_000, 2 << 20] {
                let name = format!("{coding:?} cut at {sent}");
                let signed = Request::put("key").body(&large).coding(coding).signed();
                let mut connection = fixture.connect();
                connection.write(&signed.head);
                connection.write(&signed.body[..sent]);
                connection.finish_sending();
                connection.answer_to(&signed.head).expect_error(&name, 400, "IncompleteBody");
                connection.expect_closed(&name);
                check_old(fixture, &name);
                // And once more without waiting: the client is gone.
                let mut connection = fixture.connect();
                connection.write(&signed.head);
                connection.write(&signed.body[..sent]);
                fixture.let_core_turn();
                drop(connection);
                check_old(fixture, &name);
            }
        }
        assert!(settled(|| fixture
            .open_files()
            .iter()
            .all(|file| !file.to_string_lossy().contains("deleted"))));
    });
}

/// More than was announced is the next request, and no good one.
#[test]
fn a_body_longer_than_announced() {
    on_old_object(|fixture| {
        let signed = Request::put("other").body(b"bytes").signed();
        let mut connection = fixture.connect();
        connection.write(&signed.bytes());
        connection.write(b"and more\r\n\r\n");
        connection.answer_to(&signed.head).expect_status("what was announced", 200);
        connection.answer_to(b"GET ").expect_status("what was not", 400);
        connection.expect_closed("after no request");
        assert_eq!(fixture.get("other").text(), "bytes");
    });
}

#[test]
fn http_chunks_that_are_none() {
    on_old_object(|fixture| {
        for (name, body) in [
            ("no number", &b"zz\r\nbytes\r\n0\r\n\r\n"[..]),
            ("a number too large", b"fffffffffffffffff\r\nbytes"),
            ("no end of a chunk", b"5\r\nbytesXX0\r\n\r\n"),
            ("a bare line feed", b"5\nbytes\n0\n\n"),
        ] {
            let mut signed = Request::put("key").header("transfer-encoding", "chunked").signed();
            signed.body = body.to_vec();
            check(fixture, name, &signed, 400, "InvalidRequest");
        }
    });
}

/// A chunk says how long it is before its bytes come: what would be too long with it is refused there.
#[test]
fn chunks_beyond_the_longest_body() {
    on_old_object(|fixture| {
        let upload = fixture.begin_upload(Request::of_key("POST", "parts"));
        let part = || Request::part("parts", &upload, 1);
        let too_large = (400, "EntityTooLarge");
        let object_max: u64 = 10_000 * (5 << 30);
        let part_max: u64 = 5 << 30;
        let coded = |request: Request| request.coding(Coding::UnsignedTrailer(32)).unannounced();
        let announced = |request: Request| request.coding(Coding::UnsignedTrailer(32)).decoded_bytes(5);
        let hex = |bytes: u64| format!("{bytes:x}\r\n");
        let framed = |line: &str| format!("{:x}\r\n{line}\r\n", line.len());
        for (name, request, sent, (status, code)) in [
            ("an object", Request::put("key"), hex(object_max + 1), too_large),
            (
                "an object behind a chunk",
                Request::put("key"),
                "1\r\na\r\n".to_owned() + &hex(object_max),
                too_large,
            ),
            ("a part", part(), hex(part_max + 1), too_large),
            ("a coded object", coded(Request::put("key")), framed(&hex(object_max + 1)), too_large),
            ("a coded part", coded(part()), framed(&hex(part_max + 1)), too_large),
            ("more than was said", announced(Request::put("key")), framed(&hex(6)), (400, "IncompleteBody")),
        ] {
            let head = request.header("transfer-encoding", "chunked").signed().head;
            let mut connection = fixture.connect();
            connection.write(&head);
            connection.write(sent.as_bytes());
            connection.answer_to(&head).expect_error(name, status, code);
            check_old(fixture, name);
        }
    });
}

/// Documents that are no documents, or far too large.
#[test]
fn documents_that_are_bombs() {
    let fixture = Fixture::start(EngineChoice::Auto);
    fixture.put("key", OLD);
    let delete = |document: &str| {
        let request = Request::of_bucket("POST").query("delete", "").body(document.as_bytes());
        fixture.send(request.header("content-md5", &content_md5(document.as_bytes())))
    };
    let entity = "<!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let bomb = format!("{entity}<Delete><Object><Key>&b;</Key></Object></Delete>");
    delete(&bomb).expect_error("entities", 400, "MalformedXML");
    let outside = "<!DOCTYPE d [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&a;</Key></Object></Delete>";
    delete(outside).expect_error("an entity outside", 400, "MalformedXML");
    let deep = format!("<Delete>{}{}</Delete>", "<a>".repeat(10_000), "</a>".repeat(10_000));
    delete(&deep).expect_error("ten thousand levels", 400, "MalformedXML");
    delete("<Delete><Object><Key>key</Key></Object>").expect_error("no end", 400, "MalformedXML");
    delete("").expect_error("nothing", 400, "MalformedXML");
    let object = "<Object><Key>key</Key></Object>";
    delete(&format!("<Delete>{}</Delete>", object.repeat(1_001))).expect_error("1,001", 400, "MalformedXML");
    let large = format!("<Delete>{}</Delete>", " ".repeat(3 << 20));
    delete(&large).expect_error("3 MiB", 400, "MaxMessageLengthExceeded");
    let create = Request::new("PUT", "/another").body(&vec![b' '; 2 << 20]);
    fixture.send(create).expect_error("a bucket's 2 MiB", 400, "MaxMessageLengthExceeded");
    let endless = "x".repeat(100_000);
    let location = format!("<LocationConstraint>{endless}</LocationConstraint>");
    let document = format!("<CreateBucketConfiguration>{location}</CreateBucketConfiguration>");
    let answer = fixture.send(Request::new("PUT", "/another").body(document.as_bytes()));
    answer.expect_error("a long region", 400, "IllegalLocationConstraintException");
    assert!(answer.body.len() < 1_000, "{answer}");
    assert!(!fixture.root().join("another").exists());
    check_old(&fixture, BUCKET);
}
