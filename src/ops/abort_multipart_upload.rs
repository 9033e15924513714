//! AbortMultipartUpload: an upload and all its parts go.
//! A part that is still on its way is answered NoSuchUpload when it arrives.
//! Source: AbortMultipartUpload.

use crate::fs::bucket::Bucket;
use crate::fs::multipart::abort;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;

/// Ends an upload.
///
/// Errors: NoSuchUpload, NoSuchBucket.
pub async fn abort_multipart_upload(call: &Call<'_>) -> Result<Response, S3Error> {
    let id = call.route.upload_id()?;
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    abort::abort(call.tree(), &bucket, call.key()?, &id).await?;
    Ok(Response::empty(204))
}
