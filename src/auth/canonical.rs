//! The canonical request and the string to sign, written piece by piece for a hash or an error text.
//! Path and query come decoded once and are encoded again; nothing is normalised: no dot segments, no doubled slashes.
//! Server and signer share it, so both sides sign the same bytes. It decides nothing about what must be signed.
//! Source: Signature Version 4, "Create a canonical request", "Create a string to sign".

use std::cmp::Ordering;

use sha2::{Digest, Sha256};

use super::amz_date::AmzDate;
use super::scope::Scope;
use crate::http::percent::{Slash, encode_to};

/// What a signature covers of one request.
pub(super) struct CanonicalRequest<'a> {
    pub(super) method: &'a str,
    /// Decoded once.
    pub(super) path: &'a [u8],
    /// Decoded names and values in the order of `sort_query`, without the signature itself.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Every header line; the signed ones are picked from it by name.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
    /// Lower-case names, ascending, separated by `;`.
    pub(super) signed_headers: &'a str,
    /// What `x-amz-content-sha256` says, or `UNSIGNED-PAYLOAD`.
    pub(super) payload: &'a str,
}

/// Most canonical requests are shorter.
const BYTES_USUAL: usize = 1000;

impl CanonicalRequest<'_> {
    /// Its SHA-256.
    pub(super) fn sha256(&self) -> [u8; 32] {
        // Collected first: a hash takes one long piece for much less than fifty short ones.
        let mut bytes = Vec::with_capacity(BYTES_USUAL);
        self.write_to(&mut |piece| bytes.extend_from_slice(piece));
        Sha256::digest(&bytes).into()
    }

    /// Its text, for the error document of a signature that does not match.
    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::new();
        self.write_to(&mut |piece| bytes.extend_from_slice(piece));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn write_to(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self.method.as_bytes());
        sink(b"\n");
        encode_to(self.path, Slash::Keep, &mut *sink);
        sink(b"\n");
        for (index, (name, value)) in self.query.iter().enumerate() {
            if index > 0 {
                sink(b"&");
            }
            encode_to(name.as_bytes(), Slash::Encode, &mut *sink);
            sink(b"=");
            encode_to(value.as_bytes(), Slash::Encode, &mut *sink);
        }
        sink(b"\n");
        for name in self.signed_headers.split(';') {
            self.write_header(name, sink);
        }
        sink(b"\n");
        sink(self.signed_headers.as_bytes());
        sink(b"\n");
        sink(self.payload.as_bytes());
    }

    /// One signed header: the values of all its lines, joined in order. An absent one has the empty value.
    fn write_header(&self, name: &str, sink: &mut impl FnMut(&[u8])) {
        sink(name.as_bytes());
        let mut separator: &[u8] = b":";
        for (sent, value) in self.headers {
            if sent.eq_ignore_ascii_case(name) {
                sink(separator);
                write_collapsed(value, sink);
                separator = b",";
            }
        }
        if separator == b":" {
            sink(separator);
        }
        sink(b"\n");
    }
}

/// Orders decoded parameters as their encoded names, then values, compare.
///
/// The encoded form decides because `%` sorts before letters: `ä` comes before `z` only when encoded.
pub(super) fn sort_query(query: &mut [(&str, &str)]) {
    query.sort_by(|(name, value), (other_name, other_value)| {
        compare_encoded(name, other_name).then_with(|| compare_encoded(value, other_value))
    });
}

/// The first bytes that differ decide; an escape compares by its `%`, and two escapes as the bytes they stand for,
/// because upper-case hex digits ascend as their values do.
fn compare_encoded(one: &str, other: &str) -> Ordering {
    let mut pairs = one.bytes().zip(other.bytes());
    match pairs.find(|(left, right)| left != right) {
        Some((left, right)) => (first_encoded(left), left).cmp(&(first_encoded(right), right)),
        None => one.len().cmp(&other.len()),
    }
}

/// The first byte of a byte's encoding.
fn first_encoded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') { byte } else { b'%' }
}

/// A value without surrounding spaces and with runs of spaces as one.
fn write_collapsed(value: &[u8], sink: &mut impl FnMut(&[u8])) {
    let value = value.trim_ascii();
    if !value.windows(2).any(|pair| pair == b"  ") {
        return sink(value);
    }
    let words = value.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            sink(b" ");
        }
        sink(word);
    }
}

/// Writes what the signature of a request is computed over.
pub(super) fn write_string_to_sign(
    date: &AmzDate,
    scope: &Scope<'_>,
    request_sha256: &[u8; 32],
    sink: &mut impl FnMut(&[u8]),
) {
    sink(ALGORITHM.as_bytes());
    sink(b"\n");
    sink(date.text().as_bytes());
    sink(b"\n");
    scope.write_to(sink);
    sink(b"\n");
    sink(&hex(request_sha256));
}

/// The only algorithm served.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Lower-case hex of 32 bytes.
pub(super) fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0_u8; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 0x0f]) {
            *digit = if value < 10 {
                b'0'.saturating_add(value)
            } else {
                b'a'.saturating_add(value.saturating_sub(10))
            };
        }
    }
    text
}

/// Reads 64 lower-case hex digits. Upper case is refused: one value has one text, so no changed byte goes unseen.
pub(super) fn parse_hex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::percent::encode;
    use proptest::prelude::*;

    fn check(name: &str, path: &[u8], query: &[(&str, &str)], headers: &[(&str, &[u8])], want: &str) {
        let mut query = query.to_vec();
        sort_query(&mut query);
        let request = CanonicalRequest {
            method: "GET",
            path,
            query: &query,
            headers,
            signed_headers: "host;x-amz-meta-a",
            payload: "UNSIGNED-PAYLOAD",
        };
        assert_eq!(request.text(), format!("GET\n{want}\nhost;x-amz-meta-a\nUNSIGNED-PAYLOAD"), "{name}");
        assert_eq!(request.sha256(), <[u8; 32]>::from(Sha256::digest(request.text())), "{name}");
    }

    #[test]
    fn canonical_requests() {
        let plain: [(&str, &[u8]); 1] = [("Host", b"h")];
        check("least", b"/", &[], &plain, "/\n\nhost:h\nx-amz-meta-a:\n");
        check("path", b"//a/../ %2e+\xff", &[], &plain, "//a/../%20%252e%2B%FF\n\nhost:h\nx-amz-meta-a:\n");
        check(
            "query",
            b"/",
            &[("b", "2"), ("a", ""), ("b", "1/"), ("z", ""), ("ä", ""), ("a-", "")],
            &plain,
            "/\n%C3%A4=&a=&a-=&b=1%2F&b=2&z=\nhost:h\nx-amz-meta-a:\n",
        );
        check(
            "headers",
            b"/",
            &[],
            &[("X-Amz-Meta-A", b"  b   c "), ("HOST", b"h"), ("x-amz-meta-a", b"d")],
            "/\n\nhost:h\nx-amz-meta-a:b c,d\n",
        );
    }

    #[test]
    fn hex_has_one_form() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8 + 5).unwrap());
        assert_eq!(parse_hex(&hex(&bytes)), Some(bytes));
        for wrong in
            ["".to_owned(), "0".repeat(63), "0".repeat(65), "A".repeat(64), "g".repeat(64), "+".repeat(64)]
        {
            assert_eq!(parse_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_encoded_text(one in "[ -~ä€]{0,6}", other in "[ -~ä€]{0,6}") {
            let encoded = |text: &str| encode(text.as_bytes(), Slash::Encode);
            prop_assert_eq!(compare_encoded(&one, &other), encoded(&one).cmp(&encoded(&other)));
        }
    }
}
