//! The answers of ListObjects and ListObjectsV2: two heads over the same entries.
//! It writes one page as given; order, paging and grouping are the cursor's.
//! With `encoding-type=url` every key, prefix, delimiter and marker is encoded, tokens never.
//! Source: Amazon S3 API reference, ListObjects and ListObjectsV2, "Response syntax" and examples.

use crate::s3::checksum::{Algorithm, ChecksumType};
use crate::s3::etag::ETag;
use crate::s3::names::BucketName;
use crate::s3::xml::writer::{KeyEncoding, Owner, Writer};

/// What both versions say of a page.
pub struct ListedPage<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The prefix asked for; empty for none.
    pub prefix: &'a str,
    /// The delimiter asked for.
    pub delimiter: Option<&'a str>,
    /// The page size in force.
    pub max_keys: u32,
    /// How keys are written.
    pub encoding: KeyEncoding,
    /// The objects, in the order of their keys.
    pub objects: &'a [ListedObject],
    /// The common prefixes, in order.
    pub common_prefixes: &'a [String],
    /// Whose the objects are: always there in version 1, with `fetch-owner=true` in version 2.
    pub owner: Option<Owner<'a>>,
}

/// An object in a page.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// When it was last modified. Units: unix seconds.
    pub last_modified_unix_s: i64,
    /// Its entity tag.
    pub etag: ETag,
    /// Its size. Units: bytes.
    pub size_bytes: u64,
    /// Which checksum it has, where one is stored.
    pub checksum: Option<(Algorithm, ChecksumType)>,
}

/// Where version 1 begins and goes on.
pub struct Markers<'a> {
    /// The marker asked for; empty for none.
    pub marker: &'a str,
    /// Whether there is more, and the marker that asks for it.
    pub next: NextMarker<'a>,
}

/// What follows a page of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextMarker<'a> {
    /// Nothing.
    Last,
    /// More; the last key of this page is the marker. AWS names a NextMarker only where there is a delimiter.
    Unnamed,
    /// More, from this marker on.
    Named(&'a str),
}

/// Where version 2 begins and goes on.
pub struct Tokens<'a> {
    /// The token that asked for this page.
    pub continuation_token: Option<&'a str>,
    /// The token for the next page; none on the last.
    pub next_continuation_token: Option<&'a str>,
    /// The key asked to start after.
    pub start_after: Option<&'a str>,
}

/// The document of ListObjects.
pub fn write_v1(page: &ListedPage<'_>, markers: &Markers<'_>) -> String {
    let mut xml = open(page);
    xml.key("Marker", markers.marker, page.encoding);
    if let NextMarker::Named(marker) = markers.next {
        xml.key("NextMarker", marker, page.encoding);
    }
    write_limits(&mut xml, page);
    let truncated = match markers.next {
        NextMarker::Last => "false",
        NextMarker::Unnamed | NextMarker::Named(_) => "true",
    };
    xml.text("IsTruncated", truncated);
    close(xml, page)
}

/// The document of ListObjectsV2.
pub fn write_v2(page: &ListedPage<'_>, tokens: &Tokens<'_>) -> String {
    let mut xml = open(page);
    xml.text_if("ContinuationToken", tokens.continuation_token);
    xml.text_if("NextContinuationToken", tokens.next_continuation_token);
    if let Some(start_after) = tokens.start_after {
        xml.key("StartAfter", start_after, page.encoding);
    }
    let count = page.objects.len().saturating_add(page.common_prefixes.len());
    xml.number("KeyCount", u64::try_from(count).unwrap_or(u64::MAX));
    write_limits(&mut xml, page);
    xml.text("IsTruncated", if tokens.next_continuation_token.is_some() { "true" } else { "false" });
    close(xml, page)
}

fn open(page: &ListedPage<'_>) -> Writer {
    // An entry without its key takes under 300 bytes; one growth for long keys is cheaper than counting them.
    let mut xml = Writer::with_capacity(page.objects.len().saturating_mul(384).saturating_add(1024));
    xml.open_root("ListBucketResult");
    xml.text("Name", page.bucket.as_str());
    xml.key("Prefix", page.prefix, page.encoding);
    xml
}

fn write_limits(xml: &mut Writer, page: &ListedPage<'_>) {
    xml.number("MaxKeys", u64::from(page.max_keys));
    if let Some(delimiter) = page.delimiter {
        xml.key("Delimiter", delimiter, page.encoding);
    }
    match page.encoding {
        KeyEncoding::Plain => {}
        KeyEncoding::Url => xml.text("EncodingType", "url"),
    }
}

fn close(mut xml: Writer, page: &ListedPage<'_>) -> String {
    for object in page.objects {
        write_object(&mut xml, object, page);
    }
    for prefix in page.common_prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, page.encoding);
        xml.close("CommonPrefixes");
    }
    xml.close("ListBucketResult");
    xml.finish()
}

fn write_object(xml: &mut Writer, object: &ListedObject, page: &ListedPage<'_>) {
    xml.open("Contents");
    xml.key("Key", &object.key, page.encoding);
    xml.time("LastModified", object.last_modified_unix_s);
    xml.text("ETag", &object.etag.quoted());
    if let Some((algorithm, checksum_type)) = object.checksum {
        xml.text("ChecksumAlgorithm", algorithm.wire());
        xml.text("ChecksumType", checksum_type.wire());
    }
    xml.number("Size", object.size_bytes);
    if let Some(owner) = &page.owner {
        xml.owner("Owner", owner);
    }
    xml.text("StorageClass", "STANDARD");
    xml.close("Contents");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::writer::tests::check_document;

    fn object(key: &str, checksum: Option<(Algorithm, ChecksumType)>) -> ListedObject {
        let etag = ETag::parse("70ee1738b6b21e2c8a43f3a5ab0eee71").unwrap();
        ListedObject {
            key: key.into(),
            last_modified_unix_s: 1_255_369_830,
            etag,
            size_bytes: 1_111,
            checksum,
        }
    }

    fn page<'a>(
        bucket: &'a BucketName,
        objects: &'a [ListedObject],
        prefixes: &'a [String],
    ) -> ListedPage<'a> {
        ListedPage {
            bucket,
            prefix: "",
            delimiter: None,
            max_keys: 1000,
            encoding: KeyEncoding::Plain,
            objects,
            common_prefixes: prefixes,
            owner: None,
        }
    }

    #[test]
    fn version_2_as_in_the_reference() {
        let bucket = BucketName::parse("quotes").unwrap();
        let objects = [object("happyface.jpg", Some((Algorithm::Crc32, ChecksumType::FullObject)))];
        let tokens = Tokens {
            continuation_token: None,
            next_continuation_token: Some("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM="),
            start_after: Some("a b"),
        };
        check_document(
            &write_v2(&page(&bucket, &objects, &[]), &tokens),
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>quotes</Name><Prefix></Prefix>\
             <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>\
             <StartAfter>a b</StartAfter><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>\
             <Contents><Key>happyface.jpg</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
             <ETag>&quot;70ee1738b6b21e2c8a43f3a5ab0eee71&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>\
             <ChecksumType>FULL_OBJECT</ChecksumType><Size>1111</Size><StorageClass>STANDARD</StorageClass></Contents>\
             </ListBucketResult>",
        );
    }

    #[test]
    fn version_1_with_prefixes_encoded() {
        let bucket = BucketName::parse("example-bucket").unwrap();
        let objects = [object("a/sample \u{1}.jpg", None)];
        let prefixes = ["a/ph+tos/".to_string()];
        let mut page = page(&bucket, &objects, &prefixes);
        page.prefix = "a/";
        page.delimiter = Some("/");
        page.encoding = KeyEncoding::Url;
        page.owner = Some(Owner { id: "75aa57f0", display_name: "mtd@amazon.com" });
        let markers = Markers { marker: "a b", next: NextMarker::Named("a/ph+tos/") };
        check_document(
            &write_v1(&page, &markers),
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>example-bucket</Name>\
             <Prefix>a/</Prefix><Marker>a%20b</Marker><NextMarker>a/ph%2Btos/</NextMarker><MaxKeys>1000</MaxKeys>\
             <Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <Contents><Key>a/sample%20%01.jpg</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
             <ETag>&quot;70ee1738b6b21e2c8a43f3a5ab0eee71&quot;</ETag><Size>1111</Size>\
             <Owner><ID>75aa57f0</ID><DisplayName>mtd@amazon.com</DisplayName></Owner>\
             <StorageClass>STANDARD</StorageClass></Contents>\
             <CommonPrefixes><Prefix>a/ph%2Btos/</Prefix></CommonPrefixes></ListBucketResult>",
        );
    }

    #[test]
    fn truncation() {
        let bucket = BucketName::parse("quotes").unwrap();
        for (next, want) in
            [(NextMarker::Last, "false"), (NextMarker::Unnamed, "true"), (NextMarker::Named("k"), "true")]
        {
            let text = write_v1(&page(&bucket, &[], &[]), &Markers { marker: "", next });
            assert!(text.contains(&format!("<IsTruncated>{want}</IsTruncated>")), "{next:?}");
            assert_eq!(text.contains("<NextMarker>"), next == NextMarker::Named("k"), "{next:?}");
        }
        let tokens =
            Tokens { continuation_token: Some("t"), next_continuation_token: None, start_after: None };
        let text = write_v2(&page(&bucket, &[], &[]), &tokens);
        assert!(text.contains("<ContinuationToken>t</ContinuationToken><KeyCount>0</KeyCount>"));
        assert!(text.contains("<IsTruncated>false</IsTruncated>"));
    }
}
