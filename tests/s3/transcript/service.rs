//! Steps about the service, buckets and listings, and about what is refused before any operation.
//!
//! The bucket holds `posix.txt`, which was made by hand, and a link to it; another bucket, `full`, holds one object.
//! Source: ListBuckets, CreateBucket, HeadBucket, GetBucketLocation, ListObjects, ListObjectsV2, DeleteBucket.

use super::{Step, raw, step};
use crate::request::{HOST, Request, Signed};

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let mut steps = buckets();
    steps.extend(listings());
    steps.extend(refusals());
    steps
}

fn buckets() -> Vec<Step> {
    let create = |document: &str| Request::new("PUT", "/second").body(document.as_bytes());
    vec![
        step("ListBuckets", Request::new("GET", "/")),
        step("HeadBucket", Request::of_bucket("HEAD")),
        step("HeadBucket of none", Request::new("HEAD", "/missing")),
        step("GetBucketLocation", Request::of_bucket("GET").query("location", "")),
        step("CreateBucket", create("")),
        step("CreateBucket again", create("")),
        step("CreateBucket with another document", create("<Other/>")),
        step("CreateBucket under a bad name", Request::new("PUT", "/Bad_Name")),
        step("DeleteBucket", Request::new("DELETE", "/second")),
        step("DeleteBucket of none", Request::new("DELETE", "/second")),
        step("DeleteBucket that is not empty", Request::new("DELETE", "/full")),
    ]
}

fn listings() -> Vec<Step> {
    let list = || Request::of_bucket("GET").query("list-type", "2");
    vec![
        step("PUT for listings", Request::put("dir/a b").body(b"1")),
        step("PUT for listings, below", Request::put("dir/sub/c").body(b"22")),
        step("ListObjectsV2", list()),
        step("ListObjectsV2 with a delimiter", list().query("delimiter", "/")),
        step(
            "ListObjectsV2 with a prefix, encoded",
            list().query("prefix", "dir/a b").query("encoding-type", "url"),
        ),
        step("ListObjectsV2, one key a page", list().query("max-keys", "1").query("start-after", "dir/a b")),
        step("ListObjectsV2 with owners", list().query("fetch-owner", "true").query("prefix", "dir/sub")),
        step("ListObjectsV2 with a bad token", list().query("continuation-token", "?")),
        step("ListObjects", Request::of_bucket("GET").query("delimiter", "/").query("max-keys", "1")),
        step("ListObjects behind a marker", Request::of_bucket("GET").query("marker", "dir/a b")),
        step("ListObjects of none", Request::new("GET", "/missing")),
    ]
}

fn refusals() -> Vec<Step> {
    let head = |text: &str| Signed { head: text.as_bytes().to_vec(), body: Vec::new() };
    vec![
        raw("a request without a signature", Request::get("posix.txt").unsigned()),
        raw(
            "a signature that is wrong",
            Request::get("posix.txt").signed().with_head("bkt/posix.txt", "bkt/posix.tx"),
        ),
        raw(
            "an unknown access key",
            Request::get("posix.txt").signed().with_head("Credential=AKID", "Credential=XKID"),
        ),
        step("an operation that is not built", Request::of_bucket("GET").query("acl", "")),
        raw("no HTTP", head("hello\r\n\r\n")),
        raw("no host", head("GET / HTTP/1.1\r\n\r\n")),
        raw(
            "a length and a coding",
            head(&format!(
                "PUT /bkt/k HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
            )),
        ),
        raw("a version of the future", head(&format!("GET / HTTP/3.0\r\nhost: {HOST}\r\n\r\n"))),
    ]
}
