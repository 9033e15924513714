//! The sub-resources of buckets and objects: which query parameter, with which method, means which operation.
//! Rows are sorted by parameter, so that one search per parameter of a request finds its rows or none.
//! It reads no request; mod.rs does.
//! Source: Amazon S3 API reference, "Request syntax" of every operation.

use crate::http::head::Method;
use crate::s3::operation::Operation;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Service,
    Bucket,
    Object,
}

/// One request shape: this parameter at this level with this method.
pub(super) struct Row {
    pub(super) parameter: &'static str,
    pub(super) level: Level,
    pub(super) method: Method,
    pub(super) operation: Operation,
}

/// The rows of a parameter; empty when it is no sub-resource.
pub(super) fn rows_of(parameter: &str) -> &'static [Row] {
    let start = ROWS.partition_point(|row| row.parameter < parameter);
    let rest = ROWS.get(start..).unwrap_or_default();
    let length = rest.partition_point(|row| row.parameter == parameter);
    rest.get(..length).unwrap_or_default()
}

const fn row(parameter: &'static str, level: Level, method: Method, operation: Operation) -> Row {
    Row { parameter, level, method, operation }
}

/// Requests that differ in a second parameter or a header stand here under one operation; mod.rs tells them apart.
#[rustfmt::skip]
const ROWS: [Row; 93] = [
    row("abac", Level::Bucket, Method::Get, Operation::GetBucketAbac),
    row("abac", Level::Bucket, Method::Put, Operation::PutBucketAbac),
    row("accelerate", Level::Bucket, Method::Get, Operation::GetBucketAccelerateConfiguration),
    row("accelerate", Level::Bucket, Method::Put, Operation::PutBucketAccelerateConfiguration),
    row("acl", Level::Bucket, Method::Get, Operation::GetBucketAcl),
    row("acl", Level::Bucket, Method::Put, Operation::PutBucketAcl),
    row("acl", Level::Object, Method::Get, Operation::GetObjectAcl),
    row("acl", Level::Object, Method::Put, Operation::PutObjectAcl),
    row("analytics", Level::Bucket, Method::Delete, Operation::DeleteBucketAnalyticsConfiguration),
    row("analytics", Level::Bucket, Method::Get, Operation::GetBucketAnalyticsConfiguration),
    row("analytics", Level::Bucket, Method::Put, Operation::PutBucketAnalyticsConfiguration),
    row("annotation", Level::Object, Method::Delete, Operation::DeleteObjectAnnotation),
    row("annotation", Level::Object, Method::Get, Operation::GetObjectAnnotation),
    row("annotation", Level::Object, Method::Put, Operation::PutObjectAnnotation),
    row("attributes", Level::Object, Method::Get, Operation::GetObjectAttributes),
    row("cors", Level::Bucket, Method::Delete, Operation::DeleteBucketCors),
    row("cors", Level::Bucket, Method::Get, Operation::GetBucketCors),
    row("cors", Level::Bucket, Method::Put, Operation::PutBucketCors),
    row("delete", Level::Bucket, Method::Post, Operation::DeleteObjects),
    row("encryption", Level::Bucket, Method::Delete, Operation::DeleteBucketEncryption),
    row("encryption", Level::Bucket, Method::Get, Operation::GetBucketEncryption),
    row("encryption", Level::Bucket, Method::Put, Operation::PutBucketEncryption),
    row("encryption", Level::Object, Method::Put, Operation::UpdateObjectEncryption),
    row("intelligent-tiering", Level::Bucket, Method::Delete, Operation::DeleteBucketIntelligentTieringConfiguration),
    row("intelligent-tiering", Level::Bucket, Method::Get, Operation::GetBucketIntelligentTieringConfiguration),
    row("intelligent-tiering", Level::Bucket, Method::Put, Operation::PutBucketIntelligentTieringConfiguration),
    row("inventory", Level::Bucket, Method::Delete, Operation::DeleteBucketInventoryConfiguration),
    row("inventory", Level::Bucket, Method::Get, Operation::GetBucketInventoryConfiguration),
    row("inventory", Level::Bucket, Method::Put, Operation::PutBucketInventoryConfiguration),
    row("legal-hold", Level::Object, Method::Get, Operation::GetObjectLegalHold),
    row("legal-hold", Level::Object, Method::Put, Operation::PutObjectLegalHold),
    row("lifecycle", Level::Bucket, Method::Delete, Operation::DeleteBucketLifecycle),
    row("lifecycle", Level::Bucket, Method::Get, Operation::GetBucketLifecycleConfiguration),
    row("lifecycle", Level::Bucket, Method::Put, Operation::PutBucketLifecycleConfiguration),
    row("location", Level::Bucket, Method::Get, Operation::GetBucketLocation),
    row("logging", Level::Bucket, Method::Get, Operation::GetBucketLogging),
    row("logging", Level::Bucket, Method::Put, Operation::PutBucketLogging),
    row("metadataAnnotationTable", Level::Bucket, Method::Put, Operation::UpdateBucketMetadataAnnotationTableConfiguration),
    row("metadataConfiguration", Level::Bucket, Method::Delete, Operation::DeleteBucketMetadataConfiguration),
    row("metadataConfiguration", Level::Bucket, Method::Get, Operation::GetBucketMetadataConfiguration),
    row("metadataConfiguration", Level::Bucket, Method::Post, Operation::CreateBucketMetadataConfiguration),
    row("metadataInventoryTable", Level::Bucket, Method::Put, Operation::UpdateBucketMetadataInventoryTableConfiguration),
    row("metadataJournalTable", Level::Bucket, Method::Put, Operation::UpdateBucketMetadataJournalTableConfiguration),
    row("metadataTable", Level::Bucket, Method::Delete, Operation::DeleteBucketMetadataTableConfiguration),
    row("metadataTable", Level::Bucket, Method::Get, Operation::GetBucketMetadataTableConfiguration),
    row("metadataTable", Level::Bucket, Method::Post, Operation::CreateBucketMetadataTableConfiguration),
    row("metrics", Level::Bucket, Method::Delete, Operation::DeleteBucketMetricsConfiguration),
    row("metrics", Level::Bucket, Method::Get, Operation::GetBucketMetricsConfiguration),
    row("metrics", Level::Bucket, Method::Put, Operation::PutBucketMetricsConfiguration),
    row("notification", Level::Bucket, Method::Get, Operation::GetBucketNotificationConfiguration),
    row("notification", Level::Bucket, Method::Put, Operation::PutBucketNotificationConfiguration),
    row("object-lock", Level::Bucket, Method::Get, Operation::GetObjectLockConfiguration),
    row("object-lock", Level::Bucket, Method::Put, Operation::PutObjectLockConfiguration),
    row("ownershipControls", Level::Bucket, Method::Delete, Operation::DeleteBucketOwnershipControls),
    row("ownershipControls", Level::Bucket, Method::Get, Operation::GetBucketOwnershipControls),
    row("ownershipControls", Level::Bucket, Method::Put, Operation::PutBucketOwnershipControls),
    row("policy", Level::Bucket, Method::Delete, Operation::DeleteBucketPolicy),
    row("policy", Level::Bucket, Method::Get, Operation::GetBucketPolicy),
    row("policy", Level::Bucket, Method::Put, Operation::PutBucketPolicy),
    row("policyStatus", Level::Bucket, Method::Get, Operation::GetBucketPolicyStatus),
    row("publicAccessBlock", Level::Bucket, Method::Delete, Operation::DeletePublicAccessBlock),
    row("publicAccessBlock", Level::Bucket, Method::Get, Operation::GetPublicAccessBlock),
    row("publicAccessBlock", Level::Bucket, Method::Put, Operation::PutPublicAccessBlock),
    row("renameObject", Level::Object, Method::Put, Operation::RenameObject),
    row("replication", Level::Bucket, Method::Delete, Operation::DeleteBucketReplication),
    row("replication", Level::Bucket, Method::Get, Operation::GetBucketReplication),
    row("replication", Level::Bucket, Method::Put, Operation::PutBucketReplication),
    row("requestPayment", Level::Bucket, Method::Get, Operation::GetBucketRequestPayment),
    row("requestPayment", Level::Bucket, Method::Put, Operation::PutBucketRequestPayment),
    row("restore", Level::Object, Method::Post, Operation::RestoreObject),
    row("retention", Level::Object, Method::Get, Operation::GetObjectRetention),
    row("retention", Level::Object, Method::Put, Operation::PutObjectRetention),
    row("select", Level::Object, Method::Post, Operation::SelectObjectContent),
    row("session", Level::Bucket, Method::Get, Operation::CreateSession),
    row("tagging", Level::Bucket, Method::Delete, Operation::DeleteBucketTagging),
    row("tagging", Level::Bucket, Method::Get, Operation::GetBucketTagging),
    row("tagging", Level::Bucket, Method::Put, Operation::PutBucketTagging),
    row("tagging", Level::Object, Method::Delete, Operation::DeleteObjectTagging),
    row("tagging", Level::Object, Method::Get, Operation::GetObjectTagging),
    row("tagging", Level::Object, Method::Put, Operation::PutObjectTagging),
    row("torrent", Level::Object, Method::Get, Operation::GetObjectTorrent),
    row("uploadId", Level::Object, Method::Delete, Operation::AbortMultipartUpload),
    row("uploadId", Level::Object, Method::Get, Operation::ListParts),
    row("uploadId", Level::Object, Method::Post, Operation::CompleteMultipartUpload),
    row("uploadId", Level::Object, Method::Put, Operation::UploadPart),
    row("uploads", Level::Bucket, Method::Get, Operation::ListMultipartUploads),
    row("uploads", Level::Object, Method::Post, Operation::CreateMultipartUpload),
    row("versioning", Level::Bucket, Method::Get, Operation::GetBucketVersioning),
    row("versioning", Level::Bucket, Method::Put, Operation::PutBucketVersioning),
    row("versions", Level::Bucket, Method::Get, Operation::ListObjectVersions),
    row("website", Level::Bucket, Method::Delete, Operation::DeleteBucketWebsite),
    row("website", Level::Bucket, Method::Get, Operation::GetBucketWebsite),
    row("website", Level::Bucket, Method::Put, Operation::PutBucketWebsite),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parameter: &str, rows: usize) {
        assert_eq!(rows_of(parameter).len(), rows, "{parameter}");
        assert!(rows_of(parameter).iter().all(|row| row.parameter == parameter));
    }

    #[test]
    fn rows_are_sorted_and_found() {
        assert!(ROWS.is_sorted_by(|a, b| a.parameter <= b.parameter));
        check("abac", 2);
        check("acl", 4);
        check("tagging", 6);
        check("versions", 1);
        for parameter in ["", "Acl", "prefix", "versionId", "x-id", "zzz"] {
            check(parameter, 0);
        }
    }

    #[test]
    fn no_request_means_two_operations() {
        for (index, row) in ROWS.iter().enumerate() {
            let same = |other: &Row| {
                other.parameter == row.parameter && other.level == row.level && other.method == row.method
            };
            assert_eq!(ROWS.iter().position(same), Some(index), "{}", row.operation.name());
        }
    }
}
