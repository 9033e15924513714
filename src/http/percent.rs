//! Percent-encoding, once in each direction.
//! Decoding is strict: a `%` without two hex digits is an error, never a literal, and `+` stays a plus. Encoding is
//! the one that signatures are computed over: everything but A-Z a-z 0-9 - . _ ~, upper-case hex.
//! It normalises nothing: dots, slashes and doubled escapes stay what they are.
//! Source: RFC 3986 section 2; Signature Version 4, UriEncode.

use std::borrow::Cow;
use std::fmt;

/// A `%` that is not followed by two hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentError;

/// What becomes of `/` when encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slash {
    /// It separates: for paths.
    Keep,
    /// It is a byte like any other: for names and values of a query.
    Encode,
}

/// Decodes every escape once. Borrows when there is none.
///
/// Shape: any bytes in and out; hex digits of either case.
/// Errors: `PercentError`.
pub fn decode(text: &str) -> Result<Cow<'_, [u8]>, PercentError> {
    let Some(first) = text.find('%') else { return Ok(Cow::Borrowed(text.as_bytes())) };
    let mut decoded = Vec::with_capacity(text.len());
    let (plain, mut rest) = text.as_bytes().split_at_checked(first).unwrap_or_default();
    decoded.extend_from_slice(plain);
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, tail @ ..]) => {
                decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                tail
            }
            (b'%', _) => return Err(PercentError),
            (_, _) => {
                decoded.push(byte);
                after
            }
        };
    }
    Ok(Cow::Owned(decoded))
}

/// Encodes `bytes` piece by piece into `sink`, so that a hash can take the text without its ever being built.
pub fn encode_to(bytes: &[u8], slash: Slash, mut sink: impl FnMut(&[u8])) {
    let plain = |byte: u8| is_unreserved(byte) || (byte == b'/' && slash == Slash::Keep);
    let mut rest = bytes;
    while !rest.is_empty() {
        let run = rest.iter().position(|&byte| !plain(byte)).unwrap_or(rest.len());
        let (literal, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        if !literal.is_empty() {
            sink(literal);
        }
        rest = match after.split_first() {
            Some((&byte, tail)) => {
                sink(&[b'%', upper_hex(byte >> 4), upper_hex(byte & 0x0f)]);
                tail
            }
            None => after,
        };
    }
}

/// Appends the encoding of `bytes` to `out`.
pub fn encode_into(bytes: &[u8], slash: Slash, out: &mut String) {
    // Every piece is ASCII: unreserved bytes and escapes.
    encode_to(bytes, slash, |piece| out.extend(piece.iter().copied().map(char::from)));
}

/// The encoding of `bytes`.
pub fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut out = String::with_capacity(bytes.len());
    encode_into(bytes, slash, &mut out);
    out
}

impl fmt::Display for PercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percent sign is not followed by two hex digits")
    }
}

impl std::error::Error for PercentError {}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex_digit(byte: u8) -> Result<u8, PercentError> {
    let digit = char::from(byte).to_digit(16).ok_or(PercentError)?;
    u8::try_from(digit).map_err(|_| PercentError)
}

/// The digit of a value below 16.
fn upper_hex(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.saturating_add(value),
        _ => b'A'.saturating_add(value.saturating_sub(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (&'static str, &'static str, Result<&'static [u8], PercentError>);

    fn check(name: &str, input: &str, want: Result<&[u8], PercentError>) {
        assert_eq!(decode(input).as_deref().map_err(|error| *error), want, "{name}");
    }

    #[test]
    fn decoding() {
        let rows: [Row; 13] = [
            ("nothing", "", Ok(b"")),
            ("plain", "a/b+c", Ok(b"a/b+c")),
            ("space", "a%20b", Ok(b"a b")),
            ("both cases", "%2f%2F", Ok(b"//")),
            ("once only", "%252e", Ok(b"%2e")),
            ("NUL and beyond ASCII", "%00%ff", Ok(b"\0\xff")),
            ("raw beyond ASCII", "ä%41", Ok(b"\xc3\xa4A")),
            ("alone", "%", Err(PercentError)),
            ("one digit", "a%2", Err(PercentError)),
            ("no digit", "%zz", Err(PercentError)),
            ("second digit", "%2g", Err(PercentError)),
            ("sign", "%+1", Err(PercentError)),
            ("after a good one", "%41%", Err(PercentError)),
        ];
        for (name, input, want) in rows {
            check(name, input, want);
        }
    }

    #[test]
    fn encoding() {
        let rows: [(&[u8], Slash, &str); 5] = [
            (b"", Slash::Keep, ""),
            (b"AZaz09-._~", Slash::Encode, "AZaz09-._~"),
            (b"/a b/", Slash::Keep, "/a%20b/"),
            (b"/a+b=%", Slash::Encode, "%2Fa%2Bb%3D%25"),
            ("test$file ሴ".as_bytes(), Slash::Keep, "test%24file%20%E1%88%B4"),
        ];
        for (input, slash, want) in rows {
            assert_eq!(encode(input, slash), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for slash in [Slash::Keep, Slash::Encode] {
                let text = encode(&bytes, slash);
                prop_assert!(text.bytes().all(|byte| is_unreserved(byte) || matches!(byte, b'%' | b'/')));
                let decoded = decode(&text).unwrap();
                prop_assert_eq!(decoded.as_ref(), bytes.as_slice());
            }
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in "[%0-9a-g/ä]{0,20}") {
            let _ = decode(&text);
        }
    }
}
