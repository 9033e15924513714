//! The sidecar of an object whose document the filesystem refuses as an attribute for its size, and the reference to it.
//! The reference is what `user.s3.meta` holds then: the bucket's id and the sidecar's, so that a copy of the file, of the
//! bucket or of the whole tree still finds it. The sidecar says which key it was made for. Pure: `fs::overflow` writes.
//! Whoever may write a file can forge a reference, but not guess one: 128 bits of it are random.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk"; the layouts are our own.

use std::ffi::CString;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{self, Document};
use crate::s3::names::ObjectKey;

/// The directory of sidecars among the server's own of a bucket.
pub const DIRECTORY: &str = "overflow";

/// A sidecar can be no longer: a document, each byte of the key as JSON writes it at worst, and what stands around them.
pub const BYTES_MAX: usize = document::BYTES_MAX + 6 * ObjectKey::BYTES_MAX + 256;

/// Names one sidecar in the whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The id of the bucket that it was made in.
    bucket: String,
    /// INVARIANT: [`ID_BYTES`] hex digits, which begin with the instance of the server that made it.
    id: String,
}

const INSTANCE_BYTES: usize = 16;
const ID_BYTES: usize = INSTANCE_BYTES + 32;
/// What stands around them, the bucket's id and the sidecar's.
const ENCODED_BYTES_MAX: usize = 32 + 33 + 1 + ID_BYTES;

impl Reference {
    /// A reference, when both are what they should be.
    pub fn new(bucket: &str, id: &str) -> Option<Reference> {
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (inode, born) = bucket.split_once('-')?;
        let is_bucket = [inode, born].iter().all(|text| (1..=16).contains(&text.len()) && is_hex(text));
        let is_legal = is_bucket && id.len() == ID_BYTES && is_hex(id);
        is_legal.then(|| Reference { bucket: bucket.to_owned(), id: id.to_owned() })
    }

    /// The name of the sidecar's file.
    pub fn name(&self) -> CString {
        CString::new(self.id.as_str()).expect("hex digits hold no NUL")
    }

    /// The sidecar's place below the server's own directory.
    pub fn path(&self) -> String {
        format!("b/{}/{DIRECTORY}/{}", self.bucket, self.id)
    }

    /// The instance of the server that made it.
    pub fn instance(&self) -> &str {
        self.id.get(..INSTANCE_BYTES).unwrap_or_default()
    }

    /// The bytes of `user.s3.meta` that stand for the document.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireReference { format: FORMAT, overflow: self.to_string() };
        serde_json::to_vec(&wire).expect("a string and a number always serialize")
    }

    /// Reads what `user.s3.meta` holds; `None` when that is no reference.
    pub fn decode(bytes: &[u8]) -> Option<Reference> {
        // Documents come here too; a reference is short.
        let bytes = Some(bytes).filter(|bytes| bytes.len() <= ENCODED_BYTES_MAX)?;
        let wire: WireReference = serde_json::from_slice(bytes).ok()?;
        let (bucket, id) = wire.overflow.split_once('/').filter(|_| wire.format == FORMAT)?;
        Reference::new(bucket, id)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.id)
    }
}

/// What a sidecar holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// The key that it was made for.
    pub key: String,
    /// The document.
    pub document: Document,
}

impl Sidecar {
    /// The bytes of a sidecar of an encoded document.
    pub fn encode(key: &str, document: &[u8]) -> Box<[u8]> {
        let document = serde_json::from_slice(document).expect("a document is JSON");
        let wire = WireSidecar { format: FORMAT, key: key.to_owned(), document };
        serde_json::to_vec(&wire).expect("strings and numbers always serialize").into()
    }

    /// Reads a sidecar; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Sidecar> {
        let wire: WireSidecar =
            serde_json::from_slice(bytes).ok().filter(|wire: &WireSidecar| wire.format == FORMAT)?;
        let document = Document::decode(wire.document.to_string().as_bytes())?;
        Some(Sidecar { key: wire.key, document })
    }
}

#[derive(Serialize, Deserialize)]
struct WireReference {
    format: u8,
    overflow: String,
}

#[derive(Serialize, Deserialize)]
struct WireSidecar {
    format: u8,
    key: String,
    document: serde_json::Value,
}

const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::headers::UserMetadata;

    const ID: &str = "0123456789abcdef00112233445566778899aabbccddeeff";

    #[test]
    fn what_is_written_is_read() {
        let reference = Reference::new("1f-abc", ID).unwrap();
        let want = format!(r#"{{"format":1,"overflow":"1f-abc/{ID}"}}"#);
        assert_eq!(String::from_utf8(reference.encode()).unwrap(), want);
        assert_eq!(Reference::decode(want.as_bytes()), Some(reference.clone()));
        assert_eq!((reference.instance(), reference.name().to_bytes()), ("0123456789abcdef", ID.as_bytes()));
        assert_eq!(reference.path(), format!("b/1f-abc/overflow/{ID}"));
        let user_metadata = UserMetadata::from_stored(vec![("a".to_owned(), "\"\\".repeat(1000))]);
        let document = Document { user_metadata, ..Document::default() };
        let bytes = Sidecar::encode("a/\u{fffd}\"key\"", &document.encode().unwrap());
        let want = Sidecar { key: "a/\u{fffd}\"key\"".to_owned(), document };
        assert_eq!(Sidecar::decode(&bytes), Some(want));
    }

    /// An older version finds a document in the attribute that says nothing.
    #[test]
    fn a_reference_is_a_document_without_a_word() {
        let reference = Reference::new("1f-abc", ID).unwrap();
        assert_eq!(Document::decode(&reference.encode()), Some(Document::default()));
    }

    #[test]
    fn forged_references_lead_nowhere() {
        let long = "0".repeat(17);
        for (bucket, id) in [
            ("1f-abc", "../../root"),
            ("1f-abc", ""),
            ("..", ID),
            ("1-/", ID),
            ("-", ID),
            (long.as_str(), ID),
        ] {
            assert_eq!(Reference::new(bucket, id), None, "{bucket}/{id}");
        }
        for json in
            ["", "{}", r#"{"format":1}"#, r#"{"format":1,"overflow":"x"}"#, r#"{"format":1,"user":{}}"#]
        {
            assert_eq!(Reference::decode(json.as_bytes()), None, "{json}");
            assert_eq!(Sidecar::decode(json.as_bytes()), None, "{json}");
        }
        let other = format!(r#"{{"format":2,"overflow":"1f-abc/{ID}"}}"#);
        assert_eq!(Reference::decode(other.as_bytes()), None);
    }
}
