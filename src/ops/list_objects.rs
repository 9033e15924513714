//! ListObjects: a page of keys after a marker; and what it shares with its successor.
//! A page may start behind any text, which need not be a key. The owner of every object is the caller, while there is
//! one user. Source: ListObjects.

use crate::fs::bucket::Bucket;
use crate::fs::list::cursor::Cursor;
use crate::fs::list::{Listing, Page};
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;
use crate::s3::query::Query;
use crate::s3::xml::list_objects::{self, Content, Extent, ListObjects, Paging};
use crate::s3::xml::writer::{KeyEncoding, Owner};

/// Most entries of a page; who asks for more gets this many.
pub const KEYS_MAX: u32 = 1000;

/// Lists a page.
///
/// Errors: NoSuchBucket, AccessDenied, InvalidArgument.
pub async fn list_objects(call: &Call<'_>) -> Result<Response, S3Error> {
    let asked = Asked::of(&call.route.query)?;
    let marker = call.route.query.value("marker").unwrap_or_default();
    let page = asked.page(call, marker).await?;
    // AWS tells the next marker only where the last entry of the page may not be the last key.
    let next_marker = asked.delimiter.and(page.next.as_deref());
    let paging = Paging::Marker { marker, next_marker };
    asked.respond(call, &page, paging, ShownOwner::Caller)
}

/// Whose name stands beside an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownOwner {
    /// The owner's.
    Caller,
    /// Nobody's.
    Nobody,
}

/// What both operations are asked.
pub(super) struct Asked<'q> {
    prefix: &'q str,
    delimiter: Option<&'q str>,
    keys_max: u32,
    encoding: KeyEncoding,
}

impl<'q> Asked<'q> {
    /// Errors: InvalidArgument.
    pub(super) fn of(query: &'q Query) -> Result<Asked<'q>, S3Error> {
        Ok(Asked {
            prefix: query.value("prefix").unwrap_or_default(),
            delimiter: query.value_not_empty("delimiter"),
            keys_max: query.page_size("max-keys", KEYS_MAX)?,
            encoding: KeyEncoding::of(query)?,
        })
    }

    /// The entries behind `after`.
    ///
    /// Errors: NoSuchBucket, AccessDenied.
    pub(super) async fn page(&self, call: &Call<'_>, after: &str) -> Result<Page, S3Error> {
        let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
        let listing = Listing { prefix: self.prefix, delimiter: self.delimiter, after };
        let cursor = Cursor::open(call.tree(), &bucket, listing, call.identity()).await?;
        cursor.page(self.keys_max as usize).await
    }

    /// The response with a page.
    pub(super) fn respond(
        &self,
        call: &Call<'_>,
        page: &Page,
        paging: Paging<'_>,
        owner: ShownOwner,
    ) -> Result<Response, S3Error> {
        let caller = call.caller();
        let owner = match owner {
            ShownOwner::Caller => Some(Owner { id: &caller.canonical_id, display_name: &caller.name }),
            ShownOwner::Nobody => None,
        };
        let contents = page.objects.iter().map(|object| Content {
            key: &object.key,
            modified_unix_s: object.modified_ns.div_euclid(1_000_000_000),
            etag: object.etag,
            size_bytes: object.size_bytes,
            owner,
        });
        Ok(Response::xml(list_objects::write(&ListObjects {
            bucket: call.bucket()?.as_str(),
            prefix: self.prefix,
            delimiter: self.delimiter,
            keys_max: self.keys_max,
            encoding: self.encoding,
            extent: if page.next.is_some() { Extent::Truncated } else { Extent::Complete },
            paging,
            contents: contents.collect(),
            common_prefixes: page.common_prefixes.iter().map(String::as_str).collect(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    fn check(raw: &str, want: Result<(&str, Option<&str>, u32, KeyEncoding), Code>) {
        let query = Query::parse(raw).unwrap();
        let got =
            Asked::of(&query).map(|asked| (asked.prefix, asked.delimiter, asked.keys_max, asked.encoding));
        assert_eq!(got.map_err(|error| error.code()), want, "{raw}");
    }

    #[test]
    fn what_is_asked() {
        check("", Ok(("", None, 1000, KeyEncoding::Plain)));
        check("prefix=&delimiter=&encoding-type=", Ok(("", None, 1000, KeyEncoding::Plain)));
        check(
            "prefix=a%2F&delimiter=/&max-keys=7&encoding-type=url",
            Ok(("a/", Some("/"), 7, KeyEncoding::Url)),
        );
        check("max-keys=5000", Ok(("", None, 1000, KeyEncoding::Plain)));
        check("max-keys=0", Ok(("", None, 0, KeyEncoding::Plain)));
        check("max-keys=-1", Err(Code::InvalidArgument));
        check("encoding-type=base64", Err(Code::InvalidArgument));
    }
}
