//! Entity tags: of objects as values, and the lists that clients send in conditions.
//! An object's tag is an MD5, or 32 hex digits with a part count that cannot be taken for one; nothing else is ours.
//! Whether a stored tag still holds for a file is decided in the fs floor.
//! Source: RFC 9110 section 8.8.3 and 13.1; Object, field ETag.

use std::fmt;

/// The strong entity tag of an object.
///
/// Shape: `d41d8cd98f00b204e9800998ecf8427e` or `d41d8cd98f00b204e9800998ecf8427e-12`; quotes only on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ETag {
    digest: [u8; 16],
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Form {
    Md5,
    Counted(u16),
}

impl ETag {
    /// The tag of an object whose bytes have this MD5.
    pub const fn of_md5(md5: [u8; 16]) -> ETag {
        ETag { digest: md5, form: Form::Md5 }
    }

    /// The tag of a multipart object: the MD5 of its parts' MD5s, and their number.
    pub fn of_parts(md5_of_md5s: [u8; 16], part_count: u16) -> ETag {
        ETag { digest: md5_of_md5s, form: Form::Counted(part_count) }
    }

    /// A tag for a file whose MD5 nobody knows; the suffix says that it is none.
    pub fn synthetic(digest: [u8; 16]) -> ETag {
        ETag { digest, form: Form::Counted(1) }
    }

    /// The 16 bytes behind the hex digits.
    pub fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// The number after the `-`; none for an MD5.
    pub fn part_count(&self) -> Option<u16> {
        match self.form {
            Form::Md5 => None,
            Form::Counted(count) => Some(count),
        }
    }

    /// The tag in its quotes, as headers and XML carry it.
    pub fn quoted(&self) -> String {
        format!("\"{self}\"")
    }

    /// Reads a tag that is one of ours, with or without its quotes: SDKs and hand-written XML send both.
    pub fn parse(text: &str) -> Option<ETag> {
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let (hex, count) = match bare.split_once('-') {
            Some((hex, count)) => (hex, Some(count)),
            None => (bare, None),
        };
        let digest = digest_of_hex(hex)?;
        let form = match count {
            None => Form::Md5,
            Some(count) => Form::Counted(part_count_of(count)?),
        };
        Some(ETag { digest, form })
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.digest) {
            for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 0x0f]) {
                *digit = HEX_DIGITS.get(usize::from(value)).copied().unwrap_or_default();
            }
        }
        f.write_str(std::str::from_utf8(&hex).unwrap_or_default())?;
        match self.form {
            Form::Md5 => Ok(()),
            Form::Counted(count) => write!(f, "-{count}"),
        }
    }
}

/// Lower case only: tags are opaque text, and ours are written in one way.
fn digest_of_hex(hex: &str) -> Option<[u8; 16]> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if hex.len() != 32 || !hex.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
}

/// Plain decimal: `-01` would be a second text for the same tag.
fn part_count_of(digits: &str) -> Option<u16> {
    let legal = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if legal { digits.parse().ok() } else { None }
}

/// Which of two tags count as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Weak tags are never equal: If-Match, If-Range.
    Strong,
    /// `W/` is overlooked: If-None-Match.
    Weak,
}

/// The value of an If-Match or If-None-Match header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ETagList {
    /// `*`
    Any,
    /// One or more tags.
    Tags(Vec<GivenETag>),
}

/// A tag that a client sent. One that is not of our form can match no object, but keeps its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenETag {
    weak: bool,
    tag: Option<ETag>,
}

impl ETagList {
    /// Reads the header's value. Tags without quotes are taken too, as AWS takes them.
    ///
    /// Shape: `*`, or tags between commas; a comma inside quotes belongs to the tag. An empty value is one foreign tag.
    pub fn parse(value: &str) -> ETagList {
        let value = value.trim();
        if value == "*" {
            return ETagList::Any;
        }
        let mut tags = Vec::new();
        let mut rest = value;
        loop {
            let (tag, after) = first_tag(rest);
            tags.push(GivenETag::parse(tag));
            match after {
                Some(after) => rest = after,
                None => return ETagList::Tags(tags),
            }
        }
    }

    /// Whether an existing object's tag is in the list.
    pub fn matches(&self, etag: &ETag, comparison: Comparison) -> bool {
        match self {
            ETagList::Any => true,
            ETagList::Tags(tags) => tags.iter().any(|given| given.matches(etag, comparison)),
        }
    }
}

impl GivenETag {
    /// Reads one tag, `W/` in front or not.
    pub fn parse(text: &str) -> GivenETag {
        let text = text.trim();
        match text.strip_prefix("W/") {
            Some(strong) => GivenETag { weak: true, tag: ETag::parse(strong) },
            None => GivenETag { weak: false, tag: ETag::parse(text) },
        }
    }

    /// Whether it is an object's tag.
    pub fn matches(&self, etag: &ETag, comparison: Comparison) -> bool {
        let comparable = match comparison {
            Comparison::Strong => !self.weak,
            Comparison::Weak => true,
        };
        comparable && self.tag.as_ref() == Some(etag)
    }
}

/// The text up to the next comma outside quotes, and what follows it.
fn first_tag(list: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (index, character) in list.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                let (tag, comma_and_rest) = list.split_at(index);
                return (tag, comma_and_rest.get(1..));
            }
            _ => {}
        }
    }
    (list, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "9b2cf535f27731c974343645a3985328";

    fn check(list: &str, etag: &str, strong: bool, weak: bool) {
        let etag = ETag::parse(etag).unwrap();
        let parsed = ETagList::parse(list);
        assert_eq!(parsed.matches(&etag, Comparison::Strong), strong, "strong: {list}");
        assert_eq!(parsed.matches(&etag, Comparison::Weak), weak, "weak: {list}");
    }

    #[test]
    fn tags_have_one_text() {
        for text in [MD5, "9b2cf535f27731c974343645a3985328-1", "00000000000000000000000000000000-10000"] {
            assert_eq!(ETag::parse(text).unwrap().to_string(), text);
            assert_eq!(ETag::parse(&format!("\"{text}\"")).unwrap().quoted(), format!("\"{text}\""));
        }
        let upper = MD5.to_uppercase();
        let foreign = [
            "",
            "\"",
            "\"\"",
            "-1",
            "abc",
            &upper,
            &MD5[1..],
            "9b2cf535f27731c974343645a3985328-",
            "9b2cf535f27731c974343645a3985328-0",
            "9b2cf535f27731c974343645a3985328-01",
            "9b2cf535f27731c974343645a3985328-1-1",
            "9b2cf535f27731c974343645a3985328-65536",
            "+b2cf535f27731c974343645a3985328",
        ];
        for text in foreign {
            assert_eq!(ETag::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_synthetic_tag_is_no_md5() {
        assert_eq!(ETag::synthetic([0; 16]).to_string(), "00000000000000000000000000000000-1");
        assert_ne!(ETag::synthetic([0; 16]), ETag::of_md5([0; 16]));
    }

    #[test]
    fn lists() {
        let cases = [
            ("*", true, true),
            (MD5, true, true),
            ("\"9b2cf535f27731c974343645a3985328\"", true, true),
            ("W/\"9b2cf535f27731c974343645a3985328\"", false, true),
            ("\"a,b\" , \"9b2cf535f27731c974343645a3985328\"", true, true),
            ("\"a\",W/\"9b2cf535f27731c974343645a3985328\"", false, true),
            ("\"a, \"9b2cf535f27731c974343645a3985328\"", false, false),
            ("\"9b2cf535f27731c974343645a3985328-1\"", false, false),
            ("\"*\"", false, false),
            ("", false, false),
            (",", false, false),
        ];
        for (list, strong, weak) in cases {
            check(list, MD5, strong, weak);
        }
        check("\"9b2cf535f27731c974343645a3985328-1\"", "9b2cf535f27731c974343645a3985328-1", true, true);
    }
}
