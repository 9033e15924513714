//! The continuation token: where a page ended, in a form that clients take as opaque.
//!
//! It holds the last key or common prefix and never a directory offset, so it stays good while the tree changes, after a
//! restart, and on another server. It is not secret and not signed: a made-up one is a start-after, which anybody may
//! send. Source: ListObjectsV2, ContinuationToken; RFC 4648 section 5.

use crate::s3::error::{Code, S3Error};
use crate::s3::names::ObjectKey;

/// The form of what follows it in a token.
const VERSION: u8 = 1;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The token of a page that ended with a key or common prefix.
pub fn write(last: &str) -> String {
    let bytes = [&[VERSION], last.as_bytes()].concat();
    let mut token = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..=group.len() {
            token.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    token
}

/// The key or common prefix of a token.
///
/// Errors: InvalidArgument for what this server would not have written.
pub fn read(token: &str) -> Result<String, S3Error> {
    decode(token).filter(|last| write(last) == token).ok_or_else(|| {
        S3Error::new(Code::InvalidArgument)
            .with_message("The continuation token provided is incorrect")
            .with_element("ArgumentName", "continuation-token")
    })
}

fn decode(token: &str) -> Option<String> {
    if token.len() > (ObjectKey::BYTES_MAX + 1).div_ceil(3) * 4 {
        return None;
    }
    let mut bytes = Vec::with_capacity(token.len());
    for group in token.as_bytes().chunks(4) {
        let mut bits = 0;
        for (place, character) in group.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == character)?;
            bits |= (value as u32) << (18 - 6 * place);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    let (version, last) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    String::from_utf8(last.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(token: &str, want: Option<&str>) {
        match (read(token), want) {
            (Ok(last), Some(want)) => assert_eq!(last, want, "{token}"),
            (Err(error), None) => assert_eq!(error.code(), Code::InvalidArgument, "{token}"),
            (got, want) => panic!("{token}: {got:?} and not {want:?}"),
        }
    }

    #[test]
    fn tokens() {
        check("AWE", Some("a"));
        check("AWEv", Some("a/"));
        check("AQ", Some(""));
        for garbage in ["", "A", "a", "AWE=", "AWE ", "AWF", "AmE", "Af8", "käse", "++++"] {
            check(garbage, None);
        }
        check(&write(&"k".repeat(1024)), Some(&"k".repeat(1024)));
        check(&write(&"k".repeat(1028)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(last in "\\PC{0,40}") {
            let token = write(&last);
            prop_assert!(token.bytes().all(|byte| ALPHABET.contains(&byte)));
            prop_assert_eq!(read(&token).unwrap(), last);
        }

        #[test]
        fn garbage_never_panics(token in "\\PC{0,40}") {
            let _ = read(&token);
        }
    }
}
