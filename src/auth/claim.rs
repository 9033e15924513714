//! What a request claims about its signature, in one shape for both places that can carry it, and the rules that
//! hold for both: which credential, which headers are signed, which region. Nothing here is proven yet: a claim
//! becomes an `Authenticated` only in authenticate.rs.
//! Source: Signature Version 4, "Authenticating requests"; error texts as S3 gives them.

use super::amz_date::AmzDate;
use super::authenticate::{AuthMode, RegionRule, Rules};
use super::payload_mode::PayloadMode;
use super::scope::{CredentialError, NamedCredential, SERVICE, Scope, TERMINATOR};
use crate::http::head::RequestHead;
use crate::http::is_token_byte;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;

/// A request's signature and all that it says it covers.
// INVARIANT: `signed_headers` has passed `check_signed_headers`; the scope's day is the date's day.
pub(super) struct Claim<'a> {
    pub(super) mode: AuthMode,
    pub(super) credential: NamedCredential<'a>,
    pub(super) signed_headers: &'a str,
    /// As sent, whatever it is.
    pub(super) signature: &'a str,
    pub(super) date: AmzDate,
    pub(super) payload: PayloadMode,
    /// The payload's text as sent, which is what is signed.
    pub(super) payload_text: &'a str,
    pub(super) session_token: SessionToken,
}

/// Whether a session token came along; its text is not looked at while only long-term keys exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionToken {
    Absent,
    Present,
}

/// The error of a malformed claim, in the words of the place it stands in.
pub(super) fn malformed(mode: AuthMode, detail: &str) -> S3Error {
    match mode {
        AuthMode::Header => S3Error::new(Code::AuthorizationHeaderMalformed)
            .with_message(format!("The authorization header is malformed; {detail}")),
        AuthMode::Query => S3Error::new(Code::AuthorizationQueryParametersError)
            .with_message(format!("Error parsing the X-Amz-Credential parameter; {detail}")),
    }
}

/// Reads the credential and checks its day and region.
///
/// Errors: AuthorizationHeaderMalformed or AuthorizationQueryParametersError.
pub(super) fn credential<'a>(
    mode: AuthMode,
    text: &'a str,
    date: &AmzDate,
    rules: &Rules,
) -> Result<NamedCredential<'a>, S3Error> {
    let credential = NamedCredential::parse(text).map_err(|error| {
        let detail = match error {
            CredentialError::Shape => format!(
                "the Credential is mal-formed; expecting \
                 \"<YOUR-AKID>/YYYYMMDD/REGION/{SERVICE}/{TERMINATOR}\"."
            ),
            CredentialError::Service(service) => {
                format!("incorrect service \"{service}\". This endpoint belongs to \"{SERVICE}\".")
            }
            CredentialError::Terminator(terminator) => {
                format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\".")
            }
        };
        malformed(mode, &detail)
    })?;
    check_scope(mode, &credential.scope, date, rules)?;
    Ok(credential)
}

fn check_scope(mode: AuthMode, scope: &Scope<'_>, date: &AmzDate, rules: &Rules) -> Result<(), S3Error> {
    if scope.day != date.day() {
        return Err(malformed(
            mode,
            &format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
                scope.day,
                date.day()
            ),
        ));
    }
    match rules.strict_region {
        RegionRule::Strict if scope.region != rules.region => Err(malformed(
            mode,
            &format!("the region '{}' is wrong; expecting '{}'", scope.region, rules.region),
        )
        .with_element("Region", rules.region.as_str())),
        RegionRule::Strict | RegionRule::Any => Ok(()),
    }
}

/// Checks the list of signed headers: lower-case names, ascending, without repetition, `host` among them, and every
/// `x-amz-` header of the request among them.
///
/// Errors: the mode's malformed error; AccessDenied when a header came that is not signed.
pub(super) fn check_signed_headers(mode: AuthMode, list: &str, head: &RequestHead) -> Result<(), S3Error> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| is_token_byte(byte) && !byte.is_ascii_uppercase())
    };
    // Every name costs work before anybody knows who is calling.
    let names: Vec<&str> = list.split(';').take(SIGNED_HEADERS_MAX.saturating_add(1)).collect();
    if names.len() > SIGNED_HEADERS_MAX {
        let detail = format!("the SignedHeaders must be at most {SIGNED_HEADERS_MAX} names.");
        return Err(malformed(mode, &detail));
    }
    // Strictly ascending is sorted and unique in one.
    if !names.iter().all(|name| is_name(name)) || !names.is_sorted_by(|name, next| name < next) {
        return Err(malformed(mode, "the SignedHeaders must be lower-case names in ascending order."));
    }
    let is_signed = |sent: &str| {
        let sent = || sent.bytes().map(|byte| byte.to_ascii_lowercase());
        names.binary_search_by(|name| name.bytes().cmp(sent())).is_ok()
    };
    if !is_signed("host") {
        return Err(malformed(mode, "the SignedHeaders must include host."));
    }
    // The payload's hash is part of the canonical request whether its header is listed or not.
    let unsigned = head.headers().map(|(name, _)| name).find(|name| {
        name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
            && !name.eq_ignore_ascii_case(CONTENT_SHA256)
            && !is_signed(name)
    });
    match unsigned {
        Some(name) => Err(S3Error::new(Code::AccessDenied)
            .with_message("There were headers present in the request which were not signed")
            .with_element("HeadersNotSigned", name.to_ascii_lowercase())),
        None => Ok(()),
    }
}

/// Refuses a second line of a header that authentication depends on: which of two counts is a guess.
pub(super) fn check_single(head: &RequestHead) -> Result<(), S3Error> {
    for name in [CONTENT_SHA256, "x-amz-date", SECURITY_TOKEN, "date", "host"] {
        if head.header_count(name) > 1 {
            return Err(S3Error::new(Code::InvalidRequest)
                .with_message(format!("The header {name} may be given only once.")));
        }
    }
    Ok(())
}

/// Reads the text of `x-amz-content-sha256`.
///
/// Errors: InvalidArgument for anything that is not a mode.
pub(super) fn payload_mode(text: &str) -> Result<PayloadMode, S3Error> {
    PayloadMode::parse(text).ok_or_else(|| {
        S3Error::new(Code::InvalidArgument)
            .with_message(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 or a valid sha256 value.",
            )
            .with_element("ArgumentName", CONTENT_SHA256)
            .with_element("ArgumentValue", shortened(text))
    })
}

/// Most names of a list of signed headers: all that a head may have, and one that is signed as absent.
const SIGNED_HEADERS_MAX: usize = RequestHead::HEADERS_MAX + 1;
/// The header that says how the payload is signed.
pub(super) const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// The header of temporary credentials.
pub(super) const SECURITY_TOKEN: &str = "x-amz-security-token";
/// How far a request's time may be from ours. Units: seconds. Source: RequestTimeTooSkewed, 15 minutes.
pub(super) const SKEW_S: i64 = 900;
