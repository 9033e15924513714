//! What is answered with success is durable: flushes that fail, and what is answered then and later.
//!
//! A flush that fails is the evidence that there was one. Faults are planned on the one core of a whole server; what is
//! lost without the flush is for the power cuts of `tests/crash`. Source: fsync(2); ARCHITECTURE.md, "One PUT".

use std::path::PathBuf;
use std::process::Command;

use uring::errno::Errno;
use uring::fault::{Fault, Nth, OperationKind, Rule};

use crate::fixture::{Fixture, on_both_engines};
use crate::request::Request;

/// One operation of a kind fails, or all from the first on.
fn fail(fixture: &Fixture, kind: OperationKind, nth: Nth, errno: Errno) {
    fixture.plan(vec![Rule { kind: Some(kind), nth, fault: Fault::Fail(errno) }]);
}

fn new_bucket() -> Request {
    Request::new("PUT", "/another")
}

#[test]
fn a_delete_is_flushed_whoever_took_the_name_away() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        for key in ["k", "d/", "d/k"] {
            fixture.put(key, b"");
        }
        std::fs::write(fixture.path("posix"), b"1").expect("a file");
        std::fs::remove_file(fixture.path("posix")).expect("removed");
        for key in ["d/k", "d/", "k", "posix"] {
            fail(&fixture, OperationKind::Sync, Nth::From(1), Errno::NOSPC);
            for name in ["the delete", "the repeated delete"] {
                let answer = fixture.send(Request::delete(key));
                answer.expect_error(&format!("{name} of {key}"), 507, "InsufficientStorage");
            }
            fixture.plan(Vec::new());
            fixture.send(Request::delete(key)).expect_status(key, 204);
        }
        // The directory may have been there a moment ago, with the name in it.
        fail(&fixture, OperationKind::Sync, Nth::From(1), Errno::NOSPC);
        fixture.send(Request::delete("none/k")).expect_error("none/k", 507, "InsufficientStorage");
        fixture.plan(Vec::new());
        fixture.send(Request::delete("none/k")).expect_status("none/k", 204);
        // Below a file there never was one.
        fixture.put("file", b"");
        fail(&fixture, OperationKind::Sync, Nth::From(1), Errno::NOSPC);
        fixture.send(Request::delete("file/k")).expect_status("file/k", 204);
        fixture.plan(Vec::new());
    });
}

#[test]
fn a_bucket_that_is_there_is_flushed_too() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fail(&fixture, OperationKind::Sync, Nth::From(1), Errno::NOSPC);
        for name in ["made", "found"] {
            fixture.send(new_bucket()).expect_error(name, 507, "InsufficientStorage");
        }
        fixture.plan(Vec::new());
        fixture.send(new_bucket()).expect_status("flushed", 200);
    });
}

/// What changes the tree, with the flushes of it that are of directories; a file's own flush stops nobody else.
fn changes(fixture: &Fixture) -> Vec<(&'static str, Request, Vec<u64>)> {
    fixture.put("d/k", b"");
    fixture.put("d/", b"");
    fixture.put("k", b"");
    let begin = || fixture.begin_upload(Request::of_key("POST", "upload"));
    let upload = begin();
    vec![
        ("PutObject", Request::put("new/k"), vec![2, 3]),
        ("PutObject of a directory", Request::put("newd/"), vec![1, 2]),
        ("DeleteObject", Request::delete("k"), vec![1]),
        ("DeleteObject of a directory", Request::delete("d/"), vec![1, 2]),
        ("CreateBucket", new_bucket(), vec![1]),
        ("CreateMultipartUpload", Request::of_key("POST", "u").query("uploads", ""), vec![2, 3, 4, 5, 6, 7]),
        ("UploadPart", Request::part("upload", &upload, 1).body(b"1"), vec![3]),
        ("DeleteObject below no directory", Request::delete("none/k"), vec![1]),
        ("AbortMultipartUpload", Request::delete("upload").query("uploadId", &begin()), vec![1]),
    ]
}

#[test]
fn a_complete_that_met_eio_is_not_acknowledged_when_it_is_repeated() {
    on_both_engines(|engine| {
        let mut refused = 0;
        for nth in 1..20 {
            let fixture = Fixture::start(engine);
            let upload = fixture.begin_upload(Request::of_key("POST", "upload"));
            let part = fixture.send(Request::part("upload", &upload, 1).body(b"1"));
            let complete =
                || Request::complete("upload", &upload, &[(1, part.header("etag").expect("an ETag"))]);
            fail(&fixture, OperationKind::Sync, Nth::Only(nth), Errno::IO);
            let answer = fixture.send(complete());
            let is_hit = fixture.counted() >= nth;
            fixture.plan(Vec::new());
            if !is_hit {
                break;
            }
            let is_suspect = fixture.send(Request::put("later")).status == 503;
            if answer.status != 200 && is_suspect {
                refused += 1;
                fixture.send(complete()).expect_error(&format!("flush {nth}"), 503, "ServiceUnavailable");
            }
        }
        assert!(refused > 0, "no flush of a directory was hit");
    });
}

/// A tmpfs that goes when the test ends, however it ends.
struct Mounted(PathBuf);

impl Mounted {
    fn new(point: PathBuf) -> Option<Mounted> {
        std::fs::create_dir_all(&point).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&point).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Mounted(point))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn eio_of_a_mount_inside_of_a_bucket_stops_that_bucket_alone() {
    on_both_engines(|engine| {
        let mut stopped = 0;
        for nth in 1..20 {
            let fixture = Fixture::start(engine);
            let points = [fixture.path("inner"), fixture.root().join("another")];
            let [Some(_inner), Some(_other)] = points.map(Mounted::new) else {
                eprintln!("SKIPPED durable::inner_mounts: mounting is refused here");
                return;
            };
            let put_elsewhere = || fixture.send(Request::new("PUT", "/another/k"));
            put_elsewhere().expect_status("before", 200);
            fail(&fixture, OperationKind::Sync, Nth::Only(nth), Errno::IO);
            fixture.send(Request::put("inner/k"));
            let is_hit = fixture.counted() >= nth;
            fixture.plan(Vec::new());
            if !is_hit {
                break;
            }
            stopped += usize::from(fixture.send(Request::put("inner/later")).status == 503);
            put_elsewhere().expect_status(&format!("flush {nth}"), 200);
        }
        assert!(stopped > 0, "no flush of a directory was hit");
    });
}

#[test]
fn after_eio_of_a_directory_nothing_more_is_promised() {
    on_both_engines(|engine| {
        let count = changes(&Fixture::start(engine)).len();
        for index in 0..count {
            let flushes = changes(&Fixture::start(engine)).swap_remove(index).2;
            for nth in flushes {
                let fixture = Fixture::start(engine);
                let (name, request, _) = changes(&fixture).swap_remove(index);
                let name = format!("{name}, flush {nth} on {engine:?}");
                fail(&fixture, OperationKind::Sync, Nth::Only(nth), Errno::IO);
                fixture.send(request);
                fixture.plan(Vec::new());
                for refused in [Request::put("later"), Request::delete("k"), new_bucket()] {
                    fixture.send(refused).expect_error(&name, 503, "ServiceUnavailable");
                }
            }
        }
    });
}
