//! The request and the answer of DeleteObjects.
//! Keys stay text here: one that no object can have is an error of its entry, not of the request.
//! The conditions of directory buckets (LastModifiedTime, Size) are refused by name, never overlooked.
//! Source: Amazon S3 API reference, DeleteObjects; DeleteObject, "ObjectIdentifier".

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::reader::{Reader, malformed};
use crate::s3::xml::writer::Writer;

/// Longest request: 1,000 keys of 1,024 bytes with their escapes. Units: bytes.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most keys of a request.
pub const KEYS_MAX: usize = 1000;

/// What is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The entries, 1 to `KEYS_MAX`, in the order sent.
    pub entries: Vec<DeleteEntry>,
    /// What the answer lists.
    pub report: Report,
}

/// What the answer lists: the element `Quiet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Every key.
    All,
    /// Only what failed.
    ErrorsOnly,
}

/// One key to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteEntry {
    /// The key as sent, not empty; `ObjectKey::parse` is the caller's.
    pub key: String,
    /// The version asked for.
    pub version_id: Option<String>,
    /// The ETag that the object must have.
    pub etag: Option<String>,
}

/// Reads the request, which its receiver has held to `BYTES_MAX`.
///
/// Errors: MalformedXML, also for no key and for more than `KEYS_MAX`; NotImplemented for a condition.
pub fn read(bytes: &[u8]) -> Result<DeleteRequest, S3Error> {
    let mut document = Reader::document(bytes, "Delete")?;
    let mut request = DeleteRequest { entries: Vec::new(), report: Report::All };
    while let Some(name) = document.next_child()? {
        match name {
            "Object" if request.entries.len() == KEYS_MAX => {
                return Err(malformed("it names more than 1000 keys"));
            }
            "Object" => request.entries.push(read_entry(&mut document)?),
            "Quiet" => request.report = read_report(&mut document)?,
            _ => document.skip()?,
        }
    }
    if request.entries.is_empty() {
        return Err(malformed("it names no key"));
    }
    Ok(request)
}

fn read_entry(document: &mut Reader<'_>) -> Result<DeleteEntry, S3Error> {
    let mut entry = DeleteEntry::default();
    while let Some(name) = document.next_child()? {
        match name {
            "Key" if entry.key.is_empty() => entry.key = document.text()?.into_owned(),
            "Key" => return Err(malformed("an object has two keys")),
            "VersionId" => entry.version_id = Some(document.text()?.trim().to_string()),
            "ETag" => entry.etag = Some(document.text()?.trim().to_string()),
            "LastModifiedTime" => return Err(refused_condition("LastModifiedTime")),
            "Size" => return Err(refused_condition("Size")),
            _ => document.skip()?,
        }
    }
    if entry.key.is_empty() {
        return Err(malformed("an object has no key"));
    }
    Ok(entry)
}

fn read_report(document: &mut Reader<'_>) -> Result<Report, S3Error> {
    match document.text()?.trim() {
        "true" | "1" => Ok(Report::ErrorsOnly),
        "false" | "0" => Ok(Report::All),
        _ => Err(malformed("Quiet is neither true nor false")),
    }
}

fn refused_condition(element: &str) -> S3Error {
    S3Error::new(Code::NotImplemented)
        .with_message(format!("The condition {element} of DeleteObjects is not implemented."))
        .with_element("Condition", element)
}

/// What became of the entries, written one by one as they are done.
pub struct ResultWriter {
    xml: Writer,
    report: Report,
}

impl ResultWriter {
    /// Starts the answer.
    pub fn begin(report: Report) -> ResultWriter {
        let mut xml = Writer::document();
        xml.open_root("DeleteResult");
        ResultWriter { xml, report }
    }

    /// The entry's object is gone, or was not there.
    pub fn deleted(&mut self, entry: &DeleteEntry) {
        match self.report {
            Report::ErrorsOnly => {}
            Report::All => {
                self.xml.open("Deleted");
                self.xml.text("Key", &entry.key);
                self.xml.text_if("VersionId", entry.version_id.as_deref());
                self.xml.close("Deleted");
            }
        }
    }

    /// The entry failed.
    pub fn failed(&mut self, entry: &DeleteEntry, error: &S3Error) {
        self.xml.open("Error");
        self.xml.text("Key", &entry.key);
        self.xml.text_if("VersionId", entry.version_id.as_deref());
        self.xml.text("Code", error.code().wire());
        self.xml.text("Message", error.message());
        self.xml.close("Error");
    }

    /// The document.
    pub fn finish(mut self) -> String {
        self.xml.close("DeleteResult");
        self.xml.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::writer::tests::check_document;

    fn entry(key: &str, version_id: Option<&str>, etag: Option<&str>) -> DeleteEntry {
        DeleteEntry { key: key.into(), version_id: version_id.map(Into::into), etag: etag.map(Into::into) }
    }

    fn check(text: &str, want: Result<(Report, &[DeleteEntry]), Code>) {
        let got = read(text.as_bytes());
        let got = got.as_ref().map(|request| (request.report, request.entries.as_slice()));
        assert_eq!(got.map_err(S3Error::code), want, "{text:.200}");
    }

    #[test]
    fn requests() {
        check(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
             <Object>\n<Key>sample1.txt</Key>\n</Object>\n<Object><Key> a&amp;b/ </Key><VersionId>null</VersionId>\
             <ETag>\"x\"</ETag></Object><Quiet>true</Quiet></Delete>",
            Ok((
                Report::ErrorsOnly,
                &[entry("sample1.txt", None, None), entry(" a&b/ ", Some("null"), Some("\"x\""))],
            )),
        );
        check(
            "<Delete><Quiet>false</Quiet><Object><Key>k</Key></Object></Delete>",
            Ok((Report::All, &[entry("k", None, None)])),
        );
        let many =
            |count: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
        check(&many(KEYS_MAX), Ok((Report::All, &vec![entry("k", None, None); KEYS_MAX])));
        check(&many(KEYS_MAX + 1), Err(Code::MalformedXML));
    }

    #[test]
    fn requests_that_are_refused() {
        let cases = [
            ("", Code::MalformedXML),
            ("<Delete/>", Code::MalformedXML),
            ("<Remove><Object><Key>k</Key></Object></Remove>", Code::MalformedXML),
            ("<Delete><Object/></Delete>", Code::MalformedXML),
            ("<Delete><Object><Key></Key></Object></Delete>", Code::MalformedXML),
            ("<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", Code::MalformedXML),
            ("<Delete><Object><Key>k</Key></Object><Quiet>yes</Quiet></Delete>", Code::MalformedXML),
            ("<Delete><Object><Key>k</Key></Object>", Code::MalformedXML),
            ("<Delete><Object><Key>k</Key><Size>3</Size></Object></Delete>", Code::NotImplemented),
            ("<Delete><Object><Key>k</Key><LastModifiedTime/></Object></Delete>", Code::NotImplemented),
        ];
        for (text, code) in cases {
            check(text, Err(code));
        }
    }

    #[test]
    fn the_largest_request_fits() {
        let one = format!("<Object><Key>{}</Key></Object>", "k".repeat(1024));
        let text = format!("<Delete>{}</Delete>", one.repeat(KEYS_MAX));
        assert!(text.len() <= BYTES_MAX);
        assert_eq!(read(text.as_bytes()).unwrap().entries.len(), KEYS_MAX);
    }

    #[test]
    fn the_answer_of_the_reference() {
        let answer = |report| {
            let mut result = ResultWriter::begin(report);
            result.deleted(&entry("sample1.txt", None, None));
            result.failed(&entry("sample2.txt", Some("null"), None), &S3Error::new(Code::AccessDenied));
            result.finish()
        };
        let error = "<Error><Key>sample2.txt</Key><VersionId>null</VersionId><Code>AccessDenied</Code>\
                     <Message>Access Denied</Message></Error></DeleteResult>";
        let root = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        check_document(
            &answer(Report::All),
            &format!("{root}<Deleted><Key>sample1.txt</Key></Deleted>{error}"),
        );
        check_document(&answer(Report::ErrorsOnly), &format!("{root}{error}"));
    }
}
