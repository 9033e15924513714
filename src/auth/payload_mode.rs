//! What `x-amz-content-sha256` says about a request's body: the five modes, one text each.
//! The text is part of what is signed, so a mode cannot be changed on the way. It hashes nothing itself.
//! Source: Signature Version 4 for S3, "x-amz-content-sha256"; "Signature calculations: chunked upload".

use std::borrow::Cow;

use super::canonical::{hex, parse_hex};

/// How a body is covered by its request's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// Not at all.
    Unsigned,
    /// By its SHA-256, which stands in the head.
    Sha256([u8; 32]),
    /// Chunk by chunk, each signed.
    SignedChunks,
    /// Chunk by chunk, each signed, then trailers with a signature of their own.
    SignedChunksTrailer,
    /// Not at all, but chunked, with a checksum as trailer.
    UnsignedTrailer,
}

impl PayloadMode {
    /// Reads a header's value; None for what is none of the modes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            UNSIGNED_PAYLOAD => Some(Self::Unsigned),
            SIGNED_CHUNKS => Some(Self::SignedChunks),
            SIGNED_CHUNKS_TRAILER => Some(Self::SignedChunksTrailer),
            UNSIGNED_TRAILER => Some(Self::UnsignedTrailer),
            _ => parse_hex(text.as_bytes()).map(Self::Sha256),
        }
    }

    /// The value to send.
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            PayloadMode::Unsigned => Cow::Borrowed(UNSIGNED_PAYLOAD),
            PayloadMode::Sha256(digest) => {
                Cow::Owned(hex(digest).iter().map(|&byte| char::from(byte)).collect())
            }
            PayloadMode::SignedChunks => Cow::Borrowed(SIGNED_CHUNKS),
            PayloadMode::SignedChunksTrailer => Cow::Borrowed(SIGNED_CHUNKS_TRAILER),
            PayloadMode::UnsignedTrailer => Cow::Borrowed(UNSIGNED_TRAILER),
        }
    }
}

pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_as_written() {
        let modes = [
            PayloadMode::Unsigned,
            PayloadMode::Sha256([0xa7; 32]),
            PayloadMode::SignedChunks,
            PayloadMode::SignedChunksTrailer,
            PayloadMode::UnsignedTrailer,
        ];
        for mode in modes {
            assert_eq!(PayloadMode::parse(&mode.text()), Some(mode));
        }
    }

    #[test]
    fn anything_else_is_no_mode() {
        let upper_hex = "A".repeat(64);
        for text in
            ["", "unsigned-payload", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "e3b0c442", &upper_hex]
        {
            assert_eq!(PayloadMode::parse(text), None, "{text}");
        }
    }
}
