//! DeleteObject: the name goes; what is no object, and a key that cannot be one, is deleted already.
//! Conditions are checked under the lock of the key, where the name is removed.
//! Source: DeleteObject.

use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::remove;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;
use crate::s3::precondition::WriteCondition;

/// Deletes an object.
///
/// Errors: NoSuchBucket, PreconditionFailed, AccessDenied.
pub async fn delete_object(call: &Call<'_>) -> Result<Response, S3Error> {
    let condition = WriteCondition::of_delete(call.head)?;
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    match call.path_to_read()? {
        Some(path) => {
            let target =
                Target { tree: call.tree(), bucket: &bucket, path: &path, identity: call.identity() };
            remove::delete(&target, &condition).await?;
        }
        None => condition.check(None)?,
    }
    Ok(Response::empty(204))
}
