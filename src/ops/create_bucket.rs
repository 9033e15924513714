//! CreateBucket: a directory at the top of the root.
//! Owner and account are the caller's; whether the name may be a bucket's was decided when it was parsed.
//! Source: CreateBucket.

use crate::auth::authenticate::RegionRule;
use crate::fs::bucket::{self, Creation};
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;
use crate::s3::xml::create_bucket;

/// The region in which S3 answers 200 to the owner of a bucket that exists, as it has from its first day.
const FORGIVING_REGION: &str = "us-east-1";

/// Makes a bucket.
///
/// Errors: BucketAlreadyOwnedByYou outside us-east-1, BucketAlreadyExists, IllegalLocationConstraintException,
/// MalformedXML.
pub async fn create_bucket(call: &Call<'_>, document: &[u8]) -> Result<Response, S3Error> {
    let name = call.bucket()?;
    if !document.is_empty() {
        check_location(call, create_bucket::read(document)?.location.as_deref())?;
    }
    match bucket::create(call.tree(), name, call.identity()).await? {
        Creation::Existed if call.service.region != FORGIVING_REGION => {
            Err(S3Error::new(Code::BucketAlreadyOwnedByYou))
        }
        Creation::Made | Creation::Existed => {
            Ok(Response::empty(200).with("Location", format!("/{}", name.as_str())))
        }
    }
}

/// Whether a text could be the name of a region.
fn is_region(text: &str) -> bool {
    text.len() <= REGION_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// More than any region's name has.
const REGION_BYTES_MAX: usize = 32;

fn check_location(call: &Call<'_>, location: Option<&str>) -> Result<(), S3Error> {
    match location {
        None | Some("") => Ok(()),
        Some(location) if location == call.service.region => Ok(()),
        // As the scope of a signature: clients name the region of their profile.
        Some(location) if call.service.region_rule == RegionRule::Any && is_region(location) => Ok(()),
        Some(location) => Err(S3Error::new(Code::IllegalLocationConstraintException).with_message(format!(
            "the location constraint `{}` is not the region of this endpoint, `{}`",
            shortened(location),
            call.service.region
        ))),
    }
}
