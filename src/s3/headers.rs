//! Request headers by S3's rules: which are taken without effect, which are refused, and which an object keeps.
//! Refusal comes before the body is read, and by name: a header that asks for what is not built is never ignored.
//! Conditions are precondition.rs, checksums checksum.rs, the body's shape payload.rs.
//! Source: PutObject, CreateBucket, CreateMultipartUpload, "Request parameters"; S3 user guide, "Object metadata".

use std::borrow::Cow;

use crate::http::head::RequestHead;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;
use crate::s3::query::Query;

/// Refuses a request whose headers ask for what Ringway does not do, also as parameters of a presigned URL. Checksums are
/// left out there, because signers state that of the body they do not have yet.
///
/// Errors: AccessControlListNotSupported, InvalidStorageClass, or NotImplemented naming the header.
pub fn check_headers(head: &RequestHead, presigned: Option<&Query>) -> Result<(), S3Error> {
    for Said { name, value, carrier } in said(head, presigned) {
        if carrier == Carrier::Parameter && HEADERS_ONLY.iter().any(|only| name.eq_ignore_ascii_case(only)) {
            return Err(not_implemented(&name.to_ascii_lowercase()));
        }
        if let Some(rule) = RULES.iter().find(|rule| rule.covers(name)) {
            rule.check(name, value)?;
        }
    }
    Ok(())
}

/// What is heeded in a header and nowhere else: a copy that is not made must not be an empty object, and a size that is not
/// looked at no promise.
const HEADERS_ONLY: [&str; 2] = ["x-amz-copy-source", "x-amz-mp-object-size"];

/// A header, or a parameter that stands for one.
struct Said<'r> {
    name: &'r str,
    value: &'r [u8],
    carrier: Carrier,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Header,
    Parameter,
}

/// What a request says in its headers and in the parameters of a presigned URL, where signers put `x-amz-*` headers: S3
/// takes both alike.
fn said<'r>(head: &'r RequestHead, presigned: Option<&'r Query>) -> impl Iterator<Item = Said<'r>> {
    let headers = head.headers().map(|(name, value)| Said { name, value, carrier: Carrier::Header });
    let parameters = presigned.into_iter().flat_map(Query::parameters).map(|parameter| Said {
        name: parameter.name,
        value: parameter.value.trim().as_bytes(),
        carrier: Carrier::Parameter,
    });
    headers.chain(parameters)
}

/// 501 for a header, with its name in the message and as `Header` element, as AWS does it.
pub fn not_implemented(header: &str) -> S3Error {
    S3Error::new(Code::NotImplemented)
        .with_message(format!("The header {header} asks for what is not implemented."))
        .with_element("Header", header)
}

/// A rule for the headers whose name is, or begins with, `name`: the values taken, and the code for every other.
struct Rule {
    name: &'static str,
    extent: Extent,
    taken: &'static [&'static str],
    refusal: Code,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Name,
    Prefix,
}

const fn rule(name: &'static str, extent: Extent, taken: &'static [&'static str], refusal: Code) -> Rule {
    Rule { name, extent, taken, refusal }
}

/// Headers without a line here are harmless without effect: x-amz-request-payer, x-amz-tagging-directive,
/// x-amz-bypass-governance-retention, x-amz-mfa and whatever AWS invents next for its own service.
#[rustfmt::skip]
const RULES: [Rule; 12] = [
    rule("x-amz-acl", Extent::Name, &["private", "bucket-owner-full-control"], Code::AccessControlListNotSupported),
    rule("x-amz-bucket-object-lock-enabled", Extent::Name, &["false"], Code::NotImplemented),
    rule("x-amz-copy-source-if-", Extent::Prefix, &[], Code::NotImplemented),
    rule("x-amz-grant-", Extent::Prefix, &[], Code::AccessControlListNotSupported),
    rule("x-amz-if-match-", Extent::Prefix, &[], Code::NotImplemented),
    rule("x-amz-object-lock-", Extent::Prefix, &[], Code::NotImplemented),
    rule("x-amz-object-ownership", Extent::Name, &["BucketOwnerEnforced"], Code::NotImplemented),
    rule("x-amz-server-side-encryption", Extent::Prefix, &[], Code::NotImplemented),
    rule("x-amz-storage-class", Extent::Name, &["STANDARD"], Code::InvalidStorageClass),
    rule("x-amz-tagging", Extent::Name, &[""], Code::NotImplemented),
    rule("x-amz-website-redirect-location", Extent::Name, &[], Code::NotImplemented),
    rule("x-amz-write-offset-bytes", Extent::Name, &[], Code::NotImplemented),
];

impl Rule {
    fn covers(&self, sent: &str) -> bool {
        match (self.extent, sent.get(..self.name.len())) {
            (Extent::Name, Some(start)) => {
                sent.len() == self.name.len() && start.eq_ignore_ascii_case(self.name)
            }
            (Extent::Prefix, Some(start)) => start.eq_ignore_ascii_case(self.name),
            (Extent::Name | Extent::Prefix, None) => false,
        }
    }

    fn check(&self, sent: &str, value: &[u8]) -> Result<(), S3Error> {
        if self.taken.iter().any(|taken| value.eq_ignore_ascii_case(taken.as_bytes())) {
            return Ok(());
        }
        match self.refusal {
            Code::NotImplemented => Err(not_implemented(&shortened(sent).to_ascii_lowercase())),
            code => Err(S3Error::new(code)),
        }
    }
}

/// Compares `x-amz-expected-bucket-owner` with the account that the bucket belongs to, also as a parameter of a presigned
/// URL.
///
/// Shape: `account_id` is 12 digits. Errors: AccessDenied when it is another.
pub fn check_expected_bucket_owner(
    head: &RequestHead,
    presigned: Option<&Query>,
    account_id: &str,
) -> Result<(), S3Error> {
    let named = |said: &Said<'_>| said.name.eq_ignore_ascii_case("x-amz-expected-bucket-owner");
    let mut expected = said(head, presigned).filter(named);
    if expected.all(|owner| owner.value == account_id.as_bytes()) {
        Ok(())
    } else {
        Err(S3Error::new(Code::AccessDenied))
    }
}

/// The Content-Type of an S3 object that was put without one.
pub const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// The representation headers that an object keeps, each exactly as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredHeaders {
    /// Cache-Control
    pub cache_control: Option<String>,
    /// Content-Disposition
    pub content_disposition: Option<String>,
    /// Content-Encoding, without `aws-chunked`, which describes the transfer and not the object.
    pub content_encoding: Option<String>,
    /// Content-Language
    pub content_language: Option<String>,
    /// Content-Type; none when the client sent none.
    pub content_type: Option<String>,
    /// Expires: the client's text, whether or not it is a date.
    pub expires: Option<String>,
}

impl StoredHeaders {
    /// Takes them from a request that makes an object; an empty value is none. Lines of one name become one value, with
    /// commas between (RFC 9110 5.3).
    pub fn of(head: &RequestHead) -> StoredHeaders {
        let stored = |name| {
            let lines: Vec<&[u8]> = head.header_values(name).filter(|line| !line.is_empty()).collect();
            (!lines.is_empty()).then(|| text_of(&lines.join(&b","[..])))
        };
        StoredHeaders {
            cache_control: stored("cache-control"),
            content_disposition: stored("content-disposition"),
            content_encoding: stored("content-encoding").and_then(without_aws_chunked),
            content_language: stored("content-language"),
            content_type: stored("content-type"),
            expires: stored("expires"),
        }
    }

    /// The headers of a GetObject or HeadObject: `response-*` parameters take the place of what is stored.
    ///
    /// Errors: InvalidArgument for a value that could not stand in a header.
    pub fn overridden_by(self, query: &Query) -> Result<StoredHeaders, S3Error> {
        Ok(StoredHeaders {
            cache_control: overriding(query, "response-cache-control")?.or(self.cache_control),
            content_disposition: overriding(query, "response-content-disposition")?
                .or(self.content_disposition),
            content_encoding: overriding(query, "response-content-encoding")?.or(self.content_encoding),
            content_language: overriding(query, "response-content-language")?.or(self.content_language),
            content_type: overriding(query, "response-content-type")?.or(self.content_type),
            expires: overriding(query, "response-expires")?.or(self.expires),
        })
    }

    /// Each header that has a value, by its wire name; Content-Type always has one.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Cache-Control", self.cache_control.as_deref()),
            ("Content-Disposition", self.content_disposition.as_deref()),
            ("Content-Encoding", self.content_encoding.as_deref()),
            ("Content-Language", self.content_language.as_deref()),
            ("Content-Type", Some(self.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT))),
            ("Expires", self.expires.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
    }
}

fn overriding(query: &Query, name: &'static str) -> Result<Option<String>, S3Error> {
    let Some(value) = query.value_not_empty(name) else { return Ok(None) };
    if value.chars().any(char::is_control) {
        return Err(S3Error::new(Code::InvalidArgument)
            .with_message("a response header cannot hold control characters")
            .with_element("ArgumentName", name));
    }
    Ok(Some(value.to_string()))
}

/// A list without the coding is kept byte by byte; only one that names it is written anew.
fn without_aws_chunked(value: String) -> Option<String> {
    let is_chunked = |coding: &&str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    if !value.split(',').any(|coding| is_chunked(&coding)) {
        return Some(value);
    }
    let kept: Vec<&str> = value.split(',').filter(|coding| !is_chunked(coding)).map(str::trim).collect();
    Some(kept.join(",")).filter(|kept| !kept.is_empty())
}

/// The user metadata of an object: what came as `x-amz-meta-*`.
///
/// Shape: names in lower case without their prefix, each once, in the order first sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserMetadata {
    entries: Vec<(String, String)>,
}

impl UserMetadata {
    /// Most bytes of names and values together. Source: S3 user guide, "User-defined object metadata".
    pub const BYTES_MAX: usize = 2048;
    const PREFIX: &str = "x-amz-meta-";

    /// Takes them from the headers of a request, and from the parameters of one by a presigned URL, where signers put
    /// them. Lines of one name become one value, with commas between (RFC 9110 5.3).
    ///
    /// Errors: MetadataTooLarge; InvalidArgument for the bare prefix.
    pub fn of(head: &RequestHead, presigned: Option<&Query>) -> Result<UserMetadata, S3Error> {
        let mut entries: Vec<(String, String)> = Vec::new();
        for Said { name: sent, value, carrier } in said(head, presigned) {
            let Some((prefix, name)) = sent.split_at_checked(Self::PREFIX.len()) else { continue };
            if !prefix.eq_ignore_ascii_case(Self::PREFIX) {
                continue;
            }
            if name.is_empty() {
                return Err(
                    S3Error::new(Code::InvalidArgument).with_message("user metadata must have a name")
                );
            }
            let value = text_of(value);
            if carrier == Carrier::Parameter && !could_be_header(name, &value) {
                return Err(S3Error::new(Code::InvalidArgument)
                    .with_message("user metadata must have names and values that a header can carry"));
            }
            match entries.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, whole)) => {
                    whole.push(',');
                    whole.push_str(&value);
                }
                None => entries.push((name.to_ascii_lowercase(), value)),
            }
        }
        let metadata = UserMetadata { entries };
        match metadata.size_bytes() {
            size if size > Self::BYTES_MAX => Err(S3Error::new(Code::MetadataTooLarge)
                .with_element("Size", size.to_string())
                .with_element("MaxSizeAllowed", Self::BYTES_MAX.to_string())),
            _ => Ok(metadata),
        }
    }

    /// The metadata that the fs floor kept, unchanged.
    pub fn from_stored(entries: Vec<(String, String)>) -> UserMetadata {
        UserMetadata { entries }
    }

    /// Name and value of each.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn size_bytes(&self) -> usize {
        let sizes = self.entries.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        sizes.fold(0, usize::saturating_add)
    }
}

/// Whether name and value could be a header: the parser of heads has seen to that, but a parameter says what it likes.
/// Source: RFC 9110 sections 5.6.2 and 5.5.
fn could_be_header(name: &str, value: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(of_token) && !value.chars().any(|letter| letter != '\t' && letter.is_control())
}

/// Header bytes as text: UTF-8 where they are, else each byte is a character of ISO 8859-1, HTTP's old meaning.
fn text_of(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_string(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

/// A stored value as a response header carries it: ASCII as it stands, anything else as one RFC 2047 encoded word.
/// Source: S3 user guide, "User-defined object metadata", on non-US-ASCII characters.
pub fn wire_value(value: &str) -> Cow<'_, str> {
    if value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Cow::Borrowed(value);
    }
    let mut word = String::from("=?UTF-8?Q?");
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => word.push(char::from(byte)),
            b' ' => word.push('_'),
            _ => word.push_str(&format!("={byte:02X}")),
        }
    }
    word.push_str("?=");
    Cow::Owned(word)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::http::head::Parsed;

    /// A head made of its parts, for the tests of this floor.
    pub(crate) fn head_of(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHead {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        match RequestHead::parse(text.as_bytes()) {
            Ok(Parsed::Complete { head, .. }) => head,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn check(name: &str, value: &str, want: Option<Code>) {
        let got = check_headers(&head_of("PUT", "/b/k", &[(name, value)]), None);
        assert_eq!(got.err().map(|error| error.code()), want, "{name}: {value}");
    }

    #[test]
    fn headers_are_taken_or_refused() {
        let acl = Some(Code::AccessControlListNotSupported);
        let class = Some(Code::InvalidStorageClass);
        let not_built = Some(Code::NotImplemented);
        let cases = [
            ("x-amz-acl", "private", None),
            ("X-Amz-Acl", "bucket-owner-full-control", None),
            ("x-amz-acl", "public-read", acl),
            ("x-amz-acl", "", acl),
            ("x-amz-grant-full-control", "id=1", acl),
            ("x-amz-storage-class", "STANDARD", None),
            ("x-amz-storage-class", "GLACIER", class),
            ("x-amz-bucket-object-lock-enabled", "false", None),
            ("x-amz-bucket-object-lock-enabled", "True", not_built),
            ("x-amz-object-ownership", "BucketOwnerEnforced", None),
            ("x-amz-object-ownership", "ObjectWriter", not_built),
            ("x-amz-tagging", "", None),
            ("x-amz-tagging", "a=b", not_built),
            ("x-amz-tagging-directive", "REPLACE", None),
            ("x-amz-bypass-governance-retention", "true", None),
            ("x-amz-request-payer", "requester", None),
            ("x-amz-server-side-encryption", "AES256", not_built),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256", not_built),
            ("x-amz-object-lock-mode", "GOVERNANCE", not_built),
            ("x-amz-website-redirect-location", "/x", not_built),
            ("x-amz-write-offset-bytes", "0", not_built),
            ("x-amz-if-match-size", "3", not_built),
            ("x-amz-if-match-last-modified-time", "Sun, 06 Nov 1994 08:49:37 GMT", not_built),
            ("x-amz-copy-source-if-none-match", "*", not_built),
            ("x-amz-meta-server-side-encryption", "x", None),
            ("x-amz-date", "20261124T000000Z", None),
        ];
        for (name, value, want) in cases {
            check(name, value, want);
        }
    }

    #[test]
    fn the_refused_header_is_named() {
        let error = check_headers(&head_of("PUT", "/b/k", &[("x-amz-tagging", "a=b")]), None).unwrap_err();
        assert!(error.message().contains("x-amz-tagging"), "{error}");
        assert_eq!(error.elements(), [("Header", "x-amz-tagging".to_string())]);
        let error =
            check_headers(&head_of("PUT", "/b/k", &[("X-Amz-If-Match-Size", "3")]), None).unwrap_err();
        assert_eq!(error.elements(), [("Header", "x-amz-if-match-size".to_string())]);
    }

    #[test]
    fn lines_of_one_header_are_one_value() {
        let lines = [
            ("content-encoding", "aws-chunked"),
            ("Content-Encoding", "gzip"),
            ("content-encoding", ""),
            ("cache-control", "no-cache"),
            ("cache-control", "max-age=7"),
        ];
        let stored = StoredHeaders::of(&head_of("PUT", "/b/k", &lines));
        assert_eq!(stored.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(stored.cache_control.as_deref(), Some("no-cache,max-age=7"));
    }

    #[test]
    fn the_expected_owner() {
        let owner = "123456789012";
        for (headers, want) in [
            (vec![], None),
            (vec![("x-amz-expected-bucket-owner", owner)], None),
            (vec![("x-amz-expected-bucket-owner", "000000000000")], Some(Code::AccessDenied)),
            (vec![("x-amz-expected-bucket-owner", "")], Some(Code::AccessDenied)),
            (
                vec![("x-amz-expected-bucket-owner", owner), ("x-amz-expected-bucket-owner", "000000000000")],
                Some(Code::AccessDenied),
            ),
        ] {
            let got = check_expected_bucket_owner(&head_of("GET", "/b", &headers), None, owner);
            assert_eq!(got.err().map(|error| error.code()), want, "{headers:?}");
        }
    }

    fn stored(headers: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let stored = StoredHeaders::of(&head_of("PUT", "/b/k", headers));
        stored.entries().map(|(name, value)| (name, value.to_string())).collect()
    }

    #[test]
    fn stored_headers_are_kept_as_sent() {
        assert_eq!(stored(&[]), [("Content-Type", "binary/octet-stream".to_string())]);
        let sent = [
            ("content-type", "Text/Plain;charset=X  y"),
            ("Expires", "-1"),
            ("cache-control", "max-age=3"),
            ("content-language", "de, en"),
            ("content-disposition", "attachment; filename=\"a.txt\""),
            ("content-encoding", "gzip"),
        ];
        let mut want: Vec<String> = sent.iter().map(|(_, value)| value.to_string()).collect();
        let mut got: Vec<String> = stored(&sent).into_iter().map(|(_, value)| value).collect();
        want.sort();
        got.sort();
        assert_eq!(got, want);
    }

    #[test]
    fn aws_chunked_is_no_content_encoding() {
        let cases = [
            ("aws-chunked", None),
            ("AWS-Chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked , br", Some("gzip,br")),
            ("gzip, br", Some("gzip, br")),
            (" ", None),
        ];
        for (value, want) in cases {
            let headers = StoredHeaders::of(&head_of("PUT", "/b/k", &[("Content-Encoding", value)]));
            assert_eq!(headers.content_encoding.as_deref(), want, "{value}");
        }
    }

    #[test]
    fn response_parameters_override() {
        let query =
            Query::parse("response-content-type=a%2Fb&response-expires=x&response-cache-control=").unwrap();
        let kept = StoredHeaders { cache_control: Some("c".into()), ..StoredHeaders::default() };
        let headers = kept.overridden_by(&query).unwrap();
        assert_eq!(headers.content_type.as_deref(), Some("a/b"));
        assert_eq!(headers.expires.as_deref(), Some("x"));
        assert_eq!(headers.cache_control.as_deref(), Some("c"));
        let query = Query::parse("response-content-type=a%0d%0aSet-Cookie:x").unwrap();
        let error = StoredHeaders::default().overridden_by(&query).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }

    fn metadata(headers: &[(&str, &str)]) -> Result<String, Code> {
        let parsed = UserMetadata::of(&head_of("PUT", "/b/k", headers), None);
        parsed.map_err(|error| error.code()).map(|metadata| {
            metadata.entries().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
        })
    }

    #[test]
    fn user_metadata() {
        assert_eq!(metadata(&[("Host", "h")]), Ok(String::new()));
        let headers = [("X-Amz-Meta-Foo", "Bar"), ("x-amz-meta-b", ""), ("x-amz-meta-foo", "ä")];
        assert_eq!(metadata(&headers), Ok("foo=Bar,ä;b=".to_string()));
        assert_eq!(metadata(&[("x-amz-meta-", "v")]), Err(Code::InvalidArgument));
        assert!(metadata(&[("x-amz-meta-k", &"v".repeat(2047))]).is_ok());
        assert_eq!(metadata(&[("x-amz-meta-k", &"v".repeat(2048))]), Err(Code::MetadataTooLarge));
    }

    #[test]
    fn a_presigned_url_carries_headers() {
        let plain = head_of("PUT", "/b/k", &[]);
        let check = |raw: &str| {
            check_headers(&plain, Some(&Query::parse(raw).unwrap())).map_err(|error| error.code())
        };
        let taken = "x-amz-meta-a=b&X-Amz-Expires=60&x-amz-acl=private&x-amz-checksum-crc32=AAAAAA%3D%3D";
        assert_eq!(check(taken), Ok(()));
        assert_eq!(check("x-amz-acl=public-read"), Err(Code::AccessControlListNotSupported));
        assert_eq!(check("x-amz-tagging=a%3Db"), Err(Code::NotImplemented));
        assert_eq!(check("x-amz-copy-source=b%2Fk"), Err(Code::NotImplemented));
        assert_eq!(check("x-amz-mp-object-size=7"), Err(Code::NotImplemented));
        let owner = |raw: &str| {
            let query = Query::parse(raw).unwrap();
            check_expected_bucket_owner(&plain, Some(&query), "123456789012").map_err(|error| error.code())
        };
        assert_eq!(owner("X-Amz-Expected-Bucket-Owner=123456789012"), Ok(()));
        assert_eq!(owner("x-amz-expected-bucket-owner=000000000000"), Err(Code::AccessDenied));
        let head = head_of("PUT", "/b/k", &[("x-amz-meta-a", "header")]);
        let query = Query::parse("X-Amz-Meta-B=%C3%A4+x&x-amz-meta-a=b").unwrap();
        let metadata = UserMetadata::of(&head, Some(&query)).unwrap();
        let entries: Vec<_> = metadata.entries().collect();
        assert_eq!(entries, [("a", "header,b"), ("b", "ä x")]);
        for raw in ["x-amz-meta-a=b%0Ac", "x-amz-meta-a%20b=c", "x-amz-meta-%C3%A4=b", "x-amz-meta-=b"] {
            let refused = UserMetadata::of(&head, Some(&Query::parse(raw).unwrap()));
            assert_eq!(refused.map_err(|error| error.code()), Err(Code::InvalidArgument), "{raw}");
        }
        let padded = UserMetadata::of(&plain, Some(&Query::parse("x-amz-meta-a=+b+").unwrap()));
        assert_eq!(padded.unwrap().entries().collect::<Vec<_>>(), [("a", "b")]);
    }

    #[test]
    fn values_beyond_ascii() {
        assert_eq!(text_of(b"World\xe9"), "Worldé");
        assert_eq!(wire_value("plain ~ text"), "plain ~ text");
        assert_eq!(wire_value("é a?"), "=?UTF-8?Q?=C3=A9_a=3F?=");
    }
}
