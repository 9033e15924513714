//! The aws-chunked coding of request bodies, signed and unsigned, with and without a trailer: its description, its
//! errors, and below it the decoder of the chunks and the reader of the trailer.
//! It moves bytes and reports where chunks end; it computes no digest and checks no signature, which are the
//! receiver's and auth's. The HTTP chunked coding may lie around it and is `http::chunked`'s.
//! Source: S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
//! Chunks" and "... Including Trailing Headers".

pub mod decoder;
pub mod trailer;

#[cfg(test)]
mod tests;

use crate::s3::checksum::Algorithm;
use crate::s3::error::{Code, S3Error};

/// What the head of a request says about its aws-chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsChunked {
    /// Whether every chunk, and the trailer, carry a signature.
    pub signatures: Signatures,
    /// The checksum that `x-amz-trailer` announced; without one nothing may follow the last chunk.
    pub trailer: Option<Algorithm>,
}

/// Whether chunks are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// `hex;chunk-signature=<64 hex>`, each over the chunk and the signature before it.
    Signed,
    /// `hex`
    Unsigned,
}

/// Why an aws-chunked body was refused. Nothing of it may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsChunkedError {
    /// A chunk head that is not of the form its framing has.
    ChunkHead,
    /// A signed chunk over [`decoder::SIGNED_CHUNK_BYTES_MAX`].
    ChunkTooLarge,
    /// Something other than CRLF after a chunk's bytes.
    ChunkEnd,
    /// The chunks together are shorter or longer than `x-amz-decoded-content-length`.
    DecodedLength,
    /// The body ended before its last, empty chunk.
    Truncated,
    /// Bytes after the last chunk, or after the trailer, that belong to neither.
    AfterLast,
    /// A trailer that is too long, or a line of it that is no `name:value` or has no end.
    TrailerLine,
    /// A trailer that `x-amz-trailer` did not announce.
    TrailerUndeclared,
    /// The same trailer twice.
    TrailerDuplicate,
    /// The announced trailer did not come.
    TrailerMissing,
    /// A checksum trailer whose value is no value of its algorithm.
    TrailerValue(Algorithm),
    /// A signed trailer without a signature, or one that is not 64 hex digits.
    TrailerSignature,
}

impl From<AwsChunkedError> for S3Error {
    /// Errors: IncompleteBody for chunks that do not add up, MalformedTrailerError for the trailer, InvalidRequest
    /// for its value and for a chunk over the bound, all 400.
    fn from(error: AwsChunkedError) -> S3Error {
        let incomplete = |message: &str| S3Error::new(Code::IncompleteBody).with_message(message);
        let malformed = |message: &str| S3Error::new(Code::MalformedTrailerError).with_source(message);
        match error {
            AwsChunkedError::ChunkHead => {
                incomplete("The body is not well-formed aws-chunked: a chunk head is invalid.")
            }
            AwsChunkedError::ChunkTooLarge => S3Error::new(Code::InvalidRequest).with_message(format!(
                "A signed chunk is larger than the {} bytes that are allowed.",
                decoder::SIGNED_CHUNK_BYTES_MAX
            )),
            AwsChunkedError::ChunkEnd => {
                incomplete("The body is not well-formed aws-chunked: a chunk does not end.")
            }
            AwsChunkedError::DecodedLength => incomplete(
                "You did not provide the number of bytes specified by x-amz-decoded-content-length.",
            ),
            AwsChunkedError::Truncated => incomplete("The request body terminated unexpectedly."),
            AwsChunkedError::AfterLast => incomplete("The request body goes on after its last chunk."),
            AwsChunkedError::TrailerLine => {
                malformed("a trailer line is no field, or the trailer is too long")
            }
            AwsChunkedError::TrailerUndeclared => malformed("a trailer was not announced in x-amz-trailer"),
            AwsChunkedError::TrailerDuplicate => malformed("a trailer came twice"),
            AwsChunkedError::TrailerMissing => malformed("the announced trailer is missing"),
            AwsChunkedError::TrailerValue(algorithm) => S3Error::new(Code::InvalidRequest)
                .with_message(format!("Value for {} trailing header is invalid.", algorithm.header())),
            AwsChunkedError::TrailerSignature => {
                malformed("the trailer's signature is missing or no 64 hex digits")
            }
        }
    }
}

/// A signature as it stands on the wire, or `None` when the text is no 64 hex digits.
fn signature(text: &[u8]) -> Option<[u8; 64]> {
    let signature: [u8; 64] = text.try_into().ok()?;
    signature.iter().all(u8::is_ascii_hexdigit).then_some(signature)
}
