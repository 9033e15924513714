//! Content types: the commonest as numbers of the binary record, and what a file's extension says.
//! An object keeps the type it was sent with, exactly; extensions speak only for files that POSIX users made.
//! Source: the IANA registry of media types; the types awscli, boto3, rclone, s5cmd and S3A send.

use crate::s3::headers::CONTENT_TYPE_DEFAULT;

/// The number of a type in the binary record; `None` when it must be spelled out.
pub fn number_of(content_type: &str) -> Option<u8> {
    let index = NUMBERED.iter().position(|common| *common == content_type)?;
    u8::try_from(index + 1).ok()
}

/// The type behind a number; `None` for zero and for numbers that no version has given out.
pub fn of_number(number: u8) -> Option<&'static str> {
    NUMBERED.get(usize::from(number).checked_sub(1)?).copied()
}

/// The type that a file name's extension stands for, whatever its case.
pub fn of_name(name: &str) -> &'static str {
    let leaf = name.rsplit_once('/').map_or(name, |(_, leaf)| leaf);
    let Some((stem, extension)) = leaf.rsplit_once('.') else { return CONTENT_TYPE_DEFAULT };
    // `.profile` is a hidden file, not an extension.
    if stem.is_empty() || extension.len() > EXTENSION_BYTES_MAX {
        return CONTENT_TYPE_DEFAULT;
    }
    let mut lower = [0; EXTENSION_BYTES_MAX];
    let lower = &mut lower[..extension.len()];
    lower.copy_from_slice(extension.as_bytes());
    lower.make_ascii_lowercase();
    EXTENSIONS
        .binary_search_by(|(known, _)| known.as_bytes().cmp(lower))
        .map_or(CONTENT_TYPE_DEFAULT, |index| EXTENSIONS[index].1)
}

/// On disk a type is its place in this list, counted from one: only ever append.
const NUMBERED: [&str; 32] = [
    CONTENT_TYPE_DEFAULT,
    "application/octet-stream",
    "text/plain",
    "text/plain; charset=utf-8",
    "text/html",
    "text/css",
    "text/csv",
    "text/javascript",
    "text/markdown",
    "text/xml",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-directory",
    "application/x-www-form-urlencoded",
    "application/vnd.apache.parquet",
    "application/zstd",
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "image/tiff",
    "audio/mpeg",
    "audio/x-wav",
    "video/mp4",
    "application/x-directory; charset=UTF-8",
];

const EXTENSION_BYTES_MAX: usize = 7;

/// INVARIANT: sorted by extension, lower case, for the binary search.
const EXTENSIONS: [(&str, &str); 64] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("avro", "application/vnd.apache.avro"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("c", "text/x-c"),
    ("cfg", "text/plain"),
    ("conf", "text/plain"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("h", "text/x-c"),
    ("h5", "application/x-hdf5"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ini", "text/plain"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("orc", "application/vnd.apache.orc"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("py", "text/x-python"),
    ("rtf", "application/rtf"),
    ("sh", "application/x-sh"),
    ("sql", "application/sql"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/x-wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, want: &str) {
        assert_eq!(of_name(name), want, "{name}");
    }

    #[test]
    fn extensions() {
        check("a.txt", "text/plain");
        check("a/b/photo.JPG", "image/jpeg");
        check("archive.tar.gz", "application/gzip");
        check("part-0001.parquet", "application/vnd.apache.parquet");
        check("a.zip/b", CONTENT_TYPE_DEFAULT);
        check("README", CONTENT_TYPE_DEFAULT);
        check(".html", CONTENT_TYPE_DEFAULT);
        check("a.", CONTENT_TYPE_DEFAULT);
        check("a.unheard-of", CONTENT_TYPE_DEFAULT);
        check("a.ÄÄÄ", CONTENT_TYPE_DEFAULT);
        assert!(EXTENSIONS.is_sorted_by(|one, next| one.0 < next.0));
        for (extension, content_type) in EXTENSIONS {
            check(&format!("x.{extension}"), content_type);
        }
    }

    /// The numbers are on disks: this table may grow at its end and never change.
    #[test]
    fn numbers_are_for_ever() {
        for (number, content_type) in [
            (1, "binary/octet-stream"),
            (2, "application/octet-stream"),
            (3, "text/plain"),
            (11, "application/json"),
            (19, "application/x-directory"),
            (23, "image/jpeg"),
            (32, "application/x-directory; charset=UTF-8"),
        ] {
            assert_eq!(of_number(number), Some(content_type));
            assert_eq!(number_of(content_type), Some(number));
        }
        assert_eq!((of_number(0), of_number(33), of_number(255)), (None, None, None));
        assert_eq!(number_of("Text/Plain"), None);
        for number in 1..=32 {
            assert_eq!(of_number(number).and_then(number_of), Some(number));
        }
    }
}
