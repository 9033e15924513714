//! Presigned URLs that carry headers as parameters, as some SDKs sign them: they count as headers, or are refused by name.
//!
//! What the signature itself refuses is tested beside `auth`. Source: Signature Version 4, "query parameters"; PutObject.

use crate::fixture::{Fixture, on_both_engines};
use crate::request::Request;

const EXPIRES_S: u32 = 60;

#[test]
fn metadata_in_a_presigned_url_is_the_objects() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let put = Request::put("k").query("x-amz-meta-a", "b c").query("x-amz-acl", "private").body(b"1");
        fixture.connect().exchange(&put.presigned(EXPIRES_S)).expect_status("metadata", 200);
        assert_eq!(fixture.get("k").header("x-amz-meta-a"), Some("b c"));
        for (name, value, status, code) in [
            ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
            ("x-amz-tagging", "a=b", 501, "NotImplemented"),
            ("x-amz-copy-source", "bucket/other", 501, "NotImplemented"),
        ] {
            let put = Request::put("k").query(name, value).body(b"2").presigned(EXPIRES_S);
            fixture.connect().exchange(&put).expect_error(name, status, code);
        }
        assert_eq!(fixture.get("k").body, b"1");
        // The same parameter of a request that carries its signature in a header is S3's to ignore.
        fixture.send(Request::put("k").query("x-amz-meta-a", "b").body(b"3")).expect_status("a header", 200);
        assert_eq!(fixture.get("k").header("x-amz-meta-a"), None);
    });
}

#[test]
fn a_bucket_may_be_made_for_the_region_of_a_profile() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let document = |region: &str| {
            format!(
                "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        let create =
            |region: &str| fixture.send(Request::new("PUT", "/elsewhere").body(document(region).as_bytes()));
        create("no_region!").expect_error("no region", 400, "IllegalLocationConstraintException");
        create("eu-central-1").expect_status("another region", 200);
    });
}
