//! Uploads in parts that go wrong: what was acknowledged stays, and what is refused changes nothing.
//!
//! Parts here are of the smallest sizes that may have others behind them. How parts lie on disk is tested in src/fs.
//! Source: UploadPart, CompleteMultipartUpload, "Amazon S3 multipart upload limits".

use std::thread;

use ringway::server::setting::{Durability, EngineChoice};

use crate::connection::Answer;
use crate::fixture::{BUCKET, Fixture, files_below, on_both_engines, settled};
use crate::request::{Coding, Request, etag, etag_of_parts};

const PART_BYTES: usize = 5 << 20;
const KEY: &str = "above/object";

fn bytes_of(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| ((index / 3 + seed * 31) % 251) as u8).collect()
}

fn begin(fixture: &Fixture) -> String {
    fixture.begin_upload(Request::of_key("POST", KEY))
}

fn put_part(fixture: &Fixture, upload: &str, number: u32, bytes: &[u8]) -> String {
    let answer = fixture.send(Request::part(KEY, upload, number).body(bytes));
    answer.expect_status("a part", 200);
    assert_eq!(answer.header("etag"), Some(etag(bytes).as_str()));
    etag(bytes)
}

fn complete(fixture: &Fixture, upload: &str, parts: &[(u32, &str)]) -> Answer {
    fixture.send(Request::complete(KEY, upload, parts))
}

/// Expects the parts to be the object.
fn check_object(fixture: &Fixture, name: &str, parts: &[&[u8]]) {
    let object = fixture.get(KEY);
    assert!(object.body == parts.concat(), "{name}: {} bytes", object.body.len());
    assert_eq!(object.header("etag"), Some(etag_of_parts(parts).as_str()), "{name}");
}

#[test]
fn completes_that_are_refused() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let upload = begin(&fixture);
        let (small, last) = (bytes_of(5_000, 1), bytes_of(100, 2));
        let first = put_part(&fixture, &upload, 1, &small);
        let second = put_part(&fixture, &upload, 2, &last);
        let refused = |name: &str, parts: &[(u32, &str)], code: &str| {
            complete(&fixture, &upload, parts).expect_error(name, 400, code);
            fixture.send(Request::get(KEY)).expect_error(name, 404, "NoSuchKey");
        };
        refused("the wrong order", &[(2, &second), (1, &first)], "InvalidPartOrder");
        refused("a part twice", &[(1, &first), (1, &first)], "InvalidPartOrder");
        refused("a missing part", &[(1, &first), (3, &second)], "InvalidPart");
        refused("a wrong tag", &[(1, &second)], "InvalidPart");
        refused("a first part that is too small", &[(1, &first), (2, &second)], "EntityTooSmall");
        refused("no parts", &[], "MalformedXML");
        // Whether there is an upload comes before what is said of it.
        let nonsense = |upload: &str| Request::of_key("POST", KEY).query("uploadId", upload).body(b"<x");
        fixture.send(nonsense(&upload)).expect_error("no document", 400, "MalformedXML");
        fixture.send(nonsense("none")).expect_error("of no upload", 404, "NoSuchUpload");
        for number in [0, 10_001] {
            let part = fixture.send(Request::part(KEY, &upload, number).body(b"bytes"));
            part.expect_error(&format!("part {number}"), 400, "InvalidArgument");
        }
        let other = fixture.send(Request::part("another/key", &upload, 1).body(b"bytes"));
        other.expect_error("another key", 404, "NoSuchUpload");
        // After all that the upload is still good.
        complete(&fixture, &upload, &[(1, &first)]).expect_status("one part", 200);
        check_object(&fixture, "one part", &[&small]);
        complete(&fixture, &upload, &[(1, &first)]).expect_status("asked again", 200);
        fixture.send(Request::part(KEY, &upload, 3).body(b"late")).expect_error("late", 404, "NoSuchUpload");
        check_object(&fixture, "asked again", &[&small]);
    });
}

#[test]
fn a_repeated_part_that_fails_leaves_the_first() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let upload = begin(&fixture);
        let parts = [bytes_of(PART_BYTES, 1), bytes_of(7_777, 2)];
        let tags: Vec<String> =
            parts.iter().zip(1..).map(|(part, number)| put_part(&fixture, &upload, number, part)).collect();
        let other = bytes_of(PART_BYTES, 3);
        let again = || Request::part(KEY, &upload, 1).body(&other).coding(Coding::Signed(64 << 10));
        let mut cut = again().signed();
        cut.body.truncate(3 << 20);
        let mut connection = fixture.connect();
        connection.write(&cut.bytes());
        connection.finish_sending();
        connection.answer_to(&cut.head).expect_error("cut", 400, "IncompleteBody");
        let mut changed = again().signed();
        changed.body[4 << 20] ^= 1;
        fixture.connect().exchange(&changed).expect_error("changed", 403, "SignatureDoesNotMatch");
        complete(&fixture, &upload, &[(1, &tags[0]), (2, &tags[1])]).expect_status("Complete", 200);
        check_object(&fixture, &format!("on {engine:?}"), &[&parts[0], &parts[1]]);
        fixture.expect_blocks_back("after repeated parts");
    });
}

#[test]
fn parts_of_any_size_in_any_order() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let shapes: [(&str, &[usize], &[usize]); 3] = [
            ("the short last one first", &[PART_BYTES, PART_BYTES, 1_234], &[2, 0, 1]),
            ("no multiple of 4096", &[PART_BYTES + 1, PART_BYTES + 1, 77], &[0, 1, 2]),
            ("not uniform", &[PART_BYTES + 4_096, PART_BYTES, PART_BYTES + 3], &[1, 2, 0]),
        ];
        for (name, sizes, order) in shapes {
            let upload = begin(&fixture);
            let parts: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(index, size)| bytes_of(*size, index)).collect();
            for index in order {
                put_part(&fixture, &upload, *index as u32 + 1, &parts[*index]);
            }
            let tags: Vec<String> = parts.iter().map(|part| etag(part)).collect();
            let listed: Vec<(u32, &str)> = (1..).zip(tags.iter().map(String::as_str)).collect();
            complete(&fixture, &upload, &listed).expect_status(name, 200);
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            check_object(&fixture, &format!("{name} on {engine:?}"), &parts);
        }
    });
}

/// A part that is on its way when its upload ends: refused, or in time; never half in the object.
#[test]
fn a_part_races_with_complete_and_abort() {
    on_both_engines(|engine| {
        let fixture = Fixture::start_with(engine, Durability::Data);
        let (first, other) = (bytes_of(300_000, 1), bytes_of(300_000, 2));
        for round in 0..40 {
            let name = format!("round {round} on {engine:?}");
            let upload = begin(&fixture);
            let tag = put_part(&fixture, &upload, 1, &first);
            let (part, end) = thread::scope(|scope| {
                let part = scope.spawn(|| fixture.send(Request::part(KEY, &upload, 1).body(&other)));
                let end = match round % 2 {
                    0 => complete(&fixture, &upload, &[(1, &tag)]),
                    _ => fixture.send(Request::delete(KEY).query("uploadId", &upload)),
                };
                (part.join().expect("an answer"), end)
            });
            assert!(part.status == 200 || part.code() == "NoSuchUpload", "{name}: {part}");
            match end.status {
                200 => check_object(&fixture, &name, &[&first]),
                // The other part was in time, so this tag is none of the upload's any more.
                400 => end.expect_error(&name, 400, "InvalidPart"),
                status => assert_eq!((status, round % 2), (204, 1), "{name}: {end}"),
            }
            if end.status == 400 {
                fixture.send(Request::delete(KEY).query("uploadId", &upload)).expect_status(&name, 204);
            }
            fixture.send(Request::delete(KEY)).expect_status(&name, 204);
        }
        fixture.expect_blocks_back("after races");
    });
}

#[test]
fn an_abort_leaves_nothing() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let upload = begin(&fixture);
    put_part(&fixture, &upload, 1, &bytes_of(PART_BYTES, 1));
    put_part(&fixture, &upload, 3, &bytes_of(50_000, 2));
    fixture.send(Request::delete(KEY).query("uploadId", &upload)).expect_status("Abort", 204);
    fixture.send(Request::part(KEY, &upload, 2).body(b"late")).expect_error("late", 404, "NoSuchUpload");
    complete(&fixture, &upload, &[(1, "\"00\"")]).expect_error("Complete", 404, "NoSuchUpload");
    let large = || {
        let files = files_below(fixture.root());
        files
            .into_iter()
            .filter(|file| file.metadata().is_ok_and(|file| file.len() > 49_999))
            .collect::<Vec<_>>()
    };
    assert!(settled(|| large().is_empty()), "{:?}", large());
    assert!(files_below(&fixture.path("")).is_empty(), "nothing in {BUCKET}");
}
