//! The claim that an `Authorization` header makes.
//! Three fields, each exactly once, in any order; the time comes from `x-amz-date` or else `Date`, and must be within
//! the skew of ours. SigV2's `AWS AKID:signature` is refused with the answer of S3 regions that never had it.
//! Source: Signature Version 4 for S3, "Authenticating requests: using the authorization header".

use super::amz_date::{AmzDate, iso8601};
use super::authenticate::{AuthMode, Rules};
use super::canonical::ALGORITHM;
use super::claim::{
    self, CONTENT_SHA256, Claim, SECURITY_TOKEN, SKEW_S, SessionToken, check_signed_headers, malformed,
};
use crate::http::head::RequestHead;
use crate::s3::error::{Code, S3Error};

/// Reads the claim of the request's one Authorization header.
///
/// Errors: InvalidRequest, InvalidArgument, AuthorizationHeaderMalformed, AccessDenied, RequestTimeTooSkewed.
pub(super) fn read<'a>(
    head: &'a RequestHead,
    authorization: &'a str,
    rules: &Rules,
    now_unix_s: i64,
) -> Result<Claim<'a>, S3Error> {
    let fields = Fields::parse(authorization)?;
    claim::check_single(head)?;
    let payload_text = head.header_text(CONTENT_SHA256).ok_or_else(|| {
        S3Error::new(Code::InvalidRequest)
            .with_message("Missing required header for this request: x-amz-content-sha256")
    })?;
    let payload = claim::payload_mode(payload_text)?;
    let date = date_of(head, now_unix_s)?;
    let credential = claim::credential(AuthMode::Header, fields.credential, &date, rules)?;
    check_signed_headers(AuthMode::Header, fields.signed_headers, head)?;
    check_skew(&date, now_unix_s)?;
    Ok(Claim {
        mode: AuthMode::Header,
        credential,
        signed_headers: fields.signed_headers,
        signature: fields.signature,
        date,
        payload,
        payload_text,
        session_token: match head.header_count(SECURITY_TOKEN) {
            0 => SessionToken::Absent,
            1.. => SessionToken::Present,
        },
    })
}

/// The three fields of the header, as sent.
#[derive(Debug, PartialEq, Eq)]
struct Fields<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    fn parse(authorization: &'a str) -> Result<Self, S3Error> {
        let (scheme, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        match scheme {
            ALGORITHM => {}
            "AWS" | "AWS4-ECDSA-P256-SHA256" => return Err(unsupported_mechanism()),
            _ => {
                return Err(S3Error::new(Code::InvalidArgument)
                    .with_message("Unsupported Authorization Type")
                    .with_element("ArgumentName", "Authorization"));
            }
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in rest.split(',') {
            let (name, value) = field.trim_ascii().split_once('=').ok_or_else(incomplete)?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(incomplete()),
            };
            if place.replace(value).is_some() {
                return Err(incomplete());
            }
        }
        match (credential, signed_headers, signature) {
            (Some(credential), Some(signed_headers), Some(signature)) => {
                Ok(Self { credential, signed_headers, signature })
            }
            (_, _, _) => Err(incomplete()),
        }
    }
}

/// The answer to a signature of another version.
pub(super) fn unsupported_mechanism() -> S3Error {
    S3Error::new(Code::InvalidRequest).with_message(
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn incomplete() -> S3Error {
    malformed(
        AuthMode::Header,
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
    )
}

fn date_of(head: &RequestHead, now_unix_s: i64) -> Result<AmzDate, S3Error> {
    let date = match head.header_text("x-amz-date") {
        Some(text) => AmzDate::parse(text),
        None => head.header_text("date").and_then(|text| AmzDate::parse_date_header(text, now_unix_s)),
    };
    date.ok_or_else(|| {
        S3Error::new(Code::AccessDenied)
            .with_message("AWS authentication requires a valid Date or x-amz-date header")
    })
}

fn check_skew(date: &AmzDate, now_unix_s: i64) -> Result<(), S3Error> {
    if date.unix_s().abs_diff(now_unix_s) <= SKEW_S.unsigned_abs() {
        return Ok(());
    }
    Err(S3Error::new(Code::RequestTimeTooSkewed)
        .with_element("RequestTime", date.text())
        .with_element("ServerTime", iso8601(now_unix_s))
        .with_element("MaxAllowedSkewMilliseconds", SKEW_S.saturating_mul(1000).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, input: &str, want: Result<(&str, &str, &str), Code>) {
        let want = want.map(|(credential, signed_headers, signature)| Fields {
            credential,
            signed_headers,
            signature,
        });
        assert_eq!(Fields::parse(input).map_err(|error| error.code()), want, "{name}");
    }

    #[test]
    fn fields() {
        let rows = [
            (
                "as SDKs write it",
                "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x, Signature=0",
                Ok(("a/b", "host;x", "0")),
            ),
            (
                "without spaces",
                "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c",
                Ok(("a", "b", "c")),
            ),
            (
                "other order",
                "AWS4-HMAC-SHA256 Signature=c,Credential=a=,SignedHeaders=b",
                Ok(("a=", "b", "c")),
            ),
            ("empty values", "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", Ok(("", "", ""))),
            (
                "one missing",
                "AWS4-HMAC-SHA256 Credential=a,Signature=c",
                Err(Code::AuthorizationHeaderMalformed),
            ),
            (
                "one twice",
                "AWS4-HMAC-SHA256 Credential=a,Credential=a,SignedHeaders=b,Signature=c",
                Err(Code::AuthorizationHeaderMalformed),
            ),
            (
                "one more",
                "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,Region=d",
                Err(Code::AuthorizationHeaderMalformed),
            ),
            ("nothing", "AWS4-HMAC-SHA256", Err(Code::AuthorizationHeaderMalformed)),
            (
                "trailing comma",
                "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,",
                Err(Code::AuthorizationHeaderMalformed),
            ),
            ("SigV2", "AWS AKID:c2ln", Err(Code::InvalidRequest)),
            ("SigV4A", "AWS4-ECDSA-P256-SHA256 Credential=a", Err(Code::InvalidRequest)),
            ("bearer", "Bearer abc", Err(Code::InvalidArgument)),
            ("empty", "", Err(Code::InvalidArgument)),
        ];
        for (name, input, want) in rows {
            check(name, input, want);
        }
    }
}
