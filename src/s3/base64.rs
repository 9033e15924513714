//! Strict base64 of the standard alphabet, for checksums and Content-MD5.
//! One text a value: padding must be there, bits that carry nothing must be zero, white space is refused, so that two
//! texts that compare unequal never mean the same digest.
//! Source: RFC 4648 section 4, with the strictness that its section 3.5 allows.

/// The base64 text of some bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let mut octets = [0; 4];
        for (octet, byte) in octets.iter_mut().skip(1).zip(group) {
            *octet = *byte;
        }
        let word = u32::from_be_bytes(octets);
        for (position, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if position <= group.len() { digit(word >> shift) } else { '=' });
        }
    }
    text
}

/// The bytes that a text of exactly `N` bytes' worth of base64 stands for.
/// Errors: `None` for another length, a foreign character, missing padding or stray bits.
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N.div_ceil(3).checked_mul(4)? {
        return None;
    }
    for (place, group) in bytes.chunks_mut(3).zip(text.chunks(4)) {
        let mut word = 0;
        for (position, character) in group.iter().enumerate() {
            let padding = position > place.len();
            let digit = if padding { (*character == b'=').then_some(0)? } else { value(*character)? };
            word = word << 6 | digit;
        }
        let [_, octets @ ..] = word.to_be_bytes();
        if octets.iter().skip(place.len()).any(|stray| *stray != 0) {
            return None;
        }
        for (byte, octet) in place.iter_mut().zip(octets) {
            *byte = octet;
        }
    }
    Some(bytes)
}

fn digit(word: u32) -> char {
    match (word & 63) as u8 {
        low @ 0..26 => char::from(b'A'.saturating_add(low)),
        low @ 26..52 => char::from(b'a'.saturating_add(low.saturating_sub(26))),
        low @ 52..62 => char::from(b'0'.saturating_add(low.saturating_sub(52))),
        62 => '+',
        _ => '/',
    }
}

fn value(character: u8) -> Option<u32> {
    let offset = |first: u8, start: u8| u32::from(character.saturating_sub(first).saturating_add(start));
    match character {
        b'A'..=b'Z' => Some(offset(b'A', 0)),
        b'a'..=b'z' => Some(offset(b'a', 26)),
        b'0'..=b'9' => Some(offset(b'0', 52)),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<const N: usize>(text: &str, want: Option<&[u8; N]>) {
        assert_eq!(decode::<N>(text.as_bytes()).as_ref(), want, "{text}");
        if let Some(bytes) = want {
            assert_eq!(encode(bytes), text);
        }
    }

    #[test]
    fn vectors_of_rfc_4648() {
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9vYg==", Some(b"foob"));
        check("Zm9vYmE=", Some(b"fooba"));
        check("Zm9vYmFy", Some(b"foobar"));
        check("+/+/", Some(&[0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn anything_else_is_refused() {
        check::<1>("Zg", None);
        check::<1>("Zg=", None);
        check::<1>("Zh==", None);
        check::<2>("Zm9=", None);
        check::<1>("Z===", None);
        check::<2>("Zg==", None);
        check::<3>("Zg==", None);
        check::<1>("=Zg=", None);
        check::<3>("Zm-_", None);
        check::<3>("Zm 9", None);
        check::<1>("Zg==\n", None);
        check::<4>("Zg==Zg==", None);
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 32], short: [u8; 16], text in "[A-Za-z0-9+/=]{8}") {
            prop_assert_eq!(decode::<32>(encode(&bytes).as_bytes()), Some(bytes));
            prop_assert_eq!(decode::<16>(encode(&short).as_bytes()), Some(short));
            if let Some(value) = decode::<4>(text.as_bytes()) {
                prop_assert_eq!(encode(&value), text);
            }
        }
    }
}
