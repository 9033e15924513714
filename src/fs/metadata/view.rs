//! An object's metadata as S3 clients see it: the record and the document against the file as it is now.
//! A stored ETag or checksum holds only while size and mtime are those of the commit; after a POSIX write, and for a file
//! that S3 never touched, clients get an ETag that cannot be taken for an MD5. Never a wrong digest.
//! What this cannot see: a write of the same size whose mtime is set back, and a forged record.
//! Source: DESIGN rules as written down in ARCHITECTURE.md; S3-compatible form of multipart ETags.

use super::content_type;
use super::document::Document;
use super::record::{self, Beside, Record};
use crate::digest::stream::{Kind, Stream, Wanted};
use crate::fs::path::KeyKind;
use crate::s3::checksum::Checksum;
use crate::s3::etag::ETag;
use crate::s3::headers::{CONTENT_TYPE_DEFAULT, StoredHeaders, UserMetadata};
use crate::s3::part_sizes::PartSizes;

/// The file as the kernel tells it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// File or directory.
    pub kind: KeyKind,
    /// The inode's number.
    pub inode: u64,
    /// The size; of a directory it means nothing.
    pub size_bytes: u64,
    /// Last change of the bytes. Units: nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of the inode. Units: nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// The metadata of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The ETag, true or synthetic.
    pub etag: ETag,
    /// The stored headers, exactly as sent for an object that S3 made. `of` always sets Content-Type.
    pub headers: StoredHeaders,
    /// What came as `x-amz-meta-*`.
    pub user_metadata: UserMetadata,
    /// The checksum of the bytes, while they are the committed ones.
    pub checksum: Option<Checksum>,
    /// The sizes of the parts that the bytes were uploaded in, while they are the committed ones.
    pub part_sizes: Option<PartSizes>,
    /// The version id, from the day buckets have versions.
    pub version_id: Option<[u8; 16]>,
}

/// The two xattrs of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// `user.s3`
    pub record: Vec<u8>,
    /// `user.s3.meta`, when there is something to say.
    pub document: Option<Vec<u8>>,
}

impl Record {
    /// Whether the bytes are those that were committed with this record.
    pub fn holds_for(&self, file: &FileState) -> bool {
        match (self.kind, file.kind) {
            (KeyKind::File, KeyKind::File) => {
                self.size_bytes == file.size_bytes && self.mtime_ns == file.mtime_ns
            }
            // A directory's size and times are its children's business.
            (KeyKind::Directory, KeyKind::Directory) => true,
            (KeyKind::File, KeyKind::Directory) | (KeyKind::Directory, KeyKind::File) => false,
        }
    }
}

/// The ETag of a file, all that a listing needs to know: the record's while it holds, else a synthetic one.
pub fn etag(record: Option<&Record>, file: &FileState) -> ETag {
    match record.filter(|record| record.holds_for(file)) {
        Some(record) => record.etag,
        None => synthetic_etag(file),
    }
}

/// An ETag for bytes whose MD5 nobody knows: changes when the file may have, and ends in `-1`.
pub fn synthetic_etag(file: &FileState) -> ETag {
    let mut stream = Stream::new(Wanted::NONE.with(Kind::Md5));
    for number in [file.inode, file.size_bytes, file.mtime_ns as u64, file.ctime_ns as u64] {
        stream.update(&number.to_le_bytes());
    }
    ETag::synthetic(stream.finish().md5.expect("the stream was asked for an MD5"))
}

impl Metadata {
    /// The metadata of a file.
    /// Shape: `name` is the key or its last component; the record and document are those of its xattrs, decoded.
    pub fn of(record: Option<&Record>, document: Option<Document>, file: &FileState, name: &str) -> Metadata {
        let Document { mut headers, user_metadata, checksum, part_sizes } = document.unwrap_or_default();
        let holding = record.filter(|record| record.holds_for(file));
        headers.content_type.get_or_insert_with(|| {
            let without_document = match record {
                Some(record) => record.content_type.unwrap_or(CONTENT_TYPE_DEFAULT),
                None => content_type::of_name(name),
            };
            without_document.to_owned()
        });
        Metadata {
            etag: etag(record, file),
            headers,
            user_metadata,
            checksum: holding.and_then(|record| record.checksum.or(checksum)),
            part_sizes: holding.and_then(|record| part_sizes_of(record, part_sizes)),
            version_id: record.and_then(|record| record.version_id),
        }
    }

    /// The xattrs to write with an object's bytes.
    /// Shape: size and mtime are the file's, read after its last write; a directory's are zero.
    pub fn encode(&self, kind: KeyKind, size_bytes: u64, mtime_ns: i64) -> Encoded {
        let in_record = self.checksum.filter(|checksum| record::holds_checksum(checksum, self.etag));
        let content_type = self.headers.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT);
        let number = content_type::number_of(content_type);
        let document = Document {
            headers: StoredHeaders {
                content_type: number.is_none().then(|| content_type.to_owned()),
                ..self.headers.clone()
            },
            user_metadata: self.user_metadata.clone(),
            checksum: if in_record.is_none() { self.checksum } else { None },
            // One part is the object.
            part_sizes: self.part_sizes.clone().filter(|sizes| sizes.count() > 1),
        };
        let document = document.encode();
        let record = Record {
            kind,
            beside: if document.is_some() { Beside::Document } else { Beside::Nothing },
            content_type: number.and_then(content_type::of_number),
            etag: self.etag,
            size_bytes,
            mtime_ns,
            checksum: in_record,
            version_id: self.version_id,
        };
        Encoded { record: record.encode(), document }
    }
}

/// The sizes of an object's parts, when those that its document says are as many as its ETag counts and make its size.
fn part_sizes_of(record: &Record, said: Option<PartSizes>) -> Option<PartSizes> {
    match record.etag.part_count()? {
        1 => PartSizes::of([record.size_bytes]),
        count => said.filter(|said| said.count() == count && said.total_bytes() == record.size_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::checksum::Algorithm;

    const FILE: FileState =
        FileState { kind: KeyKind::File, inode: 7, size_bytes: 5, mtime_ns: 1_000_000_007, ctime_ns: 9 };

    fn of_type(content_type: &str) -> StoredHeaders {
        StoredHeaders { content_type: Some(content_type.to_owned()), ..StoredHeaders::default() }
    }

    fn metadata() -> Metadata {
        Metadata {
            etag: ETag::of_md5([3; 16]),
            headers: of_type("text/plain"),
            user_metadata: UserMetadata::default(),
            checksum: Checksum::parse(Algorithm::Crc64nvme, "rosUhgp5mIg="),
            part_sizes: None,
            version_id: None,
        }
    }

    fn read(encoded: &Encoded, file: &FileState) -> Metadata {
        let record = Record::decode(&encoded.record);
        let document = encoded.document.as_deref().and_then(Document::decode);
        let beside = if document.is_some() { Beside::Document } else { Beside::Nothing };
        assert_eq!(record.as_ref().map(|record| record.beside), Some(beside));
        Metadata::of(record.as_ref(), document, file, "name.html")
    }

    /// Writes metadata for `FILE` and reads it back; want: which xattrs that takes.
    fn check(name: &str, metadata: &Metadata, want_record_bytes: usize, want_document: bool) {
        let encoded = metadata.encode(FILE.kind, FILE.size_bytes, FILE.mtime_ns);
        let got = (encoded.record.len(), encoded.document.is_some());
        assert_eq!(got, (want_record_bytes, want_document), "{name}");
        assert_eq!(&read(&encoded, &FILE), metadata, "{name}");
    }

    #[test]
    fn what_is_written_is_read() {
        check("small", &metadata(), 46, false);
        check("no checksum", &Metadata { checksum: None, ..metadata() }, 38, false);
        check("unusual type", &Metadata { headers: of_type("x/y"), ..metadata() }, 46, true);
        check("empty type", &Metadata { headers: of_type(""), ..metadata() }, 46, true);
        let sha1 = Checksum::parse(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=");
        check("long checksum", &Metadata { checksum: sha1, ..metadata() }, 38, true);
        let user_metadata = UserMetadata::from_stored(vec![("a".to_owned(), "1".to_owned())]);
        check("user metadata", &Metadata { user_metadata, ..metadata() }, 46, true);
        let headers = StoredHeaders { content_encoding: Some("gzip".to_owned()), ..of_type("text/plain") };
        check("header", &Metadata { headers, ..metadata() }, 46, true);
        let parted = |count, sizes: &[u64]| Metadata {
            etag: ETag::of_parts([3; 16], count),
            part_sizes: PartSizes::of(sizes.iter().copied()),
            ..metadata()
        };
        check("one part", &parted(1, &[5]), 46, false);
        check("two parts", &parted(2, &[3, 2]), 46, true);
    }

    #[test]
    fn part_sizes_that_cannot_be_are_none() {
        for (count, sizes) in [(2, vec![3, 3]), (3, vec![3, 2]), (2, vec![])] {
            let etag = ETag::of_parts([3; 16], count);
            let metadata = Metadata { etag, part_sizes: PartSizes::of(sizes), ..metadata() };
            let encoded = metadata.encode(FILE.kind, FILE.size_bytes, FILE.mtime_ns);
            let got = Metadata::of(
                Record::decode(&encoded.record).as_ref(),
                encoded.document.as_deref().and_then(Document::decode),
                &FILE,
                "name",
            );
            assert_eq!((got.etag, got.part_sizes), (etag, None));
        }
        // After a POSIX write nobody knows of parts.
        let parted =
            Metadata { etag: ETag::of_parts([3; 16], 2), part_sizes: PartSizes::of([3, 2]), ..metadata() };
        let encoded = parted.encode(FILE.kind, FILE.size_bytes, FILE.mtime_ns);
        assert_eq!(read(&encoded, &FileState { mtime_ns: 1, ..FILE }).part_sizes, None);
    }

    #[test]
    fn an_object_put_without_a_type_has_the_default() {
        let untyped = Metadata { headers: StoredHeaders::default(), ..metadata() };
        let encoded = untyped.encode(FILE.kind, FILE.size_bytes, FILE.mtime_ns);
        assert_eq!(read(&encoded, &FILE).headers, of_type(CONTENT_TYPE_DEFAULT));
    }

    #[test]
    fn a_posix_write_makes_digests_stale_and_nothing_else() {
        let sha1 = Checksum::parse(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=");
        for checksum in [metadata().checksum, sha1] {
            let encoded =
                Metadata { checksum, ..metadata() }.encode(FILE.kind, FILE.size_bytes, FILE.mtime_ns);
            for file in [FileState { size_bytes: 6, ..FILE }, FileState { mtime_ns: 1_000_000_008, ..FILE }] {
                let got = read(&encoded, &file);
                assert_eq!((got.etag, got.checksum), (synthetic_etag(&file), None));
                assert_eq!(got.headers, of_type("text/plain"));
            }
            // A rename or a link moves ctime alone.
            assert_eq!(read(&encoded, &FileState { ctime_ns: 10, ..FILE }).checksum, checksum);
        }
    }

    #[test]
    fn files_that_s3_never_touched() {
        let got = Metadata::of(None, None, &FILE, "a/b.html");
        assert_eq!(got.headers, of_type("text/html"));
        assert_eq!((got.etag, got.checksum), (synthetic_etag(&FILE), None));
        // A document alone, which only a POSIX user can have written, may describe the file but not vouch for its bytes.
        let forged =
            Document { headers: of_type("x/y"), checksum: metadata().checksum, ..Document::default() };
        let got = Metadata::of(None, Some(forged), &FILE, "a/b.html");
        assert_eq!((got.headers, got.checksum), (of_type("x/y"), None));
    }

    #[test]
    fn synthetic_etags_change_with_the_file() {
        let files = [
            FILE,
            FileState { inode: 8, ..FILE },
            FileState { size_bytes: 6, ..FILE },
            FileState { mtime_ns: 1, ..FILE },
            FileState { ctime_ns: -1, ..FILE },
        ];
        let mut tags: Vec<String> = files.iter().map(|file| synthetic_etag(file).to_string()).collect();
        assert!(tags.iter().all(|tag| tag.len() == 34 && tag.ends_with("-1")));
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), files.len());
        assert_eq!(synthetic_etag(&FILE), synthetic_etag(&FILE));
    }

    #[test]
    fn directories_are_never_stale() {
        let directory = FileState { kind: KeyKind::Directory, size_bytes: 4096, ..FILE };
        let encoded = metadata().encode(KeyKind::Directory, 0, 0);
        assert_eq!(read(&encoded, &directory), metadata());
        // A record that was copied from one to the other vouches for neither.
        assert_eq!(read(&encoded, &FILE).etag, synthetic_etag(&FILE));
        let of_file = metadata().encode(KeyKind::File, 4096, FILE.mtime_ns);
        assert_eq!(read(&of_file, &directory).etag, synthetic_etag(&directory));
    }
}
