//! Floor 1: HTTP/1.1 as bytes: request heads, message framing, body decoding, response heads and dates.
//! Pure: it reads no socket, no clock and knows nothing of S3.
//! Source: RFC 9110, RFC 9112.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod head;

pub mod framing;

pub mod chunked;

pub mod response;

pub mod date;
pub mod percent;

/// Whether a byte may stand in a method or a header name. Source: RFC 9110 5.6.2, `tchar`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
