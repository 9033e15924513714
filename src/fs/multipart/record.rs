//! What is written down of an upload: the upload itself, each of its parts, and that it was completed.
//!
//! JSON, in files of the server's own directory that nobody else can write, so a record that does not decode is a broken
//! disk and not a request's fault. Pure: the files are read and written elsewhere.
//! Source: CreateMultipartUpload, UploadPart; the layout is our own.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use crate::fs::metadata::document::Document;
use crate::s3::checksum::{Algorithm, Checksum, ChecksumType};
use crate::s3::etag::ETag;
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::names::{ObjectKey, PartNumber};

/// Who began an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initiator {
    /// The canonical id, 64 hex digits.
    pub id: String,
    /// The display name.
    pub name: String,
}

/// What CreateMultipartUpload fixed; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// The key the object will have.
    pub key: ObjectKey,
    /// When the upload began. Units: nanoseconds since 1970.
    pub created_ns: u64,
    /// Who began it.
    pub initiator: Initiator,
    /// The headers the object will keep.
    pub headers: StoredHeaders,
    /// The user metadata the object will keep.
    pub user_metadata: UserMetadata,
    /// The checksum the object will have.
    pub checksum: Option<(Algorithm, ChecksumType)>,
}

/// A part that is there, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// Its number.
    pub number: PartNumber,
    /// Its length.
    pub size_bytes: u64,
    /// The MD5 of its bytes.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The file of the upload's directory it lies in.
    pub file: String,
    /// Where in that file.
    pub offset_bytes: u64,
    /// When it was there. Units: nanoseconds since 1970.
    pub uploaded_ns: u64,
}

/// What is left of a completed upload, so that a repeated Complete answers the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The key the object got.
    pub key: ObjectKey,
    /// Its ETag.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// The name of the upload's own record; an upload exists as long as this file does.
pub const UPLOAD: &std::ffi::CStr = c"upload";

/// The largest record that is read: user metadata and every stored header of a 16 KiB head, each byte escaped.
pub const BYTES_MAX: usize = 256 * 1024;

/// What the name of a file begins with that holds parts in place.
const IN_PLACE_PREFIX: &str = "data-";

impl PartRecord {
    /// The name of the record of a part: five digits.
    pub fn name(number: PartNumber) -> CString {
        CString::new(format!("{:05}", number.value())).expect("digits hold no NUL")
    }

    /// The number of the part whose record has this name.
    pub fn number_of(name: &[u8]) -> Option<PartNumber> {
        let digits = name.len() == 5 && name.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(name).ok().filter(|_| digits)?.parse().ok().and_then(PartNumber::new)
    }

    /// Whether the part lies in a file that parts are written into in place.
    pub fn is_in_place(&self) -> bool {
        self.file.starts_with(IN_PLACE_PREFIX)
    }
}

/// The name of an upload's nth file of parts in place.
pub fn in_place_name(file: u8) -> String {
    format!("{IN_PLACE_PREFIX}{file}")
}

/// The name of the file of one part alone; it says whose the part is and which server writes it.
pub fn side_name(number: PartNumber, instance: &str, random: &str) -> String {
    format!("{SIDE_PREFIX}{:05}-{instance}-{random}", number.value())
}

/// Part and server of the file of one part alone.
pub fn side_of_name(name: &str) -> Option<(PartNumber, &str)> {
    let (number, rest) = name.strip_prefix(SIDE_PREFIX)?.split_once('-')?;
    let (instance, _) = rest.split_once('-')?;
    Some((PartRecord::number_of(number.as_bytes())?, instance))
}

const SIDE_PREFIX: &str = "part-";

#[derive(Serialize, Deserialize)]
struct WireUpload {
    format: u8,
    key: String,
    created_ns: u64,
    initiator: Initiator,
    // The document that the object will have, as it would be in its attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<[String; 2]>,
}

#[derive(Serialize, Deserialize)]
struct WirePart {
    format: u8,
    number: u16,
    size: u64,
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<[String; 2]>,
    file: String,
    offset: u64,
    uploaded_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct WireTombstone {
    format: u8,
    key: String,
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<[String; 2]>,
}

const FORMAT: u8 = 1;

fn encode(wire: &impl Serialize) -> Box<[u8]> {
    serde_json::to_vec(wire).expect("strings and numbers always serialize").into()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], format: impl Fn(&T) -> u8) -> Option<T> {
    serde_json::from_slice(bytes).ok().filter(|wire| format(wire) == FORMAT)
}

fn encode_checksum(checksum: Option<Checksum>) -> Option<[String; 2]> {
    checksum.map(|checksum| [checksum.algorithm().wire().to_owned(), checksum.text()])
}

/// The outer option says whether the text is a checksum at all.
fn decode_checksum(wire: Option<[String; 2]>) -> Option<Option<Checksum>> {
    let Some([algorithm, value]) = wire else { return Some(None) };
    Checksum::parse(Algorithm::of_wire(&algorithm)?, &value).map(Some)
}

impl UploadRecord {
    /// The bytes of the record.
    pub fn encode(&self) -> Box<[u8]> {
        let (headers, user_metadata) = (self.headers.clone(), self.user_metadata.clone());
        let document = Document { headers, user_metadata, ..Document::default() }.encode();
        encode(&WireUpload {
            format: FORMAT,
            key: self.key.as_str().to_owned(),
            created_ns: self.created_ns,
            initiator: self.initiator.clone(),
            document: document.map(|json| serde_json::from_slice(&json).expect("a document is JSON")),
            checksum: self
                .checksum
                .map(|(algorithm, kind)| [algorithm.wire().to_owned(), kind.wire().to_owned()]),
        })
    }

    /// Reads a record; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<UploadRecord> {
        let wire = decode(bytes, |wire: &WireUpload| wire.format)?;
        let document = match wire.document {
            None => Document::default(),
            Some(value) => Document::decode(value.to_string().as_bytes())?,
        };
        let checksum = match wire.checksum {
            None => None,
            Some([algorithm, kind]) => Some((Algorithm::of_wire(&algorithm)?, ChecksumType::of_wire(&kind)?)),
        };
        Some(UploadRecord {
            key: ObjectKey::parse(wire.key.as_bytes()).ok()?,
            created_ns: wire.created_ns,
            initiator: wire.initiator,
            headers: document.headers,
            user_metadata: document.user_metadata,
            checksum,
        })
    }
}

impl PartRecord {
    /// The bytes of the record.
    pub fn encode(&self) -> Box<[u8]> {
        encode(&WirePart {
            format: FORMAT,
            number: self.number.value(),
            size: self.size_bytes,
            etag: self.etag.to_string(),
            checksum: encode_checksum(self.checksum),
            file: self.file.clone(),
            offset: self.offset_bytes,
            uploaded_ns: self.uploaded_ns,
        })
    }

    /// Reads a record; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<PartRecord> {
        let wire = decode(bytes, |wire: &WirePart| wire.format)?;
        Some(PartRecord {
            number: PartNumber::new(u64::from(wire.number))?,
            size_bytes: wire.size,
            etag: ETag::parse(&wire.etag)?,
            checksum: decode_checksum(wire.checksum)?,
            file: Some(wire.file).filter(|file| !file.contains(['/', '\0']))?,
            offset_bytes: wire.offset,
            uploaded_ns: wire.uploaded_ns,
        })
    }
}

impl Tombstone {
    /// The bytes of the record.
    pub fn encode(&self) -> Box<[u8]> {
        let (key, etag) = (self.key.as_str().to_owned(), self.etag.to_string());
        encode(&WireTombstone { format: FORMAT, key, etag, checksum: encode_checksum(self.checksum) })
    }

    /// Reads a record; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Tombstone> {
        let wire = decode(bytes, |wire: &WireTombstone| wire.format)?;
        Some(Tombstone {
            key: ObjectKey::parse(wire.key.as_bytes()).ok()?,
            etag: ETag::parse(&wire.etag)?,
            checksum: decode_checksum(wire.checksum)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum() -> Option<Checksum> {
        Checksum::parse(Algorithm::Crc32, "y/Q5Jg==")
    }

    fn part() -> PartRecord {
        PartRecord {
            number: PartNumber::new(7).unwrap(),
            size_bytes: 5,
            etag: ETag::of_md5([0xAB; 16]),
            checksum: checksum(),
            file: in_place_name(1),
            offset_bytes: 6 << 40,
            uploaded_ns: 9,
        }
    }

    fn upload() -> UploadRecord {
        UploadRecord {
            key: ObjectKey::parse("a/ä \"b\"".as_bytes()).unwrap(),
            created_ns: u64::MAX,
            initiator: Initiator { id: "1".repeat(64), name: "root".to_owned() },
            headers: StoredHeaders { content_type: Some("x/y".to_owned()), ..StoredHeaders::default() },
            user_metadata: UserMetadata::from_stored(vec![("by".to_owned(), "hand".to_owned())]),
            checksum: Some((Algorithm::Sha256, ChecksumType::Composite)),
        }
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let plain = UploadRecord {
            headers: StoredHeaders::default(),
            user_metadata: UserMetadata::default(),
            checksum: None,
            ..upload()
        };
        for record in [upload(), plain] {
            assert_eq!(UploadRecord::decode(&record.encode()), Some(record));
        }
        for record in [part(), PartRecord { checksum: None, ..part() }] {
            assert_eq!(PartRecord::decode(&record.encode()), Some(record));
        }
        let composite = Checksum::parse(Algorithm::Crc32, "y/Q5Jg==-3");
        let tombstone =
            Tombstone { key: upload().key, etag: ETag::of_parts([1; 16], 3), checksum: composite };
        assert_eq!(Tombstone::decode(&tombstone.encode()), Some(tombstone));
    }

    /// The layout is on disks: a change of it is a new format.
    #[test]
    fn layout_of_a_part() {
        let want = r#"{"format":1,"number":7,"size":5,"etag":"abababababababababababababababab","checksum":["CRC32","y/Q5Jg=="],"file":"data-1","offset":6597069766656,"uploaded_ns":9}"#;
        assert_eq!(std::str::from_utf8(&part().encode()).unwrap(), want);
    }

    #[test]
    fn garbage_is_no_record() {
        let text = String::from_utf8(part().encode().into()).unwrap();
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"number\":7", "\"number\":0"),
            ("data-1", "../../x"),
            ("abab", "xxxx"),
            ("y/Q5Jg==", "y"),
            ("}", ""),
        ] {
            assert_eq!(PartRecord::decode(text.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(UploadRecord::decode(b"{}"), None);
        assert_eq!(Tombstone::decode(b""), None);
    }

    #[test]
    fn names_of_files() {
        let number = PartNumber::new(42).unwrap();
        assert_eq!(PartRecord::name(number).as_c_str(), c"00042");
        assert_eq!(PartRecord::number_of(b"00042"), Some(number));
        for name in [&b"0042"[..], b"00000", b"99999", b"upload", b"+0042"] {
            assert_eq!(PartRecord::number_of(name), None);
        }
        let side = side_name(number, "0123456789abcdef", "fedcba9876543210");
        assert_eq!(side_of_name(&side), Some((number, "0123456789abcdef")));
        assert_eq!(side_of_name("part-00042"), None);
        assert_eq!(side_of_name("data-1"), None);
        let side = PartRecord { file: side, ..part() };
        assert_eq!((part().is_in_place(), side.is_in_place()), (true, false));
    }
}
