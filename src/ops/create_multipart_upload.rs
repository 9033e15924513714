//! CreateMultipartUpload: everything but the bytes is said here and kept until the upload is completed.
//! Conditions on the key are not taken here: CompleteMultipartUpload has them.
//! Source: CreateMultipartUpload; S3 user guide, "Checking object integrity for multipart uploads".

use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::multipart::record::{Initiator, UploadRecord};
use crate::fs::multipart::upload;
use crate::http::head::RequestHead;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::checksum::{Algorithm, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::xml::multipart;

/// Begins an upload.
///
/// Errors: those of the key rules, MetadataTooLarge, InvalidRequest for a checksum that objects cannot have.
pub async fn create_multipart_upload(call: &Call<'_>) -> Result<Response, S3Error> {
    let path = call.path_to_write()?;
    let checksum = checksum_of(call.head)?;
    let caller = call.caller();
    let record = UploadRecord {
        key: call.key()?.clone(),
        created_ns: call.now_unix_ns,
        initiator: Initiator { id: caller.canonical_id.to_string(), name: caller.name.to_string() },
        headers: StoredHeaders::of(call.head),
        user_metadata: UserMetadata::of(call.head, call.presigned())?,
        checksum,
    };
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    let target = Target { tree: call.tree(), bucket: &bucket, path: &path, identity: call.identity() };
    let id = upload::create(&target, &record).await?;
    let mut response = Response::xml(multipart::write_initiated(call.bucket()?, &record.key, &id));
    if let Some((algorithm, checksum_type)) = checksum {
        response = response
            .with("x-amz-checksum-algorithm", algorithm.wire())
            .with("x-amz-checksum-type", checksum_type.wire());
    }
    Ok(response)
}

/// The checksum that the object is to have.
fn checksum_of(head: &RequestHead) -> Result<Option<(Algorithm, ChecksumType)>, S3Error> {
    let invalid = |message: String| S3Error::new(Code::InvalidRequest).with_message(message);
    let algorithm = match head.header_text("x-amz-checksum-algorithm") {
        None => None,
        Some(text) => Some(Algorithm::of_wire(text).ok_or_else(|| {
            invalid(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
                    .to_owned(),
            )
        })?),
    };
    let checksum_type = match head.header_text("x-amz-checksum-type") {
        None => None,
        Some(text) => Some(
            ChecksumType::of_wire(text)
                .ok_or_else(|| invalid("Value for x-amz-checksum-type header is invalid.".to_owned()))?,
        ),
    };
    match (algorithm, checksum_type) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
                .to_owned(),
        )),
        (Some(algorithm), None) => Ok(Some((algorithm, algorithm.default_type()))),
        (Some(algorithm), Some(checksum_type)) if algorithm.allows(checksum_type) => {
            Ok(Some((algorithm, checksum_type)))
        }
        (Some(algorithm), Some(checksum_type)) => Err(invalid(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            checksum_type.wire(),
            algorithm.wire()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::headers::tests::head_of;

    fn check(headers: &[(&str, &str)], want: Result<Option<(Algorithm, ChecksumType)>, Code>) {
        let got = checksum_of(&head_of("POST", "/b/k?uploads", headers));
        assert_eq!(got.map_err(|error| error.code()), want, "{headers:?}");
    }

    #[test]
    fn checksums_that_objects_can_have() {
        let (algorithm, kind) = ("x-amz-checksum-algorithm", "x-amz-checksum-type");
        check(&[], Ok(None));
        check(&[(algorithm, "sha1")], Ok(Some((Algorithm::Sha1, ChecksumType::Composite))));
        check(&[(algorithm, "CRC64NVME")], Ok(Some((Algorithm::Crc64nvme, ChecksumType::FullObject))));
        check(
            &[(algorithm, "CRC32"), (kind, "FULL_OBJECT")],
            Ok(Some((Algorithm::Crc32, ChecksumType::FullObject))),
        );
        check(&[(algorithm, "MD5")], Err(Code::InvalidRequest));
        check(&[(kind, "COMPOSITE")], Err(Code::InvalidRequest));
        check(&[(algorithm, "CRC32"), (kind, "HALF")], Err(Code::InvalidRequest));
        check(&[(algorithm, "SHA256"), (kind, "FULL_OBJECT")], Err(Code::InvalidRequest));
        check(&[(algorithm, "CRC64NVME"), (kind, "COMPOSITE")], Err(Code::InvalidRequest));
    }
}
