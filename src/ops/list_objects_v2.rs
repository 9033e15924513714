//! ListObjectsV2: a page of keys after a continuation token or, on the first page, after any text.
//! All that it shares with ListObjects is there. A token wins over `start-after`, which is echoed all the same.
//! Source: ListObjectsV2.

use crate::fs::list::token;
use crate::ops::call::Call;
use crate::ops::list_objects::{Asked, ShownOwner};
use crate::ops::response::Response;
use crate::s3::error::S3Error;
use crate::s3::xml::list_objects::Paging;

/// Lists a page.
///
/// Errors: NoSuchBucket, AccessDenied, InvalidArgument, also for a token that is none.
pub async fn list_objects_v2(call: &Call<'_>) -> Result<Response, S3Error> {
    let query = &call.route.query;
    let asked = Asked::of(query)?;
    let continuation_token = query.value("continuation-token");
    let start_after = query.value_not_empty("start-after");
    // An empty token is none, and is echoed: AWS takes it so.
    let after = match continuation_token.filter(|token| !token.is_empty()) {
        Some(token) => token::read(token)?,
        None => start_after.unwrap_or_default().to_owned(),
    };
    let page = asked.page(call, &after).await?;
    let next = page.next.as_deref().map(token::write);
    let paging = Paging::Token { continuation_token, start_after, next_continuation_token: next.as_deref() };
    let owner = match query.value("fetch-owner") {
        Some(value) if value.eq_ignore_ascii_case("true") => ShownOwner::Caller,
        Some(_) | None => ShownOwner::Nobody,
    };
    asked.respond(call, &page, paging, owner)
}
