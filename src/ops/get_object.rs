//! GetObject and HeadObject: one file, its conditions, its range and its headers.
//!
//! HEAD is GET without the bytes, so both are one function with a last step of their own.
//! Source: GetObject, HeadObject; RFC 9110 sections 13 and 14.

use crate::fs::bucket::Bucket;
use crate::fs::metadata::view::Metadata;
use crate::fs::reader::{self, Object};
use crate::http::date;
use crate::ops::call::Call;
use crate::ops::put_object::with_checksum;
use crate::ops::response::{Body, FileBody, Response};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{not_implemented, wire_value};
use crate::s3::precondition::{RangeUse, ReadConditions, ReadOutcome, precondition_failed};
use crate::s3::range::{RangeHeader, Selection};

/// Gets an object.
///
/// Errors: NoSuchKey, NoSuchBucket, PreconditionFailed, InvalidRange, AccessDenied.
pub async fn get_object(call: &Call<'_>) -> Result<Response, S3Error> {
    let (selected, mut response) = describe(call).await?;
    let Some((object, selection)) = selected else { return Ok(response) };
    let (offset_bytes, length_bytes) = extent(&object, selection);
    response.body =
        Body::File(FileBody { attributes: object.attributes, file: object.file, offset_bytes, length_bytes });
    Ok(response)
}

/// Tells of an object what `get_object` would, without the bytes.
///
/// Errors: as [`get_object`].
pub async fn head_object(call: &Call<'_>) -> Result<Response, S3Error> {
    let (selected, mut response) = describe(call).await?;
    if let Some((object, selection)) = selected {
        response.body = Body::Announced(extent(&object, selection).1);
    }
    Ok(response)
}

fn extent(object: &Object, selection: Selection) -> (u64, u64) {
    match selection {
        Selection::Whole => (0, object.size_bytes()),
        Selection::Part(range) => (range.offset_bytes(), range.length_bytes()),
    }
}

/// The object with what is sent of it, or nothing to send when the client has it already, and the response's head.
async fn describe(call: &Call<'_>) -> Result<(Option<(Object, Selection)>, Response), S3Error> {
    let Some(path) = call.path_to_read()? else {
        // No object has such a key, but the bucket it is asked of may be missing too.
        Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
        return Err(S3Error::new(Code::NoSuchKey));
    };
    let object = reader::open(call.tree(), call.bucket()?, &path, call.identity()).await?;
    let metadata = object.metadata(call.tree(), call.bucket()?, call.key()?.as_str()).await?;
    let modified_s = object.stat.modified_ns.div_euclid(1_000_000_000);
    let conditions = ReadConditions::of(call.head, call.now_unix_s());
    match conditions.evaluate(&metadata.etag, modified_s) {
        ReadOutcome::Proceed => {}
        ReadOutcome::NotModified => {
            let mut response = Response::empty(304)
                .with("ETag", metadata.etag.quoted())
                .with("Last-Modified", http_date(modified_s));
            // What a cache goes by is said again (RFC 9110 15.4.5).
            for (name, value) in metadata.headers.overridden_by(&call.route.query)?.entries() {
                if ["Cache-Control", "Expires"].contains(&name) {
                    response = response.with(name, wire_value(value));
                }
            }
            return Ok((None, response));
        }
        ReadOutcome::Failed(condition) => return Err(precondition_failed(condition)),
    }
    let range = match conditions.range_use(&metadata.etag, modified_s) {
        RangeUse::Applied => RangeHeader::parse(call.head.header_text("range")),
        RangeUse::Ignored => RangeHeader::parse(None),
    };
    let selection = select(call, range, &object)?;
    let response = response_of(call, &object, metadata, modified_s, selection)?;
    Ok((Some((object, selection)), response))
}

/// Resolves Range and `partNumber`.
fn select(call: &Call<'_>, range: RangeHeader, object: &Object) -> Result<Selection, S3Error> {
    match call.route.part_number()? {
        None => range.resolve(object.size_bytes()),
        Some(_) if call.head.header("range").is_some() => Err(S3Error::new(Code::InvalidRequest)
            .with_message("cannot specify both Range header and partNumber query parameter")),
        // An object that was not uploaded in parts is its own only part.
        Some(number) if number.value() == 1 && object.etag().part_count().is_none() => Ok(Selection::Whole),
        Some(_) => Err(not_implemented("partNumber")),
    }
}

fn response_of(
    call: &Call<'_>,
    object: &Object,
    metadata: Metadata,
    modified_s: i64,
    selection: Selection,
) -> Result<Response, S3Error> {
    let mut response = match selection {
        Selection::Whole => Response::empty(200),
        Selection::Part(range) => {
            Response::empty(206).with("Content-Range", range.content_range(object.size_bytes()))
        }
    };
    response = response
        .with("Last-Modified", http_date(modified_s))
        .with("ETag", metadata.etag.quoted())
        .with("Accept-Ranges", "bytes");
    for (name, value) in metadata.headers.overridden_by(&call.route.query)?.entries() {
        response = response.with(name, wire_value(value));
    }
    for (name, value) in metadata.user_metadata.entries() {
        response = response.with(format!("x-amz-meta-{name}"), wire_value(value));
    }
    let wants_checksum =
        call.head.header_text("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    match metadata.checksum {
        Some(checksum) if wants_checksum && selection == Selection::Whole => {
            Ok(with_checksum(response, &checksum))
        }
        Some(_) | None => Ok(response),
    }
}

/// A time as HTTP shows it, in whole seconds.
pub fn http_date(unix_s: i64) -> String {
    let mut text = Vec::with_capacity(29);
    date::write_http_date(unix_s, &mut text);
    String::from_utf8(text).expect("an HTTP date is ASCII")
}
