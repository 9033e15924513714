//! From a built operation to its function; which ones read a document, and how long it may be.
//!
//! The match has an arm for every operation that `is_built` names; the others never come here.
//! Source: ARCHITECTURE.md, "Limits".

use crate::http::framing::Framing;
use crate::ops;
use crate::ops::call::Call;
use crate::ops::document;
use crate::ops::incoming::Incoming;
use crate::ops::memory::Share;
use crate::ops::response::{Body, Response};
use crate::s3::error::S3Error;
use crate::s3::operation::Operation;
use crate::s3::payload::{Payload, Purpose};
use crate::s3::xml::multipart::COMPLETE_BYTES_MAX;

/// The longest configuration document. Source: S3-wide limit of 1 MiB in ARCHITECTURE.md.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// 1,000 keys of 1,024 bytes, escaped, are over a megabyte.
const DELETE_OBJECTS_BYTES_MAX: usize = 2 << 20;

/// Runs the operation of a call.
pub async fn run(
    call: &Call<'_>,
    framing: &Framing,
    incoming: &mut Incoming<'_>,
) -> Result<Response, S3Error> {
    let document = async |incoming: &mut Incoming<'_>, purpose: Purpose, bytes_max: usize| {
        let payload = Payload::of(call.head, framing.body, purpose)?;
        document::receive_document(incoming, &payload, bytes_max, call.service.memory.share()).await
    };
    match call.route.operation {
        Operation::ListBuckets => page(call, ops::list_buckets::list_buckets(call)).await,
        Operation::CreateBucket => {
            let document = document(incoming, Purpose::Document, DOCUMENT_BYTES_MAX).await?;
            ops::create_bucket::create_bucket(call, &document).await
        }
        Operation::HeadBucket => ops::head_bucket::head_bucket(call).await,
        Operation::DeleteBucket => ops::delete_bucket::delete_bucket(call).await,
        Operation::GetBucketLocation => ops::get_bucket_location::get_bucket_location(call).await,
        // Boxed, so that only those who upload carry the room of it.
        Operation::PutObject => Box::pin(ops::put_object::put_object(call, framing.body, incoming)).await,
        Operation::GetObject => ops::get_object::get_object(call).await,
        Operation::HeadObject => ops::get_object::head_object(call).await,
        Operation::DeleteObjects => {
            let mut document = document(incoming, Purpose::Document, DELETE_OBJECTS_BYTES_MAX).await?;
            // The answer has the keys of the document, and the same share: who has two waits for himself.
            document.grow(ESCAPED_RATIO * document.len() as u64).await?;
            let response = ops::delete_objects::delete_objects(call, &document).await?;
            Ok(settled(response, document.into_share()))
        }
        Operation::ListObjects => page(call, ops::list_objects::list_objects(call)).await,
        Operation::ListObjectsV2 => page(call, ops::list_objects_v2::list_objects_v2(call)).await,
        Operation::DeleteObject => ops::delete_object::delete_object(call).await,
        Operation::CreateMultipartUpload => ops::create_multipart_upload::create_multipart_upload(call).await,
        Operation::UploadPart => Box::pin(ops::upload_part::upload_part(call, framing.body, incoming)).await,
        Operation::CompleteMultipartUpload => {
            let document = document(incoming, Purpose::Completion, COMPLETE_BYTES_MAX).await?;
            ops::complete_multipart_upload::complete_multipart_upload(call, &document).await
        }
        Operation::AbortMultipartUpload => ops::abort_multipart_upload::abort_multipart_upload(call).await,
        Operation::ListParts => page(call, ops::list_parts::list_parts(call)).await,
        other => Err(other.not_implemented()),
    }
}

/// A page of a listing in the making: keys of usual length and the document they become are half of it.
const PAGE_BYTES: u64 = 1 << 20;
/// How much longer a text may become in the answer: `"` is `&quot;` there.
const ESCAPED_RATIO: u64 = 6;

/// Makes a page of a listing within the core's memory.
async fn page(
    call: &Call<'_>,
    made: impl Future<Output = Result<Response, S3Error>>,
) -> Result<Response, S3Error> {
    let mut share = call.service.memory.share();
    share.grow(PAGE_BYTES).await?;
    Ok(settled(made.await?, share))
}

/// The response with the share that its document keeps until it is sent.
fn settled(mut response: Response, mut share: Share) -> Response {
    if let Body::Xml(document) = &response.body {
        share.settle(document.len() as u64);
    }
    response.share = Some(share);
    response
}
