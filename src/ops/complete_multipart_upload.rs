//! CompleteMultipartUpload: the parts a client names become the object.
//!
//! What the request says is judged at once; the object is made by a slow response, so that the client is not left without
//! a byte when much has to be copied or a disk is slow. Asked for again, it answers the same.
//! Source: CompleteMultipartUpload.

use crate::fs::bucket::Bucket;
use crate::fs::multipart::complete::{self, Completed, Completion, Destination, Planned};
use crate::fs::multipart::upload;
use crate::http::head::RequestHead;
use crate::ops::call::Call;
use crate::ops::response::{Body, Response};
use crate::s3::checksum::{Algorithm, Checksum, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::names::{BucketName, ObjectKey};
use crate::s3::precondition::WriteCondition;
use crate::s3::xml::multipart::{self, CompletedUpload};

/// Completes an upload.
///
/// Errors: NoSuchUpload, MalformedXML, InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, InvalidRequest,
/// PreconditionFailed, and those of the filesystem; the upload is there then.
pub async fn complete_multipart_upload(call: &Call<'_>, document: &[u8]) -> Result<Response, S3Error> {
    let id = call.route.upload_id()?;
    let (bucket_name, key) = (call.bucket()?.clone(), call.key()?.clone());
    let bucket = Bucket::open(call.tree(), &bucket_name, call.identity()).await?;
    let path = call.path_to_read()?.ok_or_else(|| upload::no_such_upload(&id))?;
    let tree = call.service.tree.clone();
    let destination = Destination { tree, bucket, key: key.clone(), path, identity: call.identity() };
    let location = location_of(call.head);
    let plan = match complete::plan(destination, &id, || completion_of(call.head, document)).await? {
        Planned::Done(completed) => {
            return Ok(Response::xml(document_of(&location, &bucket_name, &key, &completed)));
        }
        Planned::Ready(plan) => plan,
    };
    let now_ns = call.now_unix_ns;
    let finish = async move {
        let completed = plan.run(now_ns).await?;
        Ok(document_of(&location, &bucket_name, &key, &completed))
    };
    Ok(Response { body: Body::Slow(Box::pin(finish)), ..Response::empty(200) })
}

/// What the client asks for; read only when there is an upload, because the document may be long.
fn completion_of(head: &RequestHead, document: &[u8]) -> Result<Completion, S3Error> {
    Ok(Completion {
        parts: multipart::read_complete(document)?,
        condition: WriteCondition::of_put(head)?,
        object_bytes: object_bytes_of(head)?,
        checksum: checksum_of(head)?,
        checksum_type: checksum_type_of(head)?,
    })
}

fn document_of(location: &str, bucket: &BucketName, key: &ObjectKey, completed: &Completed) -> String {
    let (etag, checksum) = (completed.etag, completed.checksum.as_ref());
    multipart::write_completed(&CompletedUpload { location, bucket, key, etag, checksum })
}

/// The object's address as this client reaches it: the request's own, whether host or path names the bucket.
fn location_of(head: &RequestHead) -> String {
    let host = head.authority().or_else(|| head.header_text("host")).unwrap_or_default();
    format!("http://{host}{}", head.raw_path())
}

fn object_bytes_of(head: &RequestHead) -> Result<Option<u64>, S3Error> {
    let Some(text) = head.header_text("x-amz-mp-object-size") else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = text.parse().ok().filter(|_| digits);
    bytes.map(Some).ok_or_else(|| invalid("Value for x-amz-mp-object-size header is invalid.".to_owned()))
}

/// The object's checksum; its part count may be missing.
fn checksum_of(head: &RequestHead) -> Result<Option<Checksum>, S3Error> {
    let mut said = Algorithm::ALL
        .into_iter()
        .filter_map(|algorithm| head.header_text(algorithm.header()).map(|text| (algorithm, text)));
    let Some((algorithm, text)) = said.next() else { return Ok(None) };
    if said.next().is_some() {
        return Err(invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.".to_owned(),
        ));
    }
    let checksum = Checksum::parse(algorithm, text);
    checksum.map(Some).ok_or_else(|| invalid(format!("Value for {} header is invalid.", algorithm.header())))
}

fn checksum_type_of(head: &RequestHead) -> Result<Option<ChecksumType>, S3Error> {
    let Some(text) = head.header_text("x-amz-checksum-type") else { return Ok(None) };
    let checksum_type = ChecksumType::of_wire(text);
    checksum_type
        .map(Some)
        .ok_or_else(|| invalid("Value for x-amz-checksum-type header is invalid.".to_owned()))
}

fn invalid(message: String) -> S3Error {
    S3Error::new(Code::InvalidRequest).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Parsed;
    use crate::s3::headers::tests::head_of;

    /// What is said of the object, as `size checksum type`, or the code.
    fn check(headers: &[(&str, &str)], want: Result<&str, Code>) {
        let head = head_of("POST", "/b/k?uploadId=u", headers);
        let said = || {
            let size = object_bytes_of(&head)?.map_or("-".to_owned(), |bytes| bytes.to_string());
            let checksum = checksum_of(&head)?.map_or("-".to_owned(), |checksum| checksum.text());
            Ok(format!("{size} {checksum} {}", checksum_type_of(&head)?.map_or("-", ChecksumType::wire)))
        };
        let got = said().map_err(|error: S3Error| error.code());
        assert_eq!(got.as_deref().map_err(|code| *code), want, "{headers:?}");
    }

    #[test]
    fn what_is_said_of_the_object() {
        let crc = "x-amz-checksum-crc32";
        check(&[], Ok("- - -"));
        check(&[("x-amz-mp-object-size", "7"), (crc, "y/Q5Jg==")], Ok("7 y/Q5Jg== -"));
        check(&[(crc, "y/Q5Jg==-2"), ("x-amz-checksum-type", "COMPOSITE")], Ok("- y/Q5Jg==-2 COMPOSITE"));
        check(&[(crc, "y")], Err(Code::InvalidRequest));
        check(&[(crc, "y/Q5Jg=="), ("x-amz-checksum-crc32c", "y/Q5Jg==")], Err(Code::InvalidRequest));
        check(&[("x-amz-checksum-type", "HALF")], Err(Code::InvalidRequest));
        check(&[("x-amz-mp-object-size", "+7")], Err(Code::InvalidRequest));
    }

    /// A value that is no text is said all the same.
    #[test]
    fn what_cannot_be_read_is_not_overlooked() {
        for name in ["x-amz-mp-object-size", "x-amz-checksum-crc32", "x-amz-checksum-type"] {
            let bytes = [b"POST /b/k HTTP/1.1\r\n", name.as_bytes(), b": \xff\r\n\r\n"].concat();
            let Ok(Parsed::Complete { head, .. }) = RequestHead::parse(&bytes) else { panic!("{name}") };
            let said = [
                object_bytes_of(&head).map(|_| ()),
                checksum_of(&head).map(|_| ()),
                checksum_type_of(&head).map(|_| ()),
            ];
            let refused = said.into_iter().filter_map(Result::err).map(|error| error.code());
            assert_eq!(refused.collect::<Vec<_>>(), [Code::InvalidRequest], "{name}");
        }
    }

    #[test]
    fn the_location_is_where_the_client_finds_it() {
        for (host, path, want) in [
            ("127.0.0.1:9000", "/bucket/a/b%20%C3%A4", "http://127.0.0.1:9000/bucket/a/b%20%C3%A4"),
            ("bucket.s3.test", "/a%2Fb%20%C3%A4", "http://bucket.s3.test/a%2Fb%20%C3%A4"),
        ] {
            let head = head_of("POST", &format!("{path}?uploadId=u"), &[("Host", host)]);
            assert_eq!(location_of(&head), want);
        }
    }
}
