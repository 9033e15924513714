//! HeadBucket: whether a bucket is there, and in which region.
//! It tells nothing of what the bucket holds.
//! Source: HeadBucket.

use crate::fs::bucket::Bucket;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;

/// Tells of a bucket.
///
/// Errors: NoSuchBucket.
pub async fn head_bucket(call: &Call<'_>) -> Result<Response, S3Error> {
    Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    Ok(Response::empty(200)
        .with("x-amz-bucket-region", call.service.region.as_str())
        .with("x-amz-access-point-alias", "false"))
}
