//! Objects that are read by the numbers of their parts: GET and HEAD say the same of each, and of those that are not there.
//!
//! Source: GetObject and HeadObject, parameter partNumber, headers Content-Range and x-amz-mp-parts-count.

use ringway::server::setting::EngineChoice;

use crate::connection::Answer;
use crate::fixture::{Fixture, on_both_engines};
use crate::request::{Request, crc32};

const PART_BYTES: usize = 5 << 20;

fn bytes_of(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| ((index / 5 + seed * 37) % 251) as u8).collect()
}

/// Uploads an object in parts under these numbers.
fn upload(fixture: &Fixture, key: &str, parts: &[(u32, &[u8])]) {
    let id = fixture.begin_upload(Request::of_key("POST", key));
    let tags: Vec<(u32, String)> = parts
        .iter()
        .map(|(number, bytes)| {
            let answer = fixture.send(Request::part(key, &id, *number).body(bytes));
            (*number, answer.header("etag").expect("an ETag").to_owned())
        })
        .collect();
    let listed: Vec<(u32, &str)> = tags.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
    fixture.send(Request::complete(key, &id, &listed)).expect_status(key, 200);
}

/// GET and HEAD of a part; their heads must say the same.
fn part(fixture: &Fixture, key: &str, number: usize) -> Answer {
    let ask = |request: Request| fixture.send(request.query("partNumber", &number.to_string()));
    let (get, head) = (ask(Request::get(key)), ask(Request::head(key)));
    let said = |answer: &Answer| {
        ["content-range", "content-length", "etag", "x-amz-mp-parts-count"]
            .map(|name| answer.header(name).map(str::to_owned))
    };
    assert_eq!((get.status, said(&get)), (head.status, said(&head)), "part {number} of {key}");
    get
}

/// Expects these parts, one behind the other, and none behind the last; want: the count that is said, if one is.
fn check(fixture: &Fixture, key: &str, parts: &[&[u8]], count: Option<&str>) {
    let whole = parts.concat();
    let mut offset = 0;
    for (number, bytes) in (1..).zip(parts) {
        let answer = part(fixture, key, number);
        answer.expect_status(&format!("part {number} of {key}"), 206);
        let range = format!("bytes {offset}-{}/{}", offset + bytes.len() - 1, whole.len());
        assert_eq!(answer.header("content-range"), Some(range.as_str()), "part {number} of {key}");
        assert_eq!(answer.header("x-amz-mp-parts-count"), count, "part {number} of {key}");
        assert!(answer.body == *bytes, "part {number} of {key}");
        offset += bytes.len();
    }
    let beyond = part(fixture, key, parts.len() + 1);
    beyond.expect_error(key, 416, "InvalidPartNumber");
    let actual = format!("<ActualPartCount>{}</ActualPartCount>", parts.len());
    assert!(beyond.text().contains(&actual), "{beyond}");
    let plain = fixture.get(key);
    assert_eq!(plain.header("x-amz-mp-parts-count"), None, "{key}");
    assert!(plain.body == whole, "{key}");
}

#[test]
fn objects_that_were_uploaded_in_parts() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let (first, second) = (bytes_of(PART_BYTES, 1), bytes_of(PART_BYTES, 2));
        let (longer, last) = (bytes_of(PART_BYTES + 4_097, 3), bytes_of(1_001, 4));
        upload(&fixture, "uniform", &[(1, &first), (2, &second), (3, &last)]);
        check(&fixture, "uniform", &[&first, &second, &last], Some("3"));
        // Parts are counted as they lie, whatever numbers they came under.
        upload(&fixture, "uneven", &[(2, &first), (7, &longer), (8, &last)]);
        check(&fixture, "uneven", &[&first, &longer, &last], Some("3"));
        upload(&fixture, "one", &[(1, &last)]);
        check(&fixture, "one", &[&last], Some("1"));
        // A write by hand leaves a file that nobody knows parts of.
        std::fs::write(fixture.path("uniform"), &last).expect("written");
        check(&fixture, "uniform", &[&last], None);
    });
}

#[test]
fn objects_that_were_not() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("plain", b"0123456789");
        check(&fixture, "plain", &[b"0123456789"], None);
        std::fs::write(fixture.path("by hand"), b"bytes").expect("written");
        check(&fixture, "by hand", &[b"bytes"], None);
        fixture.put("empty", b"");
        let empty = part(&fixture, "empty", 1);
        assert_eq!((empty.status, empty.header("content-range")), (200, None), "{empty}");
        part(&fixture, "empty", 2).expect_error("of nothing", 416, "InvalidPartNumber");
    });
}

#[test]
fn part_numbers_beside_other_headers() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let put = Request::put("plain").header("x-amz-checksum-crc32", &crc32(b"0123456789"));
    let etag = fixture.send(put.body(b"0123456789")).header("etag").expect("an ETag").to_owned();
    let first = || Request::get("plain").query("partNumber", "1");
    let both = fixture.send(first().header("range", "bytes=0-1"));
    both.expect_error("a range too", 400, "InvalidRequest");
    fixture.send(first().header("if-none-match", &etag)).expect_status("known", 304);
    let checked = fixture.send(first().header("x-amz-checksum-mode", "ENABLED"));
    checked.expect_status("with its checksum", 206);
    assert_eq!(checked.header("x-amz-checksum-crc32"), Some(crc32(b"0123456789").as_str()));
    for number in ["0", "10001", "-1", ""] {
        let answer = fixture.send(Request::get("plain").query("partNumber", number));
        answer.expect_error(number, 400, "InvalidArgument");
    }
}
