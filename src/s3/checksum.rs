//! The checksums of S3: algorithms, values as base64 text, and what a multipart object's checksum is made of.
//! A `Checksum` always has its algorithm's length; a composite one carries its part count. Values come from a finished
//! `digest::stream` or from text; comparing declared with computed is `s3::payload`'s.
//! Source: S3 User Guide "Checking object integrity", API pages PutObject, UploadPart, CompleteMultipartUpload.

use std::num::NonZeroU16;

use crate::digest::stream::{self, Digests, Kind, Stream, Wanted};
use crate::s3::base64;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::PartNumber;

/// A checksum algorithm a client can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `CRC32`
    Crc32,
    /// `CRC32C`
    Crc32c,
    /// `CRC64NVME`
    Crc64nvme,
    /// `SHA1`
    Sha1,
    /// `SHA256`
    Sha256,
}

/// How a multipart object's checksum comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumType {
    /// The digest of the parts' digests, written `<base64>-<parts>`.
    Composite,
    /// The digest of the object's bytes.
    FullObject,
}

impl Algorithm {
    /// Every algorithm, in the order of the API pages.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// The name in `x-amz-checksum-algorithm`, in XML and in error messages.
    pub fn wire(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The header, or trailer, that carries a value, in lower case.
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The XML element that carries a value, such as `ChecksumCRC32`.
    pub fn element(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "ChecksumCRC32",
            Algorithm::Crc32c => "ChecksumCRC32C",
            Algorithm::Crc64nvme => "ChecksumCRC64NVME",
            Algorithm::Sha1 => "ChecksumSHA1",
            Algorithm::Sha256 => "ChecksumSHA256",
        }
    }

    /// The algorithm of a wire name; AWS reads it in any case, and SDKs do send lower case.
    pub fn of_wire(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.wire().eq_ignore_ascii_case(name))
    }

    /// The algorithm of a header or trailer name.
    pub fn of_header(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// The digest a body stream must compute for it.
    pub fn kind(self) -> Kind {
        match self {
            Algorithm::Crc32 => Kind::Crc32,
            Algorithm::Crc32c => Kind::Crc32c,
            Algorithm::Crc64nvme => Kind::Crc64nvme,
            Algorithm::Sha1 => Kind::Sha1,
            Algorithm::Sha256 => Kind::Sha256,
        }
    }

    /// The length of a value in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// Whether a multipart object may have a checksum of this algorithm and type.
    /// CRC64NVME has no composite form; the parts of a SHA do not combine into that of the whole.
    pub fn allows(self, checksum_type: ChecksumType) -> bool {
        match (self, checksum_type) {
            (Algorithm::Crc32 | Algorithm::Crc32c, _) => true,
            (Algorithm::Crc64nvme, ChecksumType::FullObject) => true,
            (Algorithm::Crc64nvme, ChecksumType::Composite) => false,
            (Algorithm::Sha1 | Algorithm::Sha256, ChecksumType::Composite) => true,
            (Algorithm::Sha1 | Algorithm::Sha256, ChecksumType::FullObject) => false,
        }
    }

    /// The type of a multipart object's checksum when CreateMultipartUpload names none.
    pub fn default_type(self) -> ChecksumType {
        match self {
            Algorithm::Crc64nvme => ChecksumType::FullObject,
            Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256 => {
                ChecksumType::Composite
            }
        }
    }
}

impl ChecksumType {
    /// The name in `x-amz-checksum-type` and in XML.
    pub fn wire(self) -> &'static str {
        match self {
            ChecksumType::Composite => "COMPOSITE",
            ChecksumType::FullObject => "FULL_OBJECT",
        }
    }

    /// The type of a wire name.
    pub fn of_wire(name: &str) -> Option<ChecksumType> {
        [ChecksumType::Composite, ChecksumType::FullObject]
            .into_iter()
            .find(|checksum_type| checksum_type.wire().eq_ignore_ascii_case(name))
    }
}

/// A checksum's value.
/// Shape: the algorithm's 4, 8, 20 or 32 bytes, big-endian for CRCs; a composite one also has its part count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// INVARIANT: zero beyond the algorithm's length, so that derived equality is equality of values.
    bytes: [u8; 32],
    parts: Option<NonZeroU16>,
}

impl Checksum {
    /// A checksum of bytes as they are.
    /// Errors: `None` when the length is not the algorithm's, or when it has parts and no composite form.
    pub fn new(algorithm: Algorithm, bytes: &[u8], parts: Option<NonZeroU16>) -> Option<Checksum> {
        let formed = parts.is_none() || algorithm.allows(ChecksumType::Composite);
        if bytes.len() != algorithm.digest_bytes() || !formed {
            return None;
        }
        let mut padded = [0; 32];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Checksum { algorithm, bytes: padded, parts })
    }

    /// Reads `<base64>` or, for a composite checksum, `<base64>-<parts>`.
    /// Errors: `None` for anything but the algorithm's length in strict base64, and 1 to 10,000 parts.
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Checksum> {
        let (value, parts) = match text.split_once('-') {
            None => (text, None),
            Some((value, count)) => (value, Some(parse_parts(count)?)),
        };
        let value = value.as_bytes();
        match algorithm {
            Algorithm::Crc32 | Algorithm::Crc32c => {
                Checksum::new(algorithm, &base64::decode::<4>(value)?, parts)
            }
            Algorithm::Crc64nvme => Checksum::new(algorithm, &base64::decode::<8>(value)?, parts),
            Algorithm::Sha1 => Checksum::new(algorithm, &base64::decode::<20>(value)?, parts),
            Algorithm::Sha256 => Checksum::new(algorithm, &base64::decode::<32>(value)?, parts),
        }
    }

    /// What a finished stream says about an algorithm; `None` when it was not wanted there.
    pub fn computed(algorithm: Algorithm, digests: &Digests) -> Option<Checksum> {
        match algorithm {
            Algorithm::Crc32 => Checksum::new(algorithm, &digests.crc32?.to_be_bytes(), None),
            Algorithm::Crc32c => Checksum::new(algorithm, &digests.crc32c?.to_be_bytes(), None),
            Algorithm::Crc64nvme => Checksum::new(algorithm, &digests.crc64nvme?.to_be_bytes(), None),
            Algorithm::Sha1 => Checksum::new(algorithm, &digests.sha1?, None),
            Algorithm::Sha256 => Checksum::new(algorithm, &digests.sha256?, None),
        }
    }

    /// The composite checksum of a multipart object: the digest of its parts' digests, in part order.
    /// Errors: `None` for no part or more than 10,000, for a part of another algorithm, for CRC64NVME.
    pub fn composite(algorithm: Algorithm, parts: &[Checksum]) -> Option<Checksum> {
        let count = u16::try_from(parts.len()).ok().filter(|count| *count <= PartNumber::MAX)?;
        let count = NonZeroU16::new(count)?;
        let mut stream = Stream::new(Wanted::NONE.with(algorithm.kind()));
        for part in parts {
            (part.algorithm == algorithm).then(|| stream.update(part.bytes()))?;
        }
        let of_parts = Checksum::computed(algorithm, &stream.finish())?;
        Checksum::new(algorithm, of_parts.bytes(), Some(count))
    }

    /// The full-object checksum of a multipart object from each part's checksum and length, in part order.
    /// Errors: `None` for no part, for a part of another algorithm, for the SHAs, which do not combine.
    pub fn full_object(algorithm: Algorithm, parts: &[(Checksum, u64)]) -> Option<Checksum> {
        let (first, rest) = parts.split_first()?;
        let number = |part: &Checksum| (part.algorithm == algorithm).then(|| part.number());
        let mut whole = number(&first.0)?;
        // The kind must combine even when there is nothing to combine with.
        stream::combine(algorithm.kind(), 0, 0, 0)?;
        for (part, part_bytes) in rest {
            whole = stream::combine(algorithm.kind(), whole, number(part)?, *part_bytes)?;
        }
        let bytes = whole.to_be_bytes();
        let (_, value) = bytes.split_at_checked(bytes.len().checked_sub(algorithm.digest_bytes())?)?;
        Checksum::new(algorithm, value, None)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.digest_bytes()).unwrap_or_default()
    }

    /// Whether the value covers bytes or parts.
    pub fn checksum_type(&self) -> ChecksumType {
        match self.parts {
            None => ChecksumType::FullObject,
            Some(_) => ChecksumType::Composite,
        }
    }

    /// The part count of a composite checksum.
    pub fn parts(&self) -> Option<NonZeroU16> {
        self.parts
    }

    /// The value as headers and XML carry it.
    pub fn text(&self) -> String {
        let value = base64::encode(self.bytes());
        match self.parts {
            None => value,
            Some(parts) => format!("{value}-{parts}"),
        }
    }

    /// A CRC as the number it is; of a SHA the low 64 bits, which nothing asks for.
    fn number(&self) -> u64 {
        self.bytes().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.algorithm.wire(), self.text())
    }
}

/// Reads a Content-MD5 header.
/// Shape: strict base64 of 16 bytes.
/// Errors: InvalidDigest for anything else.
/// Source: RFC 1864; PutObject, header Content-MD5.
pub fn parse_content_md5(value: &[u8]) -> Result<[u8; 16], S3Error> {
    let invalid = || {
        S3Error::new(Code::InvalidDigest)
            .with_message("The Content-MD5 you specified was invalid.")
            .with_element("Content-MD5", String::from_utf8_lossy(value))
    };
    base64::decode::<16>(value).ok_or_else(invalid)
}

fn parse_parts(count: &str) -> Option<NonZeroU16> {
    let digits = count.bytes().all(|byte| byte.is_ascii_digit()) && !count.starts_with('0');
    let count = count.parse::<NonZeroU16>().ok()?;
    (digits && count.get() <= PartNumber::MAX).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn computed(algorithm: Algorithm, body: &[u8]) -> Checksum {
        let mut stream = Stream::new(Wanted::NONE.with(algorithm.kind()));
        stream.update(body);
        Checksum::computed(algorithm, &stream.finish()).unwrap()
    }

    /// Want: what awscli and AWS give for the body `123456789`, and the type a multipart upload gets by default.
    fn check(algorithm: Algorithm, want: &str, default_type: ChecksumType) {
        let value = computed(algorithm, b"123456789");
        assert_eq!(value.text(), want);
        assert_eq!(Checksum::parse(algorithm, want), Some(value));
        assert_eq!(value.checksum_type(), ChecksumType::FullObject);
        assert_eq!(value.bytes().len(), algorithm.digest_bytes());
        assert_eq!(Algorithm::of_wire(&algorithm.wire().to_lowercase()), Some(algorithm));
        assert_eq!(Algorithm::of_header(algorithm.header()), Some(algorithm));
        assert!(algorithm.header().ends_with(&algorithm.wire().to_lowercase()));
        assert_eq!(algorithm.element(), format!("Checksum{}", algorithm.wire()));
        assert_eq!(algorithm.default_type(), default_type);
        assert!(algorithm.allows(default_type));
    }

    #[test]
    fn every_algorithm() {
        check(Algorithm::Crc32, "y/Q5Jg==", ChecksumType::Composite);
        check(Algorithm::Crc32c, "4waSgw==", ChecksumType::Composite);
        check(Algorithm::Crc64nvme, "rosUhgp5mIg=", ChecksumType::FullObject);
        check(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=", ChecksumType::Composite);
        check(Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", ChecksumType::Composite);
        assert_eq!(Algorithm::of_wire("MD5"), None);
        assert_eq!(Algorithm::of_header("x-amz-checksum-type"), None);
        assert_eq!(ChecksumType::of_wire("full_object"), Some(ChecksumType::FullObject));
    }

    #[test]
    fn texts_that_are_no_checksum() {
        for text in [
            "",
            "y/Q5Jg",
            "y/Q5Jh==",
            "y/Q5Jg==-",
            "y/Q5Jg==-0",
            "y/Q5Jg==-10001",
            "y/Q5Jg==-+1",
            "y/Q5Jg==-01",
        ] {
            assert_eq!(Checksum::parse(Algorithm::Crc32, text), None, "{text}");
        }
        assert_eq!(Checksum::parse(Algorithm::Sha1, "y/Q5Jg=="), None);
        assert_eq!(Checksum::parse(Algorithm::Crc64nvme, "rosUhgp5mIg=-2"), None);
        assert_eq!(Checksum::new(Algorithm::Crc32, &[0; 33], None), None);
    }

    #[test]
    fn composite_is_the_digest_of_the_digests() {
        let parts = [computed(Algorithm::Crc32, b"1234"), computed(Algorithm::Crc32, b"56789")];
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
        let want = format!("{}-2", computed(Algorithm::Crc32, &joined).text());
        let got = Checksum::composite(Algorithm::Crc32, &parts).unwrap();
        assert_eq!((got.text(), got.checksum_type()), (want.clone(), ChecksumType::Composite));
        assert_eq!(Checksum::parse(Algorithm::Crc32, &want), Some(got));
        let nvme = computed(Algorithm::Crc64nvme, b"1234");
        assert_eq!(Checksum::composite(Algorithm::Crc64nvme, &[nvme]), None);
        assert_eq!(Checksum::composite(Algorithm::Crc32, &[parts[0], nvme]), None);
        assert_eq!(Checksum::composite(Algorithm::Crc32, &[]), None);
        assert_eq!(Checksum::composite(Algorithm::Crc32, &vec![parts[0]; 10_001]), None);
    }

    #[test]
    fn shas_have_no_full_object_form() {
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
            assert!(!algorithm.allows(ChecksumType::FullObject));
            assert_eq!(Checksum::full_object(algorithm, &[(computed(algorithm, b"a"), 1)]), None);
        }
        let other = computed(Algorithm::Crc32c, b"a");
        assert_eq!(Checksum::full_object(Algorithm::Crc32, &[(other, 1)]), None);
        assert_eq!(Checksum::full_object(Algorithm::Crc32, &[]), None);
    }

    #[test]
    fn content_md5() {
        assert_eq!(parse_content_md5(b"1B2M2Y8AsgTpgAmY7PhCfg==").unwrap()[..2], [0xd4, 0x1d]);
        for value in [&b""[..], b"1B2M2Y8AsgTpgAmY7PhCfg", b"y/Q5Jg==", b"\xff"] {
            assert_eq!(parse_content_md5(value).unwrap_err().code(), Code::InvalidDigest);
        }
    }

    proptest! {
        #[test]
        fn crcs_of_parts_combine(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
                let of_parts: Vec<_> =
                    parts.iter().map(|part| (computed(algorithm, part), part.len() as u64)).collect();
                let want = computed(algorithm, &parts.concat());
                prop_assert_eq!(Checksum::full_object(algorithm, &of_parts), Some(want));
            }
        }
    }
}
