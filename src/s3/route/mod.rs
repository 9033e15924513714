//! From a request head to its operation: host and path give bucket and key, method and query the operation.
//! Parameters that S3 does not know are ignored; a sub-resource that S3 knows never falls through to the plain verb,
//! so that `DELETE /b/k?acl` cannot delete an object.
//! It asks nobody whether the bucket exists or who is calling.
//! Source: S3 user guide, "Virtual hosting of general purpose buckets"; Amazon S3 API reference, "Actions".

use crate::http::head::{Method, RequestHead};
use crate::http::percent;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::{BucketName, ObjectKey, PartNumber, UploadId, shortened};
use crate::s3::operation::Operation;
use crate::s3::query::Query;
use subresource::Level;

mod subresource;

/// What a request is.
pub struct Route {
    /// The operation, built or not.
    pub operation: Operation,
    /// What it is about.
    pub target: Target,
    /// Its parameters.
    pub query: Query,
    /// Which version of the object it is about.
    pub version: VersionId,
}

/// Bucket and key of a request.
///
/// Shape: neither (the service), the bucket, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The bucket; always there for operations on buckets and objects.
    pub bucket: Option<BucketName>,
    /// The key; always there for operations on objects.
    pub key: Option<ObjectKey>,
}

impl Target {
    /// The bucket of an operation that has one.
    ///
    /// Errors: InvalidBucketName, which `route` rules out for every operation on buckets and objects.
    pub fn named_bucket(&self) -> Result<&BucketName, S3Error> {
        self.bucket.as_ref().ok_or_else(|| S3Error::new(Code::InvalidBucketName))
    }

    /// The key of an operation that has one.
    ///
    /// Errors: InvalidURI, which `route` rules out for every operation on objects.
    pub fn named_key(&self) -> Result<&ObjectKey, S3Error> {
        self.key.as_ref().ok_or_else(|| S3Error::new(Code::InvalidURI))
    }

    fn level(&self) -> Level {
        match (&self.bucket, &self.key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }
}

/// The `versionId` of a request. Every object has one version, whose id is `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionId {
    /// No parameter.
    Unnamed,
    /// `versionId=null`
    Null,
}

impl Route {
    /// The upload of a request about parts.
    ///
    /// Errors: NoSuchUpload when it is absent or no id of ours.
    pub fn upload_id(&self) -> Result<UploadId, S3Error> {
        UploadId::parse(self.query.value("uploadId").unwrap_or_default())
    }

    /// The part number, of an upload or of a read.
    ///
    /// Errors: InvalidArgument when it is not 1 to 10,000.
    pub fn part_number(&self) -> Result<Option<PartNumber>, S3Error> {
        self.query.value("partNumber").map(PartNumber::parse).transpose()
    }
}

/// Finds a request's operation, bucket, key and parameters.
///
/// Shape: `domains` are the host names below which a label is a bucket; the longest that fits wins, none is path-style.
/// Errors: InvalidURI, InvalidBucketName, KeyTooLongError, InvalidArgument, MethodNotAllowed, NoSuchVersion.
pub fn route(head: &RequestHead, domains: &[String]) -> Result<Route, S3Error> {
    let query = match head.raw_query() {
        Some(raw) => Query::parse(raw)?,
        None => Query::default(),
    };
    let hosted = hosted_bucket(head, domains);
    if is_object_lambda(head, hosted) {
        let (operation, target) = (Operation::WriteGetObjectResponse, Target::default());
        return Ok(Route { operation, target, query, version: VersionId::Unnamed });
    }
    let target = target_of(head.raw_path(), hosted)?;
    let operation = operation_of(head, target.level(), &query)?;
    let version = version_of(operation, &query)?;
    Ok(Route { operation, target, query, version })
}

/// The bucket that the host names, if it does: what stands before `.domain`.
fn hosted_bucket<'h>(head: &'h RequestHead, domains: &[String]) -> Option<&'h str> {
    let authority = head.authority().or_else(|| head.header_text("host"))?;
    let host = without_port(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    if domains.iter().any(|domain| host.eq_ignore_ascii_case(domain)) {
        return None;
    }
    let below = |domain: &String| label_before(host, domain);
    domains
        .iter()
        .filter_map(|domain| below(domain).map(|bucket| (domain.len(), bucket)))
        .max()
        .map(|(_, b)| b)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // An IPv6 address in brackets has colons of its own.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    }
}

fn label_before<'h>(host: &'h str, domain: &str) -> Option<&'h str> {
    let dot = host.len().checked_sub(domain.len())?.checked_sub(1)?;
    let (bucket, rest) = host.split_at_checked(dot)?;
    let below = rest.strip_prefix('.')?.eq_ignore_ascii_case(domain) && !bucket.is_empty();
    below.then_some(bucket)
}

/// The one request of the API whose path is no bucket: the answer of an object lambda.
fn is_object_lambda(head: &RequestHead, hosted: Option<&str>) -> bool {
    hosted.is_none() && head.method() == Method::Post && head.raw_path() == "/WriteGetObjectResponse"
}

fn target_of(raw_path: &str, hosted: Option<&str>) -> Result<Target, S3Error> {
    let path = percent::decode(raw_path)
        .map_err(|error| S3Error::new(Code::InvalidURI).with_message(error.to_string()))?;
    if path.as_ref() == b"*" {
        return Ok(Target::default());
    }
    let rest = path.strip_prefix(b"/").ok_or_else(|| S3Error::new(Code::InvalidURI))?;
    let (bucket, key) = match hosted {
        // Host names know no case, and buckets have lower case only.
        Some(bucket) => (BucketName::parse(&bucket.to_ascii_lowercase())?, rest),
        None if rest.is_empty() => return Ok(Target::default()),
        None => {
            let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let (bucket, key) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            (BucketName::parse(&String::from_utf8_lossy(bucket))?, key.strip_prefix(b"/").unwrap_or_default())
        }
    };
    let key = if key.is_empty() { None } else { Some(ObjectKey::of_request(key)?) };
    Ok(Target { bucket: Some(bucket), key })
}

fn operation_of(head: &RequestHead, level: Level, query: &Query) -> Result<Operation, S3Error> {
    if head.method() == Method::Options {
        return Ok(Operation::OptionsObject);
    }
    match subresource_of(query)? {
        Some(rows) => {
            let row = rows.iter().find(|row| row.level == level && row.method == head.method());
            let operation = row.map(|row| row.operation).ok_or_else(|| method_not_allowed(head, level))?;
            refined(operation, head, query)
        }
        None => plain_operation(head, level, query),
    }
}

/// The rows of the one sub-resource that a query names.
///
/// Errors: InvalidArgument when it names two: AWS refuses to choose, and so must who might delete.
fn subresource_of(query: &Query) -> Result<Option<&'static [subresource::Row]>, S3Error> {
    let mut found: Option<(&str, &'static [subresource::Row])> = None;
    for parameter in query.parameters() {
        let rows = subresource::rows_of(parameter.name);
        match found {
            _ if rows.is_empty() => {}
            Some((name, _)) if name == parameter.name => {}
            Some((name, _)) => {
                let message = format!("Conflicting query string parameters: {name}, {}", parameter.name);
                return Err(S3Error::new(Code::InvalidArgument)
                    .with_message(message)
                    .with_element("ArgumentName", "ResourceType")
                    .with_element("ArgumentValue", name));
            }
            None => found = Some((parameter.name, rows)),
        }
    }
    Ok(found.map(|(_, rows)| rows))
}

/// Tells apart the operations of one sub-resource that differ in a second parameter or a header.
fn refined(operation: Operation, head: &RequestHead, query: &Query) -> Result<Operation, S3Error> {
    let listed_without = |parameter, list| if query.contains(parameter) { operation } else { list };
    Ok(match operation {
        Operation::GetBucketAnalyticsConfiguration => {
            listed_without("id", Operation::ListBucketAnalyticsConfigurations)
        }
        Operation::GetBucketIntelligentTieringConfiguration => {
            listed_without("id", Operation::ListBucketIntelligentTieringConfigurations)
        }
        Operation::GetBucketInventoryConfiguration => {
            listed_without("id", Operation::ListBucketInventoryConfigurations)
        }
        Operation::GetBucketMetricsConfiguration => {
            listed_without("id", Operation::ListBucketMetricsConfigurations)
        }
        Operation::GetObjectAnnotation => listed_without("annotationName", Operation::ListObjectAnnotations),
        Operation::UploadPart if !query.contains("partNumber") => {
            return Err(lone_parameter("uploadId", "partNumber"));
        }
        Operation::UploadPart if head.header_count("x-amz-copy-source") > 0 => Operation::UploadPartCopy,
        // Every other sub-resource is one operation as it stands; a hundred names here would hide the six above.
        other => other,
    })
}

/// The operation of a request without a sub-resource.
fn plain_operation(head: &RequestHead, level: Level, query: &Query) -> Result<Operation, S3Error> {
    match (level, head.method()) {
        // `x-id` names the operation in the newer SDKs and is ignored, but for the one that nothing else tells apart.
        (Level::Service, Method::Get) if query.value("x-id") == Some("ListDirectoryBuckets") => {
            Ok(Operation::ListDirectoryBuckets)
        }
        (Level::Service, Method::Get) => Ok(Operation::ListBuckets),
        (Level::Bucket, Method::Get) => list_operation(query),
        (Level::Bucket, Method::Head) => Ok(Operation::HeadBucket),
        (Level::Bucket, Method::Put) => Ok(Operation::CreateBucket),
        (Level::Bucket, Method::Delete) => Ok(Operation::DeleteBucket),
        (Level::Bucket, Method::Post) if is_form(head) => Ok(Operation::PostObject),
        (Level::Object, Method::Get) => Ok(Operation::GetObject),
        (Level::Object, Method::Head) => Ok(Operation::HeadObject),
        (Level::Object, Method::Delete) => Ok(Operation::DeleteObject),
        // A part whose upload got lost on the way must not replace the whole object.
        (Level::Object, Method::Put) if query.contains("partNumber") => {
            Err(lone_parameter("partNumber", "uploadId"))
        }
        (Level::Object, Method::Put) if head.header_count("x-amz-copy-source") > 0 => {
            Ok(Operation::CopyObject)
        }
        (Level::Object, Method::Put) => Ok(Operation::PutObject),
        (
            Level::Service | Level::Bucket | Level::Object,
            Method::Head | Method::Put | Method::Post | Method::Delete | Method::Options | Method::Other,
        ) => Err(method_not_allowed(head, level)),
    }
}

fn list_operation(query: &Query) -> Result<Operation, S3Error> {
    match query.value("list-type") {
        None => Ok(Operation::ListObjects),
        Some("2") => Ok(Operation::ListObjectsV2),
        Some(other) => Err(S3Error::new(Code::InvalidArgument)
            .with_message("Invalid List Type specified in Request")
            .with_element("ArgumentName", "list-type")
            .with_element("ArgumentValue", shortened(other))),
    }
}

fn is_form(head: &RequestHead) -> bool {
    let content_type = head.header_text("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Decides `versionId`: the null version is the current object, and no other exists, so none is ever acted upon.
///
/// Errors: InvalidArgument for what is no version id, and for operations that take none; NoSuchVersion.
fn version_of(operation: Operation, query: &Query) -> Result<VersionId, S3Error> {
    let named = query.parameters().filter(|parameter| parameter.name == "versionId");
    let mut version = VersionId::Unnamed;
    for parameter in named {
        match parameter.value {
            _ if !operation.is_built() => {}
            _ if !takes_version(operation) => {
                return Err(version_error("This operation does not accept a version-id.", parameter.value));
            }
            "null" => {}
            "" => return Err(version_error("Version id cannot be the empty string", "")),
            other if looks_like_version(other) => {
                return Err(S3Error::new(Code::NoSuchVersion).with_element("VersionId", other));
            }
            other => return Err(version_error("Invalid version id specified", other)),
        }
        version = VersionId::Null;
    }
    Ok(version)
}

fn takes_version(operation: Operation) -> bool {
    matches!(operation, Operation::GetObject | Operation::HeadObject | Operation::DeleteObject)
}

/// AWS's version ids are 32 characters of this set.
fn looks_like_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn version_error(message: &str, value: &str) -> S3Error {
    S3Error::new(Code::InvalidArgument)
        .with_message(message)
        .with_element("ArgumentName", "versionId")
        .with_element("ArgumentValue", shortened(value))
}

fn lone_parameter(sent: &'static str, missing: &'static str) -> S3Error {
    S3Error::new(Code::InvalidArgument)
        .with_message(format!("This operation does not accept {sent} without {missing}"))
        .with_element("ArgumentName", sent)
}

fn method_not_allowed(head: &RequestHead, level: Level) -> S3Error {
    let resource_type = match level {
        Level::Service => "SERVICE",
        Level::Bucket => "BUCKET",
        Level::Object => "OBJECT",
    };
    S3Error::new(Code::MethodNotAllowed)
        .with_element("Method", shortened(head.method_text()))
        .with_element("ResourceType", resource_type)
}

#[cfg(test)]
mod tests;
