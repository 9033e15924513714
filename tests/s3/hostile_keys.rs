//! Keys that can be no path: a write is refused, a read finds nothing, a delete succeeds, and a listing goes on.
//!
//! The first half is sent as requests that are signed, the second as bytes that no client would send.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use ringway::server::setting::EngineChoice;

use crate::fixture::{BUCKET, Fixture, files_below, on_both_engines};
use crate::request::{HOST, Request};

fn check_rule(fixture: &Fixture, name: &str, key: &str) {
    let put = fixture.send(Request::put(key).body(b"bytes"));
    put.expect_error(name, 400, "InvalidArgument");
    fixture.send(Request::get(key)).expect_error(name, 404, "NoSuchKey");
    fixture.send(Request::head(key)).expect_status(name, 404);
    fixture.send(Request::delete(key)).expect_status(name, 204);
    let list = fixture.send(Request::of_bucket("GET").query("list-type", "2").query("prefix", key));
    list.expect_status(name, 200);
    assert!(list.text().contains("<KeyCount>0</KeyCount>"), "{name}: {list}");
}

#[test]
fn keys_that_break_a_rule() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        std::fs::write(fixture.root().join("secret"), b"outside the bucket").expect("the tree is ours");
        let long = "k".repeat(300);
        for (name, key) in [
            ("up", "../secret"),
            ("up from below", "a/../../secret"),
            ("dot", "a/./b"),
            ("two dots at the end", "a/.."),
            ("an empty component", "a//b"),
            ("a slash first", "/a"),
            ("two slashes last", "a//"),
            ("a component of 300 bytes", &long),
            ("a component of 300 bytes below", &format!("a/{long}/b")),
            ("a reserved name", ".ringway-tmp-1-2"),
            ("a reserved name below", "a/.ringway/b"),
            ("a control character", "a\u{1}b"),
            ("a NUL", "a\0b"),
        ] {
            check_rule(&fixture, name, key);
        }
        let made = files_below(&fixture.path(""));
        assert!(made.is_empty(), "{made:?} on {engine:?}");
        assert!(!fixture.path("a").exists(), "no parents of a refused key on {engine:?}");
    });
}

/// No object can have such a key, whoever asks; what stands for its bytes in messages is a key of its own.
#[test]
fn keys_that_are_no_text() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("a\u{fffd}b", b"replaced");
        for key in [&b"a\xffb"[..], b"\xc3", b"a/\xed\xa0\x80/b", b"\xff/"] {
            let name = format!("{} on {engine:?}", key.escape_ascii());
            let send = |method| fixture.send(Request::of_key_bytes(method, key));
            send("PUT").expect_error(&name, 400, "InvalidArgument");
            send("GET").expect_error(&name, 404, "NoSuchKey");
            send("HEAD").expect_status(&name, 404);
            send("DELETE").expect_status(&name, 204);
            let upload = Request::of_key_bytes("POST", key).query("uploads", "");
            fixture.send(upload).expect_error(&name, 400, "InvalidArgument");
            let list = Request::of_key_bytes("GET", key).query("uploadId", "none");
            fixture.send(list).expect_error(&name, 404, "NoSuchUpload");
        }
        assert_eq!(fixture.get("a\u{fffd}b").text(), "replaced");
        assert_eq!(files_below(&fixture.path("")).len(), 1, "on {engine:?}");
    });
}

/// The bucket is missed first, whatever the key.
#[test]
fn keys_of_no_bucket() {
    let fixture = Fixture::start(EngineChoice::Auto);
    for key in ["a//b", "../a", "plain", "a\u{1}b"] {
        let of = |method| Request::new(method, &format!("/nobucket/{key}"));
        fixture.send(of("GET")).expect_error(key, 404, "NoSuchBucket");
        fixture.send(of("HEAD")).expect_status(key, 404);
        fixture.send(of("DELETE")).expect_error(key, 404, "NoSuchBucket");
        let part = of("PUT").query("partNumber", "1").query("uploadId", "u").body(b"part");
        fixture.send(part).expect_error(key, 404, "NoSuchBucket");
        let complete = of("POST").query("uploadId", "u").body(b"<CompleteMultipartUpload/>");
        fixture.send(complete).expect_error(key, 404, "NoSuchBucket");
    }
}

#[test]
fn keys_that_are_too_long() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let key = |bytes: usize| "component/".repeat(bytes).get(..bytes).expect("ASCII").to_owned();
    let long = key(2_001);
    for method in ["PUT", "GET", "DELETE"] {
        let answer = fixture.send(Request::of_key(method, &long));
        answer.expect_error(&format!("2,001 bytes, {method}"), 400, "KeyTooLongError");
    }
    fixture.send(Request::put(&key(1_025)).body(b"b")).expect_error("1,025 bytes", 400, "KeyTooLongError");
    let longest = key(1_024);
    fixture.put(&longest, b"bytes");
    assert_eq!(fixture.get(&longest).text(), "bytes");
    fixture.send(Request::delete(&longest)).expect_status("the longest", 204);
    let component = "c".repeat(255);
    fixture.put(&component, b"bytes");
    assert_eq!(std::fs::read(fixture.path(&component)).expect("a file"), b"bytes");
}

/// Targets as bytes: what no URL library makes.
#[test]
fn targets_that_are_no_keys() {
    let fixture = Fixture::start(EngineChoice::Auto);
    std::fs::write(fixture.root().join("secret"), b"outside the bucket").expect("the tree is ours");
    for (name, target) in [
        ("invalid UTF-8", "/bkt/a%FFb"),
        ("half a character", "/bkt/%C3"),
        ("a surrogate", "/bkt/%ED%A0%80"),
        ("no digits behind the percent", "/bkt/a%zz"),
        ("an encoded NUL", "/bkt/a%00b"),
        ("encoded dots", "/bkt/%2e%2e/secret"),
        ("encoded slashes", "/bkt/..%2fsecret"),
        ("dots above the bucket", "/../secret"),
        ("a bucket of dots", "/../../etc/passwd"),
        ("the state directory", "/.ringway/root-key"),
        ("a reserved bucket", "/.ringway"),
    ] {
        let mut connection = fixture.connect();
        let head = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        connection.write(head.as_bytes());
        let answer = connection.answer_to(head.as_bytes());
        assert!((400..=404).contains(&answer.status), "{name}: {answer}");
        assert!(!answer.text().contains("outside"), "{name}: {answer}");
        // And with a signature that would be good.
        let decoded = target.replace("%2e", ".").replace("%2f", "/");
        if !decoded.contains('%') {
            let answer = fixture.send(Request::new("GET", &decoded));
            assert!((400..=404).contains(&answer.status), "{name}, signed: {answer}");
        }
    }
}

#[test]
fn ranges_that_lie_beyond() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("ten", b"0123456789");
        fixture.put("none", b"");
        let range = |key: &str, range: &str| fixture.send(Request::get(key).header("range", range));
        range("ten", "bytes=10-").expect_error("at the end", 416, "InvalidRange");
        range("ten", "bytes=-0").expect_error("no suffix", 416, "InvalidRange");
        range("none", "bytes=0-0").expect_error("of nothing", 416, "InvalidRange");
        range("ten", "bytes=99999999999999999999-").expect_error("beyond numbers", 416, "InvalidRange");
        for (name, wanted, status, body) in [
            ("over the end", "bytes=8-99", 206, "89"),
            ("a long suffix", "bytes=-99", 206, "0123456789"),
            ("the last", "bytes=-1", 206, "9"),
            ("backwards", "bytes=5-2", 200, "0123456789"),
            ("no unit", "5-6", 200, "0123456789"),
            ("two ranges", "bytes=0-1,3-4", 200, "0123456789"),
        ] {
            let answer = range("ten", wanted);
            assert_eq!((answer.status, answer.text()), (status, body), "{name} on {engine:?}: {answer}");
        }
    });
}

#[test]
fn buckets_that_have_no_name() {
    let fixture = Fixture::start(EngineChoice::Auto);
    for (name, bucket) in [
        ("short", "ab"),
        ("long", &*"b".repeat(64)),
        ("upper case", "Bucket"),
        ("an address", "192.168.0.1"),
        ("a dot first", ".bucket"),
        ("two dots", "a..b"),
        ("an underscore", "a_bucket"),
    ] {
        let answer = fixture.send(Request::new("PUT", &format!("/{bucket}")));
        answer.expect_error(name, 400, "InvalidBucketName");
        assert!(!fixture.root().join(bucket).exists(), "{name}");
    }
    let list = fixture.send(Request::new("GET", "/"));
    assert_eq!(list.text().matches("<Bucket>").count(), 1, "{list}");
    assert!(list.text().contains(BUCKET), "{list}");
}
