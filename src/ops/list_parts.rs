//! ListParts: a page of an upload's parts, by number.
//! A number that was repeated is listed once, as the part that counts.
//! Source: ListParts.

use crate::fs::bucket::Bucket;
use crate::fs::multipart::record::PartRecord;
use crate::fs::multipart::upload;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;
use crate::s3::query::Query;
use crate::s3::xml::multipart::{self, ListedPart, ListedParts, Rest};
use crate::s3::xml::writer::{KeyEncoding, Owner};

/// Parts of one page. Source: ListParts, `max-parts`.
const PAGE_MAX: u32 = 1000;

/// Lists a page.
///
/// Errors: NoSuchUpload, NoSuchBucket, InvalidArgument for a page size or marker that is no number.
pub async fn list_parts(call: &Call<'_>) -> Result<Response, S3Error> {
    let query = &call.route.query;
    let id = call.route.upload_id()?;
    let max_parts = query.page_size("max-parts", PAGE_MAX)?;
    let marker = marker_of(query)?;
    let encoding = KeyEncoding::of(query)?;
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    let upload = upload::find(call.tree(), &bucket, call.key()?, &id).await?;
    let mut numbers = upload.numbers().await?;
    numbers.retain(|number| u32::from(number.value()) > marker);
    let rest = if max_parts > 0 && numbers.len() > max_parts as usize { Rest::More } else { Rest::None };
    numbers.truncate(max_parts as usize);
    let parts: Vec<ListedPart> = upload.parts(&numbers).await?.iter().map(listed).collect();
    let initiator = &upload.record.initiator;
    Ok(Response::xml(multipart::write_parts(&ListedParts {
        bucket: call.bucket()?,
        key: call.key()?,
        upload_id: &id,
        initiator: Owner { id: &initiator.id, display_name: &initiator.name },
        owner: Owner { id: &call.caller().canonical_id, display_name: &call.caller().name },
        part_number_marker: marker,
        max_parts,
        parts: &parts,
        rest,
        checksum: upload.record.checksum,
        encoding,
    })))
}

fn listed(part: &PartRecord) -> ListedPart {
    ListedPart {
        part_number: part.number,
        last_modified_unix_s: (part.uploaded_ns / 1_000_000_000) as i64,
        etag: part.etag,
        size_bytes: part.size_bytes,
        checksum: part.checksum,
    }
}

/// The number a page begins after; beyond the last number a page is empty.
fn marker_of(query: &Query) -> Result<u32, S3Error> {
    const NAME: &str = "part-number-marker";
    let Some(text) = query.value_not_empty(NAME) else { return Ok(0) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        S3Error::new(Code::InvalidArgument)
            .with_message("Argument part-number-marker must be an integer between 0 and 2147483647")
            .with_element("ArgumentName", NAME)
            .with_element("ArgumentValue", shortened(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers() {
        let cases = [
            ("", Ok(0)),
            ("part-number-marker=", Ok(0)),
            ("part-number-marker=7", Ok(7)),
            ("part-number-marker=2147483647", Ok(2_147_483_647)),
            ("part-number-marker=-1", Err(Code::InvalidArgument)),
            ("part-number-marker=%2B1", Err(Code::InvalidArgument)),
            ("part-number-marker=x", Err(Code::InvalidArgument)),
        ];
        for (raw, want) in cases {
            let got = marker_of(&Query::parse(raw).unwrap());
            assert_eq!(got.map_err(|error| error.code()), want, "{raw}");
        }
    }
}
