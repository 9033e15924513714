//! Every request shape of the API reference, the two host styles, versions, and what is refused.
//! The golden list has one line an operation: name, method, target; it was made from the API model, not from the code.
//! Operations that a header tells apart have a test of their own.

use super::*;
use crate::s3::headers::tests::head_of;

fn route_of(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Route, S3Error> {
    let domains = ["s3.example.com".to_string(), "example.com".to_string(), "other.test".to_string()];
    route(&head_of(method, target, headers), &domains)
}

/// The operation, bucket and key of a request, as `Name bucket key`, or the code.
fn check(method: &str, target: &str, headers: &[(&str, &str)], want: &str) {
    let got = match route_of(method, target, headers) {
        Ok(route) => {
            let bucket = route.target.bucket.as_ref().map_or("-", BucketName::as_str);
            let key = route.target.key.as_ref().map_or("-", ObjectKey::as_str);
            format!("{} {bucket} {key}", route.operation.name())
        }
        Err(error) => error.code().wire().to_string(),
    };
    assert_eq!(got, want, "{method} {target} {headers:?}");
}

#[test]
fn every_operation_of_the_api_reference() {
    let mut reached = Vec::new();
    for line in GOLDEN.trim().lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [name, method, target] = parts[..] else { panic!("{line}") };
        // `x-id` comes with every request of the newer SDKs and `junk` with none.
        for suffix in ["", "&junk=1", "&x-id=Anything"] {
            let joined = if suffix.is_empty() || target.contains('?') {
                format!("{target}{suffix}")
            } else {
                target.to_string() + &suffix.replacen('&', "?", 1)
            };
            let route = route_of(method, &joined, &[]).unwrap_or_else(|error| panic!("{joined}: {error}"));
            assert_eq!(route.operation.name(), name, "{method} {joined}");
        }
        reached.push(name);
    }
    let by_header = ["CopyObject", "OptionsObject", "PostObject", "UploadPartCopy"];
    for operation in Operation::all() {
        let name = operation.name();
        assert!(reached.contains(&name) != by_header.contains(&name), "{name}");
    }
}

#[test]
fn headers_tell_operations_apart() {
    let copy = [("x-amz-copy-source", "/b/k")];
    check("PUT", "/bucket/key", &copy, "CopyObject bucket key");
    check("PUT", "/bucket/key?partNumber=1&uploadId=u", &copy, "UploadPartCopy bucket key");
    check("GET", "/bucket/key", &copy, "GetObject bucket key");
    let form = [("Content-Type", "Multipart/Form-Data; boundary=x")];
    check("POST", "/bucket", &form, "PostObject bucket -");
    check("POST", "/bucket", &[("Content-Type", "text/plain")], "MethodNotAllowed");
    check("POST", "/bucket/key", &form, "MethodNotAllowed");
    check("OPTIONS", "/bucket/key", &[], "OptionsObject bucket key");
    check("OPTIONS", "*", &[], "OptionsObject - -");
    check("OPTIONS", "/", &[], "OptionsObject - -");
}

#[test]
fn path_style() {
    check("GET", "/", &[], "ListBuckets - -");
    check("GET", "/bucket", &[], "ListObjects bucket -");
    check("GET", "/bucket/", &[], "ListObjects bucket -");
    check("PUT", "/bucket/", &[], "CreateBucket bucket -");
    check("GET", "/bucket//", &[], "GetObject bucket /");
    check("GET", "/bucket/a//b/", &[], "GetObject bucket a//b/");
    check("GET", "/bucket/a+b%20c%2Fd%252F", &[], "GetObject bucket a+b c/d%2F");
    check("GET", "/b%75cket/k", &[], "GetObject bucket k");
    check("GET", "http://host.test/bucket/key?x=y", &[], "GetObject bucket key");
    check("GET", "//key", &[], "InvalidBucketName");
    check("GET", "/.ringway/key", &[], "InvalidBucketName");
    check("GET", "/bucket/%", &[], "InvalidURI");
    check("GET", "/bucket/%ff", &[], "GetObject bucket \u{fffd}");
    check("DELETE", "/bucket/%ff", &[], "DeleteObject bucket \u{fffd}");
    check("GET", "/b%ffcket", &[], "InvalidBucketName");
    check("GET", &format!("/bucket/{}", "k".repeat(1025)), &[], "KeyTooLongError");
}

#[test]
fn virtual_hosted_style() {
    let host = |host| [("Host", host)];
    check("GET", "/", &host("bucket.s3.example.com"), "ListObjects bucket -");
    check("GET", "/a/b", &host("bucket.s3.example.com"), "GetObject bucket a/b");
    check("GET", "/a/b", &host("Bucket.S3.Example.com:9000"), "GetObject bucket a/b");
    check("GET", "/k", &host("my.bucket.other.test."), "GetObject my.bucket k");
    // The longest domain wins, and a host that is a domain itself has no bucket in it.
    check("GET", "/k", &host("bucket.example.com"), "GetObject bucket k");
    check("GET", "/bucket/k", &host("s3.example.com"), "GetObject bucket k");
    check("GET", "/bucket/k", &host("s3.example.com:80"), "GetObject bucket k");
    check("GET", "/bucket/k", &host("[::1]:9000"), "GetObject bucket k");
    check("GET", "/bucket/k", &host("127.0.0.1:9000"), "GetObject bucket k");
    check("GET", "/bucket/k", &host("bucketexample.com"), "GetObject bucket k");
    check("GET", "/k", &host("ab.example.com"), "InvalidBucketName");
    check("POST", "/WriteGetObjectResponse", &host("bucket.example.com"), "MethodNotAllowed");
}

#[test]
fn methods_and_sub_resources_that_do_not_meet() {
    check("POST", "/", &[], "MethodNotAllowed");
    check("HEAD", "/", &[], "MethodNotAllowed");
    check("PATCH", "/bucket/key", &[], "MethodNotAllowed");
    check("get", "/bucket/key", &[], "MethodNotAllowed");
    check("DELETE", "/bucket/key?acl", &[], "MethodNotAllowed");
    check("DELETE", "/bucket?delete", &[], "MethodNotAllowed");
    check("DELETE", "/bucket?versions", &[], "MethodNotAllowed");
    // A sub-resource of buckets never lets an object's plain verb through.
    check("DELETE", "/bucket/key?policy", &[], "MethodNotAllowed");
    check("PUT", "/bucket/key?partNumber=1", &[], "InvalidArgument");
    check("PUT", "/bucket/key?uploadId=u", &[], "InvalidArgument");
    check("PUT", "/bucket/key?uploadId=u", &[("x-amz-copy-source", "b/k")], "InvalidArgument");
    check("GET", "/bucket?acl&tagging", &[], "InvalidArgument");
    check("GET", "/bucket?acl&acl=", &[], "GetBucketAcl bucket -");
    check("GET", "/bucket?list-type=3", &[], "InvalidArgument");
    check("GET", "/bucket/key?list-type=2&prefix=acl", &[], "GetObject bucket key");
    check("DELETE", "/bucket/key?Acl", &[], "DeleteObject bucket key");
}

/// The version of a request, or the code that refuses it.
fn check_version(method: &str, target: &str, want: Result<VersionId, Code>) {
    let got = route_of(method, target, &[]).map(|route| route.version).map_err(|error| error.code());
    assert_eq!(got, want, "{method} {target}");
}

#[test]
fn versions() {
    for method in ["GET", "HEAD", "DELETE"] {
        check_version(method, "/bucket/key", Ok(VersionId::Unnamed));
        check_version(method, "/bucket/key?versionId=null", Ok(VersionId::Null));
        check_version(method, "/bucket/key?versionId=", Err(Code::InvalidArgument));
        check_version(method, "/bucket/key?versionId=old%2F..", Err(Code::InvalidArgument));
        check_version(
            method,
            "/bucket/key?versionId=3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH",
            Err(Code::NoSuchVersion),
        );
        // The last of two is not overlooked.
        check_version(method, "/bucket/key?versionId=null&versionId=old", Err(Code::InvalidArgument));
    }
    check_version("PUT", "/bucket/key?versionId=null", Err(Code::InvalidArgument));
    check_version("POST", "/bucket/key?uploads&versionId=null", Err(Code::InvalidArgument));
    check_version("DELETE", "/bucket?versionId=null", Err(Code::InvalidArgument));
    // Not built: it is answered with its name, whatever version it asks for.
    check_version("GET", "/bucket/key?acl&versionId=null", Ok(VersionId::Null));
}

#[test]
fn upload_parameters() {
    let route = route_of("PUT", "/bucket/key?partNumber=10001&uploadId=u-1", &[]).unwrap();
    assert_eq!(route.upload_id().unwrap().as_str(), "u-1");
    assert_eq!(route.part_number().unwrap_err().code(), Code::InvalidArgument);
    let route = route_of("GET", "/bucket/key", &[]).unwrap();
    assert_eq!(route.part_number().unwrap(), None);
    assert_eq!(route.upload_id().unwrap_err().code(), Code::NoSuchUpload);
}

const GOLDEN: &str = r"
AbortMultipartUpload DELETE /bucket/key?uploadId=u
CompleteMultipartUpload POST /bucket/key?uploadId=u
CreateBucket PUT /bucket
CreateBucketMetadataConfiguration POST /bucket?metadataConfiguration
CreateBucketMetadataTableConfiguration POST /bucket?metadataTable
CreateMultipartUpload POST /bucket/key?uploads
CreateSession GET /bucket?session
DeleteBucket DELETE /bucket
DeleteBucketAnalyticsConfiguration DELETE /bucket?analytics
DeleteBucketCors DELETE /bucket?cors
DeleteBucketEncryption DELETE /bucket?encryption
DeleteBucketIntelligentTieringConfiguration DELETE /bucket?intelligent-tiering
DeleteBucketInventoryConfiguration DELETE /bucket?inventory
DeleteBucketLifecycle DELETE /bucket?lifecycle
DeleteBucketMetadataConfiguration DELETE /bucket?metadataConfiguration
DeleteBucketMetadataTableConfiguration DELETE /bucket?metadataTable
DeleteBucketMetricsConfiguration DELETE /bucket?metrics
DeleteBucketOwnershipControls DELETE /bucket?ownershipControls
DeleteBucketPolicy DELETE /bucket?policy
DeleteBucketReplication DELETE /bucket?replication
DeleteBucketTagging DELETE /bucket?tagging
DeleteBucketWebsite DELETE /bucket?website
DeleteObject DELETE /bucket/key
DeleteObjectAnnotation DELETE /bucket/key?annotation
DeleteObjectTagging DELETE /bucket/key?tagging
DeleteObjects POST /bucket?delete
DeletePublicAccessBlock DELETE /bucket?publicAccessBlock
GetBucketAbac GET /bucket?abac
GetBucketAccelerateConfiguration GET /bucket?accelerate
GetBucketAcl GET /bucket?acl
GetBucketAnalyticsConfiguration GET /bucket?analytics&id=1
GetBucketCors GET /bucket?cors
GetBucketEncryption GET /bucket?encryption
GetBucketIntelligentTieringConfiguration GET /bucket?intelligent-tiering&id=1
GetBucketInventoryConfiguration GET /bucket?inventory&id=1
GetBucketLifecycleConfiguration GET /bucket?lifecycle
GetBucketLocation GET /bucket?location
GetBucketLogging GET /bucket?logging
GetBucketMetadataConfiguration GET /bucket?metadataConfiguration
GetBucketMetadataTableConfiguration GET /bucket?metadataTable
GetBucketMetricsConfiguration GET /bucket?metrics&id=1
GetBucketNotificationConfiguration GET /bucket?notification
GetBucketOwnershipControls GET /bucket?ownershipControls
GetBucketPolicy GET /bucket?policy
GetBucketPolicyStatus GET /bucket?policyStatus
GetBucketReplication GET /bucket?replication
GetBucketRequestPayment GET /bucket?requestPayment
GetBucketTagging GET /bucket?tagging
GetBucketVersioning GET /bucket?versioning
GetBucketWebsite GET /bucket?website
GetObject GET /bucket/key
GetObjectAcl GET /bucket/key?acl
GetObjectAnnotation GET /bucket/key?annotation&annotationName=n
GetObjectAttributes GET /bucket/key?attributes
GetObjectLegalHold GET /bucket/key?legal-hold
GetObjectLockConfiguration GET /bucket?object-lock
GetObjectRetention GET /bucket/key?retention
GetObjectTagging GET /bucket/key?tagging
GetObjectTorrent GET /bucket/key?torrent
GetPublicAccessBlock GET /bucket?publicAccessBlock
HeadBucket HEAD /bucket
HeadObject HEAD /bucket/key
ListBucketAnalyticsConfigurations GET /bucket?analytics
ListBucketIntelligentTieringConfigurations GET /bucket?intelligent-tiering
ListBucketInventoryConfigurations GET /bucket?inventory
ListBucketMetricsConfigurations GET /bucket?metrics
ListBuckets GET /
ListDirectoryBuckets GET /?x-id=ListDirectoryBuckets
ListMultipartUploads GET /bucket?uploads
ListObjectAnnotations GET /bucket/key?annotation
ListObjectVersions GET /bucket?versions
ListObjects GET /bucket
ListObjectsV2 GET /bucket?list-type=2
ListParts GET /bucket/key?uploadId=u
PutBucketAbac PUT /bucket?abac
PutBucketAccelerateConfiguration PUT /bucket?accelerate
PutBucketAcl PUT /bucket?acl
PutBucketAnalyticsConfiguration PUT /bucket?analytics
PutBucketCors PUT /bucket?cors
PutBucketEncryption PUT /bucket?encryption
PutBucketIntelligentTieringConfiguration PUT /bucket?intelligent-tiering
PutBucketInventoryConfiguration PUT /bucket?inventory
PutBucketLifecycleConfiguration PUT /bucket?lifecycle
PutBucketLogging PUT /bucket?logging
PutBucketMetricsConfiguration PUT /bucket?metrics
PutBucketNotificationConfiguration PUT /bucket?notification
PutBucketOwnershipControls PUT /bucket?ownershipControls
PutBucketPolicy PUT /bucket?policy
PutBucketReplication PUT /bucket?replication
PutBucketRequestPayment PUT /bucket?requestPayment
PutBucketTagging PUT /bucket?tagging
PutBucketVersioning PUT /bucket?versioning
PutBucketWebsite PUT /bucket?website
PutObject PUT /bucket/key
PutObjectAcl PUT /bucket/key?acl
PutObjectAnnotation PUT /bucket/key?annotation
PutObjectLegalHold PUT /bucket/key?legal-hold
PutObjectLockConfiguration PUT /bucket?object-lock
PutObjectRetention PUT /bucket/key?retention
PutObjectTagging PUT /bucket/key?tagging
PutPublicAccessBlock PUT /bucket?publicAccessBlock
RenameObject PUT /bucket/key?renameObject
RestoreObject POST /bucket/key?restore
SelectObjectContent POST /bucket/key?select&select-type=2
UpdateBucketMetadataAnnotationTableConfiguration PUT /bucket?metadataAnnotationTable
UpdateBucketMetadataInventoryTableConfiguration PUT /bucket?metadataInventoryTable
UpdateBucketMetadataJournalTableConfiguration PUT /bucket?metadataJournalTable
UpdateObjectEncryption PUT /bucket/key?encryption
UploadPart PUT /bucket/key?partNumber=1&uploadId=u
WriteGetObjectResponse POST /WriteGetObjectResponse
";
