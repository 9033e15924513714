//! GetBucketLocation: the region of a bucket, empty for us-east-1.
//! It tells the server's region: every bucket of one server is in it.
//! Source: GetBucketLocation.

use crate::fs::bucket::Bucket;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;
use crate::s3::xml::location;

/// Tells a bucket's region.
///
/// Errors: NoSuchBucket.
pub async fn get_bucket_location(call: &Call<'_>) -> Result<Response, S3Error> {
    Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    Ok(Response::xml(location::write(&call.service.region))
        .with("x-amz-bucket-region", call.service.region.as_str()))
}
