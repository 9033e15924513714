//! The claim that a presigned query makes.
//! Six parameters, each exactly once; the URL is good from its date, less the skew, until its date plus its expiry.
//! The payload is unsigned unless the URL or the request says a hash; streaming modes exist for headers only.
//! Source: Signature Version 4 for S3, "Authenticating requests: using query parameters".

use super::amz_date::{AmzDate, iso8601};
use super::authenticate::{AuthMode, Rules};
use super::canonical::ALGORITHM;
use super::claim::{self, CONTENT_SHA256, Claim, SECURITY_TOKEN, SKEW_S, SessionToken, check_signed_headers};
use super::payload_mode::{PayloadMode, UNSIGNED_PAYLOAD};
use crate::http::head::RequestHead;
use crate::s3::error::{Code, S3Error};
use crate::s3::query::Query;

/// Reads the claim of a presigned query.
///
/// Errors: AuthorizationQueryParametersError, InvalidArgument, InvalidRequest; AccessDenied outside its time.
pub(super) fn read<'a>(
    head: &'a RequestHead,
    query: &'a Query,
    rules: &Rules,
    now_unix_s: i64,
) -> Result<Claim<'a>, S3Error> {
    check_parameters(query)?;
    claim::check_single(head)?;
    if query.value(ALGORITHM_NAME) != Some(ALGORITHM) {
        return Err(refused("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let date = query
        .value(DATE_NAME)
        .and_then(AmzDate::parse)
        .ok_or_else(|| refused("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    let expires_s = expiry(query.value(EXPIRES_NAME).unwrap_or_default())?;
    let credential_text = query.value(CREDENTIAL_NAME).unwrap_or_default();
    let credential = claim::credential(AuthMode::Query, credential_text, &date, rules)?;
    let signed_headers = query.value(SIGNED_HEADERS_NAME).unwrap_or_default();
    check_signed_headers(AuthMode::Query, signed_headers, head)?;
    let (payload, payload_text) = payload(head, query)?;
    check_time(&date, expires_s, now_unix_s)?;
    Ok(Claim {
        mode: AuthMode::Query,
        credential,
        signed_headers,
        signature: query.value(SIGNATURE_NAME).unwrap_or_default(),
        date,
        payload,
        payload_text,
        session_token: match (query.count(TOKEN_NAME), head.header_count(SECURITY_TOKEN)) {
            (0, 0) => SessionToken::Absent,
            (_, _) => SessionToken::Present,
        },
    })
}

/// Whether a query carries a SigV4 signature, or a part of one.
pub(super) fn is_claimed(query: &Query) -> bool {
    [ALGORITHM_NAME, CREDENTIAL_NAME, SIGNATURE_NAME].iter().any(|name| query.contains(name))
}

/// Whether a query carries a SigV2 signature, or a part of one.
pub(super) fn is_claimed_v2(query: &Query) -> bool {
    ["AWSAccessKeyId", "Signature"].iter().any(|name| query.contains(name))
}

/// All six there, none of them nor the optional two repeated.
fn check_parameters(query: &Query) -> Result<(), S3Error> {
    let required =
        [ALGORITHM_NAME, CREDENTIAL_NAME, DATE_NAME, EXPIRES_NAME, SIGNED_HEADERS_NAME, SIGNATURE_NAME];
    let optional_repeated = [TOKEN_NAME, CONTENT_SHA256_NAME].iter().any(|name| query.count(name) > 1);
    if optional_repeated || required.iter().any(|name| query.count(name) != 1) {
        return Err(refused(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
             X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        ));
    }
    Ok(())
}

fn expiry(text: &str) -> Result<i64, S3Error> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused("X-Amz-Expires should be a number"));
    }
    if digits.len() < text.len() {
        return Err(refused("X-Amz-Expires must be non-negative"));
    }
    match text.parse::<i64>() {
        Ok(0) => Err(refused("X-Amz-Expires must be at least 1 second")),
        Ok(expires_s @ 1..=EXPIRES_S_MAX) => Ok(expires_s),
        Ok(_) | Err(_) => Err(refused(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
             less than 604800 seconds",
        )),
    }
}

fn check_time(date: &AmzDate, expires_s: i64, now_unix_s: i64) -> Result<(), S3Error> {
    if date.unix_s().saturating_sub(SKEW_S) > now_unix_s {
        return Err(S3Error::new(Code::AccessDenied)
            .with_message("Request is not valid yet")
            .with_element("X-Amz-Date", date.text())
            .with_element("ServerTime", iso8601(now_unix_s)));
    }
    let end_unix_s = date.unix_s().saturating_add(expires_s);
    if now_unix_s > end_unix_s {
        return Err(S3Error::new(Code::AccessDenied)
            .with_message("Request has expired")
            .with_element("X-Amz-Expires", expires_s.to_string())
            .with_element("Expires", iso8601(end_unix_s))
            .with_element("ServerTime", iso8601(now_unix_s)));
    }
    Ok(())
}

/// The URL's own word, which is signed as a parameter too, or else the header's; two that differ are refused.
fn payload<'a>(head: &'a RequestHead, query: &'a Query) -> Result<(PayloadMode, &'a str), S3Error> {
    let header = || head.header_text(CONTENT_SHA256);
    let text = query.value(CONTENT_SHA256_NAME).or_else(header).unwrap_or(UNSIGNED_PAYLOAD);
    // The body is decoded by what the header says, so that must not say something else.
    if header().is_some_and(|header| header != text) {
        return Err(S3Error::new(Code::InvalidRequest)
            .with_message("The X-Amz-Content-Sha256 parameter and the x-amz-content-sha256 header differ."));
    }
    match claim::payload_mode(text)? {
        mode @ (PayloadMode::Unsigned | PayloadMode::Sha256(_)) => Ok((mode, text)),
        PayloadMode::SignedChunks | PayloadMode::SignedChunksTrailer | PayloadMode::UnsignedTrailer => {
            Err(S3Error::new(Code::InvalidRequest)
                .with_message("A presigned URL cannot be used with a streaming payload."))
        }
    }
}

fn refused(message: &str) -> S3Error {
    S3Error::new(Code::AuthorizationQueryParametersError).with_message(message)
}

pub(super) const ALGORITHM_NAME: &str = "X-Amz-Algorithm";
pub(super) const CREDENTIAL_NAME: &str = "X-Amz-Credential";
pub(super) const DATE_NAME: &str = "X-Amz-Date";
pub(super) const EXPIRES_NAME: &str = "X-Amz-Expires";
pub(super) const SIGNED_HEADERS_NAME: &str = "X-Amz-SignedHeaders";
pub(super) const SIGNATURE_NAME: &str = "X-Amz-Signature";
const TOKEN_NAME: &str = "X-Amz-Security-Token";
const CONTENT_SHA256_NAME: &str = "X-Amz-Content-Sha256";
/// Seven days. Units: seconds. Source: AuthorizationQueryParametersError, X-Amz-Expires.
pub(super) const EXPIRES_S_MAX: i64 = 604_800;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, want: Result<i64, &str>) {
        let got = expiry(input);
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{input}"),
            (Err(error), Err(want)) => {
                assert_eq!(error.code(), Code::AuthorizationQueryParametersError);
                assert!(error.message().starts_with(want), "{input}: {}", error.message());
            }
            (got, want) => panic!("{input}: {got:?} is not {want:?}"),
        }
    }

    #[test]
    fn expiries() {
        check("1", Ok(1));
        check("604800", Ok(604_800));
        check("0", Err("X-Amz-Expires must be at least"));
        check("-1", Err("X-Amz-Expires must be non-negative"));
        check("604801", Err("X-Amz-Expires must be less than a week"));
        check("99999999999999999999", Err("X-Amz-Expires must be less than a week"));
        for text in ["", "-", "+1", "1s", "1.5", "0x1", " 1"] {
            check(text, Err("X-Amz-Expires should be a number"));
        }
    }

    #[test]
    fn the_time_a_url_is_good_for() {
        let date = AmzDate::parse("20130524T000000Z").unwrap();
        let rows = [
            (-SKEW_S - 1, Err("Request is not valid yet")),
            (-SKEW_S, Ok(())),
            (0, Ok(())),
            (60, Ok(())),
            (61, Err("Request has expired")),
        ];
        for (after_s, want) in rows {
            let got = check_time(&date, 60, date.unix_s() + after_s);
            assert_eq!(got.as_ref().map_err(|error| error.message()).copied(), want, "{after_s} s after");
        }
    }
}
