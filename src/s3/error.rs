//! The one error type of Ringway's S3 surface, and the one table of its codes.
//! A code is a row: wire name, HTTP status, default message. Rows are alphabetical, as the variants of `Code` are.
//! It does not map errno (the fs floor does) and does not choose connection handling (the server does).
//! Source: Amazon S3 API reference, "Error responses"; codes AWS has no word for are marked in their row.

use std::fmt;

use crate::s3::xml::writer::Writer;

/// An error of an S3 request, one pointer wide so that `Result<T, S3Error>` stays small on the data path.
/// Shape: a code, and where they say more than it a message, a resource, further XML elements, and a source for the log.
pub struct S3Error(Box<Detail>);

struct Detail {
    code: Code,
    message: Option<String>,
    resource: Option<String>,
    elements: Vec<(&'static str, String)>,
    source: Option<String>,
}

impl S3Error {
    /// An error with its row's message.
    pub fn new(code: Code) -> S3Error {
        S3Error(Box::new(Detail { code, message: None, resource: None, elements: Vec::new(), source: None }))
    }

    /// Says more than the row does: prose about S3 words, never a path, an errno or a Rust type.
    pub fn with_message(mut self, message: impl Into<String>) -> S3Error {
        self.0.message = Some(message.into());
        self
    }

    /// Names what the error is about when that is not the request's own path.
    pub fn with_resource(mut self, resource: impl Into<String>) -> S3Error {
        self.0.resource = Some(resource.into());
        self
    }

    /// Adds an XML element after the message, such as `Key`, `BucketName`, `Region` or `ActualObjectSize`.
    pub fn with_element(mut self, name: &'static str, value: impl Into<String>) -> S3Error {
        self.0.elements.push((name, value.into()));
        self
    }

    /// Keeps the cause for the log line; it is never sent to the client.
    pub fn with_source(mut self, source: impl Into<String>) -> S3Error {
        self.0.source = Some(source.into());
        self
    }

    /// The row of this error.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The HTTP status of this error's row.
    pub fn status(&self) -> u16 {
        self.0.code.status()
    }

    /// The message the client is shown.
    pub fn message(&self) -> &str {
        self.0.message.as_deref().unwrap_or(self.0.code.message())
    }

    /// What the error is about, when that is not the request's own path.
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// The further XML elements, in the order they are written.
    pub fn elements(&self) -> &[(&'static str, String)] {
        &self.0.elements
    }

    /// The cause, for the log line only.
    pub fn source_text(&self) -> Option<&str> {
        self.0.source.as_deref()
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> S3Error {
        S3Error::new(code)
    }
}

impl fmt::Debug for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Error")
            .field("code", &self.0.code)
            .field("message", &self.message())
            .field("resource", &self.0.resource)
            .field("elements", &self.0.elements)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.wire(), self.message())
    }
}

impl std::error::Error for S3Error {}

/// The error document, the only place where it is written.
/// Shape: Code, Message, the error's own elements, Resource, RequestId, HostId; an empty resource is left out.
/// Source: Amazon S3 API reference, "REST error responses".
pub fn render(error: &S3Error, resource: &str, request_id: &str, host_id: &str) -> String {
    let mut xml = Writer::document();
    xml.open("Error");
    xml.text("Code", error.code().wire());
    xml.text("Message", error.message());
    for (name, value) in error.elements() {
        xml.text(name, value);
    }
    let resource = error.resource().unwrap_or(resource);
    if !resource.is_empty() {
        xml.text("Resource", resource);
    }
    xml.text("RequestId", request_id);
    xml.text("HostId", host_id);
    xml.close("Error");
    xml.finish()
}

/// Every code that Ringway answers with; a variant is its own wire name, and its row says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// 400: The bucket does not allow ACLs
    AccessControlListNotSupported,
    /// 403: Access Denied
    AccessDenied,
    /// 403: CORSResponse: CORS is not enabled for this bucket.
    AccessForbidden,
    /// 400: The authorization header that you provided is not valid.
    AuthorizationHeaderMalformed,
    /// 400: The authorization query parameters that you provided are not valid.
    AuthorizationQueryParametersError,
    /// 400: The Content-MD5 or checksum value that you specified did not match what the server received.
    BadDigest,
    /// 400: The request is not valid HTTP.
    BadRequest,
    /// 409: The requested bucket name is not available. The bucket namespace is shared by all users of the system. Specify a different name and try again.
    BucketAlreadyExists,
    /// 409: The bucket that you tried to create already exists, and you own it.
    BucketAlreadyOwnedByYou,
    /// 409: The bucket that you tried to delete is not empty.
    BucketNotEmpty,
    /// 409: The conditional request cannot succeed due to a conflicting operation against this resource.
    ConditionalRequestConflict,
    /// 400: Your proposed upload exceeds the maximum allowed object size.
    EntityTooLarge,
    /// 400: Your proposed upload is smaller than the minimum allowed object size.
    EntityTooSmall,
    /// 417: The expectation given in the Expect header cannot be met.
    ExpectationFailed,
    /// 400: The provided token has expired.
    ExpiredToken,
    /// 505: The HTTP version of the request is not supported.
    HTTPVersionNotSupported,
    /// 400: The specified location constraint is not the region of this endpoint.
    IllegalLocationConstraintException,
    /// 400: You did not provide the number of bytes specified by the Content-Length HTTP header.
    IncompleteBody,
    /// 507: There is not enough storage space or quota for this request.
    InsufficientStorage,
    /// 500: We encountered an internal error. Please try again.
    InternalError,
    /// 403: The AWS access key ID that you provided does not exist in our records.
    InvalidAccessKeyId,
    /// 400: Invalid Argument
    InvalidArgument,
    /// 400: The specified bucket is not valid.
    InvalidBucketName,
    /// 400: The Content-MD5 or checksum value that you specified is not valid.
    InvalidDigest,
    /// 400: The specified location constraint is not valid.
    InvalidLocationConstraint,
    /// 400: One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.
    InvalidPart,
    /// 416: The requested partnumber is not satisfiable
    InvalidPartNumber,
    /// 400: The list of parts was not in ascending order. The parts list must be specified in order by part number.
    InvalidPartOrder,
    /// 416: The requested range is not satisfiable
    InvalidRange,
    /// 400: Invalid Request
    InvalidRequest,
    /// 400: The storage class that you specified is not valid.
    InvalidStorageClass,
    /// 400: The tag provided was not a valid tag.
    InvalidTag,
    /// 400: The provided token is malformed or otherwise not valid.
    InvalidToken,
    /// 400: The specified URI couldn't be parsed.
    InvalidURI,
    /// 400: Your key is too long.
    KeyTooLongError,
    /// 400: The request contained trailing data that was not well-formed or did not conform to our published schema.
    MalformedTrailerError,
    /// 400: The XML that you provided was not well formed or did not validate against our published schema.
    MalformedXML,
    /// 400: Your request was too large.
    MaxMessageLengthExceeded,
    /// 400: Your metadata headers exceed the maximum allowed metadata size.
    MetadataTooLarge,
    /// 405: The specified method is not allowed against this resource.
    MethodNotAllowed,
    /// 411: You must provide the Content-Length HTTP header.
    MissingContentLength,
    /// 400: Your request is missing a required header.
    MissingSecurityHeader,
    /// 404: The specified bucket does not exist.
    NoSuchBucket,
    /// 404: The specified bucket does not have a bucket policy.
    NoSuchBucketPolicy,
    /// 404: The specified bucket does not have a CORS configuration.
    NoSuchCORSConfiguration,
    /// 404: The specified key does not exist.
    NoSuchKey,
    /// 404: The lifecycle configuration does not exist.
    NoSuchLifecycleConfiguration,
    /// 404: The specified object does not have an ObjectLock configuration.
    NoSuchObjectLockConfiguration,
    /// 404: The public access block configuration was not found.
    NoSuchPublicAccessBlockConfiguration,
    /// 404: The TagSet does not exist.
    NoSuchTagSet,
    /// 404: The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.
    NoSuchUpload,
    /// 404: The version ID specified in the request does not match an existing version.
    NoSuchVersion,
    /// 404: The specified bucket does not have a website configuration.
    NoSuchWebsiteConfiguration,
    /// 501: A header or query that you provided requested functionality that is not implemented.
    NotImplemented,
    /// 304: Not Modified
    NotModified,
    /// 404: Object Lock configuration does not exist for this bucket.
    ObjectLockConfigurationNotFoundError,
    /// 409: The key names a directory where an object exists, or an object where a directory exists.
    ObjectTypeConflict,
    /// 412: At least one of the preconditions that you specified did not hold.
    PreconditionFailed,
    /// 404: The replication configuration was not found.
    ReplicationConfigurationNotFoundError,
    /// 400: The request header and query parameters used to make the request exceed the maximum allowed size.
    RequestHeaderSectionTooLarge,
    /// 403: The difference between the request time and the server's time is too large.
    RequestTimeTooSkewed,
    /// 400: Your socket connection to the server was not read from or written to within the timeout period.
    RequestTimeout,
    /// 404: The server-side encryption configuration was not found.
    ServerSideEncryptionConfigurationNotFoundError,
    /// 503: Service is unable to handle request.
    ServiceUnavailable,
    /// 403: The request signature that the server calculated does not match the signature that you provided. Check your secret access key and signing method.
    SignatureDoesNotMatch,
    /// 503: Please reduce your request rate.
    SlowDown,
    /// 400: The checksum that you provided does not match the checksum of the content that was received.
    XAmzContentChecksumMismatch,
    /// 400: The provided x-amz-content-sha256 header does not match what was computed.
    XAmzContentSHA256Mismatch,
}

impl Code {
    /// The code as clients read it in `<Code>`.
    pub fn wire(self) -> &'static str {
        self.row().wire
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// What the client is told when the error brings no message of its own.
    pub fn message(self) -> &'static str {
        self.row().message
    }

    /// Every code, in the table's order.
    pub fn all() -> impl Iterator<Item = Code> {
        ROWS.iter().map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        match ROWS.get(self as usize) {
            Some(row) => row,
            None => unreachable!("a const assert below proves that row n is the row of variant n"),
        }
    }
}

struct Row {
    code: Code,
    wire: &'static str,
    status: u16,
    message: &'static str,
}

const fn row(code: Code, wire: &'static str, status: u16, message: &'static str) -> Row {
    Row { code, wire, status, message }
}

// Long messages keep one line a row, so that the table reads as a table.
#[rustfmt::skip]
const ROWS: [Row; 68] = [
    row(Code::AccessControlListNotSupported, "AccessControlListNotSupported", 400, "The bucket does not allow ACLs"),
    row(Code::AccessDenied, "AccessDenied", 403, "Access Denied"),
    row(Code::AccessForbidden, "AccessForbidden", 403, "CORSResponse: CORS is not enabled for this bucket."),
    row(Code::AuthorizationHeaderMalformed, "AuthorizationHeaderMalformed", 400, "The authorization header that you provided is not valid."),
    row(Code::AuthorizationQueryParametersError, "AuthorizationQueryParametersError", 400, "The authorization query parameters that you provided are not valid."),
    row(Code::BadDigest, "BadDigest", 400, "The Content-MD5 or checksum value that you specified did not match what the server received."),
    row(Code::BadRequest, "BadRequest", 400, "The request is not valid HTTP."),
    row(Code::BucketAlreadyExists, "BucketAlreadyExists", 409, "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Specify a different name and try again."),
    row(Code::BucketAlreadyOwnedByYou, "BucketAlreadyOwnedByYou", 409, "The bucket that you tried to create already exists, and you own it."),
    row(Code::BucketNotEmpty, "BucketNotEmpty", 409, "The bucket that you tried to delete is not empty."),
    row(Code::ConditionalRequestConflict, "ConditionalRequestConflict", 409, "The conditional request cannot succeed due to a conflicting operation against this resource."),
    row(Code::EntityTooLarge, "EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size."),
    row(Code::EntityTooSmall, "EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size."),
    row(Code::ExpectationFailed, "ExpectationFailed", 417, "The expectation given in the Expect header cannot be met."),
    row(Code::ExpiredToken, "ExpiredToken", 400, "The provided token has expired."),
    row(Code::HTTPVersionNotSupported, "HTTPVersionNotSupported", 505, "The HTTP version of the request is not supported."),
    row(Code::IllegalLocationConstraintException, "IllegalLocationConstraintException", 400, "The specified location constraint is not the region of this endpoint."),
    row(Code::IncompleteBody, "IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    row(Code::InsufficientStorage, "InsufficientStorage", 507, "There is not enough storage space or quota for this request."),  // ours: AWS has no such code
    row(Code::InternalError, "InternalError", 500, "We encountered an internal error. Please try again."),
    row(Code::InvalidAccessKeyId, "InvalidAccessKeyId", 403, "The AWS access key ID that you provided does not exist in our records."),
    row(Code::InvalidArgument, "InvalidArgument", 400, "Invalid Argument"),
    row(Code::InvalidBucketName, "InvalidBucketName", 400, "The specified bucket is not valid."),
    row(Code::InvalidDigest, "InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid."),
    row(Code::InvalidLocationConstraint, "InvalidLocationConstraint", 400, "The specified location constraint is not valid."),
    row(Code::InvalidPart, "InvalidPart", 400, "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."),
    row(Code::InvalidPartNumber, "InvalidPartNumber", 416, "The requested partnumber is not satisfiable"),
    row(Code::InvalidPartOrder, "InvalidPartOrder", 400, "The list of parts was not in ascending order. The parts list must be specified in order by part number."),
    row(Code::InvalidRange, "InvalidRange", 416, "The requested range is not satisfiable"),
    row(Code::InvalidRequest, "InvalidRequest", 400, "Invalid Request"),
    row(Code::InvalidStorageClass, "InvalidStorageClass", 400, "The storage class that you specified is not valid."),
    row(Code::InvalidTag, "InvalidTag", 400, "The tag provided was not a valid tag."),
    row(Code::InvalidToken, "InvalidToken", 400, "The provided token is malformed or otherwise not valid."),
    row(Code::InvalidURI, "InvalidURI", 400, "The specified URI couldn't be parsed."),
    row(Code::KeyTooLongError, "KeyTooLongError", 400, "Your key is too long."),
    row(Code::MalformedTrailerError, "MalformedTrailerError", 400, "The request contained trailing data that was not well-formed or did not conform to our published schema."),
    row(Code::MalformedXML, "MalformedXML", 400, "The XML that you provided was not well formed or did not validate against our published schema."),
    row(Code::MaxMessageLengthExceeded, "MaxMessageLengthExceeded", 400, "Your request was too large."),
    row(Code::MetadataTooLarge, "MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size."),
    row(Code::MethodNotAllowed, "MethodNotAllowed", 405, "The specified method is not allowed against this resource."),
    row(Code::MissingContentLength, "MissingContentLength", 411, "You must provide the Content-Length HTTP header."),
    row(Code::MissingSecurityHeader, "MissingSecurityHeader", 400, "Your request is missing a required header."),
    row(Code::NoSuchBucket, "NoSuchBucket", 404, "The specified bucket does not exist."),
    row(Code::NoSuchBucketPolicy, "NoSuchBucketPolicy", 404, "The specified bucket does not have a bucket policy."),
    row(Code::NoSuchCORSConfiguration, "NoSuchCORSConfiguration", 404, "The specified bucket does not have a CORS configuration."),
    row(Code::NoSuchKey, "NoSuchKey", 404, "The specified key does not exist."),
    row(Code::NoSuchLifecycleConfiguration, "NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist."),
    row(Code::NoSuchObjectLockConfiguration, "NoSuchObjectLockConfiguration", 404, "The specified object does not have an ObjectLock configuration."),
    row(Code::NoSuchPublicAccessBlockConfiguration, "NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found."),
    row(Code::NoSuchTagSet, "NoSuchTagSet", 404, "The TagSet does not exist."),
    row(Code::NoSuchUpload, "NoSuchUpload", 404, "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed."),
    row(Code::NoSuchVersion, "NoSuchVersion", 404, "The version ID specified in the request does not match an existing version."),
    row(Code::NoSuchWebsiteConfiguration, "NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration."),
    row(Code::NotImplemented, "NotImplemented", 501, "A header or query that you provided requested functionality that is not implemented."),
    row(Code::NotModified, "NotModified", 304, "Not Modified"),
    row(Code::ObjectLockConfigurationNotFoundError, "ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket."),
    row(Code::ObjectTypeConflict, "ObjectTypeConflict", 409, "The key names a directory where an object exists, or an object where a directory exists."),  // ours: AWS has no such code
    row(Code::PreconditionFailed, "PreconditionFailed", 412, "At least one of the preconditions that you specified did not hold."),
    row(Code::ReplicationConfigurationNotFoundError, "ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found."),
    row(Code::RequestHeaderSectionTooLarge, "RequestHeaderSectionTooLarge", 400, "The request header and query parameters used to make the request exceed the maximum allowed size."),
    row(Code::RequestTimeTooSkewed, "RequestTimeTooSkewed", 403, "The difference between the request time and the server's time is too large."),
    row(Code::RequestTimeout, "RequestTimeout", 400, "Your socket connection to the server was not read from or written to within the timeout period."),
    row(Code::ServerSideEncryptionConfigurationNotFoundError, "ServerSideEncryptionConfigurationNotFoundError", 404, "The server-side encryption configuration was not found."),
    row(Code::ServiceUnavailable, "ServiceUnavailable", 503, "Service is unable to handle request."),
    row(Code::SignatureDoesNotMatch, "SignatureDoesNotMatch", 403, "The request signature that the server calculated does not match the signature that you provided. Check your secret access key and signing method."),
    row(Code::SlowDown, "SlowDown", 503, "Please reduce your request rate."),
    row(Code::XAmzContentChecksumMismatch, "XAmzContentChecksumMismatch", 400, "The checksum that you provided does not match the checksum of the content that was received."),  // ours: AWS has no such code
    row(Code::XAmzContentSHA256Mismatch, "XAmzContentSHA256Mismatch", 400, "The provided x-amz-content-sha256 header does not match what was computed."),
];

// INVARIANT: row n belongs to variant n, and no variant is without a row. That names rise is a test below.
// The compiler itself evaluates the index, so it cannot panic at run time.
#[allow(clippy::indexing_slicing)]
const _: () = {
    let mut index = 0;
    while index < ROWS.len() {
        assert!(ROWS[index].code as usize == index);
        index += 1;
    }
    assert!(Code::XAmzContentSHA256Mismatch as usize + 1 == ROWS.len());
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: S3Error, want: &str) {
        let document = render(&error, "/b/k", "4442587FB7D0A2F9", "host");
        let inner = document
            .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>")
            .and_then(|rest| {
                rest.strip_suffix("<RequestId>4442587FB7D0A2F9</RequestId><HostId>host</HostId></Error>")
            })
            .unwrap();
        assert_eq!(format!("{} {inner}", error.status()), want);
    }

    #[test]
    fn every_row_renders_as_its_golden_line() {
        assert_eq!(Code::all().count(), GOLDEN.trim().lines().count());
        for (code, line) in Code::all().zip(GOLDEN.trim().lines()) {
            check(S3Error::new(code), &format!("{line}<Resource>/b/k</Resource>"));
        }
    }

    #[test]
    fn rows_are_alphabetical_and_named_as_their_variants() {
        let wires: Vec<&str> = Code::all().map(Code::wire).collect();
        assert!(wires.is_sorted_by(|a, b| a < b));
        for code in Code::all() {
            assert_eq!(format!("{code:?}"), code.wire());
        }
    }

    #[test]
    fn an_error_says_more_than_its_row() {
        let error = S3Error::new(Code::NoSuchKey)
            .with_message("no object <here>")
            .with_resource("/bucket/a&b")
            .with_element("Key", "a&b\u{1}")
            .with_source("ENOENT on openat2");
        assert_eq!(error.source_text(), Some("ENOENT on openat2"));
        assert_eq!(error.to_string(), "NoSuchKey: no object <here>");
        check(
            error,
            "404 <Code>NoSuchKey</Code><Message>no object &lt;here&gt;</Message><Key>a&amp;b\u{fffd}</Key>\
             <Resource>/bucket/a&amp;b</Resource>",
        );
    }

    #[test]
    fn the_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Result<(), S3Error>>(), size_of::<usize>());
    }

    const GOLDEN: &str = r"
400 <Code>AccessControlListNotSupported</Code><Message>The bucket does not allow ACLs</Message>
403 <Code>AccessDenied</Code><Message>Access Denied</Message>
403 <Code>AccessForbidden</Code><Message>CORSResponse: CORS is not enabled for this bucket.</Message>
400 <Code>AuthorizationHeaderMalformed</Code><Message>The authorization header that you provided is not valid.</Message>
400 <Code>AuthorizationQueryParametersError</Code><Message>The authorization query parameters that you provided are not valid.</Message>
400 <Code>BadDigest</Code><Message>The Content-MD5 or checksum value that you specified did not match what the server received.</Message>
400 <Code>BadRequest</Code><Message>The request is not valid HTTP.</Message>
409 <Code>BucketAlreadyExists</Code><Message>The requested bucket name is not available. The bucket namespace is shared by all users of the system. Specify a different name and try again.</Message>
409 <Code>BucketAlreadyOwnedByYou</Code><Message>The bucket that you tried to create already exists, and you own it.</Message>
409 <Code>BucketNotEmpty</Code><Message>The bucket that you tried to delete is not empty.</Message>
409 <Code>ConditionalRequestConflict</Code><Message>The conditional request cannot succeed due to a conflicting operation against this resource.</Message>
400 <Code>EntityTooLarge</Code><Message>Your proposed upload exceeds the maximum allowed object size.</Message>
400 <Code>EntityTooSmall</Code><Message>Your proposed upload is smaller than the minimum allowed object size.</Message>
417 <Code>ExpectationFailed</Code><Message>The expectation given in the Expect header cannot be met.</Message>
400 <Code>ExpiredToken</Code><Message>The provided token has expired.</Message>
505 <Code>HTTPVersionNotSupported</Code><Message>The HTTP version of the request is not supported.</Message>
400 <Code>IllegalLocationConstraintException</Code><Message>The specified location constraint is not the region of this endpoint.</Message>
400 <Code>IncompleteBody</Code><Message>You did not provide the number of bytes specified by the Content-Length HTTP header.</Message>
507 <Code>InsufficientStorage</Code><Message>There is not enough storage space or quota for this request.</Message>
500 <Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message>
403 <Code>InvalidAccessKeyId</Code><Message>The AWS access key ID that you provided does not exist in our records.</Message>
400 <Code>InvalidArgument</Code><Message>Invalid Argument</Message>
400 <Code>InvalidBucketName</Code><Message>The specified bucket is not valid.</Message>
400 <Code>InvalidDigest</Code><Message>The Content-MD5 or checksum value that you specified is not valid.</Message>
400 <Code>InvalidLocationConstraint</Code><Message>The specified location constraint is not valid.</Message>
400 <Code>InvalidPart</Code><Message>One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.</Message>
416 <Code>InvalidPartNumber</Code><Message>The requested partnumber is not satisfiable</Message>
400 <Code>InvalidPartOrder</Code><Message>The list of parts was not in ascending order. The parts list must be specified in order by part number.</Message>
416 <Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message>
400 <Code>InvalidRequest</Code><Message>Invalid Request</Message>
400 <Code>InvalidStorageClass</Code><Message>The storage class that you specified is not valid.</Message>
400 <Code>InvalidTag</Code><Message>The tag provided was not a valid tag.</Message>
400 <Code>InvalidToken</Code><Message>The provided token is malformed or otherwise not valid.</Message>
400 <Code>InvalidURI</Code><Message>The specified URI couldn't be parsed.</Message>
400 <Code>KeyTooLongError</Code><Message>Your key is too long.</Message>
400 <Code>MalformedTrailerError</Code><Message>The request contained trailing data that was not well-formed or did not conform to our published schema.</Message>
400 <Code>MalformedXML</Code><Message>The XML that you provided was not well formed or did not validate against our published schema.</Message>
400 <Code>MaxMessageLengthExceeded</Code><Message>Your request was too large.</Message>
400 <Code>MetadataTooLarge</Code><Message>Your metadata headers exceed the maximum allowed metadata size.</Message>
405 <Code>MethodNotAllowed</Code><Message>The specified method is not allowed against this resource.</Message>
411 <Code>MissingContentLength</Code><Message>You must provide the Content-Length HTTP header.</Message>
400 <Code>MissingSecurityHeader</Code><Message>Your request is missing a required header.</Message>
404 <Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message>
404 <Code>NoSuchBucketPolicy</Code><Message>The specified bucket does not have a bucket policy.</Message>
404 <Code>NoSuchCORSConfiguration</Code><Message>The specified bucket does not have a CORS configuration.</Message>
404 <Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>
404 <Code>NoSuchLifecycleConfiguration</Code><Message>The lifecycle configuration does not exist.</Message>
404 <Code>NoSuchObjectLockConfiguration</Code><Message>The specified object does not have an ObjectLock configuration.</Message>
404 <Code>NoSuchPublicAccessBlockConfiguration</Code><Message>The public access block configuration was not found.</Message>
404 <Code>NoSuchTagSet</Code><Message>The TagSet does not exist.</Message>
404 <Code>NoSuchUpload</Code><Message>The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.</Message>
404 <Code>NoSuchVersion</Code><Message>The version ID specified in the request does not match an existing version.</Message>
404 <Code>NoSuchWebsiteConfiguration</Code><Message>The specified bucket does not have a website configuration.</Message>
501 <Code>NotImplemented</Code><Message>A header or query that you provided requested functionality that is not implemented.</Message>
304 <Code>NotModified</Code><Message>Not Modified</Message>
404 <Code>ObjectLockConfigurationNotFoundError</Code><Message>Object Lock configuration does not exist for this bucket.</Message>
409 <Code>ObjectTypeConflict</Code><Message>The key names a directory where an object exists, or an object where a directory exists.</Message>
412 <Code>PreconditionFailed</Code><Message>At least one of the preconditions that you specified did not hold.</Message>
404 <Code>ReplicationConfigurationNotFoundError</Code><Message>The replication configuration was not found.</Message>
400 <Code>RequestHeaderSectionTooLarge</Code><Message>The request header and query parameters used to make the request exceed the maximum allowed size.</Message>
403 <Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the server's time is too large.</Message>
400 <Code>RequestTimeout</Code><Message>Your socket connection to the server was not read from or written to within the timeout period.</Message>
404 <Code>ServerSideEncryptionConfigurationNotFoundError</Code><Message>The server-side encryption configuration was not found.</Message>
503 <Code>ServiceUnavailable</Code><Message>Service is unable to handle request.</Message>
403 <Code>SignatureDoesNotMatch</Code><Message>The request signature that the server calculated does not match the signature that you provided. Check your secret access key and signing method.</Message>
503 <Code>SlowDown</Code><Message>Please reduce your request rate.</Message>
400 <Code>XAmzContentChecksumMismatch</Code><Message>The checksum that you provided does not match the checksum of the content that was received.</Message>
400 <Code>XAmzContentSHA256Mismatch</Code><Message>The provided x-amz-content-sha256 header does not match what was computed.</Message>
";
}
