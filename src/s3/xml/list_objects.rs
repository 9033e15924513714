//! ListBucketResult, the answer of ListObjects and of ListObjectsV2: two heads over the same keys and common prefixes.
//! With `encoding-type=url` every text that comes from a key is percent-encoded, slashes kept, so that keys with
//! characters which XML cannot carry travel too. Where a page ends is the operation's business.
//! Source: ListObjects and ListObjectsV2, response syntax.

use crate::s3::etag::ETag;
use crate::s3::xml::writer::{KeyEncoding, Owner, Writer};

/// Whether another page follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This page is the last.
    Complete,
    /// More follows.
    Truncated,
}

/// A page of keys and common prefixes.
#[derive(Debug)]
pub struct ListObjects<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The prefix that was asked for.
    pub prefix: &'a str,
    /// The delimiter that was asked for.
    pub delimiter: Option<&'a str>,
    /// The size of a page, as it was applied.
    pub keys_max: u32,
    /// How keys are written.
    pub encoding: KeyEncoding,
    /// Whether another page follows.
    pub extent: Extent,
    /// What the two operations tell differently.
    pub paging: Paging<'a>,
    /// The objects, by key.
    pub contents: Vec<Content<'a>>,
    /// The common prefixes, in order.
    pub common_prefixes: Vec<&'a str>,
}

/// How a page says where it starts and where the next one does.
#[derive(Clone, Copy, Debug)]
pub enum Paging<'a> {
    /// ListObjects.
    Marker {
        /// Where the page starts, as sent.
        marker: &'a str,
        /// Where the next one starts.
        next_marker: Option<&'a str>,
    },
    /// ListObjectsV2.
    Token {
        /// The token as sent.
        continuation_token: Option<&'a str>,
        /// Where the first page starts, as sent.
        start_after: Option<&'a str>,
        /// Where the next one starts.
        next_continuation_token: Option<&'a str>,
    },
}

/// One object.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its key.
    pub key: &'a str,
    /// When it was last changed. Units: seconds since 1970.
    pub modified_unix_s: i64,
    /// Its ETag.
    pub etag: ETag,
    /// Its size.
    pub size_bytes: u64,
    /// Its owner, when asked for.
    pub owner: Option<Owner<'a>>,
}

/// Bytes of one object's markup without its key and owner, so that a page is written into one allocation.
const CONTENT_BYTES: usize = 256;

/// The document.
pub fn write(list: &ListObjects<'_>) -> String {
    let keys: usize = list.contents.iter().map(|content| content.key.len()).sum();
    let content_bytes = list.contents.len().saturating_mul(CONTENT_BYTES).saturating_add(keys);
    let mut xml = Writer::with_capacity(content_bytes.saturating_add(1024));
    xml.open_root("ListBucketResult");
    xml.text("Name", list.bucket);
    xml.key("Prefix", list.prefix, list.encoding);
    write_paging(list, &mut xml);
    xml.number("MaxKeys", u64::from(list.keys_max));
    key_if(&mut xml, "Delimiter", list.delimiter, list.encoding);
    if list.encoding == KeyEncoding::Url {
        xml.text("EncodingType", "url");
    }
    xml.truth("IsTruncated", list.extent == Extent::Truncated);
    for content in &list.contents {
        write_content(content, list.encoding, &mut xml);
    }
    for prefix in &list.common_prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, list.encoding);
        xml.close("CommonPrefixes");
    }
    xml.close("ListBucketResult");
    xml.finish()
}

fn write_paging(list: &ListObjects<'_>, xml: &mut Writer) {
    match list.paging {
        Paging::Marker { marker, next_marker } => {
            xml.key("Marker", marker, list.encoding);
            key_if(xml, "NextMarker", next_marker, list.encoding);
        }
        Paging::Token { continuation_token, start_after, next_continuation_token } => {
            key_if(xml, "StartAfter", start_after, list.encoding);
            xml.text_if("ContinuationToken", continuation_token);
            xml.text_if("NextContinuationToken", next_continuation_token);
            let count = list.contents.len().saturating_add(list.common_prefixes.len());
            xml.number("KeyCount", u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

fn write_content(content: &Content<'_>, encoding: KeyEncoding, xml: &mut Writer) {
    xml.open("Contents");
    xml.key("Key", content.key, encoding);
    xml.time("LastModified", content.modified_unix_s);
    xml.text("ETag", &content.etag.quoted());
    xml.number("Size", content.size_bytes);
    if let Some(owner) = content.owner {
        xml.owner("Owner", &owner);
    }
    xml.text("StorageClass", "STANDARD");
    xml.close("Contents");
}

/// A key that may be absent, as a marker may.
fn key_if(xml: &mut Writer, name: &str, key: Option<&str>, encoding: KeyEncoding) {
    if let Some(key) = key {
        xml.key(name, key, encoding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list<'a>(paging: Paging<'a>) -> ListObjects<'a> {
        ListObjects {
            bucket: "b",
            prefix: "",
            delimiter: None,
            keys_max: 1000,
            encoding: KeyEncoding::Plain,
            extent: Extent::Complete,
            paging,
            contents: Vec::new(),
            common_prefixes: Vec::new(),
        }
    }

    fn check(list: &ListObjects<'_>, want: &str) {
        let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        assert_eq!(write(list), format!("{start}{want}</ListBucketResult>"));
    }

    const FIRST_PAGE: Paging<'_> =
        Paging::Token { continuation_token: None, start_after: None, next_continuation_token: None };

    #[test]
    fn golden_v1() {
        check(
            &list(Paging::Marker { marker: "", next_marker: None }),
            "<Name>b</Name><Prefix></Prefix><Marker></Marker><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
        );
        let etag = ETag::of_md5([0xab; 16]);
        let owner = Some(Owner { id: "75aa", display_name: "root" });
        let content =
            Content { key: "a/b c&d", modified_unix_s: 1_255_369_830, etag, size_bytes: 434_234, owner };
        let page = ListObjects {
            prefix: "a/",
            delimiter: Some("/"),
            extent: Extent::Truncated,
            contents: vec![content],
            common_prefixes: vec!["a/x/"],
            ..list(Paging::Marker { marker: "a/<", next_marker: Some("a/x/") })
        };
        check(
            &page,
            "<Name>b</Name><Prefix>a/</Prefix><Marker>a/&lt;</Marker><NextMarker>a/x/</NextMarker><MaxKeys>1000</MaxKeys>\
             <Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>\
             <Contents><Key>a/b c&amp;d</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
             <ETag>&quot;abababababababababababababababab&quot;</ETag><Size>434234</Size>\
             <Owner><ID>75aa</ID><DisplayName>root</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>\
             <CommonPrefixes><Prefix>a/x/</Prefix></CommonPrefixes>",
        );
    }

    #[test]
    fn golden_v2() {
        check(
            &list(FIRST_PAGE),
            "<Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
        );
        let etag = ETag::synthetic([0x01; 16]);
        let content = Content { key: "ä+\u{1}/k", modified_unix_s: 0, etag, size_bytes: 0, owner: None };
        let page = ListObjects {
            prefix: "ä",
            delimiter: Some(" "),
            keys_max: 2,
            encoding: KeyEncoding::Url,
            extent: Extent::Truncated,
            contents: vec![content],
            common_prefixes: vec!["ä "],
            ..list(Paging::Token {
                continuation_token: Some("AWE"),
                start_after: Some("s&"),
                next_continuation_token: Some("AWI"),
            })
        };
        check(
            &page,
            "<Name>b</Name><Prefix>%C3%A4</Prefix><StartAfter>s%26</StartAfter><ContinuationToken>AWE</ContinuationToken>\
             <NextContinuationToken>AWI</NextContinuationToken><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>\
             <Delimiter>%20</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <Contents><Key>%C3%A4%2B%01/k</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;01010101010101010101010101010101-1&quot;</ETag><Size>0</Size>\
             <StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>%C3%A4%20</Prefix></CommonPrefixes>",
        );
    }
}
