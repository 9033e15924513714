//! Steps about objects: put, get, head, conditions, ranges, directories, deletes.
//!
//! Source: PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects; RFC 9110 sections 13 and 14.

use super::{Step, step};
use crate::request::{Request, content_md5, etag};

const DIGITS: &[u8] = b"0123456789";

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let mut steps = whole();
    steps.extend(conditional());
    steps.extend(ranged());
    steps.extend(directories());
    steps.extend(deletes());
    steps
}

fn whole() -> Vec<Step> {
    let described = Request::put("digits")
        .header("content-type", "text/x-digits")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "attachment")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-storage-class", "STANDARD");
    vec![
        step("PutObject", described.body(DIGITS)),
        step("PutObject of nothing", Request::put("nothing")),
        step(
            "PutObject with a digest",
            Request::put("md5").header("content-md5", &content_md5(DIGITS)).body(DIGITS),
        ),
        step(
            "PutObject with a wrong digest",
            Request::put("md5").header("content-md5", &content_md5(b"")).body(DIGITS),
        ),
        step("PutObject into no bucket", Request::new("PUT", "/missing/key").body(DIGITS)),
        step("PutObject under a bad key", Request::put("a//b").body(DIGITS)),
        step("PutObject below a file", Request::put("digits/below").body(DIGITS)),
        step("GetObject", Request::get("digits")),
        step("GetObject of nothing", Request::get("nothing")),
        step("GetObject of a file made by hand", Request::get("posix.txt")),
        step("GetObject of a link", Request::get("link")),
        step("GetObject of no key", Request::get("missing")),
        step("GetObject in no bucket", Request::new("GET", "/missing/key")),
        step(
            "GetObject with other headers",
            Request::get("digits")
                .query("response-content-type", "text/plain")
                .query("response-cache-control", "no-store"),
        ),
        step("GetObject of a version", Request::get("digits").query("versionId", "null")),
        step("GetObject of another version", Request::get("digits").query("versionId", "other")),
        step("HeadObject", Request::head("digits")),
        step("HeadObject of no key", Request::head("missing")),
    ]
}

fn conditional() -> Vec<Step> {
    let tag = etag(DIGITS);
    let get = |name: &str, value: &str| Request::get("digits").header(name, value);
    let past = "Sat, 29 Oct 1994 19:43:31 GMT";
    vec![
        step("If-Match that holds", get("if-match", &tag)),
        step("If-Match that does not", get("if-match", "\"00\"")),
        step("If-None-Match that holds", get("if-none-match", "\"00\"")),
        step("If-None-Match that does not", get("if-none-match", &tag)),
        step("If-Modified-Since", get("if-modified-since", past)),
        step("If-Unmodified-Since", get("if-unmodified-since", past)),
        step("HEAD with If-None-Match", Request::head("digits").header("if-none-match", "*")),
        step("PUT with If-None-Match", Request::put("digits").header("if-none-match", "*").body(b"lost")),
        step("PUT with If-Match", Request::put("digits").header("if-match", &tag).body(DIGITS)),
        step("PUT with another If-Match", Request::put("digits").header("if-match", "\"00\"").body(b"lost")),
        step("PUT with If-Match of no key", Request::put("missing").header("if-match", &tag).body(b"lost")),
    ]
}

fn ranged() -> Vec<Step> {
    let range = |range: &str| Request::get("digits").header("range", range);
    vec![
        step("a range", range("bytes=2-5")),
        step("a range to the end", range("bytes=8-")),
        step("a suffix", range("bytes=-3")),
        step("a range over the end", range("bytes=5-99")),
        step("a range beyond", range("bytes=10-")),
        step("two ranges", range("bytes=0-1,4-5")),
        step("HEAD of a range", Request::head("digits").header("range", "bytes=2-5")),
        step("If-Range that holds", range("bytes=2-5").header("if-range", &etag(DIGITS))),
        step("If-Range that does not", range("bytes=2-5").header("if-range", "\"00\"")),
    ]
}

fn directories() -> Vec<Step> {
    vec![
        step("PUT of a directory", Request::put("marked/").header("x-amz-meta-a", "b")),
        step("HEAD of a directory", Request::head("marked/")),
        step("GET of a directory", Request::get("marked/")),
        step("GET of a directory without its slash", Request::get("marked")),
        step("PUT over a directory", Request::put("marked").body(DIGITS)),
        step("PUT of a directory with bytes", Request::put("full/").body(DIGITS)),
        step("DELETE of a directory without its slash", Request::delete("marked")),
        step("DELETE of a directory", Request::delete("marked/")),
    ]
}

fn deletes() -> Vec<Step> {
    let document = "<Delete><Object><Key>nothing</Key></Object><Object><Key>missing</Key></Object>\
                    <Object><Key>md5</Key><VersionId>other</VersionId></Object></Delete>";
    let delete_objects = |document: &str| {
        let request = Request::of_bucket("POST").query("delete", "").body(document.as_bytes());
        request.header("content-md5", &content_md5(document.as_bytes()))
    };
    vec![
        step("DeleteObject", Request::delete("md5")),
        step("DeleteObject again", Request::delete("md5")),
        step("DeleteObject with another If-Match", Request::delete("digits").header("if-match", "\"00\"")),
        step("DeleteObjects", delete_objects(document)),
        step("DeleteObjects of no document", delete_objects("<Delete>")),
    ]
}
