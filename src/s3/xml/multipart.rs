//! Multipart uploads: the answers of Create, Complete and ListParts, and the request of Complete.
//! The request becomes a list that rises by part number, so that no later code has to check the order again.
//! Whether the parts exist, and match, is the fs floor's to say.
//! Source: Amazon S3 API reference, CreateMultipartUpload, CompleteMultipartUpload, ListParts.

use crate::s3::checksum::{Algorithm, Checksum, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::{ETag, GivenETag};
use crate::s3::names::{BucketName, ObjectKey, PartNumber, UploadId, shortened};
use crate::s3::xml::reader::{Reader, malformed};
use crate::s3::xml::writer::{KeyEncoding, Owner, Writer};

/// Longest CompleteMultipartUpload request: boto3 sends 1.66 MB for 10,000 parts with SHA-256. Units: bytes.
pub const COMPLETE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The answer of CreateMultipartUpload.
pub fn write_initiated(bucket: &BucketName, key: &ObjectKey, upload_id: &UploadId) -> String {
    let mut xml = Writer::document();
    xml.open_root("InitiateMultipartUploadResult");
    xml.text("Bucket", bucket.as_str());
    xml.text("Key", key.as_str());
    xml.text("UploadId", upload_id.as_str());
    xml.close("InitiateMultipartUploadResult");
    xml.finish()
}

/// A part as CompleteMultipartUpload names it.
#[derive(Clone, Debug)]
pub struct CompletedPart {
    /// Its number.
    pub part_number: PartNumber,
    /// The ETag that its upload was answered with.
    pub etag: GivenETag,
    /// The checksums that it must have.
    pub checksums: Vec<Checksum>,
}

/// Reads the parts of a CompleteMultipartUpload request: 1 to 10,000, each number higher than the one before.
///
/// Errors: MalformedXML, also without a part, number or ETag; InvalidPartOrder; InvalidArgument for a number out of
/// range; InvalidRequest for a checksum that is none.
pub fn read_complete(bytes: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
    let mut document = Reader::document(bytes, "CompleteMultipartUpload")?;
    let mut parts: Vec<CompletedPart> = Vec::new();
    while let Some(name) = document.next_child()? {
        match name {
            "Part" => {
                let part = read_part(&mut document)?;
                // INVARIANT: numbers rise, so there are never more parts than numbers.
                if parts.last().is_some_and(|last| last.part_number >= part.part_number) {
                    return Err(S3Error::new(Code::InvalidPartOrder));
                }
                parts.push(part);
            }
            _ => document.skip()?,
        }
    }
    if parts.is_empty() {
        return Err(malformed("it names no part"));
    }
    Ok(parts)
}

fn read_part(document: &mut Reader<'_>) -> Result<CompletedPart, S3Error> {
    let mut part_number = None;
    let mut etag = None;
    let mut checksums = Vec::new();
    while let Some(name) = document.next_child()? {
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.element() == name);
        match (name, algorithm) {
            ("PartNumber", _) => part_number = Some(PartNumber::parse(document.text()?.trim())?),
            ("ETag", _) => etag = Some(GivenETag::parse(document.text()?.trim())),
            (_, Some(algorithm)) => checksums.push(read_checksum(algorithm, document.text()?.trim())?),
            (_, None) => document.skip()?,
        }
    }
    match (part_number, etag) {
        (Some(part_number), Some(etag)) => Ok(CompletedPart { part_number, etag, checksums }),
        (None, _) | (_, None) => Err(malformed("a part has no number or no ETag")),
    }
}

fn read_checksum(algorithm: Algorithm, text: &str) -> Result<Checksum, S3Error> {
    Checksum::parse(algorithm, text).ok_or_else(|| {
        S3Error::new(Code::InvalidRequest)
            .with_message(format!("Value for {} is invalid.", algorithm.element()))
            .with_element("ArgumentValue", shortened(text))
    })
}

/// The answer of CompleteMultipartUpload.
pub struct CompletedUpload<'a> {
    /// The object's address, as the client reaches it.
    pub location: &'a str,
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The key.
    pub key: &'a ObjectKey,
    /// The object's entity tag.
    pub etag: ETag,
    /// The object's checksum, where the upload has one.
    pub checksum: Option<&'a Checksum>,
}

/// The document of a completed upload.
pub fn write_completed(upload: &CompletedUpload<'_>) -> String {
    let mut xml = Writer::document();
    xml.open_root("CompleteMultipartUploadResult");
    xml.text("Location", upload.location);
    xml.text("Bucket", upload.bucket.as_str());
    xml.text("Key", upload.key.as_str());
    xml.text("ETag", &upload.etag.quoted());
    if let Some(checksum) = upload.checksum {
        xml.text(checksum.algorithm().element(), &checksum.text());
        xml.text("ChecksumType", checksum.checksum_type().wire());
    }
    xml.close("CompleteMultipartUploadResult");
    xml.finish()
}

/// One page of an upload's parts.
pub struct ListedParts<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The key.
    pub key: &'a ObjectKey,
    /// The upload.
    pub upload_id: &'a UploadId,
    /// Who began it.
    pub initiator: Owner<'a>,
    /// Whose the object will be.
    pub owner: Owner<'a>,
    /// The part number that the page begins after; 0 for the first page.
    pub part_number_marker: u32,
    /// The page size in force.
    pub max_parts: u32,
    /// The parts, by number.
    pub parts: &'a [ListedPart],
    /// Whether there are parts beyond the page.
    pub rest: Rest,
    /// The upload's checksum, where it was begun with one.
    pub checksum: Option<(Algorithm, ChecksumType)>,
    /// How the key is written.
    pub encoding: KeyEncoding,
}

/// What follows a page of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// More parts, after the last of this page.
    More,
}

/// A part in a page.
#[derive(Clone, Debug)]
pub struct ListedPart {
    /// Its number.
    pub part_number: PartNumber,
    /// When it was uploaded. Units: unix seconds.
    pub last_modified_unix_s: i64,
    /// Its entity tag.
    pub etag: ETag,
    /// Its size. Units: bytes.
    pub size_bytes: u64,
    /// Its checksum, where one is stored.
    pub checksum: Option<Checksum>,
}

/// The document of ListParts.
pub fn write_parts(list: &ListedParts<'_>) -> String {
    let mut xml = Writer::with_capacity(list.parts.len().saturating_mul(256).saturating_add(1024));
    xml.open_root("ListPartsResult");
    xml.text("Bucket", list.bucket.as_str());
    xml.key("Key", list.key.as_str(), list.encoding);
    xml.text("UploadId", list.upload_id.as_str());
    xml.owner("Initiator", &list.initiator);
    xml.owner("Owner", &list.owner);
    xml.text("StorageClass", "STANDARD");
    xml.number("PartNumberMarker", u64::from(list.part_number_marker));
    let next = match list.parts.last() {
        Some(last) => u64::from(last.part_number.value()),
        None => u64::from(list.part_number_marker),
    };
    xml.number("NextPartNumberMarker", next);
    xml.number("MaxParts", u64::from(list.max_parts));
    match list.encoding {
        KeyEncoding::Plain => {}
        KeyEncoding::Url => xml.text("EncodingType", "url"),
    }
    let truncated = match list.rest {
        Rest::None => "false",
        Rest::More => "true",
    };
    xml.text("IsTruncated", truncated);
    if let Some((algorithm, checksum_type)) = list.checksum {
        xml.text("ChecksumAlgorithm", algorithm.wire());
        xml.text("ChecksumType", checksum_type.wire());
    }
    for part in list.parts {
        write_part(&mut xml, part);
    }
    xml.close("ListPartsResult");
    xml.finish()
}

fn write_part(xml: &mut Writer, part: &ListedPart) {
    xml.open("Part");
    xml.number("PartNumber", u64::from(part.part_number.value()));
    xml.time("LastModified", part.last_modified_unix_s);
    xml.text("ETag", &part.etag.quoted());
    xml.number("Size", part.size_bytes);
    if let Some(checksum) = &part.checksum {
        xml.text(checksum.algorithm().element(), &checksum.text());
    }
    xml.close("Part");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::etag::Comparison;
    use crate::s3::xml::writer::tests::check_document;

    const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    const MD5: &str = "a54357aff0632cce46d942af68356b38";

    fn names() -> (BucketName, ObjectKey, UploadId) {
        let bucket = BucketName::parse("example-bucket").unwrap();
        (bucket, ObjectKey::parse(b"example&object").unwrap(), UploadId::parse("VXBsb2FkIElE_-").unwrap())
    }

    #[test]
    fn the_answer_of_create() {
        let (bucket, key, upload_id) = names();
        check_document(
            &write_initiated(&bucket, &key, &upload_id),
            &format!(
                "<InitiateMultipartUploadResult {NAMESPACE}><Bucket>example-bucket</Bucket><Key>example&amp;object</Key>\
                 <UploadId>VXBsb2FkIElE_-</UploadId></InitiateMultipartUploadResult>"
            ),
        );
    }

    /// The parts as `number/tag matches/checksums`, or the code.
    fn check(parts: &str, want: Result<&str, Code>) {
        let text = format!("<CompleteMultipartUpload {NAMESPACE}>{parts}</CompleteMultipartUpload>");
        let got = read_complete(text.as_bytes()).map_err(|error| error.code()).map(|parts| {
            let etag = ETag::parse(MD5).unwrap();
            let line = |part: &CompletedPart| {
                let checksums: Vec<String> = part.checksums.iter().map(Checksum::text).collect();
                let matches = part.etag.matches(&etag, Comparison::Strong);
                format!("{}/{matches}/{}", part.part_number, checksums.join("+"))
            };
            parts.iter().map(line).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(got.as_deref().map_err(|code| *code), want, "{parts:.200}");
    }

    #[test]
    fn the_request_of_complete() {
        check(
            "<Part><PartNumber>1</PartNumber><ETag>\"a54357aff0632cce46d942af68356b38\"</ETag></Part>\n\
             <Part><ETag>&quot;0c78aef83f66abc1fa1e8477f296d394&quot;</ETag><PartNumber>2</PartNumber></Part>\
             <Part><ETag>a54357aff0632cce46d942af68356b38</ETag><PartNumber> 10000 </PartNumber>\
             <ChecksumCRC32>AAAAAA==</ChecksumCRC32><Unknown/></Part>",
            Ok("1/true/ 2/false/ 10000/true/AAAAAA=="),
        );
        let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>x</ETag></Part>");
        check(&(part("2") + &part("1")), Err(Code::InvalidPartOrder));
        check(&(part("2") + &part("2")), Err(Code::InvalidPartOrder));
        check(&part("0"), Err(Code::InvalidArgument));
        check(&part("10001"), Err(Code::InvalidArgument));
        check("", Err(Code::MalformedXML));
        check("<Part/>", Err(Code::MalformedXML));
        check("<Part><PartNumber>1</PartNumber></Part>", Err(Code::MalformedXML));
        check("<Part><ETag>x</ETag></Part>", Err(Code::MalformedXML));
        let bad = "<Part><PartNumber>1</PartNumber><ETag>x</ETag><ChecksumCRC32>AAA=</ChecksumCRC32></Part>";
        check(bad, Err(Code::InvalidRequest));
        assert_eq!(read_complete(b"").unwrap_err().code(), Code::MalformedXML);
        assert_eq!(read_complete(b"<Complete/>").unwrap_err().code(), Code::MalformedXML);
    }

    #[test]
    fn ten_thousand_parts_with_the_longest_checksum_fit() {
        let checksum = crate::s3::base64::encode(&[7; 32]);
        let part = |number: u32| {
            format!(
                "<Part><ETag>&quot;{MD5}&quot;</ETag><ChecksumSHA256>{checksum}</ChecksumSHA256>\
                 <PartNumber>{number}</PartNumber></Part>"
            )
        };
        let body: String = (1..=10_000).map(part).collect();
        let text = format!("<CompleteMultipartUpload>{body}</CompleteMultipartUpload>");
        assert!(text.len() <= COMPLETE_BYTES_MAX);
        assert_eq!(read_complete(text.as_bytes()).unwrap().len(), 10_000);
    }

    #[test]
    fn the_answer_of_complete() {
        let (bucket, key, _) = names();
        let checksum = Checksum::parse(Algorithm::Crc64nvme, "AAAAAAAAAAA=").unwrap();
        let upload = CompletedUpload {
            location: "http://127.0.0.1:9000/example-bucket/example%26object",
            bucket: &bucket,
            key: &key,
            etag: ETag::parse("3858f62230ac3c915f300c664312c11f-9").unwrap(),
            checksum: Some(&checksum),
        };
        check_document(
            &write_completed(&upload),
            &format!(
                "<CompleteMultipartUploadResult {NAMESPACE}>\
                 <Location>http://127.0.0.1:9000/example-bucket/example%26object</Location>\
                 <Bucket>example-bucket</Bucket><Key>example&amp;object</Key>\
                 <ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag>\
                 <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>\
                 </CompleteMultipartUploadResult>"
            ),
        );
    }

    #[test]
    fn the_answer_of_list_parts() {
        let (bucket, key, upload_id) = names();
        let parts = [ListedPart {
            part_number: PartNumber::new(2).unwrap(),
            last_modified_unix_s: 1_289_429_314,
            etag: ETag::parse("7778aef83f66abc1fa1e8477f296d394").unwrap(),
            size_bytes: 10_485_760,
            checksum: Checksum::parse(Algorithm::Crc32, "AAAAAA=="),
        }];
        let list = ListedParts {
            bucket: &bucket,
            key: &key,
            upload_id: &upload_id,
            initiator: Owner { id: "1", display_name: "a" },
            owner: Owner { id: "2", display_name: "b" },
            part_number_marker: 1,
            max_parts: 1,
            parts: &parts,
            rest: Rest::More,
            checksum: Some((Algorithm::Crc32, ChecksumType::Composite)),
            encoding: KeyEncoding::Url,
        };
        check_document(
            &write_parts(&list),
            &format!(
                "<ListPartsResult {NAMESPACE}><Bucket>example-bucket</Bucket><Key>example%26object</Key>\
                 <UploadId>VXBsb2FkIElE_-</UploadId><Initiator><ID>1</ID><DisplayName>a</DisplayName></Initiator>\
                 <Owner><ID>2</ID><DisplayName>b</DisplayName></Owner><StorageClass>STANDARD</StorageClass>\
                 <PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>2</NextPartNumberMarker>\
                 <MaxParts>1</MaxParts><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
                 <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>\
                 <Part><PartNumber>2</PartNumber><LastModified>2010-11-10T22:48:34.000Z</LastModified>\
                 <ETag>&quot;7778aef83f66abc1fa1e8477f296d394&quot;</ETag><Size>10485760</Size>\
                 <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></ListPartsResult>"
            ),
        );
    }
}
