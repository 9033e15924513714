//! The binary record of an object in `user.s3`: what GET, HEAD and LIST need of almost every object.
//! At most 64 bytes, 38 for a plain small object, so that it fits the spare room of a 256-byte ext4 inode. Written once
//! per inode. It can be forged by whoever may write the file, so nothing in it decides access, and what does not decode
//! to the letter is no record.
//! Source: ext4(5), "extended attributes in the inode"; the layout below is our own.

use std::ffi::CStr;
use std::num::NonZeroU16;

use super::content_type;
use crate::fs::path::KeyKind;
use crate::s3::checksum::{Algorithm, Checksum};
use crate::s3::etag::ETag;
use crate::s3::names::PartNumber;

/// The xattr of the record.
pub const XATTR: &CStr = c"user.s3";

/// Whether the object was committed with a `user.s3.meta` beside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The record says all.
    Nothing,
    /// A document says more, and what it says counts.
    Document,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// File or directory. A directory that is an object has no bytes, and its times move with its children.
    pub kind: KeyKind,
    /// Whether there is a document to read.
    pub beside: Beside,
    /// The content type, when it has a number.
    pub content_type: Option<&'static str>,
    /// The ETag of the bytes.
    pub etag: ETag,
    /// The file's size when it was committed.
    pub size_bytes: u64,
    /// The file's mtime when it was committed. Units: nanoseconds since 1970.
    pub mtime_ns: i64,
    /// A checksum that [`holds_checksum`] allows.
    pub checksum: Option<Checksum>,
    /// The version id, from the day buckets have versions.
    pub version_id: Option<[u8; 16]>,
}

impl Record {
    /// The bytes of the record, [`BYTES_MAX`] at most. A checksum that does not fit is left out: it is the document's.
    pub fn encode(&self) -> Vec<u8> {
        let checksum = self.checksum.as_ref().filter(|checksum| holds_checksum(checksum, self.etag));
        let mut flags = 0;
        flags |= if self.kind == KeyKind::Directory { FLAG_DIRECTORY } else { 0 };
        flags |= if self.beside == Beside::Document { FLAG_DOCUMENT } else { 0 };
        flags |= if self.version_id.is_some() { FLAG_VERSION } else { 0 };
        let mut bytes = Vec::with_capacity(BYTES_MAX);
        bytes.push(FORMAT);
        bytes.push(flags);
        bytes.push(self.content_type.and_then(content_type::number_of).unwrap_or(0));
        bytes.push(checksum.map_or(0, checksum_kind));
        bytes.extend(self.etag.digest());
        bytes.extend(self.etag.part_count().unwrap_or(0).to_le_bytes());
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend(self.mtime_ns.to_le_bytes());
        bytes.extend(checksum.map_or(&[][..], |checksum| checksum.bytes()));
        bytes.extend(self.version_id.iter().flatten());
        bytes
    }

    /// Reads a record.
    /// Errors: `None` for another format, another length, flags, kinds or numbers that this version does not know.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let (&[format, flags, type_number, checksum_kind], rest) = bytes.split_first_chunk::<4>()?;
        if format != FORMAT || flags & !(FLAG_DIRECTORY | FLAG_DOCUMENT | FLAG_VERSION) != 0 {
            return None;
        }
        let (&digest, rest) = rest.split_first_chunk::<16>()?;
        let (&parts, rest) = rest.split_first_chunk::<2>()?;
        let (&size, rest) = rest.split_first_chunk::<8>()?;
        let (&mtime, rest) = rest.split_first_chunk::<8>()?;
        let etag = match u16::from_le_bytes(parts) {
            0 => ETag::of_md5(digest),
            parts if parts <= PartNumber::MAX => ETag::of_parts(digest, parts),
            _ => return None,
        };
        let (checksum, rest) = decode_checksum(checksum_kind, rest, etag)?;
        let (version_id, rest) = match flags & FLAG_VERSION {
            0 => (None, rest),
            _ => rest.split_first_chunk::<16>().map(|(id, rest)| (Some(*id), rest))?,
        };
        let content_type = match type_number {
            0 => None,
            number => Some(content_type::of_number(number)?),
        };
        rest.is_empty().then_some(Record {
            kind: if flags & FLAG_DIRECTORY != 0 { KeyKind::Directory } else { KeyKind::File },
            beside: if flags & FLAG_DOCUMENT != 0 { Beside::Document } else { Beside::Nothing },
            content_type,
            etag,
            size_bytes: u64::from_le_bytes(size),
            mtime_ns: i64::from_le_bytes(mtime),
            checksum,
            version_id,
        })
    }
}

/// Whether a record of an object with this ETag has room for a checksum: a CRC, of the bytes or of as many parts as
/// the ETag has.
pub fn holds_checksum(checksum: &Checksum, etag: ETag) -> bool {
    let is_crc = crc_number(checksum.algorithm()).is_some();
    let parts = checksum.parts().map(NonZeroU16::get);
    is_crc && (parts.is_none() || parts == etag.part_count())
}

fn checksum_kind(checksum: &Checksum) -> u8 {
    let number = crc_number(checksum.algorithm()).unwrap_or(0);
    if checksum.parts().is_some() { number | KIND_COMPOSITE } else { number }
}

fn decode_checksum(kind: u8, rest: &[u8], etag: ETag) -> Option<(Option<Checksum>, &[u8])> {
    if kind == 0 {
        return Some((None, rest));
    }
    let number = kind & !KIND_COMPOSITE;
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| crc_number(*algorithm) == Some(number))?;
    let parts = match kind & KIND_COMPOSITE {
        0 => None,
        _ => Some(etag.part_count().and_then(NonZeroU16::new)?),
    };
    let (value, rest) = rest.split_at_checked(algorithm.digest_bytes())?;
    Some((Some(Checksum::new(algorithm, value, parts)?), rest))
}

/// The number of a CRC on disk; the SHAs are too long for the record.
fn crc_number(algorithm: Algorithm) -> Option<u8> {
    match algorithm {
        Algorithm::Crc32 => Some(1),
        Algorithm::Crc32c => Some(2),
        Algorithm::Crc64nvme => Some(3),
        Algorithm::Sha1 | Algorithm::Sha256 => None,
    }
}

/// Measured room of a 256-byte ext4 inode: 68 bytes without an ACL. A CRC64NVME and a version id make 62.
pub const BYTES_MAX: usize = 64;

const _: () = assert!(4 + 16 + 2 + 8 + 8 + 8 + 16 <= BYTES_MAX);

const FORMAT: u8 = 1;
const FLAG_DIRECTORY: u8 = 1;
const FLAG_DOCUMENT: u8 = 2;
const FLAG_VERSION: u8 = 4;
/// Beside the CRC's number: the value is composite, of as many parts as the ETag has.
const KIND_COMPOSITE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain() -> Record {
        Record {
            kind: KeyKind::File,
            beside: Beside::Nothing,
            content_type: Some("text/plain"),
            etag: ETag::of_md5([0xab; 16]),
            size_bytes: 5,
            mtime_ns: 0x0102_0304_0506_0708,
            checksum: None,
            version_id: None,
        }
    }

    fn check(name: &str, record: &Record, want_bytes: usize) {
        let bytes = record.encode();
        assert_eq!(bytes.len(), want_bytes, "{name}");
        assert_eq!(Record::decode(&bytes).as_ref(), Some(record), "{name}");
        for cut in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..cut]), None, "{name} cut at {cut}");
        }
        assert_eq!(Record::decode(&[&bytes[..], b"\0"].concat()), None, "{name} and a byte more");
    }

    #[test]
    fn lengths_and_round_trips() {
        check("plain", &plain(), 38);
        check("type spelled out elsewhere", &Record { content_type: None, ..plain() }, 38);
        let parted = Record { etag: ETag::of_parts([1; 16], 10_000), ..plain() };
        check("multipart", &parted, 38);
        check("directory", &Record { kind: KeyKind::Directory, beside: Beside::Document, ..plain() }, 38);
        let crc = |algorithm, text| Some(Checksum::parse(algorithm, text).unwrap());
        check("CRC32", &Record { checksum: crc(Algorithm::Crc32, "y/Q5Jg=="), ..plain() }, 42);
        check("composite", &Record { checksum: crc(Algorithm::Crc32c, "4waSgw==-10000"), ..parted }, 42);
        let nvme = crc(Algorithm::Crc64nvme, "rosUhgp5mIg=");
        check("CRC64NVME", &Record { checksum: nvme, ..plain() }, 46);
        check("largest", &Record { checksum: nvme, version_id: Some([7; 16]), ..plain() }, 62);
    }

    /// The layout is on disks: a change of it is a new format.
    #[test]
    fn layout() {
        let mut want = vec![1, 0, 3, 0];
        want.extend([0xab; 16]);
        want.extend([0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(plain().encode(), want);
    }

    #[test]
    fn checksums_without_room_are_left_to_the_document() {
        let sha1 = Checksum::parse(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=").unwrap();
        let of_two_parts = Checksum::parse(Algorithm::Crc32, "y/Q5Jg==-2").unwrap();
        for checksum in [sha1, of_two_parts] {
            assert!(!holds_checksum(&checksum, plain().etag));
            let record = Record { checksum: Some(checksum), ..plain() };
            assert_eq!(Record::decode(&record.encode()), Some(plain()));
        }
    }

    #[test]
    fn garbage_is_no_record() {
        for (at, byte) in
            [(0, 0), (0, 2), (1, 8), (1, 0x80), (2, 33), (3, 4), (3, 1), (3, 0x81), (20, 255), (21, 255)]
        {
            let mut bytes = plain().encode();
            bytes[at] = byte;
            let want = (at == 20).then(|| Record { etag: ETag::of_parts([0xab; 16], 255), ..plain() });
            assert_eq!(Record::decode(&bytes), want, "byte {at} as {byte}");
        }
    }

    proptest! {
        /// Every legal head, with the length it asks for: what decodes encodes to the same bytes.
        #[test]
        fn every_legal_record_round_trips(
            flags in 0_u8..8,
            number in 0_u8..33,
            kind in prop_oneof![0_u8..4, Just(0x81_u8), Just(0x82)],
            parts in 1_u16..10_001,
            rest: [u8; 56],
        ) {
            let checksum_bytes = [0, 4, 4, 8][usize::from(kind & 3)];
            let version_bytes = if flags & FLAG_VERSION != 0 { 16 } else { 0 };
            let mut bytes = vec![FORMAT, flags, number, kind];
            bytes.extend(&rest[..16]);
            bytes.extend(parts.to_le_bytes());
            bytes.extend(&rest[16..32 + checksum_bytes + version_bytes]);
            prop_assert_eq!(Record::decode(&bytes).map(|record| record.encode()), Some(bytes));
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(0_u8..4, 0..70)) {
            if let Some(record) = Record::decode(&noise) {
                prop_assert_eq!(record.encode(), noise);
            }
        }
    }
}
