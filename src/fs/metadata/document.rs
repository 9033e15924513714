//! The JSON document in `user.s3.meta`: what an object says besides its bytes and has no place in the record.
//! There is one only when there is something to say. POSIX users can forge it, so everything is checked on the way
//! *out*: values that could split a header, names that are no token and more user metadata than S3 allows are dropped.
//! Source: RFC 9110 section 5.6.2 (token) and 5.5 (field value); S3 User Guide, "Working with object metadata".

use std::collections::BTreeMap;
use std::ffi::CStr;

use serde::{Deserialize, Serialize};

use crate::s3::checksum::{Algorithm, Checksum};

/// The xattr of the document.
pub const XATTR: &CStr = c"user.s3.meta";

/// User metadata of one object: names and values together, as S3 counts.
pub const USER_METADATA_BYTES_MAX: usize = 2048;

/// An xattr value can be no longer on Linux; nothing longer is looked at. Source: xattr(7).
pub const BYTES_MAX: usize = 65_536;

/// What the document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Content-Type exactly as sent, when the record has no number for it.
    pub content_type: Option<String>,
    /// The other headers that are stored and sent back.
    pub headers: StoredHeaders,
    /// User metadata by lower-case name, without `x-amz-meta-`.
    pub user_metadata: BTreeMap<String, String>,
    /// A checksum that the record has no room for.
    pub checksum: Option<Checksum>,
}

/// The system metadata headers of an object, a closed set: no forged document can add `Set-Cookie`.
/// Source: PutObject, request headers that GetObject returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StoredHeaders {
    /// Cache-Control
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// Content-Disposition
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// Content-Encoding, without `aws-chunked`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Content-Language
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Expires, any text: S3 does not read it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl StoredHeaders {
    /// Name and value of every header that is there, ready for a response head.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Cache-Control", &self.cache_control),
            ("Content-Disposition", &self.content_disposition),
            ("Content-Encoding", &self.content_encoding),
            ("Content-Language", &self.content_language),
            ("Expires", &self.expires),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn only_safe(self) -> StoredHeaders {
        StoredHeaders {
            cache_control: only_safe(self.cache_control),
            content_disposition: only_safe(self.content_disposition),
            content_encoding: only_safe(self.content_encoding),
            content_language: only_safe(self.content_language),
            expires: only_safe(self.expires),
        }
    }
}

impl Document {
    /// The JSON of the document; `None` when it would say nothing.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if *self == Document::default() {
            return None;
        }
        let wire = Wire {
            format: FORMAT,
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            user_metadata: self.user_metadata.clone(),
            checksum: self.checksum.map(|checksum| WireChecksum {
                algorithm: checksum.algorithm().wire().to_owned(),
                value: checksum.text(),
            }),
        };
        Some(serde_json::to_vec(&wire).expect("strings, maps of strings and a number always serialize"))
    }

    /// Reads a document and keeps what may go into a response.
    /// Errors: `None` for what is no JSON object of this format.
    pub fn decode(bytes: &[u8]) -> Option<Document> {
        let bytes = Some(bytes).filter(|bytes| bytes.len() <= BYTES_MAX)?;
        let wire: Wire = serde_json::from_slice(bytes).ok().filter(|wire: &Wire| wire.format == FORMAT)?;
        let checksum = wire
            .checksum
            .and_then(|checksum| Checksum::parse(Algorithm::of_wire(&checksum.algorithm)?, &checksum.value));
        Some(Document {
            content_type: only_safe(wire.content_type),
            headers: wire.headers.only_safe(),
            user_metadata: only_safe_metadata(wire.user_metadata),
            checksum,
        })
    }
}

/// Whether a text is a lower-case token, as the rest of an `x-amz-meta-` name must be.
pub fn is_metadata_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || TOKEN_SIGNS.contains(&byte);
    !name.is_empty() && name.bytes().all(legal)
}

/// Whether a text can stand in a response head: no control character but the tab, no white space around it.
pub fn is_header_value(value: &str) -> bool {
    let control = |byte: u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
    !value.bytes().any(control) && value.trim_ascii() == value
}

fn only_safe(value: Option<String>) -> Option<String> {
    value.filter(|value| is_header_value(value))
}

/// In the order of names, as far as S3's limit goes: beyond it no client can have stored anything.
fn only_safe_metadata(metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut room_bytes = USER_METADATA_BYTES_MAX;
    let legal = metadata.into_iter().filter(|(name, value)| is_metadata_name(name) && is_header_value(value));
    legal
        .take_while(|(name, value)| {
            let left = room_bytes.checked_sub(name.len() + value.len());
            room_bytes = left.unwrap_or(0);
            left.is_some()
        })
        .collect()
}

/// The document as JSON has it. Names that are not here are overlooked, so that later versions can say more.
#[derive(Serialize, Deserialize)]
struct Wire {
    format: u8,
    #[serde(rename = "content-type", default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(flatten)]
    headers: StoredHeaders,
    #[serde(rename = "user", default, skip_serializing_if = "BTreeMap::is_empty")]
    user_metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<WireChecksum>,
}

/// The type needs no name of its own: a composite value ends in `-<parts>`.
#[derive(Serialize, Deserialize)]
struct WireChecksum {
    algorithm: String,
    value: String,
}

const FORMAT: u8 = 1;

/// The signs of a token beside letters and digits.
const TOKEN_SIGNS: &[u8] = b"!#$%&'*+-.^_`|~";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> Document {
        let user = [("a", "1"), ("b-c", "grün \u{1f600}")];
        Document {
            content_type: Some("Text/HTML; Charset=\"x\"".to_owned()),
            headers: StoredHeaders {
                cache_control: Some("no-cache".to_owned()),
                expires: Some("tomorrow".to_owned()),
                ..StoredHeaders::default()
            },
            user_metadata: user
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            checksum: Checksum::parse(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=-2"),
        }
    }

    #[test]
    fn round_trip_and_layout() {
        let bytes = full().encode().unwrap();
        assert_eq!(Document::decode(&bytes), Some(full()));
        let want = r#"{"format":1,"content-type":"Text/HTML; Charset=\"x\"","cache-control":"no-cache","expires":"tomorrow","user":{"a":"1","b-c":"grün 😀"},"checksum":{"algorithm":"SHA1","value":"98O8HYCOBHMq32eZZczDTKeuNEE=-2"}}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
        assert_eq!(Document::default().encode(), None);
        let headers = full().headers;
        let headers: Vec<_> = headers.iter().collect();
        assert_eq!(headers, [("Cache-Control", "no-cache"), ("Expires", "tomorrow")]);
    }

    /// Want: the content type, the headers and the user metadata that come out, as debug text.
    fn check(json: &str, want: &str) {
        let got = Document::decode(json.as_bytes()).map(|document| {
            let headers: Vec<_> = document.headers.iter().collect();
            format!("{:?} {headers:?} {:?}", document.content_type, document.user_metadata)
        });
        assert_eq!(got.as_deref().unwrap_or("none"), want, "{json}");
    }

    #[test]
    fn forged_documents() {
        check("", "none");
        check("[]", "none");
        check("{}", "none");
        check(r#"{"format":2}"#, "none");
        check(r#"{"format":1,"user":7}"#, "none");
        check(r#"{"format":1} x"#, "none");
        check(r#"{"format":1,"later":{"x":[1]}}"#, "None [] {}");
        check(r#"{"format":1,"set-cookie":"a=b","content-length":"7"}"#, "None [] {}");
        check(r#"{"format":1,"content-type":"a\r\nSet-Cookie: b"}"#, "None [] {}");
        check(
            r#"{"format":1,"cache-control":"a\nb","expires":"x\u0000","content-language":" de"}"#,
            "None [] {}",
        );
        check(
            r#"{"format":1,"user":{"a":"1\r\nb: 2","c d":"1","":"1","A":"1","ä":"1","e\r\n":"1"}}"#,
            "None [] {}",
        );
        check(
            r#"{"format":1,"user":{"a":"1\r","b":"\t","c":"","d":"x\ty"}}"#,
            r#"None [] {"c": "", "d": "x\ty"}"#,
        );
        check(r#"{"format":1,"checksum":{"algorithm":"MD5","value":"AA=="}}"#, "None [] {}");
        check(&format!("{{\"format\":1,\"x\":\"{}\"}}", "x".repeat(BYTES_MAX)), "none");
    }

    #[test]
    fn more_metadata_than_s3_allows_is_cut() {
        let sized = |value_bytes: usize| {
            let user_metadata = [("a".to_owned(), "x".repeat(value_bytes)), ("b".to_owned(), String::new())];
            let document = Document { user_metadata: user_metadata.into(), ..Document::default() };
            Document::decode(&document.encode().unwrap()).unwrap().user_metadata.len()
        };
        assert_eq!((sized(2046), sized(2047), sized(2048)), (2, 1, 0));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_out_splits_a_head(text in "[a-z\\r\\n\\x00\\x7f :é]{0,8}", name in "[a-zA-Z\\r :-]{0,5}") {
            let document = Document {
                content_type: Some(text.clone()),
                headers: StoredHeaders { expires: Some(text.clone()), ..StoredHeaders::default() },
                user_metadata: [(name, text)].into(),
                checksum: None,
            };
            let out = Document::decode(&document.encode().unwrap()).unwrap();
            let values = out.content_type.iter().chain(&out.headers.expires).chain(out.user_metadata.values());
            for value in values {
                prop_assert!(!value.contains(['\r', '\n', '\0']));
            }
            for name in out.user_metadata.keys() {
                prop_assert!(!name.contains(['\r', ' ', ':']) && !name.is_empty());
            }
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), json in "[{}\\[\\]\":,a1 ]{0,40}") {
            let _ = (Document::decode(&noise), Document::decode(json.as_bytes()));
        }
    }
}
