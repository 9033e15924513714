//! The names in a request as values that cannot be illegal: bucket, key, upload id, part number.
//! Which keys a directory tree can hold is not decided here (fs/path.rs does): AWS's rules only.
//! Source: S3 user guide, "General purpose bucket naming rules" and "Naming Amazon S3 objects".

use std::fmt;
use std::net::Ipv4Addr;

use crate::s3::error::{Code, S3Error};

/// The name of a bucket.
///
/// Shape: 3 to 63 bytes of `a-z`, `0-9`, `-` and `.`, a valid DNS name, no IPv4 address, no name AWS reserves.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// Longest name. Units: bytes. Source: a DNS label, since a bucket may be the first label of a host.
    pub const BYTES_MAX: usize = 63;
    /// Shortest name. Units: bytes.
    pub const BYTES_MIN: usize = 3;

    /// Errors: InvalidBucketName, with the name as `BucketName` element.
    pub fn parse(text: &str) -> Result<BucketName, S3Error> {
        match broken_rule(text) {
            None => Ok(BucketName(text.into())),
            Some(rule) => Err(S3Error::new(Code::InvalidBucketName)
                .with_message(format!("The specified bucket is not valid: {rule}."))
                .with_element("BucketName", shortened(text))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names that AWS gives to access points and other things that are no buckets. `amzn-s3-demo-` is not among them:
/// AWS reserves it so that nobody owns the names in its examples, and those examples should work here.
const RESERVED_PREFIXES: [&str; 2] = ["xn--", "sthree-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

fn broken_rule(text: &str) -> Option<&'static str> {
    if !(BucketName::BYTES_MIN..=BucketName::BYTES_MAX).contains(&text.len()) {
        return Some("it must be 3 to 63 characters long");
    }
    if !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) {
        return Some("it may hold lowercase letters, digits, hyphens and periods only");
    }
    // Every label begins and ends with a letter or digit, or the name would be no host name.
    if text.split('.').any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-')) {
        return Some("it must begin and end with a letter or digit, and so must the parts between periods");
    }
    if text.parse::<Ipv4Addr>().is_ok() || looks_like_address(text) {
        return Some("it must not look like an IP address");
    }
    if RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return Some("its prefix is reserved");
    }
    if RESERVED_SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
        return Some("its suffix is reserved");
    }
    None
}

/// Four groups of digits: `256.1.1.1` and `010.1.1.1` are no addresses to Rust's parser, but look like one to S3.
fn looks_like_address(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The key of an object.
///
/// Shape: 1 to 1024 bytes of UTF-8, no other rule; or what a request named and no object can have, because it is none.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectKey {
    text: Box<str>,
    script: Script,
}

/// Whether a key is text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Script {
    Utf8,
    // INVARIANT: equal to no key of an object; U+FFFD stands for what could not be read.
    Foreign,
}

impl ObjectKey {
    /// Longest key. Units: bytes of UTF-8.
    pub const BYTES_MAX: usize = 1024;

    /// The key of an object that there is, or is to be.
    ///
    /// Errors: KeyTooLongError; InvalidArgument when it is empty or no UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<ObjectKey, S3Error> {
        let key = ObjectKey::of_request(bytes)?;
        if key.is_utf8() {
            return Ok(key);
        }
        Err(S3Error::new(Code::InvalidArgument).with_message("a key must be UTF-8"))
    }

    /// The key that a request names. One that is no UTF-8 is a key too: it can be asked for and deleted, and never written.
    ///
    /// Errors: KeyTooLongError; InvalidArgument when it is empty.
    pub fn of_request(bytes: &[u8]) -> Result<ObjectKey, S3Error> {
        if bytes.len() > ObjectKey::BYTES_MAX {
            return Err(S3Error::new(Code::KeyTooLongError)
                .with_element("Size", bytes.len().to_string())
                .with_element("MaxSizeAllowed", ObjectKey::BYTES_MAX.to_string()));
        }
        if bytes.is_empty() {
            return Err(S3Error::new(Code::InvalidArgument).with_message("a key must not be empty"));
        }
        let (text, script) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.into(), Script::Utf8),
            Err(_) => (String::from_utf8_lossy(bytes).into(), Script::Foreign),
        };
        Ok(ObjectKey { text, script })
    }

    /// Whether an object can have it.
    pub fn is_utf8(&self) -> bool {
        self.script == Script::Utf8
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The id of a multipart upload, opaque to clients.
///
/// Shape: 1 to 128 letters, digits, `-` and `_`, so that it is one query parameter and one file name as it stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UploadId(Box<str>);

impl UploadId {
    /// Longest id. Units: bytes. Ours are shorter; an id that cannot be ours is answered before a file is looked for.
    pub const BYTES_MAX: usize = 128;

    /// Errors: NoSuchUpload, as for an id that nobody was given.
    pub fn parse(text: &str) -> Result<UploadId, S3Error> {
        let legal = (1..=UploadId::BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !legal {
            return Err(S3Error::new(Code::NoSuchUpload).with_element("UploadId", shortened(text)));
        }
        Ok(UploadId(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a part: 1 to 10,000.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Highest part number, and so the most parts of an upload.
    pub const MAX: u16 = 10_000;

    /// The number when it is in range.
    pub fn new(number: u64) -> Option<PartNumber> {
        let number = u16::try_from(number).ok()?;
        (1..=PartNumber::MAX).contains(&number).then_some(PartNumber(number))
    }

    /// Reads digits; a sign, a space or an empty text is no number.
    ///
    /// Errors: InvalidArgument, with ArgumentName and ArgumentValue.
    pub fn parse(text: &str) -> Result<PartNumber, S3Error> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok().and_then(PartNumber::new) } else { None };
        number.ok_or_else(|| {
            S3Error::new(Code::InvalidArgument)
                .with_message("Part number must be an integer between 1 and 10000, inclusive")
                .with_element("ArgumentName", "partNumber")
                .with_element("ArgumentValue", shortened(text))
        })
    }

    /// The number, 1 to 10,000.
    pub fn value(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a client sent, cut so that an error document stays small.
pub(crate) fn shortened(text: &str) -> &str {
    const BYTES_MAX: usize = 256;
    text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(name: &str, parsed: Result<T, S3Error>, want: Option<Code>) {
        assert_eq!(parsed.err().map(|error| error.code()), want, "{name}");
    }

    #[test]
    fn bucket_names() {
        let legal =
            ["abc", "a-b", "my.bucket-1", "0ab", "1.2.3", "1.2.3.4.5", "a.1.2.3", "amzn-s3-demo-bucket"];
        for name in legal {
            check(name, BucketName::parse(name), None);
        }
        check("63", BucketName::parse(&"a".repeat(63)), None);
        let illegal = [
            "",
            "ab",
            ".ringway",
            "Abc",
            "a_b",
            "a b",
            "a/b",
            "ab\0",
            "äbc",
            "-ab",
            "ab-",
            "ab.",
            ".ab",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "010.1.1.1",
            "256.1.1.1",
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "abc.mrap",
            "abc--x-s3",
            "abc--table-s3",
        ];
        for name in illegal {
            check(name, BucketName::parse(name), Some(Code::InvalidBucketName));
        }
        check("64", BucketName::parse(&"a".repeat(64)), Some(Code::InvalidBucketName));
    }

    #[test]
    fn object_keys() {
        check("plain", ObjectKey::parse("a/b ä/../\u{1}".as_bytes()), None);
        check("1024", ObjectKey::parse(&[b'k'; 1024]), None);
        check("1025", ObjectKey::parse(&[b'k'; 1025]), Some(Code::KeyTooLongError));
        check("2000 bytes that are no UTF-8", ObjectKey::parse(&[0xff; 2000]), Some(Code::KeyTooLongError));
        check("empty", ObjectKey::parse(b""), Some(Code::InvalidArgument));
        check("no UTF-8", ObjectKey::parse(b"a\xff"), Some(Code::InvalidArgument));
    }

    #[test]
    fn a_request_may_name_what_is_no_text() {
        let foreign = ObjectKey::of_request(b"a\xff").unwrap();
        let replaced = ObjectKey::parse("a\u{fffd}".as_bytes()).unwrap();
        assert_eq!((foreign.is_utf8(), replaced.is_utf8()), (false, true));
        assert_eq!(foreign.as_str(), replaced.as_str());
        assert_ne!(foreign, replaced);
        assert_eq!(ObjectKey::of_request(b"a").unwrap(), ObjectKey::parse(b"a").unwrap());
        check("empty", ObjectKey::of_request(b""), Some(Code::InvalidArgument));
        check("too long", ObjectKey::of_request(&[0xff; 1025]), Some(Code::KeyTooLongError));
    }

    #[test]
    fn upload_ids() {
        check("token", UploadId::parse("aZ09-_"), None);
        check("128", UploadId::parse(&"u".repeat(128)), None);
        for text in ["", "a/b", "..", "a.b", "a b", "ä", &"u".repeat(129)] {
            check(text, UploadId::parse(text), Some(Code::NoSuchUpload));
        }
    }

    #[test]
    fn part_numbers() {
        for text in ["1", "10000", "0007"] {
            check(text, PartNumber::parse(text), None);
        }
        for text in ["", "0", "10001", "-1", "+1", " 1", "1.0", "65537", "99999999999999999999"] {
            check(text, PartNumber::parse(text), Some(Code::InvalidArgument));
        }
        assert_eq!(PartNumber::new(65_536 + 1), None);
    }
}
