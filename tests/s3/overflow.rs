//! Metadata that the filesystem refuses as an attribute for its size: it lies in a sidecar, and clients see no difference.
//!
//! On ext4 all attributes of a file share one block of 4 KiB, and the JSON doubles quotes and backslashes; where the
//! filesystem takes more, the same requests show that nothing is lost on the short way. What a sidecar survives is tested
//! beside the product's code, where servers come and go on one tree.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use uring::errno::Errno;
use uring::fault::{Fault, Nth, OperationKind, Rule};

use crate::connection::Answer;
use crate::fixture::{Fixture, on_both_engines, settled};
use crate::request::Request;

/// The longest user metadata there is, of a character that JSON writes as two.
fn doubled(sign: &str) -> String {
    sign.repeat(2048 - "a".len())
}

fn disposition() -> String {
    format!("attachment; filename=\"{}\"", "x".repeat(5_000))
}

fn large(request: Request) -> Request {
    request.header("x-amz-meta-a", &doubled("\"")).header("content-disposition", &disposition())
}

fn expect_large(answer: &Answer, name: &str) {
    answer.expect_status(name, 200);
    assert_eq!(answer.header("x-amz-meta-a"), Some(doubled("\"").as_str()), "{name}");
    assert_eq!(answer.header("content-disposition"), Some(disposition().as_str()), "{name}");
}

/// The next attribute is refused for its size, as ext4 does it, also where the filesystem has room.
fn refuse_attribute(fixture: &Fixture) {
    let fault = Fault::Fail(Errno::NOSPC);
    fixture.plan(vec![Rule { kind: Some(OperationKind::SetAttribute), nth: Nth::Only(1), fault }]);
}

fn posix(program: &str, arguments: &[&str], fixture: &Fixture) {
    let done = Command::new(program).args(arguments).current_dir(fixture.path("")).status();
    assert!(done.expect("it runs").success(), "{program} {arguments:?}");
}

#[test]
fn whatever_the_filesystem_refuses_is_kept() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        for (name, header, value) in [
            ("quotes", "x-amz-meta-a", doubled("\"")),
            ("backslashes", "x-amz-meta-a", doubled("\\")),
            ("a long header", "content-disposition", disposition()),
        ] {
            let put = fixture.send(Request::put("a/key").header(header, &value).body(b"bytes"));
            put.expect_status(name, 200);
            for answer in [fixture.send(Request::head("a/key")), fixture.get("a/key")] {
                assert_eq!(answer.header(header), Some(value.as_str()), "{name} on {engine:?}");
            }
        }
        fixture.send(large(Request::put("dir/"))).expect_status("a directory", 200);
        expect_large(&fixture.send(Request::head("dir/")), "a directory");
    });
}

#[test]
fn an_upload_in_parts_keeps_it() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let upload = fixture.begin_upload(large(Request::of_key("POST", "parts")));
        let part = fixture.send(Request::part("parts", &upload, 1).body(b"bytes"));
        let tag = part.header("etag").expect("an ETag");
        fixture.send(Request::complete("parts", &upload, &[(1, tag)])).expect_status("complete", 200);
        expect_large(&fixture.get("parts"), "an upload");
    });
}

#[test]
fn copies_and_renames_by_posix_users_keep_it() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        refuse_attribute(&fixture);
        fixture.send(large(Request::put("key")).body(b"bytes")).expect_status("put", 200);
        let made = fixture.sidecars();
        assert_eq!(made.len(), 1, "{made:?}");
        let mode = std::fs::metadata(&made[0]).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "a sidecar is for nobody else to read");
        std::fs::create_dir(fixture.root().join("other")).expect("a second bucket");
        posix("cp", &["-a", "key", "copied"], &fixture);
        posix("cp", &["-a", "key", "../other/copied"], &fixture);
        posix("cp", &["-a", "key", "before"], &fixture);
        posix("mv", &["before", "renamed"], &fixture);
        fixture.put("key", b"another object");
        assert_eq!(fixture.get("key").header("x-amz-meta-a"), None);
        for key in ["copied", "renamed"] {
            expect_large(&fixture.get(key), key);
        }
        fixture.send(Request::delete("key")).expect_status("delete", 204);
        expect_large(&fixture.get("copied"), "after the delete");
        expect_large(&fixture.send(Request::new("GET", "/other/copied")), "in another bucket");
    });
}

#[test]
fn a_lost_sidecar_takes_no_bytes_with_it() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        refuse_attribute(&fixture);
        let put =
            fixture.send(large(Request::put("key")).header("content-type", "text/plain").body(b"bytes"));
        put.expect_status("put", 200);
        for sidecar in fixture.sidecars() {
            std::fs::remove_file(sidecar).expect("removed");
        }
        let answer = fixture.get("key");
        assert_eq!((answer.body.as_slice(), answer.header("x-amz-meta-a")), (&b"bytes"[..], None));
        assert_eq!(answer.header("etag"), put.header("etag"), "the record is whole");
    });
}

#[test]
fn a_put_that_fails_leaves_no_sidecar() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("key", b"old");
        let late =
            |kind, nth| Rule { kind: Some(kind), nth: Nth::Only(nth), fault: Fault::Fail(Errno::NOSPC) };
        // The attribute that does not fit, and then: the reference to the sidecar, or the name of the object.
        for (name, rules) in [
            (
                "the reference",
                vec![late(OperationKind::SetAttribute, 1), late(OperationKind::SetAttribute, 2)],
            ),
            ("the name", vec![late(OperationKind::SetAttribute, 1), late(OperationKind::Link, 1)]),
        ] {
            fixture.plan(rules);
            let put = fixture.send(large(Request::put("new/key")).body(b"bytes"));
            put.expect_error(name, 507, "InsufficientStorage");
            fixture.plan(Vec::new());
            assert!(
                settled(|| fixture.sidecars().is_empty()),
                "{name} on {engine:?}: {:?}",
                fixture.sidecars()
            );
        }
    });
}
