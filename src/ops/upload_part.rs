//! UploadPart: a body becomes a part of an upload, in its final place or beside it.
//!
//! What can be refused without the body is refused before a byte of it is asked for. The part counts when its record is
//! written; a repeat that fails leaves the one before.
//! Source: UploadPart.

use crate::digest::stream::{Kind, Wanted};
use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::multipart::parts::{self, Arrived, PART_BYTES_MAX};
use crate::fs::multipart::upload::{self, Upload};
use crate::http::framing::BodyLength;
use crate::ops::call::Call;
use crate::ops::incoming::Incoming;
use crate::ops::receive::{self, Received};
use crate::ops::response::Response;
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::payload::{Payload, Purpose};

/// Uploads a part.
///
/// Errors: NoSuchUpload, InvalidArgument for the number, InvalidRequest for another checksum than the upload's, and those
/// of body checks and the filesystem.
pub async fn upload_part(
    call: &Call<'_>,
    length: BodyLength,
    incoming: &mut Incoming<'_>,
) -> Result<Response, S3Error> {
    let id = call.route.upload_id()?;
    let number = call.route.part_number()?.ok_or_else(|| S3Error::new(Code::InvalidArgument))?;
    let payload = Payload::of(call.head, length, Purpose::Object)?;
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    let path = call.path_to_read()?.ok_or_else(|| upload::no_such_upload(&id))?;
    let target = Target { tree: call.tree(), bucket: &bucket, path: &path, identity: call.identity() };
    let upload = upload::find(call.tree(), &bucket, call.key()?, &id).await?;
    check_algorithm(&upload, &payload)?;
    let mut wanted = Wanted::NONE.with(Kind::Md5);
    if let Some((algorithm, _)) = upload.record.checksum {
        wanted = wanted.with(algorithm.kind());
    }
    let part = parts::begin(&target, &upload, number, payload.decoded_bytes).await?;
    let receiving = receive::receive_into(incoming, &payload, wanted, PART_BYTES_MAX, part.writer());
    let received = match receiving.await {
        Ok(received) => received,
        Err(error) => {
            part.abandon().await;
            return Err(error);
        }
    };
    let md5 = received.digests.md5.expect("every part's body is asked for its MD5");
    let checksum = checksum_of(&upload, &received);
    let arrived = Arrived { size_bytes: received.bytes, md5, checksum, now_ns: call.now_unix_ns };
    part.commit(arrived).await?;
    let response = Response::empty(200).with("ETag", ETag::of_md5(md5).quoted());
    Ok(match checksum {
        Some(checksum) => response.with(checksum.algorithm().header(), checksum.text()),
        None => response,
    })
}

/// A part's checksum must be one that the object's can be made of.
fn check_algorithm(upload: &Upload, payload: &Payload) -> Result<(), S3Error> {
    match (upload.record.checksum, payload.algorithm()) {
        (Some((wanted, _)), Some(declared)) if wanted != declared => Err(S3Error::new(Code::InvalidRequest)
            .with_message(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                wanted.wire().to_lowercase(),
                declared.wire().to_lowercase()
            ))),
        (Some(_) | None, _) => Ok(()),
    }
}

/// The checksum of the upload's algorithm, said by the client or not; without one, what the client said.
fn checksum_of(upload: &Upload, received: &Received) -> Option<Checksum> {
    match upload.record.checksum {
        Some((algorithm, _)) => Checksum::computed(algorithm, &received.digests),
        None => received.checksum,
    }
}
