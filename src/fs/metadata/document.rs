//! The JSON document in `user.s3.meta`: what an object says besides its bytes and has no place in the record.
//! There is one only when there is something to say. POSIX users can forge it, so everything is checked on the way
//! *out*: values that could split a header, names that are no token and more user metadata than S3 allows are dropped.
//! Source: RFC 9110 section 5.6.2 (token) and 5.5 (field value); S3 User Guide, "Working with object metadata".

use std::collections::BTreeMap;
use std::ffi::CStr;

use serde::{Deserialize, Serialize};

use crate::s3::checksum::{Algorithm, Checksum};
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::part_sizes::{PartSizes, Run};

/// The xattr of the document.
pub const XATTR: &CStr = c"user.s3.meta";

/// An xattr value can be no longer on Linux; nothing longer is looked at. Source: xattr(7).
pub const BYTES_MAX: usize = 65_536;

/// What the document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The stored headers. Content-Type is among them only when the record has no number for it.
    pub headers: StoredHeaders,
    /// What came as `x-amz-meta-*`.
    pub user_metadata: UserMetadata,
    /// A checksum that the record has no room for.
    pub checksum: Option<Checksum>,
    /// The sizes of the parts of an object that was uploaded in more than one.
    pub part_sizes: Option<PartSizes>,
}

impl Document {
    /// The JSON of the document; `None` when it would say nothing.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if *self == Document::default() {
            return None;
        }
        let headers = self.headers.clone();
        let user = self.user_metadata.entries().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wire = Wire {
            format: FORMAT,
            content_type: headers.content_type,
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            expires: headers.expires,
            user: user.collect(),
            checksum: self.checksum.map(|checksum| WireChecksum {
                algorithm: checksum.algorithm().wire().to_owned(),
                value: checksum.text(),
            }),
            parts: self
                .part_sizes
                .as_ref()
                .map(|sizes| sizes.runs().iter().map(|run| (run.count, run.size_bytes)).collect()),
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
        let headers = StoredHeaders {
            cache_control: only_safe(wire.cache_control),
            content_disposition: only_safe(wire.content_disposition),
            content_encoding: only_safe(wire.content_encoding),
            content_language: only_safe(wire.content_language),
            content_type: only_safe(wire.content_type),
            expires: only_safe(wire.expires),
        };
        let runs = wire
            .parts
            .map(|parts| parts.into_iter().map(|(count, size_bytes)| Run { count, size_bytes }).collect());
        let (user_metadata, part_sizes) = (only_safe_metadata(wire.user), runs.and_then(PartSizes::of_runs));
        Some(Document { headers, user_metadata, checksum, part_sizes })
    }
}

/// Whether a text is a lower-case token, as the rest of an `x-amz-meta-` name must be.
fn is_metadata_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || TOKEN_SIGNS.contains(&byte);
    !name.is_empty() && name.bytes().all(legal)
}

/// Whether a text can stand in a response head: no control character but the tab, no white space around it.
fn is_header_value(value: &str) -> bool {
    let control = |byte: u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
    !value.bytes().any(control) && value.trim_ascii() == value
}

fn only_safe(value: Option<String>) -> Option<String> {
    value.filter(|value| is_header_value(value))
}

/// In the order of names, as far as S3's limit goes: beyond it no client can have stored anything.
fn only_safe_metadata(user: BTreeMap<String, String>) -> UserMetadata {
    let mut room_bytes = UserMetadata::BYTES_MAX;
    let legal = user.into_iter().filter(|(name, value)| is_metadata_name(name) && is_header_value(value));
    let within_limit = legal.take_while(|(name, value)| {
        let left = room_bytes.checked_sub(name.len() + value.len());
        room_bytes = left.unwrap_or(0);
        left.is_some()
    });
    UserMetadata::from_stored(within_limit.collect())
}

/// The document as JSON has it. The headers are a closed set, so that no forged document adds `Set-Cookie`; other names
/// are overlooked, so that later versions can say more.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Wire {
    format: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    user: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<WireChecksum>,
    // Runs of parts of one size, each as count and bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<(u16, u64)>>,
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

    fn user_metadata(entries: &[(&str, &str)]) -> UserMetadata {
        UserMetadata::from_stored(
            entries.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        )
    }

    fn full() -> Document {
        Document {
            headers: StoredHeaders {
                content_type: Some("Text/HTML; Charset=\"x\"".to_owned()),
                cache_control: Some("no-cache".to_owned()),
                expires: Some("tomorrow".to_owned()),
                ..StoredHeaders::default()
            },
            user_metadata: user_metadata(&[("a", "1"), ("b-c", "grün \u{1f600}")]),
            checksum: Checksum::parse(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=-2"),
            part_sizes: PartSizes::of([8, 5]),
        }
    }

    #[test]
    fn round_trip_and_layout() {
        let bytes = full().encode().unwrap();
        assert_eq!(Document::decode(&bytes), Some(full()));
        let want = r#"{"format":1,"content-type":"Text/HTML; Charset=\"x\"","cache-control":"no-cache","expires":"tomorrow","user":{"a":"1","b-c":"grün 😀"},"checksum":{"algorithm":"SHA1","value":"98O8HYCOBHMq32eZZczDTKeuNEE=-2"},"parts":[[1,8],[1,5]]}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
        assert_eq!(Document::default().encode(), None);
    }

    /// Want: the headers and the user metadata that come out, as debug text.
    fn check(json: &str, want: &str) {
        let got = Document::decode(json.as_bytes()).map(|document| {
            assert_eq!(document.headers, StoredHeaders::default());
            document
                .user_metadata
                .entries()
                .map(|(name, value)| format!("{name}={value:?} "))
                .collect::<String>()
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
        check(r#"{"format":1,"later":{"x":[1]}}"#, "");
        check(r#"{"format":1,"set-cookie":"a=b","content-length":"7"}"#, "");
        check(r#"{"format":1,"content-type":"a\r\nSet-Cookie: b"}"#, "");
        check(r#"{"format":1,"cache-control":"a\nb","expires":"x\u0000","content-language":" de"}"#, "");
        check(r#"{"format":1,"user":{"a":"1\r\nb: 2","c d":"1","":"1","A":"1","ä":"1","e\r\n":"1"}}"#, "");
        check(r#"{"format":1,"user":{"a":"1\r","b":"\t","c":"","d":"x\ty"}}"#, r#"c="" d="x\ty" "#);
        check(r#"{"format":1,"checksum":{"algorithm":"MD5","value":"AA=="}}"#, "");
        check(r#"{"format":1,"parts":[[0,8]]}"#, "");
        check(r#"{"format":1,"parts":[[-1,8]]}"#, "none");
        check(&format!("{{\"format\":1,\"x\":\"{}\"}}", "x".repeat(BYTES_MAX)), "none");
    }

    #[test]
    fn more_metadata_than_s3_allows_is_cut() {
        let sized = |value_bytes: usize| {
            let user_metadata = user_metadata(&[("a", &"x".repeat(value_bytes)), ("b", "")]);
            let document = Document { user_metadata, ..Document::default() };
            Document::decode(&document.encode().unwrap()).unwrap().user_metadata.entries().count()
        };
        assert_eq!((sized(2046), sized(2047), sized(2048)), (2, 1, 0));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_out_splits_a_head(text in "[a-z\\r\\n\\x00\\x7f :é]{0,8}", name in "[a-zA-Z\\r :-]{0,5}") {
            let document = Document {
                headers: StoredHeaders {
                    content_type: Some(text.clone()),
                    expires: Some(text.clone()),
                    ..StoredHeaders::default()
                },
                user_metadata: user_metadata(&[(&name, &text)]),
                ..Document::default()
            };
            let out = Document::decode(&document.encode().unwrap()).unwrap();
            for (name, value) in out.headers.entries().map(|(name, value)| (name as &str, value)).chain(out.user_metadata.entries()) {
                prop_assert!(!value.contains(['\r', '\n', '\0']));
                prop_assert!(!name.contains(['\r', ' ', ':']) && !name.is_empty());
            }
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), json in "[{}\\[\\]\":,a1 ]{0,40}") {
            let _ = (Document::decode(&noise), Document::decode(json.as_bytes()));
        }
    }
}
