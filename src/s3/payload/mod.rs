//! What the head of a request says about its body: how it is coded, how long it is, what is declared of it, and which
//! digests that needs; and, when the body is in, whether all of it was true.
//! Only `x-amz-content-sha256: STREAMING-...` decides that a body is aws-chunked. `Content-Encoding: aws-chunked` does
//! not: it may be missing, and clients have sent it with plain bodies; headers.rs takes it out of what is stored.
//! Signatures are auth's. Source: API pages PutObject, UploadPart; S3 User Guide "Checking object integrity".

use crate::digest::stream::{Digests, Kind, Wanted};
use crate::http::framing::BodyLength;
use crate::http::head::RequestHead;
use crate::s3::aws_chunked::trailer::Trailer;
use crate::s3::aws_chunked::{AwsChunked, Signatures};
use crate::s3::base64;
use crate::s3::checksum::{Algorithm, Checksum, parse_content_md5};
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;

/// What a body is for, which says what its length and checksum headers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An object's or a part's bytes: the length must be known or the body chunked.
    Object,
    /// A document of the request, such as DeleteObjects'; none at all is an empty one.
    Document,
    /// CompleteMultipartUpload's document: its checksum headers are about the object, not about the document.
    Completion,
}

/// How a body is coded, below whatever HTTP did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The bytes themselves.
    Plain,
    /// Chunks with a size, perhaps a signature, perhaps a trailer.
    AwsChunked(AwsChunked),
}

/// The description of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How it is coded.
    pub coding: Coding,
    /// The length of its bytes without any coding; `None` for an upload that did not say.
    pub decoded_bytes: Option<u64>,
    /// Content-MD5.
    pub content_md5: Option<[u8; 16]>,
    /// The value of an `x-amz-checksum-*` header; one that comes as a trailer is in `coding`.
    pub checksum: Option<Checksum>,
}

impl Payload {
    /// Reads the head of a request.
    /// Errors: MissingContentLength (411), IncompleteBody, InvalidArgument, InvalidDigest, InvalidRequest,
    /// MalformedTrailerError; NotImplemented for SigV4A streams.
    pub fn of(head: &RequestHead, body: BodyLength, purpose: Purpose) -> Result<Payload, S3Error> {
        let declared = match purpose {
            Purpose::Object | Purpose::Document => Declared::of(head)?,
            Purpose::Completion => Declared { header: None, trailer: checksum_trailer(head)? },
        };
        let coding = coding(head, declared.trailer)?;
        Ok(Payload {
            coding,
            decoded_bytes: decoded_bytes(head, coding, body, purpose)?,
            content_md5: content_md5(head)?,
            checksum: declared.header,
        })
    }

    /// The checksum algorithm that was declared, as header or as trailer.
    pub fn algorithm(&self) -> Option<Algorithm> {
        let trailer = match self.coding {
            Coding::Plain => None,
            Coding::AwsChunked(framing) => framing.trailer,
        };
        self.checksum.map(|checksum| checksum.algorithm()).or(trailer)
    }

    /// The digests that `verify` and the chunk signatures need.
    /// Shape: the caller adds `Md5` where an ETag is made, and `Sha256` where the whole body's hash was signed.
    pub fn wanted(&self) -> Wanted {
        let md5 = self.content_md5.map(|_| Kind::Md5);
        let checksum = self.algorithm().map(Algorithm::kind);
        let chunks = match self.coding {
            Coding::AwsChunked(AwsChunked { signatures: Signatures::Signed, .. }) => Some(Kind::ChunkSha256),
            Coding::AwsChunked(AwsChunked { signatures: Signatures::Unsigned, .. }) | Coding::Plain => None,
        };
        [md5, checksum, chunks].into_iter().flatten().fold(Wanted::NONE, Wanted::with)
    }

    /// Compares a received body with everything that was said of it.
    /// Shape: `signed_sha256` is the hash that the request's signature covers; `trailer` is empty for a plain body.
    /// Returns the checksum that was declared and holds, to be stored and answered with.
    /// Errors: IncompleteBody, XAmzContentSHA256Mismatch, BadDigest.
    pub fn verify(
        &self,
        digests: &Digests,
        received_bytes: u64,
        signed_sha256: Option<[u8; 32]>,
        trailer: &Trailer,
    ) -> Result<Option<Checksum>, S3Error> {
        if self.decoded_bytes.is_some_and(|announced| announced != received_bytes) {
            return Err(S3Error::new(Code::IncompleteBody));
        }
        if let Some(signed) = signed_sha256 {
            verify_sha256(signed, digests.sha256.ok_or_else(not_computed)?)?;
        }
        if let Some(declared) = self.content_md5 {
            verify_md5(declared, digests.md5.ok_or_else(not_computed)?)?;
        }
        let Some(algorithm) = self.algorithm() else { return Ok(None) };
        // The trailer's reader refuses a body whose announced trailer is missing; this is the same rule, kept closed.
        let declared =
            self.checksum.or(trailer.checksum).ok_or_else(|| S3Error::new(Code::MalformedTrailerError))?;
        let computed = Checksum::computed(algorithm, digests).ok_or_else(not_computed)?;
        if declared != computed {
            let wire = algorithm.wire();
            return Err(S3Error::new(Code::BadDigest)
                .with_message(format!("The {wire} you specified did not match the calculated checksum.")));
        }
        Ok(Some(declared))
    }
}

/// The checksum of the body that the head declares: a value, or the name of a trailer that will bring one.
struct Declared {
    header: Option<Checksum>,
    trailer: Option<Algorithm>,
}

impl Declared {
    fn of(head: &RequestHead) -> Result<Declared, S3Error> {
        let (header, trailer) = (checksum_header(head)?, checksum_trailer(head)?);
        if header.is_some() && trailer.is_some() {
            return Err(invalid_request("Expecting a single x-amz-checksum- header"));
        }
        if let Some(name) = head.header("x-amz-sdk-checksum-algorithm") {
            let declared = header.map(|checksum| checksum.algorithm()).or(trailer).ok_or_else(|| {
                invalid_request(
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                     headers were found.",
                )
            })?;
            let named = std::str::from_utf8(name).ok().and_then(Algorithm::of_wire);
            if named != Some(declared) {
                return Err(invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
            }
        }
        Ok(Declared { header, trailer })
    }
}

fn checksum_header(head: &RequestHead) -> Result<Option<Checksum>, S3Error> {
    let mut found = None;
    for (name, value) in head.headers().filter(|(name, _)| is_checksum_value(name)) {
        let algorithm = Algorithm::of_header(name).ok_or_else(|| {
            invalid_request("The algorithm type you specified in x-amz-checksum- header is invalid.")
        })?;
        if found.is_some() {
            return Err(invalid_request(SEVERAL_CHECKSUMS));
        }
        found = Some((algorithm, value));
    }
    let Some((algorithm, value)) = found else { return Ok(None) };
    let checksum = std::str::from_utf8(value)
        .ok()
        .and_then(|text| Checksum::parse(algorithm, text))
        .filter(|checksum| checksum.parts().is_none());
    match checksum {
        Some(checksum) => Ok(Some(checksum)),
        None => Err(invalid_request(&format!("Value for {} header is invalid.", algorithm.header()))),
    }
}

/// Whether a header is a checksum's value; the three others of the prefix say something about one.
fn is_checksum_value(name: &str) -> bool {
    let Some((prefix, rest)) = name.split_at_checked(CHECKSUM_PREFIX.len()) else { return false };
    prefix.eq_ignore_ascii_case(CHECKSUM_PREFIX)
        && !["algorithm", "type", "mode"].iter().any(|other| rest.eq_ignore_ascii_case(other))
}

fn checksum_trailer(head: &RequestHead) -> Result<Option<Algorithm>, S3Error> {
    let mut found = None;
    for (_, value) in head.headers().filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-trailer")) {
        let names = std::str::from_utf8(value).unwrap_or("?").split(',').map(str::trim_ascii);
        for name in names.filter(|name| !name.is_empty()) {
            let algorithm = Algorithm::of_header(name).ok_or_else(|| {
                invalid_request("The value specified in the x-amz-trailer header is not supported")
            })?;
            if found.replace(algorithm).is_some() {
                return Err(invalid_request(SEVERAL_CHECKSUMS));
            }
        }
    }
    Ok(found)
}

fn coding(head: &RequestHead, trailer: Option<Algorithm>) -> Result<Coding, S3Error> {
    let value = head.header(CONTENT_SHA256).unwrap_or_default();
    let aws_chunked = |signatures| Ok(Coding::AwsChunked(AwsChunked { signatures, trailer }));
    if !value.starts_with(b"STREAMING-") {
        // Nothing could carry the trailer.
        return match trailer {
            None => Ok(Coding::Plain),
            Some(_) => Err(S3Error::new(Code::MalformedTrailerError)),
        };
    }
    match (value, trailer) {
        (b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", _) => aws_chunked(Signatures::Unsigned),
        (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", None) => aws_chunked(Signatures::Signed),
        (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Some(_)) => Err(S3Error::new(Code::MalformedTrailerError)),
        (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Some(_)) => aws_chunked(Signatures::Signed),
        // A signed trailer must hold something to sign; AWS answers so when nothing was announced.
        (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", None) => {
            Err(S3Error::new(Code::IncompleteBody).with_message("The x-amz-trailer header announces no trailer."))
        }
        (b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", _) => {
            Err(S3Error::new(Code::NotImplemented)
                .with_message("Payloads signed with Signature Version 4A are not implemented."))
        }
        _ => Err(S3Error::new(Code::InvalidArgument)
            .with_message(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 \
                 value.",
            )
            .with_element("ArgumentName", CONTENT_SHA256)
            .with_element("ArgumentValue", shortened(&String::from_utf8_lossy(value)))),
    }
}

fn decoded_bytes(
    head: &RequestHead,
    coding: Coding,
    body: BodyLength,
    purpose: Purpose,
) -> Result<Option<u64>, S3Error> {
    let missing = || Err(S3Error::new(Code::MissingContentLength));
    let said = head.header("x-amz-decoded-content-length");
    match (coding, body, purpose) {
        // Nothing is coded, so the two lengths are one.
        (Coding::Plain, BodyLength::Exact(bytes), _) => match said {
            Some(text) if number(text) != Some(bytes) => Err(S3Error::new(Code::IncompleteBody)),
            Some(_) | None => Ok(Some(bytes)),
        },
        (Coding::Plain, BodyLength::Chunked, _) => match said {
            Some(text) => number(text).map(Some).ok_or_else(|| S3Error::new(Code::IncompleteBody)),
            None => Ok(None),
        },
        (Coding::Plain, BodyLength::Empty, Purpose::Document | Purpose::Completion) => Ok(Some(0)),
        (_, BodyLength::Empty, _) => missing(),
        (Coding::AwsChunked(_), BodyLength::Exact(_) | BodyLength::Chunked, _) => {
            let Some(text) = said else {
                // pyarrow uploads streams whose length it does not know; then the chunks alone end the body.
                return if body == BodyLength::Chunked { Ok(None) } else { missing() };
            };
            let Some(bytes) = number(text) else { return missing() };
            match body {
                BodyLength::Exact(coded) if coded < bytes => Err(S3Error::new(Code::IncompleteBody)),
                BodyLength::Exact(_) | BodyLength::Chunked | BodyLength::Empty => Ok(Some(bytes)),
            }
        }
    }
}

fn content_md5(head: &RequestHead) -> Result<Option<[u8; 16]>, S3Error> {
    match head.header_count("content-md5") {
        0 => Ok(None),
        1 => head.header("content-md5").map(parse_content_md5).transpose(),
        _ => Err(S3Error::new(Code::InvalidDigest).with_message("The Content-MD5 was specified twice.")),
    }
}

fn verify_sha256(signed: [u8; 32], computed: [u8; 32]) -> Result<(), S3Error> {
    if signed == computed {
        return Ok(());
    }
    let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Err(S3Error::new(Code::XAmzContentSHA256Mismatch)
        .with_element("ClientComputedContentSHA256", hex(signed))
        .with_element("S3ComputedContentSHA256", hex(computed)))
}

fn verify_md5(declared: [u8; 16], computed: [u8; 16]) -> Result<(), S3Error> {
    if declared == computed {
        return Ok(());
    }
    Err(S3Error::new(Code::BadDigest)
        .with_message("The Content-MD5 you specified did not match what we received.")
        .with_element("ExpectedDigest", base64::encode(&declared))
        .with_element("CalculatedDigest", base64::encode(&computed)))
}

/// A digest that is needed and was not wanted is our mistake, and must never pass for a match.
fn not_computed() -> S3Error {
    S3Error::new(Code::InternalError).with_source("a declared digest was not computed")
}

fn invalid_request(message: &str) -> S3Error {
    S3Error::new(Code::InvalidRequest).with_message(message)
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

const CONTENT_SHA256: &str = "x-amz-content-sha256";
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";
const SEVERAL_CHECKSUMS: &str =
    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";

#[cfg(test)]
mod tests;
