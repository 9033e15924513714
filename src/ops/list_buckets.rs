//! ListBuckets: the directories at the top of the root whose names are bucket names, a page of them.
//! The names are read anew each time: `mkdir` makes a bucket at once.
//! Source: ListBuckets.

use crate::fs::bucket;
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::S3Error;
use crate::s3::xml::list_buckets::{self, Bucket, ListBuckets};
use crate::s3::xml::writer::Owner;

/// Buckets of one page. Source: ListBuckets, `max-buckets`.
const PAGE_MAX: u32 = 10_000;

/// Lists the buckets.
///
/// Errors: InvalidArgument for a page size that is no number.
pub async fn list_buckets(call: &Call<'_>) -> Result<Response, S3Error> {
    let query = &call.route.query;
    let page = query.page_size("max-buckets", PAGE_MAX)? as usize;
    let prefix = query.value_not_empty("prefix");
    let after = query.value_not_empty("continuation-token").unwrap_or_default();
    let all = bucket::list(call.tree()).await?;
    let mut found = all.iter().filter(|bucket| {
        let name = bucket.name.as_str();
        name > after && prefix.is_none_or(|prefix| name.starts_with(prefix))
    });
    let shown: Vec<_> = found.by_ref().take(page).collect();
    // A bucket's name says where the next page begins; it is no secret.
    let continuation_token = found.next().and(shown.last()).map(|last| last.name.as_str());
    let buckets = shown
        .iter()
        .map(|bucket| Bucket {
            name: bucket.name.as_str(),
            created_unix_s: bucket.created_ns.div_euclid(1_000_000_000),
        })
        .collect();
    let owner = Owner { id: &call.caller().canonical_id, display_name: &call.caller().name };
    Ok(Response::xml(list_buckets::write(&ListBuckets { owner, buckets, continuation_token, prefix })))
}
