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
use crate::s3::headers::wire_value;
use crate::s3::names::PartNumber;
use crate::s3::precondition::{RangeUse, ReadConditions, ReadOutcome, precondition_failed};
use crate::s3::range::{RangeHeader, Selection};

/// Gets an object.
///
/// Errors: NoSuchKey, NoSuchBucket, PreconditionFailed, InvalidRange, InvalidPartNumber, AccessDenied.
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
    let selection = select(call, range, &object, &metadata)?;
    let response = response_of(call, &object, metadata, modified_s, selection)?;
    Ok((Some((object, selection)), response))
}

/// Resolves Range and `partNumber`.
fn select(
    call: &Call<'_>,
    range: RangeHeader,
    object: &Object,
    metadata: &Metadata,
) -> Result<Selection, S3Error> {
    match call.route.part_number()? {
        None => range.resolve(object.size_bytes()),
        Some(_) if call.head.header("range").is_some() => Err(S3Error::new(Code::InvalidRequest)
            .with_message("cannot specify both Range header and partNumber query parameter")),
        Some(number) => select_part(number, object.size_bytes(), metadata),
    }
}

/// The range of a part.
///
/// Errors: InvalidPartNumber; NotImplemented where nobody has written down the sizes of the parts.
fn select_part(number: PartNumber, size_bytes: u64, metadata: &Metadata) -> Result<Selection, S3Error> {
    let (extent, count) = match (&metadata.part_sizes, metadata.etag.part_count()) {
        (Some(sizes), _) => (sizes.extent(number), sizes.count()),
        (None, Some(count)) if number.value() <= count && count > 1 => {
            return Err(S3Error::new(Code::NotImplemented)
                .with_message("the sizes of the parts of this object were not kept when it was uploaded"));
        }
        // An object that was not uploaded in parts is its own only part.
        (None, None | Some(1)) => (Some((0, size_bytes)).filter(|_| number.value() == 1), 1),
        (None, Some(count)) => (None, count),
    };
    match extent {
        // Nothing has no range.
        Some((_, 0)) => Ok(Selection::Whole),
        Some((first, length_bytes)) => {
            RangeHeader::Between { first, last: first + (length_bytes - 1) }.resolve(size_bytes)
        }
        None => Err(S3Error::new(Code::InvalidPartNumber)
            .with_element("PartNumberRequested", number.to_string())
            .with_element("ActualPartCount", count.to_string())),
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
    let mut is_whole = selection == Selection::Whole;
    if call.route.part_number()?.is_some() {
        // Its only part is the object.
        is_whole |= extent(object, selection) == (0, object.size_bytes());
        if let Some(sizes) = &metadata.part_sizes {
            response = response.with("x-amz-mp-parts-count", sizes.count().to_string());
        }
    }
    match metadata.checksum {
        Some(checksum) if wants_checksum && is_whole => Ok(with_checksum(response, &checksum)),
        Some(_) | None => Ok(response),
    }
}

/// A time as HTTP shows it, in whole seconds.
pub fn http_date(unix_s: i64) -> String {
    let mut text = Vec::with_capacity(29);
    date::write_http_date(unix_s, &mut text);
    String::from_utf8(text).expect("an HTTP date is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::etag::ETag;
    use crate::s3::headers::{StoredHeaders, UserMetadata};
    use crate::s3::part_sizes::PartSizes;

    const MD5: ETag = ETag::of_md5([1; 16]);

    /// Want: `whole`, `offset+length` or the error's code.
    fn check(etag: ETag, sizes: &[u64], size_bytes: u64, number: u64, want: &str) {
        let metadata = Metadata {
            etag,
            headers: StoredHeaders::default(),
            user_metadata: UserMetadata::default(),
            checksum: None,
            part_sizes: PartSizes::of(sizes.iter().copied()),
            version_id: None,
        };
        let got = match select_part(PartNumber::new(number).unwrap(), size_bytes, &metadata) {
            Ok(Selection::Whole) => "whole".to_owned(),
            Ok(Selection::Part(range)) => format!("{}+{}", range.offset_bytes(), range.length_bytes()),
            Err(error) => error.code().wire().to_owned(),
        };
        assert_eq!(got, want, "part {number} of {etag} with {sizes:?}");
    }

    #[test]
    fn parts() {
        let parted = |count| ETag::of_parts([1; 16], count);
        check(MD5, &[], 7, 1, "0+7");
        check(MD5, &[], 7, 2, "InvalidPartNumber");
        check(MD5, &[], 0, 1, "whole");
        check(ETag::synthetic([1; 16]), &[], 7, 1, "0+7");
        check(parted(1), &[7], 7, 1, "0+7");
        check(parted(3), &[8, 8, 5], 21, 3, "16+5");
        check(parted(3), &[8, 8, 5], 21, 4, "InvalidPartNumber");
        // Sizes that were never written down.
        check(parted(3), &[], 21, 3, "NotImplemented");
        check(parted(3), &[], 21, 4, "InvalidPartNumber");
    }
}
