//! Aborting an upload: it is closed for parts, then everything of it goes.
//!
//! A part that is on its way finds no upload when it wants its record. What cannot be removed now is swept at start.
//! A completed upload is not there to be aborted. When a bucket goes, its uploads go with it.
//! Source: AbortMultipartUpload, DeleteBucket.

use super::complete::hold;
use super::sweep;
use super::upload::{self, no_such_upload};
use crate::fs::bucket::{Bucket, Store};
use crate::fs::failure::{Doing, s3_error};
use crate::fs::tree::Tree;
use crate::s3::error::S3Error;
use crate::s3::names::{ObjectKey, UploadId};

/// Ends an upload and removes its parts.
///
/// Errors: NoSuchUpload; ServiceUnavailable while another server completes it.
pub async fn abort(tree: &Tree, bucket: &Bucket, key: &ObjectKey, id: &UploadId) -> Result<(), S3Error> {
    let fence = tree.shared.uploads.close(id).await;
    let store = bucket.existing_store(tree, Store::Uploads).await;
    let store = store.map_err(|errno| s3_error(Doing::Remove, errno))?;
    let store = store.ok_or_else(|| no_such_upload(id))?;
    let found = upload::find_in(&store, key, id).await?;
    let _held = hold(&bucket.mount, &found).await?;
    upload::remove(tree, &store, id).await.map_err(|errno| s3_error(Doing::Remove, errno))?;
    fence.end();
    Ok(())
}

/// Ends every upload of a bucket that has been deleted; what cannot be removed stays, and harms no other bucket.
pub async fn abort_all(tree: &Tree, bucket: &Bucket) {
    let Ok(Some(store)) = bucket.existing_store(tree, Store::Uploads).await else { return };
    let Ok(names) = sweep::names(&store).await else { return };
    for id in names.iter().filter_map(|name| UploadId::parse(name).ok()) {
        let fence = tree.shared.uploads.close(&id).await;
        if upload::remove(tree, &store, &id).await.is_ok() {
            fence.end();
        }
    }
}
