//! DeleteBucket: a bucket without objects goes, with the empty directories left in it.
//! What is looked through, and in which order it is removed, is the bucket's own file.
//! Source: DeleteBucket.

use crate::fs::bucket;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;

/// Deletes a bucket.
///
/// Errors: NoSuchBucket, BucketNotEmpty.
pub async fn delete_bucket(call: &Call<'_>) -> Result<Response, S3Error> {
    bucket::delete(call.tree(), call.bucket()?, call.identity()).await?;
    Ok(Response::empty(204))
}
