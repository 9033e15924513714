//! Every operation of the S3 API by its AWS name, as a closed set, and which of them Ringway performs.
//! Operation names are also the words of IAM actions, metric labels, log lines and file names.
//! Which request means which operation is route.rs. The four deprecated lifecycle and notification names are left
//! out: they are the same requests as their successors.
//! Source: Amazon S3 API reference, "Actions"; PostObject and OptionsObject from its REST pages.

use crate::s3::error::{Code, S3Error};

/// An operation of the S3 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `DELETE /{Bucket}/{Key}?uploadId`
    AbortMultipartUpload,
    /// `POST /{Bucket}/{Key}?uploadId`
    CompleteMultipartUpload,
    /// `PUT /{Bucket}/{Key}` with x-amz-copy-source
    CopyObject,
    /// `PUT /{Bucket}`
    CreateBucket,
    /// `POST /{Bucket}?metadataConfiguration`
    CreateBucketMetadataConfiguration,
    /// `POST /{Bucket}?metadataTable`
    CreateBucketMetadataTableConfiguration,
    /// `POST /{Bucket}/{Key}?uploads`
    CreateMultipartUpload,
    /// `GET /{Bucket}?session`
    CreateSession,
    /// `DELETE /{Bucket}`
    DeleteBucket,
    /// `DELETE /{Bucket}?analytics`
    DeleteBucketAnalyticsConfiguration,
    /// `DELETE /{Bucket}?cors`
    DeleteBucketCors,
    /// `DELETE /{Bucket}?encryption`
    DeleteBucketEncryption,
    /// `DELETE /{Bucket}?intelligent-tiering`
    DeleteBucketIntelligentTieringConfiguration,
    /// `DELETE /{Bucket}?inventory`
    DeleteBucketInventoryConfiguration,
    /// `DELETE /{Bucket}?lifecycle`
    DeleteBucketLifecycle,
    /// `DELETE /{Bucket}?metadataConfiguration`
    DeleteBucketMetadataConfiguration,
    /// `DELETE /{Bucket}?metadataTable`
    DeleteBucketMetadataTableConfiguration,
    /// `DELETE /{Bucket}?metrics`
    DeleteBucketMetricsConfiguration,
    /// `DELETE /{Bucket}?ownershipControls`
    DeleteBucketOwnershipControls,
    /// `DELETE /{Bucket}?policy`
    DeleteBucketPolicy,
    /// `DELETE /{Bucket}?replication`
    DeleteBucketReplication,
    /// `DELETE /{Bucket}?tagging`
    DeleteBucketTagging,
    /// `DELETE /{Bucket}?website`
    DeleteBucketWebsite,
    /// `DELETE /{Bucket}/{Key}`
    DeleteObject,
    /// `DELETE /{Bucket}/{Key}?annotation`
    DeleteObjectAnnotation,
    /// `DELETE /{Bucket}/{Key}?tagging`
    DeleteObjectTagging,
    /// `POST /{Bucket}?delete`
    DeleteObjects,
    /// `DELETE /{Bucket}?publicAccessBlock`
    DeletePublicAccessBlock,
    /// `GET /{Bucket}?abac`
    GetBucketAbac,
    /// `GET /{Bucket}?accelerate`
    GetBucketAccelerateConfiguration,
    /// `GET /{Bucket}?acl`
    GetBucketAcl,
    /// `GET /{Bucket}?analytics` with id
    GetBucketAnalyticsConfiguration,
    /// `GET /{Bucket}?cors`
    GetBucketCors,
    /// `GET /{Bucket}?encryption`
    GetBucketEncryption,
    /// `GET /{Bucket}?intelligent-tiering` with id
    GetBucketIntelligentTieringConfiguration,
    /// `GET /{Bucket}?inventory` with id
    GetBucketInventoryConfiguration,
    /// `GET /{Bucket}?lifecycle`
    GetBucketLifecycleConfiguration,
    /// `GET /{Bucket}?location`
    GetBucketLocation,
    /// `GET /{Bucket}?logging`
    GetBucketLogging,
    /// `GET /{Bucket}?metadataConfiguration`
    GetBucketMetadataConfiguration,
    /// `GET /{Bucket}?metadataTable`
    GetBucketMetadataTableConfiguration,
    /// `GET /{Bucket}?metrics` with id
    GetBucketMetricsConfiguration,
    /// `GET /{Bucket}?notification`
    GetBucketNotificationConfiguration,
    /// `GET /{Bucket}?ownershipControls`
    GetBucketOwnershipControls,
    /// `GET /{Bucket}?policy`
    GetBucketPolicy,
    /// `GET /{Bucket}?policyStatus`
    GetBucketPolicyStatus,
    /// `GET /{Bucket}?replication`
    GetBucketReplication,
    /// `GET /{Bucket}?requestPayment`
    GetBucketRequestPayment,
    /// `GET /{Bucket}?tagging`
    GetBucketTagging,
    /// `GET /{Bucket}?versioning`
    GetBucketVersioning,
    /// `GET /{Bucket}?website`
    GetBucketWebsite,
    /// `GET /{Bucket}/{Key}`
    GetObject,
    /// `GET /{Bucket}/{Key}?acl`
    GetObjectAcl,
    /// `GET /{Bucket}/{Key}?annotation` with annotationName
    GetObjectAnnotation,
    /// `GET /{Bucket}/{Key}?attributes`
    GetObjectAttributes,
    /// `GET /{Bucket}/{Key}?legal-hold`
    GetObjectLegalHold,
    /// `GET /{Bucket}?object-lock`
    GetObjectLockConfiguration,
    /// `GET /{Bucket}/{Key}?retention`
    GetObjectRetention,
    /// `GET /{Bucket}/{Key}?tagging`
    GetObjectTagging,
    /// `GET /{Bucket}/{Key}?torrent`
    GetObjectTorrent,
    /// `GET /{Bucket}?publicAccessBlock`
    GetPublicAccessBlock,
    /// `HEAD /{Bucket}`
    HeadBucket,
    /// `HEAD /{Bucket}/{Key}`
    HeadObject,
    /// `GET /{Bucket}?analytics`
    ListBucketAnalyticsConfigurations,
    /// `GET /{Bucket}?intelligent-tiering`
    ListBucketIntelligentTieringConfigurations,
    /// `GET /{Bucket}?inventory`
    ListBucketInventoryConfigurations,
    /// `GET /{Bucket}?metrics`
    ListBucketMetricsConfigurations,
    /// `GET /`
    ListBuckets,
    /// `GET /` with x-id=ListDirectoryBuckets, which alone tells it from ListBuckets
    ListDirectoryBuckets,
    /// `GET /{Bucket}?uploads`
    ListMultipartUploads,
    /// `GET /{Bucket}/{Key}?annotation`
    ListObjectAnnotations,
    /// `GET /{Bucket}?versions`
    ListObjectVersions,
    /// `GET /{Bucket}`
    ListObjects,
    /// `GET /{Bucket}?list-type=2`
    ListObjectsV2,
    /// `GET /{Bucket}/{Key}?uploadId`
    ListParts,
    /// `OPTIONS`: the CORS preflight
    OptionsObject,
    /// `POST /{Bucket}` with multipart/form-data
    PostObject,
    /// `PUT /{Bucket}?abac`
    PutBucketAbac,
    /// `PUT /{Bucket}?accelerate`
    PutBucketAccelerateConfiguration,
    /// `PUT /{Bucket}?acl`
    PutBucketAcl,
    /// `PUT /{Bucket}?analytics`
    PutBucketAnalyticsConfiguration,
    /// `PUT /{Bucket}?cors`
    PutBucketCors,
    /// `PUT /{Bucket}?encryption`
    PutBucketEncryption,
    /// `PUT /{Bucket}?intelligent-tiering`
    PutBucketIntelligentTieringConfiguration,
    /// `PUT /{Bucket}?inventory`
    PutBucketInventoryConfiguration,
    /// `PUT /{Bucket}?lifecycle`
    PutBucketLifecycleConfiguration,
    /// `PUT /{Bucket}?logging`
    PutBucketLogging,
    /// `PUT /{Bucket}?metrics`
    PutBucketMetricsConfiguration,
    /// `PUT /{Bucket}?notification`
    PutBucketNotificationConfiguration,
    /// `PUT /{Bucket}?ownershipControls`
    PutBucketOwnershipControls,
    /// `PUT /{Bucket}?policy`
    PutBucketPolicy,
    /// `PUT /{Bucket}?replication`
    PutBucketReplication,
    /// `PUT /{Bucket}?requestPayment`
    PutBucketRequestPayment,
    /// `PUT /{Bucket}?tagging`
    PutBucketTagging,
    /// `PUT /{Bucket}?versioning`
    PutBucketVersioning,
    /// `PUT /{Bucket}?website`
    PutBucketWebsite,
    /// `PUT /{Bucket}/{Key}`
    PutObject,
    /// `PUT /{Bucket}/{Key}?acl`
    PutObjectAcl,
    /// `PUT /{Bucket}/{Key}?annotation`
    PutObjectAnnotation,
    /// `PUT /{Bucket}/{Key}?legal-hold`
    PutObjectLegalHold,
    /// `PUT /{Bucket}?object-lock`
    PutObjectLockConfiguration,
    /// `PUT /{Bucket}/{Key}?retention`
    PutObjectRetention,
    /// `PUT /{Bucket}/{Key}?tagging`
    PutObjectTagging,
    /// `PUT /{Bucket}?publicAccessBlock`
    PutPublicAccessBlock,
    /// `PUT /{Bucket}/{Key}?renameObject`
    RenameObject,
    /// `POST /{Bucket}/{Key}?restore`
    RestoreObject,
    /// `POST /{Bucket}/{Key}?select&select-type=2`
    SelectObjectContent,
    /// `PUT /{Bucket}?metadataAnnotationTable`
    UpdateBucketMetadataAnnotationTableConfiguration,
    /// `PUT /{Bucket}?metadataInventoryTable`
    UpdateBucketMetadataInventoryTableConfiguration,
    /// `PUT /{Bucket}?metadataJournalTable`
    UpdateBucketMetadataJournalTableConfiguration,
    /// `PUT /{Bucket}/{Key}?encryption`
    UpdateObjectEncryption,
    /// `PUT /{Bucket}/{Key}?partNumber&uploadId`
    UploadPart,
    /// `PUT /{Bucket}/{Key}?partNumber&uploadId` with x-amz-copy-source
    UploadPartCopy,
    /// `POST /WriteGetObjectResponse`, the one path that is no bucket
    WriteGetObjectResponse,
}

impl Operation {
    /// The AWS name.
    pub fn name(self) -> &'static str {
        match NAMES.get(self as usize) {
            Some((_, name)) => name,
            None => unreachable!("a const assert below proves that row n is the row of variant n"),
        }
    }

    /// Whether Ringway performs it; every other is answered with `not_implemented`.
    pub fn is_built(self) -> bool {
        BUILT.contains(&self)
    }

    /// Every operation, in the order of the names.
    pub fn all() -> impl Iterator<Item = Operation> {
        NAMES.iter().map(|(operation, _)| *operation)
    }

    /// 501 that names the operation.
    pub fn not_implemented(self) -> S3Error {
        S3Error::new(Code::NotImplemented)
            .with_message(format!("The operation {} is not implemented.", self.name()))
            .with_element("Operation", self.name())
    }
}

#[rustfmt::skip]
const BUILT: [Operation; 17] = [
    Operation::ListBuckets, Operation::CreateBucket, Operation::HeadBucket, Operation::DeleteBucket,
    Operation::GetBucketLocation,
    Operation::PutObject, Operation::GetObject, Operation::HeadObject, Operation::DeleteObject, Operation::DeleteObjects,
    Operation::ListObjects, Operation::ListObjectsV2,
    Operation::CreateMultipartUpload, Operation::UploadPart, Operation::CompleteMultipartUpload,
    Operation::AbortMultipartUpload, Operation::ListParts,
];

#[rustfmt::skip]
const NAMES: [(Operation, &str); 114] = [
    (Operation::AbortMultipartUpload, "AbortMultipartUpload"),
    (Operation::CompleteMultipartUpload, "CompleteMultipartUpload"),
    (Operation::CopyObject, "CopyObject"),
    (Operation::CreateBucket, "CreateBucket"),
    (Operation::CreateBucketMetadataConfiguration, "CreateBucketMetadataConfiguration"),
    (Operation::CreateBucketMetadataTableConfiguration, "CreateBucketMetadataTableConfiguration"),
    (Operation::CreateMultipartUpload, "CreateMultipartUpload"),
    (Operation::CreateSession, "CreateSession"),
    (Operation::DeleteBucket, "DeleteBucket"),
    (Operation::DeleteBucketAnalyticsConfiguration, "DeleteBucketAnalyticsConfiguration"),
    (Operation::DeleteBucketCors, "DeleteBucketCors"),
    (Operation::DeleteBucketEncryption, "DeleteBucketEncryption"),
    (Operation::DeleteBucketIntelligentTieringConfiguration, "DeleteBucketIntelligentTieringConfiguration"),
    (Operation::DeleteBucketInventoryConfiguration, "DeleteBucketInventoryConfiguration"),
    (Operation::DeleteBucketLifecycle, "DeleteBucketLifecycle"),
    (Operation::DeleteBucketMetadataConfiguration, "DeleteBucketMetadataConfiguration"),
    (Operation::DeleteBucketMetadataTableConfiguration, "DeleteBucketMetadataTableConfiguration"),
    (Operation::DeleteBucketMetricsConfiguration, "DeleteBucketMetricsConfiguration"),
    (Operation::DeleteBucketOwnershipControls, "DeleteBucketOwnershipControls"),
    (Operation::DeleteBucketPolicy, "DeleteBucketPolicy"),
    (Operation::DeleteBucketReplication, "DeleteBucketReplication"),
    (Operation::DeleteBucketTagging, "DeleteBucketTagging"),
    (Operation::DeleteBucketWebsite, "DeleteBucketWebsite"),
    (Operation::DeleteObject, "DeleteObject"),
    (Operation::DeleteObjectAnnotation, "DeleteObjectAnnotation"),
    (Operation::DeleteObjectTagging, "DeleteObjectTagging"),
    (Operation::DeleteObjects, "DeleteObjects"),
    (Operation::DeletePublicAccessBlock, "DeletePublicAccessBlock"),
    (Operation::GetBucketAbac, "GetBucketAbac"),
    (Operation::GetBucketAccelerateConfiguration, "GetBucketAccelerateConfiguration"),
    (Operation::GetBucketAcl, "GetBucketAcl"),
    (Operation::GetBucketAnalyticsConfiguration, "GetBucketAnalyticsConfiguration"),
    (Operation::GetBucketCors, "GetBucketCors"),
    (Operation::GetBucketEncryption, "GetBucketEncryption"),
    (Operation::GetBucketIntelligentTieringConfiguration, "GetBucketIntelligentTieringConfiguration"),
    (Operation::GetBucketInventoryConfiguration, "GetBucketInventoryConfiguration"),
    (Operation::GetBucketLifecycleConfiguration, "GetBucketLifecycleConfiguration"),
    (Operation::GetBucketLocation, "GetBucketLocation"),
    (Operation::GetBucketLogging, "GetBucketLogging"),
    (Operation::GetBucketMetadataConfiguration, "GetBucketMetadataConfiguration"),
    (Operation::GetBucketMetadataTableConfiguration, "GetBucketMetadataTableConfiguration"),
    (Operation::GetBucketMetricsConfiguration, "GetBucketMetricsConfiguration"),
    (Operation::GetBucketNotificationConfiguration, "GetBucketNotificationConfiguration"),
    (Operation::GetBucketOwnershipControls, "GetBucketOwnershipControls"),
    (Operation::GetBucketPolicy, "GetBucketPolicy"),
    (Operation::GetBucketPolicyStatus, "GetBucketPolicyStatus"),
    (Operation::GetBucketReplication, "GetBucketReplication"),
    (Operation::GetBucketRequestPayment, "GetBucketRequestPayment"),
    (Operation::GetBucketTagging, "GetBucketTagging"),
    (Operation::GetBucketVersioning, "GetBucketVersioning"),
    (Operation::GetBucketWebsite, "GetBucketWebsite"),
    (Operation::GetObject, "GetObject"),
    (Operation::GetObjectAcl, "GetObjectAcl"),
    (Operation::GetObjectAnnotation, "GetObjectAnnotation"),
    (Operation::GetObjectAttributes, "GetObjectAttributes"),
    (Operation::GetObjectLegalHold, "GetObjectLegalHold"),
    (Operation::GetObjectLockConfiguration, "GetObjectLockConfiguration"),
    (Operation::GetObjectRetention, "GetObjectRetention"),
    (Operation::GetObjectTagging, "GetObjectTagging"),
    (Operation::GetObjectTorrent, "GetObjectTorrent"),
    (Operation::GetPublicAccessBlock, "GetPublicAccessBlock"),
    (Operation::HeadBucket, "HeadBucket"),
    (Operation::HeadObject, "HeadObject"),
    (Operation::ListBucketAnalyticsConfigurations, "ListBucketAnalyticsConfigurations"),
    (Operation::ListBucketIntelligentTieringConfigurations, "ListBucketIntelligentTieringConfigurations"),
    (Operation::ListBucketInventoryConfigurations, "ListBucketInventoryConfigurations"),
    (Operation::ListBucketMetricsConfigurations, "ListBucketMetricsConfigurations"),
    (Operation::ListBuckets, "ListBuckets"),
    (Operation::ListDirectoryBuckets, "ListDirectoryBuckets"),
    (Operation::ListMultipartUploads, "ListMultipartUploads"),
    (Operation::ListObjectAnnotations, "ListObjectAnnotations"),
    (Operation::ListObjectVersions, "ListObjectVersions"),
    (Operation::ListObjects, "ListObjects"),
    (Operation::ListObjectsV2, "ListObjectsV2"),
    (Operation::ListParts, "ListParts"),
    (Operation::OptionsObject, "OptionsObject"),
    (Operation::PostObject, "PostObject"),
    (Operation::PutBucketAbac, "PutBucketAbac"),
    (Operation::PutBucketAccelerateConfiguration, "PutBucketAccelerateConfiguration"),
    (Operation::PutBucketAcl, "PutBucketAcl"),
    (Operation::PutBucketAnalyticsConfiguration, "PutBucketAnalyticsConfiguration"),
    (Operation::PutBucketCors, "PutBucketCors"),
    (Operation::PutBucketEncryption, "PutBucketEncryption"),
    (Operation::PutBucketIntelligentTieringConfiguration, "PutBucketIntelligentTieringConfiguration"),
    (Operation::PutBucketInventoryConfiguration, "PutBucketInventoryConfiguration"),
    (Operation::PutBucketLifecycleConfiguration, "PutBucketLifecycleConfiguration"),
    (Operation::PutBucketLogging, "PutBucketLogging"),
    (Operation::PutBucketMetricsConfiguration, "PutBucketMetricsConfiguration"),
    (Operation::PutBucketNotificationConfiguration, "PutBucketNotificationConfiguration"),
    (Operation::PutBucketOwnershipControls, "PutBucketOwnershipControls"),
    (Operation::PutBucketPolicy, "PutBucketPolicy"),
    (Operation::PutBucketReplication, "PutBucketReplication"),
    (Operation::PutBucketRequestPayment, "PutBucketRequestPayment"),
    (Operation::PutBucketTagging, "PutBucketTagging"),
    (Operation::PutBucketVersioning, "PutBucketVersioning"),
    (Operation::PutBucketWebsite, "PutBucketWebsite"),
    (Operation::PutObject, "PutObject"),
    (Operation::PutObjectAcl, "PutObjectAcl"),
    (Operation::PutObjectAnnotation, "PutObjectAnnotation"),
    (Operation::PutObjectLegalHold, "PutObjectLegalHold"),
    (Operation::PutObjectLockConfiguration, "PutObjectLockConfiguration"),
    (Operation::PutObjectRetention, "PutObjectRetention"),
    (Operation::PutObjectTagging, "PutObjectTagging"),
    (Operation::PutPublicAccessBlock, "PutPublicAccessBlock"),
    (Operation::RenameObject, "RenameObject"),
    (Operation::RestoreObject, "RestoreObject"),
    (Operation::SelectObjectContent, "SelectObjectContent"),
    (Operation::UpdateBucketMetadataAnnotationTableConfiguration, "UpdateBucketMetadataAnnotationTableConfiguration"),
    (Operation::UpdateBucketMetadataInventoryTableConfiguration, "UpdateBucketMetadataInventoryTableConfiguration"),
    (Operation::UpdateBucketMetadataJournalTableConfiguration, "UpdateBucketMetadataJournalTableConfiguration"),
    (Operation::UpdateObjectEncryption, "UpdateObjectEncryption"),
    (Operation::UploadPart, "UploadPart"),
    (Operation::UploadPartCopy, "UploadPartCopy"),
    (Operation::WriteGetObjectResponse, "WriteGetObjectResponse"),
];

// INVARIANT: row n names variant n. The compiler itself evaluates the index, so it cannot panic at run time.
#[allow(clippy::indexing_slicing)]
const _: () = {
    let mut index = 0;
    while index < NAMES.len() {
        assert!(NAMES[index].0 as usize == index);
        index += 1;
    }
    assert!(Operation::WriteGetObjectResponse as usize + 1 == NAMES.len());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_variants_in_order() {
        let names: Vec<&str> = Operation::all().map(Operation::name).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        for operation in Operation::all() {
            assert_eq!(format!("{operation:?}"), operation.name());
        }
    }

    #[test]
    fn what_is_not_built_is_named() {
        let error = Operation::GetBucketAcl.not_implemented();
        assert_eq!(
            (error.status(), error.message()),
            (501, "The operation GetBucketAcl is not implemented.")
        );
        assert!(Operation::GetObject.is_built() && !Operation::CopyObject.is_built());
        assert_eq!(Operation::all().filter(|operation| operation.is_built()).count(), BUILT.len());
    }
}
