//! The one door from a request head to an `Authenticated`, which body readers and operations require.
//! It finds the one claim a request makes, recomputes its signature and compares in constant time; an unknown access
//! key costs the same work as a wrong signature. It decides nothing about what the caller may do.
//! Source: Signature Version 4 for S3; S3 error responses.

use super::canonical::{CanonicalRequest, parse_hex, sort_query, write_string_to_sign};
use super::chunk::{Chain, ChunkSigner, TrailerRule};
use super::claim::{Claim, SessionToken};
use super::credential::{Caller, Credential, Credentials};
use super::payload_mode::PayloadMode;
use super::presigned;
use super::signing_key::{Comparison, DECOY_ID, Signature, SigningKey, SigningKeys};
use super::sigv4;
use crate::http::head::RequestHead;
use crate::http::percent;
use crate::s3::error::{Code, S3Error};
use crate::s3::query::Query;

/// What the server demands of signatures.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The region of this server, as `--region` names it.
    pub region: String,
    /// Which regions a credential scope may name.
    pub strict_region: RegionRule,
}

/// Which regions a credential scope may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionRule {
    /// Every one, the empty one too: clients sign for whatever their profile says.
    Any,
    /// The server's own, `--strict-region`.
    Strict,
}

/// Where a request carries its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// In the Authorization header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

/// The proof that a request's signature was verified.
// INVARIANT: made by `authenticate` only.
pub struct Authenticated {
    caller: Caller,
    mode: AuthMode,
}

/// What the signature says about the body, and what is left to verify while it is read.
pub enum PayloadAuth {
    /// Nothing.
    Unsigned,
    /// Its SHA-256, to be compared before anything is published.
    Sha256([u8; 32]),
    /// A signature a chunk, and one of the trailer where the signer says so.
    Chunks(ChunkSigner),
    /// Nothing, but it is aws-chunked with a checksum trailer.
    UnsignedTrailer,
}

impl Authenticated {
    /// Who is calling.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where the signature stood.
    pub fn mode(&self) -> AuthMode {
        self.mode
    }
}

/// Finds out who sent a request, and what is left to verify of its body.
///
/// Shape: `query` is the parsed query of `head`; `keys` belongs to the calling core.
/// Units: seconds since 1970.
/// Errors: AccessDenied without a signature; 400 for malformed or several ones; InvalidAccessKeyId, InvalidToken,
/// SignatureDoesNotMatch, RequestTimeTooSkewed, and AccessDenied for a URL outside its time.
/// Source: Signature Version 4 for S3.
pub fn authenticate(
    head: &RequestHead,
    query: &Query,
    credentials: &Credentials,
    keys: &mut SigningKeys,
    rules: &Rules,
    now_unix_s: u64,
) -> Result<(Authenticated, PayloadAuth), S3Error> {
    let now_unix_s = i64::try_from(now_unix_s).unwrap_or(i64::MAX);
    let claim = match place_of_claim(head, query)? {
        Place::Nowhere => return Err(S3Error::new(Code::AccessDenied)),
        Place::Header(authorization) => sigv4::read(head, authorization, rules, now_unix_s)?,
        Place::Query => presigned::read(head, query, rules, now_unix_s)?,
    };
    verify(head, query, &claim, credentials, keys)
}

enum Place<'a> {
    Nowhere,
    Header(&'a str),
    Query,
}

/// Where the request's claim stands; two of them are refused, for they could name two callers.
fn place_of_claim<'a>(head: &'a RequestHead, query: &Query) -> Result<Place<'a>, S3Error> {
    let in_query = presigned::is_claimed(query);
    let in_query_v2 = presigned::is_claimed_v2(query);
    match (head.header_count("authorization"), in_query, in_query_v2) {
        (0, false, false) => Ok(Place::Nowhere),
        (0, true, false) => Ok(Place::Query),
        (0, false, true) => Err(sigv4::unsupported_mechanism()),
        (1, false, false) => Ok(Place::Header(
            std::str::from_utf8(head.header("authorization").unwrap_or_default()).unwrap_or_default(),
        )),
        (0, true, true) | (1.., _, _) => Err(S3Error::new(Code::InvalidArgument)
            .with_message(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                 string parameter or the Authorization header should be specified",
            )
            .with_element("ArgumentName", "Authorization")),
    }
}

/// Recomputes the claim's signature and compares.
fn verify(
    head: &RequestHead,
    query: &Query,
    claim: &Claim<'_>,
    credentials: &Credentials,
    keys: &mut SigningKeys,
) -> Result<(Authenticated, PayloadAuth), S3Error> {
    let known = credentials.find(claim.credential.access_key_id);
    let (key_id, secret) = match known {
        Some(credential) => (claim.credential.access_key_id, &credential.secret_access_key),
        None => (DECOY_ID, credentials.decoy()),
    };
    let path = percent::decode(head.raw_path())
        .map_err(|error| S3Error::new(Code::InvalidURI).with_message(error.to_string()))?;
    let parameters = signed_parameters(query, claim.mode);
    let headers: Vec<(&str, &[u8])> = head.headers().collect();
    let request = CanonicalRequest {
        method: head.method_text(),
        path: &path,
        query: &parameters,
        headers: &headers,
        signed_headers: claim.signed_headers,
        payload: claim.payload_text,
    };
    let scope = claim.credential.scope;
    let key = keys.find_or_derive(key_id, secret, &scope);
    let request_sha256 = request.sha256();
    let computed = key.sign(|mut sink| write_string_to_sign(&claim.date, &scope, &request_sha256, &mut sink));
    let provided = parse_hex(claim.signature.as_bytes());
    let comparison = computed.compare(provided.as_ref());
    // Everything up to here was done for an unknown access key too.
    let Some(credential) = known else {
        return Err(S3Error::new(Code::InvalidAccessKeyId)
            .with_element("AWSAccessKeyId", claim.credential.access_key_id));
    };
    match (claim.session_token, comparison) {
        // Long-term keys have no session: a token beside one is a mistake, whatever the signature.
        (SessionToken::Present, Comparison::Equal | Comparison::Different) => {
            Err(S3Error::new(Code::InvalidToken))
        }
        (SessionToken::Absent, Comparison::Different) => Err(mismatch(claim, &request, &request_sha256)),
        (SessionToken::Absent, Comparison::Equal) => {
            keys.remember(key_id, secret, &scope, &key, credentials.decoy());
            Ok(authenticated(credential, claim, &key, &computed))
        }
    }
}

/// The parameters that the signature covers, in its order: all but the signature itself.
fn signed_parameters(query: &Query, mode: AuthMode) -> Vec<(&str, &str)> {
    let is_signed = |name: &str| match mode {
        AuthMode::Header => true,
        AuthMode::Query => name != presigned::SIGNATURE_NAME,
    };
    let mut parameters: Vec<(&str, &str)> = query
        .parameters()
        .map(|parameter| (parameter.name, parameter.value))
        .filter(|(name, _)| is_signed(name))
        .collect();
    sort_query(&mut parameters);
    parameters
}

fn authenticated(
    credential: &Credential,
    claim: &Claim<'_>,
    key: &SigningKey,
    seed: &Signature,
) -> (Authenticated, PayloadAuth) {
    let chunks = |trailer| {
        let chain = Chain::new(key, &claim.date, &claim.credential.scope, seed);
        PayloadAuth::Chunks(ChunkSigner::new(chain, trailer))
    };
    let payload = match claim.payload {
        PayloadMode::Unsigned => PayloadAuth::Unsigned,
        PayloadMode::Sha256(digest) => PayloadAuth::Sha256(digest),
        PayloadMode::SignedChunks => chunks(TrailerRule::None),
        PayloadMode::SignedChunksTrailer => chunks(TrailerRule::Signed),
        PayloadMode::UnsignedTrailer => PayloadAuth::UnsignedTrailer,
    };
    (Authenticated { caller: credential.caller.clone(), mode: claim.mode }, payload)
}

/// The error that shows a client what was signed here, so that it can find where it signed otherwise.
fn mismatch(claim: &Claim<'_>, request: &CanonicalRequest<'_>, request_sha256: &[u8; 32]) -> S3Error {
    let mut string_to_sign = Vec::new();
    write_string_to_sign(&claim.date, &claim.credential.scope, request_sha256, &mut |piece| {
        string_to_sign.extend_from_slice(piece);
    });
    S3Error::new(Code::SignatureDoesNotMatch)
        .with_element("AWSAccessKeyId", claim.credential.access_key_id)
        .with_element("StringToSign", String::from_utf8_lossy(&string_to_sign))
        .with_element("SignatureProvided", claim.signature)
        .with_element("CanonicalRequest", request.text())
}

#[cfg(test)]
mod tests;
